"""VirtualServices and DestinationRules as this room sees them. Only HTTP routes are carried; connections are not divided.

Source: Istio `networking.istio.io/v1` VirtualService and DestinationRule.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from fairway.kube.objects import Key, Obj, key_of, meta_of, spec_of
from fairway.traffic.changes import REDIRECTS, header_changes, percent, seconds, status
from fairway.traffic.model import (
    RETRY_WORDS,
    Answer,
    Fault,
    HeaderChange,
    HeaderChanges,
    HeaderMatch,
    PathKind,
    QueryMatch,
    Redirect,
    Retries,
    Treatment,
)
from fairway.traffic.read import HASH_LABEL, Remark, Unusable, check_regex
from fairway.traffic.rules import Destination, Match, Rule, RuleSet

_NOT_IN_MATCHES = ("sourceLabels", "sourceNamespace", "gateways", "ignoreUriCase", "scheme")
"""A match without them would take more requests than it asks for."""

_RETRY_ON = "connect-failure,refused-stream,unavailable,cancelled,503"  # Istio's default

_LARGEST_ANSWER = 4096  # Envoy's own limit

Subsets = Mapping[tuple[Key, str], str]
"""The pod template hash that a Service's subset selects, "" where it selects by nothing of that kind."""


def read_subsets(rules: Iterable[Obj]) -> dict[tuple[Key, str], str]:
    found = {}
    for obj in rules:
        namespace = key_of(obj).namespace
        service = service_of(str(spec_of(obj).get("host", "")), namespace)
        for subset in spec_of(obj).get("subsets") or ():
            found[service, str(subset.get("name", ""))] = str((subset.get("labels") or {}).get(HASH_LABEL, ""))
    return found


def service_of(host: str, namespace: str) -> Key:
    """`shop`, `shop.prod`, `shop.prod.svc.cluster.local`."""
    name, _, rest = host.partition(".")
    elsewhere = rest.partition(".")[0]
    inside = not rest or rest == elsewhere or rest.removeprefix(elsewhere).startswith(".svc")
    return Key(elsewhere or namespace, name) if inside else Key(namespace, host)


def read_virtual_service(obj: Obj, subsets: Subsets) -> tuple[RuleSet | None, tuple[Remark, ...]]:
    """None where it has no HTTP routes; the remarks say what of it is not carried here."""
    key, spec = key_of(obj), spec_of(obj)
    remarks = [Remark.on("VirtualService", key, "RoutesNotServed", f"spec.{kind} is not carried here, only spec.http is")
               for kind in ("tls", "tcp") if spec.get(kind)]
    rules: list[Rule] = []
    for number, route in enumerate(spec.get("http") or ()):
        if route.get("corsPolicy"):
            remarks.append(Remark.on("VirtualService", key, "PolicyNotServed", f"spec.http[{number}] has a corsPolicy, which "
                                     "is not carried here; answers go without it"))
        try:
            rules.append(_rule(route, key.namespace, subsets))
        except Unusable as error:
            said = f"spec.http[{number}]: {error.message}; the rule is left out"
            remarks.append(Remark.on("VirtualService", key, error.code, said))
    if not rules:
        return None, tuple(remarks)
    hosts = [str(host) for host in spec.get("hosts") or ()]
    services = tuple(service_of(host, key.namespace) for host in hosts if host != "*")
    return RuleSet("VirtualService", key, str(meta_of(obj).get("generation", "")), tuple(host.lower() for host in hosts),
                   tuple(rules), ordered=True, services=services), tuple(remarks)


def _rule(route: Obj, namespace: str, subsets: Subsets) -> Rule:
    for word, what in (("delegate", route), ("uriRegexRewrite", route.get("rewrite") or {})):
        if what.get(word):
            raise Unusable("RuleNotServed", f"it has {word}, which is not carried here")
    matches = tuple(_match(each) for each in route.get("match") or ()) or (Match(),)
    if instead := _instead(route):
        return Rule(matches, (), rewrite=_literal(str((route.get("redirect") or {}).get("uri") or "")),
                    treatment=Treatment(changes=_changes(route), instead=instead, fault=_fault(route)))
    routes = route.get("route") or ()
    targets = tuple(_target(each, namespace, subsets, 100 if len(routes) == 1 else 0) for each in routes)
    mirror, share = route.get("mirror"), (route.get("mirrorPercentage") or {}).get("value")
    rewrite: Obj = route.get("rewrite") or {}
    uri = str(rewrite.get("uri") or "")
    if uri:
        matches = tuple(_rewritable(match) for match in matches)
    return Rule(matches, targets, _target({"destination": mirror}, namespace, subsets, 1) if mirror else None,
                100.0 if share is None else float(share), f"{_literal(uri)}\\1" if uri else "",
                Treatment(str(rewrite.get("authority") or ""), _changes(route), None, _fault(route), _retries(route),
                          seconds(route.get("timeout"), "timeout")))


