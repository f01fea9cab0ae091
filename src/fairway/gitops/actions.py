"""What can be done to one live object of an Application by hand. Pure.

Argo CD's names. Most say nothing else than git says; where one does, whoever carries it out compares with git, and tells.
Actions of kinds that other rooms drive (Rollouts) come from them, and users' own from `argocd-cm` (`lua_actions`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from fairway.kube.objects import Obj, annotations_of, dig, group_of, meta_of, owner_reference, rfc3339, spec_of, status_of

RESTARTED = "kubectl.kubernetes.io/restartedAt"
Parameters = Mapping[str, str]
Make = Callable[[Obj, datetime, Parameters], "Change"]
_FLUX_GROUPS = frozenset(f"{name}.toolkit.fluxcd.io" for name in ("helm", "image", "kustomize", "notification", "source"))
_EXTERNAL_SECRETS = frozenset(("ExternalSecret", "ClusterExternalSecret", "PushSecret"))


class Refused(ValueError):
    """The action does not apply; the text says why."""


@dataclass(frozen=True, slots=True)
class Change:
    """Merge patches of the object and of its status, and objects to create."""

    patch: Obj | None = None
    status: Obj | None = None
    create: tuple[Obj, ...] = ()


@dataclass(frozen=True, slots=True)
class Action:
    """`make` may raise `Refused`. `disabled`: it makes no sense in the object's present state."""

    name: str
    make: Make
    disabled: bool = False
    parameters: tuple[str, ...] = ()


MoreActions = Callable[[Obj], Iterable[Action]]


def none_more(obj: Obj) -> Iterable[Action]:
    """For an API without controllers of other rooms."""
    return ()


def actions_of(obj: Obj, more: MoreActions = none_more) -> dict[str, Action]:
    """What is possible for this object, by name."""
    group, kind = group_of(str(obj.get("apiVersion") or "")), str(obj.get("kind"))
    paused, suspended = bool(spec_of(obj).get("paused")), bool(spec_of(obj).get("suspend"))
    found: list[Action] = []
    if group == "apps" and kind in ("Deployment", "StatefulSet", "DaemonSet"):
        found.append(Action("restart", _restart))
    if group == "apps" and kind == "Deployment":
        found += [Action("pause", _set(paused=True), paused), Action("resume", _set(paused=False), not paused)]
    if group == "apps" and kind in ("Deployment", "StatefulSet"):
        found.append(Action("scale", _scale, parameters=("replicas",)))
    if (group, kind) == ("batch", "CronJob"):
        found.append(Action("create-job", _create_job))
    ended = any(c.get("type") in ("Complete", "Failed") and c.get("status") == "True"
                for c in dig(status_of(obj), "conditions", default=[]))
    if group == "batch" and kind in ("CronJob", "Job"):
        found += [Action("suspend", _set(suspend=True), suspended or ended),
                  Action("resume", _set(suspend=False), not suspended)]
    if (group, kind) == ("batch", "Job"):
        found.append(Action("terminate", _deadline, ended))
    if (group, kind) == ("argoproj.io", "AnalysisRun"):
        over = dig(status_of(obj), "phase") not in (None, "", "Pending", "Running")
        found.append(Action("terminate", _set(terminate=True), over))
    if group == "external-secrets.io" and kind in _EXTERNAL_SECRETS:
        found.append(Action("refresh", _noted("force-sync")))
    if group in _FLUX_GROUPS:
        found += [Action("reconcile", _noted("reconcile.fluxcd.io/requestedAt")),
                  Action("suspend", _set(suspend=True), suspended), Action("resume", _set(suspend=False), not suspended)]
    if (group, kind) == ("keda.sh", "ScaledObject"):
        held = "autoscaling.keda.sh/paused" in annotations_of(obj)
        found += [Action("pause", _annotated("autoscaling.keda.sh/paused", "true"), held),
                  Action("resume", _annotated("autoscaling.keda.sh/paused", None), not held)]
    return {action.name: action for action in (*found, *more(obj))}


def _restart(obj: Obj, now: datetime, given: Parameters) -> Change:
    return Change({"spec": {"template": {"metadata": {"annotations": {RESTARTED: rfc3339(now)}}}}})


def _set(**fields: bool) -> Make:
    return lambda obj, now, given: Change({"spec": dict(fields)})


def _annotated(name: str, value: str | None) -> Make:
    return lambda obj, now, given: Change({"metadata": {"annotations": {name: value}}})


def _noted(name: str) -> Make:
    """An annotation that says when somebody asked: its controller looks again when it changes."""
    return lambda obj, now, given: Change({"metadata": {"annotations": {name: rfc3339(now)}}})


def _scale(obj: Obj, now: datetime, given: Parameters) -> Change:
    text = given.get("replicas", "")
    if not text.isdigit():
        raise Refused(f"replicas: a whole number is needed, found {text!r}; say --param replicas=3")
    return Change({"spec": {"replicas": int(text)}})


def _deadline(obj: Obj, now: datetime, given: Parameters) -> Change:
    """The Job ends as one that took too long: its pods go, its record stays."""
    return Change({"spec": {"activeDeadlineSeconds": 0}})


def _create_job(obj: Obj, now: datetime, given: Parameters) -> Change:
    """As `kubectl create job --from` makes it."""
    template, meta = dig(spec_of(obj), "jobTemplate", default={}), meta_of(obj)
    about = template.get("metadata") or {}
    return Change(create=({
        "apiVersion": "batch/v1", "kind": "Job", "spec": template.get("spec") or {},
        "metadata": {
            "name": f"{str(meta['name'])[:52]}-{now:%Y%m%d%H%M}", "namespace": meta.get("namespace", ""),
            "labels": about.get("labels") or {}, "ownerReferences": [owner_reference(obj)],
            "annotations": {**(about.get("annotations") or {}), "cronjob.kubernetes.io/instantiate": "manual"},
        },
    },))  # fmt: skip
