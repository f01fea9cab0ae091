"""VirtualServices and DestinationRules as this room sees them. Only HTTP routes are carried; connections are not divided.

Source: Istio `networking.istio.io/v1` VirtualService and DestinationRule.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from fairway.kube.objects import Key, Obj, key_of, meta_of, spec_of
from fairway.traffic.model import HeaderMatch
from fairway.traffic.read import HASH_LABEL, Remark, Unusable, check_regex
from fairway.traffic.rules import Destination, Match, Rule, RuleSet

_NOT_CARRIED = ("redirect", "fault", "directResponse", "delegate")
"""A rule with one of these means something else without it: it is left out, and the remark says so."""

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
        unusable = next((word for word in _NOT_CARRIED if route.get(word)), "")
        if unusable:
            remarks.append(Remark.on("VirtualService", key, "RuleNotServed", f"spec.http[{number}] has a {unusable}, which is "
                                     "not carried here; the rule is left out"))
            continue
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
    routes = route.get("route") or ()
    targets = tuple(_target(each, namespace, subsets, 100 if len(routes) == 1 else 0) for each in routes)
    mirror, percent = route.get("mirror"), (route.get("mirrorPercentage") or {}).get("value")
    matches = tuple(_match(each) for each in route.get("match") or ()) or (Match(),)
    rewrite = str((route.get("rewrite") or {}).get("uri") or "")
    if rewrite:
        matches = tuple(_rewritable(match) for match in matches)
        rewrite += "\\1"
    return Rule(matches, targets, _target({"destination": mirror}, namespace, subsets, 1) if mirror else None,
                100.0 if percent is None else float(percent), rewrite)


def _target(each: Obj, namespace: str, subsets: Subsets, default: int) -> Destination:
    at: Obj = each.get("destination") or {}
    service = service_of(str(at.get("host", "")), namespace)
    weight = each.get("weight")
    return Destination(service, (at.get("port") or {}).get("number"), default if weight is None else int(weight),
                       subsets.get((service, str(at.get("subset", ""))), ""))


def _match(match: Obj) -> Match:
    headers = [_header(name, value) for name, value in (match.get("headers") or {}).items()]
    if match.get("method"):
        headers.append(_header(":method", match["method"]))
    uri: Obj = match.get("uri") or {}
    if uri.get("exact"):
        return Match(str(uri["exact"]), "exact", tuple(headers))
    if uri.get("regex"):
        check_regex(str(uri["regex"]), "uri.regex")
        return Match(f"(?:{uri['regex']})$", "regex", tuple(headers))
    prefix = str(uri.get("prefix") or "/")
    if prefix.endswith("/"):
        return Match(prefix, "prefix", tuple(headers))
    return Match(re.escape(prefix), "regex", tuple(headers))  # a prefix of characters: /shop takes /shopping too


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
    return Match(f"{path.removesuffix('$')}(.*)", "regex", match.headers)
