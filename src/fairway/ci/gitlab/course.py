"""One run of a GitLab pipeline, as the engine sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fairway.ci.course import JobResult, Look, Progress, RunDecision
from fairway.ci.gitlab.decide import Seen, decide, first_rows
from fairway.ci.gitlab.job import GitlabRunner, LegRequest, Upstream
from fairway.ci.gitlab.plan import Leg, Pipeline
from fairway.ci.gitlab.sources import Sources
from fairway.ci.states import JobRow


@dataclass(frozen=True)
class GitlabCourse:
    """`only` are ids of legs that this run is limited to; `chosen` names of manual jobs that need no person."""

    pipeline: Pipeline
    runner: GitlabRunner
    run_name: str
    repository: str
    sha: str
    ref: str
    sources: Sources
    secrets: Mapping[str, str] = field(default_factory=dict)
    only: frozenset[str] | None = None
    chosen: frozenset[str] = frozenset()
    attended: bool = True
    prefix: str = ""
    depth: int = 0
    places: int = 0

    @property
    def title(self) -> str:
        return self.pipeline.name or self.pipeline.configuration.path

    def first_rows(self) -> tuple[JobRow, ...]:
        return first_rows(self.pipeline, self.only)

    def decide(self, look: Look, now: datetime) -> RunDecision:
        return decide(Seen(self.pipeline, look, self.chosen, self.attended), now)

    async def run(self, row: JobRow, rows: tuple[JobRow, ...], progress: Progress, cancel: asyncio.Event) -> JobResult:
        leg = self.pipeline.leg(row.id)
        if leg is None:
            return JobResult("Failed", f"job {row.name!r} is not in the pipeline", failure="runner_system_failure")
        return await self.runner.run(LegRequest(self, leg, row, tuple(upstreams(self.pipeline, leg, rows))), progress, cancel)


def upstreams(pipeline: Pipeline, leg: Leg, rows: tuple[JobRow, ...]) -> list[Upstream]:
    """Jobs of which the leg gets artifacts and variables: those of `dependencies`, else of `needs`, else all earlier ones."""
    here = pipeline.stage_of(leg)
    by_id = {row.id: row for row in rows}
    found: list[Upstream] = []
    for other in sorted(pipeline.legs, key=pipeline.stage_of):
        row = by_id.get(other.id)
        if row is None or other.id == leg.id or row.phase not in ("Succeeded", "Failed"):
            continue
        if leg.needs is not None:
            need = next((need for need in leg.needs if need.leg == other.id), None)
            wanted = need is not None and need.artifacts
        else:
            wanted = pipeline.stage_of(other) < here
        if leg.job.dependencies is not None:
            wanted = wanted and other.job.name in leg.job.dependencies
        if wanted:
            found.append(Upstream(other.id, other.name, row.outputs))
    return found


def wanted_legs(pipeline: Pipeline, names: tuple[str, ...], *, with_needs: bool = True) -> frozenset[str] | None:
    """The ids of the jobs or legs of these names, and of what they wait for; None where a name is unknown."""
    found: set[str] = set()
    for name in names:
        picked = [leg for leg in pipeline.legs if name in (leg.name, leg.job.name, leg.id, leg.name.replace(", ", ","))]
        if not picked:
            return None
        waiting = list(picked)
        while waiting:
            leg = waiting.pop()
            if leg.id in found:
                continue
            found.add(leg.id)
            if not with_needs:
                continue
            if leg.needs is not None:
                waiting += [other for need in leg.needs if (other := pipeline.leg(need.leg)) is not None]
            else:
                waiting += [other for other in pipeline.legs
                            if pipeline.stage_of(other) < pipeline.stage_of(leg) and other.when != "manual"]
    return frozenset(found)
