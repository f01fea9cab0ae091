"""What of a platform is broken, from its objects. Pure: the objects go in, findings come out, the worst first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fairway.kube.objects import Obj, annotations_of, dig, is_deleting, meta_of, spec_of, status_of

_WAITING_BADLY = {"CrashLoopBackOff", "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerError",
                  "CreateContainerConfigError", "RunContainerError"}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be. `weight`: the higher, the nearer to users."""

    weight: int
    kind: str
    namespace: str
    name: str
    state: str
    message: str

    def as_json(self) -> dict[str, str]:
        return {"kind": self.kind, "namespace": self.namespace, "name": self.name, "state": self.state,
                "message": self.message}


def findings(objects: Mapping[str, Iterable[Obj]]) -> list[Finding]:
    """`objects` by kind: Application, Rollout, Deployment, Pod, PipelineRun, Release, Job."""
    found = [finding for kind, judge in _JUDGES.items() for obj in objects.get(kind, ()) if (finding := judge(obj))]
    newest = _newest_runs(objects.get("PipelineRun", ()))
    found += [finding for run in newest if (finding := _run(run))]
    return sorted(found, key=lambda f: (-f.weight, f.kind, f.namespace, f.name))


def _finding(obj: Obj, weight: int, state: str, message: Any) -> Finding:
    meta = meta_of(obj)
    return Finding(weight, obj.get("kind", ""), meta.get("namespace", ""), meta.get("name", ""), state,
                   " ".join(str(message or "").split()))


def _rollout(obj: Obj) -> Finding | None:
    status = status_of(obj)
    if status.get("abort"):
        return _finding(obj, 90, "Aborted", status.get("message"))
    if status.get("phase") in ("Degraded", "Error"):
        return _finding(obj, 90, status["phase"], status.get("message"))
    return None


def _application(obj: Obj) -> Finding | None:
    health = dig(obj, "status", "health", "status", default="")
    phase = dig(obj, "status", "operationState", "phase", default="")
    if health == "Degraded":
        return _finding(obj, 80, "Degraded", dig(obj, "status", "health", "message"))
    if phase in ("Failed", "Error"):
        return _finding(obj, 70, f"sync {phase}", dig(obj, "status", "operationState", "message"))
    errors = [row for row in status_of(obj).get("conditions") or () if str(row.get("type", "")).endswith("Error")]
    if errors:
        return _finding(obj, 70, errors[0]["type"], errors[0].get("message"))
    return None


def _deployment(obj: Obj) -> Finding | None:
    wanted, ready = dig(obj, "spec", "replicas", default=1), dig(obj, "status", "availableReplicas", default=0)
    for row in status_of(obj).get("conditions") or ():
        if row.get("type") == "Progressing" and row.get("status") == "False":
            return _finding(obj, 80, f"{ready}/{wanted} available", row.get("message"))
    return None


def _pod(obj: Obj) -> Finding | None:
    if is_deleting(obj):
        return None
    status = status_of(obj)
    rows = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    for row in rows:
        why = dig(row, "state", "waiting", "reason", default="")
        if why in _WAITING_BADLY:
            return _finding(obj, 60, why, f"{row.get('name')}: {dig(row, 'state', 'waiting', 'message', default='')}")
    owner = next((ref.get("kind") for ref in meta_of(obj).get("ownerReferences") or ()), "")
    if status.get("phase") == "Failed" and owner != "Job":  # a Job tells of its pods itself
        return _finding(obj, 50, "Failed", status.get("message") or status.get("reason"))
    return None


def _job(obj: Obj) -> Finding | None:
    if "fairway.dev/run" in annotations_of(obj):
        return None  # of a pipeline, whose run tells of it
    for row in status_of(obj).get("conditions") or ():
        if row.get("type") == "Failed" and row.get("status") == "True":
            return _finding(obj, 60, "Failed", row.get("message"))
    return None


def _run(obj: Obj) -> Finding | None:
    if status_of(obj).get("phase") == "Failed":
        return _finding(obj, 40, "Failed", status_of(obj).get("message"))
    return None


def _newest_runs(runs: Iterable[Obj]) -> list[Obj]:
    """The newest run of each workflow and ref: an old failure that was mended is no news."""
    newest: dict[tuple[str, str, str], Obj] = {}
    for run in sorted(runs, key=lambda run: str(meta_of(run).get("creationTimestamp", ""))):
        spec = spec_of(run)
        newest[str(spec.get("repository")), str(spec.get("workflow")), str(spec.get("ref"))] = run
    return list(newest.values())


_JUDGES = {"Rollout": _rollout, "Application": _application, "Deployment": _deployment, "Pod": _pod, "Job": _job}
