"""`workflow_run`: what runs because another run has ended. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fairway.ci.environment import RunFacts
from fairway.ci.events import Event, why_not
from fairway.ci.spec import Workflow
from fairway.ci.states import RESULTS, Phase
from fairway.ci.trigger import pipeline_run
from fairway.kube.objects import Obj, rfc3339_micro

LONGEST_CHAIN = 3
"""Runs that follow each other: GitHub's limit, against a circle without end."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended. `event` is what had started it."""

    name: str
    title: str
    path: str
    event: Event
    phase: Phase
    number: int


def followers(ended: Ended, workflows: Mapping[str, Workflow], head: str, now: datetime) -> list[Obj]:
    """Runs of those workflows (of the default branch, whose head is `head`) that wait for this one."""
    chain = int((ended.event.payload.get("workflow_run") or {}).get("chain", 0)) + 1
    if chain > LONGEST_CHAIN:
        return []
    event = Event(
        "workflow_run", ended.event.repository, f"refs/heads/{ended.event.default_branch}", head, actor=ended.event.actor,
        default_branch=ended.event.default_branch, payload=_payload(ended, chain))
    found = []
    for path, workflow in sorted(workflows.items()):
        trigger = workflow.trigger("workflow_run")
        if trigger is None or ended.title not in trigger.workflows or why_not(workflow, event) is not None:
            continue
        run = pipeline_run(event, path)
        run["metadata"]["name"] += f"-after-{zlib.crc32(ended.name.encode()):x}"
        run["metadata"]["annotations"] = {"fairway.dev/pushed-at": rfc3339_micro(now)}
        run["spec"]["payload"] = dict(event.payload)
        found.append(run)
    return found


def _payload(ended: Ended, chain: int) -> dict[str, Any]:
    event = ended.event
    return {"action": "completed", "workflow": {"name": ended.title, "path": ended.path}, "workflow_run": {
        "id": int(RunFacts(ended.name).id), "name": ended.title, "path": ended.path, "event": event.name, "status": "completed",
        "conclusion": RESULTS.get(ended.phase, "failure"), "head_branch": event.ref_name, "head_sha": event.sha,
        "run_number": ended.number, "head_commit": {"id": event.sha, "message": event.message}, "chain": chain}}
