"""HTTPRoutes as this room sees them. Source: Gateway API `gateway.networking.k8s.io/v1` HTTPRoute."""

from __future__ import annotations

import re

from fairway.kube.objects import Key, Obj, key_of, meta_of, spec_of
from fairway.traffic.model import HeaderMatch
from fairway.traffic.read import Remark, Unusable, check_regex
from fairway.traffic.rules import Destination, Match, Rule, RuleSet

_CARRIED = ("RequestMirror", "URLRewrite")


def read_http_route(obj: Obj) -> tuple[RuleSet | None, tuple[Remark, ...]]:
    """None where it leads nowhere; the remarks say what of it is not carried here."""
    key, spec = key_of(obj), spec_of(obj)
    rules, remarks = [], []
    for number, rule in enumerate(spec.get("rules") or ()):
        other = next((f.get("type") for f in rule.get("filters") or () if f.get("type") not in _CARRIED), None)
        if other == "RequestRedirect":
            remarks.append(Remark.on("HTTPRoute", key, "RuleNotServed", f"spec.rules[{number}] has a {other}, which is not "
                                     "carried here; the rule is left out"))
            continue
        if other is not None:
            remarks.append(Remark.on("HTTPRoute", key, "FilterNotServed", f"spec.rules[{number}] has a {other}, which is not "
                                     "carried here; requests go without it"))
        try:
            rules.append(_rule(rule, key.namespace))
        except Unusable as error:
            said = f"spec.rules[{number}]: {error.message}; the rule is left out"
            remarks.append(Remark.on("HTTPRoute", key, error.code, said))
    if not rules:
        return None, tuple(remarks)
    hosts = tuple(str(host).lower() for host in spec.get("hostnames") or ()) or ("*",)
    generation = str(meta_of(obj).get("generation", ""))
    return RuleSet("HTTPRoute", key, generation, hosts, tuple(rules), ordered=False), tuple(remarks)


def _rule(rule: Obj, namespace: str) -> Rule:
    targets = tuple(_target(ref, namespace) for ref in rule.get("backendRefs") or () if ref.get("kind", "Service") == "Service")
    matches = tuple(_match(each) for each in rule.get("matches") or ()) or (Match(),)
    mirror = next((f["requestMirror"] for f in rule.get("filters") or () if f.get("type") == "RequestMirror"), None)
    path: Obj = next(((f.get("urlRewrite") or {}).get("path") or {} for f in rule.get("filters") or ()
                      if f.get("type") == "URLRewrite"), {})
    rewrite = ""
    if path.get("type") == "ReplaceFullPath":
        rewrite = str(path.get("replaceFullPath", "/"))
        matches = tuple(Match(_escaped(match) + ".*", "regex", match.headers) for match in matches)
    elif path.get("type") == "ReplacePrefixMatch":
        rewrite = str(path.get("replacePrefixMatch", "/")).rstrip("/") + "/\\1"
        matches = tuple(Match(_escaped(match).rstrip("/") + "/?(.*)", "regex", match.headers) for match in matches)
    return Rule(matches, targets, _target(mirror.get("backendRef") or {}, namespace) if mirror else None,
                float(mirror.get("percent", 100)) if mirror else 100.0, rewrite)


def _escaped(match: Match) -> str:
    return match.path.removesuffix("$") if match.kind == "regex" else re.escape(match.path)


def _target(ref: Obj, namespace: str) -> Destination:
    weight = ref.get("weight")
    return Destination(Key(str(ref.get("namespace") or namespace), str(ref.get("name", ""))), ref.get("port"),
                       1 if weight is None else int(weight))


def _match(match: Obj) -> Match:
    headers = [_header(each) for each in match.get("headers") or ()]
    if match.get("method"):
        headers.append(HeaderMatch(":method", str(match["method"])))
    path: Obj = match.get("path") or {}
    value, kind = str(path.get("value") or "/"), path.get("type", "PathPrefix")
    if kind == "Exact":
        return Match(value, "exact", tuple(headers))
    if kind == "RegularExpression":
        check_regex(value, "path.value")
        return Match(f"(?:{value})$", "regex", tuple(headers))
    return Match(value, "prefix", tuple(headers))


def _header(header: Obj) -> HeaderMatch:
    name, value = str(header.get("name", "")), str(header.get("value", ""))
    if header.get("type") != "RegularExpression":
        return HeaderMatch(name, value)
    check_regex(value, f"headers[{name}].value")
    return HeaderMatch(name, value, "regex")
