"""Which runs and artifacts are kept, and how runs are counted, so that a number never comes back when old runs are gone.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fairway.ci.states import FINISHED
from fairway.ci.trigger import is_gitlab
from fairway.kube.decision import earliest
from fairway.kube.objects import Obj, annotations_of, meta_of, parse_time, spec_of, status_of

KEPT = 100
"""Finished runs of one workflow. One is some 10 kB in the API and, with logs and artifacts, a few MB on disk."""


def age_of(run: Obj) -> tuple[str, str]:
    """Sorts runs by age, the oldest first."""
    meta = meta_of(run)
    return str(meta.get("creationTimestamp", "")), str(annotations_of(run).get("fairway.dev/pushed-at", "")) or meta["name"]


def older_ones(run: Obj, runs: Iterable[Obj]) -> list[Obj]:
    """Runs of the same workflow of the same repository, the oldest first."""
    return sorted((other for other in runs if _of(other) == _of(run) and age_of(other) < age_of(run)), key=age_of)


def number_of(run: Obj, older: Sequence[Obj]) -> int:
    """1 for the first run of a workflow; from there on one more than that of the run before."""
    count = 0
    for one in (run, *reversed(older)):
        if recorded := status_of(one).get("number"):
            return int(recorded) + count
        count += 1
    return count


def is_outdated(run: Obj, runs: Iterable[Obj]) -> bool:
    """Whether this finished run makes room: enough younger ones are finished too.

    Runs that made images are counted apart: those of pull requests do not push out where a deployed digest comes from.
    """
    younger = [other for other in runs if _of(other) == _of(run) and age_of(other) > age_of(run)
               and bool(status_of(other).get("images")) == bool(status_of(run).get("images"))]
    return sum(status_of(other).get("phase") in FINISHED for other in younger) >= KEPT


@dataclass(frozen=True, slots=True)
class Expiry:
    """`gone` are artifacts by name."""

    gone: tuple[str, ...] = ()
    wake_at: datetime | None = None


LOOK_AGAIN = timedelta(hours=1)
"""After artifacts that expired and are spared."""


def expired_artifacts(run: Obj, runs: Iterable[Obj], now: datetime) -> Expiry:
    """Artifacts of a finished run that are past their time. As GitLab does, those of the last successful pipeline of a branch
    or tag stay whatever their time; GitHub spares none. What has no time stays with its run."""
    entries = [entry for entry in status_of(run).get("artifacts") or () if entry.get("expiresAt") and not entry.get("expired")]
    times = {str(entry["name"]): parse_time(str(entry["expiresAt"])) for entry in entries}
    over = tuple(name for name, at in times.items() if at <= now)
    later = earliest(*(at for at in times.values() if at > now))
    if over and is_gitlab(str(spec_of(run).get("workflow"))) and _is_last_good(run, runs):
        return Expiry((), earliest(later, now + LOOK_AGAIN))
    return Expiry(over, later)


def _is_last_good(run: Obj, runs: Iterable[Obj]) -> bool:
    return status_of(run).get("phase") == "Succeeded" and not any(
        _of(other) == _of(run) and spec_of(other).get("ref") == spec_of(run).get("ref") and age_of(other) > age_of(run)
        and status_of(other).get("phase") == "Succeeded" for other in runs)


def _of(run: Obj) -> tuple[object, object]:
    return spec_of(run).get("repository"), spec_of(run).get("workflow")
