"""Environments with reviewers, wait timers and branches: jobs wait as objects until somebody answers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fairway.ci.course import Answer
from fairway.ci.environments import Protection, passes
from fairway.ci.spec import Job, Workflow
from fairway.ci.states import JobRow
from fairway.ci.tokens import PREFIX, JobTokens, contents_level
from fairway.ci.workflow import decode_workflow
from fairway.kube.api import MergePatch
from fairway.kube.resources import ENVIRONMENTS, PIPELINE_RUNS
from tests.ci.world import World, job, jobs, said

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ROW = JobRow("deploy", "deploy", "deploy", environment="production", expanded=True)
MAIN = {"github": {"ref_name": "main", "actor": "ada"}}

WORKFLOW = """
on: push
jobs:
  build: {runs-on: ubuntu-latest, steps: [{run: echo built}]}
  deploy:
    needs: build
    runs-on: ubuntu-latest
    environment: {name: Production, url: https://shop.example.com}
    steps: [{run: echo deployed}]
  after: {needs: deploy, runs-on: ubuntu-latest, steps: [{run: echo after}]}
"""


def test_who_may_let_a_job_go_on() -> None:
    gate = Protection("production", reviewers=("ada", "Grace"), prevent_self_review=True)

    def phase(answers: dict[str, Answer]) -> str:
        found = passes(ROW, gate, answers, MAIN, NOW)
        return found.row.phase if found else "goes on"

    assert phase({}) == "Waiting"
    assert phase({"deploy": Answer(True, "mallory")}) == "Waiting"
    assert phase({"deploy": Answer(True, "ada")}) == "Waiting"  # she pushed it herself
    assert phase({"production": Answer(True, "grace")}) == "goes on"
    assert phase({"deploy": Answer(False, "grace", "not on Friday")}) == "Failed"
    refused = passes(ROW, gate, {"deploy": Answer(False, "grace", "not on Friday")}, MAIN, NOW)
    assert refused is not None
    assert refused.row.message == "rejected by grace: not on Friday"


def test_a_wait_timer_and_branches() -> None:
    timer = passes(ROW, Protection("production", wait_minutes=5), {}, MAIN, NOW)
    assert timer is not None
    assert timer.wake_at == NOW + timedelta(minutes=5)
    assert passes(timer.row, Protection("production", wait_minutes=5), {}, MAIN, NOW + timedelta(minutes=5)) is None
    closed = passes(ROW, Protection("production", branches=("release/*",)), {}, MAIN, NOW)
    assert closed is not None
    assert closed.row.message == "main may not deploy to production; allowed: release/*"
    assert passes(ROW, None, {}, MAIN, NOW) is None


async def _waiting(world: World, approve: bool) -> tuple[dict[str, str], list[str]]:
    world.push("shop/app", {".github/workflows/ci.yml": WORKFLOW})
    await world.declare("shop/app")
    await world.api.create({"apiVersion": ENVIRONMENTS.api_version, "kind": "Environment", "metadata": {
        "name": "production", "namespace": "fairway"}, "spec": {"name": "production", "reviewers": ["grace"]}})
    async with world.running() as daemon:
        daemon.pushed("shop/app")
        run = await daemon.until(lambda runs: next((run for run in runs for entry in run.get("status", {}).get("jobs", ())
                                                    if entry["phase"] == "Waiting"), None))
        assert job(run, "deploy")["message"] == "waits for approval of environment production by grace"
        assert run["status"]["phase"] == "Waiting"
        await world.api.patch(PIPELINE_RUNS, run["metadata"]["name"], "fairway", MergePatch({"spec": {"answers": [
            {"environment": "production", "approve": approve, "by": "grace"}]}}))
        [done] = await daemon.finished()
        return jobs(done), said(world, done, "deploy") if approve else [done["status"]["message"]]


def test_a_run_waits_for_its_reviewer(tmp_path: Path) -> None:
    phases, log = asyncio.run(_waiting(World(tmp_path), True))
    assert phases == {"build": "Succeeded", "deploy": "Succeeded", "after": "Succeeded"}
    assert "deployed" in log


def test_a_rejected_job_ends_the_run(tmp_path: Path) -> None:
    phases, message = asyncio.run(_waiting(World(tmp_path), False))
    assert phases == {"build": "Succeeded", "deploy": "Failed", "after": "Skipped"}
    assert message == ["job 'deploy' failed: rejected by grace"]


def test_a_job_s_token_opens_what_its_permissions_say_until_it_ends() -> None:
    tokens = JobTokens()
    read, write = tokens.issue("run:a", "shop/app", "read"), tokens.issue("run:b", "shop/app", "write")
    assert read.startswith(PREFIX)
    assert tokens.allows(read, "shop/app", write=False)
    assert not tokens.allows(read, "shop/app", write=True)
    assert not tokens.allows(write, "shop/deploy", write=False)
    assert tokens.allows(write, "shop/app", write=True)
    tokens.revoke("run:b")
    assert not tokens.allows(write, "shop/app", write=False)
    assert not tokens.allows("", "shop/app", write=False)


def test_levels_of_contents() -> None:
    def level(top: str, own: str) -> str | None:
        text = f"on: push\n{top}\njobs:\n  a: {{runs-on: ubuntu-latest, steps: [{{run: x}}]{own}}}\n"
        workflow: Workflow = decode_workflow(text, "ci.yml")
        a: Job = workflow.jobs["a"]
        return contents_level(workflow, a)

    assert level("", "") == "write"
    assert level("permissions: {contents: read}", "") == "read"
    assert level("permissions: {contents: read}", ", permissions: {contents: write}") == "write"
    assert level("permissions: {packages: write}", "") is None
    assert level("permissions: read-all", "") == "read"


def test_a_workflow_follows_another_one(tmp_path: Path) -> None:
    after = ("name: After\non: {workflow_run: {workflows: [CI], types: [completed], branches: [main]}}\njobs:\n  a:\n"
             "    if: github.event.workflow_run.conclusion == 'success'\n    runs-on: ubuntu-latest\n"
             "    steps: [{run: 'echo after ${{ github.event.workflow_run.head_branch }}'}]\n")

    async def main() -> list[str]:
        world = World(tmp_path)
        world.push("shop/app", {".github/workflows/ci.yml": "name: CI\non: push\njobs: {a: {runs-on: ubuntu-latest, steps: "
                                "[{run: echo}]}}\n", ".github/workflows/after.yml": after})
        await world.declare("shop/app")
        async with world.running() as daemon:
            daemon.pushed("shop/app")
            runs = await daemon.finished(2)
            follower = next(run for run in runs if run["spec"]["event"] == "workflow_run")
            return said(world, follower, "a")

    assert "after main" in asyncio.run(main())
