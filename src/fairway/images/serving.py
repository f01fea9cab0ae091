"""The embedded registry over HTTP, for docker, podman, skopeo and whatever else pushes and pulls images.

A repository's path is the image's whole name: `127.0.0.1:PORT/registry.example.com/shop/app`. Uploads in one piece or in
several, mounts, ranges, tags, referrers. Nothing can be deleted: a digest that a release names must stay.
Source: opencontainers/distribution-spec `spec.md`, with the error codes that clients match on.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from fairway.images.attach import Attachment, attachments, register
from fairway.images.layout import INDEX, INDEXES, MANIFESTS, SCHEMA_1, BadBlob, Descriptor, Layout, encode
from fairway.images.reference import BadReference, Reference, parse_reference
from fairway.images.registry import LocalRegistry, UnknownImage
from fairway.kube.http.passwords import carries, password_in

_LARGEST_MANIFEST = 4 * 1024 * 1024
_DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")
_UPLOAD = re.compile(r"^[0-9a-f]{32}$")
_KNOWN = {"Docker-Distribution-API-Version": "registry/2.0"}

Handler = Callable[["_Registry", web.Request, str, str], Awaitable[web.StreamResponse]]


class _Refused(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


def nobody(password: str) -> bool:
    return False


def routes(registry: LocalRegistry, *, token: str, admits: Callable[[str], bool] = nobody) -> list[web.RouteDef]:
    """The paths under `/v2/`. The password is Fairway's token, or one that `admits` takes, whoever the user says to be."""
    served = _Registry(registry, token, admits)
    return [web.route("*", "/v2/", served.answer), web.route("*", "/v2/{path:.*}", served.answer)]


