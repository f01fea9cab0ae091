"""A twenty-minute canary rehearsed by the real controllers, once and a thousand times.

`rehearsal` is one process, imports done, all files rendered; the goal is 200 ms. `thousand_runs_s` is the wall time of a
thousand with a good version, on all processors; the goal is 60 s. `thousand_apart_s` is that of the dearest case,
extrapolated: a version at the very limit, of which looks say something else for every seed, so that they share little.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from tests.rehearse.files import shop, template
from tests.rehearse.test_random import play as random_play

from fairway.rehearse.many import rehearse_many
from fairway.rehearse.run import rehearse
from fairway.rehearse.spec import Scenario, decode_scenario
from fairway.rehearse.subject import Subject

ONES, MANY, FEW, RANDOM = 15, 1000, 100, 200


def measure() -> dict[str, Any]:
    return {"rehearsal": _rehearsal(), "random": _random()}


def _rehearsal() -> dict[str, Any]:
    subject, good = shop(template()), Scenario()
    rehearse(subject, good, 0)
    walls, cpus = [], []
    for seed in range(ONES):
        wall, cpu = time.perf_counter(), time.process_time()
        found = rehearse(subject, good, seed)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    many = _many(subject, good, MANY)
    apart = _many(subject, decode_scenario({"canary": {"errors": "1.2%"}}), FEW)
    bad = rehearse(subject, decode_scenario({"canary": {"errors": "100%"}}), 0)
    return {"virtual_minutes": round(found.decided_at / 60, 1), "measurements": found.judged,
            "wall_ms": round(1000 * statistics.median(walls)), "cpu_ms": round(1000 * statistics.median(cpus)),
            "best_wall_ms": round(1000 * min(walls)), "thousand_runs_s": round(many * 1000, 1),
            "thousand_apart_s": round(apart * 1000, 1),
            "all_failing_stopped_s": round(bad.clear_at, 1)}


def _many(subject: Subject, scenario: Scenario, runs: int) -> float:
    """Seconds a run."""
    begun = time.perf_counter()
    rehearse_many(subject, scenario, 0, runs)
    return (time.perf_counter() - begun) / runs


def _random() -> dict[str, Any]:
    """Random rollouts under random faults; `make e2e` does ten thousand."""
    begun, broken = time.perf_counter(), 0
    for seed in range(RANDOM):
        broken += bool(random_play(seed).broken)
    return {"runs": RANDOM, "broken": broken, "seconds": round(time.perf_counter() - begun, 1)}
