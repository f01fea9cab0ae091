"""The main job as a stranger runs it: `fairway demo`, three commits under load, judged by its own report."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e
FAIRWAY = str(Path(sys.executable).parent / "fairway")


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    state = tmp_path_factory.mktemp("demo") / "state"
    done = subprocess.run([FAIRWAY, "--state", str(state), "demo", "-o", "json"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_three_commits_end_as_they_should(answer: dict[str, Any]) -> None:
    assert [commit["outcome"] for commit in answer["commits"]] == ["promoted", "promoted", "rolled-back"]


def test_the_load_was_steady_and_no_request_was_lost(answer: dict[str, Any]) -> None:
    for commit in answer["commits"][1:]:
        assert commit["requests"] / commit["commit_to_production_s"] >= 200
    assert answer["lost_requests"] == 0


def test_the_good_version_fails_no_request_and_gets_the_share_that_its_weight_says(answer: dict[str, Any]) -> None:
    good = answer["commits"][1]
    assert good["failed"] == 0
    assert [step["weight"] for step in good["shares"]][:4] == [5, 20, 50, 80]
    for step in good["shares"]:
        # Three points, and what chance alone does to so few requests (four standard deviations).
        weight = step["weight"] / 100
        chance = 100 * 4 * math.sqrt(weight * (1 - weight) / step["requests"])
        assert abs(step["share"] - step["weight"]) <= max(3.0, chance)


def test_the_bad_version_reaches_few_and_git_names_the_good_one_again(answer: dict[str, Any]) -> None:
    good, bad = answer["commits"][1:]
    assert bad["on_this_version"] < 0.05 * bad["requests"]
    assert bad["failed"] < 0.01 * bad["requests"]
    assert answer["git_head_digest"] == good["digest"] != bad["digest"]


def test_delivery_metrics_come_from_the_record(answer: dict[str, Any]) -> None:
    dora = answer["dora"]
    assert dora["deployment_frequency"]["samples"] == 2
    assert dora["change_failure_rate"]["value"] == pytest.approx(1 / 3)
    assert dora["time_to_restore"]["value"] is not None
