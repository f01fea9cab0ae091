"""Who else is asked about a write: admission webhooks over TLS, and policies in CEL."""

from __future__ import annotations

import base64
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fairway.kube.http.pki import server_context
from tests.kube_http.serving import Served, serving

REGISTRATION = "/apis/admissionregistration.k8s.io/v1"
MAPS = "/api/v1/namespaces/default/configmaps"
Answer = Callable[[dict[str, Any]], dict[str, Any]]


class Hook:
    """A webhook server; what it answers is given by the path."""

    def __init__(self, served: Served) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answers: dict[str, Answer] = {}
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                review = json.loads(self.rfile.read(int(self.headers["content-length"])))
                hook.asked.append(review["request"])
                response = {"uid": review["request"]["uid"], **hook.answers[self.path.partition("?")[0]](review["request"])}
                said = {"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response}
                body = json.dumps(said).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = server_context(served.pki).wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def config(self, path: str, ca: str) -> dict[str, Any]:
        return {"url": f"https://127.0.0.1:{self.server.server_port}{path}", "caBundle": base64.b64encode(ca.encode()).decode()}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as running:
        yield running


@pytest.fixture
def hook(served: Served) -> Iterator[Hook]:
    made = Hook(served)
    yield made
    made.server.shutdown()


def register(served: Served, kind: str, name: str, config: dict[str, Any], **more: Any) -> None:
    rule = {"operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
    entry = {"name": f"{name}.example.com", "clientConfig": config, "rules": [rule], "sideEffects": "None",
             "admissionReviewVersions": ["v1"], **more}
    served.create(f"{REGISTRATION}/{kind}webhookconfigurations", name, webhooks=[entry])


def patched(**labels: str) -> dict[str, Any]:
    operations = [{"op": "add", "path": "/metadata/labels", "value": labels}]
    return {"allowed": True, "patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(operations).encode()).decode()}


def test_one_changes_and_another_refuses(served: Served, hook: Hook) -> None:
    hook.answers = {
        "/mutate": lambda request: patched(team="shop"),
        "/validate": lambda request: {"allowed": request["object"]["data"].get("bad") is None, "warnings": ["seen"],
                                      "status": {"message": "bad is bad", "code": 403, "reason": "Forbidden"}},
    }
    register(served, "mutating", "label", hook.config("/mutate", served.pki.ca))
    register(served, "validating", "check", hook.config("/validate", served.pki.ca))
    with served.open("POST", MAPS, {"metadata": {"generateName": "a-"}, "data": {"k": "v"}}, token="user-alice") as answer:
        assert answer.status == 403, "alice may not create anything: nobody was asked"
    assert hook.asked == []
    with served.open("POST", MAPS, {"metadata": {"generateName": "a-"}, "data": {"k": "v"}}) as answer:
        made = json.load(answer)
        assert answer.headers.get_all("Warning") == ['299 - "seen"']
    assert made["metadata"]["labels"] == {"team": "shop"}
    owned = made["metadata"]["managedFields"][0]["fieldsV1"]
    assert "f:metadata" not in owned or "f:labels" not in owned["f:metadata"], "what a webhook adds is nobody's"
    first, second = hook.asked
    assert (first["operation"], first["oldObject"], first["userInfo"]["username"]) == ("CREATE", None, "admin")
    assert second["object"]["metadata"]["labels"] == {"team": "shop"}
    assert first["name"] == second["name"] == made["metadata"]["name"]
    path = f"{MAPS}/{made['metadata']['name']}"
    status, refused = served.ask("PATCH", path, {"data": {"bad": "1"}}, Content_Type="application/merge-patch+json")
    assert (status, refused["message"]) == (
        403, 'admission webhook "check.example.com" denied the request: bad is bad')
    assert hook.asked[-1]["oldObject"]["data"] == {"k": "v"}
    assert served.ask("GET", path)[1]["data"] == {"k": "v"}


def test_who_is_asked_and_what_silence_means(served: Served, hook: Hook) -> None:
    hook.answers = {"/no": lambda request: {"allowed": False}}
    config = hook.config("/no", served.pki.ca)
    register(served, "validating", "selected", config, objectSelector={"matchLabels": {"checked": "yes"}},
             matchConditions=[{"name": "named", "expression": "object.metadata.name.startsWith('x')"}],
             namespaceSelector={"matchLabels": {"kubernetes.io/metadata.name": "default"}})
    served.create(MAPS, "x-unlabelled")
    served.create(MAPS, "unnamed", metadata={"labels": {"checked": "yes"}})
    served.create("/api/v1/namespaces/fairway/configmaps", "x-elsewhere", metadata={"labels": {"checked": "yes"}})
    assert hook.asked == []
    labelled = {"metadata": {"name": "x", "labels": {"checked": "yes"}}}
    status, refused = served.ask("POST", MAPS, labelled)
    assert (status, refused["message"]) == (
        400, 'admission webhook "selected.example.com" denied the request without explanation')
    served.ask("DELETE", f"{REGISTRATION}/validatingwebhookconfigurations/selected")
    nowhere = {**config, "url": "https://127.0.0.1:1/"}
    register(served, "validating", "lenient", nowhere, failurePolicy="Ignore")
    served.create(MAPS, "let-through")
    register(served, "validating", "strict", nowhere, timeoutSeconds=1)
    status, refused = served.ask("POST", MAPS, {"metadata": {"name": "stopped"}})
    assert status == 500
    assert 'failed calling webhook "strict.example.com": failed to call webhook' in refused["message"]
    assert served.ask("DELETE", f"{REGISTRATION}/validatingwebhookconfigurations/strict")[0] == 200, "it can be removed"


def test_a_webhook_with_side_effects_stops_a_dry_run(served: Served, hook: Hook) -> None:
    hook.answers = {"/yes": lambda request: {"allowed": True}}
    register(served, "validating", "effects", hook.config("/yes", served.pki.ca))
    served.ask("POST", f"{MAPS}?dryRun=All", {"metadata": {"name": "tried"}})
    assert hook.asked[-1]["dryRun"] is True
    assert served.ask("GET", f"{MAPS}/tried")[0] == 404


def test_versions_that_differ_are_turned_by_a_webhook(served: Served, hook: Hook) -> None:
    """v1 keeps host and port apart, v1beta1 has them in one word."""
    calls: list[str] = []

    def turn(request: dict[str, Any]) -> dict[str, Any]:
        calls.append(request["desiredAPIVersion"])
        return {"result": {"status": "Success"}, "convertedObjects": [_turned(o, calls[-1]) for o in request["objects"]]}

    hook.answers = {"/convert": turn}
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {}}}}
    apart = {**schema, "properties": {"spec": {"type": "object", "properties": {
        "host": {"type": "string"}, "port": {"type": "integer", "default": 80}}}}}
    joined = {**schema, "properties": {"spec": {"type": "object", "required": ["address"], "properties": {
        "address": {"type": "string", "pattern": ":"}}}}}
    served.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "ends.example.com", spec={
        "group": "example.com", "scope": "Namespaced", "names": {"plural": "ends", "kind": "End"},
        "conversion": {"strategy": "Webhook", "webhook": {
            "conversionReviewVersions": ["v1"], "clientConfig": hook.config("/convert", served.pki.ca)}},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": apart}},
                     {"name": "v1beta1", "served": True, "storage": False, "schema": {"openAPIV3Schema": joined}}]})
    old, new = (f"/apis/example.com/{version}/namespaces/default/ends" for version in ("v1beta1", "v1"))
    made = served.create(old, "a", spec={"address": "example.com:443"})
    assert (made["apiVersion"], made["spec"]) == ("example.com/v1beta1", {"address": "example.com:443"})
    assert served.ask("GET", f"{new}/a")[1]["spec"] == {"host": "example.com", "port": 443}
    status, refused = served.ask("POST", old, {"metadata": {"name": "b"}, "spec": {"address": "none"}})
    assert (status, refused["details"]["causes"][0]["field"]) == (422, "spec.address"), "checked in its own version"
    served.create(new, "c", spec={"host": "c"})
    assert [item["spec"]["address"] for item in served.ask("GET", old)[1]["items"]] == ["example.com:443", "c:80"]
    merge = "application/merge-patch+json"
    status, changed = served.ask("PATCH", f"{old}/a", {"spec": {"address": "a:1"}}, Content_Type=merge)
    assert (status, changed["spec"]) == (200, {"address": "a:1"})
    assert served.ask("GET", f"{new}/a")[1]["spec"] == {"host": "a", "port": 1}
    with served.open("GET", f"{old}?watch=1&timeoutSeconds=1") as events:
        assert json.loads(events.readline())["object"]["spec"] == {"address": "a:1"}
    hook.answers = {"/convert": lambda request: {"result": {"status": "Failure", "message": "no idea"}}}
    status, refused = served.ask("GET", f"{old}/a")
    assert (status, refused["message"]) == (
        500, "conversion webhook for example.com/v1beta1, Kind=End failed: no idea")
    assert served.ask("GET", f"{new}/a")[0] == 200, "the stored version needs nobody"


