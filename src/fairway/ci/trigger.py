"""From the refs of a repository to the runs that they call for. Pure.

Level-triggered: what counts is the difference between the refs that exist and those that were handled, so a push whose
event got lost is found at the next look. A run's name follows from what it runs: looking twice makes one run.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fairway.ci.events import Event
from fairway.kube.decision import Reason
from fairway.kube.objects import Obj, rfc3339, rfc3339_micro
from fairway.kube.resources import PIPELINE_RUNS

NAMESPACE = "fairway"
SHA_LABEL = "fairway.dev/sha"
REPOSITORY_LABEL = "fairway.dev/repository"
WORKFLOWS = ".github/workflows"
GITLAB = ".gitlab-ci.yml"


@dataclass(frozen=True, slots=True)
class Move:
    """A ref that is not where it was handled last. `after` is "" where it was deleted."""

    ref: str
    before: str
    after: str


@dataclass(frozen=True)
class Pushed:
    """A move with what git says about its commit. `workflows` maps each file to why it does not run, or None where it does;
    a file that does not parse gives a run that fails with the mistakes."""

    event: Event
    workflows: Mapping[str, Reason | None]
    committed_at: datetime


def moves(handled: Mapping[str, str], refs: Mapping[str, str]) -> tuple[Move, ...]:
    """In the order of the refs' names."""
    return tuple(
        Move(ref, handled.get(ref, ""), refs.get(ref, ""))
        for ref in sorted({*handled, *refs})
        if handled.get(ref, "") != refs.get(ref, "")
    )


def refs_patch(handled: Mapping[str, str], refs: Mapping[str, str]) -> dict[str, str | None]:
    """What merges `handled` into `refs`: deleted ones are None."""
    return {move.ref: move.after or None for move in moves(handled, refs)}


def run_name(repository: str, workflow: str, sha: str, ref: str, default_branch: str) -> str:
    """`shop-app-ci-1a2b3c4`; other refs than the default branch add a hash of theirs, as a commit may be on several."""
    stem = workflow.rpartition("/")[2].rsplit(".", 1)[0].removeprefix(".")
    base = re.sub(r"[^a-z0-9]+", "-", f"{repository}-{stem}".lower()).strip("-")[:200].strip("-")
    own = "" if ref == f"refs/heads/{default_branch}" else f"-{hashlib.sha256(ref.encode()).hexdigest()[:6]}"
    return f"{base}-{sha[:7]}{own}"


def runs_for(pushed: Pushed, now: datetime) -> tuple[tuple[Obj, ...], tuple[Reason, ...]]:
    """The PipelineRuns that a push calls for, and why other workflows do not run."""
    runs: list[Obj] = []
    reasons: list[Reason] = []
    for path, refused in sorted(pushed.workflows.items()):
        if refused is not None:
            reasons.append(refused)
            continue
        run = pipeline_run(pushed.event, path)
        run["metadata"]["annotations"] = {
            "fairway.dev/committed-at": rfc3339(pushed.committed_at),
            "fairway.dev/pushed-at": rfc3339_micro(now),
        }
        runs.append(run)
        reasons.append(Reason("Triggered", f"{pushed.event.ref} is at {pushed.event.sha[:7]}: {path} runs as "
                              f"{run['metadata']['name']}"))
    return tuple(runs), tuple(reasons)


def pipeline_run(event: Event, workflow: str) -> Obj:
    """The object that asks for a run of a workflow."""
    name = run_name(event.repository, workflow, event.sha, event.ref, event.default_branch)
    spec: dict[str, Any] = {
        "repository": event.repository,
        "workflow": workflow,
        "event": event.name,
        "ref": event.ref,
        "sha": event.sha,
        "before": event.before,
    }
    if event.inputs:
        spec["inputs"] = dict(event.inputs)
    return {
        "apiVersion": PIPELINE_RUNS.api_version,
        "kind": PIPELINE_RUNS.kind,
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {
                SHA_LABEL: event.sha,
                REPOSITORY_LABEL: re.sub(r"[^A-Za-z0-9._-]+", ".", event.repository).strip(".")[:63],
            },
        },
        "spec": spec,
    }


def is_workflow(name: str) -> bool:
    return name.endswith((".yml", ".yaml"))


def is_gitlab(path: str) -> bool:
    return path.endswith((GITLAB, ".gitlab-ci.yaml"))
