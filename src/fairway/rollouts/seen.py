"""What a decision may look at: the objects as the hands gathered them (`Seen`), and the same, read and sorted (`View`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fairway.kube.objects import Obj, dig, meta_of, spec_of
from fairway.kube.template import template_hash
from fairway.rollouts.analysis_ask import TemplateRef
from fairway.rollouts.replicasets import ReplicaSet, read_replica_set
from fairway.rollouts.spec import BlueGreen, Canary, RolloutSpec, Step
from fairway.rollouts.status import Status, read_status
from fairway.rollouts.steps import current_step, step_index, steps_hash
from fairway.rollouts.templates import running


@dataclass(frozen=True, slots=True)
class Seen:
    """`services` and `ingresses` by name, in the Rollout's namespace: those it names and its canary Ingresses. VirtualServices
    and HTTPRoutes by namespace and name. `workload` is what workloadRef names; `left_behind` are Services that bear
    the Rollout's mark and are not named by it any more.

    `replica_sets`, `runs` and `pods` are those that the Rollout owns (pods: through its ReplicaSets). With `verify_weights` a
    weight counts as set only once the proxy has confirmed it on the canary Ingress.
    """

    rollout: Obj
    replica_sets: tuple[Obj, ...] = ()
    services: Mapping[str, Obj] = field(default_factory=dict)
    ingresses: Mapping[str, Obj] = field(default_factory=dict)
    runs: tuple[Obj, ...] = ()
    templates: Mapping[TemplateRef, Obj] = field(default_factory=dict)
    pods: tuple[Obj, ...] = ()
    experiments: tuple[Obj, ...] = ()
    virtual_services: Mapping[tuple[str, str], Obj] = field(default_factory=dict)
    destination_rules: Mapping[str, Obj] = field(default_factory=dict)
    http_routes: Mapping[tuple[str, str], Obj] = field(default_factory=dict)
    workload: Obj | None = None
    left_behind: tuple[Obj, ...] = ()
    verify_weights: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """`new` runs the wished-for template, `stable` the last one that was promoted (they may be one), `others` the rest.

    `hash` names the wished-for template even while its ReplicaSet is still missing. `canary` is empty where the strategy is
    blue-green.
    """

    seen: Seen
    spec: RolloutSpec
    canary: Canary
    status: Status
    now: datetime
    hash: str
    new: ReplicaSet | None
    stable: ReplicaSet | None
    others: tuple[ReplicaSet, ...]

    @property
    def rollout(self) -> Obj:
        return self.seen.rollout

    @property
    def name(self) -> str:
        return str(meta_of(self.seen.rollout).get("name", ""))

    @property
    def namespace(self) -> str:
        return str(meta_of(self.seen.rollout).get("namespace", ""))

    @property
    def all(self) -> tuple[ReplicaSet, ...]:
        """New, stable and others, each once."""
        both = [rs for rs in (self.new, self.stable) if rs is not None]
        if self.new is not None and self.stable is not None and self.new.name == self.stable.name:
            both = [self.new]
        return (*both, *self.others)

    @property
    def blue_green(self) -> BlueGreen | None:
        return self.spec.blue_green

    @property
    def active(self) -> ReplicaSet | None:
        """What the active Service of a blue-green Rollout leads to, as the status says."""
        return next((rs for rs in self.all if rs.hash and rs.hash == self.status.blue_green.active), None)

    @property
    def service_names(self) -> tuple[str, str]:
        """Stable's Service and the canary's as Istio and routes know them: those that are named, else ping and pong."""
        named = (self.canary.stable_service, self.canary.canary_service)
        return named if all(named) else self.turning_services

    @property
    def turning_services(self) -> tuple[str, str]:
        """The same, but ping and pong come first; they take turns with every promotion."""
        pair = self.canary.ping_pong
        if pair is None:
            return self.canary.stable_service, self.canary.canary_service
        return (pair.ping, pair.pong) if self.status.stable_ping_pong == "ping" else (pair.pong, pair.ping)

    @property
    def index(self) -> int | None:
        return step_index(self.canary, self.status)

    @property
    def step(self) -> Step | None:
        return current_step(self.canary, self.status)

    @property
    def steps_hash(self) -> str:
        """"" where the strategy has no steps to speak of."""
        if self.spec.canary is None:
            return ""
        return steps_hash(dig(self.seen.rollout, "spec", "strategy", "canary", "steps", default=[]))

    @property
    def revision(self) -> int:
        """Of the wished-for template: what its ReplicaSet says, or what the next one will be."""
        newest = max((rs.revision for rs in self.all if rs is not self.new), default=0)
        return max(self.new.revision, newest + 1) if self.new else newest + 1


def look(seen: Seen, spec: RolloutSpec, now: datetime) -> View:
    """`spec` must have a template."""
    canary, template = spec.canary or Canary(), spec.template
    if template is None:
        raise ValueError("only a Rollout with a pod template can be looked at")
    status = read_status(seen.rollout)
    sets = sorted((read_replica_set(obj) for obj in seen.replica_sets), key=lambda rs: (rs.created_at or now, rs.name))
    matching = running(seen.replica_sets, template)
    new = next((rs for rs in sets if rs.name in matching and not rs.deleting), None)
    wished = new.hash if new else template_hash({"rollout": template}, status.collisions)  # a Deployment's RS has another name
    stable = next((rs for rs in sets if status.stable_hash and rs.hash == status.stable_hash), None)
    taken = {rs.name for rs in (new, stable) if rs}
    return View(seen, spec, canary, status, now, wished, new, stable, tuple(rs for rs in sets if rs.name not in taken))


def selector_hash(service: Obj | None, label: str) -> str:
    """The pod-template hash that a Service selects, "" where it does not."""
    return str((spec_of(service).get("selector") or {}).get(label, "")) if service else ""
