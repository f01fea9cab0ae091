"""The hands: each controller gathers from the caches, asks its decision, and carries it out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from fairway.kube.api import patch_status
from fairway.kube.cache import Informers
from fairway.kube.clock import Clock
from fairway.kube.decision import Outcome, carry_out, carry_out_decision, rest_after
from fairway.kube.errors import ApiError, Conflict, NotFound
from fairway.kube.events import EventRecorder
from fairway.kube.objects import (
    Key,
    Obj,
    controller_of,
    key_of,
    labels_of,
    rfc3339,
    spec_of,
    status_of,
    uid_of,
    with_condition,
)
from fairway.kube.reconcile import Controller, Watch, owner_keys
from fairway.kube.resources import DEPLOYMENTS, JOBS, PODS, REPLICA_SETS
from fairway.kube.selectors import from_label_selector
from fairway.workloads import decide_deployment, decide_job, decide_replicaset
from fairway.workloads.autoscaler import AutoscalerController
from fairway.workloads.claims import ClaimController
from fairway.workloads.cron import CronJobController
from fairway.workloads.daemon import DaemonSetController
from fairway.workloads.disruption import DisruptionController
from fairway.workloads.endpoints import EndpointsController, EndpointSliceController, MirrorController
from fairway.workloads.garbage import GarbageCollector
from fairway.workloads.job_status import finished
from fairway.workloads.metric_source import MetricSource
from fairway.workloads.namespace import NamespaceController
from fairway.workloads.orphans import Orphans
from fairway.workloads.pods import is_finished
from fairway.workloads.remarks import Remark, end_remark, pause_remarks, remarks
from fairway.workloads.stateful import StatefulSetController


def workload_controllers(informers: Informers, clock: Clock, metrics: MetricSource | None = None) -> list[Controller]:
    """Every controller of this room, ready for a `ControllerLoop` each. `metrics`: what autoscalers ask."""
    return [
        NamespaceController(informers),
        GarbageCollector(informers),
        ReplicaSetController(informers, clock),
        DeploymentController(informers, clock),
        JobController(informers, clock),
        EndpointSliceController(informers),
        EndpointsController(informers),
        MirrorController(informers),
        DisruptionController(informers),
        StatefulSetController(informers, clock),
        DaemonSetController(informers, clock),
        CronJobController(informers, clock),
        AutoscalerController(informers, clock, metrics),
        ClaimController(informers, clock),
    ]


class ReplicaSetController:
    """Implements `Controller`."""

    name = "replicaset-controller"
    resource = REPLICA_SETS
    workers = 4

    def __init__(self, informers: Informers, clock: Clock) -> None:
        self._informers, self._clock = informers, clock
        self._events = EventRecorder(informers.api, clock, self.name)
        self._sets, self._pods = informers.of(REPLICA_SETS), informers.of(PODS)
        self._orphans = Orphans(self._pods)

    def watches(self) -> Sequence[Watch]:
        return [Watch(PODS, _owner_or_adopter("ReplicaSet", self._adopters))]

    def _adopters(self, pod: Obj) -> Iterable[Key]:
        for replica_set in self._sets.list(key_of(pod).namespace):
            if from_label_selector(spec_of(replica_set).get("selector")).matches(labels_of(pod)):
                yield key_of(replica_set)

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        replica_set = self._sets.get(key)
        if replica_set is None:
            return Outcome()
        pods = [*self._pods.owned_by(uid_of(replica_set)), *self._orphans.of(key.namespace)]
        decision = decide_replicaset.decide(decide_replicaset.Seen(replica_set, pods), now)
        try:
            outcome = await carry_out_decision(self._informers.api, decision, REPLICA_SETS, replica_set,
                                               manager=self.name)
        except Conflict:
            raise
        except ApiError as refusal:
            await self._events.event(replica_set, "Warning", "FailedCreate", refusal.message)
            await self._record_failure(replica_set, refusal, now)
            raise
        await _record(self._events, replica_set, remarks(decision))
        return replace(outcome, rest_s=rest_after(len(pods)))

    async def _record_failure(self, replica_set: Obj, refusal: ApiError, now: datetime) -> None:
        """A pod that the API refuses shows as a condition, which the Deployment repeats."""
        entry = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": refusal.message,
                 "lastTransitionTime": rfc3339(now)}
        conditions = with_condition(status_of(replica_set).get("conditions") or (), entry)
        status = {"conditions": conditions}
        await patch_status(self._informers.api, REPLICA_SETS, replica_set, status, manager=self.name)


class DeploymentController:
    """Implements `Controller`."""

    name = "deployment-controller"
    resource = DEPLOYMENTS
    workers = 4

    def __init__(self, informers: Informers, clock: Clock) -> None:
        self._informers, self._clock = informers, clock
        self._events = EventRecorder(informers.api, clock, self.name)
        self._deployments, self._sets = informers.of(DEPLOYMENTS), informers.of(REPLICA_SETS)
        self._pods, self._orphans = informers.of(PODS), Orphans(self._sets)

    def watches(self) -> Sequence[Watch]:
        return [Watch(REPLICA_SETS, owner_keys("Deployment")), Watch(PODS, self._of_pod)]

    def _of_pod(self, pod: Obj) -> Iterable[Key]:
        """Only Recreate looks at pods: it waits until the last old one has ended."""
        ref = controller_of(pod)
        if ref is None or ref["kind"] != "ReplicaSet":
            return
        owner = self._sets.get(Key(key_of(pod).namespace, ref["name"]))
        ref = controller_of(owner) if owner is not None else None
        if ref is None or ref["kind"] != "Deployment":
            return
        key = Key(key_of(pod).namespace, ref["name"])
        deployment = self._deployments.get(key)
        if deployment is not None and _recreates(deployment):
            yield key

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        deployment = self._deployments.get(key)
        if deployment is None:
            return Outcome()
        sets = self._sets.owned_by(uid_of(deployment))
        running: Counter[str] = Counter()
        for replica_set in sets if _recreates(deployment) else ():
            owned = self._pods.owned_by(uid_of(replica_set))
            running[uid_of(replica_set)] = sum(not is_finished(pod) for pod in owned)
        seen = decide_deployment.Seen(deployment, [*sets, *self._orphans.of(key.namespace)], running,
                                      self._sets.names(key.namespace, f"{key.name}-"))
        decision = decide_deployment.decide(seen, now)
        outcome = await carry_out_decision(self._informers.api, decision, DEPLOYMENTS, deployment, manager=self.name)
        await _record(self._events, deployment, remarks(decision))
        return outcome


def _recreates(deployment: Obj) -> bool:
    return (spec_of(deployment).get("strategy") or {}).get("type") == "Recreate"


class JobController:
    """Implements `Controller`."""

    name = "job-controller"
    resource = JOBS
    workers = 4

    def __init__(self, informers: Informers, clock: Clock) -> None:
        self._informers, self._clock = informers, clock
        self._events = EventRecorder(informers.api, clock, self.name)
        self._jobs, self._pods = informers.of(JOBS), informers.of(PODS)

    def watches(self) -> Sequence[Watch]:
        return [Watch(PODS, owner_keys("Job"))]

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        job = self._jobs.get(key)
        api = self._informers.api
        if job is None:
            await self._let_go(key)
            return Outcome()
        pods = self._pods.owned_by(uid_of(job))
        decision = decide_job.decide(decide_job.Seen(job, pods), now)
        outcome = await carry_out_decision(api, decision, JOBS, job, manager=self.name)
        await _record(self._events, job, remarks(decision))
        await _record(self._events, job, pause_remarks(status_of(job), decision.status or status_of(job)))
        end = finished({"status": decision.status or {}})
        if end is not None and finished(job) is None:
            await _record(self._events, job, [end_remark(end)])
        return replace(outcome, rest_s=rest_after(len(pods)))

    async def _let_go(self, key: Key) -> None:
        """Pods whose Job is gone are counted by nobody: take the finalizer off. The API has the last word on "gone"."""
        left = [pod for pod in self._pods.list(key.namespace)
                if decide_job.TRACKING in (pod["metadata"].get("finalizers") or ())
                and (ref := controller_of(pod)) is not None and (ref["kind"], ref["name"]) == ("Job", key.name)]
        if not left:
            return
        try:
            alive = uid_of(await self._informers.api.get(JOBS, key.name, key.namespace))
        except NotFound:
            alive = ""
        gone = [pod for pod in left if not _controlled_by_uid(pod, alive)]
        await carry_out(self._informers.api, [decide_job.untrack(pod) for pod in gone], manager=self.name)


async def _record(events: EventRecorder, obj: Obj, found: Iterable[Remark]) -> None:
    for one in found:
        await events.event(obj, one.kind, one.reason, one.message)


def _controlled_by_uid(pod: Obj, uid: str) -> bool:
    ref = controller_of(pod)
    return ref is not None and ref["uid"] == uid


def _owner_or_adopter(kind: str, adopters: Callable[[Obj], Iterable[Key]]) -> Callable[[Obj], Iterable[Key]]:
    owners = owner_keys(kind)

    def keys(obj: Obj) -> Iterable[Key]:
        return owners(obj) if controller_of(obj) is not None else adopters(obj)

    return keys