class _Registry:
    def __init__(self, registry: LocalRegistry, token: str, admits: Callable[[str], bool]) -> None:
        self._registry = registry
        self._token = token
        self._admits = admits

    async def answer(self, request: web.Request) -> web.StreamResponse:
        try:
            given = request.headers.get("Authorization", "")
            if not carries(given, self._token) and not self._admits(password_in(given)):
                raise _Refused(401, "UNAUTHORIZED", "the password is Fairway's token")
            return await self._routed(request)
        except _Refused as refused:
            body = {"errors": [{"code": refused.code, "message": str(refused), "detail": None}]}
            headers = {"WWW-Authenticate": 'Basic realm="fairway"'} if refused.status == 401 else {}
            return web.Response(status=refused.status, headers={**_KNOWN, **headers}, body=encode(body),
                                content_type="application/json")  # fmt: skip

    async def _routed(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info.get("path", "")
        if not path:
            return web.Response(headers=_KNOWN, body=b"{}", content_type="application/json")
        for pattern, methods in _ROUTES:
            if m := pattern.match(path):
                handler = methods.get(request.method)
                if handler is None:
                    raise _Refused(405, "UNSUPPORTED", f"{request.method} is not served here")
                return await handler(self, request, m["name"], m.groupdict().get("rest") or "")
        raise _Refused(404, "NAME_UNKNOWN", "no such path; it is /v2/REPOSITORY/manifests|blobs|tags|referrers/…")

    # --- manifests ----------------------------------------------------------------------------------------------------

    async def manifest(self, request: web.Request, name: str, rest: str) -> web.StreamResponse:
        reference = _reference(name, rest)
        layout = self._registry.layout(reference.name)
        try:
            found = self._registry.resolve(reference)
            data = layout.read(found.digest)
        except (UnknownImage, BadBlob) as error:
            raise _Refused(404, "MANIFEST_UNKNOWN", str(error)) from None
        kind = found.media_type or str(msgspec.json.decode(data).get("mediaType", ""))
        headers = {**_KNOWN, "Docker-Content-Digest": found.digest, "Content-Type": kind}
        return web.Response(headers=headers, body=data)

    async def put_manifest(self, request: web.Request, name: str, rest: str) -> web.StreamResponse:
        reference = _reference(name, rest)
        layout = self._registry.layout(reference.name)
        data = await request.content.read(_LARGEST_MANIFEST + 1)
        if len(data) > _LARGEST_MANIFEST:
            raise _Refused(413, "SIZE_INVALID", "a manifest has at most 4 MiB")
        kind = request.headers.get("Content-Type", "").partition(";")[0].strip()
        document = _manifest(data, kind)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if reference.digest and reference.digest != digest:
            raise _Refused(400, "DIGEST_INVALID", f"the manifest has the digest {digest}")
        for part in _named(document, kind):
            if not layout.has(part.digest):
                code = "MANIFEST_UNKNOWN" if part.media_type in MANIFESTS else "MANIFEST_BLOB_UNKNOWN"
                raise _Refused(404, code, f"{part.digest} was not pushed to {reference.name}")
        stored = await asyncio.to_thread(layout.write, data, kind)
        headers = {**_KNOWN, "Docker-Content-Digest": digest, "Location": f"/v2/{name}/manifests/{digest}"}
        if subject := document.get("subject"):
            about = Descriptor.of(subject)
            said = str(document.get("artifactType") or (document.get("config") or {}).get("mediaType") or "")
            register(layout, about.digest, Attachment(said, stored, document.get("annotations") or {}))
            headers["OCI-Subject"] = about.digest
        if reference.tag:
            layout.tag(reference.tag, stored)
        return web.Response(status=201, headers=headers)

    async def tags(self, request: web.Request, name: str, rest: str) -> web.StreamResponse:
        reference = _reference(name, "latest")
        if not self._registry.layout(reference.name).exists():
            raise _Refused(404, "NAME_UNKNOWN", f"nothing was ever pushed to {reference.name}")
        listed = [tag for tag in self._registry.tags(reference.name) if tag > request.query.get("last", "")]
        most = request.query.get("n", "")
        shown = listed[: int(most)] if most.isdecimal() else listed
        headers = dict(_KNOWN)
        if len(shown) < len(listed) and shown:
            headers["Link"] = f'</v2/{name}/tags/list?n={most}&last={shown[-1]}>; rel="next"'
        return web.Response(headers=headers, body=encode({"name": name, "tags": shown}), content_type="application/json")

    async def referrers(self, request: web.Request, name: str, rest: str) -> web.StreamResponse:
        layout = self._registry.layout(_reference(name, "latest").name)
        if not _DIGEST.match(rest):
            raise _Refused(400, "DIGEST_INVALID", f"{rest!r} is not sha256: and 64 hexadecimal digits")
        wanted = request.query.get("artifactType")
        entries = [{**one.manifest.as_json(), "artifactType": one.kind, "annotations": dict(one.annotations)}
                   for one in attachments(layout, rest) if wanted in (None, one.kind)]  # fmt: skip
        headers = {**_KNOWN, **({"OCI-Filters-Applied": "artifactType"} if wanted else {}), "Content-Type": INDEX}
        return web.Response(headers=headers, body=encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}))

    # --- blobs --------------------------------------------------------------------------------------------------------

    async def blob(self, request: web.Request, name: str, rest: str) -> web.StreamResponse:
        layout = self._registry.layout(_reference(name, "latest").name)
        if not _DIGEST.match(rest) or not layout.has(rest):
            raise _Refused(404, "BLOB_UNKNOWN", f"{rest} is not in {name}")
        headers = {**_KNOWN, "Docker-Content-Digest": rest, "Content-Type": "application/octet-stream"}
        return web.FileResponse(layout.blob_path(rest), headers=headers)

    async def begin(self, request: web.Request, name: str, rest: str) -> web.StreamResponse:
        layout = self._registry.layout(_reference(name, "latest").name)
        wanted, other = request.query.get("mount", ""), request.query.get("from", "")
        if _DIGEST.match(wanted) and other:
            source = self._registry.layout(_reference(other, "latest").name)
            if source.has(wanted):
                path = source.blob_path(wanted)
                layout.adopt(path, Descriptor("", wanted, path.stat().st_size))
                return self._stored(name, wanted)
        upload = uuid.uuid4().hex
        folder = self._uploads(layout)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / upload).touch()
        if digest := request.query.get("digest"):
            return await self._finish(request, layout, name, upload, digest)
        return self._going(name, upload, 0, 202)

    async def go_on(self, request: web.Request, name: str, rest: str) -> web.StreamResponse:
        path = self._upload(name, rest)
        start = request.headers.get("Content-Range", "").partition("-")[0]
        if start.isdecimal() and int(start) != path.stat().st_size:
            raise _Refused(416, "RANGE_INVALID", f"the upload goes on at byte {path.stat().st_size}")
        return self._going(name, rest, await _append(request, path), 202)

    async def where(self, request: web.Request, name: str, rest: str) -> web.StreamResponse:
        return self._going(name, rest, self._upload(name, rest).stat().st_size, 204)

    async def cancel(self, request: web.Request, name: str, rest: str) -> web.StreamResponse:
        self._upload(name, rest).unlink()
        return web.Response(status=204, headers=_KNOWN)

    async def finish(self, request: web.Request, name: str, rest: str) -> web.StreamResponse:
        layout = self._registry.layout(_reference(name, "latest").name)
        self._upload(name, rest)
        return await self._finish(request, layout, name, rest, request.query.get("digest", ""))

    async def _finish(self, request: web.Request, layout: Layout, name: str, upload: str, digest: str) -> web.Response:
        path = self._uploads(layout) / upload
        await _append(request, path)
        found = await asyncio.to_thread(_digest_of, path)
        if digest != found:
            path.unlink()
            raise _Refused(400, "DIGEST_INVALID", f"the blob has the digest {found}, not {digest}")
        layout.adopt(path, Descriptor("", digest, path.stat().st_size))
        path.unlink()
        return self._stored(name, digest)

    def _stored(self, name: str, digest: str) -> web.Response:
        headers = {**_KNOWN, "Docker-Content-Digest": digest, "Location": f"/v2/{name}/blobs/{digest}"}
        return web.Response(status=201, headers=headers)

    def _going(self, name: str, upload: str, size: int, status: int) -> web.Response:
        headers = {**_KNOWN, "Location": f"/v2/{name}/blobs/uploads/{upload}", "Docker-Upload-UUID": upload,
                   "Range": f"0-{max(size - 1, 0)}"}
        return web.Response(status=status, headers=headers)

    def _uploads(self, layout: Layout) -> Path:
        return layout.root / ".uploads"

    def _upload(self, name: str, upload: str) -> Path:
        path = self._uploads(self._registry.layout(_reference(name, "latest").name)) / upload
        if not _UPLOAD.match(upload) or not path.is_file():
            raise _Refused(404, "BLOB_UPLOAD_UNKNOWN", f"{upload} is no upload to {name}")
        return path


