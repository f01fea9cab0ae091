"""`fairway alerts`: what fires, rules that say nothing, and silences."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.platform import Running

ALERT = {"labels": {"alertname": "ManyErrors", "job": "web"}, "annotations": {"summary": "web fails"}, "state": "firing",
         "activeAt": "2030-01-01T00:00:00Z", "value": "0.1"}  # fmt: skip
RULE = {"name": "Ghost", "type": "alerting", "query": "nosuch > 1", "health": "ok", "noData": ["nosuch"], "state": "inactive"}


def given(platform: Running, *, silenced: bool = False) -> None:
    def answer(path: str, body: Any) -> None:
        platform.web.answers[path] = (200, json.dumps(body))

    answer("/api/v1/alerts", {"status": "success", "data": {"alerts": [ALERT, {**ALERT, "state": "pending"}]}})
    answer("/api/v1/rules", {"status": "success", "data": {"groups": [{"name": "shop", "rules": [RULE]}]}})
    status = {"silencedBy": ["s1"] if silenced else [], "inhibitedBy": []}
    answer("/api/v2/alerts", [{"labels": ALERT["labels"], "status": status}])


@pytest.mark.parametrize(("silenced", "state"), [(False, "firing "), (True, "firing (silenced)")])
def test_alerts_that_fire_are_printed_and_rules_without_data_are_told(platform: Running, silenced: bool, state: str) -> None:
    given(platform, silenced=silenced)
    found = platform.fairway("alerts")
    assert f"ManyErrors  {state}" in found.stdout and "web fails" in found.stdout
    assert found.stdout.count("ManyErrors") == 1
    assert found.stderr == "warning: rule Ghost of shop sees no data: nosuch\n"
    assert "ok, no data" in platform.fairway("alerts", "rules").stdout


def test_a_silence_is_written_and_ended(platform: Running) -> None:
    platform.web.answers["/api/v2/silences"] = (200, json.dumps({"silenceID": "s1"}))
    assert platform.fairway("alerts", "silence", "alertname=Down", "job!~a|b", "--comment", "known").stdout == "s1\n"
    assert platform.web.bodies[-1]["matchers"] == [
        {"name": "alertname", "value": "Down", "isRegex": False, "isEqual": True},
        {"name": "job", "value": "a|b", "isRegex": True, "isEqual": False},
    ]
    platform.web.answers["/api/v2/silence/s1"] = (200, "{}")
    platform.fairway("alerts", "expire", "s1")
    assert platform.web.bodies[-1] == "/api/v2/silence/s1"
    wrong = platform.fairway("alerts", "silence", "nonsense", "--comment", "x", code=1)
    assert "'nonsense' is no matcher" in wrong.stderr
