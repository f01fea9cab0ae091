"""The server over the wire: verbs, forms, errors. Clients here are urllib and a thread; kubectl has a file of its own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.kube_http.serving import Served

CM = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
SPEC = {"selector": {"matchLabels": {"app": "w"}}, "template": {"metadata": {"labels": {"app": "w"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]}}}  # fmt: skip


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/healthz/"])
def test_anybody_may_ask_whether_it_lives(served: Served, path: str) -> None:
    assert served.ask("GET", path, token="") == (200, "ok")


def test_the_version_is_open_and_everything_else_is_not(served: Served) -> None:
    assert served.ask("GET", "/version/", token="")[1]["gitVersion"] == "v1.35.0"
    status, body = served.ask("GET", CM, token="")
    assert (status, body["reason"]) == (403, "Forbidden")
    assert "system:anonymous" in body["message"]
    assert served.ask("GET", CM, token="wrong")[0] == 401


@pytest.mark.parametrize("slash", ["", "/"])
def test_discovery(served: Served, slash: str) -> None:
    assert served.ask("GET", f"/api{slash}")[1]["versions"] == ["v1"]
    groups = served.ask("GET", f"/apis{slash}")[1]["groups"]
    assert {"apps", "argoproj.io", "fairway.dev"} <= {group["name"] for group in groups}
    resources = served.ask("GET", f"/apis/apps/v1{slash}")[1]["resources"]
    scale = next(row for row in resources if row["name"] == "deployments/scale")
    assert (scale["group"], scale["kind"], scale["verbs"]) == ("autoscaling", "Scale", ["get", "patch", "update"])
    assert served.ask("GET", "/apis/nope") == (404, "404 page not found\n")


def test_aggregated_discovery_names_what_plain_discovery_names(served: Served) -> None:
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    for root in ("/api", "/apis"):
        with served.open("GET", root, Accept=accept) as response:
            assert response.headers["Content-Type"] == accept
            found = json.load(response)
        for group in found["items"]:
            for version in group["versions"]:
                name = group["metadata"].get("name", "")
                path = f"/apis/{name}/{version['version']}" if name else f"/api/{version['version']}"
                plain = served.ask("GET", path)[1]["resources"]
                assert [row["resource"] for row in version["resources"]] == [
                    row["name"] for row in plain if "/" not in row["name"]]


def test_create_read_replace_delete(served: Served) -> None:
    made = served.create(CM, "life", data={"k": "v"})
    assert (made["kind"], made["metadata"]["namespace"]) == ("ConfigMap", "default")
    status, changed = served.ask("PUT", f"{CM}/life", {**made, "data": {"k": "w"}})
    assert (status, changed["data"]) == (200, {"k": "w"})
    status, body = served.ask("PUT", f"{CM}/life", made)
    assert (status, body["reason"]) == (409, "Conflict")
    status, body = served.ask("DELETE", f"{CM}/life")
    assert (status, body["status"], body["details"]["uid"]) == (200, "Success", made["metadata"]["uid"])
    status, body = served.ask("GET", f"{CM}/life")
    assert (status, body["details"]) == (404, {"name": "life", "kind": "configmaps"})


def test_a_finalizer_keeps_what_is_deleted(served: Served) -> None:
    served.create(CM, "held", metadata={"finalizers": ["a.b/c"]})
    status, body = served.ask("DELETE", f"{CM}/held", {"propagationPolicy": "Background"})
    assert (status, body["kind"]) == (200, "ConfigMap")
    assert "deletionTimestamp" in body["metadata"]
    merge = {"Content_Type": "application/merge-patch+json"}
    assert served.ask("PATCH", f"{CM}/held", {"metadata": {"finalizers": None}}, **merge)[0] == 200
    assert served.ask("GET", f"{CM}/held")[0] == 404


def test_a_collection_is_deleted_by_its_labels(served: Served) -> None:
    for name in ("many-1", "many-2"):
        served.create(CM, name, metadata={"labels": {"many": "yes"}})
    served.create(CM, "other")
    status, body = served.ask("DELETE", f"{CM}?labelSelector=many%3Dyes")
    assert (status, body["kind"], len(body["items"])) == (200, "ConfigMapList", 2)
    names = [item["metadata"]["name"] for item in served.ask("GET", CM)[1]["items"]]
    assert "other" in names
    assert not [name for name in names if name.startswith("many-")]


def test_pages(served: Served) -> None:
    for i in range(5):
        served.create(CM, f"page-{i}", metadata={"labels": {"page": "x"}})
    seen: list[str] = []
    token = ""
    while True:
        status, body = served.ask("GET", f"{CM}?labelSelector=page&limit=2&continue={token}")
        assert status == 200
        seen += [item["metadata"]["name"] for item in body["items"]]
        token = body["metadata"].get("continue", "")
        if not token:
            break
    assert seen == [f"page-{i}" for i in range(5)]


def test_patches_by_their_content_types(served: Served) -> None:
    served.create(DEPLOYMENTS, "patched", spec=SPEC)
    path = f"{DEPLOYMENTS}/patched"

    def patch(kind: str, body: Any) -> tuple[int, Any]:
        return served.ask("PATCH", path, body, Content_Type=kind)

    status, body = patch("application/merge-patch+json", {"metadata": {"labels": {"a": "1"}}})
    assert (status, body["metadata"]["labels"]) == (200, {"a": "1"})
    sidecar = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "s"}]}}}}
    _, body = patch("application/strategic-merge-patch+json", sidecar)
    assert sorted(c["name"] for c in body["spec"]["template"]["spec"]["containers"]) == ["c", "side"]
    status, body = patch("application/json-patch+json", [{"op": "test", "path": "/spec/replicas", "value": 9}])
    assert (status, body["reason"]) == (422, "Invalid")
    assert patch("application/xml", {})[0] == 415


def test_apply_creates_then_changes_and_conflicts_until_forced(served: Served) -> None:
    path = f"{CM}/applied"
    kind = {"Content_Type": "application/apply-patch+yaml"}
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: applied}\ndata: {k: one}\n"
    assert served.ask("PATCH", f"{path}?fieldManager=a", body, **kind)[0] == 201
    assert served.ask("PATCH", f"{path}?fieldManager=a", body, **kind)[0] == 200
    status, refused = served.ask("PATCH", f"{path}?fieldManager=b", body.replace(b"one", b"two"), **kind)
    assert (status, refused["reason"]) == (409, "Conflict")
    assert refused["details"]["causes"][0]["reason"] == "FieldManagerConflict"
    status, forced = served.ask("PATCH", f"{path}?fieldManager=b&force=true", body.replace(b"one", b"two"), **kind)
    assert (status, forced["data"]) == (200, {"k": "two"})


def test_scale_and_status_are_parts_of_their_own(served: Served) -> None:
    served.create(DEPLOYMENTS, "scaled", spec=SPEC)
    status, scale = served.ask("GET", f"{DEPLOYMENTS}/scaled/scale")
    assert (status, scale["kind"], scale["spec"], scale["status"]["selector"]) == (200, "Scale", {"replicas": 1}, "app=w")
    scale["spec"]["replicas"] = 4
    status, body = served.ask("PUT", f"{DEPLOYMENTS}/scaled/scale", scale)
    assert (status, body["kind"], body["spec"]["replicas"]) == (200, "Scale", 4)
    merge = {"Content_Type": "application/merge-patch+json"}
    change = {"status": {"replicas": 4}, "spec": {"replicas": 9}}
    _, body = served.ask("PATCH", f"{DEPLOYMENTS}/scaled/status", change, **merge)
    assert (body["status"]["replicas"], body["spec"]["replicas"]) == (4, 4)
    assert served.ask("PATCH", f"{CM}/x/scale", {}, **merge)[0] == 404


def test_a_dry_run_changes_nothing_and_unknown_fields_are_told(served: Served) -> None:
    body = {"metadata": {"name": "dry"}, "spec": {**SPEC, "bogus": 1}}
    with served.open("POST", f"{DEPLOYMENTS}?dryRun=All", body) as response:
        assert response.status == 201
        assert response.headers["Warning"] == '299 - "unknown field \\"spec.bogus\\""'
    assert served.ask("GET", f"{DEPLOYMENTS}/dry")[0] == 404
    status, refused = served.ask("POST", f"{DEPLOYMENTS}?fieldValidation=Strict", body)
    assert (status, refused["reason"]) == (400, "BadRequest")
    assert 'strict decoding error: unknown field "spec.bogus"' in refused["message"]
    twice = b'{"metadata":{"name":"dry"},"data":{"a":"1","a":"2"}}'
    status, refused = served.ask("POST", f"{CM}?fieldValidation=Strict", twice)
    assert (status, refused["message"]) == (400, 'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict '
                                                 'decoding error: duplicate field "data.a"')


def test_bodies_may_be_yaml(served: Served) -> None:
    data = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: from-yaml}\ndata: {a: b}\n"
    status, made = served.ask("POST", CM, data, Content_Type="application/yaml")
    assert (status, made["data"]) == (201, {"a": "b"})
    assert "name: from-yaml" in served.ask("GET", f"{CM}/from-yaml", Accept="application/yaml")[1]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", CM, {"kind": "Secret", "apiVersion": "v1"}, 400, "cannot be handled as a ConfigMap"),
        ("POST", CM, {"metadata": {"name": "q", "namespace": "other"}}, 400, "does not match the namespace"),
        ("PUT", f"{CM}/b", {"metadata": {"name": "a"}}, 400, "the name of the object (a) does not match"),
        ("POST", "/api/v1/namespaces/nope/configmaps", {"metadata": {"name": "q"}}, 404, 'namespaces "nope" not found'),
        ("GET", "/api/v1/namespaces/default/foos", None, 404, "the server could not find the requested resource"),
        ("POST", f"{CM}/a", {}, 405, "does not allow this method"),
        ("DELETE", CM.replace("/namespaces/default", ""), None, 405, "does not allow this method"),
        ("DELETE", "/api/v1/namespaces", None, 405, "does not allow this method"),
        ("GET", f"{CM}?labelSelector=a%20in", None, 400, "unable to parse requirement"),
    ],
)
def test_mistakes_and_their_words(served: Served, method: str, path: str, body: Any, status: int, words: str) -> None:
    found, answer = served.ask(method, path, body)
    assert (found, answer["kind"], answer["code"]) == (status, "Status", status)
    assert words in answer["message"]


def test_tables(served: Served) -> None:
    served.create(CM, "tabled", data={"a": "1", "b": "2"}, metadata={"labels": {"t": "x"}})
    _, body = served.ask("GET", f"{CM}?labelSelector=t%3Dx", Accept=TABLE)
    assert [column["name"] for column in body["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert body["rows"][0]["cells"][:2] == ["tabled", 2]
    assert body["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    _, body = served.ask("GET", f"{CM}/tabled?includeObject=None", Accept=TABLE)
    assert body["rows"][0]["object"] is None
    assert served.ask("GET", f"{CM}/missing", Accept=TABLE)[1]["kind"] == "Status"


def test_columns_of_custom_kinds_come_from_their_definition(served: Served) -> None:
    _, crd = served.ask("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/releases.fairway.dev")
    columns = [c["name"] for c in crd["spec"]["versions"][0].get("additionalPrinterColumns") or [{"name": "Age"}]]
    _, body = served.ask("GET", "/apis/fairway.dev/v1alpha1/releases", Accept=TABLE)
    assert [column["name"] for column in body["columnDefinitions"]] == ["Name", *columns]


def test_metadata_alone(served: Served) -> None:
    served.create(CM, "partial", data={"a": "1"})
    accept = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
    _, body = served.ask("GET", f"{CM}/partial", Accept=accept)
    assert (body["kind"], sorted(body)) == ("PartialObjectMetadata", ["apiVersion", "kind", "metadata"])
    _, body = served.ask("GET", CM, Accept=accept.replace("Metadata;", "MetadataList;"))
    assert body["kind"] == "PartialObjectMetadataList"


def test_openapi_has_what_clients_merge_and_validate_by(served: Served) -> None:
    _, index = served.ask("GET", "/openapi/v3")
    url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
    _, document = served.ask("GET", url)
    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert "fieldValidation" in [parameter["name"] for parameter in patch["parameters"]]
    assert patch["x-kubernetes-group-version-kind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}
    containers = document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    with served.open("GET", "/openapi/v3/apis/apps/v1?hash=OLD") as response:
        assert response.url.endswith(url)
    assert served.ask("GET", "/openapi/v2")[0] == 404


def test_openapi_follows_new_definitions(served: Served) -> None:
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "size": {"type": "integer"}}}}}}
    crd = {"metadata": {"name": "gizmos.tests.dev"}, "spec": {
        "group": "tests.dev", "scope": "Namespaced", "names": {"plural": "gizmos", "kind": "Gizmo"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}]}}
    assert served.ask("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)[0] == 201
    _, index = served.ask("GET", "/openapi/v3")
    _, document = served.ask("GET", index["paths"]["apis/tests.dev/v1"]["serverRelativeURL"])
    gizmo = document["components"]["schemas"]["dev.tests.v1.Gizmo"]
    assert gizmo["properties"]["spec"]["properties"]["size"]["type"] == "integer"
    served.create("/apis/tests.dev/v1/namespaces/default/gizmos", "g", spec={"size": 3})
    smp = {"Content_Type": "application/strategic-merge-patch+json"}
    assert served.ask("PATCH", "/apis/tests.dev/v1/namespaces/default/gizmos/g", {}, **smp)[0] == 415


def test_an_old_version_of_a_custom_kind_warns_and_points_to_the_new_one(served: Served) -> None:
    schema = {"openAPIV3Schema": {"type": "object"}}
    versions = [{"name": "v1", "served": True, "storage": True, "schema": schema},
                {"name": "v1beta1", "served": True, "storage": False, "deprecated": True, "schema": schema}]
    crd = {"metadata": {"name": "olds.tests.dev"}, "spec": {
        "group": "tests.dev", "scope": "Namespaced", "names": {"plural": "olds", "kind": "Old"}, "versions": versions}}
    assert served.ask("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)[0] == 201
    served.create("/apis/tests.dev/v1/namespaces/default/olds", "o")
    for version, warning in (("v1", None), ("v1beta1", '299 - "tests.dev/v1beta1 Old is deprecated; use tests.dev/v1 Old"')):
        with served.open("GET", f"/apis/tests.dev/{version}/namespaces/default/olds/o") as response:
            assert (response.headers["Warning"], json.load(response)["apiVersion"]) == (warning, f"tests.dev/{version}")


def test_the_admin_may_do_everything(served: Served) -> None:
    review = {"spec": {"resourceAttributes": {"verb": "delete", "resource": "pods"}}}
    status, body = served.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
    assert (status, body["status"]["allowed"]) == (201, True)
    _, body = served.ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    assert body["status"]["userInfo"]["username"] == "admin"


def test_a_body_that_is_too_large_is_413(served: Served) -> None:
    status, body = served.ask("POST", CM, b'{"a":"' + b"x" * (9 << 20) + b'"}')
    assert (status, body["reason"]) == (413, "RequestEntityTooLarge")
