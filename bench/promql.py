"""PromQL over the embedded store: the queries that an analysis asks, over 1 000 and 10 000 series.

The peer is the same arithmetic in plain Python, series by series, as a first implementation would have it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

from fairway.metrics.promql import instant
from fairway.metrics.store import Store

POINTS, STEP_MS, START_MS = 60, 1000, 1_700_000_000_000
RUNS = 15
RATE = 'sum by (pod) (rate(requests_total{code!~"5.."}[1m]))'


def measure() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for count in (1000, 10_000):
        store, rows = _filled(count)
        at = START_MS + (POINTS - 1) * STEP_MS
        mine = _median(partial(instant, RATE, store, at))
        naive = _median(partial(_naive, rows))
        found[f"{count} series"] = {"rate_by_pod_ms": round(1000 * mine, 2), "plain_python_ms": round(1000 * naive, 2),
                                    "times_faster": round(naive / mine, 1)}
    return found


def _filled(count: int) -> tuple[Store, list[tuple[dict[str, str], list[tuple[int, float]]]]]:
    store = Store()
    block = store.block("bench")
    rows = []
    for n in range(count):
        labels = {"__name__": "requests_total", "pod": f"pod-{n % 50}", "path": f"/{n}", "code": ("200", "500")[n % 10 == 0]}
        rows.append((labels, [(START_MS + i * STEP_MS, float(i * (n % 7 + 1))) for i in range(POINTS)]))
    numbers = [block.row(labels) for labels, _ in rows]
    for i in range(POINTS):
        block.append(START_MS + i * STEP_MS, numbers, [points[i][1] for _, points in rows])
    return store, rows


def _naive(rows: list[tuple[dict[str, str], list[tuple[int, float]]]]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for labels, points in rows:
        if labels["code"].startswith("5"):
            continue
        rise = 0.0
        for (_, before), (_, after) in pairwise(points):
            rise += after - before if after >= before else after
        seconds = (points[-1][0] - points[0][0]) / 1000
        sums[labels["pod"]] = sums.get(labels["pod"], 0.0) + rise / seconds
    return sums


def _median(call: Callable[[], object]) -> float:
    times = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)
