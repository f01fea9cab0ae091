"""Ingresses of class `alb` as this room sees them: forward actions and header conditions in annotations.

Source: AWS load balancer controller, Ingress annotations `actions.NAME` and `conditions.NAME`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from fairway.kube.objects import Key, Obj, annotations_of, key_of, spec_of
from fairway.traffic.model import HeaderMatch
from fairway.traffic.read import Remark
from fairway.traffic.rules import Destination, Match, Rule, RuleSet

PREFIX = "alb.ingress.kubernetes.io/"
BY_ANNOTATION = "use-annotation"


def read_alb(obj: Obj) -> tuple[tuple[RuleSet, ...], tuple[Remark, ...]]:
    """A rule set per host. Its `generation` is the weights of the divided action, which is what is answered for."""
    key, remarks, sets = key_of(obj), [], []
    for rule in spec_of(obj).get("rules") or ():
        rules = []
        for path in (rule.get("http") or {}).get("paths") or ():
            try:
                made = _rule(obj, key, path)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                remarks.append(Remark.on("Ingress", key, "AnnotationInvalid", f"path {path.get('path')}: {error}"))
                continue
            if made is None:
                remarks.append(Remark.on("Ingress", key, "RuleNotServed", f"path {path.get('path')}: only forward actions are "
                                         "carried here; the path is left out"))
            else:
                rules.append(made)
        divided = next((one.targets for one in rules if len(one.targets) > 1), ())
        weights = ",".join(str(target.weight) for target in divided)
        if rules:
            sets.append(RuleSet("Ingress", key, weights, (str(rule.get("host") or "*").lower(),), tuple(rules), ordered=True))
    return tuple(sets), tuple(remarks)


def _rule(obj: Obj, key: Key, path: Obj) -> Rule | None:
    backend: Obj = (path.get("backend") or {}).get("service") or {}
    name, port = str(backend.get("name", "")), backend.get("port") or {}
    headers: tuple[HeaderMatch, ...] = ()
    if port.get("name") != BY_ANNOTATION:
        targets: tuple[Destination, ...] = (Destination(Key(key.namespace, name), port.get("number") or port.get("name"), 1),)
    else:
        notes = annotations_of(obj)
        action = _lowered(json.loads(notes[f"{PREFIX}actions.{name}"])) if f"{PREFIX}actions.{name}" in notes else None
        if action is None:
            raise ValueError(f"there is no annotation {PREFIX}actions.{name}")
        if action.get("type") != "forward":
            return None
        targets = tuple(_targets(key, action))
        headers = tuple(_headers(_lowered(json.loads(notes.get(f"{PREFIX}conditions.{name}") or "[]"))))
    return Rule((_match(path, headers),), targets)


def _targets(key: Key, action: Obj) -> Iterator[Destination]:
    for group in (action.get("forwardconfig") or {}).get("targetgroups") or ():
        port = str(group.get("serviceport", ""))
        yield Destination(Key(key.namespace, str(group["servicename"])), int(port) if port.isdigit() else port or None,
                          int(group.get("weight", 1)))


def _headers(conditions: list[Obj]) -> Iterator[HeaderMatch]:
    """Of several values one has to match; `*` and `?` are wildcards."""
    for condition in conditions:
        config = condition.get("httpheaderconfig")
        if config:
            values = [re.escape(str(v)).replace(r"\*", ".*").replace(r"\?", ".") for v in config.get("values") or ()]
            yield HeaderMatch(str(config.get("httpheadername", "")), "|".join(values), "regex")


def _match(path: Obj, headers: tuple[HeaderMatch, ...]) -> Match:
    text = str(path.get("path") or "/")
    if path.get("pathType") == "Exact":
        return Match(text, "exact", headers)
    if path.get("pathType") == "Prefix" or text in ("/", "/*"):
        return Match(text.removesuffix("*"), "prefix", headers)
    wild = re.escape(text).replace(r"\*", ".*").replace(r"\?", ".")
    return Match(f"(?:{wild})$", "regex", headers)


def _lowered(value: Any) -> Any:
    """Keys are written in either case (`Type`, `type`)."""
    if isinstance(value, dict):
        return {str(name).lower(): _lowered(inner) for name, inner in value.items()}
    return [_lowered(inner) for inner in value] if isinstance(value, list) else value
