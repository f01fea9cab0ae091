"""The four patches, as pure functions."""

from __future__ import annotations

from typing import Any

import pytest

from fairway.kube.facts import facts
from fairway.kube.patches import apply, fieldsets, json_patch, merge_patch, strategic
from fairway.kube.patches.apply import Conflicts, Owner, Ownership
from fairway.kube.schema import Schema, of_openapi

DEPLOYMENT = facts().of_kind("apps/v1", "Deployment")
SERVICE = facts().of_kind("v1", "Service")
assert DEPLOYMENT is not None and SERVICE is not None

# --- RFC 6902 -----------------------------------------------------------------------------------------------------------

JSON_PATCHES: list[tuple[str, Any, list[dict[str, Any]], Any]] = [
    ("add a member", {"a": 1}, [{"op": "add", "path": "/b", "value": 2}], {"a": 1, "b": 2}),
    ("insert into a list", [1, 3], [{"op": "add", "path": "/1", "value": 2}], [1, 2, 3]),
    ("append by dash", {"l": [1]}, [{"op": "add", "path": "/l/-", "value": 2}], {"l": [1, 2]}),
    ("remove", {"a": 1, "b": 2}, [{"op": "remove", "path": "/b"}], {"a": 1}),
    ("replace", {"a": {"b": 1}}, [{"op": "replace", "path": "/a/b", "value": None}], {"a": {"b": None}}),
    ("replace everything", {"a": 1}, [{"op": "replace", "path": "", "value": {"c": 3}}], {"c": 3}),
    ("move", {"a": {"b": 1}, "c": {}}, [{"op": "move", "from": "/a/b", "path": "/c/d"}], {"a": {}, "c": {"d": 1}}),
    ("copy is deep", {"a": {"b": []}}, [{"op": "copy", "from": "/a", "path": "/c"},
                                         {"op": "add", "path": "/c/b/-", "value": 1}], {"a": {"b": []}, "c": {"b": [1]}}),
    ("escaped steps", {"a/b": 1, "m~n": 2}, [{"op": "test", "path": "/a~1b", "value": 1},
                                              {"op": "remove", "path": "/m~0n"}], {"a/b": 1}),
    ("test holds", {"a": [1, {"b": 2}]}, [{"op": "test", "path": "/a", "value": [1, {"b": 2}]}], {"a": [1, {"b": 2}]}),
]


@pytest.mark.parametrize(("name", "target", "operations", "expected"), JSON_PATCHES, ids=[c[0] for c in JSON_PATCHES])
def test_json_patch(name: str, target: Any, operations: list[dict[str, Any]], expected: Any) -> None:
    before = repr(target)
    assert json_patch.apply_operations(target, operations) == expected
    assert repr(target) == before


@pytest.mark.parametrize("operation", [
    {"op": "remove", "path": "/nope"},
    {"op": "replace", "path": "/nope", "value": 1},
    {"op": "add", "path": "/nope/deeper", "value": 1},
    {"op": "add", "path": "/l/5", "value": 1},
    {"op": "add", "path": "/l/01", "value": 1},
    {"op": "remove", "path": "/l/-1"},
    {"op": "test", "path": "/n", "value": True},
    {"op": "add", "path": "/x"},
    {"op": "add", "path": "no-slash", "value": 1},
    {"op": "move", "path": "/x"},
    {"op": "nonsense", "path": "/n"},
    {"path": "/n"},
], ids=repr)
def test_json_patch_refuses(operation: dict[str, Any]) -> None:
    with pytest.raises(json_patch.PatchFailed):
        json_patch.apply_operations({"l": [1], "n": 1}, [operation])


# --- RFC 7386 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("target", "patch", "expected"), [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
])
def test_merge_patch(target: Any, patch: Any, expected: Any) -> None:
    assert merge_patch.merge(target, patch) == expected


# --- strategic merge ------------------------------------------------------------------------------------------------------


