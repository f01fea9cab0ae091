"""Which runs are kept, and how runs are counted, so that a number never comes back when old runs are gone. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fairway.ci.states import FINISHED
from fairway.kube.objects import Obj, annotations_of, meta_of, spec_of, status_of

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


def _of(run: Obj) -> tuple[object, object]:
    return spec_of(run).get("repository"), spec_of(run).get("workflow")