def _turned(obj: dict[str, Any], wanted: str) -> dict[str, Any]:
    spec = obj["spec"]
    if wanted.endswith("v1"):
        host, _, port = spec["address"].partition(":")
        spec = {"host": host, "port": int(port)}
    else:
        spec = {"address": f"{spec['host']}:{spec['port']}"}
    return {**obj, "apiVersion": wanted, "spec": spec}


def policy(served: Served, name: str, *actions: str, **spec: Any) -> None:
    rule = {"operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
    served.create(f"{REGISTRATION}/validatingadmissionpolicies", name,
                  spec={"matchConstraints": {"resourceRules": [rule]}, **spec})
    params = {"paramRef": {"name": "limits", "namespace": "fairway", "parameterNotFoundAction": "Deny"}} \
        if "paramKind" in spec else {}
    served.create(f"{REGISTRATION}/validatingadmissionpolicybindings", f"{name}-binding",
                  spec={"policyName": name, "validationActions": list(actions), **params})


def test_a_policy_denies_in_its_own_words(served: Served) -> None:
    served.create("/api/v1/namespaces/fairway/configmaps", "limits", data={"most": "2"})
    policy(served, "few-keys", "Deny", paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
           variables=[{"name": "count", "expression": "has(object.data) ? size(object.data) : 0"}],
           validations=[{"expression": "variables.count <= int(params.data.most)",
                         "messageExpression": "'at most ' + params.data.most + ' keys, not ' + string(variables.count)"}])
    served.create(MAPS, "small", data={"a": "1"})
    status, refused = served.ask("POST", MAPS, {"metadata": {"name": "large"}, "data": {"a": "1", "b": "2", "c": "3"}})
    said = "ValidatingAdmissionPolicy 'few-keys' with binding 'few-keys-binding' denied request: at most 2 keys, not 3"
    assert (status, refused["reason"]) == (422, "Invalid")
    assert refused["message"] == f'configmaps "large" is forbidden: {said}'
    assert refused["details"]["causes"] == [{"message": said}]
    more = {"data": {"b": "2", "c": "3"}}
    status, _ = served.ask("PATCH", f"{MAPS}/small", more, Content_Type="application/merge-patch+json")
    assert status == 422


def test_a_policy_may_only_warn(served: Served) -> None:
    policy(served, "named", "Warn", validations=[{"expression": "object.metadata.name != 'bad'", "message": "a bad name"}])
    with served.open("POST", MAPS, {"metadata": {"name": "bad"}}) as answer:
        assert answer.status == 201
        assert "with binding 'named-binding': a bad name" in answer.headers["Warning"]
