"""The workflows that a workflow calls: found, read, and judged before anything runs.

`./.github/workflows/x.yml` is a file of the same commit; `owner/name/.github/workflows/x.yml@ref` one of another
repository, where `./` then means that repository at that ref.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from fairway.ci.call_checks import call_mistakes
from fairway.ci.permissions import excesses
from fairway.ci.spec import Mistake, Workflow, WorkflowError
from fairway.ci.workflow import decode_workflow

ReadFile = Callable[[str], str | None]
"""A file of the commit under test by its path, or one of another repository as `owner/name/path@ref`; None where it is not."""

FOREIGN = re.compile(r"(?P<repository>[^/@]+/[^/@]+)/(?P<path>\.github/workflows/[^@]+)@(?P<ref>.+)")


def no_file(path: str) -> str | None:
    return None


def called_workflow(uses: str, read_file: ReadFile) -> Workflow | None:
    """The workflow that `uses` names; None where there is no such file. Raises `WorkflowError` for one that is wrong."""
    path = uses.removeprefix("./")
    text = read_file(path)
    if text is None:
        return None
    workflow = decode_workflow(text, path)
    place = FOREIGN.fullmatch(path)
    if place is None:
        return workflow
    own = f"{place['repository']}/", f"@{place['ref']}"
    return replace(workflow, jobs={
        name: replace(job, uses=job.uses.removeprefix("./").join(own)) if job.uses.startswith("./") else job
        for name, job in workflow.jobs.items()})


def check_calls(workflow: Workflow, read_file: ReadFile) -> None:
    """Raises `WorkflowError` where a call of this workflow, or of one that it calls, cannot be made.

    Workflows of other repositories that are not here are not judged: their jobs fail when they are due.
    """
    if not any(job.uses for job in workflow.jobs.values()):
        return
    read: dict[str, Workflow | None] = {}

    def called(uses: str) -> Workflow | None:
        if uses not in read:
            read[uses] = called_workflow(uses, read_file)
        return read[uses]

    for one in _each(workflow, called, ()):
        missing = [Mistake(f"{job.uses.removeprefix('./')} does not exist in this commit", *job.places["uses"])
                   for job in one.jobs.values() if job.uses.startswith("./") and called(job.uses) is None]
        mistakes = (*missing, *call_mistakes(one, called))
        if mistakes:
            raise WorkflowError(one.path, tuple(sorted(mistakes, key=lambda m: (m.line, m.column))))
    beyond = excesses(workflow, called)
    if beyond:
        raise WorkflowError(beyond[0].path.removeprefix("./"), tuple(
            Mistake(e.message, e.line, e.column) for e in beyond if e.path == beyond[0].path))


def _each(workflow: Workflow, called: Callable[[str], Workflow | None], above: tuple[str, ...]) -> Iterator[Workflow]:
    """The workflow and all that it calls, near and far. Raises `WorkflowError` where one leads back to itself."""
    yield workflow
    trail = (*above, workflow.path)
    for job in workflow.jobs.values():
        other = called(job.uses) if job.uses else None
        if other is None:
            continue
        if other.path in trail:
            circle = " → ".join((*trail[trail.index(other.path):], other.path))
            raise WorkflowError(workflow.path, (Mistake(f"workflows call each other in a circle: {circle}",
                                                        *job.places["uses"]),))
        yield from _each(other, called, trail)
