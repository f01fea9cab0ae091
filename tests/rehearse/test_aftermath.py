"""A version that turns bad when everybody uses it: the rehearsal goes on until the RollbackPolicy's watch is over."""

from __future__ import annotations

import os
from typing import Any

import pytest

from fairway.kube.objects import Obj
from fairway.rehearse.many import Short, in_one_world
from fairway.rehearse.report import Report, report_on
from fairway.rehearse.run import rehearse
from fairway.rehearse.show import as_data, as_text
from fairway.rehearse.spec import decode_scenario
from fairway.rehearse.subject import Subject, subjects
from tests.rehearse.files import shop, template

ERRORS = ('100 * sum(rate(http_requests_total{app="shop",status=~"5.."}[1m])) / '
          'sum(rate(http_requests_total{app="shop"}[1m]))')
FAILS_LATER = {"canary": {"changes": [{"at": "3m", "errors": "20%"}]}}
"""The steps are over after two minutes."""


def policy(name: str = "shop", of: str = "shop", **spec: Any) -> Obj:
    criterion = {"name": "error_rate", "query": ERRORS, "threshold": 5, "period": spec.pop("period", "2m"),
                 "action": spec.pop("action", "rollback")}
    return {"apiVersion": "fairway.dev/v1alpha1", "kind": "RollbackPolicy", "metadata": {"name": name},
            "spec": {"workloadRef": {"kind": "Rollout", "name": of}, "window": "10m", "every": "30s", "criteria": [criterion],
                     **spec}}


def watched(*policies: Obj) -> Subject:
    plain = shop(template(), steps=[{"setWeight": 20}, {"pause": {"duration": "2m"}}])
    return subjects([plain.rollout, *plain.others, *policies])[0]


def report(scenario: Obj, *policies: Obj, runs: int = 1) -> Report:
    return report_on(watched(*policies), decode_scenario(scenario), 0, runs)


def test_what_fails_after_its_promotion_is_taken_back_and_the_exposure_since_then_is_said() -> None:
    found = report({**FAILS_LATER, "expect": "rolled back"}, policy())
    run = found.run
    assert (run.outcome, run.broken, found.as_expected) == ("rolled back", (), True)
    assert run.promoted_at is not None and 120 < run.promoted_at < 135
    # From minute three on: half a minute at most until a look sees 5 %, two minutes of violation, half a minute to confirm.
    assert 180 + 150 < run.decided_at < 180 + 220
    asked, failed = run.after_promotion
    assert run.requests > asked > failed > 1000 and run.spans[-1].weight == 0
    text = as_text(found)
    assert "ROLLED BACK after" in text and f"from then on {asked:,} requests" in text and "taken back" in text
    assert as_data(found)["afterPromotion"] == {"exposed": asked, "failed": failed}


def test_a_good_version_is_promoted_when_the_watch_is_over() -> None:
    run = report({}, policy()).run
    assert run.outcome == "promoted" and run.why == "watched for 600 s: nothing against it"
    assert run.promoted_at is not None and run.decided_at == pytest.approx(run.promoted_at + 600, abs=31)


def test_nothing_is_taken_back_on_missing_data() -> None:
    run = report({**FAILS_LATER, "faults": [{"monitoring": "2m10s", "for": "30m"}]}, policy()).run
    assert run.outcome == "promoted" and "nothing is known of error_rate" in run.why


def test_somebody_has_to_agree() -> None:
    run = report(FAILS_LATER, policy(mode="approval")).run
    assert run.outcome == "held" and "somebody has to agree" in run.why


def test_policies_of_other_workloads_are_no_concern_of_it() -> None:
    run = report(FAILS_LATER, policy(of="payments")).run
    assert (run.outcome, run.promoted_at) == ("promoted", None)


def test_the_setting_that_makes_it_late_is_named_and_a_quicker_one_tried() -> None:
    [advice] = [one for one in report(FAILS_LATER, policy()).advice if one.finding.where == "RollbackPolicy shop"]
    assert advice.finding.setting == "period: 2m, every: 30s"
    assert dict(advice.finding.changes) == {"period": "1m", "every": "15s"}
    assert advice.tried is not None and advice.tried.outcome == "rolled back"


def test_a_window_that_is_over_before_anything_can_count_is_named() -> None:
    found = report(FAILS_LATER, policy(window="3m", period="150s"))
    assert found.run.outcome == "promoted"
    [advice] = [one for one in found.advice if one.finding.where]
    assert advice.finding.code == "EndsTooLate" and "3m30s after the promotion at the earliest" in advice.finding.says
    assert advice.tried is not None and advice.tried.outcome == "rolled back"


def test_a_policy_that_only_alerts_takes_nothing_back() -> None:
    assert "no criterion of it takes a version back" in as_text(report({}, policy(action="alert")))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="seeds share a world where processes can fork")
def test_seeds_share_the_watch_until_a_criterion_tells_them_apart() -> None:
    scenario = decode_scenario({"canary": {"changes": [{"at": "3m", "errors": "5.5%"}]}, "traffic": {"rate": 20}})
    together = in_one_world(watched(policy()), scenario, range(6))
    runs = [rehearse(watched(policy()), scenario, seed) for seed in range(6)]
    assert together == [Short(run.outcome, run.clear_at, run.requests, run.errors, run.broken) for run in runs]
    assert len({run.clear_at for run in together}) > 1
