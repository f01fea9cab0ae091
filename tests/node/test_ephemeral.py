"""Containers that are added to a running pod to look into it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from fairway.kube.api import JsonPatch
from fairway.kube.objects import Obj, dig, is_true, status_of
from fairway.kube.resources import PODS
from fairway.node import decide as d
from fairway.node.attempt import Attempt
from fairway.node.exec import NodeExec
from fairway.node.spec import decode
from tests.node.machine import Machine, machine, shell
from tests.node.test_exec import said

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


async def added(world: Machine, name: str, script: str) -> None:
    """By the API's back door: what may change a pod, and how, is the API's business."""
    one = {"name": name, "image": "host", "command": ["sh", "-c", script]}
    present = dig(await world.pod("p"), "spec", "ephemeralContainers", default=[])
    patch = JsonPatch([{"op": "add", "path": "/spec/ephemeralContainers", "value": [*present, one]}])
    await world.api.patch(PODS, "p", "default", patch, subresource="ephemeralcontainers")


def test_an_ephemeral_container_runs_once_and_the_pod_does_not_mind(tmp_path: Path) -> None:
    async def main() -> None:
        async with machine(tmp_path) as world:
            await world.api.create(shell("p", "sleep 60", spec={"terminationGracePeriodSeconds": 0}))
            await world.ready("p")
            await added(world, "ends", "echo looked; exit 3")
            await added(world, "stays", "sleep 60")

            async def statuses() -> dict[str, Obj] | None:
                found = {one["name"]: one for one in status_of(await world.pod("p")).get("ephemeralContainerStatuses") or ()}
                return found if "running" in dig(found, "stays", "state", default={}) and "terminated" in dig(
                    found, "ends", "state", default={}) else None

            found = await world.until(statuses, "both ran")
            assert (found["ends"]["state"]["terminated"]["exitCode"], found["ends"]["restartCount"]) == (3, 0)
            assert await world.log("p", "ends") == "looked\n"
            pod = await world.pod("p")
            assert (status_of(pod)["phase"], is_true(pod, "Ready")) == ("Running", True)
            assert [one["name"] for one in status_of(pod)["containerStatuses"]] == ["main"]
            node = NodeExec(world.node.pod)
            session = await node.exec("default", "p", container="stays", command=["echo", "in"], stdin=False, tty=False)
            assert await said(session) == (0, b"in\n", b"")
            await world.api.delete(PODS, "p", "default")
            await world.gone("p")

    asyncio.run(main())


def test_a_pod_ends_although_somebody_still_looks() -> None:
    pod: Obj = {"metadata": {"name": "p", "uid": "u"}, "status": {"startTime": "2026-01-01T00:00:00Z"},
                "spec": {"restartPolicy": "Never", "nodeName": "fairway", "containers": [{"name": "main"}],
                         "ephemeralContainers": [{"name": "look"}]}}  # fmt: skip
    ended = Attempt(0, 1, "1", NOW, NOW, 0)
    runs = {"main": d.Run((ended,), "ready"), "look": d.Run((replace(ended, finished=None, code=None),), "ready")}
    assert d.ended(decode(pod), runs) == "Succeeded"
    assert d.decide(d.Seen(pod, "fairway", runs), NOW).actions == (d.EndShim(),)
