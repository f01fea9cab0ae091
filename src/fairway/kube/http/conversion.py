"""Custom kinds whose versions differ in more than their name: a webhook of the definition turns one into the other.

Objects are kept in the definition's storage version. A request for another one is checked in the version that it speaks,
turned, carried out on what is kept, and the answer turned back.
Source: kubernetes `apiextensions-apiserver/pkg/apiserver/conversion`.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from fairway.kube import patching
from fairway.kube.api import ApplyPatch, DeleteOptions, ObjList, Patch, Subresource, WatchEvent, WriteOptions
from fairway.kube.crds import CustomType
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.errors import ApiError, Conflict
from fairway.kube.objects import Obj, dig, meta_of
from fairway.kube.resources import Resource
from fairway.kube.webhooks import NotAnswered, post

Objects = list[Obj]
_LIMIT_S = 30
_TRIES = 5


class ConvertedApi:
    """Implements `Api` for one version of a kind; everything else is the other API's."""

    def __init__(self, api: EmbeddedApi, custom: CustomType) -> None:
        self._api, self._custom = api, custom
        self._row = custom.resource
        self._kept = replace(custom.resource, version=custom.storage_version)
        self.resources = api.resources

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Obj:
        if resource != self._row:
            return await self._api.get(resource, name, namespace)
        return await self._shown(await self._api.get(self._kept, name, namespace))

    async def list(self, resource: Resource, namespace: str = "", **chosen: Any) -> ObjList:
        page = await self._api.list(self._kept, namespace, **chosen)
        return replace(page, items=await self._turned(page.items, self._row.api_version))

    async def watch(self, resource: Resource, namespace: str = "", **chosen: Any) -> AsyncIterator[WatchEvent]:
        async for event in self._api.watch(self._kept, namespace, **chosen):
            if event.type == "BOOKMARK":
                yield replace(event, object={**event.object, "apiVersion": self._row.api_version})
            else:
                yield replace(event, object=await self._shown(event.object))

    async def create(self, obj: Obj, options: WriteOptions | None = None) -> Obj:
        kept = await self._kept_form(obj, None, options or WriteOptions())
        return await self._shown(await self._api.create(kept, options))

    async def replace(self, obj: Obj, options: WriteOptions | None = None, *, subresource: Subresource = "") -> Obj:
        meta = meta_of(obj)
        old = await self.get(self._row, meta["name"], meta.get("namespace", ""))
        kept = await self._kept_form(obj, old, options or WriteOptions())
        return await self._shown(await self._api.replace(kept, options, subresource=subresource))

    async def patch(self, resource: Resource, name: str, namespace: str, patch: Patch,
                    options: WriteOptions | None = None, *, subresource: Subresource = "") -> Obj:
        if subresource == "scale":
            return await self._api.patch(self._kept, name, namespace, patch, options, subresource=subresource)
        if isinstance(patch, ApplyPatch):
            [body] = await self._turned([patch.body], self._kept.api_version)
            applied = await self._api.patch(self._kept, name, namespace, ApplyPatch(body, patch.force), options,
                                            subresource=subresource)
            return await self._shown(applied)
        for _ in range(_TRIES):
            old = await self.get(self._row, name, namespace)
            new = patching.patched(self._row, {**old, "metadata": dict(old["metadata"])}, patch, None)
            lock = new["metadata"].get("resourceVersion")
            try:
                return await self.replace(new, options, subresource=subresource)
            except Conflict:
                if lock != old["metadata"]["resourceVersion"]:
                    raise  # the client's own lock
        raise Conflict(f"{self._row.qualified}: the object changes faster than it is converted; try again")

    async def delete(self, resource: Resource, name: str, namespace: str = "", delete: DeleteOptions | None = None,
                     options: WriteOptions | None = None) -> Obj:
        return await self._shown(await self._api.delete(self._kept, name, namespace, delete, options))

    # --- turning ------------------------------------------------------------------------------------------------------

    async def _kept_form(self, obj: Obj, old: Obj | None, options: WriteOptions) -> Obj:
        """As its own version allows it, then as it is kept."""
        said = self._custom.decoded(obj, options)
        said.setdefault("metadata", {}).setdefault("name", "")
        self._custom.check(said, old)
        [kept] = await self._turned([said], self._kept.api_version)
        return kept

    async def _shown(self, obj: Obj) -> Obj:
        [turned] = await self._turned([obj], self._row.api_version)
        return turned

    async def _turned(self, objects: Sequence[Obj], wanted: str) -> Objects:
        if not objects:
            return []
        config = dig(self._custom.conversion or {}, "webhook", "clientConfig", default={})
        uid = str(uuid.uuid4())
        review = {"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1",
                  "request": {"uid": uid, "desiredAPIVersion": wanted, "objects": list(objects)}}
        kind = f"{self._row.group}/{self._row.version}, Kind={self._row.kind}"
        try:
            answer = (await post(config, review, _LIMIT_S, self._api.reach)).get("response") or {}
        except NotAnswered as error:
            raise ApiError(f"conversion webhook for {kind} failed: {error}") from error
        found, result = answer.get("convertedObjects") or [], answer.get("result") or {}
        if result.get("status") != "Success":
            raise ApiError(f"conversion webhook for {kind} failed: {result.get('message') or 'no result'}")
        if answer.get("uid") != uid or len(found) != len(objects):
            raise ApiError(f"conversion webhook for {kind} returned {len(found)} objects, expected {len(objects)}")
        return [_same(before, after, wanted, kind) for before, after in zip(objects, found, strict=True)]


def _same(before: Obj, after: Obj, wanted: str, kind: str) -> Obj:
    """Of the metadata a webhook may change labels and annotations alone."""
    if after.get("apiVersion") != wanted:
        raise ApiError(f"conversion webhook for {kind} returned an object of {after.get('apiVersion')}, expected {wanted}")
    meta = dict(before["metadata"])
    for name in ("labels", "annotations"):
        meta.pop(name, None)
        if name in (after.get("metadata") or {}):
            meta[name] = after["metadata"][name]
    return {**after, "metadata": meta}
