"""The `Api` port: every room speaks to Kubernetes objects through these nine verbs and nothing else.

`EmbeddedApi` (in the process, over SQLite or memory) and `ClusterApi` (HTTP) stand behind it and pass one contract
suite. Objects handed in are never changed; objects handed out may be changed by the caller, except those in watch
events and caches, which are shared.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from fairway.kube.objects import Obj
from fairway.kube.resources import Resource, ResourceMap
from fairway.kube.users import User

EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
Propagation = Literal["Background", "Foreground", "Orphan"]
Subresource = Literal["", "status", "scale", "finalize", "ephemeralcontainers", "resize", "approval"]
"""`finalize` is a Namespace's alone: the way to empty its `spec.finalizers`. `ephemeralcontainers` and `resize` change these
of a running Pod, `approval` the conditions of a CertificateSigningRequest."""
Validation = Literal["Ignore", "Warn", "Strict"]


@dataclass(frozen=True, slots=True)
class WatchEvent:
    type: EventType
    object: Obj


@dataclass(frozen=True, slots=True)
class ObjList:
    """One page of a list. `resource_version` is where a watch continues; `continue_token` is "" on the last page."""

    items: list[Obj]
    resource_version: str
    continue_token: str = ""
    remaining: int | None = None


# --- patches as values --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JsonPatch:
    """RFC 6902. A failed `test` or a missing path is `Invalid` (422)."""

    operations: Sequence[Obj]


@dataclass(frozen=True, slots=True)
class MergePatch:
    """RFC 7386. A resourceVersion in the body is an optimistic lock."""

    body: Obj


@dataclass(frozen=True, slots=True)
class StrategicPatch:
    """Kubernetes strategic merge; custom resources answer `UnsupportedMediaType` (415)."""

    body: Obj


@dataclass(frozen=True, slots=True)
class ApplyPatch:
    """Server-side apply by field manager. Without `force`, a field of another manager is a `Conflict`."""

    body: Obj
    force: bool = False


Patch = JsonPatch | MergePatch | StrategicPatch | ApplyPatch


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    propagation: Propagation = "Background"
    grace_period_s: int | None = None
    uid: str = ""
    resource_version: str = ""


@dataclass(slots=True)
class WriteOptions:
    """`manager` is recorded in managedFields. `warnings` collects what the API warned about (RFC 9110 Warning: 299). `user`:
    for whom an API in this process writes; None for one of Fairway's own controllers. `shared`: who asks changes nothing of the
    answer, so that an API in this process may answer with the object that it holds itself."""

    manager: str = "fairway"
    dry_run: bool = False
    validation: Validation = "Warn"
    warnings: list[str] = field(default_factory=list)
    user: User | None = None
    shared: bool = False
    guard: Callable[[Obj | None, Obj | None], None] | None = None
    """Of an API in this process: called with the object as it was and as it will be, before that; may raise `Forbidden`."""


class Api(Protocol):
    """Errors of every verb are `fairway.kube.errors.ApiError`s."""

    @property
    def resources(self) -> ResourceMap:
        """What can be asked for: built-in resources and the CRDs that are established now."""
        ...

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Obj: ...

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        limit: int = 0,
        continue_token: str = "",
        resource_version: str = "",
        shared: bool = False,
    ) -> ObjList:
        """All namespaces where `namespace` is "". `labels` and `fields` are selectors as kubectl writes them. `shared`: as in
        `WriteOptions`."""
        ...

    def watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
        bookmarks: bool = False,
        initial_events: bool = False,
    ) -> AsyncIterator[WatchEvent]:
        """Events after `resource_version`; without one, every present object first as ADDED.

        With `initial_events` the present objects come first and a BOOKMARK annotated
        `k8s.io/initial-events-end: "true"` ends them. Raises `Expired` when the version is no longer held.
        """
        ...

    async def create(self, obj: Obj, options: WriteOptions | None = None) -> Obj: ...

    async def replace(self, obj: Obj, options: WriteOptions | None = None, *, subresource: Subresource = "") -> Obj:
        """PUT. A resourceVersion in `obj` is an optimistic lock; without one the last writer wins."""
        ...

    async def patch(
        self,
        resource: Resource,
        name: str,
        namespace: str,
        patch: Patch,
        options: WriteOptions | None = None,
        *,
        subresource: Subresource = "",
    ) -> Obj: ...

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        delete: DeleteOptions | None = None,
        options: WriteOptions | None = None,
    ) -> Obj:
        """The object as it was, or as it is while finalizers hold it."""
        ...


async def apply(api: Api, obj: Obj, *, manager: str, force: bool = True, dry_run: bool = False) -> Obj:
    """Server-side apply of a whole object, creating it where it is absent."""
    resource = api.resources.of(obj)
    meta: dict[str, Any] = obj["metadata"]
    return await api.patch(
        resource,
        meta["name"],
        meta.get("namespace", "") if resource.namespaced else "",
        ApplyPatch(obj, force=force),
        WriteOptions(manager=manager, dry_run=dry_run),
    )


async def patch_status(api: Api, resource: Resource, obj: Obj, status: Obj, *, manager: str = "fairway") -> Obj:
    """Merge `status` into the status of `obj`, by the status subresource. Keys set to None are removed."""
    meta = obj["metadata"]
    return await api.patch(
        resource,
        meta["name"],
        meta.get("namespace", ""),
        MergePatch({"status": status}),
        WriteOptions(manager=manager),
        subresource="status",
    )
