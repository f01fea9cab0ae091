"""Which route a request takes, for the data plane that matches by itself. Same meaning as the rules given to Envoy."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from fairway.traffic.model import CookieMatch, HeaderMatch, Route, VirtualHost


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
    plain = path.partition("?")[0]
    for route in routes:
        if _path(route, plain) and all(_header(found, headers) for found in route.headers) and all(
                _cookie(found, headers) for found in route.cookies):
            return route
    return None


def rewritten(route: Route, path: str) -> str:
    if not route.rewrite:
        return path
    plain, mark, query = path.partition("?")
    pattern = _compiled(f"{route.path}.*" if route.path_kind == "regex" else "/.*")
    return pattern.sub(route.rewrite, plain, count=1) + mark + query


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
    value = headers.get(wanted.name.lower())
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
