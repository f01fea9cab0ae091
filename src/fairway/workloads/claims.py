"""PersistentVolumeClaims: each is bound to a volume of its own, which is a folder of this machine.

A volume is never looked for, it is made: whatever class a claim names, there is one kind of storage here. A claim stays
while a pod uses it; its volume goes with it, or stays as Released where its reclaim policy says Retain.

Source: kubernetes `pkg/controller/volume` (persistentvolume, pvcprotection).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from fairway.kube.api import MergePatch
from fairway.kube.cache import Informers
from fairway.kube.clock import Clock
from fairway.kube.decision import Action, Change, Create, Decision, Delete, Outcome, Reason, carry_out, carry_out_decision
from fairway.kube.events import EventRecorder
from fairway.kube.objects import Key, Obj, annotations_of, dig, is_deleting, key_of, meta_of, spec_of, status_of, uid_of
from fairway.kube.reconcile import Watch
from fairway.kube.resources import NAMESPACES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, STORAGE_CLASSES
from fairway.workloads.pods import is_finished

CLASS = "local"
PROVISIONER = "local.fairway.dev"
PROTECTION = "kubernetes.io/pvc-protection"
_BOUND = "pv.kubernetes.io/bind-completed"
_BY_US = "pv.kubernetes.io/bound-by-controller"
_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
_CLASSES = Key("", "storage classes")
"""This controller's own key, which no claim has: look whether the storage class is there."""

