"""CronJobs: when schedules are due, and what is started then."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from fairway.kube.cron_schedule import parse_schedule
from fairway.kube.objects import Obj, annotations_of, meta_of, status_of
from fairway.kube.resources import CORE_EVENTS, CRON_JOBS, JOBS
from fairway.node.simulated import Script
from fairway.workloads.decide_cron import Seen, decide
from tests.workloads.world import World, play

DAY = datetime(2026, 3, 10, 12, 34, 56, tzinfo=UTC)  # a Tuesday


def _next(schedule: str, after: datetime = DAY, zone: str = "") -> str:
    found = parse_schedule(schedule, zone).next(after)
    return "never" if found is None else found.strftime("%m-%d %H:%M")


@pytest.mark.parametrize(("schedule", "due"), [
    ("* * * * *", "03-10 12:35"), ("*/15 * * * *", "03-10 12:45"), ("7/20 * * * *", "03-10 12:47"),
    ("0 9-17/4 * * *", "03-10 13:00"), ("5,50 12 * * *", "03-10 12:50"), ("0 0 1 jan *", "01-01 00:00"),
    ("0 0 * * SUN", "03-15 00:00"), ("0 0 * * mon-fri", "03-11 00:00"), ("0 0 13 * 5", "03-13 00:00"),
    ("0 0 20 * wed", "03-11 00:00"), ("0 0 29 2 *", "02-29 00:00"), ("0 0 30 2 ?", "never"),
    ("@hourly", "03-10 13:00"), ("@daily", "03-11 00:00"), ("@midnight", "03-11 00:00"), ("@weekly", "03-15 00:00"),
    ("@monthly", "04-01 00:00"), ("@yearly", "01-01 00:00"), ("@annually", "01-01 00:00"), ("@every 1h30m", "03-10 14:04"),
])  # fmt: skip
def test_the_next_time_of_a_schedule(schedule: str, due: str) -> None:
    assert _next(schedule) == due


@pytest.mark.parametrize(("schedule", "words"), [
    ("* * * *", "has 4 fields where 5 are needed"), ("60 * * * *", "minute: '60' is outside of 0-59"),
    ("* * * * 7", "day of week: '7' is outside of 0-6"), ("5-1 * * * *", "ends before it begins"),
    ("*/0 * * * *", "the step must be a number above 0"), ("@sometimes", "is none of @yearly"),
    ("* * * foo *", "month: 'foo' is no number or name"), ("TZ=UTC * * * * *", "it has a field of its own"),
    ("@every soon", "invalid duration"),
])  # fmt: skip
def test_a_mistake_in_a_schedule_is_named(schedule: str, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("*", r"\*")):
        parse_schedule(schedule)


def test_times_are_those_of_a_wall_clock_in_the_zone() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    spring = datetime(2026, 3, 29, 0, 0, tzinfo=berlin)
    assert _next("30 2 * * *", spring, "Europe/Berlin") == "03-30 00:30", "half past two is skipped in this night"
    autumn = parse_schedule("30 2 * * *", "Europe/Berlin")
    first = autumn.next(datetime(2026, 10, 25, 0, 0, tzinfo=berlin))
    assert first == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert autumn.next(first) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC), "and comes twice in that one"


def test_the_last_missed_time_is_found_at_once_after_years() -> None:
    assert parse_schedule("* * * * *").latest(DAY - timedelta(days=3000), DAY) == DAY.replace(second=0)
    assert parse_schedule("@yearly").latest(DAY - timedelta(days=3000), DAY) == datetime(2026, 1, 1, tzinfo=UTC)


# --- in virtual time --------------------------------------------------------------------------------------------------


def cron_job(schedule: str = "*/10 * * * *", **spec: Any) -> Obj:
    pod = {"restartPolicy": "Never", "containers": [{"name": "work", "image": "task:1"}]}
    template = {"metadata": {"labels": {"app": "tick"}}, "spec": {"template": {"spec": pod}, "backoffLimit": 0}}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "tick", "namespace": "default"},
            "spec": {"schedule": schedule, "jobTemplate": template, **spec}}


async def _jobs(world: World) -> list[str]:
    return [meta_of(job)["name"] for job in await world.list(JOBS)]


async def _events(world: World) -> set[str]:
    return {event["reason"] for event in await world.list(CORE_EVENTS) if event["involvedObject"]["kind"] == "CronJob"}


def test_a_job_starts_at_its_minute_and_old_ones_go() -> None:
    async def story(world: World) -> None:
        await world.api.create(cron_job())
        minute = int(world.clock.now().timestamp()) // 60
        await asyncio.sleep(601)
        assert await _jobs(world) == [f"tick-{minute + 10}"]
        found = await world.get(JOBS, f"tick-{minute + 10}")
        assert annotations_of(found)["batch.kubernetes.io/cronjob-scheduled-timestamp"] == "2030-01-01T00:10:00Z"
        assert [ref["name"] for ref in status_of(await world.get(CRON_JOBS, "tick"))["active"]] == [f"tick-{minute + 10}"]
        await asyncio.sleep(3600)
        assert await _jobs(world) == [f"tick-{minute + n}" for n in (40, 50, 60, 70)]
        status = status_of(await world.get(CRON_JOBS, "tick"))
        assert status["lastScheduleTime"] == "2030-01-01T01:10:00Z" and status["lastSuccessfulTime"] > "2030-01-01T01:00"
        assert {"SuccessfulCreate", "SawCompletedJob"} <= await _events(world)

    play(story, Script(ready_s=0, end_s=5))


def test_forbid_waits_for_the_one_that_runs_and_replace_ends_it() -> None:
    async def story(world: World) -> None:
        await world.api.create(cron_job("* * * * *", concurrencyPolicy="Forbid"))
        await asyncio.sleep(310)
        assert len(await _jobs(world)) == 1
        assert "JobAlreadyActive" in await _events(world)
        await world.patch(CRON_JOBS, "tick", {"spec": {"concurrencyPolicy": "Replace"}})
        first = await _jobs(world)
        await asyncio.sleep(60)
        second = await _jobs(world)
        assert len(second) == 1 and second != first

    play(story, Script(ready_s=0))


def test_a_suspended_cron_job_starts_only_what_is_not_too_late_when_it_goes_on() -> None:
    async def story(world: World) -> None:
        await world.api.create(cron_job("0 * * * *", suspend=True, startingDeadlineSeconds=600))
        await asyncio.sleep(2 * 3600 + 1200)
        assert await _jobs(world) == []
        await world.patch(CRON_JOBS, "tick", {"spec": {"suspend": False}})
        await asyncio.sleep(60)
        assert await _jobs(world) == [], "the last time was twenty minutes ago"
        await asyncio.sleep(3600)
        assert len(await _jobs(world)) == 1

    play(story, Script(ready_s=0, end_s=1))


def test_a_zone_that_this_machine_does_not_know_is_said_and_nothing_starts() -> None:
    """The API refuses it; what another server let through is told of."""
    made = cron_job("* * * * *", timeZone="Mars/Olympus")
    made["metadata"] |= {"uid": "u", "creationTimestamp": "2026-03-01T11:00:00Z"}
    found = decide(Seen(made, []), datetime(2026, 3, 1, 12, 0, tzinfo=UTC))
    assert [remark.reason for remark in found.remarks] == ["UnknownTimeZone"]
    assert found.decision.actions == ()


def test_every_counts_from_the_last_time() -> None:
    async def story(world: World) -> None:
        await world.api.create(cron_job("@every 90s", successfulJobsHistoryLimit=10))
        await asyncio.sleep(285)
        assert len(await _jobs(world)) == 3

    play(story, Script(ready_s=0, end_s=1))