def pod(**spec: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": spec}}}


def names(obj: Any, field: str = "containers") -> list[str]:
    return [item["name"] for item in obj["spec"]["template"]["spec"][field]]


def test_elements_are_merged_by_key_and_new_ones_take_the_place_of_the_patch() -> None:
    live = pod(containers=[{"name": "a", "image": "1", "tty": True}, {"name": "b"}])
    done = strategic.merge(live, pod(containers=[{"name": "new"}, {"name": "b", "image": "2"}]), DEPLOYMENT)
    assert names(done) == ["new", "a", "b"]
    assert done["spec"]["template"]["spec"]["containers"][2] == {"name": "b", "image": "2"}


def test_elements_are_deleted_and_ordered_by_directive() -> None:
    live = pod(containers=[{"name": "a"}, {"name": "b"}, {"name": "c"}])
    done = strategic.merge(live, pod(containers=[{"name": "b", "$patch": "delete"}]), DEPLOYMENT)
    assert names(done) == ["a", "c"]
    order = {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}], "containers": []}
    assert names(strategic.merge(live, pod(**order), DEPLOYMENT)) == ["b", "c", "a"]
    with pytest.raises(strategic.PatchRefused):
        strategic.merge(live, pod(**{"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "z"}]}),
                        DEPLOYMENT)


def test_a_list_is_replaced_on_demand() -> None:
    live = pod(containers=[{"name": "a"}, {"name": "b"}])
    done = strategic.merge(live, pod(containers=[{"name": "z"}, {"$patch": "replace"}]), DEPLOYMENT)
    assert names(done) == ["z"]


def test_retain_keys_clears_what_is_not_named() -> None:
    live = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    done = strategic.merge(live, {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}, DEPLOYMENT)
    assert done == {"spec": {"strategy": {"type": "Recreate"}}}


def test_primitive_lists_are_united_and_thinned() -> None:
    live = {"metadata": {"finalizers": ["a", "b"]}}
    assert strategic.merge(live, {"metadata": {"finalizers": ["b", "c"]}}, DEPLOYMENT)["metadata"]["finalizers"] == [
        "a", "b", "c"]
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}
    assert strategic.merge(live, patch, DEPLOYMENT)["metadata"]["finalizers"] == ["b"]


def test_lists_without_a_merge_key_are_replaced() -> None:
    live = pod(containers=[{"name": "a", "args": ["1", "2"]}])
    done = strategic.merge(live, pod(containers=[{"name": "a", "args": ["3"]}]), DEPLOYMENT)
    assert done["spec"]["template"]["spec"]["containers"][0]["args"] == ["3"]
    with pytest.raises(strategic.PatchRefused, match="does not contain declared merge key: name"):
        strategic.merge(live, pod(containers=[{"image": "x"}]), DEPLOYMENT)


def test_null_removes_and_directives_never_remain() -> None:
    done = strategic.merge({"spec": {"replicas": 1}}, {"spec": {"replicas": None, "new": {"$patch": "merge", "a": None}}},
                           DEPLOYMENT)
    assert done == {"spec": {"new": {}}}
    assert strategic.merge({"spec": {"a": 1}}, {"spec": {"$patch": "replace", "b": 2}}, DEPLOYMENT) == {"spec": {"b": 2}}


# --- field sets -----------------------------------------------------------------------------------------------------------


def test_field_sets_travel_unchanged() -> None:
    sent = {"f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {"f:containers": {'k:{"name":"c"}': {".": {}, "f:image": {}}}}}
    assert fieldsets.dump(fieldsets.load(sent)) == sent


def test_algebra_of_field_sets() -> None:
    a = fieldsets.load({"f:x": {"f:a": {}, "f:b": {}}, "f:y": {}})
    b = fieldsets.load({"f:x": {"f:b": {}, "f:c": {}}})
    assert fieldsets.dump(fieldsets.union(a, b)) == {"f:x": {"f:a": {}, "f:b": {}, "f:c": {}}, "f:y": {}}
    assert fieldsets.dump(fieldsets.difference(a, b)) == {"f:x": {"f:a": {}}, "f:y": {}}
    assert fieldsets.dump(fieldsets.intersection(a, b)) == {"f:x": {"f:b": {}}}
    assert list(fieldsets.texts(a)) == [".x.a", ".x.b", ".y"]


def test_elements_are_named_by_keys_with_their_defaults() -> None:
    said = {"spec": {"ports": [{"port": 80, "name": "http"}], "selector": {"a": "b"}}}
    assert fieldsets.dump(fieldsets.of_value(said, SERVICE)) == {
        "f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:name": {}, "f:port": {}}}, "f:selector": {}}}


