"""The pods of a StatefulSet and the claims that stay theirs: identity by ordinal.

`web-0` is `web-0` again after a restart: the same name, the same host name and the same claims. Source: kubernetes
`pkg/controller/statefulset/stateful_set_utils.go`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fairway.kube.api import MergePatch
from fairway.kube.decision import Action, Change, Create
from fairway.kube.objects import Obj, dig, key_of, meta_of, owner_reference, spec_of, uid_of
from fairway.kube.resources import PERSISTENT_VOLUME_CLAIMS
from fairway.workloads.pods import pod_from_template
from fairway.workloads.revisions import REVISION_LABEL

POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"


def ordinal_of(owner: Obj, pod: Obj) -> int | None:
    """The number at the end of the name; None for a pod of another name."""
    base, _, number = meta_of(pod)["name"].rpartition("-")
    return int(number) if base == meta_of(owner)["name"] and number.isdigit() else None


def pod_of(owner: Obj, template: Obj, revision: str, ordinal: int) -> Obj:
    name = f"{meta_of(owner)['name']}-{ordinal}"
    pod = pod_from_template(owner, template, name)
    pod["metadata"]["labels"].update({POD_NAME: name, POD_INDEX: str(ordinal), REVISION_LABEL: revision})
    spec = pod["spec"]
    spec["hostname"] = name
    if spec_of(owner).get("serviceName"):
        spec["subdomain"] = spec_of(owner)["serviceName"]
    claims = claim_names(owner, name)
    if claims:
        kept = [volume for volume in spec.get("volumes") or () if volume["name"] not in claims]
        spec["volumes"] = [*({"name": volume, "persistentVolumeClaim": {"claimName": claim}}
                             for volume, claim in claims.items()), *kept]
    return pod


def claim_names(owner: Obj, pod_name: str) -> dict[str, str]:
    """Volume name to claim name."""
    return {meta_of(one)["name"]: f"{meta_of(one)['name']}-{pod_name}" for one in _templates(owner)}


def missing_claims(owner: Obj, pod_name: str, claims: Mapping[str, Obj]) -> list[Action]:
    made: list[Action] = []
    for one in _templates(owner):
        name = f"{meta_of(one)['name']}-{pod_name}"
        if name in claims:
            continue
        labels = {**(meta_of(one).get("labels") or {}), **(dig(owner, "spec", "selector", "matchLabels", default={}))}
        meta: Obj = {"name": name, "namespace": meta_of(owner)["namespace"], "labels": labels}
        if meta_of(one).get("annotations"):
            meta["annotations"] = dict(meta_of(one)["annotations"])
        if _policy(owner, "whenDeleted") == "Delete":
            meta["ownerReferences"] = [_reference(owner)]
        made.append(Create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta,
                            "spec": dict(one.get("spec") or {})}))
    return made


def claim_owners(owner: Obj, pod: Obj, claims: Mapping[str, Obj], *, condemned: bool) -> list[Action]:
    """Claims whose owners do not yet say what the retention policy wants: the set, the pod that goes, or nobody."""
    changes: list[Action] = []
    for name in claim_names(owner, meta_of(pod)["name"]).values():
        claim = claims.get(name)
        if claim is None:
            continue
        to_pod = condemned and _policy(owner, "whenScaled") == "Delete"
        wanted = [_reference(pod)] if to_pod else [_reference(owner)] if _policy(owner, "whenDeleted") == "Delete" else []
        present = meta_of(claim).get("ownerReferences") or []
        ours = {uid_of(owner), uid_of(pod)}
        if {ref["uid"] for ref in present if ref["uid"] in ours} != {ref["uid"] for ref in wanted}:
            refs = [*(ref for ref in present if ref["uid"] not in ours), *wanted]
            body = {"metadata": {"uid": uid_of(claim), "ownerReferences": refs or None}}
            changes.append(Change(PERSISTENT_VOLUME_CLAIMS, *key_of(claim), MergePatch(body)))
    return changes


def _templates(owner: Obj) -> Sequence[Obj]:
    found: Sequence[Obj] = spec_of(owner).get("volumeClaimTemplates") or ()
    return found


def _policy(owner: Obj, when: str) -> str:
    return str(dig(owner, "spec", "persistentVolumeClaimRetentionPolicy", when, default="Retain"))


def _reference(obj: Obj) -> Obj:
    return owner_reference(obj, controller=False, block=False)
