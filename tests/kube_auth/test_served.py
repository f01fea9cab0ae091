"""Users of a running server: refusals in the words that clients know, reviews, service account tokens."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fairway.kube.access import Access
from fairway.kube.accounts import Accounts
from fairway.kube.http.identity import read_token_file
from fairway.kube.http.pki import ensure_pki
from fairway.kube.users import User
from tests.kube_http.serving import Served, serving

ALICE = "user-alice"
PODS = "/api/v1/namespaces/default/pods"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
AUTHORIZATION = "/apis/authorization.k8s.io/v1"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, tls=False) as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """For tests that leave nothing behind."""
    with serving(tmp_path_factory.mktemp("shared"), tls=False) as running:
        yield running


def ref(role: str) -> dict[str, str]:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}


def bind(served: Served, role: str, *, namespace: str = "default", name: str = "given", **subject: str) -> None:
    who = subject or {"kind": "User", "name": "alice"}
    served.create(f"{RBAC}/namespaces/{namespace}/rolebindings", name, subjects=[who],
                  roleRef=ref(role))


def test_who_is_given_nothing_may_do_nothing(served: Served) -> None:
    status, body = served.ask("GET", PODS, token=ALICE)
    assert (status, body["reason"], body["code"]) == (403, "Forbidden", 403)
    assert body["message"] == ('pods is forbidden: User "alice" cannot list resource "pods" in API group "" in the namespace '
                               '"default"')
    assert body["details"] == {"kind": "pods"}
    deployment = "/apis/apps/v1/namespaces/default/deployments/web"
    assert served.ask("DELETE", deployment, token=ALICE)[1]["message"] == (
        'deployments.apps "web" is forbidden: User "alice" cannot delete resource "deployments" in API group "apps" in the '
        'namespace "default"')
    assert served.ask("GET", f"{PODS}/x/log", token=ALICE)[1]["message"] == (
        'pods "x" is forbidden: User "alice" cannot get resource "pods/log" in API group "" in the namespace "default"')
    assert served.ask("GET", "/metrics", token=ALICE)[1]["message"] == 'forbidden: User "alice" cannot get path "/metrics"'
    assert served.ask("GET", "/api/v1/nodes", token="")[1]["message"] == (
        'nodes is forbidden: User "system:anonymous" cannot list resource "nodes" in API group "" at the cluster scope')
    assert served.ask("GET", "/apis/apps/v1", token=ALICE)[0] == 200


def test_a_binding_counts_for_the_next_request(served: Served) -> None:
    bind(served, "view")
    assert served.ask("GET", PODS, token=ALICE)[0] == 200
    assert served.ask("GET", f"{PODS}/absent", token=ALICE)[0] == 404
    assert served.ask("GET", "/api/v1/namespaces/default", token=ALICE)[0] == 200
    assert served.ask("GET", "/api/v1/namespaces/default/secrets", token=ALICE)[0] == 403
    assert served.ask("POST", PODS, {}, token=ALICE)[0] == 403
    assert served.ask("GET", "/api/v1/pods", token=ALICE)[0] == 403
    served.ask("DELETE", f"{RBAC}/namespaces/default/rolebindings/given")
    assert served.ask("GET", PODS, token=ALICE)[0] == 403


def test_a_watch_needs_its_own_verb_and_a_name_is_enough_to_list_it(served: Served) -> None:
    rules = [{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["mine"]}]
    served.create(f"{RBAC}/clusterroles", "one-map", rules=rules)
    bind(served, "one-map")
    maps = "/api/v1/namespaces/default/configmaps"
    assert served.ask("GET", f"{maps}?fieldSelector=metadata.name=mine", token=ALICE)[0] == 200
    assert served.ask("GET", maps, token=ALICE)[0] == 403
    assert "cannot watch" in served.ask("GET", f"{maps}?fieldSelector=metadata.name=mine&watch=true", token=ALICE)[1]["message"]


def test_nobody_gives_themselves_more(served: Served) -> None:
    bind(served, "admin")
    roles = f"{RBAC}/namespaces/default/roles"
    wanted = {"metadata": {"name": "r"}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["nodes"]}]}
    status, body = served.ask("POST", roles, wanted, token=ALICE)
    assert status == 403
    assert body["message"] == (
        'roles.rbac.authorization.k8s.io "r" is forbidden: user "alice" (groups=["devs" "system:authenticated"]) is attempting '
        'to grant RBAC permissions not currently held:\n{APIGroups:[""], Resources:["nodes"], Verbs:["get"]}')
    allowed = {**wanted, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}
    assert served.ask("POST", roles, allowed, token=ALICE)[0] == 201
    patch = {"Content_Type": "application/merge-patch+json"}
    assert served.ask("PATCH", f"{roles}/r", wanted, token=ALICE, **patch)[0] == 403
    assert served.ask("PATCH", f"{roles}/r", {"metadata": {"labels": {"a": "b"}}}, token=ALICE, **patch)[0] == 200
    assert served.ask("PUT", f"{roles}/r", wanted, token=ALICE)[0] == 403
    more = {"metadata": {"name": "b"}, "roleRef": ref("cluster-admin"), "subjects": [{"kind": "User", "name": "alice"}]}
    bindings = f"{RBAC}/namespaces/default/rolebindings"
    assert "not currently held" in served.ask("POST", bindings, more, token=ALICE)[1]["message"]
    more["roleRef"] = ref("gone")
    status, body = served.ask("POST", bindings, more, token=ALICE)
    assert (status, body["message"]) == (404, 'clusterroles.rbac.authorization.k8s.io "gone" not found')
    more["roleRef"] = ref("view")
    assert served.ask("POST", bindings, more, token=ALICE)[0] == 201


def test_a_binding_stays_with_its_role_and_rules_must_make_sense(served: Served) -> None:
    bind(served, "view")
    path = f"{RBAC}/namespaces/default/rolebindings/given"
    changed = served.ask("GET", path)[1] | {"roleRef": ref("edit")}
    status, body = served.ask("PUT", path, changed)
    assert (status, body["message"]) == (422, (
        'RoleBinding.rbac.authorization.k8s.io "given" is invalid: roleRef: Invalid value: '
        '{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"edit"}: cannot change roleRef'))
    role = {"metadata": {"name": "r"}, "rules": [{"verbs": [], "resources": ["pods"]}]}
    status, body = served.ask("POST", f"{RBAC}/namespaces/default/roles", role)
    assert [cause["field"] for cause in body["details"]["causes"]] == ["rules[0].verbs", "rules[0].apiGroups"]
    nobody = {"kind": "ServiceAccount", "name": "x"}
    lost = {"metadata": {"name": "b"}, "roleRef": {"kind": "Thing", "name": ""}, "subjects": [nobody]}
    status, body = served.ask("POST", f"{RBAC}/namespaces/default/rolebindings", lost)
    assert [cause["field"] for cause in body["details"]["causes"]] == ["roleRef.kind", "roleRef.name", "subjects[0].namespace"]


def test_aggregated_roles_are_told_what_they_hold(served: Served) -> None:
    bind(served, "view")
    gizmos = "/apis/tests.dev/v1/namespaces/default/gizmos"
    served.create(f"{RBAC}/clusterroles", "gizmo-readers", metadata={
        "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        rules=[{"verbs": ["list"], "apiGroups": ["tests.dev"], "resources": ["gizmos"]}])  # fmt: skip
    assert served.ask("GET", gizmos, token=ALICE)[0] == 404  # allowed; there is no such kind
    shown = served.ask("GET", f"{RBAC}/clusterroles/admin")[1]["rules"]
    assert {"verbs": ["list"], "apiGroups": ["tests.dev"], "resources": ["gizmos"]} in shown


# --- reviews ----------------------------------------------------------------------------------------------------------


def review(served: Served, path: str, spec: dict[str, Any], **rest: Any) -> tuple[int, Any]:
    status, body = served.ask("POST", path, {"spec": spec}, **rest)
    return status, body.get("status", body) if status == 201 else body


def test_access_reviews(served: Served) -> None:
    bind(served, "view")
    question = {"resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "default"}}
    reason = 'RBAC: allowed by RoleBinding "given/default" of ClusterRole "view" to User "alice"'
    assert review(served, f"{AUTHORIZATION}/selfsubjectaccessreviews", question, token=ALICE) == (
        201, {"allowed": True, "reason": reason})
    of_alice = {**question, "user": "alice"}
    assert review(served, f"{AUTHORIZATION}/subjectaccessreviews", of_alice) == (201, {"allowed": True, "reason": reason})
    assert review(served, f"{AUTHORIZATION}/subjectaccessreviews", {**question, "user": "bob"}) == (201, {"allowed": False})
    assert review(served, f"{AUTHORIZATION}/subjectaccessreviews", of_alice, token=ALICE)[0] == 403
    local = f"{AUTHORIZATION}/namespaces/default/localsubjectaccessreviews"
    assert review(served, local, of_alice)[1]["allowed"] is True
    elsewhere = {"resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "other"}, "user": "alice"}
    assert "must match metadata.namespace" in review(served, local, elsewhere)[1]["message"]
    assert review(served, f"{AUTHORIZATION}/subjectaccessreviews", {"user": "alice"})[0] == 422
    assert review(served, f"{AUTHORIZATION}/subjectaccessreviews", question)[0] == 422
    rules = review(served, f"{AUTHORIZATION}/selfsubjectrulesreviews", {"namespace": "default"}, token=ALICE)[1]
    assert any("pods" in rule["resources"] for rule in rules["resourceRules"])
    assert any("/openapi/*" in rule["nonResourceURLs"] for rule in rules["nonResourceRules"])


def test_speaking_for_others_is_a_permission(served: Served) -> None:
    bind(served, "view")
    assert served.ask("GET", PODS, Impersonate_User="alice")[0] == 200
    assert served.ask("GET", "/api/v1/nodes", Impersonate_User="alice")[0] == 403
    whoami = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    _, body = served.ask("POST", whoami, {}, Impersonate_User="system:serviceaccount:ci:robot")
    groups = ["system:serviceaccounts", "system:serviceaccounts:ci", "system:authenticated"]
    assert body["status"]["userInfo"]["groups"] == groups
    status, body = served.ask("GET", PODS, token=ALICE, Impersonate_User="bob")
    assert (status, body["message"]) == (403, (
        'users "bob" is forbidden: User "alice" cannot impersonate resource "users" in API group "" at the cluster scope'))


# --- service account tokens -------------------------------------------------------------------------------------------


def test_a_token_is_its_account_until_the_account_is_gone(served: Served) -> None:
    served.create("/api/v1/namespaces/default/serviceaccounts", "robot")
    robot = {"kind": "ServiceAccount", "name": "robot", "namespace": "default"}
    served.create(f"{RBAC}/namespaces/default/rolebindings", "robots", subjects=[robot], roleRef=ref("view"))
    tokens = "/api/v1/namespaces/default/serviceaccounts/robot/token"
    status, made = served.ask("POST", tokens, {"spec": {"expirationSeconds": 600}})
    assert (status, made["kind"], made["spec"]["audiences"]) == (201, "TokenRequest", ["https://kubernetes.default.svc"])
    token = made["status"]["token"]
    assert served.ask("GET", PODS, token=token)[0] == 200
    assert served.ask("POST", PODS, {}, token=token)[0] == 403
    _, who = served.ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, token=token)
    assert who["status"]["userInfo"]["username"] == "system:serviceaccount:default:robot"
    assert served.ask("GET", PODS, token=token[:-4] + "AAAA")[0] == 401
    review_path = "/apis/authentication.k8s.io/v1/tokenreviews"
    assert review(served, review_path, {"token": token})[1]["authenticated"] is True
    assert "authenticated" not in review(served, review_path, {"token": token, "audiences": ["vault"]})[1]
    assert "authenticated" not in review(served, review_path, {"token": "nonsense"})[1]
    served.ask("DELETE", "/api/v1/namespaces/default/serviceaccounts/robot")
    served.create("/api/v1/namespaces/default/serviceaccounts", "robot")
    assert served.ask("GET", PODS, token=token)[0] == 401


def test_what_a_token_request_may_not_say(served: Served) -> None:
    served.create("/api/v1/namespaces/default/serviceaccounts", "robot")
    tokens = "/api/v1/namespaces/default/serviceaccounts/robot/token"
    status, body = served.ask("POST", tokens, {"spec": {"expirationSeconds": 10}})
    assert (status, body["message"]) == (422, (
        'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 10: may not specify a '
        "duration less than 10 minutes"))
    assert served.ask("POST", tokens.replace("robot", "nobody"), {})[0] == 404
    assert served.ask("GET", tokens)[0] == 405
    bound = {"spec": {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "absent"}}}
    assert served.ask("POST", tokens, bound)[0] == 404
    other = {"spec": {"audiences": ["vault"]}}
    token = served.ask("POST", tokens, other)[1]["status"]["token"]
    assert served.ask("GET", PODS, token=token)[0] == 401  # not meant for the API


def test_a_pods_token_ends_with_its_pod(served: Served) -> None:
    served.create("/api/v1/namespaces/default/serviceaccounts", "default")
    pod = served.create(PODS, "web", spec={"containers": [{"name": "c", "image": "shop:1"}]})
    accounts: Accounts = served.server.accounts  # type: ignore[assignment]
    made = accounts.for_pod(pod, seconds=3607)
    who = accounts.tokens.check(made.text, made.expires - timedelta(seconds=1))[0]
    assert who.extra["authentication.kubernetes.io/pod-name"] == ("web",)
    assert served.ask("GET", "/apis", token=made.text)[0] == 200
    served.ask("DELETE", f"{PODS}/web?gracePeriodSeconds=0")
    assert served.ask("GET", "/apis", token=made.text)[0] == 401


# --- bodies -----------------------------------------------------------------------------------------------------------


def test_three_megabytes_are_the_most(served: Served) -> None:
    maps = "/api/v1/namespaces/default/configmaps"
    status, body = served.ask("POST", maps, {"metadata": {"name": "big"}, "data": {"a": "x" * (3 << 20)}})
    assert (status, body["reason"], body["message"]) == (413, "RequestEntityTooLarge",
                                                         "Request entity too large: limit is 3145728")
    assert served.ask("POST", maps, {"metadata": {"name": "fits"}, "binaryData": {"a": "eHh4"}})[0] == 201


WRONG = (
    b"[" * 100_000, b'{"a":' * 100_000, b"[]", b'"text"', b"null", b"7", b"", b"\xff\xfe", b'{"kind": 5}',
    b'{"kind": "ConfigMap", "apiVersion": {}}', b'{"metadata": 5}', b'{"metadata": []}', b'{"metadata": {"name": 5}}',
    b'{"metadata": {"name": {"a": 1}}}', b'{"metadata": {"name": "x", "labels": []}}', b'{"metadata": {"finalizers": 1}}',
    b'{"metadata": {"name": "x", "labels": {"a": 1}}}', b'{"metadata": {"name": "x", "annotations": "me"}}',
    b'{"metadata": {"name": "x", "ownerReferences": "me"}}', b'{"metadata": {"name": "x", "creationTimestamp": 5}}',
    b'{"metadata": {"name": "x", "managedFields": 5}}', b'{"metadata": {"name": "x"}, "data": [1]}',
    b'{"metadata": {"name": "x"}, "data": {"a": 1}}',
)  # fmt: skip


@pytest.mark.parametrize("body", WRONG, ids=lambda body: body[:60].decode(errors="replace"))
def test_wrong_types_are_the_clients_mistake(shared: Served, body: bytes) -> None:
    maps = "/api/v1/namespaces/default/configmaps"
    for content_type in ("application/json", "application/yaml"):
        if content_type == "application/json" or len(body) < 1000:
            status, said = shared.ask("POST", maps, body, Content_Type=content_type)
            assert 400 <= status < 500, (content_type, said)
    shared.ask("POST", maps, {"metadata": {"name": "x"}})
    for content_type in ("merge-patch+json", "strategic-merge-patch+json", "json-patch+json", "apply-patch+yaml"):
        status, said = shared.ask("PATCH", f"{maps}/x?fieldManager=t", body, Content_Type=f"application/{content_type}")
        assert status < 500, (content_type, said)


def test_an_apply_that_creates_needs_both_verbs(served: Served) -> None:
    rules = [{"verbs": ["get", "patch"], "apiGroups": [""], "resources": ["configmaps"]}]
    served.create(f"{RBAC}/clusterroles", "patchers", rules=rules)
    bind(served, "patchers")
    path = "/api/v1/namespaces/default/configmaps/new?fieldManager=t"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new"}}
    apply = {"Content_Type": "application/apply-patch+yaml"}
    status, said = served.ask("PATCH", path, body, token=ALICE, **apply)
    assert (status, "cannot create" in said["message"]) == (403, True)
    assert served.ask("PATCH", path, body, **apply)[0] == 201
    assert served.ask("PATCH", path, body, token=ALICE, **apply)[0] == 200


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_default_roles_are_founded_once_and_the_owners_changes_stay(served: Served) -> None:
    before = served.api.store.revision
    served.run(Access(served.api).start())
    assert served.api.store.revision == before
    own = {"metadata": {"annotations": {"rbac.authorization.k8s.io/autoupdate": "false"}}, "rules": []}
    path, patch = f"{RBAC}/clusterroles/system:discovery", {"Content_Type": "application/merge-patch+json"}
    served.ask("PATCH", path, own, **patch)
    served.run(Access(served.api).start())
    assert not served.ask("GET", path)[1].get("rules")


def test_the_tokens_key_is_kept(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    first = ensure_pki(tmp_path, now).accounts
    assert ensure_pki(tmp_path, now).accounts.key_id == first.key_id
    assert (tmp_path / "sa.key").stat().st_mode & 0o077 == 0
    (tmp_path / "sa.key").write_text("broken")
    assert ensure_pki(tmp_path, now).accounts.key_id != first.key_id


def test_a_token_file_is_read_as_kube_apiserver_reads_it() -> None:
    found = read_token_file('# robots\nsecret,bob,42,"devs, ops"\nother,eve,7\n')
    assert found["secret"] == User("bob", ("devs", "ops", "system:authenticated"), "42")
    assert found["other"].groups == ("system:authenticated",)
    with pytest.raises(ValueError, match="line 1: expected token,user,uid"):
        read_token_file("secret\n")
