"""A twenty-minute canary rehearsed by the real controllers, and the native gate's error bounds over a thousand runs each.

`rehearsal` is one process, imports done, all files rendered; the goal is 200 ms. `thousand_runs_s` is the wall time of a
thousand, on all processors; the goal is 60 s.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from tests.rehearse.files import shop, template
from tests.rehearse.test_random import play as random_play
from tests.rollouts.test_gate import play as gate_play

from fairway.rehearse.many import rehearse_many
from fairway.rehearse.run import rehearse
from fairway.rehearse.spec import Scenario, decode_scenario

STEPS = ((0.05, 300.0), (0.2, 300.0), (0.5, 300.0), (0.8, 300.0))
ONES, MANY, RANDOM, GATES = 15, 1000, 200, 1000


def measure() -> dict[str, Any]:
    return {"rehearsal": _rehearsal(), "random": _random(), "gate": _gate()}


def _rehearsal() -> dict[str, Any]:
    subject, good = shop(template()), Scenario()
    rehearse(subject, good, 0)
    walls, cpus = [], []
    for seed in range(ONES):
        wall, cpu = time.perf_counter(), time.process_time()
        found = rehearse(subject, good, seed)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    begun = time.perf_counter()
    rehearse_many(subject, good, 0, MANY)
    many = time.perf_counter() - begun
    bad = rehearse(subject, decode_scenario({"canary": {"errors": "100%"}}), 0)
    return {"virtual_minutes": round(found.decided_at / 60, 1), "measurements": found.judged,
            "wall_ms": round(1000 * statistics.median(walls)), "cpu_ms": round(1000 * statistics.median(cpus)),
            "best_wall_ms": round(1000 * min(walls)), "thousand_runs_s": round(many * 1000 / MANY, 1),
            "all_failing_stopped_s": round(bad.clear_at, 1)}


def _random() -> dict[str, Any]:
    """Random rollouts under random faults; `make e2e` does ten thousand."""
    begun, broken = time.perf_counter(), 0
    for seed in range(RANDOM):
        broken += bool(random_play(seed).broken)
    return {"runs": RANDOM, "broken": broken, "seconds": round(time.perf_counter() - begun, 1)}


def _gate() -> dict[str, Any]:
    """Looks every half second, four steps of five minutes. The bound on false aborts is 1 %."""
    found: dict[str, Any] = {}
    for rate in (2, 20, 200):
        runs = GATES if rate < 200 else GATES // 5
        false = sum(gate_play(seed, rate, 0.005, 0.005, steps=STEPS)[0] for seed in range(runs))
        incident = sum(gate_play(seed, rate, 0.001, 0.001, steps=STEPS, incident=(400, 520, 0.05))[0] for seed in range(runs))
        found[f"{rate} rps"] = {"runs": runs, "false_aborts": false / runs, "in_an_incident": incident / runs}
    dead = [gate_play(seed, 200, 1.0, 0.001, steps=((0.05, 10),)) for seed in range(GATES)]
    five = [gate_play(seed, 200, 0.05, 0.001, steps=((0.05, 900),)) for seed in range(GATES)]
    worst = {"worst_s": max(at for _, at, _, _ in dead), "worst_bad": max(bad for *_, bad in dead)}
    found["100 % failing, 200 rps, 5 %"] = worst
    found["5 % failing"] = {"median_requests": statistics.median(requests for _, _, requests, _ in five), "twice_wald": 62}
    return found
