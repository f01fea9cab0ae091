"""Fields inside git's objects that a controller owns by convention: applying leaves them as they are. Pure.

A Service's selector is one value to server-side apply, so the pod hash that Argo Rollouts puts into it would be drift, and a
sync would take the stable Service's traffic to every pod for a moment. The rollout marks its Services with an annotation.
"""

from __future__ import annotations

from fairway.kube.objects import Obj, annotations_of, spec_of

MANAGED_BY_ROLLOUTS = "argo-rollouts.argoproj.io/managed-by-rollouts"
POD_HASH = "rollouts-pod-template-hash"


def with_delegated(target: Obj, live: Obj | None) -> Obj:
    """The target with what a rollout has written into the live object."""
    if live is None or target.get("kind") != "Service" or MANAGED_BY_ROLLOUTS not in annotations_of(live):
        return target
    wanted = spec_of(target).get("selector") or {}
    chosen = (spec_of(live).get("selector") or {}).get(POD_HASH)
    if not wanted or chosen is None or POD_HASH in wanted:
        return target
    return {**target, "spec": {**spec_of(target), "selector": {**wanted, POD_HASH: chosen}}}
