"""Starting a job's services, and ending them with the job."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fairway.ci.process import TRACKING, signal_group
from fairway.ci.services import containers
from fairway.ci.services.names import hosts_text, namespace_command, rewritten, with_hosts
from fairway.ci.services.programs import prepare_postgres, prepare_redis
from fairway.ci.services.wish import DEFAULT_PORTS, PortMap, ServiceError, ServiceWish, port_maps

READY_S = 60.0
_STOP_S = 5.0
_POLL_S = 0.02
Say = Callable[[str], None]


@dataclass
class Started:
    """`ports` gives, by service (its first name), the port on this machine of each container port."""

    address: str
    hosts: Path | None = None
    ports: dict[str, dict[str, str]] = field(default_factory=dict)
    places: dict[tuple[str, int], tuple[str, int]] = field(default_factory=dict)

    def rewritten(self, text: str) -> str:
        """A variable's value with the services' real addresses, where names alone do not lead there."""
        return rewritten(text, self.places) if self.places else text

    def wrapped(self, argv: Sequence[str]) -> list[str]:
        """A command of the job, so that it finds its services by name."""
        return with_hosts(argv, self.hosts) if self.hosts is not None else list(argv)


class RunServices(Protocol):
    """Who runs a job's services: `running_services` on this machine, `beside` in a pod."""

    def __call__(self, wishes: Sequence[ServiceWish], folder: Path, say: Say, tracking: str, *,
                 by_name: bool) -> AbstractAsyncContextManager[Started]: ...


@asynccontextmanager
async def running_services(wishes: Sequence[ServiceWish], folder: Path, say: Say, tracking: str, *,
                           by_name: bool) -> AsyncIterator[Started]:
    """`by_name`: the job reaches services by their names at their own ports (GitLab, jobs in containers); else by
    `localhost` at the ports that are mapped. Raises `ServiceError`."""
    folder.mkdir(parents=True, exist_ok=True)
    own = _address() if namespace_command() else "127.0.0.1"
    started = Started(own)
    names: dict[str, str] = {}
    async with contextlib.AsyncExitStack() as stack:
        for wish in wishes:
            address = _address() if by_name else own
            await _start(stack, started, wish, folder, address, say, tracking, by_name=by_name)
            names |= {name: address for name in wish.names if name}
        if namespace_command():
            started.hosts = folder / "hosts"
            started.hosts.write_text(hosts_text(names if by_name else {}, own))
            if by_name:
                started.places.clear()
        yield started


def _address() -> str:
    """A loopback address that is nobody else's: 127.128.0.0/9 has eight million."""
    bits = secrets.randbits(23)
    return f"127.{128 + (bits >> 16)}.{(bits >> 8) & 255}.{(bits & 255) or 1}"


async def _start(stack: contextlib.AsyncExitStack, started: Started, wish: ServiceWish, folder: Path, address: str, say: Say,
                 tracking: str, *, by_name: bool) -> None:
    name = wish.names[0]
    if wish.kind is None:
        await _start_container(stack, started, wish, address, say)
        return
    default = DEFAULT_PORTS[wish.kind]
    wanted = next((entry for entry in port_maps(wish, default if by_name else 0) if entry.container == default),
                  PortMap(default if by_name else 0, default))
    if by_name:
        wanted = PortMap(default, default)
    addresses = [address] if by_name or address == "127.0.0.1" else [address, "127.0.0.1"]
    port = wanted.host or _free_port(address)
    if not _is_free(address, port):
        port = _free_port(address)
    home = Path(tempfile.mkdtemp(prefix="fairway-service-"))  # short, and where another user may enter
    stack.callback(shutil.rmtree, home, ignore_errors=True)
    prepare = prepare_postgres if wish.kind == "postgres" else prepare_redis
    program, remark = await asyncio.to_thread(prepare, wish, home / "data", addresses, port)
    if remark:
        say(remark)
    log = folder / f"{name}.log"
    process = await _spawn(program.argv, program.env, program.user, log, tracking)
    stack.push_async_callback(_end, process)
    await _ready(process, log, program.ready, wish)
    say(f"service {name} ({wish.image}) answers at {address}:{port}")
    started.ports[name] = {str(default): str(port)}
    if by_name:
        started.places |= {(alias, default): (address, port) for alias in wish.names}
    elif port != wanted.host or address != "127.0.0.1":
        started.places |= {(host, wanted.host or default): (address, port) for host in ("localhost", "127.0.0.1")}


async def _spawn(argv: Sequence[str], env: Mapping[str, str], user: str, log: Path,
                 tracking: str) -> asyncio.subprocess.Process:
    with log.open("wb") as out:
        return await asyncio.create_subprocess_exec(
            *argv, env={**env, TRACKING: f"{tracking}..service"}, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True, cwd="/", user=user or None, extra_groups=[] if user else None)


async def _ready(process: asyncio.subprocess.Process, log: Path, mark: str, wish: ServiceWish) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + READY_S
    while mark not in (said := log.read_text(errors="replace")):
        if process.returncode is not None:
            raise ServiceError(f"service {wish.image} ended at once: {said.strip()[-500:]}")
        if loop.time() > deadline:
            raise ServiceError(f"service {wish.image} is not ready after {READY_S:g} s: {said.strip()[-500:]}")
        await asyncio.sleep(_POLL_S)


async def _end(process: asyncio.subprocess.Process) -> None:
    """A fast shutdown, and then none at all."""
    for sent in (signal.SIGINT, signal.SIGKILL):
        if process.returncode is not None:
            return
        signal_group(process.pid, sent)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                await process.wait()


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


# --- containers -----------------------------------------------------------------------------------------------------


async def _start_container(stack: contextlib.AsyncExitStack, started: Started, wish: ServiceWish, address: str,
                           say: Say) -> None:
    program = await asyncio.to_thread(containers.engine)
    if not program:
        raise ServiceError(f"service {wish.image}: only PostgreSQL and Redis run here without containers; have docker or "
                           "podman, start the server in a step, or leave the service out (an empty image)")
    name = f"fairway-{secrets.token_hex(6)}"
    argv = containers.run_command(program, wish, name, address)
    done = await asyncio.to_thread(subprocess.run, argv, env={**os.environ, **wish.env}, capture_output=True, text=True,
                                   check=False)
    if done.returncode != 0:
        raise ServiceError(f"service {wish.image}: {program} run failed: {done.stderr.strip()[-500:]}")
    stack.callback(subprocess.run, containers.stop_command(program, name), capture_output=True, check=False)
    await _healthy(program, name, wish)
    say(f"service {wish.names[0]} ({wish.image}) runs as container {name} at {address}")
    started.ports[wish.names[0]] = {str(entry.container): str(entry.host or entry.container) for entry in port_maps(wish)}
    for entry in port_maps(wish):
        started.places |= {(alias, entry.container): (address, entry.host or entry.container)
                           for alias in (*wish.names, "localhost", "127.0.0.1")}


async def _healthy(program: str, name: str, wish: ServiceWish) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + READY_S
    while loop.time() < deadline:
        done = await asyncio.to_thread(subprocess.run, containers.health_command(program, name), capture_output=True,
                                       text=True, check=False)
        if done.stdout.strip() in ("healthy", "none"):
            return
        await asyncio.sleep(0.5)
    raise ServiceError(f"service {wish.image} is not healthy after {READY_S:g} s")
