"""The hands of Rollouts: gather what a decision needs, decide, carry out, and write the status."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from fairway.kube.cache import Informers
from fairway.kube.decision import Outcome, carry_out_decision
from fairway.kube.errors import BadRequest, Invalid
from fairway.kube.events import EventKind, EventRecorder
from fairway.kube.objects import Key, Obj, dig, is_deleting, key_of, labels_of, meta_of, uid_of
from fairway.kube.reconcile import Watch, owner_keys
from fairway.kube.resources import (
    ANALYSIS_RUNS,
    ANALYSIS_TEMPLATES,
    CLUSTER_ANALYSIS_TEMPLATES,
    INGRESSES,
    PODS,
    REPLICA_SETS,
    ROLLOUTS,
    SERVICES,
)
from fairway.rollouts.conditions import INVALID
from fairway.rollouts.decide import decide, refused
from fairway.rollouts.keys import HASH_LABEL, MANAGER
from fairway.rollouts.nginx import canary_ingress_name
from fairway.rollouts.seen import Seen
from fairway.rollouts.spec import TemplateRef, decode_rollout

EVENTS: dict[str, EventKind] = {
    "RolloutUpdated": "Normal", "RolloutStepCompleted": "Normal", "RolloutCompleted": "Normal", "SkipSteps": "Normal",
    "ScalingReplicaSet": "Normal", "AnalysisRunCreated": "Normal", "RolloutAborted": "Warning", INVALID: "Warning",
}  # fmt: skip
"""Reasons that are said once, when they happen; all others describe a wait."""


class _TimeOfPass:
    """The clock of events: the time that the loop gave the pass that records them."""

    def __init__(self) -> None:
        self.moment = datetime.min.replace(tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment


class RolloutController:
    """One pass per Rollout at a time; four Rollouts side by side.

    `verify_weights`: hold a step until the proxy has confirmed the weight on the canary Ingress (annotation
    `fairway.dev/applied-weight`). Leave it off where nobody writes that annotation.
    """

    name = "rollouts"
    resource = ROLLOUTS
    workers = 4

    def __init__(self, informers: Informers, *, verify_weights: bool) -> None:
        self._api = informers.api
        self._verify_weights = verify_weights
        self._time = _TimeOfPass()
        self._events = EventRecorder(informers.api, self._time, self.name)
        self._rollouts = informers.of(ROLLOUTS)
        self._sets = informers.of(REPLICA_SETS)
        self._services = informers.of(SERVICES)
        self._ingresses = informers.of(INGRESSES)
        self._runs = informers.of(ANALYSIS_RUNS)
        self._templates = informers.of(ANALYSIS_TEMPLATES)
        self._cluster_templates = informers.of(CLUSTER_ANALYSIS_TEMPLATES)
        self._pods = informers.of(PODS)

    def watches(self) -> Sequence[Watch]:
        owned = owner_keys(ROLLOUTS.kind)
        return (
            Watch(REPLICA_SETS, owned),
            Watch(ANALYSIS_RUNS, owned),
            Watch(SERVICES, self._users_of_service),
            Watch(INGRESSES, self._users_of_ingress),
            Watch(ANALYSIS_TEMPLATES, self._all_in_namespace),
            Watch(CLUSTER_ANALYSIS_TEMPLATES, self._all_in_namespace),
        )

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        rollout = self._rollouts.get(key)
        if rollout is None or is_deleting(rollout):
            return Outcome()
        seen = self._gather(rollout, key)
        decision = decide(seen, now)
        try:
            outcome = await carry_out_decision(self._api, decision, ROLLOUTS, rollout, manager=MANAGER)
        except (BadRequest, Invalid) as refusal:  # trying again as it is cannot help: the user acts next
            decision = refused(seen, decode_rollout(rollout), refusal.message, now)
            outcome = await carry_out_decision(self._api, decision, ROLLOUTS, rollout, manager=MANAGER)
        self._time.moment = now
        for reason in decision.reasons:
            if reason.code in EVENTS:
                await self._events.event(rollout, EVENTS[reason.code], reason.code, reason.message)
        return outcome

    def _gather(self, rollout: Obj, key: Key) -> Seen:
        uid = uid_of(rollout)
        canary = dig(rollout, "spec", "strategy", "canary", default={})
        services = [str(canary.get(name) or "") for name in ("stableService", "canaryService")]
        sets = tuple(rs for rs in self._sets.owned_by(uid) if HASH_LABEL in labels_of(rs))
        restarting = dig(rollout, "spec", "restartAt") is not None
        return Seen(
            rollout=rollout,
            replica_sets=sets,
            services={name: found for name in services if name and (found := self._services.get(Key(key.namespace, name)))},
            ingresses=self._seen_ingresses(key, canary),
            runs=tuple(self._runs.owned_by(uid)),
            templates=self._seen_templates(key.namespace),
            pods=tuple(pod for rs in sets for pod in self._pods.owned_by(uid_of(rs))) if restarting else (),
            verify_weights=self._verify_weights,
        )

    def _seen_ingresses(self, key: Key, canary: Obj) -> dict[str, Obj]:
        found = {}
        for stable in _stable_ingresses(canary):
            for name in (stable, canary_ingress_name(key.name, stable)):
                ingress = self._ingresses.get(Key(key.namespace, name))
                if ingress is not None:
                    found[name] = ingress
        return found

    def _seen_templates(self, namespace: str) -> dict[TemplateRef, Obj]:
        found = {TemplateRef(str(meta_of(t)["name"])): t for t in self._templates.list(namespace)}
        return found | {TemplateRef(str(meta_of(t)["name"]), cluster=True): t for t in self._cluster_templates.list()}

    # --- whom a change concerns -----------------------------------------------------------------------------------

    def _users_of_service(self, service: Obj) -> Iterable[Key]:
        key = key_of(service)
        for rollout in self._rollouts.list(key.namespace):
            canary = dig(rollout, "spec", "strategy", "canary", default={})
            if key.name in (canary.get("stableService"), canary.get("canaryService")):
                yield key_of(rollout)

    def _users_of_ingress(self, ingress: Obj) -> Iterable[Key]:
        key = key_of(ingress)
        for rollout in self._rollouts.list(key.namespace):
            own = key_of(rollout)
            for stable in _stable_ingresses(dig(rollout, "spec", "strategy", "canary", default={})):
                if key.name in (stable, canary_ingress_name(own.name, stable)):
                    yield own

    def _all_in_namespace(self, template: Obj) -> Iterable[Key]:
        for rollout in self._rollouts.list(key_of(template).namespace):
            yield key_of(rollout)


def _stable_ingresses(canary: Obj) -> list[str]:
    nginx = dig(canary, "trafficRouting", "nginx", default={})
    listed = nginx.get("stableIngresses")
    return [str(name) for name in listed] if isinstance(listed, list) else [str(nginx.get("stableIngress") or "")]
