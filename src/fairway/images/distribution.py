"""Registries over the network: the OCI distribution protocol, as far as pushing and pulling images needs it.

Blobs go first and manifests last, so that nobody meets half an image; what a registry already has is not sent again; what
comes is checked against its digest before it is used. Source: opencontainers/distribution-spec `spec.md`, and distribution's
token authentication.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urljoin

import aiohttp
import msgspec

from fairway.images.credentials import Account
from fairway.images.layout import MANIFESTS, SCHEMA_1, Descriptor, Layout, digest_of
from fairway.images.reference import is_loopback

_CHUNK = 1024 * 1024
_TRIES = 4
_FIRST_WAIT = 0.5  # seconds; doubled after each failure: 3.5 s in all, which outlives a registry's restart behind a balancer
_LARGEST_MANIFEST = 4 * 1024 * 1024  # the distribution's own limit
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_HOSTS = {"docker.io": "registry-1.docker.io"}  # the name that people write, and the host that answers

Progress = Callable[[str, int, int], None]
"""(what, bytes done, bytes in all)"""


class RegistryError(Exception):
    """What a registry refused or could not do; the message names the registry, its answer and the mend."""


class Denied(RegistryError):
    """The registry wants an account, or another one."""


class NotThere(RegistryError):
    """The registry has no such manifest or blob."""


@dataclass(slots=True)
class Remote:
    """One repository of one registry. `plain` speaks HTTP; loopback addresses do by themselves, as docker has it."""

    registry: str
    repository: str
    session: aiohttp.ClientSession
    account: Account | None = None
    plain: bool = False
    _authorization: str = field(default="", repr=False)

    @classmethod
    @asynccontextmanager
    async def open(cls, registry: str, repository: str, *, account: Account | None = None, plain: bool = False,
                   authorities: Path | None = None) -> AsyncIterator[Self]:
        """`authorities`: a file with certificates that are trusted beside the system's."""
        context = ssl.create_default_context()
        if authorities is not None:
            context.load_verify_locations(authorities)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=120)
        connector = aiohttp.TCPConnector(ssl=context, limit=8)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector, trust_env=True) as session:
            yield cls(registry, repository, session, account, plain or is_loopback(registry))

    async def ping(self) -> None:
        """Does the registry answer, and take the account? Raises `RegistryError`."""
        scheme = "http" if self.plain else "https"
        async with self._asked("GET", f"{scheme}://{_HOSTS.get(self.registry, self.registry)}/v2/") as answer:
            await self._expect(answer, 200, "the API version 2")

    # --- reading ------------------------------------------------------------------------------------------------------

    async def manifest(self, reference: str) -> tuple[Descriptor, bytes]:
        """The manifest or index that a tag or digest names. Raises `NotThere`, `RegistryError`."""
        headers = {"Accept": ", ".join(MANIFESTS)}
        async with self._asked("GET", self._url(f"manifests/{reference}"), headers=headers) as answer:
            await self._expect(answer, 200, f"manifest {reference}")
            data = await answer.content.read(_LARGEST_MANIFEST + 1)
            kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        if len(data) > _LARGEST_MANIFEST:
            raise RegistryError(f"{self}: the manifest {reference} is larger than 4 MiB")
        if kind in SCHEMA_1 or _object(data).get("schemaVersion") == 1:
            raise RegistryError(f"{self}: {reference} is an image of Docker's old schema 1, which is not read: pull and push "
                                "it again with a docker from 1.10 on, or skopeo copy --format oci")
        digest = digest_of(data)
        if reference.startswith("sha256:") and digest != reference:
            raise RegistryError(f"{self}: the manifest for {reference} has the digest {digest}: it was changed on its way")
        return Descriptor(kind or str(_object(data).get("mediaType", "")), digest, len(data)), data

    async def fetch(self, blob: Descriptor, into: Layout, progress: Progress | None = None) -> None:
        """A blob into a layout, where it appears whole and checked."""
        if into.has(blob.digest):
            return
        for left in range(_TRIES, 0, -1):
            try:
                await self._fetch(blob, into, progress)
                return
            except (aiohttp.ClientError, TimeoutError) as error:
                if left == 1:
                    raise RegistryError(f"{self}: blob {blob.digest} breaks off: {_said(error)}; try again") from error
                await asyncio.sleep(_FIRST_WAIT * 2 ** (_TRIES - left))

    async def _fetch(self, blob: Descriptor, into: Layout, progress: Progress | None) -> None:
        summed, size = hashlib.sha256(), 0
        into.root.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".coming-", dir=into.root)
        try:
            with os.fdopen(handle, "wb") as file:
                async with self._asked("GET", self._url(f"blobs/{blob.digest}")) as answer:
                    await self._expect(answer, 200, f"blob {blob.digest}")
                    async for chunk in answer.content.iter_chunked(_CHUNK):
                        size += len(chunk)
                        if size > blob.size:
                            break
                        summed.update(chunk)
                        file.write(chunk)
                        if progress:
                            progress(blob.digest, size, blob.size)
            if size != blob.size or "sha256:" + summed.hexdigest() != blob.digest:
                raise RegistryError(f"{self}: blob {blob.digest} is not what its digest says: it was changed on its way")
            into.adopt(Path(name), blob)
        finally:
            Path(name).unlink(missing_ok=True)

    async def has(self, blob: Descriptor) -> bool:
        async with self._asked("HEAD", self._url(f"blobs/{blob.digest}")) as answer:
            return answer.status == 200

    # --- writing ------------------------------------------------------------------------------------------------------

    async def send(self, blob: Descriptor, source: Layout, progress: Progress | None = None) -> bool:
        """Upload a blob; False where the registry had it."""
        if await self.has(blob):
            return False
        async with self._asked("POST", self._url("blobs/uploads/")) as answer:
            await self._expect(answer, 202, "an upload")
            place = urljoin(str(answer.url), answer.headers["Location"])
        join = "&" if "?" in place else "?"
        path = source.blob_path(blob.digest)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size)}
        async with self._asked("PUT", f"{place}{join}digest={blob.digest}", headers=headers,
                               body=lambda: _chunks(path, blob, progress)) as answer:
            await self._expect(answer, 201, f"blob {blob.digest}")
        return True

    async def put_manifest(self, reference: str, manifest: Descriptor, data: bytes) -> None:
        headers = {"Content-Type": manifest.media_type}
        async with self._asked("PUT", self._url(f"manifests/{reference}"), headers=headers, body=lambda: data) as answer:
            await self._expect(answer, 201, f"manifest {reference}")
            taken = answer.headers.get("Docker-Content-Digest", manifest.digest)
        if taken != manifest.digest:
            raise RegistryError(f"{self}: the manifest was stored as {taken}, not as {manifest.digest}: the registry rewrites "
                                "manifests, and a release would have another identity there")

    # --- asking -------------------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        return f"{self.registry}/{self.repository}"

    def _url(self, rest: str) -> str:
        scheme = "http" if self.plain else "https"
        return f"{scheme}://{_HOSTS.get(self.registry, self.registry)}/v2/{self.repository}/{rest}"

    @asynccontextmanager
    async def _asked(self, method: str, url: str, *, headers: Mapping[str, str] | None = None,
                     body: Callable[[], Any] | None = None) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request: again with a token when it is asked for, again later when the registry is busy or gone."""
        wait, challenged = _FIRST_WAIT, False
        for left in range(_TRIES + 1, 0, -1):
            sent = {**(headers or {}), **({"Authorization": self._authorization} if self._authorization else {})}
            try:
                answer = await self.session.request(method, url, headers=sent, data=body() if body else None)
            except (aiohttp.ClientError, TimeoutError) as error:
                if left <= 2 or isinstance(error, aiohttp.ClientConnectorCertificateError):
                    raise RegistryError(f"{self}: the registry does not answer: {_said(error)}") from error
            else:
                if answer.status == 401 and not challenged:
                    challenged = True
                    offered = answer.headers.getall("WWW-Authenticate", [])
                    answer.release()
                    self._authorization = await self._authorize(offered)
                    continue
                if not (answer.status == 429 or answer.status >= 500) or left <= 2:
                    try:
                        yield answer
                    finally:
                        answer.release()
                    return
                wait = max(wait, min(float(_whole(answer.headers.get("Retry-After"))), 30.0))
                answer.release()
            await asyncio.sleep(wait)
            wait *= 2

    async def _authorize(self, offered: list[str]) -> str:
        for line in offered:
            scheme, _, rest = line.partition(" ")
            if scheme.lower() == "bearer":
                return f"Bearer {await self._token(dict(_CHALLENGE.findall(rest)))}"
            if scheme.lower() == "basic" and self.account:
                return aiohttp.encode_basic_auth(self.account.user, self.account.password)
        raise Denied(f"{self}: the registry wants to know who you are; `fairway image login {self.registry}`")

    async def _token(self, challenge: Mapping[str, str]) -> str:
        realm = challenge.get("realm", "")
        if not realm.startswith(("https://", "http://" if self.plain else "https://")):
            raise RegistryError(f"{self}: the registry sends us to {realm!r} for a token, which is not https; refused")
        scope = challenge.get("scope") or (f"repository:{self.repository}:pull,push" if self.repository else "")
        asked = {**({"scope": scope} if scope else {}), **({"service": challenge["service"]} if "service" in challenge else {})}
        if self.account and self.account.token:
            form = {**asked, "grant_type": "refresh_token", "refresh_token": self.account.token, "client_id": "fairway"}
            request = self.session.post(realm, data=form)
        else:
            known = self.account and (self.account.user or self.account.password)
            who = {"Authorization": aiohttp.encode_basic_auth(self.account.user, self.account.password)} \
                if self.account and known else {}
            request = self.session.get(realm, params=asked, headers=who)
        try:
            async with request as answer:
                data = await answer.read()
                if answer.status != 200:
                    raise Denied(f"{self}: no token for {scope or 'anything'} ({answer.status}); is the account right? "
                                        f"`fairway image login {self.registry}`")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise RegistryError(f"{self}: the token service {realm} does not answer: {_said(error)}") from error
        content = _object(data)
        return str(content.get("token") or content.get("access_token") or "")

    async def _expect(self, answer: aiohttp.ClientResponse, status: int, what: str) -> None:
        if answer.status == status:
            return
        said = _errors(await answer.content.read(_CHUNK))
        if answer.status == 404:
            raise NotThere(f"{self}: the registry has no {what}{said}")
        if answer.status in (401, 403):
            who = repr(self.account.user) if self.account and self.account.user else "somebody without an account"
            raise Denied(f"{self}: {what} is refused to {who}{said}; `fairway image login {self.registry}`")
        raise RegistryError(f"{self}: {what}: the registry answered {answer.status}{said}")


async def _chunks(path: Path, blob: Descriptor, progress: Progress | None) -> AsyncIterator[bytes]:
    done = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            done += len(chunk)
            yield chunk
            if progress:
                progress(blob.digest, done, blob.size)


def _object(data: bytes) -> dict[str, Any]:
    try:
        content = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return {}
    return content if isinstance(content, dict) else {}


def _errors(data: bytes) -> str:
    listed = _object(data).get("errors")
    first = listed[0] if isinstance(listed, list) and listed and isinstance(listed[0], dict) else {}
    words = ": ".join(str(first[key]) for key in ("code", "message") if first.get(key))
    return f" ({words})" if words else ""


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _whole(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
