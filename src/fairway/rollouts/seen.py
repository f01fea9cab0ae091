"""What a decision may look at: the objects as the hands gathered them (`Seen`), and the same, read and sorted (`View`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fairway.kube.objects import Obj, dig, meta_of, spec_of
from fairway.kube.template import template_hash
from fairway.rollouts.replicasets import ReplicaSet, read_replica_set
from fairway.rollouts.spec import Canary, RolloutSpec, Step, TemplateRef
from fairway.rollouts.status import Status, read_status
from fairway.rollouts.steps import current_step, step_index, steps_hash
from fairway.rollouts.templates import runs_template


@dataclass(frozen=True, slots=True)
class Seen:
    """`services` and `ingresses` by name, in the Rollout's namespace: those it names and its canary Ingresses.

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
    verify_weights: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """`new` runs the wished-for template, `stable` the last one that was promoted (they may be one), `others` the rest.

    `hash` names the wished-for template even while its ReplicaSet is still missing.
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
    def index(self) -> int | None:
        return step_index(self.canary, self.status)

    @property
    def step(self) -> Step | None:
        return current_step(self.canary, self.status)

    @property
    def steps_hash(self) -> str:
        return steps_hash(dig(self.seen.rollout, "spec", "strategy", "canary", "steps", default=[]))

    @property
    def revision(self) -> int:
        """Of the wished-for template: what its ReplicaSet says, or what the next one will be."""
        newest = max((rs.revision for rs in self.all if rs is not self.new), default=0)
        return max(self.new.revision, newest + 1) if self.new else newest + 1


def look(seen: Seen, spec: RolloutSpec, now: datetime) -> View:
    """`spec` must have a canary strategy and a template."""
    canary, template = spec.canary, spec.template
    if canary is None or template is None:
        raise ValueError("only a Rollout with a canary strategy and a pod template can be looked at")
    status = read_status(seen.rollout)
    sets = sorted((read_replica_set(obj) for obj in seen.replica_sets), key=lambda rs: (rs.created_at or now, rs.name))
    matching = {str(meta_of(obj).get("name")) for obj in seen.replica_sets if runs_template(obj, template)}
    new = next((rs for rs in sets if rs.name in matching and not rs.deleting), None)
    wished = new.hash if new else template_hash(template, status.collisions)
    stable = next((rs for rs in sets if status.stable_hash and rs.hash == status.stable_hash), None)
    taken = {rs.name for rs in (new, stable) if rs}
    return View(seen, spec, canary, status, now, wished, new, stable, tuple(rs for rs in sets if rs.name not in taken))


def selector_hash(service: Obj | None, label: str) -> str:
    """The pod-template hash that a Service selects, "" where it does not."""
    return str((spec_of(service).get("selector") or {}).get(label, "")) if service else ""
