"""Who may do what, decided over roles and bindings given as objects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from fairway.kube.default_roles import default_roles
from fairway.kube.objects import Obj
from fairway.kube.rbac import Attributes, Rule, decide, effective_rules, escalation, not_held, refusal
from fairway.kube.users import ANONYMOUS, User, account_user

ALICE = User("alice", ("devs", "system:authenticated"))
ROBOT = account_user("ci", "robot")


def rule(verbs: str, resources: str = "", groups: str = "", **rest: Any) -> Obj:
    found: Obj = {"verbs": verbs.split(), **rest}
    if resources:
        found |= {"resources": resources.split(), "apiGroups": [group.strip("'") for group in groups.split()] or [""]}
    return found


def role(name: str, *rules: Obj, namespace: str = "", **rest: Any) -> Obj:
    meta = {"name": name, **({"namespace": namespace} if namespace else {}), **rest.pop("metadata", {})}
    return {"kind": "Role" if namespace else "ClusterRole", "metadata": meta, "rules": list(rules), **rest}


def binding(ref: str, *subjects: str, namespace: str = "", cluster_role: bool = True, name: str = "b") -> Obj:
    found = []
    for subject in subjects:
        kind, _, who = subject.partition(":")
        where, _, account = who.partition("/")
        found.append({"kind": kind, "name": account, "namespace": where} if account else {"kind": kind, "name": who})
    return {"metadata": {"name": name, "namespace": namespace}, "subjects": found,
            "roleRef": {"kind": "ClusterRole" if cluster_role else "Role", "name": ref}}


class Given:
    """Roles and bindings of one test."""

    def __init__(self, *objects: Obj) -> None:
        self._roles = [o for o in objects if "roleRef" not in o]
        self._bindings = [o for o in objects if "roleRef" in o]

    def _named(self, namespace: str, name: str) -> Obj | None:
        found = (r for r in self._roles if (r["metadata"].get("namespace", ""), r["metadata"]["name"]) == (namespace, name))
        return next(found, None)

    def role(self, namespace: str, name: str) -> Obj | None:
        return self._named(namespace, name)

    def cluster_role(self, name: str) -> Obj | None:
        return self._named("", name)

    def cluster_roles(self) -> Iterable[Obj]:
        return [r for r in self._roles if r["kind"] == "ClusterRole"]

    def bindings(self, namespace: str) -> Iterable[Obj]:
        return [b for b in self._bindings if b["metadata"].get("namespace", "") == namespace]

    def cluster_bindings(self) -> Iterable[Obj]:
        return self.bindings("")


def asked(text: str, group: str = "", name: str = "") -> Attributes:
    """`get pods/log in shop` or `get /metrics`."""
    verb, what, *where = text.split()
    if what.startswith("/"):
        return Attributes(verb, path=what)
    resource, _, sub = what.partition("/")
    return Attributes(verb, group, "v1", resource, sub, where[1] if where else "", name)


@pytest.mark.parametrize(
    ("rules", "question", "allowed"),
    [
        pytest.param([rule("get", "pods")], asked("get pods in shop"), True, id="as said"),
        pytest.param([rule("get", "pods")], asked("list pods in shop"), False, id="another verb"),
        pytest.param([rule("get", "pods")], asked("get pods/log in shop"), False, id="a subresource is a resource of its own"),
        pytest.param([rule("get", "pods/log")], asked("get pods/log in shop"), True, id="a subresource"),
        pytest.param([rule("get", "*/log")], asked("get pods/log in shop"), True, id="a subresource of everything"),
        pytest.param([rule("get", "*/log")], asked("get pods in shop"), False, id="and nothing but it"),
        pytest.param([rule("*", "*", "*")], asked("delete deployments/scale in shop", "apps"), True, id="everything"),
        pytest.param([rule("get", "deployments")], asked("get deployments in shop", "apps"), False, id="another group"),
        pytest.param([rule("get", "deployments", "apps")], asked("get deployments in shop", "apps"), True, id="its group"),
        pytest.param([rule("get", "pods", resourceNames=["a"])], asked("get pods in shop", name="a"), True, id="this name"),
        pytest.param([rule("get", "pods", resourceNames=["a"])], asked("get pods in shop", name="b"), False, id="not that"),
        pytest.param([rule("list", "pods", resourceNames=["a"])], asked("list pods in shop"), False, id="names are no lists"),
        pytest.param([rule("get", nonResourceURLs=["/metrics"])], asked("get /metrics"), True, id="a path"),
        pytest.param([rule("get", nonResourceURLs=["/api/*"])], asked("get /api/v1"), True, id="paths below"),
        pytest.param([rule("get", nonResourceURLs=["/api/*"])], asked("get /apis"), False, id="not beside"),
        pytest.param([rule("*", "*", "*")], asked("get /metrics"), False, id="resources are no paths"),
    ],
)  # fmt: skip
def test_a_rule_allows_what_it_says(rules: Sequence[Obj], question: Attributes, allowed: bool) -> None:
    given = Given(role("r", *rules), binding("r", "User:alice"))
    assert decide(given, ALICE, question).allowed is allowed


@pytest.mark.parametrize(
    ("subject", "user", "allowed"),
    [
        ("User:alice", ALICE, True), ("User:bob", ALICE, False), ("Group:devs", ALICE, True), ("Group:ops", ALICE, False),
        ("Group:system:authenticated", ALICE, True), ("Group:system:unauthenticated", ANONYMOUS, True),
        ("ServiceAccount:ci/robot", ROBOT, True), ("ServiceAccount:shop/robot", ROBOT, False),
        ("Group:system:serviceaccounts:ci", ROBOT, True), ("User:system:serviceaccount:ci:robot", ROBOT, True),
    ],
)  # fmt: skip
def test_a_binding_means_its_subjects(subject: str, user: User, allowed: bool) -> None:
    given = Given(role("r", rule("get", "pods")), binding("r", subject))
    assert decide(given, user, asked("get pods in shop")).allowed is allowed


def test_a_role_binding_reaches_its_namespace_only() -> None:
    given = Given(role("r", rule("get", "pods")), binding("r", "User:alice", namespace="shop", name="mine"))
    found = decide(given, ALICE, asked("get pods in shop"))
    assert found.reason == 'RBAC: allowed by RoleBinding "mine/shop" of ClusterRole "r" to User "alice"'
    assert not decide(given, ALICE, asked("get pods in other")).allowed
    assert not decide(given, ALICE, asked("get pods")).allowed


def test_a_missing_role_is_named() -> None:
    given = Given(binding("gone", "User:alice"), binding("lost", "User:alice", namespace="shop", cluster_role=False))
    assert decide(given, ALICE, asked("get pods in shop")).reason == (
        'RBAC: [clusterrole.rbac.authorization.k8s.io "gone" not found, role.rbac.authorization.k8s.io "lost" not found]')


def test_refusals_in_the_servers_words() -> None:
    assert refusal(ALICE, asked("get pods/log in shop")) == (
        'User "alice" cannot get resource "pods/log" in API group "" in the namespace "shop"')
    assert refusal(ALICE, asked("list nodes")) == (
        'User "alice" cannot list resource "nodes" in API group "" at the cluster scope')
    assert refusal(ALICE, asked("get /metrics")) == 'User "alice" cannot get path "/metrics"'


def test_aggregation_joins_the_roles_that_it_chooses() -> None:
    labelled = {"matchExpressions": [{"key": "all", "operator": "Exists"}]}
    chosen = {"clusterRoleSelectors": [{"matchLabels": {"team": "a"}}, labelled]}
    whole = role("whole", rule("stale", "x"), aggregationRule=chosen, metadata={"labels": {"team": "a"}})
    parts = [role("b", rule("get", "pods"), metadata={"labels": {"team": "a"}}),
             role("a", rule("list", "pods"), rule("get", "pods"), metadata={"labels": {"all": ""}}),
             role("c", rule("delete", "pods"), metadata={"labels": {"team": "c"}})]
    assert effective_rules(whole, [whole, *parts]) == [rule("list", "pods"), rule("get", "pods")]
    given = Given(whole, *parts, binding("whole", "User:alice"))
    assert decide(given, ALICE, asked("list pods in shop")).allowed
    assert not decide(given, ALICE, asked("delete pods in shop")).allowed


@pytest.mark.parametrize(
    ("held", "wanted", "missing"),
    [
        pytest.param([rule("*", "*", "*")], [rule("get", "pods secrets")], [], id="who holds all may give all"),
        pytest.param([rule("get", "pods"), rule("get", "secrets")], [rule("get", "pods secrets")], [], id="in parts"),
        pytest.param([rule("get", "pods")], [rule("get list", "pods")],
                     ['{APIGroups:[""], Resources:["pods"], Verbs:["list"]}'], id="a verb more"),
        pytest.param([rule("get", "pods", resourceNames=["a"])], [rule("get", "pods")],
                     ['{APIGroups:[""], Resources:["pods"], Verbs:["get"]}'], id="one name is not all"),
        pytest.param([rule("get", "pods")], [rule("get", "pods", resourceNames=["a"])], [], id="all is any name"),
        pytest.param([rule("get", nonResourceURLs=["/api/*"])], [rule("get", nonResourceURLs=["/api/v1", "/metrics"])],
                     ['{NonResourceURLs:["/metrics"], Verbs:["get"]}'], id="paths"),
        pytest.param([rule("get", "*/log")], [rule("get", "pods/log")], [], id="a subresource of everything"),
        pytest.param([rule("*", "pods")], [rule("*", "*")], ['{APIGroups:[""], Resources:["*"], Verbs:["*"]}'],
                     id="stars are all"),
    ],
)  # fmt: skip
def test_nobody_gives_more_than_they_hold(held: list[Obj], wanted: list[Obj], missing: list[str]) -> None:
    found = not_held([Rule.of(r) for r in held], [Rule.of(r) for r in wanted])
    assert [str(r) for r in found] == missing


def test_escalation_says_what_is_missing() -> None:
    assert escalation(ALICE, [Rule.of(rule("get list", "pods"))]) == (
        'user "alice" (groups=["devs" "system:authenticated"]) is attempting to grant RBAC permissions not currently held:\n'
        '{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}')


@pytest.mark.parametrize(
    ("name", "may", "may_not"),
    [
        ("view", ["get pods in s", "watch services in s", "get pods/log in s"], ["get secrets in s", "create pods in s"]),
        ("edit", ["get secrets in s", "delete pods in s", "create pods/exec in s", "create serviceaccounts/token in s"],
         ["create roles in s", "create resourcequotas in s"]),
        ("admin", ["get pods in s", "delete secrets in s"], ["delete namespaces in s", "update resourcequotas in s"]),
        ("cluster-admin", ["delete nodes", "get /metrics", "escalate clusterroles"], []),
    ],
)  # fmt: skip
def test_default_roles(name: str, may: list[str], may_not: list[str]) -> None:
    given = Given(*default_roles(), binding(name, "User:alice"))
    assert [q for q in may if not decide(given, ALICE, asked(q)).allowed] == []
    assert [q for q in may_not if decide(given, ALICE, asked(q)).allowed] == []


def test_everybody_may_look_around_and_ask_about_themselves() -> None:
    given = Given(*default_roles())
    for path in ("/api", "/apis/apps/v1", "/openapi/v3", "/version"):
        assert decide(given, ALICE, asked(f"get {path}")).allowed
        assert decide(given, ANONYMOUS, asked(f"get {path}")).allowed is (path == "/version")
    assert decide(given, ALICE, asked("create selfsubjectaccessreviews", "authorization.k8s.io")).allowed
    assert not decide(given, ALICE, asked("create subjectaccessreviews", "authorization.k8s.io")).allowed
