"""Whether a ReplicaSet runs the pod template that a Rollout asks for.

ReplicaSets that Fairway made carry a digest of the template as it was written. Where no digest is that of the Rollout's
template, the templates themselves are compared: after an undo, and with ReplicaSets that others made. The API fills defaults
into a ReplicaSet's template and not into a Rollout's, so both are compared with them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from fairway.kube.defaults import apply_defaults
from fairway.kube.objects import Obj, annotations_of, meta_of, spec_of
from fairway.kube.template import without_label
from fairway.rollouts.keys import EPHEMERAL_METADATA, HASH_LABEL, TEMPLATE_SHA

_USERS_OWN = frozenset({"labels", "annotations", "nodeSelector", "matchLabels", "limits", "requests"})


def template_sha(template: Obj) -> str:
    return hashlib.sha256(msgspec.json.encode(template, order="sorted")).hexdigest()


def running(replica_sets: Iterable[Obj], template: Obj) -> set[str]:
    """Names of those that were made from `template`, whatever defaults, hash label and injected metadata they carry."""
    every, sha = list(replica_sets), template_sha(template)
    exactly = {_name(rs) for rs in every if annotations_of(rs).get(TEMPLATE_SHA) == sha}
    if exactly:
        return exactly
    wanted = _whole(without_label(template, HASH_LABEL))
    return {_name(rs) for rs in every if _whole(without_label(_made_from(rs), HASH_LABEL)) == wanted}


def _name(replica_set: Obj) -> str:
    return str(meta_of(replica_set).get("name", ""))


def _made_from(replica_set: Obj) -> Obj:
    """Its template without metadata that was injected later."""
    template: Obj = spec_of(replica_set).get("template") or {}
    injected = msgspec.json.decode(annotations_of(replica_set).get(EPHEMERAL_METADATA) or "{}")
    meta = dict(template.get("metadata") or {})
    for kind in ("labels", "annotations"):
        drop = injected.get(kind) or {}
        if kind in meta and drop:
            meta[kind] = {k: v for k, v in meta[kind].items() if k not in drop}
    return {**template, "metadata": meta}


def _whole(template: Obj) -> Obj:
    """`template` with what the API would fill in, and without what says nothing."""
    filled: Obj = {"spec": {"template": _said(template)}}
    apply_defaults("apps", "ReplicaSet", filled)
    found: Obj = filled["spec"]["template"]
    return found


def _said(value: Any, key: str = "") -> Any:
    """A copy of `value` without what is null or empty; labels and the like stay as they are."""
    if isinstance(value, list):
        return [_said(item) for item in value]
    if not isinstance(value, dict):
        return value
    if key in _USERS_OWN:
        return dict(value)
    found = {name: _said(item, name) for name, item in value.items()}
    return {name: item for name, item in found.items()
            if item not in (None, "", []) and not (item == {} and name in _USERS_OWN)}
