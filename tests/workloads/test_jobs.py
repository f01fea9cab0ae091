"""Jobs in virtual time."""

from __future__ import annotations

import asyncio

from fairway.kube.objects import Obj, annotations_of, condition, meta_of, status_of
from fairway.kube.resources import CORE_EVENTS, JOBS, PODS
from fairway.node.simulated import Script
from fairway.workloads.job_status import finished
from tests.workloads.world import World, job, play, said

WORKS = Script(ready_s=0, end_s=5)
FAILS = Script(ready_s=0, crash_s=5, exit_code=1)


async def _ended(world: World, name: str = "task") -> bool:
    return finished(await world.get(JOBS, name)) is not None


def test_a_job_completes_and_counts_each_pod_once() -> None:
    async def story(world: World) -> None:
        await world.api.create(job(parallelism=2, completions=5))
        most = 0

        async def watch() -> None:
            nonlocal most
            async for _ in world.api.watch(JOBS, "default"):
                most = max(most, status_of(await world.get(JOBS, "task")).get("active") or 0)

        watching = asyncio.create_task(watch())
        took = await world.until(lambda: _ended(world))
        watching.cancel()
        found = await world.get(JOBS, "task")
        assert said(found, "Complete") == ("True", "CompletionsReached")
        assert said(found, "SuccessCriteriaMet") == ("True", "CompletionsReached")
        assert (status_of(found)["succeeded"], status_of(found).get("failed") or 0, most) == (5, 0, 2)
        assert 15 < took < 25
        assert status_of(found)["completionTime"]
        assert all(not meta_of(pod).get("finalizers") for pod in await world.list(PODS))

    play(story, WORKS)


def test_a_failing_job_backs_off_and_gives_up_at_its_limit() -> None:
    async def story(world: World) -> None:
        await world.api.create(job(backoffLimit=2))
        took = await world.until(lambda: _ended(world))
        found = await world.get(JOBS, "task")
        assert said(found, "Failed") == ("True", "BackoffLimitExceeded")
        assert condition(found, "Failed")["message"] == "Job has reached the specified backoff limit"  # type: ignore[index]
        assert status_of(found)["failed"] == 3
        assert 45 < took < 50  # three runs of 5.5 s, and pauses of 10 s and 20 s

    play(story, FAILS)


def test_a_pod_that_somebody_deletes_after_its_success_stays_counted() -> None:
    async def story(world: World) -> None:
        await world.api.create(job(completions=2, parallelism=1))

        async def first_done() -> bool:
            return status_of(await world.get(JOBS, "task")).get("succeeded") == 1

        await world.until(first_done)
        for pod in await world.list(PODS):
            if status_of(pod)["phase"] == "Succeeded":
                await world.api.delete(PODS, meta_of(pod)["name"], "default")
        await world.until(lambda: _ended(world))
        assert status_of(await world.get(JOBS, "task"))["succeeded"] == 2

    play(story, WORKS)


def test_a_deadline_ends_a_job_and_its_pods() -> None:
    async def story(world: World) -> None:
        await world.api.create(job(activeDeadlineSeconds=30))
        took = await world.until(lambda: _ended(world))
        found = await world.get(JOBS, "task")
        assert said(found, "Failed") == ("True", "DeadlineExceeded")
        assert 29 <= took < 33
        assert not status_of(found).get("active")

    play(story, Script(ready_s=0))


def test_a_finished_job_goes_after_its_time_to_live() -> None:
    async def story(world: World) -> None:
        await world.api.create(job(ttlSecondsAfterFinished=60))
        await world.until(lambda: _ended(world))

        async def gone() -> bool:
            return not await world.list(JOBS) and not await world.list(PODS)

        assert 59 <= await world.until(gone) < 65

    play(story, WORKS)


def test_a_suspended_job_stops_its_pods_and_goes_on_when_it_is_resumed() -> None:
    async def story(world: World) -> None:
        await world.api.create(job(backoffLimit=0))
        await asyncio.sleep(2)
        await world.patch(JOBS, "task", {"spec": {"suspend": True}})
        await asyncio.sleep(20)
        found = await world.get(JOBS, "task")
        assert said(found, "Suspended") == ("True", "JobSuspended")
        assert not status_of(found).get("failed"), "a pod that was stopped for this has not failed"
        assert not status_of(found).get("active") and "startTime" not in status_of(found)
        await world.patch(JOBS, "task", {"spec": {"suspend": False}})
        await world.until(lambda: _ended(world))
        assert said(await world.get(JOBS, "task"), "Suspended") == ("False", "JobResumed")
        told = {event["reason"] for event in await world.list(CORE_EVENTS)}
        assert {"Suspended", "Resumed"} <= told

    play(story, WORKS)


def test_an_indexed_job_runs_every_index_once() -> None:
    async def story(world: World) -> None:
        await world.api.create(job(completionMode="Indexed", completions=4, parallelism=2))
        await world.until(lambda: _ended(world))
        found = await world.get(JOBS, "task")
        assert status_of(found)["completedIndexes"] == "0-3"
        indexes = sorted(_index(pod) for pod in await world.list(PODS))
        assert indexes == ["0", "1", "2", "3"]

    play(story, WORKS)


def _index(pod: Obj) -> str:
    return annotations_of(pod)["batch.kubernetes.io/job-completion-index"]


def test_pods_of_a_deleted_job_are_not_held_by_its_finalizer() -> None:
    async def story(world: World) -> None:
        await world.api.create(job())
        await asyncio.sleep(2)
        await world.api.delete(JOBS, "task", "default")

        async def gone() -> bool:
            return not await world.list(PODS)

        await world.until(gone, within_s=10)

    play(story, WORKS)
