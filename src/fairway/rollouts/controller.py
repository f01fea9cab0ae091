"""The hands of Rollouts: gather what a decision needs, decide, carry out, and write the status."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from fairway.kube.cache import Informers, version_of
from fairway.kube.decision import Outcome, carry_out, carry_out_decision
from fairway.kube.errors import BadRequest, Invalid
from fairway.kube.events import EventKind, EventRecorder, TimeOfPass
from fairway.kube.objects import Key, Obj, annotations_of, is_deleting, key_of, labels_of, meta_of, status_of, uid_of
from fairway.kube.reconcile import Watch, owner_keys
from fairway.kube.resources import (
    ANALYSIS_RUNS,
    ANALYSIS_TEMPLATES,
    CLUSTER_ANALYSIS_TEMPLATES,
    DEPLOYMENTS,
    DESTINATION_RULES,
    EXPERIMENTS,
    HTTP_ROUTES,
    INGRESSES,
    PODS,
    REPLICA_SETS,
    ROLLOUTS,
    SERVICES,
    VIRTUAL_SERVICES,
)
from fairway.rollouts.analysis_ask import TemplateRef
from fairway.rollouts.conditions import INVALID
from fairway.rollouts.decide import decide, refused
from fairway.rollouts.keys import HASH_LABEL, MANAGED_BY, MANAGER
from fairway.rollouts.names import Names, names_in
from fairway.rollouts.nginx import canary_ingress_name
from fairway.rollouts.seen import Seen
from fairway.rollouts.services import release
from fairway.rollouts.spec import decode_rollout

EVENTS: dict[str, EventKind] = {
    "RolloutUpdated": "Normal", "NewReplicaSetCreated": "Normal", "RolloutNotCompleted": "Normal",
    "ScalingReplicaSet": "Normal", "SwitchService": "Normal", "TrafficWeightUpdated": "Normal",
    "AnalysisRunCreated": "Normal", "ExperimentCreated": "Normal", "ScalingWorkload": "Normal",
    "RolloutStepCompleted": "Normal", "RolloutPaused": "Normal", "RolloutResumed": "Normal", "SkipSteps": "Normal",
    "RolloutCompleted": "Normal", "RolloutAborted": "Warning", INVALID: "Warning",
}  # fmt: skip
"""Reasons that are said once, when they happen, in the order in which a pass says them; all others describe a wait."""
_RANK = {code: rank for rank, code in enumerate(EVENTS)}


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
        self._time = TimeOfPass()
        self._events = EventRecorder(informers.api, self._time, self.name)
        self._rollouts = informers.of(ROLLOUTS)
        self._sets = informers.of(REPLICA_SETS)
        self._services = informers.of(SERVICES)
        self._ingresses = informers.of(INGRESSES)
        self._runs = informers.of(ANALYSIS_RUNS)
        self._templates = informers.of(ANALYSIS_TEMPLATES)
        self._cluster_templates = informers.of(CLUSTER_ANALYSIS_TEMPLATES)
        self._pods = informers.of(PODS)
        self._experiments = informers.of(EXPERIMENTS)
        self._virtual_services = informers.of(VIRTUAL_SERVICES)
        self._destination_rules = informers.of(DESTINATION_RULES)
        self._http_routes = informers.of(HTTP_ROUTES)
        self._deployments = informers.of(DEPLOYMENTS)
        self._names: dict[str, tuple[int, Names]] = {}
        self._rollouts.on_change(self._forget)

    def watches(self) -> Sequence[Watch]:
        owned = owner_keys(ROLLOUTS.kind)
        return (
            Watch(REPLICA_SETS, owned),
            Watch(ANALYSIS_RUNS, owned, _verdict_changed),
            Watch(EXPERIMENTS, owned),
            Watch(SERVICES, self._users(lambda named, key: key.namespace == named.namespace and key.name in named.services)),
            Watch(INGRESSES, self._users(lambda named, key: key.namespace == named.namespace and named.has_ingress(key.name))),
            Watch(VIRTUAL_SERVICES, self._users(lambda named, key: tuple(key) in named.virtual_services)),
            Watch(DESTINATION_RULES, self._users(
                lambda named, key: key.namespace == named.namespace and key.name in named.destination_rules)),
            Watch(HTTP_ROUTES, self._users(lambda named, key: tuple(key) in named.http_routes)),
            Watch(DEPLOYMENTS, self._users(
                lambda named, key: key.namespace == named.namespace and named.workload == ("Deployment", key.name))),
            Watch(ANALYSIS_TEMPLATES, self._all_in_namespace),
            Watch(CLUSTER_ANALYSIS_TEMPLATES, self._all_in_namespace),
        )

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        rollout = self._rollouts.get(key)
        if rollout is None:
            await carry_out(self._api, [release(service) for service in self._marked(key)], manager=MANAGER)
        if rollout is None or is_deleting(rollout):
            return Outcome()
        if not status_of(rollout):
            self._time.moment = now
            added = f"Rollout resource added to informer: {key}"
            await self._events.event(rollout, "Normal", "RolloutAddedToInformer", added)
        seen = self._gather(rollout, key)
        decision = decide(seen, now)
        try:
            outcome = await carry_out_decision(self._api, decision, ROLLOUTS, rollout, manager=MANAGER)
        except (BadRequest, Invalid) as refusal:  # trying again as it is cannot help: the user acts next
            decision = refused(seen, decode_rollout(rollout), refusal.message, now)
            outcome = await carry_out_decision(self._api, decision, ROLLOUTS, rollout, manager=MANAGER)
        self._time.moment = now
        for reason in sorted(decision.reasons, key=lambda said: _RANK.get(said.code, len(_RANK))):
            if reason.code in EVENTS:
                await self._events.event(rollout, EVENTS[reason.code], reason.code, reason.message)
        return outcome

    def _gather(self, rollout: Obj, key: Key) -> Seen:
        uid = uid_of(rollout)
        sets = tuple(rs for rs in self._sets.owned_by(uid) if HASH_LABEL in labels_of(rs))
        named = self._named(rollout)
        return Seen(
            rollout=rollout,
            replica_sets=sets,
            services={name: found for name in named.services if (found := self._services.get(Key(key.namespace, name)))},
            ingresses=self._seen_ingresses(key, named),
            runs=tuple(self._runs.owned_by(uid)),
            templates=self._seen_templates(key.namespace),
            pods=tuple(pod for rs in sets for pod in self._pods.owned_by(uid_of(rs))) if named.pods else (),
            experiments=tuple(self._experiments.owned_by(uid)),
            virtual_services={at: found for at in named.virtual_services if (found := self._virtual_services.get(Key(*at)))},
            destination_rules={name: found for name in named.destination_rules
                               if (found := self._destination_rules.get(Key(key.namespace, name)))},
            http_routes={at: found for at in named.http_routes if (found := self._http_routes.get(Key(*at)))},
            workload=self._workload(key.namespace, named),
            left_behind=tuple(found for found in self._marked(key) if meta_of(found)["name"] not in named.services),
            verify_weights=self._verify_weights,
        )

    def _marked(self, key: Key) -> list[Obj]:
        """Services that this Rollout moves, or once did."""
        return [found for found in self._services.list(key.namespace) if annotations_of(found).get(MANAGED_BY) == key.name]

    def _forget(self, old: Obj | None, new: Obj | None) -> None:
        if old is not None and new is None:
            self._names.pop(uid_of(old), None)

    def _named(self, rollout: Obj) -> Names:
        """What it names; read once per version of it, because every change of a Service asks all Rollouts."""
        uid, version = uid_of(rollout), version_of(rollout)
        known = self._names.get(uid)
        if known is None or known[0] != version:
            known = self._names[uid] = (version, names_in(rollout))
        return known[1]

    def _workload(self, namespace: str, named: Names) -> Obj | None:
        cache = {"Deployment": self._deployments, "ReplicaSet": self._sets}.get(named.workload[0])
        return cache.get(Key(namespace, named.workload[1])) if cache is not None else None

    def _seen_ingresses(self, key: Key, named: Names) -> dict[str, Obj]:
        found = {}
        for stable in named.ingresses:
            for name in (stable, canary_ingress_name(key.name, stable)):
                ingress = self._ingresses.get(Key(key.namespace, name))
                if ingress is not None:
                    found[name] = ingress
        return found

    def _seen_templates(self, namespace: str) -> dict[TemplateRef, Obj]:
        found = {TemplateRef(str(meta_of(t)["name"])): t for t in self._templates.list(namespace)}
        return found | {TemplateRef(str(meta_of(t)["name"]), cluster=True): t for t in self._cluster_templates.list()}

    # --- whom a change concerns -----------------------------------------------------------------------------------

    def _users(self, of: Callable[[Names, Key], bool]) -> Callable[[Obj], Iterable[Key]]:
        """The Rollouts that name the object which changed, whatever namespace it is in."""

        def users(obj: Obj) -> Iterable[Key]:
            key = key_of(obj)
            return (key_of(rollout) for rollout in self._rollouts.list() if of(self._named(rollout), key))

        return users

    def _all_in_namespace(self, template: Obj) -> Iterable[Key]:
        for rollout in self._rollouts.list(key_of(template).namespace):
            yield key_of(rollout)


def _verdict_changed(old: Obj | None, new: Obj | None) -> bool:
    """A measurement that decides nothing is no news for the Rollout."""
    if old is None or new is None:
        return True
    return any((status_of(old).get(name) != status_of(new).get(name)) for name in ("phase", "message")) or (
        old.get("metadata", {}).get("ownerReferences") != new.get("metadata", {}).get("ownerReferences")) or (
        is_deleting(old) != is_deleting(new))

