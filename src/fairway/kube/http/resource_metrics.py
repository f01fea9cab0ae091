"""`metrics.k8s.io`: what pods and nodes use now, for `kubectl top`. It is measured, not kept: nothing can be watched."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any, Protocol

from fairway.kube.api import ObjList, WatchEvent
from fairway.kube.errors import MethodNotAllowed, NotFound
from fairway.kube.listing import selection
from fairway.kube.objects import Obj, key_of
from fairway.kube.resources import Resource, ResourceMap

NODE_METRICS = Resource("metrics.k8s.io", "v1beta1", "NodeMetrics", "nodes", namespaced=False, singular="node")
POD_METRICS = Resource("metrics.k8s.io", "v1beta1", "PodMetrics", "pods", singular="pod")
ROWS = (NODE_METRICS, POD_METRICS)


class Measurements(Protocol):
    """Whoever measures: objects of `metrics.k8s.io/v1beta1`, as of now."""

    def pods(self) -> Iterable[Obj]: ...
    def nodes(self) -> Iterable[Obj]: ...


class MeasuredApi:
    """The reading half of `Api` over measurements; the server asks it for nothing else."""

    def __init__(self, measurements: Measurements) -> None:
        self._measurements = measurements
        self.resources = ResourceMap(ROWS)

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Obj:
        for obj in self._all(resource):
            if key_of(obj) == (namespace, name):
                return obj
        raise NotFound(f'{resource.qualified} "{name}" not found')

    async def list(self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = "",
                   **paging: Any) -> ObjList:
        """In one page, however small a page is asked for."""
        chosen = selection(resource, namespace, labels, fields)
        return ObjList([obj for obj in self._all(resource) if chosen.holds(key_of(obj), obj)], "")

    def watch(self, resource: Resource, namespace: str = "", **chosen: Any) -> AsyncIterator[WatchEvent]:
        raise _read_only()

    async def create(self, *asked: Any, **more: Any) -> Obj:
        raise _read_only()

    replace = patch = delete = create

    def _all(self, resource: Resource) -> Iterable[Obj]:
        return self._measurements.nodes() if resource == NODE_METRICS else self._measurements.pods()


def _read_only() -> MethodNotAllowed:
    return MethodNotAllowed("the server does not allow this method on the requested resource")
