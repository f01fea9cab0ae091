"""What a controller knows without asking: one cache per resource, kept by list and watch, shared by all controllers.

A write that goes out through `Informers.api` lands in the cache before the call returns, so that the next pass sees
what the last one did. The order of versions decides between a write's answer and the watch: the newer resourceVersion
stays.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable, Iterable
from dataclasses import replace

from fairway.kube.api import Api, DeleteOptions, ObjList, Patch, Subresource, WatchEvent, WriteOptions
from fairway.kube.errors import ApiError, Expired, NotFound, Timeout
from fairway.kube.objects import Key, Obj, key_of, labels_of, meta_of, uid_of
from fairway.kube.resources import CORE_EVENTS, Resource, ResourceMap
from fairway.kube.selectors import EVERYTHING, Selector

log = logging.getLogger("fairway.kube.cache")

Handler = Callable[[Obj | None, Obj | None], None]
"""Called with (old, new): (None, new) when added, (old, None) when deleted."""

Objects = list[Obj]

_PAGE = 5000  # a list of 10,000 pods in one answer is 40 MB
_TOMBSTONES = 4096  # deletions remembered, so that a late answer to an earlier write does not bring the object back
_FIRST_DELAY_S, _LONGEST_DELAY_S = 1.0, 30.0
"""A server that is away is asked again after a second, then ever later; one that came back is seen within half a minute."""


def version_of(obj: Obj) -> int:
    """resourceVersion as a number: it is one on every server we know, and only its order within a resource is used."""
    text = meta_of(obj).get("resourceVersion", "")
    return int(text) if text.isdigit() else 0


class Cache:
    """The objects of one resource. What it hands out is shared: do not change it."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self._objects: dict[Key, Obj] = {}
        self._keys: list[Key] = []  # sorted: a list of a namespace is a slice, and no pass sorts
        self._by_owner: dict[str, list[Key]] = {}
        self._dead: OrderedDict[str, None] = OrderedDict()
        self._handlers: list[Handler] = []
        self.synced = asyncio.Event()

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, key: Key) -> Obj | None:
        return self._objects.get(key)

    def list(self, namespace: str = "", selector: Selector = EVERYTHING) -> list[Obj]:
        """In the order of their keys, so that decisions do not depend on arrival."""
        keys = self._keys
        if namespace:
            keys = keys[bisect_left(keys, (namespace, "")):bisect_left(keys, (namespace + "\0", ""))]
        found = [self._objects[key] for key in keys]
        return found if selector is EVERYTHING else [obj for obj in found if selector.matches(labels_of(obj))]

    def owned_by(self, uid: str) -> Objects:
        """Objects with an owner reference to `uid`, in the order of their keys."""
        return [self._objects[key] for key in self._by_owner.get(uid, ())]

    def names(self, namespace: str, prefix: str) -> tuple[str, ...]:
        """The names in `namespace` that begin with `prefix`."""
        keys = self._keys
        begin, end = bisect_left(keys, (namespace, prefix)), bisect_left(keys, (namespace, prefix + chr(sys.maxunicode)))
        return tuple(key.name for key in keys[begin:end])

    def on_change(self, handler: Handler) -> None:
        """Call `handler` now for every present object and later for every change."""
        self._handlers.append(handler)
        for obj in list(self._objects.values()):
            handler(None, obj)

    def put(self, obj: Obj) -> None:
        key, old = key_of(obj), self._objects.get(key_of(obj))
        if uid_of(obj) in self._dead or (old is not None and version_of(old) >= version_of(obj)):
            return
        if old is None:
            insort(self._keys, key)
        self._objects[key] = obj
        before, after = _owners(old), _owners(obj)
        if before != after:
            self._forget_owners(key, before - after)
            for uid in after - before:
                insort(self._by_owner.setdefault(uid, []), key)
        self._tell(old, obj)

    def drop(self, obj: Obj) -> None:
        key, old = key_of(obj), self._objects.get(key_of(obj))
        self._dead[uid_of(obj)] = None
        while len(self._dead) > _TOMBSTONES:
            self._dead.popitem(last=False)
        if old is None or uid_of(old) != uid_of(obj):
            return
        self._forget_owners(key, _owners(old))
        del self._objects[key]
        del self._keys[bisect_left(self._keys, key)]
        self._tell(old, None)

    def reset(self, objects: Iterable[Obj]) -> None:
        """Become exactly the result of a list."""
        present = {key_of(obj): obj for obj in objects}
        for key, old in list(self._objects.items()):
            if key not in present:
                self.drop(old)
        for obj in present.values():
            self.put(obj)

    def _forget_owners(self, key: Key, uids: Iterable[str]) -> None:
        for uid in uids:
            keys = self._by_owner[uid]
            del keys[bisect_left(keys, key)]
            if not keys:
                del self._by_owner[uid]

    def _tell(self, old: Obj | None, new: Obj | None) -> None:
        for handler in self._handlers:
            handler(old, new)


class Index:
    """The objects of one cache by what `of` says of each; those of which it says None are left out. What `of` says must follow
    from the object alone."""

    def __init__(self, cache: Cache, of: Callable[[Obj], Hashable]) -> None:
        self._of = of
        self._found: dict[Hashable, dict[Key, Obj]] = {}
        cache.on_change(self._changed)

    def list(self, said: Hashable) -> Objects:
        """In the order of their keys."""
        return [obj for _, obj in sorted(self._found.get(said, {}).items())]

    def _changed(self, old: Obj | None, new: Obj | None) -> None:
        before, after = self._of(old) if old is not None else None, self._of(new) if new is not None else None
        if old is not None and before is not None and before != after:
            found = self._found[before]
            del found[key_of(old)]
            if not found:
                del self._found[before]
        if new is not None and after is not None:
            self._found.setdefault(after, {})[key_of(new)] = new


