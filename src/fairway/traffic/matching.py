"""Which route a request takes, for the data plane that matches by itself. Same meaning as the rules given to Envoy."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from urllib.parse import parse_qsl, urlsplit

from fairway.traffic.model import (
    CookieMatch,
    HeaderChange,
    HeaderMatch,
    QueryMatch,
    Redirect,
    Retries,
    Route,
    VirtualHost,
)


def host_of(hosts: Sequence[VirtualHost], authority: str) -> VirtualHost | None:
    """Exact name, then the longest `*.suffix`, then `*`. A port in `authority` does not matter."""
    name = authority.lower()
    if not name.endswith("]"):
        name = name.rpartition(":")[0] if re.search(r":\d+$", name) else name
    best: tuple[int, VirtualHost] | None = None
    for host in hosts:
        for domain in host.domains:
            if domain == name:
                return host
            if domain == "*":
                rank = 0
            elif domain.startswith("*") and name.endswith(domain[1:]) and len(name) >= len(domain):
                rank = len(domain)
            else:
                continue
            if best is None or rank > best[0]:
                best = (rank, host)
    return best[1] if best else None


def route_of(routes: Sequence[Route], path: str, headers: Mapping[str, str]) -> Route | None:
    """The first that matches. `path` may carry a query; `headers` has lower-case names."""
    plain, _, query = path.partition("?")
    for route in routes:
        if _path(route, plain) and all(_header(found, headers) for found in route.headers) and all(
                _cookie(found, headers) for found in route.cookies) and _queries(route.queries, query):
            return route
    return None


def rewritten(route: Route, path: str) -> str:
    if not route.rewrite:
        return path
    plain, mark, query = path.partition("?")
    if "?" in route.rewrite:  # it has a query of its own
        mark = query = ""
    pattern = _compiled(f"{route.path}.*" if route.path_kind == "regex" else "/.*")
    return pattern.sub(route.rewrite, plain, count=1) + mark + query


def location(route: Route, redirect: Redirect, authority: str, path: str) -> str:
    """Where a redirect sends a client that asked `authority` for `path`, over plain HTTP."""
    asked = urlsplit(f"//{authority}")
    host = redirect.host or asked.hostname or ""
    port = redirect.port or (None if redirect.host else asked.port)
    return f"{redirect.scheme or 'http'}://{host}{f':{port}' if port else ''}{rewritten(route, path)}"


def changed(headers: Sequence[tuple[str, str]], changes: Sequence[HeaderChange]) -> list[tuple[str, str]]:
    """The headers after the changes; all removals come first."""
    if not changes:
        return list(headers)
    gone = {change.name.lower() for change in changes if change.how == "remove"}
    found = [(name, value) for name, value in headers if name.lower() not in gone]
    for change in changes:
        if change.how == "set":
            found = [(name, value) for name, value in found if name.lower() != change.name.lower()]
        if change.how != "remove":
            found.append((change.name, change.value))
    return found


def repeats(retries: Retries, code: int) -> bool:
    """Whether an answer with this status is worth another try."""
    words = retries.on.split(",")
    return code in retries.statuses or ("5xx" in words and code >= 500) or (
        "gateway-error" in words and code in (502, 503, 504)) or ("retriable-4xx" in words and code == 409)


def _path(route: Route, path: str) -> bool:
    match route.path_kind:
        case "exact":
            return path == route.path
        case "prefix":
            prefix = route.path.rstrip("/")
            return path == prefix or path.startswith(prefix + "/")
        case "regex":
            return _compiled(f"{route.path}.*").fullmatch(path) is not None


def _header(wanted: HeaderMatch, headers: Mapping[str, str]) -> bool:
    return _value(wanted, headers.get(wanted.name.lower())) != wanted.inverted


def _queries(wanted: Sequence[QueryMatch], query: str) -> bool:
    if not wanted:
        return True
    first = dict(reversed(parse_qsl(query, keep_blank_values=True)))
    return all(_value(each, first.get(each.name)) for each in wanted)


def _value(wanted: HeaderMatch | QueryMatch, value: str | None) -> bool:
    if value is None:
        return False
    match wanted.kind:
        case "exact":
            return value == wanted.value
        case "regex":
            return _compiled(wanted.value).fullmatch(value) is not None
        case "present":
            return True


def _cookie(wanted: CookieMatch, headers: Mapping[str, str]) -> bool:
    pairs = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
    return any(name == wanted.name and value == wanted.value for name, _, value in pairs)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
