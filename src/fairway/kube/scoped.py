"""An API of which only some namespaces may be read: lists and watches of all of them are made of theirs.

Their versions are those of one server, so that they can be compared. The list of several namespaces has the version of the
oldest of its parts: a watch from there tells some things twice, and leaves nothing out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from fairway.kube.api import Api, DeleteOptions, ObjList, Patch, Subresource, WatchEvent, WriteOptions
from fairway.kube.errors import Expired
from fairway.kube.objects import Obj
from fairway.kube.resources import Resource, ResourceMap


class NamespacesApi:
    """`api` as somebody sees it who has rights in `namespaces` only."""

    def __init__(self, api: Api, namespaces: Sequence[str]) -> None:
        self._api = api
        self._namespaces = tuple(namespaces)

    @property
    def resources(self) -> ResourceMap:
        return self._api.resources

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Obj:
        return await self._api.get(resource, name, namespace)

    async def list(self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = "", limit: int = 0,
                   continue_token: str = "", resource_version: str = "", shared: bool = False) -> ObjList:
        """Without pages where several namespaces are meant."""
        if namespace or not resource.namespaced:
            return await self._api.list(resource, namespace, labels=labels, fields=fields, limit=limit,
                                        continue_token=continue_token, resource_version=resource_version, shared=shared)
        pages = [await self._api.list(resource, one, labels=labels, fields=fields, resource_version=resource_version,
                                      shared=shared) for one in self._namespaces]
        oldest = min((page.resource_version for page in pages), key=int, default="")
        return ObjList([obj for page in pages for obj in page.items], oldest)

    async def watch(self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = "",
                    resource_version: str = "", bookmarks: bool = False,
                    initial_events: bool = False) -> AsyncIterator[WatchEvent]:
        """Where several namespaces are meant it ends with `Expired`: no one version says where all of them were."""
        if namespace or not resource.namespaced:
            spaces: tuple[str, ...] = (namespace,)
        else:
            spaces = self._namespaces
        streams = [self._api.watch(resource, one, labels=labels, fields=fields, resource_version=resource_version,
                                   bookmarks=bookmarks, initial_events=initial_events) for one in spaces]
        if len(streams) == 1:
            async for event in streams[0]:
                yield event
            return
        events: asyncio.Queue[WatchEvent | BaseException] = asyncio.Queue(maxsize=100)
        tasks = [asyncio.create_task(_carry(stream, events)) for stream in streams]
        try:
            while True:
                found = await events.get()
                if isinstance(found, BaseException):
                    raise found
                yield found
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def create(self, obj: Obj, options: WriteOptions | None = None) -> Obj:
        return await self._api.create(obj, options)

    async def replace(self, obj: Obj, options: WriteOptions | None = None, *, subresource: Subresource = "") -> Obj:
        return await self._api.replace(obj, options, subresource=subresource)

    async def patch(self, resource: Resource, name: str, namespace: str, patch: Patch, options: WriteOptions | None = None, *,
                    subresource: Subresource = "") -> Obj:
        return await self._api.patch(resource, name, namespace, patch, options, subresource=subresource)

    async def delete(self, resource: Resource, name: str, namespace: str = "", delete: DeleteOptions | None = None,
                     options: WriteOptions | None = None) -> Obj:
        return await self._api.delete(resource, name, namespace, delete, options)


async def _carry(stream: AsyncIterator[WatchEvent], events: asyncio.Queue[WatchEvent | BaseException]) -> None:
    try:
        async for event in stream:
            await events.put(event)
    except Exception as error:  # told where the events are read
        await events.put(error)
        return
    with suppress(asyncio.CancelledError):
        await events.put(Expired("the watch of one namespace has ended"))
