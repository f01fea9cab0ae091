"""The series store: what is kept, what ends, what falls off, and what survives a restart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fairway.metrics.matchers import BadPattern, Matcher
from fairway.metrics.promql import Vector, instant
from fairway.metrics.promql.compensated import group_sums
from fairway.metrics.store import Store


def ask(store: Store, query: str, at_ms: int) -> dict[str, float]:
    value = instant(query, store, at_ms).value
    assert isinstance(value, Vector)
    return {row.get("x", ""): float(v) for row, v in zip(value.labels.rows(), value.values[:, 0], strict=True)}


def scrape(store: Store, at_ms: int, samples: dict[str, float], *, target: str = "t", counter: bool = False) -> None:
    block = store.block(target)
    rows = [block.row({"__name__": "m", "x": x}, counter=counter) for x in samples]
    kept = [(row, value) for row, value in zip(rows, samples.values(), strict=True) if row >= 0]
    block.append(at_ms, [row for row, _ in kept], [value for _, value in kept])


def test_samples_come_back_and_a_missing_series_ends() -> None:
    store = Store()
    scrape(store, 1000, {"a": 1, "b": 2})
    scrape(store, 2000, {"a": 3})
    assert ask(store, "m", 1500) == {"a": 1.0, "b": 2.0}
    assert ask(store, "m", 2000) == {"a": 3.0}
    scrape(store, 3000, {"a": 4, "b": 9})
    assert ask(store, "m", 3000) == {"a": 4.0, "b": 9.0}
    store.block("t").end(4000)
    assert ask(store, "m", 4000) == {}
    assert ask(store, "count_over_time(m[10s])", 4000) == {"a": 3.0, "b": 2.0}


def test_samples_that_are_not_later_are_refused() -> None:
    store = Store()
    scrape(store, 2000, {"a": 1})
    assert store.block("t").append(2000, [0], [5.0]) is False
    assert ask(store, "m", 2000) == {"a": 1.0}


def test_a_new_counter_of_a_known_target_began_at_zero() -> None:
    store = Store()
    scrape(store, 1000, {"ok": 100}, counter=True)
    scrape(store, 2000, {"ok": 200, "bad": 60}, counter=True)
    scrape(store, 3000, {"ok": 300, "bad": 60}, counter=True)
    assert ask(store, "max_over_time(m[3s]) - min_over_time(m[3s])", 3000) == {"ok": 200.0, "bad": 60.0}


def test_the_first_scrape_of_a_target_says_nothing_about_before() -> None:
    store = Store()
    scrape(store, 1000, {"ok": 100}, counter=True)
    assert ask(store, "min_over_time(m[5s])", 1000) == {"ok": 100.0}
    scrape(store, 2000, {"gauge": 5}, counter=False)
    assert ask(store, "min_over_time(m[5s])", 2000) == {"ok": 100.0, "gauge": 5.0}


def test_no_zero_is_put_in_across_an_outage() -> None:
    store = Store()
    scrape(store, 1000, {"ok": 100}, counter=True)
    store.block("t").end(2000)
    scrape(store, 9000, {"ok": 900, "late": 400}, counter=True)
    assert ask(store, "min_over_time(m[10s])", 9000)["late"] == 400.0


def test_a_series_belongs_to_one_target() -> None:
    store = Store()
    scrape(store, 1000, {"a": 1}, target="one")
    scrape(store, 1000, {"a": 50, "b": 60}, target="two")
    assert ask(store, "m", 1000) == {"a": 1.0, "b": 60.0}
    assert store.usage().refused == 1


def test_old_samples_fall_off_and_dead_series_are_forgotten() -> None:
    store = Store(retention_ms=100_000)
    for i in range(2000):
        scrape(store, i * 1000, {"a": float(i), **({"b": 1.0} if i < 5 else {})})
    usage = store.usage()
    assert usage.samples < 2 * 400, "only about the retention is kept"
    assert not usage.shortened
    generation = store.block("t").generation
    store.expire(1_999_000)
    assert store.usage().series == 1
    assert store.block("t").generation == generation + 1
    assert ask(store, "count_over_time(m[100s])", 1_999_000) == {"a": 100.0}
    store.expire(5_000_000)
    assert store.usage().series == 0


def test_under_its_limit_the_store_drops_the_oldest_and_refuses_new_series() -> None:
    store = Store(limit_bytes=200_000)
    for i in range(1000):
        scrape(store, i * 1000, {str(n): float(i) for n in range(50)})
    usage = store.usage()
    assert usage.bytes <= 200_000
    assert usage.shortened
    assert ask(store, "m", 999_000)["7"] == 999.0
    scrape(store, 1_000_000, {str(n): 1.0 for n in range(5000)})
    assert store.usage().bytes <= 200_000
    assert store.usage().refused > 0
    assert ask(store, "m", 1_000_000)["7"] == 1.0, "the series that were there go on"


def test_a_restart_keeps_the_snapshot_and_goes_on_in_the_same_series(tmp_path: Path) -> None:
    store = Store()
    scrape(store, 1000, {"a": 1, "b": 2})
    scrape(store, 2000, {"a": 2})
    store.save(tmp_path / "samples")
    again = Store()
    again.load(tmp_path / "samples", warn=pytest.fail)
    scrape(again, 3000, {"a": 7})
    assert ask(again, "m", 3000) == {"a": 7.0}
    assert ask(again, "count_over_time(m[5s])", 3000) == {"a": 3.0, "b": 1.0}
    assert again.usage().series == 2


@pytest.mark.parametrize("damage", [lambda b: b[:-4], lambda b: b"{}\n" + b, lambda b: b"\x00" * 50, lambda b: b""])
def test_a_damaged_snapshot_is_reported_and_left_out(tmp_path: Path, damage) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "samples"
    store = Store()
    scrape(store, 1000, {"a": 1, "b": 2})
    store.save(path)
    path.write_bytes(damage(path.read_bytes()))
    said: list[str] = []
    fresh = Store()
    fresh.load(path, warn=said.append)
    assert len(said) == 1
    assert "left out" in said[0]
    scrape(fresh, 5000, {"a": 1})
    assert ask(fresh, "m", 5000) == {"a": 1.0}


@pytest.mark.parametrize(
    ("op", "pattern", "expected"),
    [
        ("=~", "5..", ["500", "503"]),
        ("!~", "5..|", ["200"]),
        ("=~", "200|503", ["200", "503"]),
        ("=~", "(?i:5)0[[:digit:]]", ["500", "503"]),
        ("=~", r"\Q200\E", ["200"]),
        ("=~", "((?i)5)\\d+\\z", ["500", "503"]),
        ("=", "200", ["200"]),
        ("!=", "200", ["500", "503"]),
        ("=~", ".+", ["200", "500", "503"]),
        ("=~", r"[(5]00", ["500"]),
    ],
)
def test_matchers_read_re2(op: str, pattern: str, expected: list[str]) -> None:
    test = Matcher("code", op, pattern).test()  # type: ignore[arg-type]
    assert [code for code in ("200", "500", "503") if test(code)] == expected


@pytest.mark.parametrize("pattern", ["(", r"\pQ", "[[:nope:]]", "*"])
def test_patterns_that_cannot_be_read_are_refused(pattern: str) -> None:
    with pytest.raises(BadPattern, match="error parsing regexp"):
        Matcher("x", "=~", pattern).test()


def test_a_series_that_comes_later_is_found_by_matchers_that_were_asked_before() -> None:
    store = Store()
    scrape(store, 1000, {"a": 1})
    assert ask(store, 'm{x=~"a|b"}', 1000) == {"a": 1.0}
    scrape(store, 2000, {"a": 2, "b": 3})
    assert ask(store, 'm{x=~"a|b"}', 2000) == {"a": 2.0, "b": 3.0}
    scrape(store, 2000, {"b": 4, "c": 5}, target="u")
    assert ask(store, 'm{x!="a"}', 2000) == {"b": 3.0, "c": 5.0}


@pytest.mark.parametrize("rows", range(8))
def test_the_sum_of_all_is_that_of_one_group_among_others(rows: int) -> None:
    values = np.array([[1e100, 0.1], [1.0, 0.2], [-1e100, 0.3], [np.inf, 0.4], [2.0, 0.5], [-np.inf, 0.6], [3.0, 0.7]])[:rows]
    groups = np.zeros(rows, np.intp)
    among_others = group_sums(np.vstack([values, np.ones((1, 2))]), np.append(groups, 1), 2)
    np.testing.assert_array_equal(group_sums(values, groups, 1)[0], among_others[0])
