"""What probe results mean: thresholds, and when a container counts as started, ready, unhealthy. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from fairway.node.spec import Probe

Verdict = Literal["unknown", "passed", "failed"]


@dataclass(frozen=True, slots=True)
class Tally:
    """One probe of one run of a container. `row` results in a row were like the last one."""

    verdict: Verdict = "unknown"
    last: bool | None = None
    row: int = 0
    message: str = ""


def step(tally: Tally, probe: Probe, ok: bool, message: str = "", *, counts: bool = True) -> Tally:
    """The tally after one more result. A failure that does not count (an early look) changes nothing."""
    if not ok and not counts:
        return replace(tally, message=message) if tally.verdict != "passed" else tally
    row = tally.row + 1 if tally.last == ok else 1
    needed = probe.success_threshold if ok else probe.failure_threshold
    verdict: Verdict = tally.verdict
    if row >= needed:
        verdict = "passed" if ok else "failed"
    return Tally(verdict, ok, row, "" if ok else message)


@dataclass(frozen=True, slots=True)
class Health:
    """`unhealthy`: why the container has to be stopped and started anew; "" where it does not."""

    started: bool
    ready: bool
    unhealthy: str = ""
    grace_s: int | None = None
    message: str = ""
    failing: tuple[str, ...] = ()
    """What the last look of each probe complained about, if it did."""


def health(startup: tuple[Probe, Tally] | None, liveness: tuple[Probe, Tally] | None,
           readiness: tuple[Probe, Tally] | None, *, hook_done: bool) -> Health:
    """A container without a startup probe has started when its postStart hook is done; without a readiness probe it is
    ready from then on."""
    started = hook_done and (startup is None or startup[1].verdict == "passed")
    ready = started and (readiness is None or readiness[1].verdict == "passed")
    message = readiness[1].message if readiness is not None and not ready else ""
    named = (("Startup", startup), ("Liveness", liveness), ("Readiness", readiness))
    failing = tuple(f"{name} probe failed: {entry[1].message}" for name, entry in named if entry and entry[1].last is False)
    for name, entry in named[:2]:
        if entry is not None and entry[1].verdict == "failed":
            return Health(started, ready, f"{name} probe failed: {entry[1].message}", entry[0].grace_s, failing=failing)
    return Health(started, ready, message=message, failing=failing)
