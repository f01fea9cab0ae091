"""After the decision to stop: how long does a bad version go on answering users?

A whole platform with real pods behind its proxy, and 200 requests a second from a process of its own, each on a new
connection. The clock starts when the abort is asked for, or, where an analysis decides, when its AnalysisRun (for a Canary: its
phase) is seen to have failed; it ends with the last request that the bad version answered. Goal: 1 s where stable carries all.
With `dynamicStableScale` stable is small by design: what it can carry moves at once, the rest as its pods come up.

Run as a program it is the load: `load PORT RATE HOST`, until it is terminated.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fairway.cli.client import Client
from fairway.cli.platform_process import start_platform, stop_platform
from fairway.kube.objects import Obj, status_of
from fairway.kube.resources import (
    ANALYSIS_RUNS,
    ANALYSIS_TEMPLATES,
    CANARIES,
    DEPLOYMENTS,
    INGRESSES,
    NAMESPACES,
    ROLLOUTS,
    SERVICES,
    Resource,
)
from fairway.state import StateDir

RATE, REPLICAS, NS, HOST = 200, 4, "exposure", "exposure.example.com"
SERVER = """
import asyncio, os
async def answer(reader, writer):
    try:
        await reader.readuntil(b"\\r\\n\\r\\n")
        body = os.environ["VERSION"].encode()
        writer.write(b"HTTP/1.1 200 OK\\r\\nconnection: close\\r\\ncontent-length: %d\\r\\n\\r\\n%s" % (len(body), body))
        await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    writer.close()
async def main():
    await (await asyncio.start_server(answer, os.environ["POD_IP"], 8000)).serve_forever()
asyncio.run(main())
"""
Begin = Callable[[Client], None]
Decided = Callable[[Client], float]


def measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="fairway-exposure-") as folder:
        state = StateDir(Path(folder) / "state")
        addresses = start_platform(state)
        try:
            client = Client.of(state)
            return {name: _one(client, addresses.ingress_port, *case) for name, case in _cases().items()}
        finally:
            stop_platform(state)


def _cases() -> dict[str, tuple[list[tuple[Resource, Obj]], Begin, Decided]]:
    """What is there, how the bad version comes to serve half of the requests or all, and what decides against it."""
    cases: dict[str, tuple[list[tuple[Resource, Obj]], Begin, Decided]] = {}
    routed = {"stableService": "stable", "canaryService": "canary", "trafficRouting": {"nginx": {"stableIngress": "web"}}}
    for weight in (50, 80):
        for dynamic in (False, True):
            steps = [{"setWeight": weight}, {"pause": {}}]
            strategy = {"canary": {**routed, "steps": steps, "dynamicStableScale": dynamic}}
            name = f"canary at {weight} %" + (", dynamicStableScale" if dynamic else "") + ", aborted by hand"
            cases[name] = (_rollout(strategy), _paused, _abort)
    judged = {"canary": {**routed, "steps": [{"setWeight": 50}, {"analysis": {"templates": [{"templateName": "no"}]}}]}}
    cases["canary at 50 %, failed analysis"] = (_rollout(judged), _nothing, _failed_run)
    green = {"blueGreen": {"activeService": "stable", "previewService": "canary",
                           "postPromotionAnalysis": {"templates": [{"templateName": "no"}]}}}
    cases["blue-green, failed analysis after the switch"] = (_rollout(green), _nothing, _failed_run)
    cases["Flagger at 50 %, failed checks"] = (_canary(), _nothing, _failed_canary)
    return cases


def _one(client: Client, port: int, objects: list[tuple[Resource, Obj]], begin: Begin, decided: Decided) -> dict[str, Any]:
    client.apply(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}})
    for resource, obj in objects:
        client.apply(resource, obj)
    workload, first = objects[-1] if objects[-1][0] == ROLLOUTS else objects[-2]
    _until(lambda: _answer(port) == "good", "the good version serves")
    _until(lambda: _is_calm(client, workload), "the first version is healthy")
    with _load(port) as stop:
        client.apply(workload, _version(first, "bad"))
        begin(client)
        at = decided(client)
        _until(lambda: _seen_good(port), "the good version serves alone", patience=60.0)
        time.sleep(1.0)
        answers = stop()
    client.delete(NAMESPACES, NS)
    _until(lambda: client.find(NAMESPACES, NS) is None, "the namespace is gone")
    bad = [one for one in answers if one[2] == "bad"]
    after = [one for one in bad if one[0] > at]
    span = lambda moments: round(max((0.0, *(m - at for m in moments))), 3)  # noqa: E731
    within = [one for one in after if one[0] <= at + 1.0]
    return {"requests": len(answers), "bad_before": len(bad) - len(after), "bad_after": len(after),
            "last_sent_s": span([one[0] for one in after]), "last_answered_s": span([one[1] for one in bad]),
            "bad_in_the_first_second": len(within), "lost": sum(one[2] == "" for one in answers)}


# --- what is there ------------------------------------------------------------------------------------------------------


def _named(api: str, kind: str, name: str, **rest: Any) -> Obj:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": NS}, **rest}


def _template() -> Obj:
    container = {
        "name": "web", "image": "host", "command": [sys.executable, "-c", SERVER],
        "env": [{"name": "VERSION", "value": "good"}],
        "ports": [{"name": "http", "containerPort": 8000}],
        "readinessProbe": {"tcpSocket": {"port": 8000}, "periodSeconds": 1},
    }  # fmt: skip
    return {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 3}}


def _version(workload: Obj, version: str) -> Obj:
    changed: Obj = json.loads(json.dumps(workload))
    changed["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "VERSION", "value": version}]
    return changed


def _front(*services: str, backend: str) -> list[tuple[Resource, Obj]]:
    found: list[tuple[Resource, Obj]] = [(SERVICES, _named("v1", "Service", name, spec={
        "selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8000}]})) for name in services]
    paths = [{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": backend, "port": {"number": 80}}}}]
    found.append((INGRESSES, _named("networking.k8s.io/v1", "Ingress", "web", spec={
        "ingressClassName": "nginx", "rules": [{"host": HOST, "http": {"paths": paths}}]})))
    return found


def _rollout(strategy: Obj) -> list[tuple[Resource, Obj]]:
    refused = {"name": "no", "initialDelay": "3s", "count": 1, "successCondition": "result > 1",
               "provider": {"prometheus": {"query": "scalar(vector(0))"}}}
    return [
        *_front("stable", "canary", backend="stable"),
        (ANALYSIS_TEMPLATES, _named("argoproj.io/v1alpha1", "AnalysisTemplate", "no", spec={"metrics": [refused]})),
        (ROLLOUTS, _named("argoproj.io/v1alpha1", "Rollout", "web", spec={
            "replicas": REPLICAS, "selector": {"matchLabels": {"app": "web"}}, "strategy": strategy, "template": _template()})),
    ]  # fmt: skip


def _canary() -> list[tuple[Resource, Obj]]:
    metric = {"name": "no", "query": "vector(1)", "thresholdRange": {"max": 0}, "interval": "1m"}
    return [
        *_front(backend="web"),
        (DEPLOYMENTS, _named("apps/v1", "Deployment", "web", spec={
            "replicas": REPLICAS, "selector": {"matchLabels": {"app": "web"}}, "template": _template()})),
        (CANARIES, _named("flagger.app/v1beta1", "Canary", "web", spec={
            "provider": "nginx", "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "ingressRef": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "web"},
            "service": {"port": 80, "targetPort": 8000},
            "analysis": {"interval": "10s", "threshold": 1, "stepWeight": 50, "maxWeight": 50, "metrics": [metric]}})),
    ]  # fmt: skip


# --- what happens -------------------------------------------------------------------------------------------------------


def _is_calm(client: Client, workload: Resource) -> bool:
    if workload == ROLLOUTS:
        return status_of(client.get(ROLLOUTS, "web", NS)).get("phase") == "Healthy"
    return status_of(client.get(CANARIES, "web", NS)).get("phase") == "Initialized"


def _paused(client: Client) -> None:
    """Until the weight is in force and the step's pause has begun; then a second of it."""
    _until(lambda: status_of(client.get(ROLLOUTS, "web", NS)).get("pauseConditions"), "it pauses")
    time.sleep(3.0)


