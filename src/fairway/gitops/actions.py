"""What can be done to one live object of an Application by hand, without saying anything else than git says. Pure.

Argo CD's names. `scale` is not among them: how many there are is git's to say. Rollouts have commands of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from fairway.kube.objects import Obj, dig, group_of, meta_of, owner_reference, rfc3339, spec_of, status_of

RESTARTED = "kubectl.kubernetes.io/restartedAt"
Make = Callable[[Obj, datetime], "Change"]


@dataclass(frozen=True, slots=True)
class Change:
    """A merge patch of the object, or an object to create."""

    patch: Obj | None = None
    create: Obj | None = None


@dataclass(frozen=True, slots=True)
class Action:
    name: str
    make: Make
    disabled: bool = False


def actions_of(obj: Obj) -> Mapping[str, Action]:
    """What is possible for this object, by name; `disabled` what makes no sense in its present state."""
    kind = (group_of(str(obj.get("apiVersion") or "")), str(obj.get("kind")))
    paused, suspended = bool(spec_of(obj).get("paused")), bool(spec_of(obj).get("suspend"))
    found: list[Action] = []
    if kind in (("apps", "Deployment"), ("apps", "StatefulSet"), ("apps", "DaemonSet")):
        found.append(Action("restart", _restart))
    if kind == ("apps", "Deployment"):
        found += [Action("pause", _set(paused=True), paused), Action("resume", _set(paused=False), not paused)]
    if kind == ("batch", "CronJob"):
        found.append(Action("create-job", _create_job))
    ended = any(c.get("type") in ("Complete", "Failed") and c.get("status") == "True"
                for c in dig(status_of(obj), "conditions", default=[]))
    if kind in (("batch", "CronJob"), ("batch", "Job")):
        found += [Action("suspend", _set(suspend=True), suspended or ended),
                  Action("resume", _set(suspend=False), not suspended)]
    if kind == ("argoproj.io", "AnalysisRun"):
        over = dig(status_of(obj), "phase") not in (None, "", "Pending", "Running")
        found.append(Action("terminate", _set(terminate=True), over))
    return {action.name: action for action in found}


def _restart(obj: Obj, now: datetime) -> Change:
    return Change({"spec": {"template": {"metadata": {"annotations": {RESTARTED: rfc3339(now)}}}}})


def _set(**fields: bool) -> Make:
    return lambda obj, now: Change({"spec": dict(fields)})


def _create_job(obj: Obj, now: datetime) -> Change:
    """As `kubectl create job --from` makes it."""
    template, meta = dig(spec_of(obj), "jobTemplate", default={}), meta_of(obj)
    about = template.get("metadata") or {}
    return Change(create={
        "apiVersion": "batch/v1", "kind": "Job", "spec": template.get("spec") or {},
        "metadata": {
            "name": f"{str(meta['name'])[:52]}-{now:%Y%m%d%H%M}", "namespace": meta.get("namespace", ""),
            "labels": about.get("labels") or {}, "ownerReferences": [owner_reference(obj)],
            "annotations": {**(about.get("annotations") or {}), "cronjob.kubernetes.io/instantiate": "manual"},
        },
    })  # fmt: skip
