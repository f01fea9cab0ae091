"""How fast an autoscaler may follow its metrics: stabilisation windows and rates.

Going up takes the lowest, going down the highest recommendation of its window, so that a short peak or dip moves nothing.
The policies then bound the change within each of their periods. Source: kubernetes
`pkg/controller/podautoscaler/horizontal.go` (…WithBehaviors, calculateScale…Limit).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from fairway.kube.objects import Obj, dig
from fairway.kube.quantity import parse_quantity
from fairway.workloads.autoscaler_replicas import TOLERANCE, Tolerances

_LONGEST = timedelta(hours=1)
"""The largest window and a period twice over that the API accepts: older memories decide nothing."""
_DOWN_WINDOW_S = 300


@dataclass(frozen=True, slots=True)
class Policy:
    kind: Literal["Pods", "Percent"]
    value: int
    period: timedelta


@dataclass(frozen=True, slots=True)
class Rules:
    """`select`: Max, Min or Disabled."""

    window: timedelta
    select: str
    policies: tuple[Policy, ...]
    tolerance: float = TOLERANCE


@dataclass(frozen=True, slots=True)
class Behavior:
    up: Rules
    down: Rules

    @property
    def tolerances(self) -> Tolerances:
        return Tolerances(self.up.tolerance, self.down.tolerance)


Moments = tuple[tuple[datetime, int], ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """What was recommended, and by how much it was scaled, each with its time."""

    recommendations: Moments = ()
    ups: Moments = ()
    downs: Moments = ()

    def recommended(self, now: datetime, replicas: int) -> Memory:
        return replace(self, recommendations=(*_recent(self.recommendations, now), (now, replicas)))

    def scaled(self, now: datetime, before: int, after: int) -> Memory:
        if after > before:
            return replace(self, ups=(*_recent(self.ups, now), (now, after - before)))
        return replace(self, downs=(*_recent(self.downs, now), (now, before - after)))


def _recent(moments: Moments, now: datetime) -> Moments:
    return tuple(one for one in moments if one[0] > now - _LONGEST)


@dataclass(frozen=True, slots=True)
class Limited:
    """The replicas that may be, and why they are not those that were wished (reasons of the conditions)."""

    replicas: int
    able: tuple[str, str]
    limit: tuple[bool, str, str]


def behavior_of(spec: Obj) -> Behavior:
    """With upstream's defaults where the user says nothing."""
    usual_up = (Policy("Pods", 4, timedelta(seconds=15)), Policy("Percent", 100, timedelta(seconds=15)))
    usual_down = (Policy("Percent", 100, timedelta(seconds=15)),)
    return Behavior(_rules(dig(spec, "behavior", "scaleUp", default={}), 0, usual_up),
                    _rules(dig(spec, "behavior", "scaleDown", default={}), _DOWN_WINDOW_S, usual_down))


def _rules(said: Obj, window_s: int, usual: tuple[Policy, ...]) -> Rules:
    window = said.get("stabilizationWindowSeconds")
    policies = tuple(Policy(one["type"], int(one["value"]), timedelta(seconds=int(one["periodSeconds"])))
                     for one in said.get("policies") or ()) or usual
    tolerance = float(parse_quantity(said["tolerance"])) if said.get("tolerance") is not None else TOLERANCE
    return Rules(timedelta(seconds=window_s if window is None else int(window)), said.get("selectPolicy") or "Max", policies,
                 tolerance)


def limited(behavior: Behavior, memory: Memory, now: datetime, current: int, wished: int, least: int, most: int) -> Limited:
    """`memory` holds the recommendation `wished` already."""
    stable, able = _stabilised(behavior, memory, now, current, wished)
    replicas, limit = _within_rates(behavior, memory, now, current, stable, least, most)
    return Limited(replicas, able, limit)


def _stabilised(behavior: Behavior, memory: Memory, now: datetime, current: int, wished: int) -> tuple[int, tuple[str, str]]:
    recent = memory.recommendations

    def since(window: timedelta) -> list[int]:
        return [count for at, count in recent if at > now - window] + [wished]

    lowest, highest = min(since(behavior.up.window)), max(since(behavior.down.window))
    stable = max(current, lowest) if current < lowest else min(current, highest)
    if wished > stable:
        return stable, ("ScaleUpStabilized",
                        "recent recommendations were lower than current one, applying the lowest recent recommendation")
    if wished < stable:
        return stable, ("ScaleDownStabilized",
                        "recent recommendations were higher than current one, applying the highest recent recommendation")
    return stable, ("ReadyForNewScale", "recommended size matches current size")


def _within_rates(behavior: Behavior, memory: Memory, now: datetime, current: int, wished: int, least: int, most: int
                  ) -> tuple[int, tuple[bool, str, str]]:
    if wished > current:
        fastest = max(_fastest_up(behavior.up, memory, now, current), current)
        if wished > min(most, fastest):
            slow = (True, "ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
            full = (True, "TooManyReplicas", "the desired replica count is more than the maximum replica count")
            return min(most, fastest), slow if fastest < most else full
    elif wished < current:
        fastest = min(_fastest_down(behavior.down, memory, now, current), current)
        if wished < max(least, fastest):
            slow = (True, "ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")
            few = (True, "TooFewReplicas", "the desired replica count is less than the minimum replica count")
            return max(least, fastest), slow if fastest > least else few
    if wished > most:
        return most, (True, "TooManyReplicas", "the desired replica count is more than the maximum replica count")
    if wished < least:
        return least, (True, "TooFewReplicas", "the desired replica count is less than the minimum replica count")
    return wished, (False, "DesiredWithinRange", "the desired count is within the acceptable range")


def _fastest_up(rules: Rules, memory: Memory, now: datetime, current: int) -> int:
    if rules.select == "Disabled":
        return current
    found = []
    for policy in rules.policies:
        base = current - _within(memory.ups, policy, now) + _within(memory.downs, policy, now)
        found.append(base + policy.value if policy.kind == "Pods" else math.ceil(base * (100 + policy.value) / 100))
    return min(found) if rules.select == "Min" else max(found)


def _fastest_down(rules: Rules, memory: Memory, now: datetime, current: int) -> int:
    if rules.select == "Disabled":
        return current
    found = []
    for policy in rules.policies:
        base = current + _within(memory.downs, policy, now) - _within(memory.ups, policy, now)
        found.append(base - policy.value if policy.kind == "Pods" else int(base * (100 - policy.value) / 100))
    return max(found) if rules.select == "Min" else min(found)


def _within(moments: Sequence[tuple[datetime, int]], policy: Policy, now: datetime) -> int:
    return sum(change for at, change in moments if at > now - policy.period)
