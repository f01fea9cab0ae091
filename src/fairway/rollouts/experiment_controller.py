"""The hands of Experiments: gather, decide, carry out, write the status."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from fairway.kube.cache import Informers
from fairway.kube.decision import Outcome, carry_out_decision
from fairway.kube.events import EventKind, EventRecorder, TimeOfPass
from fairway.kube.objects import Key, Obj, is_deleting, key_of, meta_of, status_of, uid_of
from fairway.kube.reconcile import Watch, owner_keys
from fairway.kube.resources import (
    ANALYSIS_RUNS,
    ANALYSIS_TEMPLATES,
    CLUSTER_ANALYSIS_TEMPLATES,
    EXPERIMENTS,
    REPLICA_SETS,
    SERVICES,
)
from fairway.rollouts.analysis_ask import TemplateRef
from fairway.rollouts.decide_experiment import SeenExperiment, decide_experiment
from fairway.rollouts.keys import MANAGER


class ExperimentController:
    name = "experiments"
    resource = EXPERIMENTS
    workers = 2

    def __init__(self, informers: Informers) -> None:
        self._api = informers.api
        self._time = TimeOfPass()
        self._events = EventRecorder(informers.api, self._time, self.name)
        self._experiments = informers.of(EXPERIMENTS)
        self._sets = informers.of(REPLICA_SETS)
        self._services = informers.of(SERVICES)
        self._runs = informers.of(ANALYSIS_RUNS)
        self._templates = informers.of(ANALYSIS_TEMPLATES)
        self._cluster_templates = informers.of(CLUSTER_ANALYSIS_TEMPLATES)

    def watches(self) -> Sequence[Watch]:
        owned = owner_keys(EXPERIMENTS.kind)
        return (Watch(REPLICA_SETS, owned), Watch(SERVICES, owned), Watch(ANALYSIS_RUNS, owned),
                Watch(ANALYSIS_TEMPLATES, self._all_in_namespace), Watch(CLUSTER_ANALYSIS_TEMPLATES, self._all_in_namespace))

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        experiment = self._experiments.get(key)
        if experiment is None or is_deleting(experiment):
            return Outcome()
        uid = uid_of(experiment)
        seen = SeenExperiment(
            experiment=experiment,
            replica_sets=tuple(self._sets.owned_by(uid)),
            services=tuple(self._services.owned_by(uid)),
            runs=tuple(self._runs.owned_by(uid)),
            templates=self._seen_templates(key.namespace),
        )
        decision = decide_experiment(seen, now)
        outcome = await carry_out_decision(self._api, decision, EXPERIMENTS, experiment, manager=MANAGER)
        was, phase = status_of(experiment).get("phase") or "", (decision.status or {}).get("phase") or ""
        if phase and phase != was:
            self._time.moment = now
            kind: EventKind = "Warning" if phase in ("Failed", "Error", "Inconclusive") else "Normal"
            await self._events.event(experiment, kind, f"Experiment{phase}", f"Experiment transitioned from {was} -> {phase}")
        return outcome

    def _seen_templates(self, namespace: str) -> dict[TemplateRef, Obj]:
        found = {TemplateRef(str(meta_of(t)["name"])): t for t in self._templates.list(namespace)}
        return found | {TemplateRef(str(meta_of(t)["name"]), cluster=True): t for t in self._cluster_templates.list()}

    def _all_in_namespace(self, template: Obj) -> Iterable[Key]:
        return (key_of(experiment) for experiment in self._experiments.list(key_of(template).namespace))
