"""The same rehearsal with many seeds: how often, how late, how many."""

from __future__ import annotations

import math
import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import dataclass

from fairway.rehearse.run import Rehearsal, rehearse
from fairway.rehearse.spec import Scenario
from fairway.rehearse.subject import Subject

Z95 = 1.96


@dataclass(frozen=True, slots=True)
class Short:
    """One of many runs."""

    outcome: str
    clear_at: float
    requests: int
    errors: int
    broken: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Many:
    """`clear_at`, `requests` and `errors` are (median, 95th percentile) of the runs that were aborted."""

    runs: int
    promoted: int
    aborted: int
    held: int
    clear_at: tuple[float, float]
    requests: tuple[float, float]
    errors: tuple[float, float]
    broken: tuple[str, ...]

    def interval(self, count: int) -> tuple[float, float]:
        """Where the probability lies, with 95 % confidence (Wilson)."""
        n, p = self.runs, count / self.runs
        middle = (p + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
        half = Z95 / (1 + Z95**2 / n) * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n * n))
        return max(middle - half, 0.0), min(middle + half, 1.0)


def rehearse_many(subject: Subject, scenario: Scenario, seed: int, runs: int) -> Many:
    """Seeds `seed`, `seed + 1`, … on every processor."""
    _work.subject, _work.scenario = subject, scenario
    seeds = range(seed, seed + runs)
    workers = min(len(os.sched_getaffinity(0)), runs) if hasattr(os, "sched_getaffinity") else 1
    if workers > 1 and "fork" in multiprocessing.get_all_start_methods():
        with multiprocessing.get_context("fork").Pool(workers) as pool:
            return summed(pool.map(_one, seeds, chunksize=max(runs // (workers * 8), 1)))
    return summed([_one(one) for one in seeds])


class _Work:
    """What a forked worker inherits: objects need not travel."""

    subject: Subject
    scenario: Scenario


_work = _Work()


def _one(seed: int) -> Short:
    return short(rehearse(_work.subject, _work.scenario, seed))


def short(found: Rehearsal) -> Short:
    return Short(found.outcome, found.clear_at, found.requests, found.errors, found.broken)


def summed(runs: Sequence[Short]) -> Many:
    aborted = [run for run in runs if run.outcome == "aborted"]
    promoted, held = (sum(run.outcome == word for run in runs) for word in ("promoted", "held"))
    broken = tuple(dict.fromkeys(what for run in runs for what in run.broken))
    return Many(len(runs), promoted, len(aborted), held, _middle([run.clear_at for run in aborted]),
                _middle([run.requests for run in aborted]), _middle([run.errors for run in aborted]), broken)


def _middle(values: Sequence[float]) -> tuple[float, float]:
    ordered = sorted(values)
    if not ordered:
        return 0.0, 0.0
    return ordered[len(ordered) // 2], ordered[min(math.ceil(len(ordered) * 0.95), len(ordered)) - 1]
