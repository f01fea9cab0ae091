"""The hands of StatefulSets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from fairway.kube.cache import Informers
from fairway.kube.clock import Clock
from fairway.kube.decision import Action, Create, Delete, Outcome, carry_out_decision, rest_after
from fairway.kube.errors import ApiError, Conflict
from fairway.kube.events import EventRecorder
from fairway.kube.objects import Key, Obj, controller_of, key_of, labels_of, meta_of, spec_of, uid_of
from fairway.kube.reconcile import Watch, owner_keys
from fairway.kube.resources import CONTROLLER_REVISIONS, PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS
from fairway.kube.selectors import from_label_selector
from fairway.workloads import decide_stateful
from fairway.workloads.orphans import Orphans
from fairway.workloads.remarks import Remark


class StatefulSetController:
    """Implements `Controller`."""

    name = "statefulset-controller"
    resource = STATEFUL_SETS
    workers = 4

    def __init__(self, informers: Informers, clock: Clock) -> None:
        self._informers = informers
        self._events = EventRecorder(informers.api, clock, self.name)
        self._sets, self._pods = informers.of(STATEFUL_SETS), informers.of(PODS)
        self._revisions, self._claims = informers.of(CONTROLLER_REVISIONS), informers.of(PERSISTENT_VOLUME_CLAIMS)
        self._orphans = Orphans(self._pods)

    def watches(self) -> Sequence[Watch]:
        return [Watch(PODS, self._of_pod), Watch(CONTROLLER_REVISIONS, owner_keys("StatefulSet"))]

    def _of_pod(self, pod: Obj) -> Iterable[Key]:
        if controller_of(pod) is not None:
            yield from owner_keys("StatefulSet")(pod)
            return
        for one in self._sets.list(key_of(pod).namespace):
            if from_label_selector(spec_of(one).get("selector")).matches(labels_of(pod)):
                yield key_of(one)

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        one = self._sets.get(key)
        if one is None:
            return Outcome()
        pods = [*self._pods.owned_by(uid_of(one)), *self._orphans.of(key.namespace)]
        claims = {meta_of(claim)["name"]: claim for claim in self._claims.list(key.namespace)}
        seen = decide_stateful.Seen(one, pods, self._revisions.list(key.namespace), claims)
        decision = decide_stateful.decide(seen, now)
        try:
            outcome = await carry_out_decision(self._informers.api, decision, STATEFUL_SETS, one, manager=self.name)
        except Conflict:
            raise
        except ApiError as refusal:
            await self._events.event(one, "Warning", "FailedCreate", refusal.message)
            raise
        for remark in _remarks(one, decision.actions):
            await self._events.event(one, remark.kind, remark.reason, remark.message)
        return replace(outcome, rest_s=rest_after(len(pods)))


def _remarks(owner: Obj, actions: Iterable[Action]) -> Iterable[Remark]:
    """In upstream's words."""
    where = f"in StatefulSet {meta_of(owner)['name']}"
    for action in actions:
        match action:
            case Create(obj) if obj["kind"] == "Pod":
                yield Remark("Normal", "SuccessfulCreate", f"create Pod {meta_of(obj)['name']} {where} successful")
            case Create(obj) if obj["kind"] == "PersistentVolumeClaim":
                yield Remark("Normal", "SuccessfulCreate", f"create Claim {meta_of(obj)['name']} {where} success")
            case Delete(resource, _, name) if resource == PODS:
                yield Remark("Normal", "SuccessfulDelete", f"delete Pod {name} {where} successful")
            case _:
                pass
