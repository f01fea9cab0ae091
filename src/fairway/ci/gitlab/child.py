"""`trigger`: a child pipeline as a run within the job that starts it. Its jobs are shown as the job's steps."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fairway.ci.course import JobResult, Progress
from fairway.ci.folders import RunFolders
from fairway.ci.gitlab.decoding import decode
from fairway.ci.gitlab.includes import Given, whole_of
from fairway.ci.gitlab.plan import Pipeline, plan
from fairway.ci.gitlab.rules import Facts
from fairway.ci.gitlab.stores import Artifacts
from fairway.ci.gitlab.variables import Variables, expand
from fairway.ci.local import LocalRun
from fairway.ci.spec import WorkflowError
from fairway.ci.states import JobRow, StepRow

if TYPE_CHECKING:
    from fairway.ci.gitlab.job import GitlabRunner, LegRequest

DEEPEST = 2
"""Child pipelines below each other: GitLab's limit."""


class _NotStarted(Exception):
    """The child pipeline cannot be made; the message says why and what helps."""


async def run_child(runner: GitlabRunner, request: LegRequest, progress: Progress, cancel: asyncio.Event) -> JobResult:
    """With `strategy: depend` or `mirror` the job ends as the pipeline does; else it succeeds once the pipeline is made.

    The pipeline is run to its end either way before the job ends: nothing runs on behind a finished run.
    """
    trigger = request.leg.job.trigger
    assert trigger is not None
    try:
        if request.course.depth >= DEEPEST:
            raise _NotStarted(f"child pipelines are nested deeper than {DEEPEST}")
        if trigger.project:
            raise _NotStarted(f"trigger:project {trigger.project}: pipelines of other projects are not started from here; "
                              "push there, or include the jobs")
        child = await asyncio.to_thread(_planned, runner, request)
        if child.refused is not None or child.unmet:
            raise _NotStarted(child.refused.message if child.refused else child.unmet[0].message)
    except (_NotStarted, WorkflowError) as error:
        return JobResult("Failed", f"downstream pipeline can not be created: {error}", failure="script_failure")
    course = replace(request.course, pipeline=child, prefix=f"{request.id}..", depth=request.course.depth + 1, only=None,
                     attended=False)
    run = LocalRun(course, runner.clock, course.first_rows(), on_change=lambda rows: progress(tuple(map(_step, rows))))
    stopper = asyncio.create_task(_stop_with(cancel, run))
    try:
        decision = await run.run()
    finally:
        stopper.cancel()
    steps = tuple(map(_step, decision.rows))
    if decision.phase in ("Succeeded", "Cancelled") or trigger.strategy in ("depend", "mirror"):
        return JobResult(decision.phase, decision.message, steps=steps,
                         failure="script_failure" if decision.phase == "Failed" else "")
    return JobResult("Succeeded", f"the child pipeline failed, and without `strategy: depend` that does not count: "
                     f"{decision.message}", steps=steps)


def _planned(runner: GitlabRunner, request: LegRequest) -> Pipeline:
    course, leg = request.course, request.leg
    trigger = leg.job.trigger
    assert trigger is not None
    parent = course.pipeline
    reported = {name: value for upstream in request.upstreams for name, value in upstream.variables.items()}
    texts = parent.layers(leg, dotenv=reported).expanded()
    handed = leg.variables.over(parent.variables.only(leg.job.inherit.variables)) if trigger.forward_yaml else Variables()
    values = Variables.of({name: texts[name] for name in handed if name in texts}, raw=True)
    given = values.over(parent.given) if trigger.forward_pipeline else \
        values.over(Variables({name: value for name, value in parent.given.items() if value.masked}))
    predefined = {name: variable.value for name, variable in parent.predefined.items()}
    predefined |= {"CI_PIPELINE_SOURCE": "parent_pipeline", "CI_UPSTREAM_PIPELINE_ID": predefined.get("CI_PIPELINE_ID", ""),
                   "CI_UPSTREAM_JOB_ID": "0", "CI_PIPELINE_NAME": ""}
    is_tag = "CI_COMMIT_TAG" in predefined
    files = list(course.sources.own().files())
    facts = Facts("parent_pipeline", course.ref, is_tag, None, lambda: files)
    text, path = _text(runner, request, texts)
    whole = whole_of(text, path, Given(course.sources, facts, given.over(Variables.of(predefined, raw=True)).expanded(),
                                       {"": dict(trigger.inputs)}))
    return plan(decode(whole, path), predefined, facts, given=given)


def _text(runner: GitlabRunner, request: LegRequest, texts: dict[str, str]) -> tuple[str, str]:
    """The configuration and the name under which its mistakes are told."""
    trigger = request.leg.job.trigger
    assert trigger is not None
    entries: list[dict[str, Any]] = []
    for include in trigger.include:
        if include.artifact:
            artifact = expand(include.artifact, texts)
            store = Artifacts(RunFolders(runner.config.root, request.course.run_name).artifacts)
            made = [leg for leg in request.course.pipeline.legs if include.job in (leg.job.name, leg.name)]
            found = next((text for leg in made if (text := store.read(f"{request.course.prefix}{leg.id}", artifact))), None)
            if found is None:
                raise _NotStarted(f"job {include.job!r} left no artifact {artifact!r}")
            return found, artifact
        entries.append({**include.other, "local": expand(include.local, texts)} if include.local else dict(include.other))
    return json.dumps({"include": entries}), f"trigger of {request.leg.name}"


async def _stop_with(cancel: asyncio.Event, run: LocalRun) -> None:
    await cancel.wait()
    run.cancel()


def _step(row: JobRow) -> StepRow:
    return StepRow(row.name, row.phase, row.started_at, row.finished_at, row.message)
