"""Which version of a workload serves, and how it is taken back to another: by a note for GitOps, or directly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fairway.kube.api import JsonPatch, MergePatch
from fairway.kube.decision import Action, Change
from fairway.kube.objects import Obj, annotations_of, condition, copy_of, dig, labels_of, meta_of, spec_of, status_of
from fairway.kube.resources import DEPLOYMENTS, ROLLOUTS
from fairway.rollouts.keys import HASH_LABEL, REVISION
from fairway.rollouts.rollback.note import ask_to_take_back, images, owned_by_git, withdraw_note

APPROVED = "fairway.dev/rollback-approved"
_DEPLOYMENT_HASH = "pod-template-hash"
_DEPLOYMENT_REVISION = "deployment.kubernetes.io/revision"


@dataclass(frozen=True, slots=True)
class Workload:
    """`obj` carries the pod template that git describes; `sets` are the ReplicaSets that serve, of all versions."""

    obj: Obj | None
    sets: tuple[Obj, ...] = ()
    canary: Obj | None = None
    hashes: Mapping[str, Obj] = field(default_factory=dict)


def of_rollout(rollout: Obj | None, sets: Iterable[Obj]) -> Workload:
    found = tuple(sets)
    return Workload(rollout, found, None, {labels_of(rs).get(HASH_LABEL, ""): rs for rs in found})


def of_deployment(deployment: Obj | None, sets: Iterable[Obj], canary: Obj | None = None) -> Workload:
    """With `canary` the Deployment is a Canary's target, and `sets` are its primary's."""
    found = tuple(sets)
    return Workload(deployment, found, canary, {labels_of(rs).get(_DEPLOYMENT_HASH, ""): rs for rs in found})


def serving(workload: Workload) -> str:
    """The version that serves all users; "" while that is under way, or not known."""
    obj = workload.obj
    if obj is None:
        return ""
    if obj["kind"] == "Rollout":
        status = status_of(obj)
        seen_now = str(status.get("observedGeneration")) == str(meta_of(obj).get("generation"))
        over = status.get("phase") == "Healthy" and status.get("stableRS") == status.get("currentPodHash")
        return str(status.get("stableRS") or "") if over and seen_now else ""
    if workload.canary is not None:
        if status_of(workload.canary).get("phase") not in ("Initialized", "Succeeded"):
            return ""
        return _newest(workload)
    progressing = condition(obj, "Progressing") or {}
    seen = int(status_of(obj).get("observedGeneration") or 0) >= int(meta_of(obj).get("generation") or 0)
    return _newest(workload) if seen and progressing.get("reason") == "NewReplicaSetAvailable" else ""


def is_good(workload: Workload, version: str, good: str) -> bool:
    serves, wanted = workload.hashes.get(version), workload.hashes.get(good)
    if serves is None:
        return False
    if version == good or wanted is None:
        return version == good
    return images(spec_of(serves)["template"]) == images(spec_of(wanted)["template"])


def _newest(workload: Workload) -> str:
    """Of those that have pods: the highest revision."""
    with_pods = [rs for rs in workload.sets if int(spec_of(rs).get("replicas") or 0) > 0]
    if not with_pods:
        return ""
    newest = max(with_pods, key=_revision)
    return labels_of(newest).get(_DEPLOYMENT_HASH, "")


def _revision(replica_set: Obj) -> int:
    text = annotations_of(replica_set).get(_DEPLOYMENT_REVISION) or annotations_of(replica_set).get(REVISION) or "0"
    return int(text) if text.isdigit() else 0


def take_back(workload: Workload, good: str, evidence: str, story: str) -> tuple[tuple[Action, ...], str]:
    """The actions, and why there are none ("" where there are)."""
    obj, old = workload.obj, workload.hashes.get(good)
    if obj is None or old is None:
        return (), f"the ReplicaSet of {good} is gone (revisionHistoryLimit)"
    bad_images, good_images = images(spec_of(obj).get("template") or {}), images(spec_of(old).get("template") or {})
    resource = ROLLOUTS if obj["kind"] == "Rollout" else DEPLOYMENTS
    meta = meta_of(obj)
    if owned_by_git(obj):
        if bad_images == good_images:
            return (), f"the images of {good} are the same: what else changed has to be taken back by a commit of yours"
        return (ask_to_take_back(resource, obj, bad_images, good_images, evidence=evidence, story=story),), ""
    template = _without_hash(spec_of(old)["template"])
    if workload.canary is not None:  # the primary's own label, id and configuration names are not the target's
        template = copy_of(spec_of(obj)["template"])
        for container in (*(template["spec"].get("initContainers") or ()), *template["spec"]["containers"]):
            container["image"] = good_images.get(str(container.get("name")), container.get("image"))
    return (Change(resource, meta["namespace"], meta["name"],
                   JsonPatch([{"op": "replace", "path": "/spec/template", "value": template}])),), ""


def hurry(workload: Workload, good: str) -> tuple[Action, ...]:
    """A Rollout that is on its way back takes no steps: the old version was proven."""
    obj = workload.obj
    if obj is None or obj["kind"] != "Rollout":
        return ()
    status = status_of(obj)
    current = str(status.get("currentPodHash") or "")
    if not is_good(workload, current, good) or status.get("stableRS") == current or status.get("promoteFull"):
        return ()
    meta = meta_of(obj)
    return (Change(ROLLOUTS, meta["namespace"], meta["name"], MergePatch({"status": {"promoteFull": True}}), "status"),)


def settled(workload: Workload) -> tuple[Action, ...]:
    """The note is of no use any more."""
    obj = workload.obj
    if obj is None:
        return ()
    found = withdraw_note(ROLLOUTS if obj["kind"] == "Rollout" else DEPLOYMENTS, obj)
    return (found,) if found is not None else ()


def _without_hash(template: Obj) -> Obj:
    made = copy_of(template)
    for label in (HASH_LABEL, _DEPLOYMENT_HASH):
        dig(made, "metadata", "labels", default={}).pop(label, None)
    return made