# --- server-side apply ------------------------------------------------------------------------------------------------------


def who(manager: str) -> Ownership:
    return Ownership(manager, "v1", "2030-01-01T00:00:00Z")


def said(**data: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}


CONFIG_MAP = facts().of_kind("v1", "ConfigMap")
assert CONFIG_MAP is not None


def told(schema: Schema, *story: tuple[str, dict[str, Any]]) -> tuple[dict[str, Any], list[Owner]]:
    live: dict[str, Any] = {}
    owners: list[Owner] = []
    for manager, body in story:
        live, owners = apply.applied(live, body, schema, owners, who(manager), force=False)
    return live, owners


def test_two_managers_share_a_value_until_one_changes_it() -> None:
    live, owners = told(CONFIG_MAP, ("one", said(k="1")), ("two", said(k="1")))
    assert {owner.manager for owner in owners} == {"one", "two"}
    with pytest.raises(Conflicts) as caught:
        apply.applied(live, said(k="2"), CONFIG_MAP, owners, who("two"), force=False)
    assert caught.value.fields == [('conflict with "one"', ".data.k")]
    live, owners = apply.applied(live, said(k="2"), CONFIG_MAP, owners, who("two"), force=True)
    assert live["data"] == {"k": "2"}
    assert [owner.manager for owner in owners] == ["two"]


def test_a_dropped_field_stays_while_another_says_it() -> None:
    live, _ = told(CONFIG_MAP, ("one", said(a="1", b="2")), ("two", said(b="2")), ("one", said()))
    assert live["data"] == {"b": "2"}
    live, _ = told(CONFIG_MAP, ("one", said(a="1")), ("one", said(b="2")))
    assert live["data"] == {"b": "2"}


def test_what_nobody_said_is_left_alone() -> None:
    live, owners = told(CONFIG_MAP, ("one", said(a="1")))
    live["data"]["defaulted"] = "x"
    live, _ = apply.applied(live, said(), CONFIG_MAP, owners, who("one"), force=False)
    assert live["data"] == {"defaulted": "x"}


def test_both_orders_are_kept_where_they_agree() -> None:
    schema = of_openapi({"type": "object", "properties": {"l": {
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
        "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}}}}})

    def merged(live: str, applied: str) -> str:
        done = apply.merge({"l": [{"k": k, "v": 1} for k in live]}, {"l": [{"k": k} for k in applied]}, schema)
        assert all(item["v"] == 1 for item in done["l"] if item["k"] in live)
        return "".join(item["k"] for item in done["l"])

    assert merged("abc", "abc") == "abc"
    assert merged("abc", "axc") == "abxc"
    assert merged("ac", "abc") == "abc"
    assert merged("abc", "cba") == "cba"
    assert merged("", "ab") == "ab"
    assert merged("ab", "") == "ab"


def test_the_first_apply_over_an_untracked_object_conflicts_with_what_was_there() -> None:
    with pytest.raises(Conflicts) as caught:
        apply.applied(said(k="old"), said(k="new"), CONFIG_MAP, [], who("one"), force=False)
    assert caught.value.fields == [('conflict with "before-first-apply" using v1', ".data.k")]


def test_old_updaters_are_put_together() -> None:
    owners: list[Owner] = []
    live = said()
    for number in range(14):
        new = {**live, "data": {**live["data"], f"k{number}": "v"}}
        when = Ownership(f"m{number:02}", "v1", f"2030-01-01T00:00:{number:02}Z")
        owners = apply.updated(live, new, CONFIG_MAP, owners, when)
        live = new
    assert len(owners) == 10
    [ancient] = [owner for owner in owners if owner.manager == "ancient-changes"]
    assert len(ancient.fields["f:data"]) == 5
