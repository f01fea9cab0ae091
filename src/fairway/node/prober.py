"""Runs the probes and hooks of one run of a container, in the daemon.

A probe looks at once and then every `periodSeconds`. While a container has not passed its startup or readiness probe
yet, it is looked at more often in between: such an early look may find it ready sooner, and its failures do not count.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable

from fairway.node import grpc
from fairway.node.probes import Health, Tally, health, step
from fairway.node.spec import (
    Container,
    ExecHandler,
    GrpcHandler,
    Handler,
    HttpHandler,
    Probe,
    SleepHandler,
    TcpHandler,
    port_number,
)

FIRST_EARLY_LOOK_S, LAST_EARLY_LOOK_S = 0.05, 1.0
"""The pause between early looks grows by 30 %: about 14 looks in the first 5 seconds."""
_HEAD_LIMIT = 64 * 1024

Exec = Callable[[tuple[str, ...], float], Awaitable[tuple[int | None, str]]]
"""Runs a command in the container: (exit code, output), None where the time ran out."""


class Prober:
    """One run of one container. `changed()` is called when its `health` may have changed."""

    def __init__(self, container: Container, address: str, run: Exec, changed: Callable[[], None], *,
                 hook_done: bool) -> None:
        self._container, self._address, self._run, self._changed = container, address, run, changed
        self._tallies: dict[str, Tally] = {}
        self._hook_done = hook_done or container.post_start is None
        self.hook_failure = ""
        self._tasks = [asyncio.create_task(self._life(), name=f"probes {container.name}")]

    @property
    def health(self) -> Health:
        def entry(name: str, probe: Probe | None) -> tuple[Probe, Tally] | None:
            return (probe, self._tallies.get(name, Tally())) if probe is not None else None

        one = self._container
        return health(entry("startup", one.startup), entry("liveness", one.liveness), entry("readiness", one.readiness),
                      hook_done=self._hook_done)

    def assume_ready(self) -> None:
        """Adopted while it was ready: it stays so until a probe says otherwise."""
        one = self._container
        for name, probe in (("startup", one.startup), ("readiness", one.readiness)):
            if probe is not None:
                self._tallies[name] = Tally("passed", True, probe.success_threshold)

    def stop(self) -> None:
        """Ask nothing any more; the tasks end when the loop gets to them."""
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        self.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _life(self) -> None:
        one = self._container
        if not self._hook_done and one.post_start is not None:
            ok, message = await handle(one.post_start, one, self._address, self._run, 3600.0)
            self._hook_done = ok
            self.hook_failure = "" if ok else message
            self._changed()
            if not ok:
                return
        if one.startup is not None and self._tallies.get("startup", Tally()).verdict != "passed":
            await self._watch("startup", one.startup, until_passed=True)
        probes = [("readiness", one.readiness), ("liveness", one.liveness)]
        async with asyncio.TaskGroup() as tasks:
            for name, probe in probes:
                if probe is not None:
                    tasks.create_task(self._watch(name, probe))

    async def _watch(self, name: str, probe: Probe, *, until_passed: bool = False) -> None:
        await asyncio.sleep(probe.initial_delay_s)
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await self._look(name, probe, counts=True)
            due = max(due + probe.period_s, loop.time())
            early = FIRST_EARLY_LOOK_S if not isinstance(probe.handler, ExecHandler) else LAST_EARLY_LOOK_S
            while (left := due - loop.time()) > 0:
                verdict = self._tallies[name].verdict
                if until_passed and verdict != "unknown":
                    return
                eager = name != "liveness" and verdict != "passed" and left > early
                await asyncio.sleep(early if eager else left)
                if eager:
                    await self._look(name, probe, counts=False)
                    early = min(early * 1.3, LAST_EARLY_LOOK_S)

    async def _look(self, name: str, probe: Probe, *, counts: bool) -> None:
        before = self.health
        ok, message = await handle(probe.handler, self._container, self._address, self._run, probe.timeout_s)
        self._tallies[name] = step(self._tallies.get(name, Tally()), probe, ok, message, counts=counts)
        if self.health != before:
            self._changed()


async def handle(handler: Handler, container: Container, address: str, run: Exec, timeout_s: float
                 ) -> tuple[bool, str]:
    """Run a probe or hook once: whether it succeeded, and what it said where not."""
    try:
        async with asyncio.timeout(timeout_s + (1.0 if isinstance(handler, ExecHandler) else 0.0)):
            match handler:
                case ExecHandler(command):
                    code, output = await run(command, timeout_s)
                    if code is None:
                        return False, f"command timed out after {timeout_s:g}s"
                    return code == 0, output.strip()[:1024] or f"command exited with {code}"
                case HttpHandler():
                    return await _http(handler, container, address)
                case TcpHandler(port, host):
                    number = port_number(port, container)
                    _, writer = await asyncio.open_connection(host or address, number)
                    writer.close()
                    return True, ""
                case SleepHandler(seconds):
                    await asyncio.sleep(seconds)
                    return True, ""
                case GrpcHandler(port, service):
                    return await grpc.check(address, port, service)
    except TimeoutError:
        return False, f"no answer within {timeout_s:g}s"
    except asyncio.IncompleteReadError:
        return False, "the connection was closed without an answer"
    except (OSError, asyncio.LimitOverrunError, ValueError) as error:
        return False, str(error)


async def _http(handler: HttpHandler, container: Container, address: str) -> tuple[bool, str]:
    """Any status from 200 to 399 is success: a redirect is not followed, its answer says that somebody is there."""
    number, host = port_number(handler.port, container), handler.host or address
    if number is None:
        return False, f"the container has no port named {handler.port}"
    context: ssl.SSLContext | None = None
    if handler.scheme.upper() == "HTTPS":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(host, number, ssl=context, limit=_HEAD_LIMIT)
    try:
        headers = {"Host": f"{host}:{number}", "User-Agent": "kube-probe/1.35", "Accept": "*/*", "Connection": "close"}
        headers.update(dict(handler.headers))
        lines = [f"GET {handler.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        status = (await reader.readuntil(b"\n")).decode("latin-1").split()
        code = int(status[1]) if len(status) > 1 and status[0].startswith("HTTP/") else 0
        return 200 <= code < 400, f"HTTP probe failed with statuscode: {code}"
    finally:
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(0.2):
                await writer.wait_closed()
