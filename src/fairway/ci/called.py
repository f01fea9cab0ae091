"""Jobs that call another workflow (`uses: ./.github/workflows/x.yml`).

The called workflow is a run within the job: its jobs are the job's steps, its outputs the job's outputs. Inputs come
from `with`, secrets only as they are passed; the caller's `env` is not seen. What can be said of a call before it is
made, `check_calls` has said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from fairway.ci.calls import FOREIGN, called_workflow
from fairway.ci.course import JobResult, Progress, RunDecision
from fairway.ci.expressions import ExpressionError, Scope, Value, interpolate, interpolate_text, to_text
from fairway.ci.github import GithubCourse
from fairway.ci.local import LocalRun
from fairway.ci.plan import InputError, checked_inputs
from fairway.ci.runner import JobRequest, JobRunner
from fairway.ci.spec import Trigger, Workflow, WorkflowError
from fairway.ci.states import JobRow, StepRow, outputs_of, result_of
from fairway.kube.clock import Clock, WallClock


class NotCallable(Exception):
    """The call cannot be made; the message says why and what helps."""


class CallingRunner:
    """A `JobRunner` that follows calls and leaves all other jobs to `inner`."""

    def __init__(self, inner: JobRunner, clock: Clock | None = None) -> None:
        self._inner = inner
        self._clock = clock or WallClock()

    @property
    def outlives(self) -> bool:
        return self._inner.outlives

    async def clear(self, run: str, job: str) -> None:
        await self._inner.clear(run, job)

    async def discard(self, run: str) -> None:
        await self._inner.discard(run)

    async def run(self, request: JobRequest, progress: Progress, cancel: asyncio.Event) -> JobResult:
        if not request.workflow.jobs[request.row.job].uses:
            return await self._inner.run(request, progress, cancel)
        try:
            workflow, trigger = _called(request)
            run = self._prepared(request, workflow, trigger, progress)
        except (NotCallable, InputError, WorkflowError, ExpressionError) as error:
            return JobResult("Failed", str(error))
        stopper = asyncio.create_task(_stop_with(cancel, run))
        try:
            decision = await run.run()
        finally:
            stopper.cancel()
        course = run.course
        assert isinstance(course, GithubCourse)
        return _result(course, trigger, decision)

    def _prepared(self, request: JobRequest, workflow: Workflow, trigger: Trigger, progress: Progress) -> LocalRun:
        job = request.workflow.jobs[request.row.job]
        scope = Scope({**request.contexts, "matrix": dict(request.row.matrix) if request.row.matrix is not None else None,
                       "strategy": {"job-index": float(request.row.index), "job-total": float(request.row.total)}})
        given = {name: interpolate(value, scope) for name, value in job.inputs.items()}
        course = GithubCourse(
            workflow, request.event, self, request.facts,
            inputs=checked_inputs(trigger.inputs, given, scope),
            variables=request.contexts.get("vars") or {},
            secrets=_secrets(request, job.secrets, scope),
            prefix=f"{request.row.id}..",
            github=request.contexts["github"],
            read_file=request.read_file,
        )
        return LocalRun(course, self._clock, course.first_rows(), on_change=lambda rows: progress(tuple(map(_step, rows))))


def _called(request: JobRequest) -> tuple[Workflow, Trigger]:
    uses = request.workflow.jobs[request.row.job].uses
    workflow = called_workflow(uses, request.read_file)
    if workflow is None:
        foreign = FOREIGN.fullmatch(uses)
        raise NotCallable(f"repository {foreign['repository']!r} is not here, or has no {foreign['path']} at "
                          f"{foreign['ref']!r}: push it to the platform, or copy the workflow into this repository and call "
                          "it as ./.github/workflows/NAME.yml" if foreign else f"{uses} is not there")
    trigger = workflow.trigger("workflow_call")
    assert trigger is not None, f"{uses} was not checked"
    return workflow, trigger


def _secrets(request: JobRequest, wanted: Value, scope: Scope) -> Mapping[str, str]:
    if wanted == "inherit":
        return request.secrets
    own = {name: value for name, value in request.secrets.items() if name == "GITHUB_TOKEN"}
    if not isinstance(wanted, dict):
        return own
    with_secrets = Scope({**scope.contexts, "secrets": dict(request.secrets)})
    return {**own, **{name: interpolate_text(value, with_secrets) for name, value in wanted.items()}}


async def _stop_with(cancel: asyncio.Event, run: LocalRun) -> None:
    await cancel.wait()
    run.cancel()


def _step(row: JobRow) -> StepRow:
    return StepRow(row.name, row.phase, row.started_at, row.finished_at, row.message)


def _result(course: GithubCourse, trigger: Trigger, decision: RunDecision) -> JobResult:
    rows = decision.rows
    jobs = {name: {"result": result_of(legs), "outputs": outputs_of(legs)}
            for name in course.workflow.jobs for legs in [[row for row in rows if row.job == name]]}
    scope = Scope({**course.contexts(), "jobs": jobs})
    try:
        outputs = {name: to_text(interpolate(value, scope)) for name, value in trigger.outputs.items()}
    except ExpressionError as error:
        return JobResult("Failed", f"outputs of {course.workflow.path}: {error.message}", steps=tuple(map(_step, rows)))
    images = tuple(image for row in rows for image in row.images)
    return JobResult(decision.phase, decision.message, outputs, tuple(map(_step, rows)), images)
