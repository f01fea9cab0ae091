"""Logs of runs over HTTP: `/logs/runs/NAME` is the log of a run, `?job=ID` of one job, `?follow=true` while it grows."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import hdrs, web

from fairway.ci.folders import RunFolders
from fairway.ci.joblog import END
from fairway.kube.http.passwords import carries

_POLL_S = 0.2  # a person reads along; a shorter one would cost more than it shows
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def jobs_of(root: Path, run: str) -> list[str]:
    """Jobs of the run that have a log, in the order in which they began."""
    folder = RunFolders(root, run).path / "jobs"
    logs = sorted(folder.glob("*/log.txt"), key=lambda path: (_began(path), path.parent.name)) if folder.is_dir() else []
    return [path.parent.name for path in logs]


def _began(path: Path) -> str:
    with path.open("rb") as file:
        return file.readline(40).decode(errors="replace")


async def read_log(path: Path, *, follow: bool = False) -> AsyncIterator[bytes]:
    """The log in pieces, without its end mark. With `follow` until the end mark is there; an empty piece says that nothing
    new was found, so that the caller can see whether anybody still reads."""
    mark = END.encode()
    rest = b""
    with path.open("rb") as file:
        while True:
            data = file.read(64 * 1024)
            if not data:
                if not follow:
                    break
                yield b""
                await asyncio.sleep(_POLL_S)
                continue
            *lines, rest = (rest + data).split(b"\n")
            ended = bool(lines) and lines[-1].endswith(b" " + mark)
            text = b"".join(line + b"\n" for line in lines if not line.endswith(b" " + mark))
            if text:
                yield text
            if ended:
                return
    if rest:
        yield rest + b"\n"


def routes(root: Path, *, token: str) -> list[web.RouteDef]:
    """`root` is the CI folder of the platform; only who has its token may read."""

    async def run_log(request: web.Request) -> web.StreamResponse:
        if not carries(request.headers.get(hdrs.AUTHORIZATION, ""), token):
            raise web.HTTPUnauthorized(text="the password is Fairway's token\n",
                                       headers={hdrs.WWW_AUTHENTICATE: 'Basic realm="Fairway", charset="UTF-8"'})
        name, wanted = request.match_info["name"], request.query.get("job", "")
        if not _NAME.fullmatch(name) or (wanted and not _NAME.fullmatch(wanted)):
            raise web.HTTPNotFound(text=f"no run {name!r}\n")
        jobs = [job for job in jobs_of(root, name) if not wanted or job == wanted]
        if not jobs:
            raise web.HTTPNotFound(text=f"run {name!r} has no log{f' of job {wanted!r}' if wanted else ''}\n")
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await response.prepare(request)
        for job in jobs:
            if not wanted:
                await response.write(f"=== {job}\n".encode())
            async for piece in read_log(RunFolders(root, name).job(job).log,
                                        follow=request.query.get("follow") == "true"):
                if piece:
                    await response.write(piece)
                elif request.transport is None or request.transport.is_closing():
                    return response
        await response.write_eof()
        return response

    return [web.get("/logs/runs/{name}", run_log)]
