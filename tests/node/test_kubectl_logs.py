"""`kubectl logs`, the real one, over pods that really run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from fairway.kube.clock import WallClock
from fairway.kube.http.pki import ensure_pki, server_context, write_kubeconfig
from fairway.kube.http.server import KubeServer
from fairway.kube.objects import dig, status_of
from tests.kube_http.kubectl import needs_kubectl
from tests.node.machine import DEADLINE_S, Machine, machine, shell

pytestmark = needs_kubectl


class Kubectl:
    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment

    async def begin(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            "kubectl", *arguments, env=self._environment, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT)

    async def __call__(self, *arguments: str, code: int = 0) -> str:
        process = await self.begin(*arguments)
        async with asyncio.timeout(DEADLINE_S):
            said, _ = await process.communicate()
        assert process.returncode == code, said.decode()
        return said.decode()


@asynccontextmanager
async def _world(folder: Path) -> AsyncIterator[tuple[Machine, Kubectl]]:
    pki = ensure_pki(folder / "pki", datetime.now(UTC))
    async with machine(folder) as made:
        server = KubeServer(made.api, WallClock(), logs=made.logs, tls=server_context(pki), token=pki.token)
        await server.start("127.0.0.1", 0)
        config = folder / "kubeconfig"
        write_kubeconfig(config, server.url, pki.ca, pki.token)
        environment = {**os.environ, "KUBECONFIG": str(config), "HOME": str(folder), "KUBECTL_KUBERC": "false"}
        try:
            yield made, Kubectl(environment)
        finally:
            await server.stop()


def test_every_way_to_read_a_log(tmp_path: Path) -> None:
    async def main() -> None:
        async with _world(tmp_path) as (m, kubectl):
            helper = {"name": "helper", "image": "host", "command": ["sh", "-c", "echo from the helper; sleep 60"]}
            first = {"name": "first", "image": "host", "command": ["echo", "from the first"]}
            script = "mkfifo $HOME/go; for i in 1 2 3; do echo line $i; done; read go < $HOME/go; echo last; printf 'no end'"
            made = shell("p", script, {"initContainers": [first]})
            made["spec"]["containers"].append(helper)
            await m.api.create(made)
            found = await m.ready("p")

            async def told() -> bool:
                return "line 3" in await m.log("p") and await m.log("p", "helper") != ""

            await m.until(told, "both have spoken")
            assert await kubectl("logs", "p", "-c", "main") == "line 1\nline 2\nline 3\n"
            assert await kubectl("logs", "p", "-c", "first") == "from the first\n"
            assert await kubectl("logs", "p", "-c", "main", "--tail=1") == "line 3\n"
            assert await kubectl("logs", "p", "-c", "main", "--tail=0") == ""
            assert await kubectl("logs", "p", "-c", "main", "--limit-bytes=9") == "line 1\nli"
            assert await kubectl("logs", "p", "-c", "main", "--since=1h") == "line 1\nline 2\nline 3\n"
            assert await kubectl("logs", "p", "-c", "main", "--since-time=2099-01-01T00:00:00Z") == ""
            stamped = (await kubectl("logs", "p", "-c", "main", "--timestamps")).splitlines()
            times = [line.split(" ")[0] for line in stamped]
            assert [line.split(" ", 1)[1] for line in stamped] == ["line 1", "line 2", "line 3"]
            assert times == sorted(times) and all(len(time) == len("2026-01-01T00:00:00.000000000Z") for time in times)
            every = await kubectl("logs", "p", "--all-containers", "--prefix")
            assert sorted(every.splitlines()) == [
                "[pod/p/first] from the first", "[pod/p/helper] from the helper", "[pod/p/main] line 1", "[pod/p/main] line 2",
                "[pod/p/main] line 3"]
            assert "line 2" in await kubectl("logs", "-l", "app=p", "-c", "main")
            assert 'container nobody is not valid for pod p' in await kubectl("logs", "p", "-c", "nobody", code=1)
            assert 'previous terminated container "main" in pod "p" not found' in await kubectl("logs", "p", "-c", "main", "-p",
                                                                                              code=1)
            follower = await kubectl.begin("logs", "p", "-c", "main", "-f", "--tail=1")
            assert follower.stdout is not None
            async with asyncio.timeout(DEADLINE_S):
                assert await follower.stdout.readline() == b"line 3\n"
                await asyncio.to_thread((m.folder(found).home / "go").write_text, "\n")
                assert await follower.stdout.read() == b"last\nno end\n"

    asyncio.run(main())


def test_previous_is_the_last_run_that_ended(tmp_path: Path) -> None:
    """While the next start is waited for, that is the newest run; while it runs, the one before."""

    async def main() -> None:
        async with _world(tmp_path) as (m, kubectl):
            script = "echo x >> $HOME/runs; echo run $(wc -l < $HOME/runs); exit 1"
            await m.api.create(shell("crashes", script, {"restartPolicy": "Always"}))
            await m.waiting("crashes", "CrashLoopBackOff")
            assert await kubectl("logs", "crashes", "-p") == "run 2\n" == await kubectl("logs", "crashes")
            script = "test -e $HOME/again && { echo second; exec sleep 60; }; touch $HOME/again; echo first; exit 1"
            await m.api.create(shell("once", script, {"restartPolicy": "Always"}))

            async def again() -> bool:
                one = dig(status_of(await m.pod("once")), "containerStatuses", 0, default={})
                return one.get("restartCount") == 1 and "running" in one["state"]

            await m.until(again, "a restart")
            assert await kubectl("logs", "once", "-p") == "first\n"

    asyncio.run(main())
