"""Which jobs of a workflow will start, as far as it can be said before anything has run. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from fairway.ci.course import Look
from fairway.ci.decide import Seen, decide
from fairway.ci.environment import RunFacts, github_context
from fairway.ci.events import Event
from fairway.ci.plan import first_rows
from fairway.ci.spec import Workflow

_NEVER = datetime(2000, 1, 1, tzinfo=UTC)
_OUTPUTS = re.compile(r"\bneeds\.[\w-]+\.outputs|fromJSON\(\s*needs", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ForeseenJob:
    """`starts` is `at once`, `after …`, `no`, or `depends` where an output of another job decides."""

    name: str
    starts: str
    why: str = ""


def foreseen(workflow: Workflow, event: Event, variables: Mapping[str, str]) -> list[ForeseenJob]:
    """Every job, as if each that starts succeeded."""
    contexts = {"github": github_context(event, workflow, RunFacts("explain")), "inputs": dict(event.inputs),
                "vars": dict(variables)}
    rows = first_rows(workflow)
    started: set[str] = set()
    while True:
        decision = decide(Seen(workflow, Look(rows, free=1000), contexts), _NEVER)
        if not decision.start:
            break
        started |= {*decision.start}
        rows = tuple(replace(row, phase="Succeeded", finished_at=_NEVER) if row.id in decision.start else row
                     for row in decision.rows)
    found = []
    for row in decision.rows:
        job = workflow.jobs[row.job]
        unsure = bool(_OUTPUTS.search(f"{job.condition} {job.strategy.matrix}"))
        after = f"after {', '.join(job.needs)}" if job.needs else "at once"
        if unsure:
            found.append(ForeseenJob(row.name, "depends", f"on an output of {', '.join(job.needs)}"
                                     f"{f': if {job.condition}' if job.condition else ''}"))
        elif row.id in started:
            found.append(ForeseenJob(row.name, after, f"if: {job.condition}" if job.condition else ""))
        else:
            found.append(ForeseenJob(row.name, "no", row.message))
    return found