def _owners(obj: Obj | None) -> set[str]:
    return {ref["uid"] for ref in meta_of(obj).get("ownerReferences") or ()} if obj else set()


class Informers:
    """The caches of one process. A cache starts when it is first asked for and runs until `close`.

    `rehearsed`: for a world in memory of which nothing outlives the process. Its watches cannot break, so they need no
    bookmarks to be begun again from, and nobody reads events there: they go nowhere.
    """

    def __init__(self, api: Api, *, rehearsed: bool = False) -> None:
        self._source = api
        self._rehearsed = rehearsed
        self._caches: dict[Resource, Cache] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.api: Api = _WriteThrough(api, self, events=not rehearsed)

    def of(self, resource: Resource) -> Cache:
        cache = self._caches.get(resource)
        if cache is None:
            cache = self._caches[resource] = Cache(resource)
            self._tasks.append(asyncio.create_task(self._keep(cache), name=f"informer {resource}"))
        return cache

    def known(self, resource: Resource) -> Cache | None:
        return self._caches.get(resource)

    @property
    def asked_for(self) -> tuple[Resource, ...]:
        return tuple(self._caches)

    @property
    def all_synced(self) -> bool:
        return all(cache.synced.is_set() for cache in self._caches.values())

    async def synced(self) -> None:
        """Until every cache asked for so far has seen its first list."""
        for cache in list(self._caches.values()):
            await cache.synced.wait()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep(self, cache: Cache) -> None:
        """List once, then watch on from there for ever: a watch that ends or breaks is begun again where it was, and only
        where the server no longer holds that version is everything listed again."""
        version, delay = "", 0.0
        while True:
            try:
                if not version:
                    version = await self._listed(cache)
                async for event in self._source.watch(cache.resource, resource_version=version,
                                                       bookmarks=not self._rehearsed):
                    version, delay = meta_of(event.object).get("resourceVersion") or version, 0.0
                    if event.type == "DELETED":
                        cache.drop(event.object)
                    elif event.type != "BOOKMARK":
                        cache.put(event.object)
            except Expired:
                version = ""
                continue
            except Timeout:  # the version is of the future: the server came back from a backup
                version = ""
            except NotFound as error:  # nobody serves this kind, or no longer: then it has no objects
                cache.reset(())
                cache.synced.set()
                version = ""
                log.debug("%s is not served, looking again later: %s", cache.resource, error)
            except ApiError as error:
                log.warning("watch of %s ended, going on in a moment: %s", cache.resource, error)
            delay = min(max(2 * delay, _FIRST_DELAY_S), _LONGEST_DELAY_S)
            await asyncio.sleep(delay)

    async def _listed(self, cache: Cache) -> str:
        """Make the cache what the server has now; the version to watch from."""
        items: Objects = []
        page = await self._source.list(cache.resource, limit=_PAGE, shared=True)
        while True:
            items += page.items
            if not page.continue_token:
                break
            page = await self._source.list(cache.resource, limit=_PAGE, continue_token=page.continue_token, shared=True)
        cache.reset(items)
        cache.synced.set()
        return page.resource_version


class _WriteThrough:
    """An `Api` whose answers to writes go into the caches at once. They are not to be changed, like everything in a cache: so
    an API in this process and its caches hold an object once."""

    def __init__(self, api: Api, informers: Informers, *, events: bool) -> None:
        self._api = api
        self._informers = informers
        self._events = events

    @property
    def resources(self) -> ResourceMap:
        return self._api.resources

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Obj:
        return await self._api.get(resource, name, namespace)

    async def list(self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = "", limit: int = 0,
                   continue_token: str = "", resource_version: str = "", shared: bool = False) -> ObjList:
        return await self._api.list(resource, namespace, labels=labels, fields=fields, limit=limit,
                                    continue_token=continue_token, resource_version=resource_version, shared=shared)

    def watch(self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = "",
              resource_version: str = "", bookmarks: bool = False,
              initial_events: bool = False) -> AsyncIterator[WatchEvent]:
        return self._api.watch(resource, namespace, labels=labels, fields=fields, resource_version=resource_version,
                               bookmarks=bookmarks, initial_events=initial_events)

    async def create(self, obj: Obj, options: WriteOptions | None = None) -> Obj:
        if not self._events and obj.get("kind") == "Event":
            return obj
        return self._seen(await self._api.create(obj, _shared(options)), options)

    async def replace(self, obj: Obj, options: WriteOptions | None = None, *, subresource: Subresource = "") -> Obj:
        return self._seen(await self._api.replace(obj, _shared(options), subresource=subresource), options)

    async def patch(self, resource: Resource, name: str, namespace: str, patch: Patch,
                    options: WriteOptions | None = None, *, subresource: Subresource = "") -> Obj:
        if not self._events and resource == CORE_EVENTS:
            return {}
        return self._seen(
            await self._api.patch(resource, name, namespace, patch, _shared(options), subresource=subresource), options)

    async def delete(self, resource: Resource, name: str, namespace: str = "", delete: DeleteOptions | None = None,
                     options: WriteOptions | None = None) -> Obj:
        """The watch brings the deletion: the answer does not say whether a finalizer still holds the object."""
        return await self._api.delete(resource, name, namespace, delete, options)

    def _seen(self, obj: Obj, options: WriteOptions | None) -> Obj:
        if obj.get("kind") == "Scale" or (options is not None and options.dry_run):
            return obj
        cache = self._informers.known(self._api.resources.of(obj))
        if cache is not None and cache.synced.is_set():
            cache.put(obj)
        return obj


_SHARED = WriteOptions(shared=True)


def _shared(options: WriteOptions | None) -> WriteOptions:
    return _SHARED if options is None else replace(options, shared=True)
