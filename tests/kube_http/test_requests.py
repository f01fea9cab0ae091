"""How requests are read, without a server: paths, Accept headers, options, bodies."""

from __future__ import annotations

import pytest

from fairway.kube.api import ApplyPatch, JsonPatch, MergePatch, StrategicPatch
from fairway.kube.errors import ApiError, BadRequest, Invalid, NotAcceptable, UnsupportedMediaType
from fairway.kube.http import asked, bodies
from fairway.kube.http.media import Media, accepted
from fairway.kube.http.paths import GroupPath, ObjectPath, parse_path


@pytest.mark.parametrize(
    ("path", "meaning"),
    [
        ("/api", GroupPath(core=True)),
        ("/api/", GroupPath(core=True)),
        ("/apis/apps", GroupPath(core=False, group="apps")),
        ("/apis/apps/v1/", GroupPath(core=False, group="apps", version="v1")),
        ("/api/v1/pods", ObjectPath("", "v1", "pods")),
        ("/api/v1/namespaces/a", ObjectPath("", "v1", "namespaces", name="a")),
        ("/api/v1/namespaces/a/status", ObjectPath("", "v1", "namespaces", name="a", subresource="status")),
        ("/api/v1/namespaces/a/finalize", ObjectPath("", "v1", "namespaces", name="a", subresource="finalize")),
        ("/api/v1/namespaces/a/pods/p/log", ObjectPath("", "v1", "pods", "a", "p", "log")),
        ("/api/v1/namespaces/status/pods", ObjectPath("", "v1", "pods", "status")),
        ("/apis/apps/v1/namespaces/a/deployments/d/scale", ObjectPath("apps", "v1", "deployments", "a", "d", "scale")),
        ("/api/v1/watch/namespaces/a/pods", ObjectPath("", "v1", "pods", "a", watching=True)),
        ("/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Aadmin",
         ObjectPath("rbac.authorization.k8s.io", "v1", "clusterroles", name="system:admin")),
        ("/elsewhere", None),
        ("/api/v1/namespaces/a/pods/p/log/more", None),
    ],
)  # fmt: skip
def test_paths(path: str, meaning: object) -> None:
    assert parse_path(path) == meaning


TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@pytest.mark.parametrize(
    ("header", "media"),
    [
        ("", Media()),
        ("*/*", Media()),
        ("application/vnd.kubernetes.protobuf, application/json", Media()),
        (f"{TABLE},application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", Media("table")),
        ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", Media("metadata-list")),
        ("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", Media("aggregated")),
        ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", Media()),
        ("application/yaml", Media(yaml=True)),
    ],
)
def test_accept(header: str, media: Media) -> None:
    assert accepted(header) == media


@pytest.mark.parametrize("header", ["application/xml", "application/json;as=Table;v=v9;g=meta.k8s.io"])
def test_what_cannot_be_answered_is_406(header: str) -> None:
    with pytest.raises(NotAcceptable):
        accepted(header)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"sendInitialEvents": "true", "watch": "1"}, "resourceVersionMatch"),
        ({"resourceVersionMatch": "Exact"}, "resourceVersionMatch"),
        ({"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}, "sendInitialEvents"),
    ],
)
def test_options_that_contradict_each_other_are_422(query: dict[str, str], field: str) -> None:
    with pytest.raises(Invalid) as error:
        asked.list_asked(query)
    assert error.value.details["causes"][0]["field"] == field


def test_the_manager_is_named_or_is_the_client() -> None:
    assert asked.write_asked("CreateOptions", {"fieldManager": "me"}, "kubectl/v1").manager == "me"
    assert asked.write_asked("CreateOptions", {}, "kubectl/v1.32 (linux)").manager == "kubectl"
    assert asked.write_asked("CreateOptions", {}, "").manager == "unknown"
    with pytest.raises(Invalid, match="fieldManager: Required value"):
        asked.apply_asked({}, "kubectl/v1")


