"""How many replicas one metric asks for.

Pods that are not ready or not measured must not tip the scales: where they are left out the answer could overshoot, so they
are counted as if they spoke against the change, and the change only holds if it survives that. Source: kubernetes
`pkg/controller/podautoscaler/replica_calculator.go`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction

from fairway.kube.objects import Obj, condition, dig, is_deleting, meta_of, parse_time, spec_of, status_of
from fairway.kube.quantity import canonical, parse_quantity
from fairway.workloads.metric_source import MetricUnavailable, PodMetric
from fairway.workloads.pods import is_ready, phase

CPU_INITIALIZATION = timedelta(minutes=5)
INITIAL_READINESS_DELAY = timedelta(seconds=30)
TOLERANCE = 0.1
"""Upstream's defaults of `--horizontal-pod-autoscaler-…`: the first of them a start-up burst, the last a dead band."""


@dataclass(frozen=True, slots=True)
class Tolerances:
    """A ratio of use to target in [1 - down, 1 + up] is as good as 1."""

    up: float = TOLERANCE
    down: float = TOLERANCE

    def holds(self, ratio: float) -> bool:
        return 1 - self.down - 1e-9 <= ratio <= 1 + self.up + 1e-9


@dataclass(frozen=True, slots=True)
class Target:
    """What is scaled. `replicas`: as its scale says now; `pods`: those that its selector matches."""

    replicas: int
    pods: Sequence[Obj]
    now: datetime
    tolerances: Tolerances = Tolerances()


@dataclass(frozen=True, slots=True)
class Proposal:
    """`current`: the `current` of the metric in the status."""

    replicas: int
    current: Obj


@dataclass(frozen=True, slots=True)
class _Groups:
    ready: int
    unready: frozenset[str]
    missing: frozenset[str]
    ignored: frozenset[str]


# --- metrics of pods --------------------------------------------------------------------------------------------------


def by_utilization(target: Target, metrics: Mapping[str, PodMetric], resource: str, percent: int, container: str = ""
                   ) -> Proposal:
    requests = {meta_of(pod)["name"]: _request(pod, resource, container) for pod in target.pods if not _is_ignored(pod)}
    shares = {name: percent / 100 * request for name, request in requests.items()}
    proposal = _of_pods(target, metrics, resource, shares, {name: max(share, requests[name]) for name, share in shares.items()})
    measured = {name: metric.value for name, metric in metrics.items() if name in requests}
    asked = sum(requests[name] for name in measured)
    current: Obj = {"averageValue": quantity(sum(measured.values()) / max(len(measured), 1))}
    if asked:
        current["averageUtilization"] = int(100 * sum(measured.values()) / asked)
    return Proposal(proposal, current)


def by_average(target: Target, metrics: Mapping[str, PodMetric], wanted: float, resource: str = "") -> Proposal:
    """`resource` "": a metric of the pods' own, for which start-up makes no difference."""
    shares = {meta_of(pod)["name"]: wanted for pod in target.pods if not _is_ignored(pod)}
    replicas = _of_pods(target, metrics, resource, shares, shares)
    values = [metric.value for name, metric in metrics.items() if name in shares]
    return Proposal(replicas, {"averageValue": quantity(sum(values) / max(len(values), 1))})


def _of_pods(target: Target, metrics: Mapping[str, PodMetric], resource: str, wanted: Mapping[str, float],
             full: Mapping[str, float]) -> int:
    """`wanted`: each pod's target use. `full`: what an unmeasured pod counts when the others would shrink."""
    if not target.pods:
        raise MetricUnavailable("no pods returned by selector while calculating replica count")
    groups = _groups(target, metrics, resource)
    use = {name: metric.value for name, metric in metrics.items()
           if name in wanted and name not in groups.ignored and name not in groups.unready}
    if not use:
        raise MetricUnavailable("did not receive metrics for targeted pods (pods might be unready)")
    ratio = _ratio(use, wanted)
    up_with_unready = bool(groups.unready) and ratio > 1
    if not up_with_unready and not groups.missing:
        return target.replicas if target.tolerances.holds(ratio) else _ceil(ratio * groups.ready)
    for name in groups.missing:
        use[name] = full[name] if ratio < 1 else 0.0
    if up_with_unready:
        use |= dict.fromkeys(groups.unready, 0.0)
    careful = _ratio(use, wanted)
    if target.tolerances.holds(careful) or (ratio < 1 < careful) or (careful < 1 < ratio):
        return target.replicas
    replicas = _ceil(careful * len(use))
    turned = replicas > target.replicas if careful < 1 else replicas < target.replicas
    return target.replicas if turned else replicas


