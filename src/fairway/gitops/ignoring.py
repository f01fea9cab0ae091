"""`ignoreDifferences`: fields that are not ours to compare, by JSON pointer, by jq expression, by trusted manager. Pure.

A jq expression runs inside the daemon, and libjq cannot be interrupted: what could run for ever or grow without bound is
refused when the Application is read, before any object is looked at.
"""

from __future__ import annotations

import copy
import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jq

from fairway.kube.facts import facts
from fairway.kube.objects import Obj, group_of, meta_of
from fairway.kube.patches import apply, fieldsets, json_patch
from fairway.kube.schema import ANY

_LONGEST = 1000
_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"')
_UNBOUNDED = re.compile(
    r"\b(def|while|until|repeat|range|limit|reduce|foreach|inputs?|env|import|include|splits|combinations|debug|stderr|"
    r"input_filename|now|halt|halt_error|\$ENV)\b|\brecurse\s*\(|\$ENV|\*")


class BadExpression(ValueError):
    """The text names the expression and why it is not taken."""


@dataclass(frozen=True, slots=True)
class IgnoreRule:
    """Which fields of which objects; group and kind are patterns."""

    kind: str
    group: str = ""
    name: str = ""
    namespace: str = ""
    json_pointers: tuple[str, ...] = ()
    jq_paths: tuple[str, ...] = ()
    managers: tuple[str, ...] = ()

    def fits(self, obj: Obj) -> bool:
        meta, group = meta_of(obj), group_of(str(obj.get("apiVersion") or ""))
        return (fnmatch.fnmatchcase(str(obj.get("kind") or ""), self.kind) and fnmatch.fnmatchcase(group, self.group)
                and self.name in ("", meta.get("name")) and self.namespace in ("", meta.get("namespace") or ""))


def matching(obj: Obj, rules: Iterable[IgnoreRule]) -> list[IgnoreRule]:
    return [rule for rule in rules if rule.fits(obj)]


def check_expression(text: str) -> None:
    """Raise `BadExpression` for what jq does not read, and for what need not end."""
    if len(text) > _LONGEST:
        raise BadExpression(f"{text[:40]}…: is longer than {_LONGEST} characters")
    found = _UNBOUNDED.search(_STRINGS.sub('""', text))
    if found is not None:
        raise BadExpression(f"{text!r}: {found[0].strip()!r} may run without end and is refused; name the fields by a path "
                            "such as .spec.template.spec.containers[] | select(.name == \"app\") | .image")
    try:
        _deleting(text)
    except ValueError as error:
        raise BadExpression(f"{text!r}: {' '.join(str(error).split())}") from error


@lru_cache(maxsize=512)
def _deleting(text: str) -> Any:
    return jq.compile(f"del({text})")


@lru_cache(maxsize=512)
def _paths(text: str) -> Any:
    return jq.compile(f"[path({text})]")


def without_ignored(obj: Obj, rules: Iterable[IgnoreRule]) -> Obj:
    """The object without the fields that the matching rules name. A missing field is not an error."""
    fitting = matching(obj, rules)
    pointers = [pointer for rule in fitting for pointer in rule.json_pointers]
    expressions = [text for rule in fitting for text in rule.jq_paths]
    found = copy.deepcopy(obj) if pointers else obj
    for pointer in pointers:
        try:
            found = json_patch.apply_operations(found, [{"op": "remove", "path": pointer}])
        except json_patch.PatchFailed:
            continue
    for text in expressions:
        try:
            answers = _deleting(text).input_value(found).all()
        except ValueError:
            continue
        if len(answers) == 1 and isinstance(answers[0], dict):
            found = answers[0]
    return found


def with_live_ignored(target: Obj, live: Obj, rules: Iterable[IgnoreRule]) -> Obj:
    """`RespectIgnoreDifferences`: the target with the live values of ignored fields, so that applying leaves them."""
    found = target
    for rule in matching(target, rules):
        for pointer in (*rule.json_pointers, *(p for text in rule.jq_paths for p in _pointers(text, (target, live)))):
            if pointer == "/status" or pointer.startswith("/status/"):
                continue
            value = _at(live, pointer)
            operation = {"op": "remove", "path": pointer} if value is _ABSENT else {
                "op": "add", "path": pointer, "value": value}
            try:
                found = json_patch.apply_operations(found, [operation])
            except json_patch.PatchFailed:
                continue
    return found


def _pointers(text: str, objects: Sequence[Obj]) -> list[str]:
    found: dict[str, None] = {}
    for obj in objects:
        try:
            paths = _paths(text).input_value(obj).first()
        except (ValueError, StopIteration):
            continue
        for path in paths:
            found["/" + "/".join(str(step).replace("~", "~0").replace("/", "~1") for step in path)] = None
    return list(found)


_ABSENT = object()


def _at(obj: Any, pointer: str) -> Any:
    for raw in pointer.strip("/").split("/"):
        step = raw.replace("~1", "/").replace("~0", "~")
        if isinstance(obj, Mapping) and step in obj:
            obj = obj[step]
        elif isinstance(obj, list) and step.isdigit() and int(step) < len(obj):
            obj = obj[int(step)]
        else:
            return _ABSENT
    return obj


def without_trusted(live: Obj, predicted: Obj, rules: Iterable[IgnoreRule]) -> tuple[Obj, Obj]:
    """Both sides without the differing fields that a trusted manager owns in the live object."""
    trusted = {manager for rule in matching(live, rules) for manager in rule.managers}
    if not trusted:
        return live, predicted
    schema = facts().of_kind(str(live.get("apiVersion") or ""), str(live.get("kind") or "")) or ANY
    difference = apply.compare(live, predicted, schema)
    changed = fieldsets.union(difference.written, difference.removed)
    owned: fieldsets.Fields = {}
    for owner in apply.load_owners(live):
        if owner.manager in trusted:
            owned = fieldsets.union(owned, owner.fields)
    theirs = fieldsets.intersection(owned, changed)
    return (fieldsets.remove(live, schema, theirs), fieldsets.remove(predicted, schema, theirs)) if theirs else (
        live, predicted)
