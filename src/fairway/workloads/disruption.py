"""PodDisruptionBudget: how many pods may be taken away right now. The eviction that asks comes with the eviction subresource.

Source: kubernetes `pkg/controller/disruption/disruption.go` getExpectedPodCount, countHealthyPods.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from fairway.kube.cache import Informers
from fairway.kube.decision import Decision, Outcome, Reason, carry_out_decision, rest_after
from fairway.kube.objects import (
    Key,
    Obj,
    is_deleting,
    is_true,
    key_of,
    labels_of,
    meta_of,
    rfc3339,
    spec_of,
    status_of,
    with_condition,
)
from fairway.kube.reconcile import Watch
from fairway.kube.resources import POD_DISRUPTION_BUDGETS, PODS
from fairway.kube.selectors import from_label_selector
from fairway.kube.template import int_or_percent


def decide(budget: Obj, pods: Sequence[Obj], now: datetime) -> Decision:
    """`pods` are those that the budget selects and that are not finished."""
    spec, expected = spec_of(budget), len(pods)
    healthy = sum(is_true(pod, "Ready") and not is_deleting(pod) for pod in pods)
    try:
        if "maxUnavailable" in spec:
            desired = max(expected - int_or_percent(spec["maxUnavailable"], expected, round_up=True), 0)
        else:
            desired = int_or_percent(spec.get("minAvailable", 1), expected, round_up=True)
    except ValueError as error:
        return Decision(reasons=(Reason("InvalidBudget", str(error)),))
    allowed = max(healthy - desired, 0) if expected else 0
    condition = {
        "type": "DisruptionAllowed", "status": "True" if allowed else "False",
        "reason": "SufficientPods" if allowed else "InsufficientPods", "message": "",
        "lastTransitionTime": rfc3339(now), "observedGeneration": meta_of(budget).get("generation", 1),
    }  # fmt: skip
    status = {
        "currentHealthy": healthy, "desiredHealthy": desired, "disruptionsAllowed": allowed, "expectedPods": expected,
        "observedGeneration": meta_of(budget).get("generation", 1),
        "conditions": with_condition(status_of(budget).get("conditions") or (), condition),
    }  # fmt: skip
    return Decision(status=status)


class DisruptionController:
    """Implements `Controller`."""

    name = "disruption-controller"
    resource = POD_DISRUPTION_BUDGETS
    workers = 2

    def __init__(self, informers: Informers) -> None:
        self._informers = informers
        self._budgets, self._pods = informers.of(POD_DISRUPTION_BUDGETS), informers.of(PODS)

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
        decision = decide(budget, pods, now)
        outcome = await carry_out_decision(self._informers.api, decision, self.resource, budget, manager=self.name)
        return replace(outcome, rest_s=rest_after(len(pods)))