def _ratio(use: Mapping[str, float], wanted: Mapping[str, float]) -> float:
    return sum(use.values()) / sum(wanted[name] for name in use)


def _groups(target: Target, metrics: Mapping[str, PodMetric], resource: str) -> _Groups:
    ready, unready, missing, ignored = 0, set(), set(), set()
    for pod in target.pods:
        name = meta_of(pod)["name"]
        metric = metrics.get(name)
        if _is_ignored(pod):
            ignored.add(name)
        elif phase(pod) == "Pending":
            unready.add(name)
        elif metric is None:
            missing.add(name)
        elif resource == "cpu" and _starts(pod, metric, target.now):
            unready.add(name)
        else:
            ready += 1
    return _Groups(ready, frozenset(unready), frozenset(missing), frozenset(ignored))


def _is_ignored(pod: Obj) -> bool:
    return is_deleting(pod) or phase(pod) == "Failed"


def _starts(pod: Obj, metric: PodMetric, now: datetime) -> bool:
    """Whether the cpu that a pod uses may still be that of its start."""
    started, ready = status_of(pod).get("startTime"), condition(pod, "Ready")
    if not started or ready is None:
        return True
    since = parse_time(ready["lastTransitionTime"])
    begun = parse_time(started)
    if begun + CPU_INITIALIZATION > now:
        return ready["status"] == "False" or metric.at < since + timedelta(seconds=metric.window_s)
    return ready["status"] == "False" and begun + INITIAL_READINESS_DELAY > since


def _request(pod: Obj, resource: str, container: str) -> float:
    sidecars = [one for one in spec_of(pod).get("initContainers") or () if one.get("restartPolicy") == "Always"]
    total = 0.0
    for one in (*spec_of(pod).get("containers", ()), *sidecars):
        if container and one["name"] != container:
            continue
        asked = dig(one, "resources", "requests", resource)
        if asked is None:
            raise MetricUnavailable(f"missing request for {resource} in container {one['name']} of Pod {meta_of(pod)['name']}")
        total += float(parse_quantity(asked))
    if not total:
        raise MetricUnavailable(f"container {container} not found in Pod {meta_of(pod)['name']}")
    return total


# --- metrics of something else ----------------------------------------------------------------------------------------


def by_value(target: Target, value: float, wanted: float) -> Proposal:
    """A total to be held at `wanted` by as many pods as serve now, in proportion."""
    ratio = value / wanted
    current = {"value": quantity(value)}
    if target.tolerances.holds(ratio) and target.replicas:
        return Proposal(target.replicas, current)
    if target.replicas == 0:
        return Proposal(_ceil(ratio), current)
    if not target.pods:
        raise MetricUnavailable("no pods returned by selector while calculating replica count")
    serving = sum(is_ready(pod) and phase(pod) == "Running" for pod in target.pods)
    return Proposal(_ceil(ratio * serving), current)


def by_share(target: Target, values: Iterable[float], wanted: float) -> Proposal:
    """A total of which each pod shall have `wanted`."""
    total = sum(values)
    current = {"averageValue": quantity(total / target.replicas if target.replicas else total)}
    if target.replicas and target.tolerances.holds(total / (wanted * target.replicas)):
        return Proposal(target.replicas, current)
    return Proposal(_ceil(total / wanted), current)


def _ceil(value: float) -> int:
    """Of the number that is meant: 3.0000000000000004 is three."""
    return math.ceil(Fraction(value).limit_denominator(10**6))


def quantity(value: float) -> str:
    """To the thousandth, as the status shows it."""
    return canonical(f"{math.ceil(round(value * 1000, 6))}m")
