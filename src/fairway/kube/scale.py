"""The scale subresource: one shape for the replica counts of every kind that has them."""

from __future__ import annotations

from typing import Any

from fairway.kube import selectors
from fairway.kube.crds import ScalePaths
from fairway.kube.errors import ApiError
from fairway.kube.objects import Obj, dig

BUILT_IN = ScalePaths(("spec", "replicas"), ("status", "replicas"), ())


def scale_of(obj: Obj, paths: ScalePaths) -> Obj:
    """The autoscaling/v1 Scale of an object."""
    replicas = dig(obj, *paths.spec_replicas)
    if replicas is None and paths is not BUILT_IN:
        missing = f'the spec replicas field ".{".".join(paths.spec_replicas)}" does not exist'
        raise ApiError(f"Internal error occurred: {missing}", details={"causes": [{"message": missing}]})
    status: dict[str, Any] = {"replicas": dig(obj, *paths.status_replicas, default=0)}
    selector = dig(obj, *paths.selector) if paths.selector else None
    if paths is BUILT_IN and dig(obj, "spec", "selector") is not None:
        selector = selectors.to_text(selectors.from_label_selector(obj["spec"]["selector"]))
    if selector:
        status["selector"] = selector
    meta = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {"kind": "Scale", "apiVersion": "autoscaling/v1",
            "metadata": {name: meta[name] for name in kept if name in meta},
            "spec": {"replicas": replicas if replicas is not None else 0}, "status": status}


def with_scale(obj: Obj, scale: Obj, paths: ScalePaths) -> Obj:
    """`obj` as `scale` wants it: its replicas, and its resourceVersion as the optimistic lock. Changes `obj`."""
    inner = obj
    for step in paths.spec_replicas[:-1]:
        inner = inner.setdefault(step, {})
    inner[paths.spec_replicas[-1]] = int(dig(scale, "spec", "replicas", default=0))
    version = dig(scale, "metadata", "resourceVersion")
    if version:
        obj["metadata"]["resourceVersion"] = version
    return obj
