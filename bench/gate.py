"""The native gate on real processes: a real proxy, one process per pod, requests from a process of its own.

The controllers are those of the platform, on an API in memory; only the node is simulated, and puts a real server behind every
pod. Counted at the client: how many requests met the bad version, and for how long. `virtual` is the same gate over a thousand
simulated rollouts at each rate, on all processors: the bound on false aborts is 1 %. All of it takes about eight minutes on two
quiet processors; what it has found so far is said on the way, and after `LONGEST_S` what is left is left out.

Run as a program it is one of the processes: `serve ADDRESS STATUS DELAY_MS SHARE`, or `load PORT RATE SECONDS`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

RATE, TRIES, RUNS, CHUNK = 200, 3, 1000, 50
POD_PORT = 8000
STEPS = ((0.05, 300.0), (0.2, 300.0), (0.5, 300.0), (0.8, 300.0))
LONGEST_S = 11 * 60.0
PATIENCE_S = 3.0
"""Of a client; then it counts as failed."""
CASES: dict[str, dict[str, Any]] = {
    "all failing": {"status": 500, "share": 1.0, "seconds": 8},
    "all slow": {"delay_ms": 800, "share": 1.0, "seconds": 9},
    "all hanging": {"delay_ms": 60_000, "share": 1.0, "seconds": 9},
    "5 % failing": {"status": 500, "share": 0.05, "seconds": 40},
}
"""For so many seconds requests are sent; the new version is applied after one, and has requests after three."""


def measure() -> dict[str, Any]:
    until = time.monotonic() + LONGEST_S
    real = {name: _tries(name, until, **case) for name, case in CASES.items()}
    return {"real": real, "virtual": _virtual(until)}


def _tries(name: str, until: float, *, seconds: int, **case: Any) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    for n in range(TRIES):
        if time.monotonic() > until:
            break
        found.append(asyncio.run(_stopped(seconds=seconds, **case)))
        _say(f"{name}, {n + 1} of {TRIES}: {found[-1]}")
    if not found:
        return {"tries": []}
    return {"rate": RATE, "weight": "5 %", "tries": found, "worst_bad": max(one["bad"] for one in found),
            "worst_s": max(one["seconds"] for one in found), "stopped": all(one["stopped"] for one in found)}


def _virtual(until: float) -> dict[str, Any]:
    """Rollouts of four steps, five minutes each, looked at every half second; an incident lasts two minutes and fails 5 %."""
    found: dict[str, Any] = {}
    five = _played(_five, RATE, until)
    found["5 % against 0.1 %"] = {"runs": len(five), "median_requests": statistics.median(five), "twice_wald": 62}
    _say(f"5 % against 0.1 %: {found['5 % against 0.1 %']}")
    for rate in (2, 20, 200):
        healthy, incident = _played(_healthy, rate, until), _played(_incident, rate, until)
        found[f"{rate} rps"] = {"runs": len(healthy), "false_aborts": _share(healthy), "runs_in_an_incident": len(incident),
                                "in_an_incident": _share(incident)}
        _say(f"{rate} requests a second: {found[f'{rate} rps']}")
    return found


def _played(play: Callable[[tuple[int, int]], list[Any]], rate: int, until: float) -> list[Any]:
    """In the order of the seeds, as many as there is time for; one part at least."""
    found: list[Any] = []
    with multiprocessing.get_context("fork").Pool(len(os.sched_getaffinity(0))) as pool:  # leaving it ends what still runs
        for part in pool.imap(play, [(rate, first) for first in range(0, RUNS, CHUNK)]):
            found += part
            if time.monotonic() > until:
                break
    return found


def _share(found: list[bool]) -> float:
    return sum(found) / len(found)


def _healthy(at: tuple[int, int]) -> list[bool]:
    from tests.rollouts.test_gate import play

    return [play(seed, at[0], 0.005, 0.005, steps=STEPS)[0] for seed in range(at[1], at[1] + CHUNK)]


def _incident(at: tuple[int, int]) -> list[bool]:
    from tests.rollouts.test_gate import play

    return [play(seed, at[0], 0.001, 0.001, steps=STEPS, incident=(400, 520, 0.05))[0] for seed in range(at[1], at[1] + CHUNK)]


def _five(at: tuple[int, int]) -> list[int]:
    from tests.rollouts.test_gate import play

    return [play(seed, at[0], 0.05, 0.001, steps=((0.05, 900),))[2] for seed in range(at[1], at[1] + CHUNK)]


def _say(what: str) -> None:
    print(f"  {what}", file=sys.stderr, flush=True)


async def _stopped(*, status: int = 200, delay_ms: int = 0, share: float, seconds: int) -> dict[str, Any]:
    """One rollout: stable serves, the new version is applied while requests come in, and the gate takes it away."""
    from tests.rollouts.world import NS

    from fairway.kube.api import MergePatch
    from fairway.kube.objects import status_of
    from fairway.kube.resources import ROLLOUTS

    async with _world(status, delay_ms, share) as (api, port):
        async def phase() -> str:
            return str(status_of(await api.get(ROLLOUTS, "shop", NS)).get("phase"))

        for _ in range(300):
            if await phase() == "Healthy":
                break
            await asyncio.sleep(0.1)
        load = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.gate", "load", str(port), str(RATE),
                                                    str(seconds), stdout=subprocess.PIPE)
        await asyncio.sleep(1.0)
        body = {"spec": {"template": {"spec": {"containers": [{"name": "shop", "image": "shop:2"}]}}}}
        await api.patch(ROLLOUTS, "shop", NS, MergePatch(body))
        out, _ = await load.communicate()
        answers = json.loads(out)
        bad = [at for at, code, took in answers if code >= 500 or took > delay_ms / 1000 * 0.9 > 0]
        return {"requests": len(answers), "bad": len(bad), "seconds": round(bad[-1] - bad[0], 2) if bad else 0.0,
                "stopped": bool(status_of(await api.get(ROLLOUTS, "shop", NS)).get("abort"))}


@asynccontextmanager
async def _world(status: int, delay_ms: int, share: float) -> AsyncIterator[tuple[Any, int]]:
    from tests.rehearse.files import STABLE_AND_LATEST, gate_template
    from tests.rollouts.world import NS, analysis, ingress, rollout, service

    from fairway.kube.cache import Informers
    from fairway.kube.clock import WallClock
    from fairway.kube.embedded import EmbeddedApi
    from fairway.kube.objects import Obj, dig, status_of
    from fairway.kube.reconcile import Controller, ControllerLoop
    from fairway.kube.resources import PODS
    from fairway.node.simulated import Script, SimulatedNode
    from fairway.rollouts.analysis_controller import AnalysisRunController
    from fairway.rollouts.controller import RolloutController
    from fairway.rollouts.gate_provider import GateProvider
    from fairway.served import DataPlaneCounts
    from fairway.traffic.controller import TrafficController
    from fairway.traffic.envoy import EnvoyDataPlane, find_binary
    from fairway.traffic.proxy import ProxyDataPlane
    from fairway.workloads.controllers import ReplicaSetController
    from fairway.workloads.endpoints import EndpointSliceController

    clock, binary, port = WallClock(), find_binary(), _free_port()
    api = EmbeddedApi.in_memory(clock)
    informers = Informers(api)
    with tempfile.TemporaryDirectory() as folder:
        plane = EnvoyDataPlane(Path(folder), binary) if binary is not None else ProxyDataPlane()
        traffic = TrafficController(informers, clock, plane, ingress_address="127.0.0.1", ingress_port=port)
        settings = {"slowerThan": "500ms"} if delay_ms else {}
        template = gate_template(**settings)
        template["metadata"]["namespace"] = NS
        steps = [{"setWeight": 5}, {"pause": {}}]
        for obj in (service("shop-stable"), service("shop-canary"), ingress(), template,
                    rollout(steps=steps, replicas=2, analysis=analysis("gate", args=STABLE_AND_LATEST))):
            await api.create(obj)
        servers: dict[str, subprocess.Popen[bytes]] = {}

        def pod_changed(old: Obj | None, new: Obj | None) -> None:
            address = str(status_of(new or {}).get("podIP") or "")
            if address and address not in servers:
                is_new = dig(new, "spec", "containers", 0, "image") == "shop:2"
                words = (str(status), str(delay_ms), str(share)) if is_new else ("200", "0", "0")
                servers[address] = subprocess.Popen([sys.executable, "-m", "bench.gate", "serve", address, *words])

        informers.of(PODS).on_change(pod_changed)
        controllers: list[Controller] = [
            RolloutController(informers, verify_weights=True), ReplicaSetController(informers, clock),
            EndpointSliceController(informers),
            AnalysisRunController(informers, clock, {"fairway": GateProvider(DataPlaneCounts(plane, clock), clock)})]
        await traffic.start()
        runs = [SimulatedNode(informers, clock, lambda pod: Script(start_s=0.1, ready_s=2.0)).run, traffic.run,
                *(ControllerLoop(controller, informers, clock).run for controller in controllers)]
        tasks = [asyncio.create_task(run()) for run in runs]  # type: ignore[arg-type]
        try:
            yield api, port
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await informers.close()
            await traffic.stop(workloads=True)
            for server in servers.values():
                server.kill()
                server.wait()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


# --- the processes ----------------------------------------------------------------------------------------------------


async def _serve(address: str, status: int, delay_s: float, share: float) -> None:
    """Answers 200, and for a share of the requests with `status` after `delay_s`."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                hit = random.random() < share
                if hit and delay_s:
                    await asyncio.sleep(delay_s)
                writer.write(f"HTTP/1.1 {status if hit else 200} x\r\ncontent-length: 0\r\n\r\n".encode())
                await writer.drain()

    server = await asyncio.start_server(answer, address, POD_PORT)
    await server.serve_forever()


async def _load(port: int, rate: int, seconds: int) -> list[tuple[float, int, float]]:
    """`rate` requests a second, each when its time has come: (when it was sent, the status, how long it took)."""
    answers: list[tuple[float, int, float]] = []

    async def one() -> None:
        begun, code = time.monotonic(), 599
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            async with asyncio.timeout(PATIENCE_S):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET / HTTP/1.1\r\nhost: shop.local\r\nconnection: close\r\n\r\n")
                line = await reader.readline()
                code = int(line.split()[1]) if line else 599
                writer.close()
        answers.append((begun, code, time.monotonic() - begun))

    start, tasks = time.monotonic(), []
    for i in range(rate * seconds):
        wait = start + i / rate - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(one()))
    await asyncio.gather(*tasks)
    return sorted(answers)


def main() -> None:
    match sys.argv[1:]:
        case ["serve", address, status, delay_ms, share]:
            asyncio.run(_serve(address, int(status), float(delay_ms) / 1000, float(share)))
        case ["load", port, rate, seconds]:
            print(json.dumps(asyncio.run(_load(int(port), int(rate), int(seconds)))))


if __name__ == "__main__":
    main()
