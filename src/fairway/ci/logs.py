"""Logs of runs over HTTP: `/logs/runs/NAME` is the log of a run, `?job=ID` of one job, `?follow=true` while it grows.

Of a whole run, a line `=== JOB` says whose lines follow.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import hdrs, web

from fairway.ci.folders import RunFolders
from fairway.ci.joblog import END, MAX_BYTES
from fairway.kube.http.passwords import carries

_POLL_S = 0.2  # a person reads along; a shorter one would cost more than it shows
_PIECE = 64 * 1024
_MARK = f" {END}\n".encode()


@dataclass(frozen=True, slots=True)
class Standing:
    """How a run stands. `waits` says, by job, what a job waits for that waits for a person."""

    over: bool
    waits: Mapping[str, str]


StandingOf = Callable[[str], Standing | None]
"""None where there is no run of that name."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def jobs_of(root: Path, run: str) -> list[str]:
    """Jobs of the run that have a log, in the order in which they began."""
    folder = RunFolders(root, run).path / "jobs"
    logs = sorted(folder.glob("*/log.txt"), key=lambda path: (_began(path), path.parent.name)) if folder.is_dir() else []
    return [path.parent.name for path in logs]


def _began(path: Path) -> str:
    with path.open("rb") as file:
        return file.readline(40).decode(errors="replace")


@dataclass
class _Tail:
    """What of one log has been read."""

    path: Path
    at: int = 0

    def lines(self) -> bytes:
        """Whole lines that came since, without the end mark; nothing where nobody has written."""
        with self.path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < self.at:
                self.at = 0  # another attempt began the log anew
            file.seek(self.at)
            data = file.read(_PIECE)
            if len(data) == _PIECE and b"\n" not in data:
                data += file.read(MAX_BYTES)
        whole = data[: data.rfind(b"\n") + 1]
        self.at += len(whole)
        return b"".join(line for line in whole.splitlines(keepends=True) if not line.endswith(_MARK))


async def read_logs(root: Path, run: str, wanted: str, standing_of: StandingOf, *,
                    follow: bool) -> AsyncIterator[tuple[str, bytes]]:
    """Pieces of the logs of a run's jobs, each with its job, and of those that begin meanwhile. Without `follow` one job
    after the other; with it until the run is over. An empty piece says that nothing new was found, so that the caller can
    see whether anybody still reads."""
    tails: dict[str, _Tail] = {}
    told: set[str] = set()
    while True:
        standing = standing_of(run) or Standing(True, {})  # asked before reading: what was written until then is read
        for job in jobs_of(root, run):
            if not wanted or job == wanted:
                tails.setdefault(job, _Tail(RunFolders(root, run).job(job).log))
        quiet = True
        for job, tail in tails.items():
            while piece := tail.lines():
                quiet = False
                yield job, piece
                if follow:
                    break  # the others have something to say too
        if not quiet:
            continue
        if standing.over or not follow:
            return
        for job, why in standing.waits.items():
            if job not in told and (not wanted or job == wanted):
                told.add(job)
                yield job, f"- ##[notice]{why}; answer it: fairway approve {run}\n".encode()
        yield "", b""
        await asyncio.sleep(_POLL_S)


def routes(root: Path, *, token: str, standing_of: StandingOf) -> list[web.RouteDef]:
    """`root` is the CI folder of the platform; only who has its token may read."""

    async def run_log(request: web.Request) -> web.StreamResponse:
        if not carries(request.headers.get(hdrs.AUTHORIZATION, ""), token):
            raise web.HTTPUnauthorized(text="the password is Fairway's token\n",
                                       headers={hdrs.WWW_AUTHENTICATE: 'Basic realm="Fairway", charset="UTF-8"'})
        name, wanted = request.match_info["name"], request.query.get("job", "")
        if not _NAME.fullmatch(name) or (wanted and not _NAME.fullmatch(wanted)):
            raise web.HTTPNotFound(text=f"no run {name!r}\n")
        follow = request.query.get("follow") == "true" and standing_of(name) is not None
        if not follow and not any(not wanted or job == wanted for job in jobs_of(root, name)):
            raise web.HTTPNotFound(text=f"run {name!r} has no log{f' of job {wanted!r}' if wanted else ''}\n")
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await response.prepare(request)
        speaker = ""
        async for job, piece in read_logs(root, name, wanted, standing_of, follow=follow):
            if piece:
                await response.write(piece if wanted or job == speaker else f"=== {job}\n".encode() + piece)
                speaker = job
            elif request.transport is None or request.transport.is_closing():
                return response
        await response.write_eof()
        return response

    return [web.get("/logs/runs/{name}", run_log)]
