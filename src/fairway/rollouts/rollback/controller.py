"""The hands of RollbackPolicies: look at the workload, measure where it is time, decide, leave the evidence."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime

from fairway.kube.cache import Informers
from fairway.kube.clock import Clock
from fairway.kube.decision import Action, Decision, Outcome, Reason, carry_out_decision
from fairway.kube.events import EventKind, EventRecorder
from fairway.kube.objects import Key, Obj, annotations_of, dig, is_deleting, key_of, spec_of, uid_of
from fairway.kube.reconcile import Watch
from fairway.kube.resources import CANARIES, DEPLOYMENTS, REPLICA_SETS, ROLLBACK_POLICIES, ROLLOUTS
from fairway.rollouts.fields import SpecError
from fairway.rollouts.prometheus import Querier
from fairway.rollouts.rollback.decide import Measured, Verdict, Watched, decide, wants_answers
from fairway.rollouts.rollback.spec import Policy, decode_policy
from fairway.rollouts.rollback.status import Status, read_status, write_status
from fairway.rollouts.rollback.workloads import (
    APPROVED,
    Workload,
    hurry,
    is_good,
    of_deployment,
    of_rollout,
    serving,
    settled,
    take_back,
)

MANAGER = "fairway-rollback"
_EVENTS: dict[str, EventKind] = {"Suspect": "Warning", "Transient": "Normal", "CriterionAlert": "Warning",
                                 "SmartRollback": "Warning", "RolledBack": "Normal", "RollbackFailed": "Warning",
                                 "AwaitingApproval": "Warning", "Passed": "Normal", "Unknown": "Warning"}


class RollbackController:
    """Implements `Controller`. `queries` answers PromQL."""

    name = "rollback"
    resource = ROLLBACK_POLICIES
    workers = 2

    def __init__(self, informers: Informers, clock: Clock, queries: Querier) -> None:
        self._api, self._queries = informers.api, queries
        self._events = EventRecorder(informers.api, clock, MANAGER)
        self._policies = informers.of(ROLLBACK_POLICIES)
        self._rollouts, self._deployments = informers.of(ROLLOUTS), informers.of(DEPLOYMENTS)
        self._canaries, self._sets = informers.of(CANARIES), informers.of(REPLICA_SETS)

    def watches(self) -> Sequence[Watch]:
        return [Watch(resource, self._policies_of) for resource in (ROLLOUTS, DEPLOYMENTS, CANARIES)]

    def _policies_of(self, obj: Obj) -> Iterable[Key]:
        key = key_of(obj)
        for policy in self._policies.list(key.namespace):
            ref = spec_of(policy).get("workloadRef") or {}
            if (ref.get("kind"), ref.get("name")) == (obj["kind"], key.name):
                yield key_of(policy)

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        obj = self._policies.get(key)
        if obj is None or is_deleting(obj):
            return Outcome()
        try:
            policy = decode_policy(obj)
        except SpecError as mistake:
            return await self._refused(obj, str(mistake))
        workload, before = self._workload(policy), read_status(obj)
        if workload.obj is None:
            return await self._refused(obj, f"{policy.kind} {policy.workload} is not in {policy.namespace}")
        version = serving(workload)
        watched = Watched(version, annotations_of(obj).get(APPROVED, ""), is_good(workload, version, before.good))
        measured = await self._measured(policy, now) if wants_answers(policy, before, watched, now) else {}
        found = decide(policy, before, watched, measured, now)
        return await self._carry_out(obj, policy, workload, found)

    async def _carry_out(self, obj: Obj, policy: Policy, workload: Workload, found: Verdict) -> Outcome:
        status, reasons = found.status, found.reasons
        actions: tuple[Action, ...] = ()
        if found.take_back:
            evidence = f"RollbackPolicy {policy.namespace}/{policy.name}: {status.evidence}"
            actions, why = take_back(workload, status.good, evidence, f"After its promotion the version turned out bad: "
                                     f"{status.evidence}.")
            if why:
                status = Status("Failed", f"{status.evidence}; it cannot be taken back: {why}", status.version,
                                status.previous, evidence=status.evidence, readings=status.readings)
                reasons = (Reason("RollbackFailed", status.message),)
        elif status.phase == "RollingBack":
            actions = hurry(workload, status.good)
        elif status.phase == "RolledBack":
            actions = settled(workload)
        outcome = await carry_out_decision(self._api, Decision(actions, write_status(status), found.wake_at, reasons),
                                           ROLLBACK_POLICIES, obj, manager=MANAGER)
        phase = read_status(obj).phase
        for reason in reasons:
            if reason.code in _EVENTS and (reason.code in ("CriterionAlert", "Transient", "SmartRollback") or
                                           status.phase != phase):
                await self._events.event(obj, _EVENTS[reason.code], reason.code, reason.message)
        return outcome

    async def _refused(self, obj: Obj, why: str) -> Outcome:
        decision = Decision((), {"message": why}, None, (Reason("Invalid", why),))
        return await carry_out_decision(self._api, decision, ROLLBACK_POLICIES, obj, manager=MANAGER)

    async def _measured(self, policy: Policy, now: datetime) -> dict[str, Measured]:
        return {criterion.name: await self._measure(criterion.query, now) for criterion in policy.criteria}

    async def _measure(self, query: str, now: datetime) -> Measured:
        try:
            found = await self._queries.query(query, now)
        except Exception as error:  # whatever a querier raises, it means that nothing is known
            return Measured(error=str(error) or type(error).__name__)
        values = [found] if isinstance(found, (int, float)) else list(found)
        if len(values) > 1:
            return Measured(error=f"the query finds {len(values)} series; it has to find one (sum them)")
        return Measured(float(values[0]) if values and not math.isnan(float(values[0])) else None)

    def _workload(self, policy: Policy) -> Workload:
        key = Key(policy.namespace, policy.workload)
        if policy.kind == "Rollout":
            rollout = self._rollouts.get(key)
            return of_rollout(rollout, self._sets.owned_by(uid_of(rollout)) if rollout else ())
        if policy.kind == "Deployment":
            deployment = self._deployments.get(key)
            return of_deployment(deployment, self._sets.owned_by(uid_of(deployment)) if deployment else ())
        canary = self._canaries.get(key)
        target = str(dig(canary, "spec", "targetRef", "name", default="")) if canary else ""
        primary = self._deployments.get(Key(policy.namespace, f"{target}-primary"))
        return of_deployment(self._deployments.get(Key(policy.namespace, target)),
                             self._sets.owned_by(uid_of(primary)) if primary else (), canary)
