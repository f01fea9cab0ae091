"""Whole rehearsals: what goes wrong, what becomes of it, and what is said about it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from fairway.kube.objects import Obj
from fairway.rehearse import run as run_module
from fairway.rehearse.report import Report, report_on
from fairway.rehearse.run import CannotStart, Rehearsal, rehearse
from fairway.rehearse.spec import Scenario, ScenarioMistake, decode_scenario
from fairway.rehearse.subject import NothingToRehearse, subjects
from tests.rehearse.files import STABLE_AND_LATEST, gate_template, shop, template
from tests.rollouts.world import analysis

SHORT: list[Obj] = [{"setWeight": 20}, {"pause": {"duration": "1m"}}, {"setWeight": 60}, {"pause": {"duration": "1m"}}]
EXAMPLE = Path(run_module.__file__).parent / "example.yaml"


def scenario(**parts: Any) -> Scenario:
    return decode_scenario(parts)


def codes(found: Rehearsal) -> list[str]:
    return [entry.code for entry in found.timeline]


def test_a_good_version_is_promoted_and_the_weights_are_those_of_the_steps() -> None:
    found = rehearse(shop(template()), Scenario(), seed=1)
    assert (found.outcome, found.broken, found.empty) == ("promoted", (), ())
    assert 1200 <= found.decided_at < 1230
    weights = list(dict.fromkeys(round(span.weight, 2) for span in found.spans))
    assert weights == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert found.requests / found.all_requests == pytest.approx(0.5, abs=0.02)
    assert "RolloutCompleted" in codes(found)


def test_the_same_seed_is_the_same_rehearsal_and_another_one_is_not() -> None:
    play = scenario(canary={"errors": "20%"})
    first, second, other = (rehearse(shop(template(), steps=SHORT), play, seed) for seed in (7, 7, 8))
    assert first == second
    assert first.spans != other.spans


def test_a_bad_version_is_stopped_by_the_templates_own_query() -> None:
    found = rehearse(shop(template()), scenario(canary={"errors": "30%"}), seed=1)
    assert (found.outcome, found.broken) == ("aborted", ())
    assert found.decided_at < 70
    assert 'Metric "success-rate" assessed Failed' in found.why
    assert found.spans[-1].weight == 0


def test_the_example_is_executed() -> None:
    play = decode_scenario(yaml.safe_load(EXAMPLE.read_text()))
    report = report_on(shop(template()), play, seed=0, runs=1)
    assert report.as_expected
    assert report.run.outcome == play.expect == "aborted"
    said = codes(report.run)
    for code in ("MonitoringOut", "Incident", "ControllerKilled", "ProxyRefuses", "Person", "RolloutPaused"):
        assert code in said


# --- what is late -----------------------------------------------------------------------------------------------------


def test_the_setting_that_made_it_late_is_named_and_the_proposal_was_tried() -> None:
    """As it is documented: every five minutes, some failures, from the third step on."""
    documented = analysis("success-rate", args=STABLE_AND_LATEST, startingStep=2)
    later = shop(template(interval="5m", failureLimit=4, inconclusiveLimit=None), analysis=documented)
    report = report_on(later, scenario(canary={"errors": "100%"}), seed=1, runs=1)
    assert report.run.outcome == "promoted"
    advice = report.advice[0]
    assert advice.finding.setting == "failureLimit: 4 × interval: 5m"
    assert "ends after the last step" in advice.finding.says
    assert advice.finding.proposal == "interval: 30s"
    assert advice.tried is not None and advice.tried.outcome == "aborted"
    assert advice.tried.errors < report.run.errors / 5


def test_a_slow_stop_gets_a_quicker_setting() -> None:
    report = report_on(shop(template(interval="2m")), scenario(canary={"errors": "40%"}), seed=1, runs=1)
    slow = next(one for one in report.advice if one.finding.code == "Slow")
    assert slow.tried is not None and slow.tried.clear_at < report.run.clear_at


def test_a_version_that_nobody_measured_is_not_called_good() -> None:
    report = report_on(shop(template(inconclusiveLimit=100), steps=SHORT), scenario(traffic={"rate": 0}), seed=1, runs=1)
    assert report.run.empty == ("success-rate",)
    assert [one.finding.code for one in report.advice] == ["OutlastsTheSteps"]
    mended = report.subject.with_metric(report.subject.metrics()[0], report.advice[0].finding.changes)
    assert rehearse(mended, report.scenario, 1).outcome == "held"


def test_empty_as_success_is_named() -> None:
    vacuous = template(successCondition="all(result, # >= 0.99)", failureCondition=None)
    report = report_on(shop(vacuous, steps=SHORT), Scenario(), seed=1, runs=1)
    assert "EmptyIsSuccess" in [one.finding.code for one in report.advice]


def test_no_analysis_is_named() -> None:
    report = report_on(shop(steps=SHORT), scenario(canary={"errors": "100%"}), seed=1, runs=1)
    assert report.run.outcome == "promoted"
    assert [one.finding.code for one in report.advice] == ["NoAnalysis"]


# --- faults -----------------------------------------------------------------------------------------------------------


def test_a_monitoring_outage_aborts_as_upstream_does_and_that_is_said() -> None:
    play = scenario(faults=[{"monitoring": "30s", "for": "2m"}])
    report = report_on(shop(template()), play, seed=1, runs=1)
    assert report.run.outcome == "aborted"
    assert "consecutiveErrors (5) > consecutiveErrorLimit (4)" in report.run.why
    advice = next(one for one in report.advice if one.finding.code == "OutageAborts")
    assert advice.tried is not None and advice.tried.outcome == "promoted"


def test_the_native_gate_holds_where_monitoring_is_out() -> None:
    steps = [{"setWeight": 20}, {"pause": {"duration": "40s"}}]
    short = rehearse(shop(gate_template(), steps=steps), scenario(faults=[{"monitoring": "10s", "for": "15s"}]), 1)
    assert (short.outcome, short.broken) == ("promoted", ())
    steps = [{"setWeight": 20}, {"pause": {"duration": "2m"}}]
    long = rehearse(shop(gate_template(), steps=steps), scenario(faults=[{"monitoring": "10s", "for": "5m"}]), 1)
    assert (long.outcome, long.broken) == ("held", ())
    assert "InconclusiveAnalysisRun" in long.why


@pytest.mark.parametrize("seed", range(3))
def test_the_native_gate_stops_a_dead_version_within_two_seconds(seed: int) -> None:
    """From its first request, through controllers and proxy, at 200 requests a second and 5 %."""
    steps: list[Obj] = [{"setWeight": 5}, {"pause": {"duration": "5m"}}]
    found = rehearse(shop(gate_template(), steps=steps), scenario(traffic={"rate": 200}, canary={"errors": "100%"}), seed)
    assert (found.outcome, found.broken) == ("aborted", ())
    assert found.first_request_at is not None
    assert found.clear_at - found.first_request_at <= 2.0
    assert found.errors <= 20


@pytest.mark.parametrize(("pods", "outcome"), [
    ({"ready": "never"}, "held"),
    ({"crash": "5s"}, "held"),
    ({"crash": "3s", "crashes": 2}, "promoted"),
    ({"start": "20s", "ready": "30s"}, "promoted"),
])  # fmt: skip
def test_slow_and_crashing_pods(pods: dict[str, Any], outcome: str) -> None:
    subject = shop(template(), steps=SHORT, maxUnavailable=0)
    subject.rollout["spec"] |= {"progressDeadlineSeconds": 120, "minReadySeconds": 6}
    found = rehearse(subject, scenario(canary={"pods": pods}, limit="20m"), seed=1)
    assert (found.outcome, found.broken, found.nobody) == (outcome, (), 0)
    if outcome == "held":
        assert found.requests == 0


def test_a_person_aborts_and_another_one_tries_again() -> None:
    play = scenario(people=[{"at": "30s", "do": "abort"}, {"at": "1m", "do": "retry"}])
    found = rehearse(shop(template(), steps=SHORT), play, seed=1)
    assert found.outcome == "promoted"
    assert codes(found).count("Person") == 2


def test_a_pause_without_an_end_waits_for_a_person() -> None:
    steps: list[Obj] = [{"setWeight": 20}, {"pause": {}}]
    assert rehearse(shop(template(), steps=steps), Scenario(), 1).outcome == "held"
    play = scenario(people=[{"at": "10m", "do": "promote"}])
    found = rehearse(shop(template(), steps=steps), play, 1)
    assert (found.outcome, found.decided_at > 600) == ("promoted", True)


@pytest.mark.parametrize("errors", ["0.1%", "40%"])
def test_a_crash_at_every_step_comes_to_the_same_end(errors: str) -> None:
    subject = shop(template(interval="10s"), steps=SHORT)
    plain = rehearse(subject, scenario(canary={"errors": errors}), 3)
    moments = sorted({round(entry.at, 1) for entry in plain.timeline})
    for at in moments:
        found = rehearse(subject, scenario(canary={"errors": errors}, faults=[{"controller": f"{at}s", "for": "3s"}]), 3)
        assert (found.outcome, found.broken) == (plain.outcome, ()), at
        assert found.decided_at <= plain.decided_at + 15, at


# --- what people write ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("written", "said"), [
    ({"canary": {"error": 1}}, "canary.error: unknown; there are: errors, latency, p99, changes, pods"),
    ({"canary": {"errors": "lots"}}, "canary.errors: a share such as 2% or 0.02 is needed, found 'lots'"),
    ({"faults": [{"for": "1m"}]}, "faults[0]: one of monitoring, incident, controller, proxy is needed"),
    ({"people": [{"at": "1m", "do": "dance"}]}, "people[0].do: one of promote, promote-full, abort"),
    ({"traffic": {"changes": [{"rate": 3}]}}, "traffic.changes[0].at: missing"),
    ({"limit": "soon"}, "limit: a duration such as 90s or 5m is needed"),
    ([], "the scenario: a mapping is needed"),
])  # fmt: skip
def test_mistakes_are_named_with_their_path(written: Any, said: str) -> None:
    with pytest.raises(ScenarioMistake) as mistake:
        decode_scenario(written)
    assert said in str(mistake.value)


def test_files_without_a_rollout_and_rollouts_that_are_refused() -> None:
    with pytest.raises(NothingToRehearse, match="no Rollout and no Canary in these files"):
        subjects([])
    broken = shop(template())
    broken.rollout["spec"]["strategy"]["canary"]["stableService"] = "nobody"
    with pytest.raises(CannotStart, match="nobody"):
        rehearse(broken, Scenario(), 1)


def test_users_exposed_are_fewer_than_their_requests() -> None:
    report: Report = report_on(shop(template(), steps=SHORT), scenario(traffic={"rate": 100, "users": 500}), 1, 1)
    assert 490 <= report.users(report.run.requests) <= 500 < report.run.requests
    assert report.users(0) == 0
    assert report.scenario.limit == timedelta(hours=6)
