"""A node with real processes over an API in memory, and what stories about it need."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from fairway.kube.api import MergePatch
from fairway.kube.cache import Informers
from fairway.kube.clock import WallClock
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.errors import NotFound
from fairway.kube.objects import Obj, dig, is_true, status_of
from fairway.kube.reconcile import ControllerLoop
from fairway.kube.resources import PODS, Resource
from fairway.node.controller import NodeController
from fairway.node.folder import PodFolder
from fairway.node.images import ImageSource
from fairway.node.logs import ShimLogs
from fairway.node.settings import NodeSettings
from fairway.node.tokens import AccountTokens
from fairway.workloads.controllers import workload_controllers
from tests.node.no_images import NoImages

DEADLINE_S = 10.0
ISOLATION: Literal["auto", "paths"] = "auto" if os.environ.get("FAIRWAY_TEST_ISOLATION") == "auto" else "paths"


class Machine:
    def __init__(self, api: EmbeddedApi, informers: Informers, node: NodeController, settings: NodeSettings) -> None:
        self.api, self.informers, self.node, self.settings = api, informers, node, settings
        self.logs = ShimLogs(informers, WallClock(), settings.pods)

    async def pod(self, name: str) -> Obj:
        return await self.api.get(PODS, name, "default")

    async def until(self, holds: Callable[[], Awaitable[Any]], what: str = "it") -> Any:
        """The first true answer of `holds`."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not (answer := await holds()):  # noqa: ASYNC110 (the API is asked, as a client would)
                    await asyncio.sleep(0.01)
                return answer
        except TimeoutError:
            pods = [(pod["metadata"]["name"], status_of(pod)) for pod in (await self.api.list(PODS)).items]
            raise AssertionError(f"{what} did not happen; pods: {pods}") from None

    async def ready(self, name: str) -> Obj:
        async def check() -> Obj | None:
            pod = await self.pod(name)
            return pod if is_true(pod, "Ready") else None

        found: Obj = await self.until(check, f"pod {name} ready")
        return found

    async def phase(self, name: str, *wanted: str) -> Obj:
        async def check() -> Obj | None:
            pod = await self.pod(name)
            return pod if status_of(pod).get("phase") in wanted else None

        found: Obj = await self.until(check, f"pod {name} {wanted}")
        return found

    async def waiting(self, name: str, reason: str) -> Obj:
        """The container status whose waiting reason is `reason`."""

        async def check() -> Obj | None:
            status = status_of(await self.pod(name))
            for one in [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]:
                if dig(one, "state", "waiting", "reason") == reason:
                    found: Obj = one
                    return found
            return None

        found: Obj = await self.until(check, f"pod {name} waiting for {reason}")
        return found

    async def gone(self, name: str, resource: Resource = PODS) -> None:
        async def check() -> bool:
            try:
                await self.api.get(resource, name, "default")
            except NotFound:
                return True
            return False

        await self.until(check, f"{name} gone")

    async def log(self, name: str, container: str = "main", **options: Any) -> str:
        chunks = [chunk async for chunk in self.logs.read("default", name, container=container, **options)]
        return b"".join(chunks).decode()

    def folder(self, pod: Obj) -> PodFolder:
        return PodFolder(self.settings.pods / pod["metadata"]["uid"])

    async def patch(self, resource: Resource, name: str, body: Obj) -> None:
        await self.api.patch(resource, name, "default", MergePatch(body))


@asynccontextmanager
async def machine(folder: Path, images: ImageSource | None = None, *, workloads: bool = False,
                  api: EmbeddedApi | None = None, leave: bool = False, isolation: Literal["auto", "paths"] = ISOLATION,
                  tokens: AccountTokens | None = None) -> AsyncIterator[Machine]:
    """Everything stops at the end: no process may be left. With `leave` the pods run on, as after a kill."""
    clock = WallClock()
    api = api or EmbeddedApi.in_memory(clock)
    informers = Informers(api)
    settings = NodeSettings(folder / "node", isolation=isolation)
    node = NodeController(informers, clock, settings, images or NoImages(), tokens)
    loops = [ControllerLoop(one, informers, clock) for one in workload_controllers(informers, clock)]
    tasks = [asyncio.create_task(loop.run()) for loop in (loops if workloads else [])]
    tasks.append(asyncio.create_task(node.run()))
    try:
        yield Machine(api, informers, node, settings)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await informers.close()
        if not leave:
            await node.stop_all(0.0)


def pod(name: str, *command: str, spec: Obj | None = None, **container: Any) -> Obj:
    main = {"name": "main", "image": "host", "command": list(command), **container}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default",
            "labels": {"app": name}}, "spec": {"containers": [main], "restartPolicy": "Never", **(spec or {})}}


def shell(name: str, script: str, spec: Obj | None = None, **container: Any) -> Obj:
    return pod(name, "sh", "-c", script, spec=spec, **container)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
