"""The same rehearsal with many seeds: how often, how late, how many."""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass

from fairway.rehearse.run import Rehearsal, course, in_world, rehearse
from fairway.rehearse.spec import Scenario
from fairway.rehearse.subject import Subject
from fairway.rehearse.world import World

Z95 = 1.96
CHUNKS = 4
"""Per processor: the last ones to finish wait for a quarter of the work at most."""


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
    """Seeds `seed`, `seed + 1`, … on every processor. How many processors there are changes nothing in the result."""
    seeds = range(seed, seed + runs)
    workers = min(len(os.sched_getaffinity(0)), runs) if hasattr(os, "sched_getaffinity") else 1
    if "fork" not in multiprocessing.get_all_start_methods():
        return summed([short(rehearse(subject, scenario, one)) for one in seeds])
    _work.subject, _work.scenario = subject, scenario
    if workers < 2:
        return summed(_branches(seeds))
    size = max(math.ceil(runs / (workers * CHUNKS)), 1)
    chunks = [seeds[at:at + size] for at in range(0, runs, size)]
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        return summed([one for found in pool.map(_branches, chunks, chunksize=1) for one in found])


class _Work:
    """What a forked worker inherits: objects need not travel."""

    subject: Subject
    scenario: Scenario


_work = _Work()


def _branches(seeds: Sequence[int]) -> list[Short]:
    """One world up to the moment at which the new version is applied, and from there a process for every seed: until then
    they do not differ. Raises `CannotStart`."""

    async def branch(world: World) -> list[Short]:
        return [await _branch(world, seed) for seed in seeds]

    return in_world(_work.subject, _work.scenario, branch)


async def _branch(world: World, seed: int) -> Short:
    """The child goes on from here in this very world, tells what came of it, and ends; nothing of it comes back here."""
    ours, theirs = os.pipe()
    loop = asyncio.get_running_loop()
    child = os.fork()
    if child:
        os.close(theirs)
        with os.fdopen(ours, "rb") as answer:
            told = answer.read()
        os.waitpid(child, 0)  # noqa: ASYNC222 (time stands still in this world until the child has ended)
        if not told:
            raise RuntimeError(f"the rehearsal with seed {seed} ended without a word")
        found = pickle.loads(told)
        if isinstance(found, Exception):
            raise found
        assert isinstance(found, Short)
        return found
    asyncio._set_running_loop(loop)  # a loop belongs to the process that started it, and this one only counts
    try:
        said = pickle.dumps(short(await course(world, seed)))
    except Exception as error:  # whatever it is, the parent has to hear of it
        said = pickle.dumps(RuntimeError(f"seed {seed}: {type(error).__name__}: {error}"))
    with os.fdopen(theirs, "wb") as answer:
        answer.write(said)
    os._exit(0)


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
