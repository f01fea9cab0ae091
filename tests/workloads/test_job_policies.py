"""What Jobs say about failures, indexes and success, in virtual time."""

from __future__ import annotations

import asyncio

from fairway.kube.objects import Obj, annotations_of, condition, meta_of, status_of
from fairway.kube.resources import CORE_EVENTS, JOBS, PODS
from fairway.node.simulated import Script
from fairway.workloads.job_indexes import format_indexes, parse_indexes
from fairway.workloads.job_status import finished
from tests.workloads.world import World, job, play, said

INDEX = "batch.kubernetes.io/job-completion-index"


async def _ended(world: World) -> bool:
    return finished(await world.get(JOBS, "task")) is not None


def _index(pod: Obj) -> str:
    return annotations_of(pod)[INDEX]


def test_indexes_are_written_as_ranges() -> None:
    assert format_indexes([0, 1, 2, 5, 7, 8]) == "0-2,5,7,8"
    assert parse_indexes("0-2,5,7,8") == [0, 1, 2, 5, 7, 8]


def test_an_exit_code_that_means_a_defect_ends_the_job_at_once() -> None:
    rule = {"action": "FailJob", "onExitCodes": {"containerName": "work", "operator": "In", "values": [42]}}

    async def story(world: World) -> None:
        await world.api.create(job(podFailurePolicy={"rules": [rule]}))
        assert await world.until(lambda: _ended(world)) < 10
        found = await world.get(JOBS, "task")
        assert said(found, "Failed") == ("True", "PodFailurePolicy")
        (pod,) = await world.list(PODS)
        words = (f"Container work for pod default/{meta_of(pod)['name']} failed with exit code 42 "
                 "matching FailJob rule at index 0")
        assert (condition(found, "Failed") or {})["message"] == words
        events = [one["message"] for one in await world.list(CORE_EVENTS) if one["reason"] == "PodFailurePolicy"]
        assert events == [words]

    play(story, Script(ready_s=0, crash_s=2, exit_code=42))


def test_failures_that_are_ignored_count_for_nothing() -> None:
    rule = {"action": "Ignore", "onExitCodes": {"operator": "NotIn", "values": [1]}}
    tries: list[str] = []

    def behave(pod: Obj) -> Script:
        tries.append(meta_of(pod)["name"])
        return Script(ready_s=0, crash_s=2, exit_code=3) if len(tries) < 4 else Script(ready_s=0, end_s=2)

    async def story(world: World) -> None:
        await world.api.create(job(backoffLimit=0, podFailurePolicy={"rules": [rule]}))
        await world.until(lambda: _ended(world))
        found = await world.get(JOBS, "task")
        assert said(found, "Complete")[0] == "True"
        assert not status_of(found).get("failed") and len(tries) == 4

    play(story, behave)


def test_each_index_has_a_limit_of_its_own() -> None:
    def behave(pod: Obj) -> Script:
        return Script(ready_s=0, crash_s=2) if _index(pod) == "1" else Script(ready_s=0, end_s=2)

    async def story(world: World) -> None:
        await world.api.create(job(completionMode="Indexed", completions=4, parallelism=2, backoffLimitPerIndex=1))
        await world.until(lambda: _ended(world))
        found = await world.get(JOBS, "task")
        assert said(found, "Failed") == ("True", "FailedIndexes")
        status = status_of(found)
        assert (status["completedIndexes"], status["failedIndexes"], status["failed"]) == ("0,2,3", "1", 2)
        counts = [annotations_of(pod)["batch.kubernetes.io/job-index-failure-count"]
                  for pod in await world.list(PODS) if _index(pod) == "1"]
        assert sorted(counts) == ["0", "1"]

    play(story, behave)


def test_too_many_failed_indexes_end_the_job() -> None:
    async def story(world: World) -> None:
        await world.api.create(job(completionMode="Indexed", completions=5, parallelism=1, backoffLimitPerIndex=0,
                                   maxFailedIndexes=1))
        await world.until(lambda: _ended(world))
        found = await world.get(JOBS, "task")
        assert said(found, "Failed") == ("True", "MaxFailedIndexesExceeded")
        assert status_of(found)["failed"] == 2

    play(story, Script(ready_s=0, crash_s=1))


def test_a_success_policy_ends_the_job_before_all_indexes_are_done() -> None:
    async def story(world: World) -> None:
        policy = {"rules": [{"succeededIndexes": "0"}]}
        await world.api.create(job(completionMode="Indexed", completions=3, parallelism=3, successPolicy=policy))
        await world.until(lambda: _ended(world))
        found = await world.get(JOBS, "task")
        assert said(found, "SuccessCriteriaMet") == said(found, "Complete") == ("True", "SuccessPolicy")
        assert status_of(found)["completedIndexes"] == "0"

    play(story, lambda pod: Script(ready_s=0, end_s=3 if _index(pod) == "0" else 60))


def test_a_pod_that_is_deleted_is_replaced_after_its_end_where_the_job_says_so() -> None:
    async def story(world: World) -> None:
        await world.api.create(job(podReplacementPolicy="Failed"))
        await asyncio.sleep(3)
        (pod,) = await world.pods()
        await world.api.delete(PODS, meta_of(pod)["name"], "default")
        await asyncio.sleep(5)
        assert len(await world.list(PODS)) == 1
        assert status_of(await world.get(JOBS, "task"))["terminating"] == 1
        await asyncio.sleep(20)
        assert [meta_of(one)["name"] != meta_of(pod)["name"] for one in await world.pods()] == [True]

    play(story, Script(ready_s=0, stop_s=10))
