"""HTTPRoutes as this room sees them. Source: Gateway API `gateway.networking.k8s.io/v1` HTTPRoute."""

from __future__ import annotations

import re
from dataclasses import replace

from fairway.kube.objects import Key, Obj, key_of, meta_of, spec_of
from fairway.traffic.changes import REDIRECTS, header_changes, seconds, status
from fairway.traffic.model import HeaderChange, HeaderChanges, HeaderMatch, QueryMatch, Redirect, Treatment
from fairway.traffic.read import Remark, Unusable, check_regex
from fairway.traffic.rules import Destination, Match, Rule, RuleSet

_CARRIED = ("RequestMirror", "URLRewrite", "RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect")


def read_http_route(obj: Obj) -> tuple[RuleSet | None, tuple[Remark, ...]]:
    """None where it leads nowhere; the remarks say what of it is not carried here."""
    key, spec = key_of(obj), spec_of(obj)
    rules, remarks = [], []
    for number, rule in enumerate(spec.get("rules") or ()):
        other = next((f.get("type") for f in rule.get("filters") or () if f.get("type") not in _CARRIED), None)
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
    filters: list[Obj] = list(rule.get("filters") or ())
    targets = tuple(_target(ref, namespace) for ref in rule.get("backendRefs") or () if ref.get("kind", "Service") == "Service")
    matches = tuple(_match(each) for each in rule.get("matches") or ()) or (Match(),)
    mirror = _of_type(filters, "RequestMirror", "requestMirror")
    redirect = _of_type(filters, "RequestRedirect", "requestRedirect")
    rewriting: Obj = redirect or _of_type(filters, "URLRewrite", "urlRewrite") or {}
    matches, rewrite = _rewriting(matches, rewriting.get("path") or {})
    return Rule(matches, () if redirect else targets,
                _target(mirror.get("backendRef") or {}, namespace) if mirror else None,
                float(mirror.get("percent", 100)) if mirror else 100.0, rewrite,
                Treatment("" if redirect else str(rewriting.get("hostname") or ""), _changes(filters),
                          _redirect(redirect) if redirect else None,
                          timeout_s=seconds((rule.get("timeouts") or {}).get("request"), "timeouts.request")))


def _of_type(filters: list[Obj], kind: str, field: str) -> Obj | None:
    return next((each.get(field) or {} for each in filters if each.get("type") == kind), None)


def _rewriting(matches: tuple[Match, ...], path: Obj) -> tuple[tuple[Match, ...], str]:
    """The matches with what is kept of the path as a group, and what takes the path's place."""
    if path.get("type") == "ReplaceFullPath":
        return (tuple(replace(match, path=_escaped(match) + ".*", kind="regex") for match in matches),
                str(path.get("replaceFullPath", "/")))
    if path.get("type") == "ReplacePrefixMatch":
        return (tuple(replace(match, path=_escaped(match).rstrip("/") + "/?(.*)", kind="regex") for match in matches),
                str(path.get("replacePrefixMatch", "/")).rstrip("/") + "/\\1")
    return matches, ""


def _redirect(wanted: Obj) -> Redirect:
    """A scheme has its own port, unless another is said."""
    scheme = str(wanted.get("scheme") or "")
    port = wanted.get("port") or {"http": 80, "https": 443}.get(scheme)
    return Redirect(status(wanted.get("statusCode") or 302, "requestRedirect.statusCode", REDIRECTS), scheme,
                    str(wanted.get("hostname") or ""), None if port is None else int(port))


def _changes(filters: list[Obj]) -> HeaderChanges:
    """Of a rule or of one of its backends."""
    sides: list[tuple[HeaderChange, ...]] = []
    for field in ("requestHeaderModifier", "responseHeaderModifier"):
        wanted = _of_type(filters, field[0].upper() + field[1:], field) or {}
        sides.append((*header_changes("remove", ((str(name), "") for name in wanted.get("remove") or ()), field),
                      *(change for how in ("set", "add") for change in header_changes(
                          how, ((str(one.get("name", "")), one.get("value", "")) for one in wanted.get(how) or ()), field))))
    return HeaderChanges(*sides)


def _escaped(match: Match) -> str:
    return match.path.removesuffix("$") if match.kind == "regex" else re.escape(match.path)


def _target(ref: Obj, namespace: str) -> Destination:
    weight = ref.get("weight")
    return Destination(Key(str(ref.get("namespace") or namespace), str(ref.get("name", ""))), ref.get("port"),
                       1 if weight is None else int(weight), changes=_changes(list(ref.get("filters") or ())))


def _match(match: Obj) -> Match:
    headers = [_header(each) for each in match.get("headers") or ()]
    if match.get("method"):
        headers.append(HeaderMatch(":method", str(match["method"])))
    queries = tuple(QueryMatch(each.name, each.value, each.kind)
                    for each in (_header(each) for each in match.get("queryParams") or ()))
    path: Obj = match.get("path") or {}
    value, kind = str(path.get("value") or "/"), path.get("type", "PathPrefix")
    if kind == "Exact":
        return Match(value, "exact", tuple(headers), queries)
    if kind == "RegularExpression":
        check_regex(value, "path.value")
        return Match(f"(?:{value})$", "regex", tuple(headers), queries)
    return Match(value, "prefix", tuple(headers), queries)


def _header(header: Obj) -> HeaderMatch:
    name, value = str(header.get("name", "")), str(header.get("value", ""))
    if header.get("type") != "RegularExpression":
        return HeaderMatch(name, value)
    check_regex(value, f"headers[{name}].value")
    return HeaderMatch(name, value, "regex")
