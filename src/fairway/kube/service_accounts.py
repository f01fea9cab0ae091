"""What a pod gets for being its service account: the account's name, its pull secrets and a token in a known place. Pure.

Source: kubernetes `plugin/pkg/admission/serviceaccount`; names and figures only.
"""

from __future__ import annotations

from fairway.kube.identities import Identities
from fairway.kube.objects import Obj

MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
ROOT_CA = "kube-root-ca.crt"
"""The ConfigMap with the CA of the API, in every namespace."""
_TOKEN_LIFE_S = 3607  # an hour and a bit, by which such tokens are told from those that somebody asked for
_MODE = 0o644


def named(pod: Obj) -> str:
    """The account of a pod; `default` where it says nothing."""
    spec = pod["spec"]
    return str(spec.get("serviceAccountName") or spec.get("serviceAccount") or "default")


def inject(pod: Obj, account: Obj, identities: Identities) -> None:
    """Make `pod` run as `account`. A pod that mounts something at the known place, or wants no token, gets none."""
    spec = pod["spec"]
    spec["serviceAccountName"] = spec["serviceAccount"] = account["metadata"]["name"]
    if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
        spec["imagePullSecrets"] = [dict(ref) for ref in account["imagePullSecrets"]]
    if not _wanted(spec, account):
        return
    containers = [c for part in ("initContainers", "containers") for c in spec.get(part) or ()
                  if not any(mount.get("mountPath") == MOUNT for mount in c.get("volumeMounts") or ())]
    if not containers:
        return
    volume = next((v["name"] for v in spec.get("volumes") or () if v["name"].startswith("kube-api-access-")), "")
    if not volume:
        volume = identities.name("kube-api-access-")
        spec["volumes"] = [*(spec.get("volumes") or ()), {"name": volume, "projected": _sources()}]
    for container in containers:
        mount = {"name": volume, "readOnly": True, "mountPath": MOUNT}
        container["volumeMounts"] = [*(container.get("volumeMounts") or ()), mount]


def _wanted(spec: Obj, account: Obj) -> bool:
    for said in (spec.get("automountServiceAccountToken"), account.get("automountServiceAccountToken")):
        if said is not None:
            return bool(said)
    return True


def _sources() -> Obj:
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    return {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": _TOKEN_LIFE_S, "path": "token"}},
            {"configMap": {"name": ROOT_CA, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [namespace]}},
        ],
        "defaultMode": _MODE,
    }
