"""The verbs on objects, from a parsed request to the `Api` and back to an answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast, get_args

from aiohttp import web

from fairway.kube.access import Access, forbidden
from fairway.kube.api import (
    Api,
    ApplyPatch,
    JsonPatch,
    MergePatch,
    ObjList,
    Patch,
    StrategicPatch,
    Subresource,
    WriteOptions,
)
from fairway.kube.clock import Clock
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.errors import ApiError, BadRequest, Expired, MethodNotAllowed, NotFound, UnsupportedMediaType
from fairway.kube.guards import Guarded
from fairway.kube.http import asked, bodies
from fairway.kube.http.answers import answer, list_body, warn
from fairway.kube.http.attributes import attributes
from fairway.kube.http.columns import Layout
from fairway.kube.http.discovery import is_custom, verbs_of
from fairway.kube.http.media import META_GROUP, Media
from fairway.kube.http.paths import ObjectPath
from fairway.kube.http.streams import EventWriter, Streams, send_events
from fairway.kube.http.tables import Include, layout_of, partial, table
from fairway.kube.objects import Obj, dig, is_deleting, meta_of, uid_of
from fairway.kube.rbac import GROUP as RBAC_GROUP
from fairway.kube.rbac import Attributes
from fairway.kube.resources import CERTIFICATE_REQUESTS, CRDS, Resource
from fairway.kube.users import ADMIN, User

_META = f"{META_GROUP}/v1"
_PATCHABLE = get_args(Subresource)


@dataclass(frozen=True, slots=True)
class Call:
    """One request about objects."""

    request: web.Request
    path: ObjectPath
    resource: Resource
    media: Media
    user: User = ADMIN
    guarded: Guarded | None = None
    """Where RBAC does not allow this request, and a guard does."""

    @property
    def query(self) -> asked.Query:
        return self.request.query

    @property
    def agent(self) -> str:
        return self.request.headers.get("User-Agent", "")

    def by(self, options: WriteOptions) -> WriteOptions:
        options.user = self.user
        if self.guarded is not None:
            options.guard = self.guarded.check
        return options

    def sees(self, obj: Obj) -> bool:
        return self.guarded is None or self.guarded.sees(obj)

    @property
    def subresource(self) -> Subresource:
        """`NotFound` for one that this resource does not have."""
        sub = self.path.subresource
        if sub not in _PATCHABLE or (sub and sub not in self.resource.subresources):
            raise NotFound("the server could not find the requested resource")
        return cast(Subresource, sub)


class Verbs:
    def __init__(self, api: Api, clock: Clock, streams: Streams, access: Access | None = None) -> None:
        self._api = api
        self._clock = clock
        self._streams = streams
        self._access = access

    async def run(self, call: Call) -> web.StreamResponse:
        try:
            response = await self._verb(call)
        except NotFound:
            if call.guarded is not None:  # whether there is one is not for them to know
                raise _unseen(call) from None
            raise
        if isinstance(response, web.Response) and (words := await self._deprecation(call.resource)):
            warn(response, words)
        return response

    async def _verb(self, call: Call) -> web.StreamResponse:
        method, path = call.request.method, call.path
        if call.guarded is not None and path.name and method in ("PUT", "PATCH", "DELETE"):
            await self._check_seen(call, call.guarded)
        match (method, bool(path.name), bool(path.subresource)):
            case ("GET", True, False) if path.watching:
                return await self._watch(call, asked.list_asked(call.query, name=path.name))
            case ("GET", False, _):
                return await self._collection(call)
            case ("GET", True, _):
                return await self._one(call)
            case ("POST", False, _):
                return await self._create(call)
            case ("PUT", True, _):
                return await self._put(call)
            case ("PATCH", True, _):
                return await self._patch(call)
            case ("DELETE", True, False):
                return await self._delete(call)
            case ("DELETE", False, _):
                return await self._delete_collection(call)
        raise MethodNotAllowed("the server does not allow this method on the requested resource")

    # --- reading ------------------------------------------------------------------------------------------------------

    async def _one(self, call: Call) -> web.Response:
        path = call.path
        if call.subresource == "scale":
            # The port has no read of a scale; a change of nothing that is not kept answers with it.
            obj = await self._api.patch(call.resource, path.name, path.namespace, MergePatch({}),
                                        WriteOptions(dry_run=True), subresource="scale")
        else:
            obj = await self._api.get(call.resource, path.name, path.namespace)
        if not call.sees(obj):
            raise _unseen(call)
        return await self._object(call, obj)

    async def _collection(self, call: Call) -> web.StreamResponse:
        options = asked.list_asked(call.query)
        if options.watch or call.path.watching:
            return await self._watch(call, options)
        page = await self._page(call, options)
        if call.guarded is not None:
            page = replace(page, items=[obj for obj in page.items if call.sees(obj)], remaining=None)
        return await self._list(call, page)

    async def _page(self, call: Call, options: asked.ListAsked) -> ObjList:
        """One page, of which nothing may be changed: an API in this process need not copy what is only written out."""
        resource = call.resource
        chosen: dict[str, Any] = {
            "labels": options.labels, "fields": options.fields, "limit": options.limit,
            "continue_token": options.continue_token, "resource_version": options.resource_version,
        }  # fmt: skip
        if not isinstance(self._api, EmbeddedApi):
            return await self._api.list(resource, call.path.namespace, **chosen)
        page = self._api.page(resource, call.path.namespace, **chosen)
        items = [{**version.obj, "apiVersion": resource.api_version} for version in page.versions]
        return ObjList(items, page.resource_version, page.continue_token, page.remaining)

    async def _list(self, call: Call, page: ObjList) -> web.Response:
        metadata: Obj = {"resourceVersion": page.resource_version}
        if page.continue_token:
            metadata["continue"] = page.continue_token
        if page.remaining:
            metadata["remainingItemCount"] = page.remaining
        resource, form = call.resource, call.media.form
        if form == "table":
            layout = await self._layout(resource)
            return answer(table(layout, page.items, now=self._clock.now(), metadata=metadata, include=_include(call)))
        if form in ("metadata", "metadata-list"):
            return answer(list_body("PartialObjectMetadataList", _META, metadata, [partial(o) for o in page.items]))
        items = page.items
        if is_custom(resource):
            metadata.setdefault("continue", "")  # lists of custom kinds show it on their last page too
        else:  # items of a typed list do not repeat their type
            items = [{k: v for k, v in obj.items() if k not in ("kind", "apiVersion")} for obj in items]
        return answer(list_body(f"{resource.kind}List", resource.api_version, metadata, items), media=call.media)

    async def _watch(self, call: Call, options: asked.ListAsked) -> web.StreamResponse:
        form = call.media.form
        layout = await self._layout(call.resource) if form == "table" else None
        writer = EventWriter(self._streams, form=form, layout=layout, include=_include(call), now=self._clock.now)
        try:
            events: Any = self._api.watch(
                call.resource, call.path.namespace, labels=options.labels, fields=options.fields,
                resource_version=options.resource_version, bookmarks=options.bookmarks,
                initial_events=options.initial_events)  # fmt: skip
            if call.guarded is not None:
                events = call.guarded.seen(events)
        except Expired as error:
            events = error  # told inside the stream: that is where informers look for it
        return await send_events(call.request, self._streams, events, writer, options.timeout_s)

    # --- writing ------------------------------------------------------------------------------------------------------

    async def _check_seen(self, call: Call, guarded: Guarded) -> None:
        """Nobody learns of an object that they may not see by trying to change it: a patch can test for values."""
        try:
            found = await self._api.get(call.resource, call.path.name, call.path.namespace)
        except NotFound:
            return  # an apply may create it, and everything else says that it is not there
        if not guarded.sees(found):
            raise _unseen(call)

    async def _create(self, call: Call) -> web.Response:
        options = call.by(asked.write_asked("CreateOptions", call.query, call.agent))
        obj = _placed(call, await self._body(call, options))
        if call.resource == CERTIFICATE_REQUESTS and isinstance(obj.get("spec"), dict):
            obj["spec"].update(call.user.info())  # who asks is who is logged in, whatever the body says
        self._check_granting(call, obj, None)
        return await self._object(call, await self._api.create(obj, options), options, status=201)

    async def _put(self, call: Call) -> web.Response:
        options = call.by(asked.write_asked("UpdateOptions", call.query, call.agent))
        sub = call.subresource
        await self._check_approving(call)
        body = await self._body(call, options, kind="Scale" if sub == "scale" else "")
        if sub == "scale":
            return await self._put_scale(call, body, options)
        obj = _placed(call, body)
        if self._gives(call):
            self._check_granting(call, obj, await self._api.get(call.resource, call.path.name, call.path.namespace))
        return await self._object(call, await self._api.replace(obj, options, subresource=sub), options)

    async def _put_scale(self, call: Call, scale: Obj, options: WriteOptions) -> web.Response:
        """A Scale is no object of its own: what counts of it are the replicas and the lock."""
        body: Obj = {"spec": {"replicas": dig(scale, "spec", "replicas", default=0)}}
        if version := meta_of(scale).get("resourceVersion"):
            body["metadata"] = {"resourceVersion": version}
        changed = await self._api.patch(call.resource, call.path.name, call.path.namespace, MergePatch(body), options,
                                        subresource="scale")
        return await self._object(call, changed, options)

    async def _patch(self, call: Call) -> web.Response:
        path, sub = call.path, call.subresource
        await self._check_approving(call)
        content_type = bodies.content_type_of(call.request.headers.get("Content-Type", ""))
        force, status = False, 200
        if content_type == "application/apply-patch+yaml":
            options, force = asked.apply_asked(call.query, call.agent)
        else:
            options = asked.write_asked("PatchOptions", call.query, call.agent)
        call.by(options)
        patch, repeated = bodies.decode_patch(await call.request.read(), content_type, force=force)
        _check_patch(call, patch, content_type)
        if sub == "scale" and isinstance(patch, StrategicPatch):
            patch = MergePatch(patch.body)  # a Scale has no lists, by which the two would differ
        _report(call.resource, repeated, options)
        if isinstance(patch, ApplyPatch) and not sub and not await self._exists(call):
            status = 201
            if self._access is not None and not call.user.unrestricted and call.guarded is None:
                self._access.require(call.user, Attributes("create", call.resource.group, call.resource.version,
                                                           call.resource.plural, "", path.namespace))
        if self._gives(call):
            tried = replace(options, dry_run=True)
            new = await self._api.patch(call.resource, path.name, path.namespace, patch, tried, subresource=sub)
            old = None if status == 201 else await self._api.get(call.resource, path.name, path.namespace)
            self._check_granting(call, new, old)
        obj = await self._api.patch(call.resource, path.name, path.namespace, patch, options, subresource=sub)
        return await self._object(call, obj, options, status=status)

    async def _exists(self, call: Call) -> bool:
        try:
            await self._api.get(call.resource, call.path.name, call.path.namespace)
        except NotFound:
            return False
        return True

    async def _delete(self, call: Call) -> web.Response:
        delete, options = asked.delete_asked(call.query, await self._options_body(call))
        call.by(options)
        path = call.path
        obj = await self._api.delete(call.resource, path.name, path.namespace, delete, options)
        if is_deleting(obj):
            return await self._object(call, obj)
        return answer(_deleted(call.resource, path.name, obj))

    async def _delete_collection(self, call: Call) -> web.Response:
        nowhere = call.resource.namespaced and not call.path.namespace
        if nowhere or "deletecollection" not in verbs_of(call.resource):
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        chosen = asked.list_asked(call.query)
        delete, options = asked.delete_asked(call.query, await self._options_body(call))
        namespace = call.path.namespace
        page = await self._api.list(call.resource, namespace, labels=chosen.labels, fields=chosen.fields)
        for obj in page.items:
            try:
                await self._api.delete(call.resource, meta_of(obj)["name"], namespace, delete, options)
            except NotFound:
                continue  # gone meanwhile: that is what was asked for
        return await self._list(call, page)

    async def _check_approving(self, call: Call) -> None:
        """Who approves a certificate request may do so for its signer."""
        if call.path.subresource != "approval" or self._access is None or call.user.unrestricted:
            return
        found = await self._api.get(call.resource, call.path.name)
        signer = str(dig(found, "spec", "signerName", default=""))
        row = call.resource
        self._access.require(call.user, Attributes("approve", row.group, row.version, "signers", "", "", signer))

    def _gives(self, call: Call) -> bool:
        """Whether this write may give permissions that its user does not hold."""
        return self._access is not None and not call.user.unrestricted and call.resource.group == RBAC_GROUP

    def _check_granting(self, call: Call, new: Obj, old: Obj | None) -> None:
        if self._access is not None:
            self._access.check_granting(call.user, call.resource, new, old)

    # --- bodies and answers -------------------------------------------------------------------------------------------

    async def _body(self, call: Call, options: WriteOptions, *, kind: str = "") -> Obj:
        content_type = bodies.content_type_of(call.request.headers.get("Content-Type", ""))
        body = bodies.decode_object(await call.request.read(), content_type, kind or call.resource.kind)
        _report(call.resource, body.repeated, options)
        obj: Obj = body.value
        if not kind:
            return _typed(call.resource, obj)
        return obj

    async def _options_body(self, call: Call) -> Obj:
        data = await call.request.read()
        if not data:
            return {}
        content_type = bodies.content_type_of(call.request.headers.get("Content-Type", ""))
        found: Obj = bodies.decode_object(data, content_type, "DeleteOptions").value
        return found

    async def _object(self, call: Call, obj: Obj, options: WriteOptions | None = None, *,
                      status: int = 200) -> web.Response:
        warnings = options.warnings if options is not None else []
        resource, form = call.resource, call.media.form
        if obj.get("kind") == "Scale" and call.path.subresource:
            form = "plain"
        if form == "table":
            metadata = {"resourceVersion": meta_of(obj).get("resourceVersion", "")}
            obj = table(await self._layout(resource), [obj], now=self._clock.now(), metadata=metadata,
                        include=_include(call))
        elif form in ("metadata", "metadata-list"):
            obj = partial(obj)
        return answer(obj, status=status, media=replace(call.media, form=form), warnings=warnings)

    async def _deprecation(self, resource: Resource) -> str:
        """What a definition says against this version. A version that is preferred is taken for current."""
        preferred = self._api.resources.of_group_kind(resource.group, resource.kind)
        if not is_custom(resource) or preferred is None or preferred.version == resource.version:
            return ""
        crd = await self._crd(resource)
        versions = dig(crd, "spec", "versions", default=[])
        found = next((row for row in versions if row["name"] == resource.version and row.get("deprecated")), None)
        if found is None:
            return ""
        words = f"{resource.api_version} {resource.kind} is deprecated; use {preferred.api_version} {preferred.kind}"
        return str(found.get("deprecationWarning") or words)

    async def _layout(self, resource: Resource) -> Layout:
        return layout_of(resource, await self._crd(resource) if is_custom(resource) else None)

    async def _crd(self, resource: Resource) -> Obj | None:
        try:
            return await self._api.get(CRDS, resource.qualified)
        except NotFound:
            return None  # a kind that is established without a CRD object: name and age will do


def _unseen(call: Call) -> ApiError:
    """What is not there, and what may not be seen, are told alike."""
    path = call.path
    return forbidden(call.user, attributes(call.request.method, call.request.rel_url.raw_path, path, call.query))


def _include(call: Call) -> Include:
    wanted = call.query.get("includeObject", "")
    if wanted not in ("", "Metadata", "None", "Object"):
        raise BadRequest(f"unrecognized includeObject value: {wanted!r}")
    return cast(Include, wanted or "Metadata")


def _typed(resource: Resource, obj: Obj) -> Obj:
    """`obj` with its type, which a client may leave out but not get wrong."""
    api_version, kind = obj.get("apiVersion") or resource.api_version, obj.get("kind") or resource.kind
    if (api_version, kind) == (resource.api_version, resource.kind):
        return {**obj, "apiVersion": api_version, "kind": kind}
    if kind != resource.kind:
        version, family = str(api_version).rpartition("/")[2], resource.group.partition(".")[0] or "core"
        raise BadRequest(f'{kind} in version "{version}" cannot be handled as a {resource.kind}: converting '
                         f"({version}.{kind}) to ({family}.{resource.kind}): unknown conversion")
    raise BadRequest(f"the API version in the data ({api_version}) does not match the expected API version "
                     f"({resource.api_version})")


def _placed(call: Call, obj: Obj) -> Obj:
    """`obj` with the name and namespace of the URL, which it may leave out but not contradict."""
    path, meta = call.path, obj.get("metadata")
    if meta is not None and not isinstance(meta, dict):
        raise BadRequest(f"{call.resource.kind} cannot be handled: metadata is not an object")
    meta = dict(meta or {})
    if call.resource.namespaced and path.namespace:
        if meta.get("namespace") not in (None, "", path.namespace):
            raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
        meta["namespace"] = path.namespace
    if path.name:
        name = meta.get("name")
        if name not in (None, "", path.name):
            raise BadRequest(f"the name of the object ({name}) does not match the name on the URL ({path.name})")
        meta["name"] = path.name
    return {**obj, "metadata": meta}


def _check_patch(call: Call, patch: Patch, content_type: str) -> None:
    if isinstance(patch, StrategicPatch) and is_custom(call.resource):
        raise UnsupportedMediaType(
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml")
    if isinstance(patch, JsonPatch):
        return
    name = dig(patch.body, "metadata", "name")
    if isinstance(patch, ApplyPatch) and name not in (None, call.path.name):
        raise BadRequest(f"metadata.name: Invalid value: {name!r}: must be equal to {call.path.name}")


def _report(resource: Resource, repeated: tuple[str, ...], options: WriteOptions) -> None:
    """Fields that stand twice in a body: refused, warned of or ignored, as the client asked."""
    if not repeated or options.validation == "Ignore":
        return
    words = [f'duplicate field "{field}"' for field in repeated]
    if options.validation == "Strict":
        raise BadRequest(f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
                         f"strict decoding error: {', '.join(words)}")
    options.warnings.extend(words)


def _deleted(resource: Resource, name: str, obj: Obj) -> Obj:
    details: Obj = {"name": name, **({"group": resource.group} if resource.group else {}), "kind": resource.plural,
                    "uid": uid_of(obj)}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
