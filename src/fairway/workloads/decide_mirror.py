"""EndpointSlices for Endpoints that somebody wrote: a Service without a selector, for a database outside of the cluster.

Source: kubernetes `pkg/controller/endpointslicemirroring`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fairway.kube.api import MergePatch
from fairway.kube.decision import Action, Change, Create, Decision, Delete, differs
from fairway.kube.objects import Obj, annotations_of, is_deleting, key_of, labels_of, owner_reference, spec_of, uid_of
from fairway.kube.resources import ENDPOINT_SLICES
from fairway.workloads.decide_endpoints import MANAGED_BY, SERVICE_NAME, ports_key
from fairway.workloads.pods import safe_suffix

MANAGER = "endpointslicemirroring-controller.k8s.io"
_SKIP = "endpointslice.kubernetes.io/skip-mirror"
_LEADER = "control-plane.alpha.kubernetes.io/leader"


@dataclass(frozen=True, slots=True)
class Seen:
    """`slices`: those that mirror these Endpoints now."""

    endpoints: Obj
    service: Obj | None
    slices: Sequence[Obj]


def decide(seen: Seen) -> Decision:
    wanted = {one["metadata"]["name"]: one for one in _slices(seen.endpoints)} if _is_mirrored(seen) else {}
    present = {key_of(one).name: one for one in seen.slices}
    actions: list[Action] = []
    for name, one in wanted.items():
        old = present.get(name)
        body = {"metadata": {"labels": one["metadata"]["labels"]}, "endpoints": one["endpoints"], "ports": one["ports"] or None}
        if old is None:
            actions.append(Create(one))
        elif differs(old, body):
            actions.append(Change(ENDPOINT_SLICES, *key_of(old), MergePatch(body)))
    actions += [Delete(ENDPOINT_SLICES, *key_of(old), uid=uid_of(old)) for name, old in present.items() if name not in wanted]
    return Decision(tuple(actions))


def _is_mirrored(seen: Seen) -> bool:
    endpoints = seen.endpoints
    return (seen.service is not None and not spec_of(seen.service).get("selector") and not is_deleting(endpoints)
            and labels_of(endpoints).get(_SKIP) != "true" and _LEADER not in annotations_of(endpoints))


def _slices(endpoints: Obj) -> list[Obj]:
    """One for each subset and family of addresses."""
    found: dict[tuple[str, bytes], Obj] = {}
    namespace, name = key_of(endpoints)
    labels = {**labels_of(endpoints), SERVICE_NAME: name, MANAGED_BY: MANAGER}
    for subset in endpoints.get("subsets") or ():
        ports = [{"name": port.get("name") or "", "protocol": port.get("protocol") or "TCP", **_rest(port)}
                 for port in subset.get("ports") or ()]
        for kind in ("addresses", "notReadyAddresses"):
            for address in subset.get(kind) or ():
                family = "IPv6" if ":" in address["ip"] else "IPv4"
                key = family, ports_key(ports)
                if key not in found:
                    suffix = safe_suffix(uid_of(endpoints), *key)
                    found[key] = {
                        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                        "metadata": {"name": f"{name[:57]}-{suffix}", "namespace": namespace, "labels": labels,
                                     "ownerReferences": [owner_reference(endpoints)]},
                        "addressType": family, "endpoints": [], "ports": ports,
                    }  # fmt: skip
                found[key]["endpoints"].append(_endpoint(address, ready=kind == "addresses"))
    return list(found.values())


def _rest(port: Obj) -> dict[str, Any]:
    return {name: port[name] for name in ("port", "appProtocol") if port.get(name)}


def _endpoint(address: Obj, *, ready: bool) -> Obj:
    kept = {name: address[name] for name in ("hostname", "nodeName", "targetRef") if address.get(name)}
    return {"addresses": [address["ip"]], "conditions": {"ready": ready}, **kept}
