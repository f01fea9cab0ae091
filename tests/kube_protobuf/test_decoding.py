"""Protobuf bodies are read into the JSON form that the same client would have sent."""

from __future__ import annotations

from typing import Any

import pytest

from fairway.kube import protobuf
from fairway.kube.facts import facts


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    return protobuf.MAGIC + field(1, field(1, api_version) + field(2, kind)) + field(2, raw) + field(3, "") + field(4, "")


NAMED = field(1, field(1, "x"))


@pytest.mark.parametrize(
    ("api_version", "kind", "raw", "expected"),
    [
        pytest.param("v1", "ConfigMap", NAMED + field(2, field(1, "a") + field(2, "b")), {"data": {"a": "b"}}, id="strings"),
        pytest.param("v1", "ConfigMap", NAMED + field(3, field(1, "c") + field(2, b"\0")), {"binaryData": {"c": "AA=="}},
                     id="bytes"),
        pytest.param("v1", "ConfigMap", NAMED + field(2, field(1, "empty")), {"data": {"empty": ""}}, id="no value"),
        pytest.param("apps/v1", "Deployment", NAMED + field(2, field(1, 0) + field(5, 0)), {"spec": {"replicas": 0}},
                     id="a pointer to zero is said, a plain zero is not"),
        pytest.param("v1", "Service", NAMED + field(2, field(1, field(1, "") + field(4, field(1, 1) + field(3, "http")))),
                     {"spec": {"ports": [{"targetPort": "http"}]}}, id="an int or string that is a string"),
        pytest.param("v1", "Service", NAMED + field(2, field(1, field(3, 80) + field(4, field(1, 0) + field(2, 8080)))),
                     {"spec": {"ports": [{"port": 80, "targetPort": 8080}]}}, id="an int or string that is an int"),
        pytest.param("v1", "Pod", NAMED + field(2, field(1, field(1, "v") + field(2, field(2, b"")))),
                     {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}, id="embedded fields are the object's own"),
        pytest.param("v1", "ResourceQuota", NAMED + field(2, field(1, field(1, "pods") + field(2, field(1, "5")))),
                     {"spec": {"hard": {"pods": "5"}}}, id="quantities"),
        pytest.param("coordination.k8s.io/v1", "Lease", NAMED + field(2, field(4, field(1, 1) + field(2, 5_000_000))),
                     {"spec": {"renewTime": "1970-01-01T00:00:01.005000Z"}}, id="times with microseconds"),
        pytest.param("scheduling.k8s.io/v1", "PriorityClass", NAMED + field(2, -5), {"value": -5}, id="negative integers"),
        pytest.param("apps/v1", "ControllerRevision", NAMED + field(2, field(1, b'{"spec":[1]}')) + field(3, 1),
                     {"data": {"spec": [1]}, "revision": 1}, id="raw JSON"),
        pytest.param("v1", "ConfigMap", NAMED + field(999, "of a later version") + field(998, 1), {}, id="unknown fields"),
    ],
)  # fmt: skip
def test_a_message_is_its_json(api_version: str, kind: str, raw: bytes, expected: dict[str, Any]) -> None:
    found = protobuf.decode(envelope(api_version, kind, raw))
    assert found == {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, **expected}


@pytest.mark.parametrize(
    "body",
    [
        b"", b"k8s", b"{}", protobuf.MAGIC, envelope("v1", "Nothing", b""), envelope("example.com/v1", "Deployment", NAMED),
        envelope("v1", "ConfigMap", b"\x0a\xff"), envelope("v1", "ConfigMap", b"\x0f"),
        envelope("v1", "ConfigMap", b"\xff" * 20),
        envelope("v1", "ConfigMap", field(1, 7)), envelope("v1", "ConfigMap", field(1, field(1, b"\xff\xfe"))),
        envelope("apps/v1", "ControllerRevision", field(2, field(1, b"{"))),
        envelope("coordination.k8s.io/v1", "Lease", field(2, field(4, field(1, 1 << 60)))),
    ],
)  # fmt: skip
def test_what_is_no_message_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(protobuf.Unreadable):
        protobuf.decode(body)


@pytest.mark.parametrize(("nanos", "text"), [
    (0, "0s"), (250_000_000, "250ms"), (1_500_000_000, "1.5s"), (3_600_000_000_000, "1h0m0s"), (-90_000_000_000, "-1m30s"),
])  # fmt: skip
def test_durations_are_written_as_go_writes_them(nanos: int, text: str) -> None:
    assert protobuf._duration(field(1, nanos)) == text


def test_nothing_is_too_deep_to_be_refused() -> None:
    raw = b""
    for _ in range(300):
        raw = field(15, field(13, raw))  # JSON schemas and selectors nest; nothing that is served nests so deep
    with pytest.raises(protobuf.Unreadable):
        protobuf.decode(envelope("v1", "ConfigMap", NAMED + b"\x0a" + raw))


def test_every_kind_that_is_served_can_be_read() -> None:
    from fairway.kube.resources import BUILT_IN, KEPT_ONLY

    unread = [row.kind for row in BUILT_IN if protobuf.type_of(row.api_version, row.kind) is None and row not in KEPT_ONLY]
    assert unread == ["CustomResourceDefinition"]  # clients send definitions as JSON
    names = {row.name for kind in ("core.v1.PodSpec", "core.v1.Container") for row in protobuf.table().message(kind).values()}
    assert {"containers", "serviceAccountName", "livenessProbe", "resources", "envFrom"} <= names
    assert protobuf.table().version <= facts().version
