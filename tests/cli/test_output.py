"""Tables, colours and findings, without a platform."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fairway.cli import output
from fairway.cli.health import findings
from fairway.cli.output import ago, span, table


def test_a_table() -> None:
    assert table(("NAME", "STATE"), [("a", "Healthy"), ("longer", None)]) == "NAME    STATE\na       Healthy\nlonger"
    assert table(("NAME",), []) == "NAME"


def test_colours_only_where_somebody_sees_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[" in output.paint("x", "red")
    monkeypatch.setenv("NO_COLOR", "1")
    assert output.paint("x", "red") == "x"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(-5, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (2 * 86400, "2d")])
def test_spans(seconds: int, shown: str) -> None:
    assert span(timedelta(seconds=seconds)) == shown


def test_unknown_times() -> None:
    assert ago(None, datetime.now(UTC)) == "-"


def obj(kind: str, name: str, status: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name, "namespace": "n", **rest.pop("metadata", {})}, "status": status, **rest}


def waiting(reason: str) -> dict[str, Any]:
    return {"phase": "Pending", "containerStatuses": [{"name": "c", "state": {"waiting": {"reason": reason, "message": "m"}}}]}


@pytest.mark.parametrize(
    ("thing", "state"),
    [
        (obj("Rollout", "r", {"phase": "Healthy"}), None),
        (obj("Rollout", "r", {"phase": "Paused"}), None),
        (obj("Rollout", "r", {"phase": "Degraded"}), "Degraded"),
        (obj("Rollout", "r", {"phase": "Degraded", "abort": True}), "Aborted"),
        (obj("Application", "a", {"sync": {"status": "OutOfSync"}, "health": {"status": "Progressing"}}), None),
        (obj("Application", "a", {"health": {"status": "Degraded"}}), "Degraded"),
        (obj("Application", "a", {"operationState": {"phase": "Failed", "message": "x"}}), "sync Failed"),
        (obj("Application", "a", {"conditions": [{"type": "ComparisonError"}]}), "ComparisonError"),
        (obj("Pod", "p", waiting("ContainerCreating")), None),
        (obj("Pod", "p", waiting("CrashLoopBackOff")), "CrashLoopBackOff"),
        (obj("Pod", "p", waiting("CrashLoopBackOff"), metadata={"deletionTimestamp": "x"}), None),
        (obj("Pod", "p", {"phase": "Failed"}), "Failed"),
        (obj("Pod", "p", {"phase": "Failed"}, metadata={"ownerReferences": [{"kind": "Job"}]}), None),
        (obj("Job", "j", {"conditions": [{"type": "Failed", "status": "True"}]}), "Failed"),
        (obj("Job", "j", {"conditions": [{"type": "Failed", "status": "True"}]},
             metadata={"annotations": {"fairway.dev/run": "r"}}), None),
        (obj("PipelineRun", "r", {"phase": "Failed"}), "Failed"),
    ],
)  # fmt: skip
def test_what_is_broken(thing: dict[str, Any], state: str | None) -> None:
    found = findings({thing["kind"]: [thing]})
    assert [finding.state for finding in found] == ([state] if state else [])


def test_the_worst_comes_first_and_a_mended_run_is_no_news() -> None:
    spec = {"repository": "r", "workflow": "w", "ref": "main"}
    runs = [obj("PipelineRun", "new", {"phase": "Succeeded"}, metadata={"creationTimestamp": "2"}, spec=spec),
            obj("PipelineRun", "old", {"phase": "Failed"}, metadata={"creationTimestamp": "1"}, spec=spec)]
    found = findings({"PipelineRun": runs, "Pod": [obj("Pod", "p", waiting("ErrImagePull"))],
                      "Rollout": [obj("Rollout", "r", {"phase": "Degraded"})]})
    assert [finding.kind for finding in found] == ["Rollout", "Pod"]
