"""Blue-green rehearsed: what is measured after the switch stops a version, and before it there is nobody to measure."""

from __future__ import annotations

import pytest

from fairway.kube.objects import Obj
from fairway.rehearse.report import Report, report_on
from fairway.rehearse.spec import decode_scenario
from fairway.rehearse.subject import subjects
from tests.rehearse.files import template
from tests.rollouts.world import analysis, blue_green, ingress, service


def report(errors: str, *, count: int = 5, undecided: int = 4, **strategy: Obj) -> Report:
    files = [blue_green(**strategy), ingress(), service("shop-stable"), service("shop-canary"),
             template(count=count, inconclusiveLimit=undecided)]
    return report_on(subjects(files)[0], decode_scenario({"canary": {"errors": errors}, "limit": "30m"}), 0, 1)


@pytest.mark.parametrize(("errors", "outcome"), [("0.1%", "promoted"), ("40%", "aborted")])
def test_the_analysis_after_the_switch_measures_what_users_meet(errors: str, outcome: str) -> None:
    found = report(errors, postPromotionAnalysis=analysis())
    assert (found.run.outcome, found.run.empty, found.run.broken) == (outcome, (), ())
    assert found.run.requests > 0


def test_before_the_switch_nobody_visits_and_the_report_says_so() -> None:
    found = report("40%", prePromotionAnalysis=analysis())
    assert (found.run.outcome, found.run.empty) == ("held", ("success-rate",))
    (advice,) = found.advice
    assert (advice.finding.code, advice.finding.setting) == ("NobodyAtThePreview", "prePromotionAnalysis: success-rate")
    assert "requests to the preview Service" in advice.finding.says


def test_a_run_that_may_end_undecided_and_pass_is_named() -> None:
    found = report("40%", undecided=5, prePromotionAnalysis=analysis())
    assert found.run.outcome == "promoted", "as upstream has it: so many undecided measurements are within the limit"
    named = {advice.finding.code: advice.finding for advice in found.advice}
    assert named["UndecidedIsSuccess"].proposal == "inconclusiveLimit: 4"