_NAME = r"(?P<name>[^?]+?)"
_ROUTES: list[tuple[re.Pattern[str], dict[str, Handler]]] = [
    (re.compile(rf"^{_NAME}/manifests/(?P<rest>[^/]+)$"),
     {"GET": _Registry.manifest, "HEAD": _Registry.manifest, "PUT": _Registry.put_manifest}),
    (re.compile(rf"^{_NAME}/tags/list$"), {"GET": _Registry.tags}),
    (re.compile(rf"^{_NAME}/referrers/(?P<rest>[^/]+)$"), {"GET": _Registry.referrers}),
    (re.compile(rf"^{_NAME}/blobs/uploads/?$"), {"POST": _Registry.begin}),
    (re.compile(rf"^{_NAME}/blobs/uploads/(?P<rest>[^/]+)$"),
     {"PATCH": _Registry.go_on, "PUT": _Registry.finish, "GET": _Registry.where, "DELETE": _Registry.cancel}),
    (re.compile(rf"^{_NAME}/blobs/(?P<rest>[^/]+)$"), {"GET": _Registry.blob, "HEAD": _Registry.blob}),
]  # fmt: skip


def _reference(name: str, reference: str) -> Reference:
    joined = f"{name}@{reference}" if _DIGEST.match(reference) else f"{name}:{reference}"
    try:
        return parse_reference(joined)
    except BadReference as error:
        raise _Refused(400, "NAME_INVALID", str(error)) from None


def _manifest(data: bytes, kind: str) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise _Refused(400, "MANIFEST_INVALID", f"not JSON: {error}") from None
    if kind in SCHEMA_1 or (isinstance(document, dict) and document.get("schemaVersion") == 1):
        raise _Refused(400, "MANIFEST_INVALID", "Docker's old schema 1 is not taken; push with a docker from 1.10 on")
    if not isinstance(document, dict) or document.get("schemaVersion") != 2 or kind not in MANIFESTS:
        raise _Refused(400, "MANIFEST_INVALID", f"an OCI or Docker manifest is needed, got {kind or 'no Content-Type'}")
    if document.get("mediaType", kind) != kind:
        raise _Refused(400, "MANIFEST_INVALID", f"it calls itself {document['mediaType']}, its Content-Type is {kind}")
    return document


def _named(document: dict[str, Any], kind: str) -> list[Descriptor]:
    try:
        if kind in INDEXES:
            return [Descriptor.of(entry) for entry in document.get("manifests") or ()]
        return [Descriptor.of(entry) for entry in (document["config"], *document["layers"])]
    except (BadBlob, KeyError, TypeError) as error:
        raise _Refused(400, "MANIFEST_INVALID", f"the manifest does not say what it is made of: {error}") from None


async def _append(request: web.Request, path: Path) -> int:
    with path.open("ab") as file:
        async for chunk in request.content.iter_chunked(1024 * 1024):
            await asyncio.to_thread(file.write, chunk)
        return file.tell()


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
