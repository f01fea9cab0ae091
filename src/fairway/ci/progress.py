"""What a runner reports, put into the rows of the run. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from fairway.ci.course import JobResult
from fairway.ci.states import JobRow


def concluded(row: JobRow, result: JobResult, now: datetime) -> JobRow:
    """The row of a leg that ended."""
    return replace(row, phase=result.phase, message=result.message, outputs=dict(result.outputs), steps=result.steps,
                   images=result.images, finished_at=now, exit_code=result.exit_code, failure=result.failure,
                   coverage=result.coverage, url=result.url or row.url, annotations=result.annotations)