def test_flags_are_read_as_go_reads_them() -> None:
    assert asked.flag({"watch": "True"}, "watch")
    assert not asked.flag({"watch": "0"}, "watch")
    with pytest.raises(BadRequest, match="ParseBool"):
        asked.flag({"watch": "maybe"}, "watch")


def test_delete_options_come_from_body_or_query() -> None:
    body = {"propagationPolicy": "Foreground", "gracePeriodSeconds": 3, "preconditions": {"uid": "u"}, "dryRun": ["All"]}
    delete, write = asked.delete_asked({}, body)
    assert (delete.propagation, delete.grace_period_s, delete.uid, write.dry_run) == ("Foreground", 3, "u", True)
    assert asked.delete_asked({"propagationPolicy": "Orphan", "gracePeriodSeconds": "0"}, {})[0].grace_period_s == 0
    with pytest.raises(Invalid, match="propagationPolicy"):
        asked.delete_asked({"propagationPolicy": "Sideways"}, {})


@pytest.mark.parametrize(
    ("content_type", "data", "kind"),
    [
        ("application/json-patch+json", b'[{"op":"test","path":"/a","value":1}]', JsonPatch),
        ("application/merge-patch+json", b'{"a":1}', MergePatch),
        ("application/strategic-merge-patch+json", b'{"a":1}', StrategicPatch),
        ("application/apply-patch+yaml", b"a: 1\n", ApplyPatch),
        ("application/apply-patch+yaml", b'{"a":1}', ApplyPatch),
    ],
)
def test_the_four_patches(content_type: str, data: bytes, kind: type) -> None:
    patch, repeated = bodies.decode_patch(data, content_type, force=True)
    assert isinstance(patch, kind)
    assert repeated == ()


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "application/apply-patch+cbor"])
def test_other_patches_are_415(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        bodies.decode_patch(b"{}", content_type, force=False)


def test_protobuf_that_is_none_is_400() -> None:
    with pytest.raises(BadRequest, match="must be of type ConfigMap"):
        bodies.decode_object(b"k8s\0...", bodies.PROTOBUF, "ConfigMap")


@pytest.mark.parametrize(
    ("data", "repeated"),
    [
        (b'{"kind":"A","spec":{"x":1,"y":{"x":2}},"kind":"B"}', ("kind",)),
        (b'{"spec":{"list":[{"a":1},{"a":1,"a":2}]}}', ("spec.list[1].a",)),
        (b'{"a":"text with \\":\\" inside"}', ()),
        (b'{"a":1}', ()),
    ],
)
def test_repeated_fields_are_found(data: bytes, repeated: tuple[str, ...]) -> None:
    assert bodies.decode_object(data, "application/json", "ConfigMap").repeated == repeated


def test_yaml_is_read_as_kubernetes_reads_it() -> None:
    data = b"data: {y: 'y', on: 1}\nmetadata: {name: y, when: 2020-01-01, port: 080}\n8080: {a: no}\n"
    body = bodies.decode_object(data, "application/yaml", "ConfigMap").value
    assert body["metadata"]["name"] is True
    assert body["metadata"]["when"] == "2020-01-01"
    assert body["8080"] == {"a": False}
    assert bodies.decode_object(b"a: 1\na: 2\n", "application/yaml", "X").repeated == ("a",)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{bad json", "invalid character 'b' looking for beginning of object key string"),
        (b"{", "unexpected end of JSON input"),
        (b'{"a":1 "b"}', "invalid character '\"' after object key:value pair"),
        (b"x", "invalid character 'x' looking for beginning of value"),
        (b"{} x", "invalid character 'x' after top-level value"),
    ],
)
def test_json_errors_are_told_as_go_tells_them(data: bytes, words: str) -> None:
    with pytest.raises(ApiError) as error:
        bodies.decode_object(data, "application/json", "ConfigMap")
    assert words in error.value.message
