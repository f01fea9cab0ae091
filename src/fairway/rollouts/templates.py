"""Whether a ReplicaSet runs the pod template that a Rollout asks for.

The API fills defaults into a ReplicaSet's template and not into a Rollout's, so the two are compared without what defaults
say. ReplicaSets that Fairway made also carry a digest of the template as it was written, which settles it at once.
Defaults: kubernetes `pkg/apis/core/v1/defaults.go`.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from fairway.kube.objects import Obj, annotations_of, spec_of
from fairway.kube.template import without_label
from fairway.rollouts.keys import EPHEMERAL_METADATA, HASH_LABEL, TEMPLATE_SHA

_DEFAULTS: dict[str, Any] = {
    "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
    "terminationGracePeriodSeconds": 30, "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File", "protocol": "TCP", "timeoutSeconds": 1, "periodSeconds": 10,
    "successThreshold": 1, "failureThreshold": 3, "scheme": "HTTP", "defaultMode": 420, "enableServiceLinks": True,
}  # fmt: skip
_USERS_OWN = frozenset({"labels", "annotations", "nodeSelector", "matchLabels", "limits", "requests", "data"})


def template_sha(template: Obj) -> str:
    return hashlib.sha256(msgspec.json.encode(template, order="sorted")).hexdigest()


def runs_template(replica_set: Obj, template: Obj) -> bool:
    """Whether `replica_set` was made from `template`, whatever defaults, hash label and injected metadata it carries."""
    known = annotations_of(replica_set).get(TEMPLATE_SHA)
    if known is not None:
        return known == template_sha(template)
    injected = msgspec.json.decode(annotations_of(replica_set).get(EPHEMERAL_METADATA) or "{}")
    have = _without_injected(spec_of(replica_set).get("template") or {}, injected)
    return bool(_bare(without_label(have, HASH_LABEL)) == _bare(without_label(template, HASH_LABEL)))


def _without_injected(template: Obj, injected: Obj) -> Obj:
    meta = dict(template.get("metadata") or {})
    for kind in ("labels", "annotations"):
        drop = injected.get(kind) or {}
        if kind in meta and drop:
            meta[kind] = {k: v for k, v in meta[kind].items() if k not in drop}
    return {**template, "metadata": meta}


def _bare(value: Any, key: str = "") -> Any:
    """`value` without defaults and without what is empty."""
    if isinstance(value, dict):
        if key in _USERS_OWN:
            return dict(value)
        found = {}
        for name, inner in value.items():
            if (name in _DEFAULTS and inner == _DEFAULTS[name]) or name == "creationTimestamp":
                continue
            if name == "imagePullPolicy" and inner == _pull_policy(str(value.get("image", ""))):
                continue
            if name == "apiVersion" and key == "fieldRef" and inner == "v1":
                continue
            if name == "serviceAccount" and inner == value.get("serviceAccountName"):
                continue
            bare = _bare(inner, name)
            if bare not in ({}, [], None, ""):
                found[name] = bare
        return found
    return [_bare(inner) for inner in value] if isinstance(value, list) else value


def _pull_policy(image: str) -> str:
    tail = image.rpartition("/")[2]
    return "IfNotPresent" if "@" in tail or (":" in tail and not tail.endswith(":latest")) else "Always"
