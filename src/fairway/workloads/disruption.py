"""PodDisruptionBudget: how many pods may be taken away right now. Evictions count it down (`kube.http.evictions`).

Source: kubernetes `pkg/controller/disruption/disruption.go` getExpectedPodCount, countHealthyPods.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fairway.kube.cache import Informers
from fairway.kube.decision import Decision, Outcome, Reason, carry_out_decision, earliest, rest_after
from fairway.kube.objects import (
    Key,
    Obj,
    controller_of,
    is_deleting,
    is_true,
    key_of,
    labels_of,
    meta_of,
    parse_time,
    rfc3339,
    spec_of,
    status_of,
    uid_of,
    with_condition,
)
from fairway.kube.reconcile import Watch
from fairway.kube.resources import DEPLOYMENTS, POD_DISRUPTION_BUDGETS, PODS, REPLICA_SETS, ROLLOUTS, STATEFUL_SETS
from fairway.kube.selectors import from_label_selector
from fairway.kube.template import int_or_percent

FORGOTTEN_AFTER = timedelta(minutes=2)
"""Upstream's DeletionTimeout: an eviction that deleted nothing by then gives its place back."""


@dataclass(frozen=True, slots=True)
class Seen:
    """`pods`: those that the budget selects and that are not finished. `scales`: by controller uid, how many it wants."""

    budget: Obj
    pods: Sequence[Obj]
    scales: Mapping[str, int]


def decide(seen: Seen, now: datetime) -> Decision:
    budget, pods = seen.budget, seen.pods
    spec, generation = spec_of(budget), meta_of(budget).get("generation", 1)
    try:
        expected, desired = _wanted(spec, pods, seen.scales)
    except ValueError as error:
        words = f"Failed to calculate the number of expected pods: {error}"
        failed = _condition(now, "False", "SyncFailed", words, generation)
        conditions = with_condition(status_of(budget).get("conditions") or (), failed)
        return Decision((), {"disruptionsAllowed": 0, "observedGeneration": generation, "conditions": conditions},
                        reasons=(Reason("SyncFailed", words),))
    evicted, wake_at = _evicted(budget, pods, now)
    healthy = sum(is_true(pod, "Ready") and not is_deleting(pod) and meta_of(pod)["name"] not in evicted for pod in pods)
    allowed = max(healthy - desired, 0) if expected else 0
    entry = _condition(now, "True" if allowed else "False", "SufficientPods" if allowed else "InsufficientPods", "", generation)
    gone = {name: None for name in status_of(budget).get("disruptedPods") or {} if name not in evicted}
    status: Obj = {
        "currentHealthy": healthy, "desiredHealthy": desired, "disruptionsAllowed": allowed, "expectedPods": expected,
        "observedGeneration": generation,
        "conditions": with_condition(status_of(budget).get("conditions") or (), entry),
    }  # fmt: skip
    if gone or evicted:
        status["disruptedPods"] = {**evicted, **gone} if evicted else None
    return Decision(status=status, wake_at=wake_at)


def _wanted(spec: Obj, pods: Sequence[Obj], scales: Mapping[str, int]) -> tuple[int, int]:
    """(pods that there should be, of which must stay healthy). A share is one of what the controllers want."""
    if "maxUnavailable" not in spec and isinstance(spec.get("minAvailable", 1), int):
        return len(pods), int(spec.get("minAvailable", 1))
    controllers: dict[str, int] = {}
    for pod in pods:
        owner = controller_of(pod)
        if owner is None:
            raise ValueError(f"found no controllers for pod {meta_of(pod)['name']!r}")
        controllers[owner["uid"]] = scales.get(owner["uid"], sum(_owned(other, owner["uid"]) for other in pods))
    expected = sum(controllers.values())
    if "maxUnavailable" in spec:
        return expected, max(expected - int_or_percent(spec["maxUnavailable"], expected, round_up=True), 0)
    return expected, int_or_percent(spec["minAvailable"], expected, round_up=True)


def _owned(pod: Obj, uid: str) -> bool:
    owner = controller_of(pod)
    return owner is not None and bool(owner["uid"] == uid)


def _evicted(budget: Obj, pods: Sequence[Obj], now: datetime) -> tuple[dict[str, str], datetime | None]:
    """Pods that were evicted and whose deletion is not seen yet, and when to look for it again."""
    here = {meta_of(pod)["name"] for pod in pods if not is_deleting(pod)}
    noted = status_of(budget).get("disruptedPods") or {}
    kept = {name: at for name, at in noted.items() if name in here and parse_time(at) + FORGOTTEN_AFTER > now}
    return kept, earliest(*(parse_time(at) + FORGOTTEN_AFTER for at in kept.values()))


def _condition(now: datetime, status: str, reason: str, message: str, generation: int) -> Obj:
    return {"type": "DisruptionAllowed", "status": status, "reason": reason, "message": message,
            "lastTransitionTime": rfc3339(now), "observedGeneration": generation}


class DisruptionController:
    """Implements `Controller`."""

    name = "disruption-controller"
    resource = POD_DISRUPTION_BUDGETS
    workers = 2

    def __init__(self, informers: Informers) -> None:
        self._informers = informers
        self._budgets, self._pods = informers.of(POD_DISRUPTION_BUDGETS), informers.of(PODS)
        self._scaled = {row.kind: informers.of(row) for row in (REPLICA_SETS, STATEFUL_SETS, DEPLOYMENTS, ROLLOUTS)}

    def watches(self) -> Sequence[Watch]:
        return [Watch(PODS, self._budgets_of)]

    def _budgets_of(self, pod: Obj) -> Iterable[Key]:
        for budget in self._budgets.list(key_of(pod).namespace):
            if from_label_selector(spec_of(budget).get("selector")).matches(labels_of(pod)):
                yield key_of(budget)

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        budget = self._budgets.get(key)
        if budget is None or is_deleting(budget):
            return Outcome()
        selector = from_label_selector(spec_of(budget).get("selector"))
        pods = [p for p in self._pods.list(key.namespace, selector) if status_of(p).get("phase") not in ("Succeeded", "Failed")]
        scales = {ref["uid"]: scale for pod in pods if (ref := controller_of(pod)) is not None
                  and (scale := self._scale(key.namespace, ref)) is not None}
        decision = decide(Seen(budget, pods, scales), now)
        outcome = await carry_out_decision(self._informers.api, decision, self.resource, budget, manager=self.name)
        return replace(outcome, rest_s=rest_after(len(pods)))

    def _scale(self, namespace: str, ref: Obj) -> int | None:
        """What the topmost controller wants: a ReplicaSet is resized all the time during an update."""
        cache = self._scaled.get(ref["kind"])
        owner = cache.get(Key(namespace, ref["name"])) if cache is not None else None
        if owner is None or uid_of(owner) != ref["uid"]:
            return None
        above = controller_of(owner)
        higher = self._scale(namespace, above) if above is not None else None
        return int(spec_of(owner).get("replicas", 1)) if higher is None else higher
