"""What pods of jobs ask of the Fairway that sent them, by HTTP with the job's token: artifacts and caches in both directions,
and which repositories there are.

    GET /jobs/listing?folder=artifacts            {"name": time of its last change, ...}
    GET /jobs/file?path=artifacts/report          the file or folder as tar
    PUT /jobs/files                               a tar of artifacts/…, cache/…, job/…
    GET /jobs/repository?name=shop/deploy         {"name": ..., "url": ..., "writers": [...] or null}
    POST /jobs/token?repository=shop/deploy&level=read

A job sees the artifacts of its own run and the caches of its own repository, and nothing else.
"""

from __future__ import annotations

import asyncio
import os
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from aiohttp import hdrs, web

from fairway.ci.folders import RunFolders
from fairway.ci.pods.runner import Guest
from fairway.ci.repositories import Repositories
from fairway.ci.shelf import OwnShelf
from fairway.ci.tokens import Tokens
from fairway.kube.http.passwords import password_in

_CHUNK = 1 << 20
GitUrl = Callable[[str], str]
"""From a repository's name to where pods reach it."""


def routes(root: Path, guest: Callable[[str], Guest | None], repositories: Repositories, tokens: Tokens,
           git_url: GitUrl) -> list[web.RouteDef]:
    """`root` is the CI folder; `guest` says whose token it is."""
    door = _Door(root, guest, repositories, tokens, git_url)
    return [web.get("/jobs/listing", door.listing), web.get("/jobs/file", door.file), web.put("/jobs/files", door.files),
            web.get("/jobs/repository", door.repository), web.post("/jobs/token", door.token)]


class _Door:
    def __init__(self, root: Path, guest: Callable[[str], Guest | None], repositories: Repositories, tokens: Tokens,
                 git_url: GitUrl) -> None:
        self._root, self._guest, self._repositories, self._tokens = root, guest, repositories, tokens
        self._git_url = git_url

    async def listing(self, request: web.Request) -> web.Response:
        folder = self._place(self._known(request), request.query.get("folder", ""))
        return web.json_response(await asyncio.to_thread(OwnShelf().listing, folder))

    async def file(self, request: web.Request) -> web.StreamResponse:
        path = self._place(self._known(request), request.query.get("path", ""))
        if not path.exists():
            raise web.HTTPNotFound(text="nothing is kept there\n")
        handle, name = tempfile.mkstemp(prefix="fairway-shelf-")
        try:
            await asyncio.to_thread(_pack, handle, path)
            response = web.StreamResponse()
            response.content_length = Path(name).stat().st_size
            await response.prepare(request)
            with Path(name).open("rb") as packed:
                while chunk := await asyncio.to_thread(packed.read, _CHUNK):
                    await response.write(chunk)
            await response.write_eof()
            return response
        finally:
            Path(name).unlink()

    async def files(self, request: web.Request) -> web.Response:
        guest = self._known(request)
        handle, name = tempfile.mkstemp(prefix="fairway-shelf-")
        try:
            with os.fdopen(handle, "wb") as coming:
                async for chunk in request.content.iter_chunked(_CHUNK):
                    await asyncio.to_thread(coming.write, chunk)
            count = await asyncio.to_thread(self._kept, guest, Path(name))
        finally:
            Path(name).unlink()
        return web.json_response({"files": count})

    async def repository(self, request: web.Request) -> web.Response:
        self._known(request)
        access = self._repositories.resolve(request.query.get("name", ""))
        if access is None or access.path is None or not access.name:
            raise web.HTTPNotFound(text="no such repository\n")
        writers = list(access.writers) if access.writers is not None else None
        return web.json_response({"name": access.name, "url": self._git_url(access.name), "writers": writers})

    async def token(self, request: web.Request) -> web.Response:
        """For another repository, as far as that allows it; the job's own token stays what it is."""
        guest, level = self._known(request), request.query.get("level", "")
        access = self._repositories.resolve(request.query.get("repository", ""))
        if access is None or not access.name:
            raise web.HTTPNotFound(text="no such repository\n")
        barred = access.writers is not None and guest.repository not in access.writers
        if level not in ("read", "write") or access.name == guest.repository or (level == "write" and barred):
            raise web.HTTPForbidden(text=f"no token to {level} {access.name} for jobs of {guest.repository}\n")
        given = self._tokens.issue(guest.owner, access.name, "write" if level == "write" else "read")
        return web.json_response({"token": given})

    def _known(self, request: web.Request) -> Guest:
        found = self._guest(password_in(request.headers.get(hdrs.AUTHORIZATION, "")))
        if found is None:
            raise web.HTTPUnauthorized(text="the password is the token of a running job\n")
        return found

    def _place(self, guest: Guest, path: str) -> Path:
        """Where a path of the job's leads to here. Raises `HTTPForbidden`."""
        parts = PurePosixPath(path).parts
        if parts and ".." not in parts and not path.startswith("/"):
            run = RunFolders(self._root, guest.run)
            if parts[0] == "artifacts":
                return run.artifacts.joinpath(*parts[1:])
            if parts[0] == "job" and len(parts) > 1 and parts[1] in ("reports", "summary.md"):
                return run.job(guest.job).path.joinpath(*parts[1:])
            if parts[0] == "cache" and len(parts) > 2 and parts[1] == quote(guest.repository, safe=""):
                return self._root / "cache" / Path(*parts[1:])
        raise web.HTTPForbidden(text=f"{path!r} is not a job's to read or write\n")

    def _kept(self, guest: Guest, packed: Path) -> int:
        """Each file appears whole; an entry of a cache that is there stays."""
        count = 0
        with tarfile.open(packed) as tar:
            for member in tar:
                place = self._place(guest, member.name)
                if not member.isfile() or (member.name.startswith("cache/") and place.exists()):
                    continue
                place.parent.mkdir(parents=True, exist_ok=True)
                source = tar.extractfile(member)
                assert source is not None
                handle, new = tempfile.mkstemp(dir=place.parent, prefix=".new-")
                with os.fdopen(handle, "wb") as file:
                    while chunk := source.read(_CHUNK):
                        file.write(chunk)
                    os.fchmod(file.fileno(), member.mode & 0o777)
                Path(new).rename(place)
                count += 1
        return count


def _pack(handle: int, path: Path) -> None:
    with os.fdopen(handle, "wb") as raw, tarfile.open(fileobj=raw, mode="w") as tar:
        tar.add(path, arcname=path.name)
