"""The three Services of a Canary: `<name>` for the users, `<name>-primary` and `<name>-canary` for the routes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fairway.kube.api import JsonPatch
from fairway.kube.decision import Action, Change, Create
from fairway.kube.objects import Obj, dig, is_controlled_by, spec_of
from fairway.kube.resources import SERVICES
from fairway.rollouts.flagger.spec import CanarySpec


def route_services(spec: CanarySpec, target: Obj, label: str, value: str, seen: Mapping[str, Obj], canary: Obj,
                   owner: Obj) -> Iterator[Action]:
    """Canary and primary Service, as they have to be. Users' requests are not moved by them."""
    for name, pods, extra in ((spec.canary_service, value, "canary"), (spec.primary_service, f"{value}-primary", "primary")):
        yield from ensure(_service(spec, target, name, label, pods, extra, owner), seen.get(name), canary)


def apex_service(spec: CanarySpec, target: Obj, label: str, value: str, seen: Mapping[str, Obj], canary: Obj,
                 owner: Obj) -> Iterator[Action]:
    """The users' Service leads to primary; one that leads to the target on purpose is left."""
    there = seen.get(spec.apex)
    yield from ensure(_service(spec, target, spec.apex, label, f"{value}-primary", "apex", owner), there, canary)


def point_apex(spec: CanarySpec, label: str, pods: str) -> Change:
    return Change(SERVICES, spec.namespace, spec.apex,
                  JsonPatch([{"op": "replace", "path": "/spec/selector", "value": {label: pods}}]))


def ensure(wished: Obj, there: Obj | None, canary: Obj) -> Iterator[Action]:
    """Create, or correct selector, ports, and (of one of ours) labels and annotations."""
    if there is None:
        yield Create(wished)
        return
    patch = []
    if spec_of(there).get("selector") != wished["spec"]["selector"]:
        patch.append({"op": "add", "path": "/spec/selector", "value": wished["spec"]["selector"]})
    if _ports(there) != _ports(wished):
        patch.append({"op": "add", "path": "/spec/ports", "value": wished["spec"]["ports"]})
    if is_controlled_by(there, canary) and dig(there, "metadata", "labels", default={}) != wished["metadata"]["labels"]:
        patch.append({"op": "add", "path": "/metadata/labels", "value": wished["metadata"]["labels"]})
    if patch:
        meta = wished["metadata"]
        yield Change(SERVICES, meta["namespace"], meta["name"], JsonPatch(patch))


def _ports(service: Obj) -> list[tuple[object, ...]]:
    return sorted((port.get("port"), str(port.get("targetPort", port.get("port"))), str(port.get("name", "")))
                  for port in spec_of(service).get("ports") or ())


def _service(spec: CanarySpec, target: Obj, name: str, label: str, pods: str, extra: str, owner: Obj) -> Obj:
    at = spec.service
    port: Obj = {"name": at.port_name, "protocol": "TCP", "port": at.port, "targetPort": at.target_port or at.port}
    if at.app_protocol:
        port["appProtocol"] = at.app_protocol
    more = dig(at.raw, extra, default={})
    return {
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": spec.namespace, "labels": {**(more.get("labels") or {}), label: name},
                     "annotations": dict(more.get("annotations") or {}), "ownerReferences": [owner]},
        "spec": {"type": "ClusterIP", "selector": {label: pods}, "ports": [port, *_discovered(spec, target)]},
    }  # fmt: skip


def _discovered(spec: CanarySpec, target: Obj) -> Iterator[Obj]:
    """With `portDiscovery`: every other port of the containers, by its name."""
    if not spec.service.port_discovery:
        return
    taken = {spec.service.port, spec.service.target_port}
    for container in dig(target, "spec", "template", "spec", "containers", default=[]):
        for port in container.get("ports") or ():
            number = int(port["containerPort"])
            name = str(port.get("name") or f"tcp-{number}")
            if number in taken or name in (spec.service.target_port, spec.service.port_name):
                continue
            taken.add(number)
            yield {"name": name, "protocol": "TCP", "port": number, "targetPort": number}