def _nothing(client: Client) -> None: ...


def _abort(client: Client) -> float:
    at = time.time()
    client.patch(ROLLOUTS, "web", NS, {"status": {"abort": True}}, subresource="status")
    return at


def _failed_run(client: Client) -> float:
    return _when(client, ANALYSIS_RUNS, lambda run: status_of(run).get("phase") == "Failed")


def _failed_canary(client: Client) -> float:
    return _when(client, CANARIES, lambda canary: status_of(canary).get("phase") == "Failed")


def _when(client: Client, resource: Resource, ready: Callable[[Obj], bool]) -> float:
    """The moment at which the first such object is told by a watch; what was so before does not count."""
    found: list[float] = []

    def follow() -> None:
        for _, obj in client.watch(resource, NS):
            if ready(obj):
                found.append(time.time())
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    thread.join(timeout=120)
    if not found:
        raise RuntimeError(f"no {resource.kind} was seen to fail within 120 s")
    return found[0]


def _until(ready: Callable[[], Any], what: str, *, patience: float = 90.0) -> None:
    end = time.monotonic() + patience
    while not ready():
        if time.monotonic() > end:
            raise RuntimeError(f"not within {patience:.0f} s: {what}")
        time.sleep(0.05)


# --- requests -----------------------------------------------------------------------------------------------------------


def _answer(port: int) -> str:
    return asyncio.run(_asked(port))[2]


def _seen_good(port: int) -> bool:
    """Fifty requests in a row."""
    return all(_answer(port) == "good" for _ in range(50))


async def _asked(port: int) -> tuple[float, float, str]:
    """(sent, answered, the version that answered; "" where nobody did)."""
    sent, version = time.time(), ""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET / HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n".encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            version = body.decode() if head.startswith(b"HTTP/1.1 200") else ""
            writer.close()
    return sent, time.time(), version


@contextmanager
def _load(port: int) -> Iterator[Callable[[], list[tuple[float, float, str]]]]:
    """Yields a function that ends the load and gives its answers."""
    with tempfile.TemporaryFile() as record:
        process = subprocess.Popen([sys.executable, "-m", "bench.exposure", "load", str(port), str(RATE)], stdout=record)

        def stop() -> list[tuple[float, float, str]]:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=20)
            record.seek(0)
            return [tuple(one) for one in json.loads(record.read())]  # type: ignore[misc]

        try:
            yield stop
        finally:
            process.kill()
            process.wait()


async def _send(port: int, rate: int) -> list[tuple[float, float, str]]:
    """`rate` requests a second, each when its time has come, until SIGTERM."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    start, tasks = time.monotonic(), list[asyncio.Task[tuple[float, float, str]]]()
    while not stopped.is_set():
        tasks.append(asyncio.create_task(_asked(port)))
        wait = start + len(tasks) / rate - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
    return await asyncio.gather(*tasks)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_send(int(sys.argv[2]), int(sys.argv[3])))))
