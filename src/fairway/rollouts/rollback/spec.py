"""What a RollbackPolicy asks for: which workload, how long it is watched, and what counts against it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from fairway.kube.durations import parse_duration
from fairway.kube.objects import Obj, meta_of
from fairway.rollouts.fields import FieldError, Fields, SpecError

Comparison = Literal["gt", "ge", "lt", "le", "eq"]
Deed = Literal["rollback", "alert", "ignore"]
Mode = Literal["automatic", "approval"]
COMPARISONS: tuple[Comparison, ...] = ("gt", "ge", "lt", "le", "eq")
ACTIONS: tuple[Deed, ...] = ("rollback", "alert", "ignore")
MODES: tuple[Mode, ...] = ("automatic", "approval")
KINDS = ("Rollout", "Deployment", "Canary")
SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "="}


@dataclass(frozen=True, slots=True)
class Criterion:
    """Violated while the query's value compares so to `threshold`, and for as long as `period` without a break."""

    name: str
    query: str
    threshold: float
    comparison: Comparison = "gt"
    period: timedelta = timedelta(minutes=5)
    action: Deed = "rollback"

    def violated(self, value: float) -> bool:
        match self.comparison:
            case "gt":
                return value > self.threshold
            case "ge":
                return value >= self.threshold
            case "lt":
                return value < self.threshold
            case "le":
                return value <= self.threshold
            case "eq":
                return math.isclose(value, self.threshold)

    @property
    def looks_back(self) -> timedelta:
        """The longest range in the query: until so long after the promotion it still sees the old version."""
        lengths = []
        for text in re.findall(r"\[(\w+)[\]:]", self.query):
            try:
                lengths.append(parse_duration(text))
            except ValueError:
                continue
        return max(lengths, default=timedelta(0))

    def __str__(self) -> str:
        return f"{self.name} {SIGNS[self.comparison]} {self.threshold:g} for {self.period.total_seconds():g} s"


@dataclass(frozen=True, slots=True)
class Policy:
    """`every`: how often it is looked. `confirm`: after so long one look more has to agree. `mode` approval: a person says
    so, by the annotation `fairway.dev/rollback-approved: <version>`."""

    name: str
    namespace: str
    kind: str
    workload: str
    criteria: tuple[Criterion, ...]
    window: timedelta = timedelta(minutes=15)
    every: timedelta = timedelta(seconds=60)
    confirm: timedelta = timedelta(seconds=30)
    mode: Mode = "automatic"


def decode_policy(obj: Obj) -> Policy:
    """Raises `SpecError` with the path of the mistake."""
    meta, at = meta_of(obj), Fields(obj.get("spec") or {}, "spec")
    ref = at.fields("workloadRef")
    if ref is None:
        raise SpecError(FieldError("spec.workloadRef", "name the Rollout, Deployment or Canary", type="Required value"))
    kind = _one_of(ref, "kind", KINDS, "")
    window = _length(at, "window", timedelta(minutes=15))
    criteria = tuple(_criterion(each, window) for each in at.each("criteria"))
    if not criteria:
        raise SpecError(FieldError("spec.criteria", "at least one criterion is needed", type="Required value"))
    names = [criterion.name for criterion in criteria]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise SpecError(FieldError(f"spec.criteria[{i}].name", "names must differ", name, "Duplicate value"))
    return Policy(str(meta.get("name", "")), str(meta.get("namespace", "")), kind, _text(ref, "name"), criteria, window,
                  _length(at, "every", timedelta(seconds=60)), _length(at, "confirm", timedelta(seconds=30)),
                  "approval" if _one_of(at, "mode", MODES, "automatic") == "approval" else "automatic")


def _criterion(at: Fields, window: timedelta) -> Criterion:
    threshold = at.raw.get("threshold")
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)):
        raise at.wrong("threshold", "a number")
    comparison, action = _one_of(at, "comparison", COMPARISONS, "gt"), _one_of(at, "action", ACTIONS, "rollback")
    period = _length(at, "period", timedelta(minutes=5))
    if period >= window:
        raise SpecError(FieldError(at.at("period"), f"it must be shorter than spec.window ({window.total_seconds():g} s): else "
                                   "this criterion can never be violated", at.text("period")))
    return Criterion(_text(at, "name"), _text(at, "query"), float(threshold),
                     next(c for c in COMPARISONS if c == comparison), period, next(a for a in ACTIONS if a == action))


def _text(at: Fields, name: str) -> str:
    value = at.text(name)
    if not value:
        raise SpecError(FieldError(at.at(name), "missing", type="Required value"))
    return value


def _one_of(at: Fields, name: str, words: tuple[str, ...], default: str) -> str:
    value = at.text(name) or default
    if value not in words:
        raise SpecError(FieldError(at.at(name), f"must be one of {', '.join(words)}", value))
    return value


def _length(at: Fields, name: str, default: timedelta) -> timedelta:
    text = at.text(name)
    if not text:
        return default
    try:
        found = parse_duration(text)
    except ValueError as error:
        raise SpecError(FieldError(at.at(name), str(error), text)) from None
    if found <= timedelta(0):
        raise SpecError(FieldError(at.at(name), "must be above 0", text))
    return found
