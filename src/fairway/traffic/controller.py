"""The hands of this room: whenever anything that routing depends on changes, decide the whole model anew, have it put in
force, and write back what is true now.

The annotation `fairway.dev/serving` of an EndpointSlice is what the node waits for before it stops a process, so it may
name an address too many, never one too few: new addresses are written before the data plane hears of them, and
addresses leave only after it has confirmed that it sends them nothing more.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from fairway.kube.api import MergePatch
from fairway.kube.cache import Informers
from fairway.kube.clock import Clock
from fairway.kube.decision import Action, Change, Reason, carry_out, differs, rest_after
from fairway.kube.errors import ApiError
from fairway.kube.events import EventRecorder
from fairway.kube.objects import Key, Obj, annotations_of, key_of, labels_of, status_of
from fairway.kube.resources import (
    DESTINATION_RULES,
    ENDPOINT_SLICES,
    HTTP_ROUTES,
    INGRESSES,
    PODS,
    SERVICES,
    VIRTUAL_SERVICES,
    Resource,
)
from fairway.traffic import addresses, read
from fairway.traffic.alb import read_alb
from fairway.traffic.decide import Routing, Seen, route
from fairway.traffic.gateway_api import read_http_route
from fairway.traffic.istio import read_subsets, read_virtual_service
from fairway.traffic.model import Model
from fairway.traffic.port import DataPlane, TrafficError
from fairway.traffic.read import Readings, Remark
from fairway.traffic.rules import RuleKind, RuleSet

T = TypeVar("T")

log = logging.getLogger("fairway.traffic")

MANAGER = "fairway-traffic"
SERVING = "fairway.dev/serving"
APPLIED_WEIGHT = "fairway.dev/applied-weight"
APPLIED_GENERATION = "fairway.dev/applied-generation"
"""On a VirtualService or HTTPRoute: the generation of it that the data plane has confirmed."""
PORTS = "fairway.dev/ports"
"""On a Service whose port a normal user may not open: `80=20080,...`, where it answers instead."""

SERVED_CLASSES = ("", "nginx", "alb")
_ROUTED = (SERVICES, ENDPOINT_SLICES, INGRESSES, VIRTUAL_SERVICES, DESTINATION_RULES, HTTP_ROUTES)
DEBOUNCE_S = 0.005  # changes of one transaction arrive within a millisecond of each other
SETTLE_S = 0.01
"""From Envoy's word that it has a version until its workers use it: they are told in the same moment and act within a
millisecond; ten leave room for a busy machine."""
RETRY_S = 1.0


class TrafficController:
    """`start`, then `run` until cancelled. `reasons` holds what the last pass has to say, `in_force` the model that the
    data plane has confirmed."""

    name = "traffic"

    def __init__(self, informers: Informers, clock: Clock, data_plane: DataPlane, *, ingress_address: str,
                 ingress_port: int, unprivileged_from: int | None = None) -> None:
        self.reasons: tuple[Reason, ...] = ()
        self.routing: Routing | None = None
        self._informers = informers
        self._clock = clock
        self._data_plane = data_plane
        self._ingress = (ingress_address, ingress_port)
        self._unprivileged_from = first_unprivileged_port() if unprivileged_from is None else unprivileged_from
        self._events = EventRecorder(informers.api, clock, MANAGER)
        self._refused: tuple[Remark, ...] = ()
        self._said: frozenset[Remark] = frozenset()
        self._services, self._slices = Readings(read.read_service), Readings(read.read_slice)
        self._ingresses = Readings(lambda obj: _read(read.read_ingress, obj, None))
        self._dirty = asyncio.Event()
        self.in_force: Model | None = None

    async def start(self) -> None:
        """Raises `PortTaken` where the ingress port belongs to somebody else."""
        adopted = await self._data_plane.start(self._ingress)
        log.info("%s %s", "adopted" if adopted else "started", self._data_plane.description)

    async def stop(self, *, workloads: bool) -> None:
        """End traffic with `workloads`; else leave it running for the next daemon, where it can."""
        await (self._data_plane.stop() if workloads else self._data_plane.detach())

    async def run(self) -> None:
        for resource in _ROUTED:
            self._informers.of(resource).on_change(lambda _old, _new: self._dirty.set())
        self._informers.of(PODS).on_change(self._pod_changed)
        await self._informers.synced()
        self._dirty.set()
        while True:
            await self._dirty.wait()
            await asyncio.sleep(DEBOUNCE_S)
            self._dirty.clear()
            try:
                await self._pass()
            except (TrafficError, ApiError) as error:
                await self._say_failed(error.reason, str(error), concerns_all=isinstance(error, TrafficError))
                asyncio.get_running_loop().call_later(RETRY_S, self._dirty.set)
            except Exception as error:  # the one place that catches broadly: what serves now goes on serving
                log.exception("pass failed")
                await self._say_failed("InternalError", f"{type(error).__name__}: {error}", concerns_all=False)
                asyncio.get_running_loop().call_later(RETRY_S, self._dirty.set)
            await asyncio.sleep(rest_after(sum(len(self._informers.of(resource)) for resource in _ROUTED)))

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        """Of a pod only its hash matters here; its readiness comes with the EndpointSlice."""
        if old is None or new is None or labels_of(old) != labels_of(new):
            self._dirty.set()

    # --- one pass ---------------------------------------------------------------------------------------------------

    async def _pass(self) -> None:
        await self._do(self._moved_ports())
        routing = self.routing = self._decide()
        await self._do(self._serving(routing, keep=True))
        if routing.model != self.in_force:
            applied = await self._data_plane.apply(routing.model)
            self.in_force = routing.model
            self._refused = tuple(_refused(name, why) for name, why in applied.refused)
            await asyncio.sleep(SETTLE_S)
        await self._do([*self._serving(routing, keep=False), *self._weights(routing), *self._generations(routing),
                        *self._addresses(routing)])
        await self._say((*routing.remarks, *self._refused))

    def _decide(self) -> Routing:
        ingresses: list[read.Ingress] = []
        remarks: list[Remark] = []
        objects = self._objects(INGRESSES)
        for found, why in self._ingresses.of(obj for obj in objects if read.ingress_class(obj) != "alb"):  # those are rule sets
            remarks.extend(why)
            if found is not None:
                ingresses.append(found)
        rule_sets, said = self._rules()
        routing = route(Seen(
            services=self._services.of(self._objects(SERVICES)),
            slices=self._slices.of(self._objects(ENDPOINT_SLICES)),
            ingresses=tuple(ingresses),
            pod_hashes=read.hashes_of_pods(self._objects(PODS)),
            ingress_address=self._ingress[0],
            ingress_port=self._ingress[1],
            unprivileged_from=self._unprivileged_from,
            rule_sets=rule_sets,
            listening=frozenset(found.name for found in self.in_force.services) if self.in_force is not None else (),
        ))
        return replace(routing, remarks=(*remarks, *said, *routing.remarks), looked_at=frozenset(map(key_of, objects)))

    def _rules(self) -> tuple[tuple[RuleSet, ...], list[Remark]]:
        """What VirtualServices, HTTPRoutes and Ingresses of class `alb` ask for."""
        subsets = read_subsets(self._objects(DESTINATION_RULES))
        albs = [obj for obj in self._objects(INGRESSES) if read.ingress_class(obj) == "alb"]
        none: tuple[RuleSet, ...] = ()
        load_balancers = [_read(read_alb, obj, none) for obj in albs]
        with_subsets = partial(read_virtual_service, subsets=subsets)
        read_all = [*(_read(with_subsets, obj, None) for obj in self._objects(VIRTUAL_SERVICES)),
                    *(_read(read_http_route, obj, None) for obj in self._objects(HTTP_ROUTES))]
        sets = (*(one for found, _ in load_balancers for one in found), *(found for found, _ in read_all if found is not None))
        return sets, [why for whys in (said for _, said in (*load_balancers, *read_all)) for why in whys]

    def _objects(self, resource: Resource) -> list[Obj]:
        return self._informers.of(resource).list()

    async def _do(self, actions: Iterable[Action]) -> None:
        """All at once: they concern different objects."""
        writes: list[Awaitable[None]] = [
            carry_out(self._informers.api, (action,), manager=MANAGER) for action in actions
        ]
        await asyncio.gather(*writes)

    async def _say(self, remarks: tuple[Remark, ...]) -> None:
        """Once each: in the log, and as an event on the object."""
        self.reasons = tuple(remark.reason for remark in remarks)
        new, self._said = [remark for remark in remarks if remark not in self._said], frozenset(remarks)
        for remark in new:
            log.warning("%s", remark.reason)
            obj = self._informers.of(_RESOURCES[remark.kind]).get(remark.key)
            if obj is not None:
                await self._events.event(obj, "Warning", remark.reason.code, remark.reason.message)

    async def _say_failed(self, code: str, message: str, *, concerns_all: bool) -> None:
        """Nothing of this pass is in force. With `concerns_all`, every Ingress hears of it."""
        reason = Reason(code, message)
        if reason not in self.reasons:
            log.error("%s", reason)
            for obj in self._objects(INGRESSES) if concerns_all else ():
                await self._events.event(obj, "Warning", code, message)
        self.reasons = (*(remark.reason for remark in (self.routing.remarks if self.routing else ())), reason)

    # --- what is written back ---------------------------------------------------------------------------------------

    def _moved_ports(self) -> Iterable[Action]:
        for obj in self._objects(SERVICES):
            service = read.read_service(obj)
            if not service.listens:
                continue
            moved = ",".join(f"{port.port}={number}" for port in service.ports
                             if (number := addresses.listening_port(port.port, unprivileged_from=self._unprivileged_from))
                             != port.port)
            if moved and annotations_of(obj).get(PORTS) != moved:
                yield _annotate(SERVICES, service.key, PORTS, moved)

    def _serving(self, routing: Routing, *, keep: bool) -> Iterable[Action]:
        """With `keep`, only add to what the annotations say."""
        for obj in self._objects(ENDPOINT_SLICES):
            key = key_of(obj)
            if key not in routing.serving:
                continue  # it came after this was decided: the next pass is about to look at it
            wanted = set(routing.serving[key])
            said = annotations_of(obj).get(SERVING)
            present = set(said.split(",")) - {""} if said else set()
            new = wanted | present if keep else wanted
            if new != present:
                yield _annotate(ENDPOINT_SLICES, key, SERVING, ",".join(sorted(new)))

    def _weights(self, routing: Routing) -> Iterable[Action]:
        for obj in self._objects(INGRESSES):
            key = key_of(obj)
            weight = routing.weights.get(key)
            if key in routing.looked_at and weight != annotations_of(obj).get(APPLIED_WEIGHT):
                yield _annotate(INGRESSES, key, APPLIED_WEIGHT, weight)

    def _generations(self, routing: Routing) -> Iterable[Action]:
        for resource in (VIRTUAL_SERVICES, HTTP_ROUTES):
            for obj in self._objects(resource):
                kind: RuleKind = "VirtualService" if resource is VIRTUAL_SERVICES else "HTTPRoute"
                served = routing.generations.get((kind, key_of(obj)))
                if served is not None and annotations_of(obj).get(APPLIED_GENERATION) != served:
                    yield _annotate(resource, key_of(obj), APPLIED_GENERATION, served)

    def _addresses(self, routing: Routing) -> Iterable[Action]:
        address, port = self._ingress
        status = {"loadBalancer": {"ingress": [{"ip": address, "ports": [{"port": port, "protocol": "TCP"}]}]}}
        for obj in self._objects(INGRESSES):
            key = key_of(obj)
            if key in routing.looked_at and read.ingress_class(obj) in SERVED_CLASSES and differs(status_of(obj), status):
                yield Change(INGRESSES, key.namespace, key.name, MergePatch({"status": status}), "status")


_RESOURCES: dict[str, Resource] = {resource.kind: resource for resource in (INGRESSES, SERVICES, VIRTUAL_SERVICES, HTTP_ROUTES)}


def _read(reader: Callable[[Obj], tuple[T, tuple[Remark, ...]]], obj: Obj, nothing: T) -> tuple[T, tuple[Remark, ...]]:
    """What one object asks for. A definition without a schema lets every shape in: an object that cannot be read at all is left
    out and told so, and holds nobody else back."""
    try:
        return reader(obj)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        return nothing, (Remark.on(obj["kind"], key_of(obj), "Malformed", "it is left out, because it has not the shape of its "
                                   f"kind ({error}); compare it with: kubectl explain {obj['kind'].lower()}.spec"),)


def _refused(listener: str, why: str) -> Remark:
    namespace, service, _ = listener.split("|")
    return Remark.on("Service", Key(namespace, service), "ListenerRefused", why)


def _annotate(resource: Resource, key: Key, name: str, value: str | None) -> Change:
    return Change(resource, key.namespace, key.name, MergePatch({"metadata": {"annotations": {name: value}}}))


def first_unprivileged_port() -> int:
    """The lowest port that this user may listen on."""
    if os.geteuid() == 0:
        return 0
    try:
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    except (OSError, ValueError):
        return 1024
