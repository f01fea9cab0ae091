"""Old runs make room, and their numbers do not come back."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fairway.ci.cache_room import Entry, without_room
from fairway.ci.retention import KEPT, LOOK_AGAIN, Expiry, expired_artifacts, is_outdated, number_of, older_ones
from fairway.kube.api import MergePatch
from fairway.kube.objects import Key, Obj, parse_time, rfc3339
from fairway.kube.resources import PIPELINE_RUNS
from tests.ci.world import World

CI = ".github/workflows/ci.yml"
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


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


def kept(place: int, *hours: int | None, phase: str = "Succeeded", workflow: str = ".gitlab-ci.yml", ref: str = "main") -> Obj:
    """A run with artifacts that expire after these hours (None: never)."""
    made = run(place, phase, workflow=workflow)
    made["spec"]["ref"] = ref
    made["status"]["artifacts"] = [
        {"name": str(n), **({"expiresAt": rfc3339(NOON + timedelta(hours=hour))} if hour is not None else {})}
        for n, hour in enumerate(hours)]
    return made


def test_artifacts_go_after_their_time_but_not_those_of_the_last_good_pipeline_of_a_branch() -> None:
    old, new = kept(1, -1, 5, None), kept(2, -1, None)
    failed, other = kept(3, -2, phase="Failed"), kept(4, 1, ref="topic")
    runs = [old, new, failed, other]
    assert expired_artifacts(old, runs, NOON) == Expiry(("0",), NOON + timedelta(hours=5))
    assert expired_artifacts(new, runs, NOON) == Expiry((), NOON + LOOK_AGAIN), "spared; looked at again"
    assert expired_artifacts(failed, runs, NOON) == Expiry(("0",))
    assert expired_artifacts(other, runs, NOON) == Expiry((), NOON + timedelta(hours=1))
    github = kept(5, -1, workflow=CI)
    assert expired_artifacts(github, [github], NOON) == Expiry(("0",)), "GitHub spares none"
    github["status"]["artifacts"][0]["expired"] = True
    assert expired_artifacts(github, [github], NOON) == Expiry()


def test_an_artifact_with_a_time_goes_and_the_run_says_so(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.push("shop/app", {".gitlab-ci.yml": """
make:
  script: [echo one > out.txt]
  artifacts: {paths: [out.txt], expire_in: 1 second}
""", CI: """
on: push
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - run: echo x > y
      - {uses: actions/upload-artifact@v4, with: {name: out, path: y, retention-days: 3}}
"""})

    async def main() -> None:
        await world.declare("shop/app")
        async with world.running() as daemon:
            runs = {run["spec"]["workflow"]: run for run in await daemon.finished(2)}
            [lasting] = runs[CI]["status"]["artifacts"]
            assert (lasting["name"], lasting["bytes"]) == ("out", 2)
            assert timedelta(days=2, hours=23) < parse_time(lasting["expiresAt"]) - datetime.now(UTC) <= timedelta(days=3)
            first = runs[".gitlab-ci.yml"]["metadata"]["name"]
            [file] = (tmp_path / "ci/runs" / first / "artifacts").glob("*.tar")
            world.push("shop/app", {"more.txt": "a newer pipeline succeeds"})
            daemon.pushed("shop/app")
            await daemon.finished(4)
            daemon.pipelines.look_again(Key("fairway", first))
            gone = await daemon.until(lambda runs: next((run for run in runs if run["metadata"]["name"] == first
                                                         and run["status"]["artifacts"][0].get("expired")), None))
            assert gone["status"]["artifacts"][0]["name"] == file.name and not file.exists()
            [newest] = [run for run in await daemon.finished(4) if run["spec"]["workflow"] == ".gitlab-ci.yml"
                        and run["metadata"]["name"] != first]
            folder = tmp_path / "ci/runs" / newest["metadata"]["name"] / "artifacts"
            assert list(folder.glob("*.tar")), "the last good one stays"

    asyncio.run(main())


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


def test_caches_go_after_a_week_unused_and_the_longest_unused_where_there_is_no_room() -> None:
    def entry(name: str, size: int, hours: float) -> Entry:
        return Entry(Path(name), size, NOON - timedelta(hours=hours))

    entries = [entry("old", 1, 24 * 7 + 1), entry("big", 60, 1), entry("second", 30, 2), entry("third", 20, 3),
               entry("small", 5, 4)]
    assert [gone.path.name for gone in without_room(entries, NOON, 100)] == ["third", "old"]
    assert without_room(entries[1:3], NOON, 100) == ()


def test_a_cache_that_is_used_stays_and_one_that_is_not_goes(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.push("shop/app", {CI: """
on: push
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - {uses: actions/cache@v4, with: {path: deps, key: "${{ hashFiles('none') }}used"}}
      - run: mkdir -p deps && echo x > deps/x
""", "n": "1"})
    stale = tmp_path / "ci/cache/shop%2Fapp/refs%2Fheads%2Fmain/0123/stale.tar"
    other = tmp_path / "ci/cache/shop%2Fother/refs%2Fheads%2Fmain/0123/stale.tar"
    for file in (stale, other):
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x")
        os.utime(file, (1_000_000_000, 1_000_000_000))

    async def main() -> None:
        await world.declare("shop/app")
        async with world.running() as daemon:
            await daemon.finished()
            assert not stale.exists() and other.exists(), "each repository has its own room"
            [used] = (tmp_path / "ci/cache/shop%2Fapp").rglob("used.tar")
            os.utime(used, (1_000_000_000, 1_000_000_000))
            world.push("shop/app", {"n": "2"})
            daemon.pushed("shop/app")
            await daemon.finished(2)
            assert used.exists(), "the second run used it"

    asyncio.run(main())
