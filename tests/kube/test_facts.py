"""Schema facts, decoding, quantities, custom kinds."""

from __future__ import annotations

from typing import Any

import pytest

from fairway.kube import crds
from fairway.kube.decoding import DecodeError, decode
from fairway.kube.facts import facts
from fairway.kube.quantity import canonical, parse_quantity
from fairway.kube.resources import BUILT_IN, CUSTOM
from fairway.kube.schema import of_openapi
from fairway.kube.structural import Validator, fill_defaults, prune


def test_every_built_in_resource_has_a_schema() -> None:
    missing = [row for row in BUILT_IN if facts().of_kind(row.api_version, row.kind) is None]
    assert missing == []


def test_facts_know_how_lists_merge() -> None:
    deployment = facts().of_kind("apps/v1", "Deployment")
    assert deployment is not None
    containers = deployment.fields["spec"].fields["template"].fields["spec"].fields["containers"]
    assert (containers.merge_key, containers.keys, containers.list_type) == ("name", ("name",), "map")
    assert containers.items is not None
    assert containers.items.fields["ports"].keys == ("containerPort", "protocol")
    assert deployment.fields["spec"].fields["strategy"].strategies == ("retainKeys",)
    assert deployment.fields["spec"].fields["selector"].atomic


def test_openapi_is_closed_and_carries_the_merge_keys() -> None:
    name = next(name for api_version, kind, name in facts().kinds() if (api_version, kind) == ("apps/v1", "Deployment"))
    schemas = facts().openapi([name])

    def references(part: Any) -> set[str]:
        if isinstance(part, dict):
            own = {part["$ref"].rpartition("/")[2]} if "$ref" in part else set()
            return own.union(*(references(inner) for inner in part.values()))
        return set().union(*(references(inner) for inner in part)) if isinstance(part, list) else set()

    assert references(schemas) <= schemas.keys()
    containers = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert schemas[name]["x-kubernetes-group-version-kind"] == [{"group": "apps", "kind": "Deployment", "version": "v1"}]


def test_our_own_definitions_are_the_constants_that_rooms_use() -> None:
    served = [of for definition in crds.own_definitions() for of in crds.types_of(definition)]
    assert {str(of.resource): of.resource for of in served if of.resource.version == of.storage_version} == {
        str(row): row for row in CUSTOM}
    for definition in crds.own_definitions():
        crds.check_definition(definition)


# --- decoding -------------------------------------------------------------------------------------------------------------


def test_decoding_tells_unknown_fields_with_their_paths() -> None:
    pod = facts().of_kind("v1", "Pod")
    assert pod is not None
    made, unknown = decode({"spec": {"containers": [{"name": "c", "imag": "x", "env": []}], "odd": {"a": 1}},
                            "metadata": {"labels": {}, "creationTimestamp": None}}, pod)
    assert unknown == ["spec.containers[0].imag", "spec.odd"]
    assert made == {"spec": {"containers": [{"name": "c"}]}, "metadata": {}}


@pytest.mark.parametrize(("spec", "words"), [
    ({"containers": [{"name": 1}]},
     "cannot unmarshal number into Go struct field Container.spec.containers.name of type string"),
    ({"containers": {}}, "cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container"),
    ({"hostNetwork": "yes"}, "cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool"),
    ({"nodeSelector": {"a": True}}, "cannot unmarshal bool into Go struct field PodSpec.spec.nodeSelector of type string"),
    ({"containers": [{"name": "c", "resources": {"limits": {"cpu": "lots"}}}]}, "quantities must match"),
], ids=["string", "list", "boolean", "map", "quantity"])
def test_decoding_refuses_wrong_types_in_the_words_of_the_server(spec: Any, words: str) -> None:
    pod = facts().of_kind("v1", "Pod")
    assert pod is not None
    with pytest.raises(DecodeError) as caught:
        decode({"spec": spec}, pod)
    assert words in str(caught.value)


# --- quantities -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "expected"), [
    ("1000m", "1"), ("0.5", "500m"), ("500m", "500m"), ("1024Mi", "1Gi"), ("1536Mi", "1536Mi"), ("128Mi", "128Mi"),
    ("1Gi", "1Gi"), ("0.5Gi", "512Mi"), ("1e3", "1e3"), ("1000", "1k"), ("2000k", "2M"), (1, "1"), (1.5, "1500m"),
    ("0", "0"), ("-1", "-1"), ("100n", "100n"), ("0.1", "100m"), ("1.5Gi", "1536Mi"),
])
def test_quantities_are_written_one_way(text: str | float, expected: str) -> None:
    assert canonical(text) == expected


def test_quantities_compare_by_value() -> None:
    assert parse_quantity("1Gi") > parse_quantity("1G")
    assert parse_quantity("0.1") == parse_quantity("100m")
    for wrong in ("", "lots", "1 Gi", "1Gb", "--1", "1e", "0x10"):
        with pytest.raises(ValueError, match="quantities must match"):
            parse_quantity(wrong)


# --- structural schemas -----------------------------------------------------------------------------------------------------

SPEC = {"type": "object", "properties": {
    "size": {"type": "integer", "default": 3, "minimum": 1},
    "port": {"x-kubernetes-int-or-string": True},
    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    "note": {"type": "string", "nullable": True},
    "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
             "items": {"type": "object", "required": ["k"],
                       "properties": {"k": {"type": "string"}, "v": {"type": "string", "default": "dv"}}}}}}


def test_pruning_keeps_what_is_declared_or_free() -> None:
    unknown: list[str] = []
    made = prune({"size": None, "odd": 1, "note": None, "free": {"x": {"y": [None]}}, "list": [{"k": "a", "z": 1}]},
                 of_openapi(SPEC), unknown)
    assert made == {"note": None, "free": {"x": {"y": [None]}}, "list": [{"k": "a"}]}
    assert unknown == ["odd", "list[0].z"]
    fill_defaults(made, of_openapi(SPEC))
    assert made["size"] == 3
    assert made["list"] == [{"k": "a", "v": "dv"}]


def test_checking_says_where_and_why() -> None:
    errors = Validator(SPEC, of_openapi(SPEC)).errors(
        {"size": 0, "port": [], "list": [{"k": "a"}, {"k": "a"}, {}]})
    assert {str(error) for error in errors} == {
        "size: Invalid value: 0: size in body should be greater than or equal to 1",
        'port: Invalid value: "array": port in body must be of type integer,string: "array"',
        'list[1]: Duplicate value: {"k":"a"}',
        "list[2].k: Required value",
    }
    assert Validator(SPEC, of_openapi(SPEC)).errors({"port": "http", "note": None}) == []
