"""A Deployment of real processes is updated while somebody asks it all the time."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fairway.kube.objects import Obj, dig, status_of
from fairway.kube.resources import DEPLOYMENTS, ENDPOINT_SLICES, JOBS
from tests.node.machine import Machine, machine

SERVER = """
import http.server, os, signal, sys, threading
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["VERSION"].encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
server = http.server.ThreadingHTTPServer((os.environ["POD_IP"], 8000), H)
signal.signal(signal.SIGTERM, lambda *a: threading.Thread(target=server.shutdown).start())
server.serve_forever()
"""


def _deployment(version: str) -> Obj:
    container = {"name": "main", "image": "host", "command": ["python3", "-c", SERVER],
                 "env": [{"name": "VERSION", "value": version}],
                 "lifecycle": {"preStop": {"exec": {"command": ["sleep", "0.2"]}}},
                 "readinessProbe": {"httpGet": {"port": 8000}, "periodSeconds": 1}}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}},
                 "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
                 "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}},
    }


async def _ready_addresses(m: Machine) -> list[str]:
    (one,) = (await m.api.list(ENDPOINT_SLICES, "default")).items
    return [endpoint["addresses"][0] for endpoint in one["endpoints"] if endpoint["conditions"]["ready"]]


async def _ask(address: str) -> str:
    reader, writer = await asyncio.open_connection(address, 8000)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer.rpartition(b"\r\n\r\n")[2].decode()


async def _rolled_out(m: Machine) -> bool:
    found = await m.api.get(DEPLOYMENTS, "web", "default")
    status = status_of(found)
    return (status.get("observedGeneration") == found["metadata"]["generation"]
            and status.get("updatedReplicas") == status.get("replicas") == status.get("availableReplicas") == 3)


def test_no_request_fails_while_a_deployment_is_updated(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        await m.api.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
                            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8000}]}})
        await m.api.create(_deployment("1"))
        await m.until(lambda: _rolled_out(m), "the first rollout")
        answers: list[str] = []
        fewest = 3

        async def load() -> None:
            nonlocal fewest
            while True:
                addresses = await _ready_addresses(m)
                fewest = min(fewest, len(addresses))
                answers.append(await _ask(addresses[len(answers) % len(addresses)]))
                await asyncio.sleep(0.005)

        asking = asyncio.create_task(load())
        await m.patch(DEPLOYMENTS, "web", {"spec": {"template": _deployment("2")["spec"]["template"]}})
        await m.until(lambda: _rolled_out(m), "the update")
        asking.cancel()
        assert not (asking.done() and not asking.cancelled() and asking.exception())
        assert set(answers) == {"1", "2"} and answers[0] == "1"
        assert fewest == 3
        assert {await _ask(address) for address in await _ready_addresses(m)} == {"2"}

    async def main() -> None:
        async with machine(tmp_path, workloads=True) as made:
            await story(made)

    asyncio.run(main())


def test_a_job_of_real_processes_completes(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        container = {"name": "main", "image": "host", "command": ["sh", "-c", "echo done"]}
        await m.api.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "task", "namespace": "default"},
                            "spec": {"completions": 3, "parallelism": 3, "template": {
                                "spec": {"restartPolicy": "Never", "containers": [container]}}}})

        async def complete() -> bool:
            found = await m.api.get(JOBS, "task", "default")
            return any(one["type"] == "Complete" for one in dig(found, "status", "conditions", default=[]))

        await m.until(complete, "the job")
        assert status_of(await m.api.get(JOBS, "task", "default"))["succeeded"] == 3

    async def main() -> None:
        async with machine(tmp_path, workloads=True) as made:
            await story(made)

    asyncio.run(main())
