"""Which addresses stand behind a Service: one EndpointSlice per set of resolved ports.

A named targetPort may mean different numbers in different pods (in the middle of a rollout that changes it): pods with
the same numbers share a slice. A slice's name follows from the Service and those numbers, so it is stable while they
are. Annotations are not written: others keep theirs on the slice.

Source: kubernetes `staging/src/k8s.io/endpointslice`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from fairway.kube.api import MergePatch
from fairway.kube.decision import Action, Change, Create, Decision, Delete, differs
from fairway.kube.objects import (
    Obj,
    is_deleting,
    key_of,
    labels_of,
    meta_of,
    owner_reference,
    spec_of,
    status_of,
    uid_of,
)
from fairway.kube.resources import ENDPOINT_SLICES
from fairway.workloads.pods import is_finished, is_ready, safe_suffix

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
HEADLESS = "service.kubernetes.io/headless"


@dataclass(frozen=True, slots=True)
class Seen:
    """`pods`: those of the namespace that the Service's selector matches. `slices`: those that we manage for it."""

    service: Obj
    pods: Sequence[Obj]
    slices: Sequence[Obj]


def decide(seen: Seen, now: datetime) -> Decision:
    service = seen.service
    if is_deleting(service) or not spec_of(service).get("selector") or spec_of(service).get("type") == "ExternalName":
        return Decision(tuple(_delete(old) for old in seen.slices))
    wanted = {meta_of(one)["name"]: one for one in _slices(service, seen.pods)}
    present = {meta_of(old)["name"]: old for old in seen.slices}
    actions: list[Action] = []
    for name, one in wanted.items():
        old = present.get(name)
        if old is None:
            actions.append(Create(one))
        else:
            body = _body(one, old)
            if differs(old, body):
                actions.append(Change(ENDPOINT_SLICES, *key_of(old), MergePatch(body)))
    actions += [_delete(old) for name, old in present.items() if name not in wanted]
    return Decision(tuple(actions))


def _delete(old: Obj) -> Action:
    namespace, name = key_of(old)
    return Delete(ENDPOINT_SLICES, namespace, name, uid=uid_of(old))


def _body(one: Obj, old: Obj) -> Obj:
    labels: Obj = {name: None for name in labels_of(old) if name not in labels_of(one)}
    return {
        "metadata": {"labels": {**labels, **labels_of(one)}, "ownerReferences": meta_of(one)["ownerReferences"]},
        "endpoints": one["endpoints"] or None,  # the API keeps no empty lists
        "ports": one["ports"] or None,
    }


def _slices(service: Obj, pods: Sequence[Obj]) -> list[Obj]:
    groups: dict[bytes, tuple[list[Obj], list[Obj]]] = {}
    for pod in pods:
        if not has_place(pod):
            continue
        ports = ports_of(service, pod)
        groups.setdefault(ports_key(ports), (ports, []))[1].append(endpoint_of(service, pod))
    if not groups:
        ports = ports_of(service, None)
        groups[ports_key(ports)] = (ports, [])
    return [_slice(service, ports, endpoints) for _, (ports, endpoints) in sorted(groups.items())]


def has_place(pod: Obj) -> bool:
    return bool(status_of(pod).get("podIP")) and not is_finished(pod)


def ports_key(ports: list[Obj]) -> bytes:
    return msgspec.json.encode(ports, order="sorted")


def ports_of(service: Obj, pod: Obj | None) -> list[Obj]:
    found: list[Obj] = []
    for port in spec_of(service).get("ports") or ():
        number = _target_port(port, pod)
        if number is None:
            continue
        entry = {"name": port.get("name") or "", "protocol": port.get("protocol") or "TCP", "port": number}
        if port.get("appProtocol"):
            entry["appProtocol"] = port["appProtocol"]
        found.append(entry)
    return found


def _target_port(port: Obj, pod: Obj | None) -> int | None:
    """The number behind `targetPort`; None where no container of the pod has a port of that name."""
    target = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    protocol = port.get("protocol") or "TCP"
    containers = [*(spec_of(pod).get("containers") or ()), *_sidecars(pod)] if pod is not None else []
    for container in containers:
        for offered in container.get("ports") or ():
            if offered.get("name") == target and (offered.get("protocol") or "TCP") == protocol:
                return int(offered["containerPort"])
    return None


def _sidecars(pod: Obj) -> list[Obj]:
    return [c for c in spec_of(pod).get("initContainers") or () if c.get("restartPolicy") == "Always"]


def endpoint_of(service: Obj, pod: Obj) -> Obj:
    serving, terminating = is_ready(pod), is_deleting(pod)
    even_unready = bool(spec_of(service).get("publishNotReadyAddresses"))
    namespace, name = key_of(pod)
    endpoint: Obj = {
        "addresses": [status_of(pod)["podIP"]],
        "conditions": {
            "ready": even_unready or (serving and not terminating),
            "serving": even_unready or serving,
            "terminating": terminating,
        },
        "nodeName": spec_of(pod).get("nodeName"),
        "targetRef": {"kind": "Pod", "namespace": namespace, "name": name, "uid": uid_of(pod)},
    }
    if spec_of(pod).get("hostname") and spec_of(pod).get("subdomain") == meta_of(service)["name"]:
        endpoint["hostname"] = spec_of(pod)["hostname"]
    return {key: value for key, value in endpoint.items() if value is not None}


def _slice(service: Obj, ports: list[Obj], endpoints: list[Obj]) -> Obj:
    namespace, name = key_of(service)
    labels = {**labels_of(service), SERVICE_NAME: name, MANAGED_BY: MANAGER}
    if spec_of(service).get("clusterIP") == "None":
        labels[HEADLESS] = ""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name[:57]}-{safe_suffix(uid_of(service), ports_key(ports))}",
            "namespace": namespace,
            "labels": labels,
            "ownerReferences": [owner_reference(service)],
        },
        "addressType": "IPv4",
        "endpoints": sorted(endpoints, key=lambda one: str(one["targetRef"]["name"])),
        "ports": ports,
    }
