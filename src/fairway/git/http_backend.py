"""Smart HTTP under `/git/`: git's own `http-backend`, as CGI behind aiohttp.

A request's body is fed to the process while its answer is read, so that neither side is held in memory. The environment
of the process is built here and nowhere else: no system or user configuration reaches it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from aiohttp import hdrs, web

from fairway.git.repositories import BadName, Repositories
from fairway.kube.http.passwords import carries, password_in

log = logging.getLogger("fairway.git.http")

_CHUNK = 1 << 16
_LAST_WORDS_S = 10.0  # receive-pack has moved the refs when it closes its output; exiting takes milliseconds
_SERVICES = ("git-upload-pack", "git-receive-pack")
_CONFIG = (("safe.directory", "*"), ("http.receivepack", "true"), ("uploadpack.allowAnySHA1InWant", "true"))


@dataclass(frozen=True, slots=True)
class _Ask:
    """What a path below `/git/` asks of which repository."""

    name: str
    service: str
    advertise: bool

    @staticmethod
    def of(request: web.Request) -> _Ask | None:
        path = request.match_info["path"].strip("/")
        if request.method == "GET" and path.endswith("/info/refs"):
            name, service, advertise = path.removesuffix("/info/refs"), request.query.get("service", ""), True
        elif request.method == "POST":
            name, _, service = path.rpartition("/")
            advertise = False
        else:
            return None
        return _Ask(name.removesuffix(".git"), service, advertise) if service in _SERVICES else None


class Allows(Protocol):
    """Whether a password other than the platform's own opens a repository."""

    def __call__(self, token: str, repository: str, *, write: bool) -> bool: ...


def nobody(token: str, repository: str, *, write: bool) -> bool:
    return False


def routes(repositories: Repositories, *, token: str, on_push: Callable[[str], None],
           allows: Allows = nobody) -> list[web.RouteDef]:
    """Routes below `/git/`. Any user name with `token` as password may read and push, and whoever `allows` says;
    `on_push(name)` after a push."""
    backend = _Backend(repositories, token, on_push, allows)
    return [web.get("/git/{path:.+}", backend.answer), web.post("/git/{path:.+}", backend.answer)]


class _Backend:
    def __init__(self, repositories: Repositories, token: str, on_push: Callable[[str], None], allows: Allows) -> None:
        self._repositories = repositories
        self._allows = allows
        self._token = token
        self._on_push = on_push

    async def answer(self, request: web.Request) -> web.StreamResponse:
        given, ask = request.headers.get(hdrs.AUTHORIZATION, ""), _Ask.of(request)
        if not carries(given, self._token) and not (ask is not None and self._allows(
                password_in(given), ask.name, write=ask.service == "git-receive-pack")):
            return web.Response(status=401, text="the password is Fairway's token\n",
                                headers={hdrs.WWW_AUTHENTICATE: 'Basic realm="Fairway", charset="UTF-8"'})
        if ask is None:
            return web.Response(status=403, text="only git's smart protocol is spoken here\n")
        try:
            if ask.service == "git-receive-pack":
                self._repositories.create(ask.name)
            elif not self._repositories.exists(ask.name):
                return web.Response(status=404, text=f"no repository {ask.name!r}; push to it once and it is made\n")
        except BadName as error:
            return web.Response(status=400, text=f"{error}\n")
        return await self._run(request, ask)

    async def _run(self, request: web.Request, ask: _Ask) -> web.StreamResponse:
        before = self._repositories.open(ask.name).refs()
        process = await asyncio.create_subprocess_exec(
            "git", "http-backend", env=self._environment(request, ask), stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        feeding = asyncio.create_task(_feed(request, process))
        complaints = asyncio.create_task(_drain(process))
        try:
            response = await _head(process)
            try:
                await response.prepare(request)
                assert process.stdout is not None
                while chunk := await process.stdout.read(_CHUNK):
                    await response.write(chunk)
            finally:
                if ask.service == "git-receive-pack" and not ask.advertise:
                    await self._pushed(process, ask.name, before)
            if stderr := (await complaints).strip():
                log.warning("git http-backend for %s: %s", ask.name, stderr.decode(errors="replace")[-2000:])
            await response.write_eof()
        except ConnectionResetError:
            log.debug("%s: the client left before the end of the answer", ask.name)
            await _empty(process)
        finally:
            feeding.cancel()
            complaints.cancel()
            await _end(process)
        return response

    async def _pushed(self, process: asyncio.subprocess.Process, name: str, before: dict[str, str]) -> None:
        """Announce what a push moved, also to a client that did not stay for the answer.

        A large push starts with an empty one (git tries its password first): nothing moved.
        """
        with contextlib.suppress(TimeoutError):  # refs move before the process tidies up, which may take its time
            async with asyncio.timeout(_LAST_WORDS_S):
                await process.wait()
        if self._repositories.open(name).refs() != before:
            self._repositories.settle_head(name)
            self._on_push(name)

    def _environment(self, request: web.Request, ask: _Ask) -> dict[str, str]:
        """A CGI environment. No CONTENT_LENGTH: aiohttp has unpacked the body, and its end is the end of the input."""
        path = f"/{ask.name}.git/" + ("info/refs" if ask.advertise else ask.service)
        env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._repositories.root),
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_PROJECT_ROOT": str(self._repositories.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": str(len(_CONFIG)),
            "GATEWAY_INTERFACE": "CGI/1.1",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REQUEST_METHOD": request.method,
            "PATH_INFO": path,
            "QUERY_STRING": f"service={ask.service}" if ask.advertise else "",
            "CONTENT_TYPE": request.headers.get(hdrs.CONTENT_TYPE, ""),
            "REMOTE_USER": "fairway",
            "REMOTE_ADDR": request.remote or "127.0.0.1",
        }
        if protocol := request.headers.get("Git-Protocol"):
            env["GIT_PROTOCOL"] = protocol
        for n, (key, value) in enumerate(_CONFIG):
            env[f"GIT_CONFIG_KEY_{n}"], env[f"GIT_CONFIG_VALUE_{n}"] = key, value
        return env


async def _feed(request: web.Request, process: asyncio.subprocess.Process) -> None:
    """The request's body to the process. A process that ends early has said why on its output."""
    assert process.stdin is not None
    try:
        async for chunk in request.content.iter_chunked(_CHUNK):
            process.stdin.write(chunk)
            await process.stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        pass
    finally:
        process.stdin.close()


async def _drain(process: asyncio.subprocess.Process) -> bytes:
    assert process.stderr is not None
    return await process.stderr.read()


async def _empty(process: asyncio.subprocess.Process) -> None:
    """Read what nobody waits for any more: git's own children would wait at a full pipe for ever."""
    assert process.stdout is not None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LAST_WORDS_S):
            while await process.stdout.read(_CHUNK):
                pass


async def _end(process: asyncio.subprocess.Process) -> None:
    """A process that has answered ends by itself; one that is stuck is made to."""
    try:
        async with asyncio.timeout(_LAST_WORDS_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def _head(process: asyncio.subprocess.Process) -> web.StreamResponse:
    """The response that the CGI headers describe."""
    assert process.stdout is not None
    status, headers = 200, []
    while line := (await process.stdout.readline()).decode("latin-1").strip():
        name, _, value = line.partition(":")
        if name.lower() == "status":
            status = int(value.split()[0])
        else:
            headers.append((name, value.strip()))
    if not headers and status == 200:
        status = 500
    return web.StreamResponse(status=status, headers=headers)
