"""Hooks, sidecars, and what a pod learns about the Services around it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from fairway.kube.objects import Obj, condition, status_of
from fairway.kube.resources import JOBS, PODS
from tests.node.machine import Machine, alive, machine, pod, shell
from tests.node.test_pods import SERVE, play

FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.02; done"


def test_a_container_is_ready_only_after_its_post_start_hook(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        gate = tmp_path / "gate"
        hook = {"postStart": {"exec": {"command": ["sh", "-c", f"until test -e {gate}; do sleep 0.02; done"]}}}
        await m.api.create(shell("hooked", FOREVER, lifecycle=hook))
        await m.phase("hooked", "Running")
        await asyncio.sleep(0.3)
        assert not status_of(await m.pod("hooked"))["containerStatuses"][0]["ready"]
        gate.touch()
        await m.ready("hooked")

    play(tmp_path, story)


def test_a_post_start_hook_that_fails_ends_the_container(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        hook = {"postStart": {"exec": {"command": ["sh", "-c", "echo no luck; exit 1"]}}}
        await m.api.create(shell("unlucky", FOREVER.replace("exit 0", "exit 5"), lifecycle=hook))
        found = await m.phase("unlucky", "Failed")
        terminated = status_of(found)["containerStatuses"][0]["state"]["terminated"]
        assert terminated["message"] == "PostStartHook failed: no luck"

    play(tmp_path, story)


def test_a_sidecar_starts_first_and_ends_last(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        trace = tmp_path / "trace"
        script = f"echo sidecar up >> {trace}; trap 'echo sidecar down >> {trace}; exit 0' TERM; while :; do sleep 0.02; done"
        sidecar = {"name": "proxy", "image": "host", "command": ["sh", "-c", script], "restartPolicy": "Always",
                   "startupProbe": {"exec": {"command": ["test", "-e", str(trace)]}, "periodSeconds": 1}}
        await m.api.create(shell("pair", f"echo main >> {trace}", {"initContainers": [sidecar]}))
        found = await m.phase("pair", "Succeeded")
        assert trace.read_text() == "sidecar up\nmain\nsidecar down\n"
        assert status_of(found)["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 0

    play(tmp_path, story)


def _service(name: str, address: str = "") -> Obj:
    spec: Obj = {"selector": {"app": name}, "ports": [{"name": "web", "port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
            "spec": {**spec, **({"clusterIP": address} if address else {})}}


def test_services_are_known_by_variable_and_by_name_in_urls(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        await m.api.create(_service("my-db", "127.0.0.77"))
        script = "echo $MY_DB_SERVICE_HOST $MY_DB_SERVICE_PORT_WEB $MY_DB_PORT $URL $DB_HOST"
        env = [{"name": "URL", "value": "http://my-db.default.svc:80/x"}, {"name": "DB_HOST", "value": "my-db"}]
        await m.api.create(shell("client", script, env=env))
        await m.phase("client", "Succeeded")
        assert await m.log("client") == "127.0.0.77 80 tcp://127.0.0.77:80 http://127.0.0.77:80/x 127.0.0.77\n"

    play(tmp_path, story)


def test_the_name_of_a_service_is_its_address(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        made = await m.api.create(_service("shop"))
        await m.api.create(shell("client", "echo $URL", env=[{"name": "URL", "value": "http://shop/"}]))
        await m.phase("client", "Succeeded")
        assert await m.log("client") == f"http://{made['spec']['clusterIP']}/\n"

    play(tmp_path, story)


def test_a_container_is_asked_to_stop_by_its_own_signal(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        trace = tmp_path / "trace"
        script = f"trap 'echo asked >> {trace}; exit 0' USR1; trap '' TERM; touch {trace}; while :; do sleep 0.02; done"
        ready = {"exec": {"command": ["test", "-e", str(trace)]}}
        system = {"os": {"name": "linux"}}  # which upstream asks for beside a signal
        await m.api.create(shell("own", script, system, lifecycle={"stopSignal": "SIGUSR1"}, readinessProbe=ready))
        await m.ready("own")
        await m.api.delete(PODS, "own", "default")
        await m.gone("own")
        assert trace.read_text() == "asked\n"

    play(tmp_path, story)


def test_http_hooks_and_tcp_probes(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        hook: dict[str, Any] = {"preStop": {"httpGet": {"port": "web", "path": "/leaving"}}}
        await m.api.create(pod("served", *SERVE, ports=[{"name": "web", "containerPort": 8000}], lifecycle=hook,
                               readinessProbe={"tcpSocket": {"port": "web"}, "periodSeconds": 1}))
        found = await m.ready("served")
        log = m.folder(found).log("main", 0)
        (attempt,) = m.folder(found).attempts()["main"]
        kept: list[str] = []

        async def follow() -> None:
            async for chunk in m.logs.read("default", "served", container="main", follow=True):
                kept.append(chunk.decode())

        following = asyncio.create_task(follow())
        _, writer = await asyncio.open_connection(status_of(found)["podIP"], 8000)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        await m.until(_true_when(kept), "the follower reads")
        await m.api.delete(PODS, "served", "default")
        await m.gone("served")
        await asyncio.wait([following], timeout=5)
        assert "GET /leaving" in "".join(kept), log
        assert not alive(attempt.pid)

    play(tmp_path, story)


def _true_when(kept: list[str]) -> Any:
    async def check() -> bool:
        return bool(kept)

    return check


def test_a_forced_delete_leaves_no_process(tmp_path: Path) -> None:
    from fairway.kube.api import DeleteOptions

    async def main() -> None:
        async with machine(tmp_path) as m:
            await m.api.create(shell("forced", "trap '' TERM; while :; do sleep 0.02; done"))
            found = await m.ready("forced")
            (attempt,) = m.folder(found).attempts()["main"]
            await m.api.delete(PODS, "forced", "default", DeleteOptions(grace_period_s=0))

            async def dead() -> bool:
                return not alive(attempt.pid)

            await m.until(dead, "the process is gone")

    asyncio.run(main())


def test_sidecars_end_one_by_one_the_last_one_first(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        trace = tmp_path / "trace"
        sidecars = [{"name": name, "image": "host", "restartPolicy": "Always", "command": [
            "sh", "-c", f"trap 'sleep 0.1; echo {name} >> {trace}; exit 0' TERM; while :; do sleep 0.02; done"]}
            for name in ("first", "second")]
        await m.api.create(shell("helped", "sleep 0.2", {"initContainers": sidecars}))
        await m.phase("helped", "Succeeded")
        assert trace.read_text() == "second\nfirst\n"

    play(tmp_path, story)


def test_a_job_past_its_deadline_whose_pod_never_got_its_image_leaves_nothing(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "nowhere.example/x:1"}]}}
        await m.api.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "late", "namespace": "default"},
                            "spec": {"activeDeadlineSeconds": 1, "template": template}})

        async def failed() -> bool:
            job = await m.api.get(JOBS, "late", "default")
            entry = condition(job, "Failed")
            pods = (await m.api.list(PODS, "default")).items
            return entry is not None and entry["reason"] == "DeadlineExceeded" and status_of(job)["failed"] == 1 and not pods

        await m.until(failed, "the Job has failed and its pod is gone")

    play(tmp_path, story, workloads=True)
