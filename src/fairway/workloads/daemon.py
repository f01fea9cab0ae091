"""The hands of DaemonSets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from fairway.kube.cache import Informers
from fairway.kube.clock import Clock
from fairway.kube.decision import Outcome, carry_out_decision, rest_after
from fairway.kube.errors import ApiError, Conflict
from fairway.kube.events import EventRecorder
from fairway.kube.objects import Key, Obj, controller_of, key_of, labels_of, spec_of, uid_of
from fairway.kube.reconcile import Watch, owner_keys
from fairway.kube.resources import CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS
from fairway.kube.selectors import from_label_selector
from fairway.workloads import decide_daemon
from fairway.workloads.orphans import Orphans
from fairway.workloads.remarks import remarks


class DaemonSetController:
    """Implements `Controller`."""

    name = "daemonset-controller"
    resource = DAEMON_SETS
    workers = 2

    def __init__(self, informers: Informers, clock: Clock) -> None:
        self._informers = informers
        self._events = EventRecorder(informers.api, clock, self.name)
        self._sets, self._pods = informers.of(DAEMON_SETS), informers.of(PODS)
        self._revisions, self._nodes = informers.of(CONTROLLER_REVISIONS), informers.of(NODES)
        self._node_shapes: dict[str, tuple[object, ...]] = {}
        self._orphans = Orphans(self._pods)

    def watches(self) -> Sequence[Watch]:
        return [Watch(PODS, self._of_pod), Watch(CONTROLLER_REVISIONS, owner_keys("DaemonSet")), Watch(NODES, self._of_node)]

    def _of_pod(self, pod: Obj) -> Iterable[Key]:
        if controller_of(pod) is not None:
            yield from owner_keys("DaemonSet")(pod)
            return
        for one in self._sets.list(key_of(pod).namespace):
            if from_label_selector(spec_of(one).get("selector")).matches(labels_of(pod)):
                yield key_of(one)

    def _of_node(self, node: Obj) -> Iterable[Key]:
        """A node's heartbeat is no news: only its labels and taints decide."""
        name, shape = key_of(node).name, (repr(labels_of(node)), repr(spec_of(node).get("taints")),
                                          self._nodes.get(key_of(node)) is None)
        if self._node_shapes.get(name) != shape:
            self._node_shapes[name] = shape
            yield from (key_of(one) for one in self._sets.list())

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        one = self._sets.get(key)
        if one is None:
            return Outcome()
        pods = [*self._pods.owned_by(uid_of(one)), *self._orphans.of(key.namespace)]
        seen = decide_daemon.Seen(one, pods, self._revisions.list(key.namespace), self._nodes.list())
        decision = decide_daemon.decide(seen, now)
        try:
            outcome = await carry_out_decision(self._informers.api, decision, DAEMON_SETS, one, manager=self.name)
        except Conflict:
            raise
        except ApiError as refusal:
            await self._events.event(one, "Warning", "FailedCreate", refusal.message)
            raise
        for remark in remarks(decision):
            await self._events.event(one, remark.kind, remark.reason, remark.message)
        return replace(outcome, rest_s=rest_after(len(pods)))
