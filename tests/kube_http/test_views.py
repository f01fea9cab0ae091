"""Kinds that are kept in one version and asked for in another."""

from __future__ import annotations

import json

from tests.kube_http.serving import Served

CORE = "/api/v1/namespaces/default/events"
NEW = "/apis/events.k8s.io/v1/namespaces/default/events"
V1 = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
V2 = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
MERGE = {"Content_Type": "application/merge-patch+json"}
ABOUT = {"kind": "Pod", "namespace": "default", "name": "p"}
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}


def test_an_event_has_two_forms(served: Served) -> None:
    served.create(CORE, "old", involvedObject=ABOUT, reason="Started", message="it runs", type="Normal", count=3,
                  source={"component": "kubelet"})
    status, seen = served.ask("GET", f"{NEW}/old")
    assert (status, seen["apiVersion"], seen["note"], seen["regarding"]["name"]) == (200, "events.k8s.io/v1", "it runs", "p")
    assert (seen["deprecatedCount"], seen["deprecatedSource"]) == (3, {"component": "kubelet"})
    assert not {"message", "involvedObject", "count", "source"} & seen.keys()

    served.create(NEW, "new", regarding={**ABOUT, "name": "q"}, reason="Made", note="by the new API", type="Normal",
                  action="Making", reportingController="example.com/c", reportingInstance="c-1",
                  eventTime="2026-01-01T00:00:00.000000Z")
    kept = served.ask("GET", f"{CORE}/new")[1]
    assert (kept["message"], kept["involvedObject"]["name"], kept["reportingComponent"]) == (
        "by the new API", "q", "example.com/c")
    listed = served.ask("GET", f"{NEW}?fieldSelector=regarding.name%3Dq,reportingController%3Dexample.com/c")[1]
    assert (listed["kind"], [item["metadata"]["name"] for item in listed["items"]]) == ("EventList", ["new"])
    with served.open("GET", f"{NEW}?watch=1&fieldSelector=regarding.name%3Dp&allowWatchBookmarks=true") as watch:
        assert json.loads(watch.readline())["object"]["note"] == "it runs"
    served.ask("PATCH", f"{NEW}/new", {"note": "changed"}, **MERGE)
    assert served.ask("GET", f"{CORE}/new")[1]["message"] == "changed"
    assert served.ask("DELETE", f"{NEW}/new")[0] == 200
    assert served.ask("GET", f"{CORE}/new")[0] == 404


def test_an_autoscaler_of_v1_is_one_of_v2(served: Served) -> None:
    served.create(V1, "web", spec={"scaleTargetRef": TARGET, "maxReplicas": 5, "targetCPUUtilizationPercentage": 70})
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}
    kept = served.ask("GET", f"{V2}/web")[1]
    assert (kept["spec"]["metrics"], kept["spec"]["minReplicas"]) == ([cpu], 1)
    served.ask("PATCH", f"{V1}/web", {"spec": {"minReplicas": 2, "targetCPUUtilizationPercentage": 60}}, **MERGE)
    status, seen = served.ask("GET", f"{V1}/web")
    assert (status, seen["apiVersion"], seen["spec"]) == (200, "autoscaling/v1", {
        "scaleTargetRef": TARGET, "minReplicas": 2, "maxReplicas": 5, "targetCPUUtilizationPercentage": 60})
    memory = {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}}
    served.ask("PATCH", f"{V2}/web", {"spec": {"metrics": [memory]}}, **MERGE)
    seen = served.ask("GET", f"{V1}/web")[1]
    seen["spec"]["maxReplicas"] = 9
    assert served.ask("PUT", f"{V1}/web", seen)[0] == 200
    spec = served.ask("GET", f"{V2}/web")[1]["spec"]
    assert (spec["maxReplicas"], spec["metrics"]) == (9, [memory])  # what v1 cannot say is not lost
    patch = [{"op": "replace", "path": "/spec/maxReplicas", "value": 3}]
    status, refused = served.ask("PATCH", f"{V1}/web", patch, Content_Type="application/json-patch+json")
    assert (status, "patch autoscaling/v2" in refused["message"]) == (400, True)


def test_views_are_discovered_and_described(served: Served) -> None:
    groups = {group["name"]: group for group in served.ask("GET", "/apis")[1]["groups"]}
    assert [row["version"] for row in groups["autoscaling"]["versions"]] == ["v2", "v1"]
    rows = served.ask("GET", "/apis/events.k8s.io/v1")[1]["resources"]
    assert [(row["name"], row["kind"]) for row in rows] == [("events", "Event")]
    for root, kind in (("autoscaling/v1", "HorizontalPodAutoscaler"), ("events.k8s.io/v1", "Event")):
        schemas = served.ask("GET", f"/openapi/v3/apis/{root}")[1]["components"]["schemas"]
        assert any(name.endswith(f".v1.{kind}") for name in schemas)
    table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    columns = served.ask("GET", NEW, **table)[1]["columnDefinitions"]
    assert [column["name"] for column in columns][:3] == ["Last Seen", "Type", "Reason"]
