"""The tasks of a sync and the order among them: phase, wave, kind, name.

Pruning runs the waves backwards: what came last goes first. A Namespace or a CRD is pulled in front of the first task that
needs it. Facts of Argo CD's sync engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from fairway.gitops import hooks
from fairway.gitops.hooks import PHASES, Phase
from fairway.kube.objects import Obj, dig, group_of, meta_of

KIND_ORDER: dict[str, int] = {kind: n - 35 for n, kind in enumerate((
    "Namespace", "NetworkPolicy", "ResourceQuota", "LimitRange", "PodSecurityPolicy", "PodDisruptionBudget",
    "ServiceAccount", "Secret", "SecretList", "ConfigMap", "StorageClass", "PersistentVolume", "PersistentVolumeClaim",
    "CustomResourceDefinition", "ClusterRole", "ClusterRoleList", "ClusterRoleBinding", "ClusterRoleBindingList", "Role",
    "RoleList", "RoleBinding", "RoleBindingList", "Service", "DaemonSet", "Pod", "ReplicationController", "ReplicaSet",
    "Deployment", "HorizontalPodAutoscaler", "StatefulSet", "Job", "CronJob", "IngressClass", "Ingress", "APIService",
))}  # fmt: skip
"""Lower goes first; a kind that is not named has 0 and goes last."""


class TaskKey(NamedTuple):
    """One object in one phase."""

    phase: Phase
    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.group}/{self.kind}/{self.name}" if self.group else f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Task:
    """Make `live` equal to `target` in `phase`; without a target, delete `live`."""

    phase: Phase
    target: Obj | None
    live: Obj | None
    wave_override: int | None = None
    confirm: bool = False
    """Somebody has to agree before it is pruned."""

    @property
    def obj(self) -> Obj:
        return self.target if self.target is not None else self.live or {}

    @property
    def key(self) -> TaskKey:
        meta = meta_of(self.obj)
        return TaskKey(self.phase, group_of(str(self.obj.get("apiVersion") or "")), self.kind,
                       str(meta.get("namespace") or ""), str(meta.get("name") or ""))

    @property
    def kind(self) -> str:
        return str(self.obj.get("kind") or "")

    @property
    def is_prune(self) -> bool:
        return self.target is None

    @property
    def is_hook(self) -> bool:
        return hooks.is_hook(self.obj)

    @property
    def hook_type(self) -> str:
        return self.phase if self.is_hook and self.phase in hooks.hook_types(self.obj) else ""

    @property
    def wave(self) -> int:
        return self.wave_override if self.wave_override is not None else hooks.wave_of(self.obj)

    def has_delete_policy(self, policy: str) -> bool:
        return self.is_hook and policy in hooks.delete_policies(self.obj)

    def deleted_before_creation(self) -> bool:
        return self.live is not None and self.has_delete_policy("BeforeHookCreation")

    def deleted_when(self, succeeded: bool) -> bool:
        """Whether the hook's policy asks for its deletion after this outcome."""
        return self.live is not None and self.has_delete_policy("HookSucceeded" if succeeded else "HookFailed")


def prune_waves(tasks: Iterable[Task], *, prune_last: bool = False) -> list[Task]:
    """The same tasks; the waves of those that prune are mirrored, and `PruneLast` ones come after all others."""
    found = list(tasks)
    distinct = sorted({task.wave for task in found if task.is_prune})
    mirror = dict(zip(distinct, reversed(distinct), strict=True))
    found = [replace(task, wave_override=mirror[task.wave]) if task.is_prune else task for task in found]
    last = max((task.wave for task in found if task.phase == "Sync"), default=0)
    last = max(last, 0) + 1
    return [
        replace(task, wave_override=last)
        if task.is_prune and (prune_last or "PruneLast=true" in hooks.options_of(task.live)) else task
        for task in found
    ]


def order(tasks: Iterable[Task]) -> list[Task]:
    """By phase, wave, kind, name; stable."""
    return sorted(tasks, key=_rank)


def _rank(task: Task) -> tuple[int, int, int, str]:
    return PHASES.index(task.phase), task.wave, KIND_ORDER.get(task.kind, 0), str(meta_of(task.obj).get("name") or "")


def pull_forward(tasks: Sequence[Task]) -> list[Task]:
    """Ordered tasks with each Namespace and CRD in front of, and in phase and wave of, the first task that needs it."""
    found = list(tasks)
    for task in [t for t in found if t.kind == "Namespace" or hooks.is_crd(t.obj)]:
        at = next(n for n, t in enumerate(found) if t is task)
        first = next((n for n, other in enumerate(found[:at]) if _needs(other, task)), None)
        if first is not None:
            needing = found[first]
            del found[at]
            found.insert(first, replace(task, phase=needing.phase, wave_override=needing.wave))
    return found


def _needs(task: Task, provider: Task) -> bool:
    if task.is_prune or provider.is_prune:
        return False
    if provider.kind == "Namespace":
        return meta_of(task.obj).get("namespace") == meta_of(provider.obj).get("name") and task.kind != "Namespace"
    spec = provider.obj.get("spec")
    group = group_of(str(task.obj.get("apiVersion") or ""))
    return bool(group == dig(spec, "group", default="") and task.kind == dig(spec, "names", "kind"))


def is_multi_step(tasks: Sequence[Task]) -> bool:
    """More than one phase or wave: then each waits for the health of the one before."""
    return len({(task.phase, task.wave) for task in tasks}) > 1


def delete_batch(objects: Sequence[Obj]) -> list[Obj]:
    """Of the objects of an application that is deleted, those to delete in this pass: the highest wave."""
    highest = max((hooks.wave_of(obj) for obj in objects), default=0)
    return [obj for obj in objects if hooks.wave_of(obj) == highest]
