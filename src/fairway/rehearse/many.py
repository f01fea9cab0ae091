"""The same rehearsal with many seeds: how often, how late, how many."""

from __future__ import annotations

import math
import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import dataclass

from fairway.rehearse.run import Ending, clear_at, course, in_world
from fairway.rehearse.spec import Scenario
from fairway.rehearse.subject import Subject
from fairway.rehearse.users import Luck
from fairway.rehearse.world import World

Z95 = 1.96
STOPPED = ("aborted", "rolled back")
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
    """`clear_at`, `requests` and `errors` are (median, 95th percentile) of the runs that were aborted or rolled back."""

    runs: int
    promoted: int
    aborted: int
    rolled_back: int
    held: int
    clear_at: tuple[float, float]
    requests: tuple[float, float]
    errors: tuple[float, float]
    broken: tuple[str, ...]

    @property
    def stopped(self) -> int:
        return self.aborted + self.rolled_back

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
        return summed([one for seed in seeds for one in in_one_world(subject, scenario, [seed])])
    _work.subject, _work.scenario = subject, scenario
    if workers < 2:
        return summed(_chunk(seeds))
    size = max(math.ceil(runs / (workers * CHUNKS)), 1)
    chunks = [seeds[at:at + size] for at in range(0, runs, size)]
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        return summed([one for found in pool.map(_chunk, chunks, chunksize=1) for one in found])


class _Work:
    """What a forked worker inherits: objects need not travel."""

    subject: Subject
    scenario: Scenario


_work = _Work()


def _chunk(seeds: Sequence[int]) -> list[Short]:
    return in_one_world(_work.subject, _work.scenario, seeds)


def in_one_world(subject: Subject, scenario: Scenario, seeds: Sequence[int]) -> list[Short]:
    """What comes of each seed, as if it had been alone (`Seeds`). Raises `CannotStart`."""
    here = os.getpid()

    async def play(world: World) -> list[Short]:
        try:
            ending = await course(world, seeds)
            found = [(one.luck.seed, short(ending, one.luck, world)) for one in world.seeds.all]
        except Exception as error:
            if world.seeds.apart:
                world.seeds.tell(RuntimeError(f"seed {world.seeds.first.luck.seed}: {type(error).__name__}: {error}"))
            raise
        stories = [*found, *world.seeds.stories]
        if world.seeds.apart:
            world.seeds.tell(stories)
        return _in_order(stories)

    try:
        return in_world(subject, scenario, play)
    finally:
        if os.getpid() != here:
            os._exit(1)  # one that lost its way: nothing of it may go on in its parent's name


def _in_order(stories: Sequence[tuple[int, Short | Exception]]) -> list[Short]:
    """By seed. Raises what was raised in one of them."""
    found = []
    for _, story in sorted(stories, key=lambda one: one[0]):
        if isinstance(story, Exception):
            raise story
        found.append(story)
    return found


def short(ending: Ending, luck: Luck, world: World) -> Short:
    spans = luck.spans
    return Short(ending.outcome, clear_at(spans, ending), sum(span.canary for span in spans),
                 sum(span.canary_errors for span in spans), tuple(world.judge.broken))


def summed(runs: Sequence[Short]) -> Many:
    stopped = [run for run in runs if run.outcome in STOPPED]
    promoted, aborted, rolled_back, held = (sum(run.outcome == word for run in runs)
                                            for word in ("promoted", "aborted", "rolled back", "held"))
    broken = tuple(dict.fromkeys(what for run in runs for what in run.broken))
    return Many(len(runs), promoted, aborted, rolled_back, held, _middle([run.clear_at for run in stopped]),
                _middle([run.requests for run in stopped]), _middle([run.errors for run in stopped]), broken)


def _middle(values: Sequence[float]) -> tuple[float, float]:
    ordered = sorted(values)
    if not ordered:
        return 0.0, 0.0
    return ordered[len(ordered) // 2], ordered[min(math.ceil(len(ordered) * 0.95), len(ordered)) - 1]