def _instead(route: Obj) -> Redirect | Answer | None:
    redirect, direct = route.get("redirect"), route.get("directResponse")
    if redirect:
        port = redirect.get("port")
        return Redirect(status(redirect.get("redirectCode") or 301, "redirect.redirectCode", REDIRECTS),
                        str(redirect.get("scheme") or ""), str(redirect.get("authority") or ""),
                        None if port is None else int(port))
    if direct:
        body = str((direct.get("body") or {}).get("string") or "")
        if len(body.encode()) > _LARGEST_ANSWER:
            raise Unusable("BodyTooLarge", f"directResponse.body has more than {_LARGEST_ANSWER} bytes")
        return Answer(status(direct.get("status"), "directResponse.status"), body)
    return None


def _changes(obj: Obj) -> HeaderChanges:
    """Of a rule or of one of its destinations."""
    sides: list[tuple[HeaderChange, ...]] = []
    for side in ("request", "response"):
        wanted: Obj = (obj.get("headers") or {}).get(side) or {}
        where = f"headers.{side}"
        sides.append((*header_changes("remove", ((str(name), "") for name in wanted.get("remove") or ()), where),
                      *header_changes("set", wanted.get("set") or {}, where),
                      *header_changes("add", wanted.get("add") or {}, where)))
    return HeaderChanges(*sides)


def _fault(route: Obj) -> Fault | None:
    wanted: Obj = route.get("fault") or {}
    if not wanted:
        return None
    delay, abort = wanted.get("delay") or {}, wanted.get("abort") or {}
    return Fault(seconds(delay.get("fixedDelay"), "fault.delay.fixedDelay"),
                 percent(delay.get("percentage"), "fault.delay.percentage"),
                 status(abort["httpStatus"], "fault.abort.httpStatus") if abort.get("httpStatus") else 503,
                 percent(abort.get("percentage"), "fault.abort.percentage") if abort.get("httpStatus") else 0.0)


def _retries(route: Obj) -> Retries | None:
    wanted: Obj | None = route.get("retries")
    if wanted is None:
        return None
    words = [word.strip() for word in str(wanted.get("retryOn") or _RETRY_ON).split(",")]
    statuses = tuple(int(word) for word in words if word.isdigit())
    if unknown := [word for word in words if word not in RETRY_WORDS and not word.isdigit()]:
        raise Unusable("RetryInvalid", f"retries.retryOn: {unknown[0]!r} is not known; use {', '.join(sorted(RETRY_WORDS))}, "
                       "or a status")
    return Retries(int(wanted.get("attempts") or 0), seconds(wanted.get("perTryTimeout"), "retries.perTryTimeout"),
                   ",".join(word for word in words if not word.isdigit()), statuses)


def _literal(uri: str) -> str:
    """In a substitution a backslash names a group."""
    return uri.replace("\\", "\\\\")


def _target(each: Obj, namespace: str, subsets: Subsets, default: int) -> Destination:
    at: Obj = each.get("destination") or {}
    service = service_of(str(at.get("host", "")), namespace)
    weight = each.get("weight")
    return Destination(service, (at.get("port") or {}).get("number"), default if weight is None else int(weight),
                       subsets.get((service, str(at.get("subset", ""))), ""), _changes(each))


def _match(match: Obj) -> Match:
    if narrower := next((word for word in _NOT_IN_MATCHES if match.get(word)), None):
        raise Unusable("MatchNotServed", f"a match by {narrower} is not made here")
    headers = [_header(name, value) for name, value in (match.get("headers") or {}).items()]
    headers += [replace(_header(name, value), inverted=True) for name, value in (match.get("withoutHeaders") or {}).items()]
    headers += [_header(f":{word}", match[word]) for word in ("method", "authority") if match.get(word)]
    queries = tuple(QueryMatch(each.name, each.value, each.kind)
                    for each in (_header(name, value) for name, value in (match.get("queryParams") or {}).items()))
    return Match(*_path(match.get("uri") or {}), tuple(headers), queries)


def _path(uri: Obj) -> tuple[str, PathKind]:
    if uri.get("exact"):
        return str(uri["exact"]), "exact"
    if uri.get("regex"):
        check_regex(str(uri["regex"]), "uri.regex")
        return f"(?:{uri['regex']})$", "regex"
    prefix = str(uri.get("prefix") or "/")
    if prefix.endswith("/"):
        return prefix, "prefix"
    return re.escape(prefix), "regex"  # a prefix of characters: /shop takes /shopping too


def _header(name: str, value: Any) -> HeaderMatch:
    kinds: Obj = value or {}
    if kinds.get("regex"):
        check_regex(str(kinds["regex"]), f"headers[{name}].regex")
        return HeaderMatch(name, str(kinds["regex"]), "regex")
    if kinds.get("prefix"):
        return HeaderMatch(name, re.escape(str(kinds["prefix"])) + ".*", "regex")
    return HeaderMatch(name, str(kinds["exact"])) if kinds.get("exact") else HeaderMatch(name, "", "present")


def _rewritable(match: Match) -> Match:
    """Only the matched part is replaced, so what follows it is kept as a group."""
    path = match.path if match.kind == "regex" else re.escape(match.path)
    return Match(f"{path.removesuffix('$')}(.*)", "regex", match.headers, match.queries)