STORAGE_CLASS: Obj = {
    "apiVersion": STORAGE_CLASSES.api_version, "kind": STORAGE_CLASSES.kind,
    "metadata": {"name": CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
    "provisioner": PROVISIONER, "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """`volume`: the one that the claim is bound to or would be. `users`: pods of its namespace that name the claim."""

    claim: Obj
    volume: Obj | None
    users: Sequence[Obj]


def decide(seen: Seen) -> Decision:
    claim, meta = seen.claim, meta_of(seen.claim)
    held = meta.get("finalizers") or []
    if is_deleting(claim):
        used = [meta_of(pod)["name"] for pod in seen.users if not is_finished(pod)]
        if PROTECTION not in held or used:
            return Decision(reasons=(Reason("InUse", f"{', '.join(sorted(used))} use this claim"),) if used else ())
        return Decision((_patch(claim, {"finalizers": [name for name in held if name != PROTECTION] or None}),))
    name = volume_name(claim)
    actions: list[Action] = []
    if seen.volume is None:
        actions.append(Create(_volume(claim, name)))
    notes = {note: "yes" for note in (_BOUND, _BY_US) if annotations_of(claim).get(note) != "yes"}
    wanted: Obj = {}
    if notes or PROTECTION not in held:
        wanted["metadata"] = {"annotations": notes, "finalizers": list(dict.fromkeys([*held, PROTECTION]))}
    if not spec_of(claim).get("volumeName"):
        wanted["spec"] = {"volumeName": name, "storageClassName": _class(claim)}
    if wanted:
        actions.append(Change(PERSISTENT_VOLUME_CLAIMS, *key_of(claim), MergePatch(wanted)))
    if seen.volume is None or status_of(seen.volume).get("phase") != "Bound":
        actions.append(Change(PERSISTENT_VOLUMES, "", name, MergePatch({"status": {"phase": "Bound"}}), "status"))
    status = {"phase": "Bound", "accessModes": spec_of(claim).get("accessModes") or ["ReadWriteOnce"],
              "capacity": dig(claim, "spec", "resources", "requests", default={})}
    return Decision(tuple(actions), status, None, (Reason("Provisioned", name),) if seen.volume is None else ())


def released(volume: Obj) -> tuple[Action, ...]:
    """What becomes of a volume whose claim is gone."""
    if spec_of(volume).get("persistentVolumeReclaimPolicy") == "Delete":
        return (Delete(PERSISTENT_VOLUMES, *key_of(volume), uid=uid_of(volume)),)
    if status_of(volume).get("phase") == "Released":
        return ()
    return (Change(PERSISTENT_VOLUMES, *key_of(volume), MergePatch({"status": {"phase": "Released"}}), "status"),)


def volume_name(claim: Obj) -> str:
    return spec_of(claim).get("volumeName") or f"pvc-{uid_of(claim)}"


def _class(claim: Obj) -> str:
    return str(spec_of(claim).get("storageClassName") or CLASS)


def _patch(claim: Obj, meta: Obj) -> Change:
    return Change(PERSISTENT_VOLUME_CLAIMS, *key_of(claim), MergePatch({"metadata": {"uid": uid_of(claim), **meta}}))


def _volume(claim: Obj, name: str) -> Obj:
    namespace, claim_name = key_of(claim)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {_PROVISIONED_BY: PROVISIONER}},
        "spec": {
            "capacity": dict(dig(claim, "spec", "resources", "requests", default={})),
            "accessModes": spec_of(claim).get("accessModes") or ["ReadWriteOnce"],
            "volumeMode": spec_of(claim).get("volumeMode") or "Filesystem",
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": _class(claim),
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": claim_name,
                         "uid": uid_of(claim)},
            "csi": {"driver": PROVISIONER, "volumeHandle": f"{namespace}/{claim_name}"},
        },
    }


class ClaimController:
    """Implements `Controller`."""

    name = "persistentvolume-binder"
    resource = PERSISTENT_VOLUME_CLAIMS
    workers = 2

    def __init__(self, informers: Informers, clock: Clock) -> None:
        self._informers = informers
        self._events = EventRecorder(informers.api, clock, self.name)
        self._claims, self._volumes = informers.of(PERSISTENT_VOLUME_CLAIMS), informers.of(PERSISTENT_VOLUMES)
        self._pods, self._classes = informers.of(PODS), informers.of(STORAGE_CLASSES)

    def watches(self) -> Sequence[Watch]:
        return [Watch(PODS, _claims_of_pod), Watch(PERSISTENT_VOLUMES, _claim_of_volume),
                Watch(NAMESPACES, lambda _: (_CLASSES,))]

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        if key == _CLASSES:
            if self._classes.get(Key("", CLASS)) is None:
                await carry_out(self._informers.api, [Create(STORAGE_CLASS)], manager=self.name)
            return Outcome()
        claim = self._claims.get(key)
        gone = [volume for volume in self._volumes.list() if _belonged_to(volume, key, claim)]
        for volume in gone:
            await carry_out(self._informers.api, released(volume), manager=self.name)
        if claim is None:
            return Outcome()
        users = [pod for pod in self._pods.list(key.namespace) if key in _claims_of_pod(pod)] if is_deleting(claim) else []
        decision = decide(Seen(claim, self._volumes.get(Key("", volume_name(claim))), users))
        outcome = await carry_out_decision(self._informers.api, decision, self.resource, claim, manager=self.name)
        for reason in decision.reasons:
            if reason.code == "Provisioned":
                await self._events.event(claim, "Normal", "ProvisioningSucceeded",
                                         f"Successfully provisioned volume {reason.message}")
        return outcome


def _claims_of_pod(pod: Obj) -> list[Key]:
    """The claims that a pod uses: those that are being deleted wait for its end."""
    namespace = key_of(pod).namespace
    names = (dig(volume, "persistentVolumeClaim", "claimName") for volume in spec_of(pod).get("volumes") or ())
    return [Key(namespace, name) for name in names if name]


def _claim_of_volume(volume: Obj) -> Iterable[Key]:
    ref = spec_of(volume).get("claimRef")
    if ref:
        yield Key(ref.get("namespace", ""), ref["name"])


def _belonged_to(volume: Obj, key: Key, claim: Obj | None) -> bool:
    ref = spec_of(volume).get("claimRef") or {}
    if (ref.get("namespace"), ref.get("name")) != key or not ref.get("uid"):
        return False
    return claim is None or bool(ref["uid"] != uid_of(claim))
