"""Argo CD's policies at the API: what the token of a project's role may do, and what a user may, over HTTP as clients ask."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fairway.gitops.access import ApplicationAccess
from fairway.gitops.action_request import REQUEST, ActionRequest
from fairway.gitops.permissions import NEVER, to_write
from fairway.gitops.project_tokens import Listed, claims_of, signed
from fairway.kube.objects import Obj
from fairway.kube.tokens import Untrusted
from tests.kube_http.serving import Served, serving

APPS = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications"
PROJECTS = "/apis/argoproj.io/v1alpha1/namespaces/argocd/appprojects"
KEY = b"a key of thirty-two bytes or so.."
ALICE = "user-alice"


def app(name: str = "web", project: str = "shop", **spec: Any) -> Obj:
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": name, "namespace": "argocd"},
            "spec": {"project": project, "source": {"repoURL": "https://git.example.com/a.git", "path": "."},
                     "destination": {"namespace": "default"}, **spec}}


def rules(*lines: str, role: str = "ci") -> list[str]:
    return [f"p, proj:shop:{role}, applications, {line}, allow" for line in lines]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, tls=False, guard=ApplicationAccess) as running:
        secret = {"metadata": {"name": "argocd-secret"}, "data": {"server.secretkey": base64.b64encode(KEY).decode()}}
        assert running.ask("POST", "/api/v1/namespaces/argocd/secrets", secret)[0] == 201
        for one in (app(), app("other", "else")):
            assert running.ask("POST", APPS, one)[0] == 201
        yield running


def project(served: Served, policies: list[str], *, tokens: list[Listed], name: str = "shop", **role: Any) -> None:
    body = {"apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": {"name": name},
            "spec": {"roles": [{"name": "ci", "policies": policies, **role}]},
            "status": {"jwtTokensByRole": {"ci": {"items": [token.as_object() for token in tokens]}}}}
    status, said = served.ask("PATCH", f"{PROJECTS}/{name}?fieldManager=t&force=true", body,
                              Content_Type="application/apply-patch+yaml")
    assert status in (200, 201), said


NOW = int(time.time())
FIRST = Listed("first", NOW - 10)
TOKEN = signed("shop", "ci", FIRST, KEY)


def patch(served: Served, body: Any, *, name: str = "web", token: str = TOKEN, kind: str = "merge-patch") -> tuple[int, str]:
    status, said = served.ask("PATCH", f"{APPS}/{name}", body, token=token, Content_Type=f"application/{kind}+json")
    return status, said.get("message", "")


# --- the token ------------------------------------------------------------------------------------------------------------


def test_a_token_says_who_and_is_believed_while_it_is_valid() -> None:
    token = Listed("x", 1000, expires=2000)
    text = signed("shop", "ci", token, KEY)
    assert claims_of(text, KEY, datetime.fromtimestamp(1500, UTC)).subject == "proj:shop:ci"
    for wrong, key, moment in ((text, KEY, 2000), (text, KEY, 999), (text, b"another", 1500), (text, b"", 1500),
                               (text[:-4] + "AAAA", KEY, 1500), ("a.b", KEY, 1500), ("", KEY, 1500)):
        with pytest.raises(Untrusted):
            claims_of(wrong, key, datetime.fromtimestamp(moment, UTC))


def test_a_token_without_a_signature_is_nobodys() -> None:
    head, payload, _ = signed("shop", "ci", FIRST, KEY).split(".")
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).rstrip(b"=").decode()
    for text in (f"{none}.{payload}.", f"{head}.{payload}."):
        with pytest.raises(Untrusted):
            claims_of(text, KEY, datetime.now(UTC))


def test_a_revoked_token_is_worth_nothing_in_the_next_request(served: Served) -> None:
    project(served, rules("get, shop/*"), tokens=[FIRST])
    assert served.ask("GET", f"{APPS}/web", token=TOKEN)[0] == 200
    project(served, rules("get, shop/*"), tokens=[Listed("second", NOW - 10)])
    assert served.ask("GET", f"{APPS}/web", token=TOKEN)[0] == 401, "an id that is not listed, though its time is"
    assert served.ask("DELETE", f"{PROJECTS}/shop")[0] == 200
    assert served.ask("GET", f"{APPS}/web", token=signed("shop", "ci", Listed("second", NOW - 10), KEY))[0] == 401


# --- what it may ----------------------------------------------------------------------------------------------------------


def test_lists_and_watches_show_what_may_be_seen(served: Served) -> None:
    project(served, rules("get, shop/*"), tokens=[FIRST])
    assert [o["metadata"]["name"] for o in served.ask("GET", APPS, token=TOKEN)[1]["items"]] == ["web"]
    every = served.ask("GET", "/apis/argoproj.io/v1alpha1/applications", token=TOKEN)[1]["items"]
    assert [o["metadata"]["name"] for o in every] == ["web"]
    with served.open("GET", f"{APPS}?watch=true&timeoutSeconds=1", token=TOKEN) as stream:
        seen = [json.loads(line)["object"]["metadata"]["name"] for line in stream]
    assert seen == ["web"]
    assert [o["metadata"]["name"] for o in served.ask("GET", PROJECTS, token=TOKEN)[1]["items"]] == ["shop"]


def test_what_may_not_be_seen_is_refused_like_what_is_not_there(served: Served) -> None:
    project(served, rules("*, shop/*"), tokens=[FIRST])
    there, gone = (served.ask("GET", f"{APPS}/{name}", token=TOKEN) for name in ("other", "nothing"))
    assert there[0] == gone[0] == 403
    assert there[1]["message"].replace("other", "x") == gone[1]["message"].replace("nothing", "x")
    test = [{"op": "test", "path": "/spec/project", "value": "else"}]
    wrong = [{"op": "test", "path": "/spec/project", "value": "guess"}]
    assert patch(served, test, name="other", kind="json-patch") == patch(served, wrong, name="other", kind="json-patch")
    for path in ("/api/v1/namespaces/argocd/secrets", "/api/v1/namespaces/default/pods", f"{APPS}/web/status"):
        assert served.ask("GET", path, token=TOKEN)[0] == 403
    assert served.ask("DELETE", APPS, token=TOKEN)[0] == 403, "no deletion of everything at once"


SYNC: Obj = {"operation": {"sync": {"prune": True}}}
CASES: list[tuple[str, Obj, bool]] = [
    ("sync, shop/*", SYNC, True),
    ("sync, shop/other", SYNC, False),
    ("get, shop/*", SYNC, False),
    ("update, shop/*", SYNC, False),
    ("sync, shop/*", {"spec": {"revisionHistoryLimit": 3}}, False),
    ("update, shop/*", {"spec": {"revisionHistoryLimit": 3}}, True),
    ("sync, shop/*", {"operation": {"sync": {"manifests": ["x"]}}}, False),
    ("*, shop/*", {"operation": {"sync": {"manifests": ["x"]}}}, True),
    ("sync, shop/*", {"operation": {"sync": {}, "initiatedBy": {"automated": True}}}, False),
    ("get, shop/*", {"metadata": {"annotations": {"argocd.argoproj.io/refresh": "normal"}}}, True),
    ("get, shop/*", {"metadata": {"annotations": {"notes": "x"}}}, False),
    ("sync, shop/*", {"metadata": {"annotations": {"fairway.dev/rollback-to": "1"}}}, False),
    ("rollback, shop/*", {"metadata": {"annotations": {"fairway.dev/rollback-to": "1"}}}, True),
    ("*, shop/*", {"status": {"sync": {"status": "Synced"}}}, False),
    ("update, shop/*", {"spec": {"project": "else"}}, False),
    ("delete, shop/*", {"metadata": {"finalizers": ["resources-finalizer.argocd.argoproj.io"]}}, True),
    ("delete, shop/*", {"metadata": {"finalizers": ["mine.example.com/x"]}}, False),
]  # fmt: skip


@pytest.mark.parametrize(("policy", "body", "allowed"), CASES)
def test_each_change_needs_its_own_permission(served: Served, policy: str, body: Obj, allowed: bool) -> None:
    project(served, rules("get, shop/*", policy), tokens=[FIRST])
    status, said = patch(served, body)
    assert status == (200 if allowed else 403), said
    if not allowed:
        assert "permission denied" in said


def test_no_door_leads_around(served: Served) -> None:
    """A whole object, an apply, a JSON patch and a dry run are judged like a merge patch."""
    project(served, rules("get, shop/*", "update, shop/*"), tokens=[FIRST])
    found = served.ask("GET", f"{APPS}/web")[1]
    assert served.ask("PUT", f"{APPS}/web", {**found, **SYNC}, token=TOKEN)[0] == 403
    assert patch(served, [{"op": "add", "path": "/operation", "value": {"sync": {}}}], kind="json-patch")[0] == 403
    applied = {**app(), **SYNC}
    for name in ("web", "new"):
        applied["metadata"] = {"name": name}
        status, _ = served.ask("PATCH", f"{APPS}/{name}?fieldManager=x&force=true", applied, token=TOKEN,
                               Content_Type="application/apply-patch+yaml")
        assert status == 403
    tried = served.ask("PATCH", f"{APPS}/web?dryRun=All", SYNC, token=TOKEN, Content_Type="application/merge-patch+json")
    assert tried[0] == 403
    assert served.ask("POST", APPS, app("new"), token=TOKEN)[0] == 403
    assert served.ask("DELETE", f"{APPS}/web", token=TOKEN)[0] == 403
    assert "operation" not in served.ask("GET", f"{APPS}/web")[1]


def test_an_application_is_created_and_moved_within_what_is_permitted(served: Served) -> None:
    project(served, rules("get, shop/*", "create, shop/*", "update, shop/*", "delete, shop/*"), tokens=[FIRST])
    assert served.ask("POST", APPS, app("new"), token=TOKEN)[0] == 201
    assert served.ask("POST", APPS, app("theirs", "else"), token=TOKEN)[0] == 403
    assert served.ask("POST", APPS, {**app("syncs"), **SYNC}, token=TOKEN)[0] == 403, "a sync comes with it"
    assert served.ask("DELETE", f"{APPS}/new", token=TOKEN)[0] == 200


def test_an_action_names_what_it_does_to_what(served: Served) -> None:
    project(served, rules("get, shop/*", "action/apps/Deployment/restart, shop/web"), tokens=[FIRST])
    asked = {"restart": True, "pause": False}
    for action, allowed in asked.items():
        text = ActionRequest(action, "apps", "Deployment", "default", "web", "1").text()
        status, _ = patch(served, {"metadata": {"annotations": {REQUEST: text}}})
        assert (status == 200) is allowed
    assert patch(served, {"metadata": {"annotations": {REQUEST: "no request"}}})[0] == 403


def test_general_policies_hold_for_users_and_their_groups(served: Served) -> None:
    assert served.ask("GET", f"{APPS}/web", token=ALICE)[0] == 403
    config = {"metadata": {"name": "argocd-rbac-cm"}, "data": {
        "policy.csv": "p, alice, applications, get, */*, allow\ng, devs, role:deployer\n",
        "policy.deployers.csv": "p, role:deployer, applications, sync, */*, allow\n"
                                "p, role:deployer, applications, sync, else/*, deny\n"}}
    assert served.ask("POST", "/api/v1/namespaces/argocd/configmaps", config)[0] == 201
    assert served.ask("GET", f"{APPS}/web", token=ALICE)[0] == 200
    assert patch(served, SYNC, token=ALICE)[0] == 200
    assert patch(served, SYNC, name="other", token=ALICE)[0] == 403
    status, _ = served.ask("PATCH", "/api/v1/namespaces/argocd/configmaps/argocd-rbac-cm", {"data": {
        "policy.csv": "p, alice, nonsense", "policy.default": "role:readonly"}}, Content_Type="application/merge-patch+json")
    assert status == 200
    assert patch(served, {"operation": None}, token=ALICE)[0] == 403, "what cannot be read gives nothing"
    assert len(served.ask("GET", APPS, token=ALICE)[1]["items"]) == 2, "the default role still reads"


def test_a_role_has_no_say_outside_of_its_project(served: Served) -> None:
    project(served, rules("get, shop/*"), tokens=[FIRST])
    config = {"metadata": {"name": "argocd-rbac-cm"}, "data": {"policy.csv": "g, proj:shop:ci, role:admin\n"}}
    assert served.ask("POST", "/api/v1/namespaces/argocd/configmaps", config)[0] == 201
    assert patch(served, SYNC)[0] == 200
    assert served.ask("GET", f"{APPS}/other", token=TOKEN)[0] == 403


@pytest.mark.parametrize(("verb", "name", "allowed"), [
    ("sync", "shop/web", True), ("sync", "else/web", False), ("delete", "shop/web", False),
    ("action/apps/Deployment/restart", "shop/web", False), ("get", "shop/web", True),
])
def test_who_asks_what_they_may_is_told(served: Served, verb: str, name: str, allowed: bool) -> None:
    project(served, rules("get, shop/*", "sync, shop/*"), tokens=[FIRST])
    review = {"spec": {"resourceAttributes": {"group": "argoproj.io", "version": "v1alpha1", "resource": "applications",
                                              "verb": verb, "name": name, "namespace": "argocd"}}}
    status, body = served.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review, token=TOKEN)
    assert status == 201
    assert body["status"]["allowed"] is allowed


def test_kubernetes_rbac_is_not_narrowed(served: Served) -> None:
    binding = {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
               "subjects": [{"kind": "User", "name": "alice"}]}
    served.create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", "alice", **binding)
    assert patch(served, {"status": {"sync": {"status": "Synced"}}}, token=ALICE)[0] == 200


@pytest.mark.parametrize(("old", "new", "needed"), [
    (app(), None, ["delete"]),
    (None, app(), ["create"]),
    (app(), app(project="else"), ["update", "update", "create"]),
    ({**app(), "status": {"operationState": {"phase": "Running", "message": "x"}}},
     {**app(), "status": {"operationState": {"phase": "Terminating", "message": "x"}}}, ["sync"]),
    ({**app(), "status": {"operationState": {"phase": "Succeeded"}}},
     {**app(), "status": {"operationState": {"phase": "Terminating"}}}, [NEVER]),
    ({**app(), "operation": {"sync": {}}}, app(), ["sync"]),
    (app(), {**app(), "operation": {"rollback": {"id": 1}}}, ["rollback"]),
    (app(), app(), ["get"]),
    (None, {"kind": "ApplicationSet", "metadata": {"name": "s", "namespace": "argocd"}, "spec": {"template": {"spec": {}}}},
     [NEVER, "create"]),
])
def test_what_a_change_needs(old: Obj | None, new: Obj | None, needed: list[str]) -> None:
    assert [need.action for need in to_write(old, new)] == needed
