"""Kinds that are kept in one version and also asked for in another: Events of `events.k8s.io`, autoscalers of `v1`.

A view is two pure functions between the two forms. Everything else, from selectors to patches, happens to the kept form:
a patch is turned as an object is, because both forms keep most fields where they are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fairway.kube.api import (
    Api,
    ApplyPatch,
    DeleteOptions,
    JsonPatch,
    MergePatch,
    ObjList,
    Patch,
    StrategicPatch,
    Subresource,
    WatchEvent,
    WriteOptions,
)
from fairway.kube.errors import BadRequest
from fairway.kube.objects import Obj, meta_of
from fairway.kube.resources import CORE_EVENTS, HORIZONTAL_POD_AUTOSCALERS, Resource, ResourceMap


@dataclass(frozen=True, slots=True)
class View:
    """`row` is what is asked for. `show` and `keep` turn contents, without their type; `renamed` are field selectors."""

    row: Resource
    kept: Resource
    show: Callable[[Obj], Obj]
    keep: Callable[[Obj], Obj]
    renamed: tuple[tuple[str, str], ...] = ()

    def shown(self, obj: Obj) -> Obj:
        return {**self.show(obj), "kind": self.row.kind, "apiVersion": self.row.api_version}

    def kept_form(self, obj: Obj) -> Obj:
        return {**self.keep(obj), "kind": self.kept.kind, "apiVersion": self.kept.api_version}

    def selector(self, fields: str) -> str:
        for name, kept in self.renamed:
            fields = fields.replace(name, kept)
        return fields

    def patch(self, patch: Patch) -> Patch:
        match patch:
            case ApplyPatch(body, force):
                return ApplyPatch(self.kept_form(body), force)
            case MergePatch(body):
                return MergePatch(self._part(body))
            case StrategicPatch(body):
                return StrategicPatch(self._part(body))
            case JsonPatch():
                raise BadRequest(f"a JSON patch of {self.row.api_version} is not served: patch {self.kept.api_version}, "
                                 "or send a merge patch")

    def _part(self, body: Obj) -> Obj:
        return {name: value for name, value in self.keep(body).items() if name not in ("kind", "apiVersion")}


class ViewedApi:
    """Implements `Api` for the one kind of a view, over an `Api` that keeps its objects."""

    def __init__(self, api: Api, view: View) -> None:
        self._api, self._view = api, view
        self.resources = ResourceMap([view.row])

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Obj:
        return self._view.shown(await self._api.get(self._view.kept, name, namespace))

    async def list(self, resource: Resource, namespace: str = "", *, fields: str = "", **chosen: Any) -> ObjList:
        view = self._view
        page = await self._api.list(view.kept, namespace, fields=view.selector(fields), **chosen)
        return replace(page, items=[view.shown(obj) for obj in page.items])

    def watch(self, resource: Resource, namespace: str = "", *, fields: str = "", **chosen: Any) -> AsyncIterator[WatchEvent]:
        return self._shown(self._api.watch(self._view.kept, namespace, fields=self._view.selector(fields), **chosen))

    async def _shown(self, events: AsyncIterator[WatchEvent]) -> AsyncIterator[WatchEvent]:
        async for event in events:
            if event.type == "BOOKMARK":
                yield replace(event, object={**event.object, "kind": self._view.row.kind,
                                             "apiVersion": self._view.row.api_version})
            else:
                yield replace(event, object=self._view.shown(event.object))

    async def create(self, obj: Obj, options: WriteOptions | None = None) -> Obj:
        return self._view.shown(await self._api.create(self._view.kept_form(obj), options))

    async def replace(self, obj: Obj, options: WriteOptions | None = None, *, subresource: Subresource = "") -> Obj:
        view, meta = self._view, meta_of(obj)
        new, old = view.kept_form(obj), await self._api.get(view.kept, meta["name"], meta.get("namespace", ""))
        if "spec" in new:  # what this version cannot say stays as it is
            new["spec"] = {**old.get("spec", {}), **new["spec"]}
        return view.shown(await self._api.replace(new, options, subresource=subresource))

    async def patch(self, resource: Resource, name: str, namespace: str, patch: Patch,
                    options: WriteOptions | None = None, *, subresource: Subresource = "") -> Obj:
        turned = self._view.patch(patch)
        return self._view.shown(await self._api.patch(self._view.kept, name, namespace, turned, options,
                                                      subresource=subresource))

    async def delete(self, resource: Resource, name: str, namespace: str = "", delete: DeleteOptions | None = None,
                     options: WriteOptions | None = None) -> Obj:
        return self._view.shown(await self._api.delete(self._view.kept, name, namespace, delete, options))


# --- events.k8s.io ----------------------------------------------------------------------------------------------------

_EVENT_FIELDS = {"regarding": "involvedObject", "note": "message", "reportingController": "reportingComponent",
                 "deprecatedSource": "source", "deprecatedFirstTimestamp": "firstTimestamp",
                 "deprecatedLastTimestamp": "lastTimestamp", "deprecatedCount": "count"}
_EVENT_SHOWN = {kept: name for name, kept in _EVENT_FIELDS.items()}


def _renamed(names: Mapping[str, str]) -> Callable[[Obj], Obj]:
    return lambda obj: {names.get(name, name): value for name, value in obj.items()}


# --- autoscaling/v1 ---------------------------------------------------------------------------------------------------


def _show_autoscaler(obj: Obj) -> Obj:
    """The one metric that v1 knows is CPU in percent of what is requested."""
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    spec.pop("behavior", None)
    _cpu(spec, "metrics", "target", "targetCPUUtilizationPercentage")
    _cpu(status, "currentMetrics", "current", "currentCPUUtilizationPercentage")
    status.pop("conditions", None)
    return {**obj, "spec": spec, "status": {"currentReplicas": 0, "desiredReplicas": 0, **status}}


def _cpu(part: Obj, metrics: str, value: str, name: str) -> None:
    for metric in part.pop(metrics, None) or ():
        resource = (metric or {}).get("resource") or {}
        percent = (resource.get(value) or {}).get("averageUtilization")
        if resource.get("name") == "cpu" and percent is not None:
            part[name] = percent


def _keep_autoscaler(obj: Obj) -> Obj:
    spec = obj.get("spec")
    if not isinstance(spec, dict) or "targetCPUUtilizationPercentage" not in spec:
        return obj
    spec = dict(spec)
    percent = spec.pop("targetCPUUtilizationPercentage")
    if percent is not None:
        target = {"type": "Utilization", "averageUtilization": percent}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    return {**obj, "spec": spec}


EVENTS = View(
    Resource("events.k8s.io", "v1", "Event", "events", short_names=("ev",), singular="event"), CORE_EVENTS,
    _renamed(_EVENT_SHOWN), _renamed(_EVENT_FIELDS),
    (("regarding.", "involvedObject."), ("reportingController", "reportingComponent")),
)  # fmt: skip
AUTOSCALERS = View(replace(HORIZONTAL_POD_AUTOSCALERS, version="v1"), HORIZONTAL_POD_AUTOSCALERS,
                   _show_autoscaler, _keep_autoscaler)
VIEWS = (EVENTS, AUTOSCALERS)
