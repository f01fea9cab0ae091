"""What `kubectl get` prints, without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fairway.kube.http import jsonpath
from fairway.kube.http.ages import age, human
from fairway.kube.http.columns_rest import LAYOUTS
from fairway.kube.http.tables import layout_of, table
from fairway.kube.resources import BUILT_IN, JOBS, PODS, RELEASES, SERVICES, Resource

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (192, "3m12s"), (600, "10m"), (3 * 3600, "3h"), (4 * 3600 + 1200, "4h20m"),
     (47 * 3600, "47h"), (51 * 3600, "2d3h"), (10 * 86400, "10d"), (800 * 86400, "2y70d"), (-1, "0s"), (-5, "<invalid>")],
)  # fmt: skip
def test_lengths_of_time(seconds: int, shown: str) -> None:
    assert human(timedelta(seconds=seconds)) == shown


def test_ages() -> None:
    assert age("2026-01-01T11:59:00Z", NOW) == "60s"
    assert age(None, NOW) == "<unknown>"
    assert age("soon", NOW) == "<invalid>"


def row(resource: Resource, obj: dict[str, Any], crd: dict[str, Any] | None = None) -> dict[str, Any]:
    obj.setdefault("metadata", {}).setdefault("name", "x")
    made = table(layout_of(resource, crd), [obj], now=NOW, metadata={})
    return dict(zip((c["name"] for c in made["columnDefinitions"]), made["rows"][0]["cells"], strict=True))


def state(**kind: Any) -> dict[str, Any]:
    return {"name": "c", "ready": "running" in kind, "restartCount": 0, "state": kind}


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ({"phase": "Pending"}, "Pending"),
        ({"phase": "Running", "containerStatuses": [state(running={})]}, "Running"),
        ({"phase": "Running", "containerStatuses": [state(waiting={"reason": "CrashLoopBackOff"})]}, "CrashLoopBackOff"),
        ({"phase": "Failed", "containerStatuses": [state(terminated={"exitCode": 3})]}, "ExitCode:3"),
        ({"phase": "Failed", "containerStatuses": [state(terminated={"exitCode": 137, "signal": 9})]}, "Signal:9"),
        ({"phase": "Succeeded", "containerStatuses": [state(terminated={"exitCode": 0, "reason": "Completed"})]}, "Completed"),
        ({"phase": "Pending", "initContainerStatuses": [state(running={})]}, "Init:0/1"),
        ({"phase": "Pending", "initContainerStatuses": [state(terminated={"exitCode": 2, "reason": "Error"})]}, "Init:Error"),
        ({"phase": "Failed", "reason": "Evicted"}, "Evicted"),
    ],
)
def test_a_pod_in_one_word(status: dict[str, Any], shown: str) -> None:
    pod = {"spec": {"containers": [{"name": "c"}], "initContainers": [{"name": "c"}]}, "status": status}
    assert row(PODS, pod)["Status"] == shown


def test_a_pod_that_is_going_away_and_one_that_restarted() -> None:
    pod = {"metadata": {"name": "p", "deletionTimestamp": "2026-01-01T12:00:00Z"}, "status": {"phase": "Running"}}
    assert row(PODS, pod)["Status"] == "Terminating"
    ended = {"terminated": {"finishedAt": "2026-01-01T11:59:46Z"}}
    pod = {"spec": {"containers": [{}]}, "status": {"phase": "Running", "containerStatuses": [
        {"name": "c", "ready": True, "restartCount": 2, "state": {"running": {}}, "lastState": ended}]}}
    assert row(PODS, pod)["Restarts"] == "2 (14s ago)"
    assert row(PODS, pod)["Ready"] == "1/1"


def test_services_and_jobs() -> None:
    ports = [{"port": 80}, {"port": 443, "nodePort": 30443, "protocol": "TCP"}]
    service = {"spec": {"clusterIP": "127.8.0.1", "ports": ports, "selector": {"a": "b"}}}
    assert row(SERVICES, service) == {"Name": "x", "Type": "ClusterIP", "Cluster-IP": "127.8.0.1", "External-IP": "<none>",
                                      "Port(s)": "80/TCP,443:30443/TCP", "Age": "<unknown>", "Selector": "a=b"}
    done = [{"type": "Complete", "status": "True"}]
    status = {"succeeded": 1, "startTime": "2026-01-01T11:00:00Z", "completionTime": "2026-01-01T11:00:09Z",
              "conditions": done}
    job = {"spec": {"completions": 1}, "status": status}
    shown = row(JOBS, job)
    assert (shown["Status"], shown["Completions"], shown["Duration"]) == ("Complete", "1/1", "9s")


@pytest.mark.parametrize("resource", BUILT_IN, ids=str)
def test_every_built_in_kind_has_its_columns_and_prints_an_empty_object(resource: Resource) -> None:
    layout = LAYOUTS[resource.group_kind]
    cells = layout.cells({"metadata": {"name": "x"}}, NOW)
    assert len(cells) == len(layout.columns)
    assert cells[[column.name for column in layout.columns].index("Name")] == "x"


def test_custom_columns_follow_the_definition() -> None:
    columns = [
        {"name": "Outcome", "type": "string", "jsonPath": ".status.outcome"},
        {"name": "Steps", "type": "integer", "jsonPath": ".status.steps", "priority": 1},
        {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]
    crd = {"spec": {"versions": [{"name": "v1alpha1", "additionalPrinterColumns": columns}]}}
    obj = {"metadata": {"name": "r", "creationTimestamp": "2026-01-01T11:59:58Z"},
           "status": {"outcome": "Promoted", "steps": 4, "conditions": [{"type": "Ready", "status": "True"}]}}
    assert row(RELEASES, obj, crd) == {"Name": "r", "Outcome": "Promoted", "Steps": 4, "Ready": "True", "Age": "2s"}
    assert row(RELEASES, {"metadata": {"name": "r"}}, crd)["Steps"] is None
    assert list(row(RELEASES, {}, None)) == ["Name", "Age"]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.size", [3]),
        (".spec.list[0].k", ["a"]),
        (".spec.list[*].k", ["a", "b"]),
        ('.spec.list[?(@.k=="b")].v', [2]),
        (".metadata.labels.a\\.b/c", ["dotted"]),
        (".metadata.labels['a.b/c']", ["dotted"]),
        (".spec.missing.deep", []),
    ],
)
def test_json_paths(path: str, found: list[Any]) -> None:
    obj = {"spec": {"size": 3, "list": [{"k": "a", "v": 1}, {"k": "b", "v": 2}]}, "metadata": {"labels": {"a.b/c": "dotted"}}}
    assert jsonpath.find(obj, path) == found


def test_a_path_that_is_not_understood_says_where() -> None:
    with pytest.raises(ValueError, match=r"not understood at '\[\?\(broken'"):
        jsonpath.find({}, ".a[?(broken")
