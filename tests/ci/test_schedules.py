"""`on: schedule` and the schedules of a repository: when they are due, and the runs that they become, in virtual time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fairway.ci.schedule_controller import ScheduleController
from fairway.ci.schedules import Timer, ring
from fairway.ci.spec import WorkflowError
from fairway.ci.workflow import decode_workflow
from fairway.git import Change, Person, Repositories
from fairway.kube.cache import Informers
from fairway.kube.clock import VIRTUAL_EPOCH, Clock, run_virtual
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.objects import Key, Obj
from fairway.kube.reconcile import ControllerLoop
from fairway.kube.resources import PIPELINE_RUNS, REPOSITORIES

FIVE = datetime(2026, 6, 1, 5, 0, tzinfo=UTC)
NIGHTLY = """
on:
  push:
  schedule:
    - cron: '30 5 * * *'
    - {cron: '0 6 * * *', timezone: Europe/Berlin}
jobs: {a: {runs-on: ubuntu-latest, steps: [{run: echo}]}}
"""


def test_a_new_schedule_counts_from_when_it_is_first_seen() -> None:
    timer = Timer("ci.yml", "30 4 * * *")
    seen = ring([timer], {}, FIVE)
    assert seen.due == () and seen.wake_at == FIVE + timedelta(hours=23, minutes=30)
    later = ring([timer], seen.last, FIVE + timedelta(hours=23, minutes=31))
    assert [due.at for due in later.due] == [FIVE + timedelta(hours=23, minutes=30)]
    assert ring([timer], later.last, FIVE + timedelta(hours=24)).due == (), "each time once"


@pytest.mark.parametrize(("down_for", "due", "reasons"), [
    (timedelta(minutes=40), 1, []), (timedelta(days=3, minutes=59), 1, []),
    (timedelta(days=3, hours=3), 0, ["MissedSchedule"])])
def test_a_missed_time_is_made_up_for_within_the_hour_and_once(down_for: timedelta, due: int, reasons: list[str]) -> None:
    timer = Timer("ci.yml", "0 5 * * *")
    rung = ring([timer], {timer.key: FIVE - timedelta(minutes=10)}, FIVE + down_for)
    assert (len(rung.due), [reason.code for reason in rung.reasons]) == (due, reasons)
    assert ring([timer], rung.last, FIVE + down_for).due == ()


def test_the_shortest_interval_is_five_minutes() -> None:
    timer, last, ran = Timer("ci.yml", "* * * * *"), {Timer("ci.yml", "* * * * *").key: FIVE}, []
    now = FIVE
    while now < FIVE + timedelta(minutes=16):
        rung = ring([timer], last, now)
        ran += [due.at.minute for due in rung.due]
        last = dict(rung.last)
        assert rung.wake_at is not None and rung.wake_at > now
        now = rung.wake_at
    assert ran == [5, 10, 15]


def test_a_schedule_that_is_none_is_refused_at_its_place() -> None:
    with pytest.raises(WorkflowError) as caught:
        decode_workflow("on: {schedule: [{cron: '61 * * * *'}, {cron: '@daily'}, {cron: '0 0 * * *', timezone: Mars/Base}]}\n"
                        "jobs: {a: {runs-on: x, steps: []}}\n", "ci.yml")
    assert str(caught.value).splitlines() == [
        "ci.yml:1:24: minute: '61' is outside of 0-59",
        "ci.yml:1:46: '@daily' is no cron expression: five fields are needed, such as '30 5 * * 1-5'",
        "ci.yml:1:87: time zone 'Mars/Base' is not known: write an IANA name, such as Europe/Berlin"]
    rung = ring([Timer("ci.yml", "nonsense")], {}, FIVE)
    assert [reason.code for reason in rung.reasons] == ["InvalidSchedule"]


def test_schedules_start_runs_of_the_default_branch_as_time_goes_by(tmp_path: Path) -> None:
    repositories = Repositories(tmp_path)
    git = repositories.create("shop/app")

    def push(branch: str, files: dict[str, str], head: str = "") -> str:
        data: dict[str, bytes | None] = {name: text.encode() for name, text in files.items()}
        return git.commit(branch, Change(data, "change", Person("Ada", "a@example.com"), FIVE), expected_head=head)

    first = push("main", {".github/workflows/nightly.yml": NIGHTLY, ".gitlab-ci.yml": "a: {script: [echo]}\n"})

    def brief(run: Obj) -> tuple[str, ...]:
        spec = run["spec"]
        return (run["metadata"]["name"].rpartition("-")[0][-12:], spec["workflow"], spec["event"], spec["ref"],
                spec.get("payload", {}).get("schedule", ""), str(spec.get("inputs", {})), spec["sha"])

    async def main(clock: Clock) -> Any:
        api = EmbeddedApi.in_memory(clock)
        informers = Informers(api)
        loop = ControllerLoop(ScheduleController(informers, repositories.open), informers, clock)
        task = asyncio.create_task(loop.run())
        await api.create({"apiVersion": REPOSITORIES.api_version, "kind": "Repository", "metadata": {
            "name": "shop-app", "namespace": "fairway"}, "spec": {"name": "shop/app", "schedules": [
                {"cron": "15 4 * * 2", "ref": "main", "variables": {"SCOPE": "all"}},
                {"cron": "15 4 * * *", "active": False}, {"cron": "15 4 * * *", "ref": "gone"}]}})
        await asyncio.sleep(24 * 3600)
        second = push("main", {"new.txt": "x"}, first)
        loop.look_again(Key("fairway", "shop-app"))
        await asyncio.sleep(6 * 3600)
        runs = (await api.list(PIPELINE_RUNS, "fairway")).items
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await informers.close()
        return second, sorted(map(brief, runs))

    second, runs = run_virtual(main)
    assert datetime(2030, 1, 1, tzinfo=UTC) == VIRTUAL_EPOCH, "a Tuesday; Berlin is an hour ahead"
    nightly = ".github/workflows/nightly.yml"
    assert runs == [
        ("203001010415", ".gitlab-ci.yml", "schedule", "refs/heads/main", "15 4 * * 2", "{'SCOPE': 'all'}", first),
        ("203001010500", nightly, "schedule", "refs/heads/main", "0 6 * * *", "{}", first),
        ("203001010530", nightly, "schedule", "refs/heads/main", "30 5 * * *", "{}", first),
        ("203001020500", nightly, "schedule", "refs/heads/main", "0 6 * * *", "{}", second),
        ("203001020530", nightly, "schedule", "refs/heads/main", "30 5 * * *", "{}", second)]
