"""The Endpoints of a Service, which older clients read where newer ones read EndpointSlices.

Addresses with the same ports share a subset. Whoever writes Endpoints by hand, for a Service without a selector, has them
mirrored to EndpointSlices (`decide_mirror`), because that is what traffic follows.

Source: kubernetes `pkg/controller/endpoint`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fairway.kube.api import MergePatch
from fairway.kube.decision import Change, Create, Decision, Delete, differs
from fairway.kube.objects import Obj, annotations_of, is_deleting, key_of, labels_of, spec_of, uid_of
from fairway.kube.resources import ENDPOINTS
from fairway.workloads.decide_endpoints import HEADLESS, endpoint_of, has_place, ports_key, ports_of

MANAGED_BY = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"
_CAPACITY, _MOST = "endpoints.kubernetes.io/over-capacity", 1000
"""Upstream's bound: what is beyond it is in EndpointSlices alone."""


@dataclass(frozen=True, slots=True)
class Seen:
    """`endpoints`: those of the Service's name, if there are any. `pods`: those that its selector matches."""

    service: Obj
    pods: Sequence[Obj]
    endpoints: Obj | None


def decide(seen: Seen) -> Decision:
    service, present = seen.service, seen.endpoints
    if is_deleting(service) or not spec_of(service).get("selector") or spec_of(service).get("type") == "ExternalName":
        return Decision(orphaned(present))
    namespace, name = key_of(service)
    subsets, truncated = _subsets(service, seen.pods)
    labels: Obj = {**labels_of(service), MANAGED_BY: MANAGER}
    if spec_of(service).get("clusterIP") == "None":
        labels[HEADLESS] = ""
    notes: Obj = {_CAPACITY: "truncated"} if truncated else {}
    if present is None:
        meta = {"name": name, "namespace": namespace, "labels": labels, **({"annotations": notes} if notes else {})}
        return Decision((Create({"apiVersion": "v1", "kind": "Endpoints", "metadata": meta, "subsets": subsets}),))
    gone: Obj = {label: None for label in labels_of(present) if label not in labels}
    body: Obj = {"metadata": {"labels": {**gone, **labels}}, "subsets": subsets or None}
    if notes or _CAPACITY in annotations_of(present):
        body["metadata"]["annotations"] = notes or {_CAPACITY: None}
    return Decision((Change(ENDPOINTS, namespace, name, MergePatch(body)),) if differs(present, body) else ())


def orphaned(present: Obj | None) -> tuple[Delete, ...]:
    """Endpoints that we made and whose Service selects nothing any more, or is gone. Those of others stay."""
    if present is None or labels_of(present).get(MANAGED_BY) != MANAGER:
        return ()
    return (Delete(ENDPOINTS, *key_of(present), uid=uid_of(present)),)


def _subsets(service: Obj, pods: Sequence[Obj]) -> tuple[list[Obj], bool]:
    found: dict[bytes, Obj] = {}
    placed = [pod for pod in pods if has_place(pod) and not is_deleting(pod)]
    for pod in placed[:_MOST]:
        ports = ports_of(service, pod)
        subset = found.setdefault(ports_key(ports), {"addresses": [], "notReadyAddresses": [], "ports": ports})
        endpoint = endpoint_of(service, pod)
        kind = "addresses" if endpoint["conditions"]["ready"] else "notReadyAddresses"
        address: Obj = {name: endpoint[name] for name in ("hostname", "nodeName", "targetRef") if name in endpoint}
        subset[kind].append({"ip": endpoint["addresses"][0], **address})
    ordered = [found[key] for key in sorted(found)]
    for subset in ordered:
        for kind in ("addresses", "notReadyAddresses"):
            subset[kind].sort(key=lambda one: str(one["ip"]))
    return [{name: value for name, value in subset.items() if value} for subset in ordered], len(placed) > _MOST
