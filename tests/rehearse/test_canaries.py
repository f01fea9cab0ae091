"""Flagger Canaries rehearsed: the real controller, with users, pods and a second judge around it."""

from __future__ import annotations

from typing import Any

import pytest

from fairway.kube.objects import Obj
from fairway.rehearse.many import rehearse_many
from fairway.rehearse.report import report_on
from fairway.rehearse.run import Rehearsal, rehearse
from fairway.rehearse.spec import decode_scenario
from fairway.rehearse.subject import Subject, subjects
from tests.rollouts.flagger_world import canary, deployment, ingress

METRICS = [{"name": "request-success-rate", "thresholdRange": {"min": 99}, "interval": "1m"},
           {"name": "request-duration", "thresholdRange": {"max": 500}, "interval": "1m"}]


def shop(analysis: Obj | None = None, *others: Obj, **spec: Any) -> Subject:
    return subjects([canary({"metrics": METRICS, **(analysis or {})}, **spec), deployment(), ingress(), *others])[0]


def play(subject: Subject, **scenario: Any) -> Rehearsal:
    found = rehearse(subject, decode_scenario({"limit": "2h", **scenario}))
    assert not found.broken, found.broken
    return found


def test_a_good_version_is_promoted_and_a_bad_one_is_not() -> None:
    assert play(shop()).outcome == "promoted"
    bad = play(shop(), canary={"errors": "100%"})
    assert bad.outcome == "aborted" and bad.spans[-1].weight == 0
    assert bad.errors == bad.requests < 0.25 * bad.all_requests


def test_a_slow_version_is_stopped_by_its_latency() -> None:
    slow = play(shop(), canary={"latency": "900ms"})
    assert slow.outcome == "aborted"
    assert any("request duration" in entry.message for entry in slow.timeline if entry.code == "Halted")


def test_no_monitoring_counts_against_the_version_and_is_said() -> None:
    found = play(shop(), faults=[{"monitoring": "0s", "for": "1h"}])
    assert found.outcome == "aborted" and any(entry.code == "QueryFailed" for entry in found.timeline)


def test_a_person_holds_the_gate() -> None:
    gates = [{"name": "go", "type": "confirm-promotion", "url": "http://gate/"}]
    assert play(shop({"webhooks": gates}), people=[{"at": "10m", "do": "promote"}]).decided_at > 600
    stop = [{"name": "stop", "type": "rollback", "url": "http://gate/"}]
    found = play(shop({"webhooks": stop}), people=[{"at": "70s", "do": "abort"}])
    assert found.outcome == "aborted" and any("every answer of success rolls" in note for note in found.notes)


@pytest.mark.parametrize("at", [3, 31, 62, 95, 130, 151, 185])
def test_a_controller_that_is_killed_comes_to_the_same_end(at: int) -> None:
    for errors, outcome in (("0.1%", "promoted"), ("50%", "aborted")):
        found = play(shop(), canary={"errors": errors}, faults=[{"controller": f"{at}s", "for": "7s"}])
        assert found.outcome == outcome


def test_what_the_files_leave_open_is_assumed_and_said() -> None:
    [subject] = subjects([canary({"metrics": METRICS}, provider="istio",
                                 autoscalerRef={"kind": "HorizontalPodAutoscaler", "name": "shop"})])
    found = play(subject)
    assert found.outcome == "promoted"
    assert [note.split(" ", 4)[3] for note in found.notes[:2]] == ["Deployment", "HorizontalPodAutoscaler"]


def test_many_seeds_do_not_depend_on_how_they_are_run() -> None:
    subject, scenario = shop(), decode_scenario({"canary": {"errors": "1.2%"}, "traffic": {"rate": 5}})
    many = rehearse_many(subject, scenario, 0, 6)
    assert many.aborted == sum(rehearse(subject, scenario, seed).outcome == "aborted" for seed in range(6))


@pytest.mark.parametrize(("analysis", "changes", "setting", "outcome"), [
    ({"metrics": [{"name": "request-success-rate", "thresholdRange": {"min": 90}}]}, {"errors": "5%"},
     "thresholdRange: {min: 90}", "aborted"),
    ({}, {"changes": [{"at": "20m", "errors": "50%"}]}, "stepWeight: 20 up to 40 × interval: 30s", None),
])
def test_the_setting_that_lets_a_bad_version_pass_is_named(analysis: Obj, changes: Obj, setting: str,
                                                           outcome: str | None) -> None:
    found = report_on(shop(analysis), decode_scenario({"canary": changes}), 0, 1)
    assert found.run.outcome == "promoted"
    [advice] = [one for one in found.advice if one.finding.setting == setting]
    assert (advice.tried.outcome if advice.tried is not None else None) == outcome
