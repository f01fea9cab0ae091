"""Old runs make room, and their numbers do not come back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from fairway.ci.retention import KEPT, is_outdated, number_of, older_ones
from fairway.kube.api import MergePatch
from fairway.kube.objects import Obj
from fairway.kube.resources import PIPELINE_RUNS
from tests.ci.world import World

CI = ".github/workflows/ci.yml"


def run(place: int, phase: str = "Succeeded", number: int = 0, workflow: str = CI) -> Obj:
    status: dict[str, Any] = {"phase": phase, **({"number": number} if number else {})}
    return {"metadata": {"name": f"r{place:04}", "creationTimestamp": f"2030-01-01T{place // 60:02}:{place % 60:02}:00Z"},
            "spec": {"repository": "shop/app", "workflow": workflow}, "status": status}


def test_runs_are_counted_on_from_the_last_one_that_has_a_number() -> None:
    fresh = run(9, "Pending")
    assert number_of(fresh, ()) == 1
    assert number_of(fresh, [run(1, number=41), run(2), run(3)]) == 44
    assert number_of(run(9, number=7), [run(1, number=41)]) == 7
    assert [one["metadata"]["name"] for one in older_ones(fresh, [run(10), run(8), run(2), run(3, workflow="other")])] == [
        "r0002", "r0008"]


def test_the_oldest_finished_run_goes_when_enough_younger_ones_are_finished() -> None:
    runs = [run(n) for n in range(KEPT + 1)]
    assert is_outdated(runs[0], runs) and not is_outdated(runs[1], runs)
    runs[5]["status"]["phase"] = "Running"
    assert not is_outdated(runs[0], runs)
    runs[5]["status"]["phase"] = "Failed"
    runs[0]["status"]["images"] = [{"name": "shop/app", "digest": "sha256:1"}]
    assert not is_outdated(runs[0], runs), "the others made no image"
    assert not is_outdated(runs[0], [run(n, workflow="other") for n in range(KEPT + 1)])


def test_logs_of_a_deleted_run_go_with_it_and_the_next_run_counts_on(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.push("shop/app", {CI: "on: push\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: 'echo n=$GITHUB_RUN_NUMBER'}]}}"})

    async def main() -> None:
        await world.declare("shop/app")
        async with world.running() as daemon:
            [first] = await daemon.finished()
            name = first["metadata"]["name"]
            assert first["status"]["number"] == 1
            await world.api.patch(PIPELINE_RUNS, name, "fairway", MergePatch({"status": {"number": 41}}), subresource="status")
            world.push("shop/app", {"b": "2"})
            daemon.pushed("shop/app")
            runs = await daemon.finished(2)
            assert sorted(one["status"]["number"] for one in runs) == [41, 42]
            folder = tmp_path / "ci" / "runs" / name
            assert folder.is_dir()
            await world.api.delete(PIPELINE_RUNS, name, "fairway")
            async with asyncio.timeout(20):
                while folder.exists():  # noqa: ASYNC110 (a folder tells nobody)
                    await asyncio.sleep(0.01)

    asyncio.run(main())
