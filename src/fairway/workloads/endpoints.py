"""The hands of what stands behind a Service: EndpointSlices, Endpoints, and the mirror from the second to the first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from fairway.kube.cache import Cache, Informers
from fairway.kube.decision import Outcome, carry_out, carry_out_decision, rest_after
from fairway.kube.objects import Key, Obj, key_of, labels_of, spec_of, uid_of
from fairway.kube.reconcile import Watch
from fairway.kube.resources import ENDPOINT_SLICES, ENDPOINTS, PODS, SERVICES
from fairway.kube.selectors import from_map
from fairway.workloads import decide_endpoints, decide_legacy_endpoints, decide_mirror


def _selecting(services: Cache) -> Callable[[Obj], Iterable[Key]]:
    """For `Watch`: the Services that select a pod."""

    def keys(pod: Obj) -> Iterable[Key]:
        for service in services.list(key_of(pod).namespace):
            selector = spec_of(service).get("selector")
            if selector and from_map(selector).matches(labels_of(pod)):
                yield key_of(service)

    return keys


def _selected(service: Obj, pods: Cache) -> list[Obj]:
    selector = spec_of(service).get("selector")
    return pods.list(key_of(service).namespace, from_map(selector)) if selector else []


class EndpointSliceController:
    """Implements `Controller`. Its objects are Services; slices are what it writes."""

    name = "endpointslice-controller"
    resource = SERVICES
    workers = 2

    def __init__(self, informers: Informers) -> None:
        self._informers = informers
        self._services, self._pods = informers.of(SERVICES), informers.of(PODS)
        self._slices = informers.of(ENDPOINT_SLICES)

    def watches(self) -> Sequence[Watch]:
        return [Watch(PODS, _selecting(self._services)), Watch(ENDPOINT_SLICES, _service_of_slice)]

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        service = self._services.get(key)
        if service is None:
            return Outcome()
        pods = _selected(service, self._pods)
        slices = [one for one in self._slices.owned_by(uid_of(service))
                  if labels_of(one).get(decide_endpoints.MANAGED_BY) == decide_endpoints.MANAGER]
        decision = decide_endpoints.decide(decide_endpoints.Seen(service, pods, slices), now)
        outcome = await carry_out_decision(self._informers.api, decision, SERVICES, service, manager=self.name)
        return replace(outcome, rest_s=rest_after(len(pods)))


def _service_of_slice(one: Obj) -> Iterable[Key]:
    name = labels_of(one).get(decide_endpoints.SERVICE_NAME)
    if name and labels_of(one).get(decide_endpoints.MANAGED_BY) == decide_endpoints.MANAGER:
        yield Key(key_of(one).namespace, name)


class EndpointsController:
    """Implements `Controller`. Its objects are Services; Endpoints are what it writes."""

    name = "endpoint-controller"
    resource = SERVICES
    workers = 2

    def __init__(self, informers: Informers) -> None:
        self._informers = informers
        self._services, self._pods = informers.of(SERVICES), informers.of(PODS)
        self._endpoints = informers.of(ENDPOINTS)

    def watches(self) -> Sequence[Watch]:
        return [Watch(PODS, _selecting(self._services)), Watch(ENDPOINTS, lambda one: (key_of(one),))]

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        service, endpoints = self._services.get(key), self._endpoints.get(key)
        if service is None:
            await carry_out(self._informers.api, decide_legacy_endpoints.orphaned(endpoints), manager=self.name)
            return Outcome()
        pods = _selected(service, self._pods)
        decision = decide_legacy_endpoints.decide(decide_legacy_endpoints.Seen(service, pods, endpoints))
        outcome = await carry_out_decision(self._informers.api, decision, SERVICES, service, manager=self.name)
        return replace(outcome, rest_s=rest_after(len(pods)))


class MirrorController:
    """Implements `Controller`. Its objects are Endpoints."""

    name = "endpointslicemirroring-controller"
    resource = ENDPOINTS
    workers = 1

    def __init__(self, informers: Informers) -> None:
        self._informers = informers
        self._endpoints, self._services = informers.of(ENDPOINTS), informers.of(SERVICES)
        self._slices = informers.of(ENDPOINT_SLICES)

    def watches(self) -> Sequence[Watch]:
        return [Watch(SERVICES, lambda one: (key_of(one),))]

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        endpoints = self._endpoints.get(key)
        if endpoints is None:
            return Outcome()
        slices = [one for one in self._slices.owned_by(uid_of(endpoints))
                  if labels_of(one).get(decide_endpoints.MANAGED_BY) == decide_mirror.MANAGER]
        decision = decide_mirror.decide(decide_mirror.Seen(endpoints, self._services.get(key), slices))
        return await carry_out_decision(self._informers.api, decision, ENDPOINTS, endpoints, manager=self.name)
