"""Native histograms: layouts brought together, and what queries make of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fairway.metrics.histogram import CUSTOM, Histogram, added, exponential_bound, subtracted
from fairway.metrics.labels import LabelTable
from fairway.metrics.promql import Answer, Vector, instant
from fairway.metrics.series import Block
from tests.metrics.samples import Blocks


def growing(count: int, **labels: str) -> list[tuple[dict[str, str], list[Histogram]]]:
    """One counter: `i` observations in each of (0.5, 1] and (1, 2] after i scrapes."""
    natives = [Histogram(count=2.0 * i, sum=2.25 * i, positive={0: float(i), 1: float(i)} if i else {}) for i in range(count)]
    return [({"__name__": "latency", **labels}, natives)]


def source(*series: tuple[dict[str, str], list[Histogram]], step_s: int = 15) -> Blocks:
    natives = np.full((len(series), len(series[0][1])), None, object)
    for row, (_, histograms) in enumerate(series):
        natives[row] = histograms
    times = np.arange(natives.shape[1], dtype=np.int64) * step_s * 1000
    return Blocks(Block(LabelTable.of([labels for labels, _ in series]), times, np.zeros(natives.shape), natives))


def vector(answer: Answer) -> Vector:
    assert isinstance(answer.value, Vector)
    return answer.value


def test_bounds_follow_from_the_schema() -> None:
    assert [exponential_bound(0, i) for i in (-1, 0, 1, 2)] == [0.5, 1.0, 2.0, 4.0]
    assert exponential_bound(3, 8) == 2.0
    assert exponential_bound(-2, 1) == 16.0
    assert exponential_bound(2, 4 * 1024) == pytest.approx(1.7976931348623157e308)


def test_a_lower_schema_a_wider_zero_bucket_and_common_bounds_are_what_two_histograms_share() -> None:
    fine = Histogram(schema=1, count=4, sum=4, positive={1: 1.0, 2: 1.0, 3: 2.0})
    coarse = Histogram(schema=0, zero_threshold=1.0, zero_count=5, count=6, sum=9, positive={2: 1.0})
    total = added(fine, coarse)
    # (1, 1.41] and (1.41, 2] become (1, 2]; nothing of `fine` lies below 1
    assert total.histogram.same(Histogram(0, 1.0, 5, 10, 13, {1: 2.0, 2: 3.0}))
    left = Histogram(CUSTOM, count=3, sum=3, positive={0: 1.0, 1: 1.0, 2: 1.0}, custom=(1.0, 2.0))
    right = Histogram(CUSTOM, count=2, sum=9, positive={0: 1.0, 1: 1.0}, custom=(2.0, 5.0))
    both = added(left, right)
    assert both.reconciled and both.histogram.same(Histogram(CUSTOM, count=5, sum=12, positive={0: 3.0, 1: 2.0}, custom=(2.0,)))


def test_a_counter_fell_when_any_bucket_did() -> None:
    before = Histogram(count=3, sum=3, positive={1: 2.0, 2: 1.0})
    assert not Histogram(count=4, sum=4, positive={1: 2.0, 2: 2.0}).fell_since(before)
    assert Histogram(count=9, sum=9, positive={1: 1.0, 2: 8.0}).fell_since(before)
    assert subtracted(before, before).histogram.same(Histogram())


def test_the_latency_query_of_a_dashboard() -> None:
    store = source(*growing(21, pod="a"), *growing(21, pod="b"))
    at = 300_000
    query = "histogram_quantile({}, sum(rate(latency[1m])))"
    assert vector(instant(query.format(0.25), store, at)).values[0, 0] == pytest.approx(math.sqrt(0.5))
    assert vector(instant(query.format(0.75), store, at)).values[0, 0] == pytest.approx(math.sqrt(2))
    assert vector(instant("histogram_fraction(0, 1, sum(rate(latency[1m])))", store, at)).values[0, 0] == pytest.approx(0.5)
    assert vector(instant("histogram_count(sum(rate(latency[1m])))", store, at)).values[0, 0] == pytest.approx(4 / 15)
    assert vector(instant("histogram_avg(latency)", store, at)).values[:, 0].tolist() == [1.125, 1.125]


def test_numbers_and_histograms_do_not_mix_silently() -> None:
    store = source(*growing(3))
    answer = instant("latency + 1", store, 30_000)
    assert len(vector(answer)) == 0
    assert answer.notes.infos == ['PromQL info: incompatible sample types encountered for binary operator "+": histogram float']
    assert instant("max(latency)", store, 30_000).notes.infos == ["PromQL info: ignored histogram in max aggregation"]
