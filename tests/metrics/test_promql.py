"""PromQL as analyses and alerts use it; the whole language is judged by the conformance suite."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

import numpy as np
import pytest

from fairway.metrics.promql import BadQuery, QueryError, Vector, instant, over_range
from fairway.metrics.series import Block
from tests.metrics.samples import Blocks, ask, block, named, shown

TRAFFIC = Blocks(
    block(10, [
        named("rq", [10.0 * i for i in range(31)], svc="shop", code="200", hash="new"),
        named("rq", [1.0 * i for i in range(31)], svc="shop", code="500", hash="new"),
        named("rq", [20.0 * i for i in range(31)], svc="shop", code="200", hash="old"),
        named("idle", [7.0] * 31, svc="shop", code="200"),
    ]),
    block(10, [
        named("t_bucket", [bound * i for i in range(31)], le=le)
        for le, bound in (("0.1", 5.0), ("0.5", 9.0), ("1", 9.9), ("+Inf", 10.0))
    ]),
)  # fmt: skip


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("sum(rate(rq[1m]))", {"{}": 3.1}),
        ('sum(rate(rq{hash="new",code!~"5.*"}[1m])) / sum(rate(rq{hash="new"}[1m]))', {"{}": 10 / 11}),
        ("sum by (hash) (increase(rq[100s]))", {"{hash=new}": 110.0, "{hash=old}": 200.0}),
        ("histogram_quantile(0.5, sum by (le) (rate(t_bucket[1m])))", {"{}": 0.1}),
        ("histogram_quantile(0.99, sum by (le) (rate(t_bucket[1m])))", {"{}": 1.0}),
        ("histogram_quantile(0.999, sum by (le) (rate(t_bucket[1m])))", {"{}": 1.0}),
        ('rate(idle[1m]) / rate(idle[1m])', {"{code=200,svc=shop}": math.nan}),
        ('rate(idle[1m]) / rate(idle[1m]) > 0.95', {}),
        ('sum(rate(rq{code="404"}[1m]))', {}),
        ('sum(rate(rq{code="404"}[1m])) or vector(0)', {"{}": 0.0}),
        ('absent(rq{code="404"})', {"{code=404}": 1.0}),
        ('rq{code="500"} / ignoring(code) rq{code="200",hash="new"}', {"{hash=new,svc=shop}": 0.1}),
        ("topk(1, sum by (hash) (rq))", {"{hash=old}": 600.0}),
        ("max_over_time(sum(rate(rq[1m]))[2m:30s])", {"{}": 3.1}),
        ('rq{code="500"} offset 100s', {"rq{code=500,hash=new,svc=shop}": 20.0}),
        ('rq{code="500"} @ 50', {"rq{code=500,hash=new,svc=shop}": 5.0}),
        ("scalar(sum(idle)) * 2", 14.0),
        ('count_values("v", idle)', {"{v=7}": 1.0}),
        ('label_replace(idle, "who", "$1-$2", "svc", "(sh)(op)")', {"idle{code=200,svc=shop,who=sh-op}": 7.0}),
        ('sum by (hash) (rq{code="404"}) + fill(0) sum by (hash) (rq{code="500"})', {"{hash=new}": 30.0}),
    ],
)  # fmt: skip
def test_answers(query: str, expected: dict[str, float] | float) -> None:
    got = ask(query, TRAFFIC, 300)
    assert got == pytest.approx(expected, rel=1e-9, nan_ok=True)


def test_windows_and_lookback_are_open_on_the_left() -> None:
    source = Blocks(block(10, [named("x", [1, 2, 3])]))
    assert ask("count_over_time(x[10s])", source, 20) == {"{}": 1.0}
    assert ask("x", source, 319.999) == {"x{}": 3.0}
    assert ask("x", source, 320) == {}


def test_a_stale_marker_ends_a_series_at_once_and_is_no_sample() -> None:
    source = Blocks(block(10, [named("x", [1, 2, "stale", "_"])]))
    assert ask("x", source, 19) == {"x{}": 2.0}
    assert ask("x", source, 20) == {}
    assert ask("x", source, 40) == {}
    assert ask("sum_over_time(x[1m])", source, 30) == {"{}": 3.0}


def test_a_range_query_is_the_instant_query_at_every_step() -> None:
    """One computation serves both, so both must agree wherever series come, go and reset."""
    chance = np.random.default_rng(7)
    counts = np.cumsum(chance.integers(0, 9, (6, 60)), axis=1).astype(float)
    counts[2, 30:] -= counts[2, 30]
    rows = [named("c", ["_" if chance.random() < 0.2 else v for v in row], i=str(i % 3), j=str(i))
            for i, row in enumerate(counts)]  # fmt: skip
    source = Blocks(block(5, rows))
    for query in ("rate(c[40s])", "sum by (i) (increase(c[1m]))", "c", "topk(2, c)", "c and c > 50", "avg_over_time(c[30s])",
                  "max by (i) (c) - on (i) min by (i) (c)", "changes(c[1m])", "deriv(c[1m])", "quantile(0.5, c)",
                  "quantile_over_time(0.7, c[1m])", "stddev(c)", "rate(c[30s:10s])", "irate(c[40s])", "c offset 20s"):
        ranged = over_range(query, source, 0, 300_000, 7_000).value
        assert isinstance(ranged, Vector)
        for k, at in enumerate(range(0, 300_001, 7_000)):
            rows_at = {shown(row): float(ranged.values[i, k]) for i, row in enumerate(ranged.labels.rows())
                       if ranged.present[i, k]}  # fmt: skip
            assert rows_at == pytest.approx(ask(query, source, at / 1000), nan_ok=True), (query, at)


def naive_rate(times: list[float], values: list[float], start: float, end: float) -> float:
    """Extrapolated rate of one series, sample by sample: a second opinion on the vectorised one."""
    increase = values[-1] - values[0] + sum(a for a, b in itertools.pairwise(values) if b < a)
    covered = times[-1] - times[0]
    spacing = covered / (len(times) - 1)
    head, tail = times[0] - start, end - times[-1]
    head = head if head < 1.1 * spacing else spacing / 2
    if increase > 0 and values[0] >= 0:
        head = min(head, covered * values[0] / increase)
    tail = tail if tail < 1.1 * spacing else spacing / 2
    return increase * (covered + head + tail) / covered / (end - start)


def test_rate_agrees_with_a_sample_by_sample_reckoning() -> None:
    chance = np.random.default_rng(3)
    for _ in range(50):
        values = np.cumsum(chance.integers(0, 50, 40)).astype(float)
        cut = int(chance.integers(5, 35))
        values[cut:] -= values[cut]
        keep = chance.random(40) > 0.3
        source = Blocks(block(5, [named("c", [v if k else "_" for v, k in zip(values, keep, strict=True)])]))
        at = float(chance.integers(100, 195))
        inside = [i for i in range(40) if keep[i] and at - 60 < i * 5 <= at]
        expected = naive_rate([i * 5.0 for i in inside], [values[i] for i in inside], at - 60, at)
        assert ask("rate(c[1m])", source, at) == pytest.approx({"{}": expected}, rel=1e-9)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("sum(x", "unclosed left parenthesis"),
        ("sum(x))", "1:7: parse error: unexpected right parenthesis"),
        ('x{a="b', "unterminated quoted string"),
        ('x{a="b" or c="d"}', "1:9: parse error: unexpected 'or', expected '}'"),
        ("max_over_time(x[5m] anchored)", "anchored modifier can only be used with: changes, delta, increase, rate, resets"),
        ("x[5m-5m]", "1:3: parse error: duration must be greater than 0"),
        ("rate(x[step()])", "duration must be greater than 0"),
        ("nosuch(x)", 'unknown function with name "nosuch"'),
        ('{a=~"\\\\C"}', "1:5: parse error: error parsing regexp"),
        ("rate(x)", 'expected type range vector in call to function "rate", got instant vector'),
        ("sum(1)", 'expected type instant vector in aggregation expression "sum", got scalar'),
        ("x @ 1e20", "timestamp out of bounds"),
        ("x[1000000000y]", "parse error: duration out of range"),
        ("x[5m][5m]", "ranges only allowed for vector selectors"),
        ("x offset 1m offset 1m", "offset may not be set multiple times"),
        ("1 and 2", 'set operator "and" not allowed in binary scalar expression'),
        ("1 == 2", "comparisons between scalars must use BOOL modifier"),
        ("a + bool b", "bool modifier can only be used on comparison operators"),
        ("a and group_left b", 'no grouping allowed for "and" operation'),
        ('x{__name__="y"}', 'metric name must not be set twice: "x" or "y"'),
        ('{a=~".*"}', "vector selector must contain at least one non-empty matcher"),
        ("sum by (a, (x)", "unexpected '(' in grouping opts"),
        ("topk(x)", "wrong number of arguments"),
        ("round(x, 1, 2)", 'expected at most 2 argument(s) in call to "round", got 3'),
        ("1h1y", "not a valid duration string"),
        ("0x", "bad number or duration syntax"),
        ("max_over_time(x[1y:1ms])", "a subquery of more than 110,000 steps"),
        ("(" * 60_000 + "x" + ")" * 60_000, "more than 80 expressions inside one another"),
        ("-" * 100_000 + "x", "more than 80 expressions inside one another"),
        ("x" + "+x" * 100_000, "more than 300 operators"),
    ],
)
def test_what_is_wrong_or_unsupported_is_named(query: str, message: str) -> None:
    with pytest.raises(BadQuery) as caught:
        instant(query, Blocks(), 0)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("a + on() b", "found duplicate series for the match group {} on the right hand-side"),
        ("b + on() a", "many-to-one matching must be explicit"),
        ("b + on(x) group_left(y) a", "grouping labels must ensure unique matches"),
        ('{__name__=~"a|c"} * 2', "vector cannot contain metrics with the same labelset"),
        ('label_replace(b, "y", "", "", "")', "vector cannot contain metrics with the same labelset"),
        ("topk(NaN, b)", "Parameter value is NaN"),
    ],
)
def test_ambiguous_matches_are_errors(query: str, message: str) -> None:
    source = Blocks(block(10, [named("a", [1]), named("c", [1]), named("b", [1], y="1"), named("b", [2], y="2")]))
    with pytest.raises(QueryError, match=re.escape(message)):
        instant(query, source, 0)


def test_nested_and_long_queries_are_answered_up_to_the_limit() -> None:
    source = Blocks(block(10, [named("x", [1])]))
    assert ask("abs(" * 80 + "x" + ")" * 80, source, 0) == {"{}": 1.0}
    assert ask("x" + " + x" * 300, source, 0) == {"{}": 301.0}


def test_a_query_too_large_for_memory_is_refused() -> None:
    source = Blocks(block(10, [named("x", [1], i=str(i)) for i in range(2000)]))
    with pytest.raises(QueryError, match="too many samples"):
        over_range("x", source, 0, 10_999_000, 1000)


def test_backticks_comments_and_underscored_numbers_are_understood() -> None:
    source = Blocks(block(10, [named("x", [1], path="/a1")]))
    assert ask("x{path=~`/a\\d`} * 1_000 # thousand", source, 0) == {"{path=/a1}": 1000.0}


def test_every_query_of_the_field_has_the_reading_that_prometheus_has() -> None:
    """Forms that observers and templates of other tools send."""
    for query in (
        'sum(rate(istio_requests_total{reporter="destination",response_code!~"5.*"}[1m])) / '
        "sum(rate(istio_requests_total[1m])) * 100",
        'histogram_quantile(0.99, sum(irate(http_request_duration_seconds_bucket{role="canary"}[5m])) by (le))',
        'sum(increase(kube_pod_container_status_restarts_total{namespace="x",pod=~"shop-.*"}[5m])) or on() vector(0)',
        "(sum(rate(a[5m])) by (pod) > 0.1) and on(pod) (kube_pod_status_ready{condition='true'} == 1)",
        "predict_linear(node_filesystem_avail_bytes[1h], 4 * 3600) < 0",
        "100 - avg by (instance) (rate(node_cpu_seconds_total{mode='idle'}[5m])) * 100 > 80",
    ):
        instant(query, TRAFFIC, 300_000)


def test_histogram_quantile_by_pod_over_ten_thousand_series_is_exact() -> None:
    source, expected = many_buckets(pods=50, per_pod=20)
    got = ask("histogram_quantile(0.9, sum by (le, pod) (rate(b_bucket[1m])))", source, 590)
    assert isinstance(got, dict)
    assert len(got) == 50
    assert got == pytest.approx({f"{{pod=p{i}}}": expected for i in range(50)}, rel=1e-9)


def many_buckets(pods: int, per_pod: int) -> tuple[Blocks, float]:
    bounds = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, math.inf)
    rows: list[Any] = []
    for pod in range(pods):
        for path in range(per_pod):
            for k, bound in enumerate(bounds):
                le = "+Inf" if math.isinf(bound) else str(bound)
                rows.append(named("b_bucket", [float(i * (k + 1)) for i in range(60)], pod=f"p{pod}", path=f"/{path}", le=le))
    one: Block = block(10, rows)
    return Blocks(one), 2.5  # rank 9 of 10 equal buckets ends exactly at the ninth bound
