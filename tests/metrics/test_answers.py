"""Answers as JSON, and queries as text again."""

from __future__ import annotations

import pytest

from fairway.metrics.answers import answered, histogram_as_json
from fairway.metrics.histogram import CUSTOM, Histogram
from fairway.metrics.promql import instant, parse
from fairway.metrics.promql.printer import pretty
from tests.metrics.samples import Blocks, block, named


def test_a_native_histogram_names_its_buckets_and_which_bounds_belong_to_them() -> None:
    both = Histogram(zero_threshold=0.5, zero_count=1, count=6, sum=3, positive={1: 2.0}, negative={1: 3.0})
    assert histogram_as_json(both) == {
        "count": "6", "sum": "3", "buckets": [[1, "-2", "-1", "3"], [3, "-0.5", "0.5", "1"], [0, "1", "2", "2"]],
    }  # fmt: skip
    custom = Histogram(CUSTOM, count=1, sum=1, positive={1: 1.0}, custom=(5.0,))
    assert histogram_as_json(custom)["buckets"] == [[0, "5", "+Inf", "1"]]


def test_more_series_than_asked_for_are_cut_and_that_is_said() -> None:
    source = Blocks(block(10, [named("x", [1], i=str(i)) for i in range(3)]))
    found = answered(instant("x", source, 0), ranged=False, limit=2)
    assert len(found["data"]["result"]) == 2 and found["warnings"] == ["results truncated due to limit"]


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("sum(rate(x{a='b'}[300s]))by(c)/2", 'sum by (c) (rate(x{a="b"}[5m])) / 2'),
        ("x offset -1h @ end()", "x @ end() offset -1h"),
        ('{"a.b", c!~"d"} + ignoring(e) group_left() y', '{"a.b",c!~"d"} + ignoring (e) group_left () y'),
        ("max_over_time((x > bool 1)[1d:5m+1m])", "max_over_time((x > bool 1)[1d:(5m + 1m)])"),
        ("-x ^ 2 </ 3", "-x ^ 2 </ 3"),
        ("a + fill(0) b", "a + fill (0) b"),
    ],
)
def test_a_query_is_written_in_one_way(written: str, canonical: str) -> None:
    assert pretty(parse(written)) == canonical
    assert pretty(parse(canonical)) == canonical


def test_a_long_query_is_broken_into_lines() -> None:
    query = "sum by (pod) (rate(http_requests_total{namespace=\"shop\"}[5m])) / sum(rate(http_requests_total[5m])) > 0.01"
    lines = pretty(parse(query)).splitlines()
    assert len(lines) > 1 and parse(pretty(parse(query))) is not None and all(len(line) <= 100 for line in lines)
