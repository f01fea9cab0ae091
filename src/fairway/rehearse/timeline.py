"""What is said in the course of a rehearsal: the controllers' own reasons, each once, and what the outside did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fairway.kube.decision import Outcome, Reason
from fairway.kube.objects import Key, Obj, dig, meta_of
from fairway.kube.reconcile import Controller, Watch


@dataclass(frozen=True, slots=True)
class Entry:
    """`at` is in seconds since the new version was applied."""

    at: float
    who: str
    code: str
    message: str


class Timeline:
    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.last: tuple[Reason, ...] = ()
        self._origin: datetime | None = None
        self._said: dict[tuple[str, Key], dict[str, str]] = {}
        self._counted: dict[tuple[str, str, str], int] = {}
        self._last_phase: dict[tuple[str, str], str] = {}

    def begin(self, now: datetime) -> None:
        self._origin = now

    def note(self, now: datetime, who: str, code: str, message: str) -> None:
        if self._origin is not None:
            self.entries.append(Entry((now - self._origin).total_seconds(), who, code, message))

    def reasons(self, now: datetime, who: str, key: Key, reasons: Sequence[Reason]) -> None:
        """A reason that holds on is said once; one that comes back is said again."""
        self.last = tuple(reasons) or self.last
        before = self._said.get((who, key), {})
        for reason in reasons:
            if reason.code not in before or (reason.code in _EVERY_TIME and before[reason.code] != reason.message):
                self.note(now, who, reason.code, reason.message)
        self._said[who, key] = {reason.code: reason.message for reason in reasons}

    def measured(self, now: datetime, run: Obj) -> None:
        """New measurements of an AnalysisRun: every bad one, and of the others the first in a row."""
        for result in dig(run, "status", "metricResults", default=[]):
            name, metric = str(meta_of(run)["name"]), str(result.get("name"))
            for phase, counter in _COUNTERS:
                count = int(result.get(counter) or 0)
                before = self._counted.get((name, metric, phase), 0)
                if count <= before:
                    continue
                self._counted[name, metric, phase] = count
                if self._last_phase.get((name, metric)) != phase or phase in ("Failed", "Error"):
                    last = (result.get("measurements") or [{}])[-1]
                    said = " ".join(str(part) for part in (last.get("value"), last.get("message")) if part)
                    self.note(now, "analysis", f"Measured{phase}", f"{metric}: {said}" if said else metric)
                self._last_phase[name, metric] = phase


_EVERY_TIME = frozenset(("RolloutStepCompleted", "ScalingReplicaSet", "RolloutAborted", "RolloutCompleted", "Advanced",
                         "Halted", "NewRevision"))
_COUNTERS = (("Successful", "successful"), ("Failed", "failed"), ("Inconclusive", "inconclusive"), ("Error", "error"))


class Noted:
    """A controller whose reasons are written down. Implements `Controller`."""

    def __init__(self, controller: Controller, timeline: Timeline) -> None:
        self.name, self.resource, self.workers = controller.name, controller.resource, controller.workers
        self._controller = controller
        self._timeline = timeline

    def watches(self) -> Sequence[Watch]:
        return self._controller.watches()

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        outcome = await self._controller.reconcile(key, now)
        self._timeline.reasons(now, self.name, key, outcome.reasons)
        return outcome
