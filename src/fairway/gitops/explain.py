"""Where each difference between git and a live object comes from: who wrote the value, and what git or the API says. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fairway.gitops.compare import differing_fields, normalised
from fairway.gitops.ignoring import IgnoreRule, matching, without_trusted
from fairway.kube.facts import facts
from fairway.kube.objects import Obj
from fairway.kube.patches import apply, fieldsets
from fairway.kube.schema import ANY, Schema

_ABSENT: Any = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """`path` as a JSON pointer; `ignored` where a rule leaves it out of the comparison."""

    path: str
    why: str
    ignored: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


def explain(target: Obj, live: Obj, predicted: Obj, rules: Sequence[IgnoreRule], manager: str) -> list[Difference]:
    """Every path that differs, ignored ones last. `predicted` is what applying `target` would make of `live`."""
    trusted_live, trusted_predicted = without_trusted(live, predicted, rules)
    counted = differing_fields(normalised(trusted_live, rules), normalised(trusted_predicted, rules))
    every = differing_fields(normalised(live), normalised(predicted))
    schema = facts().of_kind(str(live.get("apiVersion") or ""), str(live.get("kind") or "")) or ANY
    found = [Difference(path, _why(path, target, live, predicted, schema, manager)) for path in counted]
    left = [path for path in every if not any(path == c or c.startswith(path + "/") or path.startswith(c + "/")
                                              for c in counted)]
    return [*found, *(Difference(path, _rule(path, live, rules), ignored=True) for path in left)]


def _why(path: str, target: Obj, live: Obj, predicted: Obj, schema: Schema, manager: str) -> str:
    in_git, now, then = (_at(obj, path) for obj in (target, live, predicted))
    owning = writers(path, live, schema)
    others = [words for name, words in owning if name != manager]
    if now is _ABSENT:
        return "git sets it" if in_git is not _ABSENT else "a default of the API, once git's version is applied"
    if then is _ABSENT:
        return "git no longer says it" + (f"; {others[0]} has it too" if others else "")
    if in_git is _ABSENT:
        return f"follows from what git says; now it is as {others[0]} left it" if others else "follows from what git says"
    if others:
        return f"{others[0]} changed it; git says otherwise"
    return "git has changed it" if owning else "git says otherwise; nobody is on record as its writer"


def _rule(path: str, live: Obj, rules: Sequence[IgnoreRule]) -> str:
    for rule in matching(live, rules):
        for pointer in rule.json_pointers:
            if path == pointer or path.startswith(pointer + "/") or pointer.startswith(path + "/"):
                return f"ignored by the jsonPointer {pointer}"
        if rule.managers and not rule.jq_paths:
            return f"ignored: managed by {', '.join(rule.managers)}"
        if rule.jq_paths:
            return f"ignored by the jqPathExpression {' or '.join(rule.jq_paths)}"
    return "ignored"


def writers(path: str, live: Obj, schema: Schema) -> list[tuple[str, str]]:
    """(manager, what to call it) of everybody who owns the field, or what it lies in."""
    try:
        owners = apply.load_owners(live)
    except ValueError:
        return []
    found = []
    for owner in owners:
        if owns(owner.fields, _steps(path), live, schema):
            when = f" at {owner.time}" if owner.time else ""
            found.append((owner.manager, f"{owner.manager} ({owner.operation.lower()}{when})"))
    return found


def owns(fields: fieldsets.Fields, steps: Sequence[str], value: Any, schema: Schema) -> bool:
    if not steps:
        return bool(fields)
    step, rest = steps[0], steps[1:]
    if isinstance(value, dict):
        inner, below, kind = fields.get(f"f:{step}"), value.get(step), schema.child(step) or ANY
    elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
        item, kind = value[int(step)], schema.items or ANY
        if schema.kind != "list" or schema.list_type == "atomic":
            return "." in fields
        inner, below = fields.get(fieldsets.element(item, schema)), item
    else:
        return "." in fields
    if inner is None:
        return False
    if set(inner) == {"."}:
        return True
    return owns(inner, rest, below, kind)


def _steps(path: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in path.strip("/").split("/") if step]


def _at(obj: Any, path: str) -> Any:
    for step in _steps(path):
        if isinstance(obj, list) and step.isdigit() and int(step) < len(obj):
            obj = obj[int(step)]
        elif isinstance(obj, dict) and step in obj:
            obj = obj[step]
        else:
            return _ABSENT
    return obj
