"""The four figures from hand-written records; what is unknown stays unknown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fairway.kube.objects import Obj, rfc3339_micro
from fairway.releases.dora import dora

NOW = datetime(2030, 6, 30, tzinfo=UTC)
DAY = timedelta(days=1)


def release(name: str, outcome: str, days_ago: float, **seconds_before_end: float) -> Obj:
    """`committed=3600` means: an hour before the end."""
    end = NOW - timedelta(days=days_ago)
    times = {f"{key}At": rfc3339_micro(end - timedelta(seconds=value)) for key, value in seconds_before_end.items()}
    status: dict[str, Any] = {"outcome": outcome, **times}
    if outcome != "InProgress":
        status["finishedAt"] = rfc3339_micro(end)
    return {"metadata": {"name": name, "namespace": "shop", "creationTimestamp": rfc3339_micro(end)}, "spec": {},
            "status": status}


def test_no_record_is_unknown_and_not_zero() -> None:
    found = dora([], NOW, 30 * DAY)
    for figure in (found.deployment_frequency, found.lead_time, found.change_failure_rate, found.time_to_restore):
        assert (figure.value, figure.level, figure.samples) == (None, None, 0)


@pytest.mark.parametrize(("failed", "ended", "level"), [(0, 20, "elite"), (1, 20, "elite"), (2, 20, "high"), (3, 20, "medium"),
                                                        (10, 20, "low")])
def test_change_failure_rate(failed: int, ended: int, level: str) -> None:
    rows = [release(f"r{i}", "RolledBack" if i < failed else "Promoted", i) for i in range(ended)]
    figure = dora(rows, NOW, 30 * DAY).change_failure_rate
    assert (figure.value, figure.level, figure.samples) == (failed / ended, level, ended)


def test_lead_time_is_the_median_of_those_whose_commit_is_known() -> None:
    rows = [release("a", "Promoted", 1, committed=60), release("b", "Promoted", 2, committed=120),
            release("c", "Promoted", 3, committed=7200), release("d", "Promoted", 4), release("e", "Failed", 5, committed=1)]
    figure = dora(rows, NOW, 30 * DAY).lead_time
    assert (figure.value, figure.level, figure.samples) == (120.0, "elite", 3)


def test_frequency_covers_the_record_and_not_the_time_before_it() -> None:
    rows = [release(f"r{i}", "Promoted", i / 2) for i in range(20)]
    found = dora(rows, NOW, 90 * DAY)
    assert found.window_days == pytest.approx(9.5)
    assert found.deployment_frequency.value == pytest.approx(20 / 9.5)
    few = dora([release("old", "Promoted", 40), release("new", "Promoted", 1)], NOW, 30 * DAY)
    assert (few.deployment_frequency.samples, few.deployment_frequency.level) == (1, "medium")


def test_a_failure_that_nobody_saw_needed_no_restoring() -> None:
    rows = [release("migration", "Failed", 1), release("seen", "RolledBack", 2, exposed=30)]
    figure = dora(rows, NOW, 30 * DAY).time_to_restore
    assert (figure.value, figure.level, figure.samples) == (30.0, "elite", 1)


def test_a_stopped_release_that_is_not_taken_back_yet_counts_as_a_failure() -> None:
    found = dora([release("bad", "InProgress", 1, exposed=60, aborted=30)], NOW, 30 * DAY)
    assert found.change_failure_rate.value == 1.0
    assert found.time_to_restore.value is None
    assert found.unrestored == 1
