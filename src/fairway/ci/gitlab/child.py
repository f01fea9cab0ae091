"""`trigger`: a child pipeline as a run within the job that starts it, its jobs shown as the job's steps; or a pipeline of
another project, which is a run of its own."""

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
from fairway.ci.gitlab.projects import Downstream
from fairway.ci.gitlab.rules import Facts
from fairway.ci.gitlab.spec import Trigger
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
        if trigger.project:
            return await runner.projects.start(_downstream(request, trigger), cancel)
        if request.course.depth >= DEEPEST:
            raise _NotStarted(f"child pipelines are nested deeper than {DEEPEST}")
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


def _downstream(request: LegRequest, trigger: Trigger) -> Downstream:
    course = request.course
    texts = course.pipeline.layers(request.leg, dotenv=_reported(request)).expanded()
    handed = {name: variable.value for name, variable in _handed(request, texts).items()}
    secret = [variable.value for variable in course.pipeline.given.values() if variable.masked and variable.value]
    withheld = tuple(name for name, value in handed.items() if any(part in value for part in secret))
    return Downstream(
        expand(trigger.project, texts), expand(trigger.branch, texts),
        {name: value for name, value in handed.items() if name not in withheld}, course.run_name, request.id,
        max(request.row.attempt, 1), waits=trigger.strategy in ("depend", "mirror"), withheld=withheld)


def _reported(request: LegRequest) -> dict[str, str]:
    return {name: value for upstream in request.upstreams for name, value in upstream.variables.items()}


def _handed(request: LegRequest, texts: dict[str, str]) -> Variables:
    """The job's and the file's variables, and with `forward:pipeline_variables` those that were given, as values."""
    leg, parent = request.leg, request.course.pipeline
    trigger = leg.job.trigger
    assert trigger is not None
    handed = leg.variables.over(parent.variables.only(leg.job.inherit.variables)) if trigger.forward_yaml else Variables()
    values = Variables.of({name: texts[name] for name in handed if name in texts}, raw=True)
    return values.over(Variables({name: value for name, value in parent.given.items() if not value.masked})) \
        if trigger.forward_pipeline else values


def _planned(runner: GitlabRunner, request: LegRequest) -> Pipeline:
    course, leg = request.course, request.leg
    trigger = leg.job.trigger
    assert trigger is not None
    parent = course.pipeline
    texts = parent.layers(leg, dotenv=_reported(request)).expanded()
    given = _handed(request, texts).over(Variables({name: value for name, value in parent.given.items() if value.masked}))
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
