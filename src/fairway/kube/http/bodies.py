"""Request bodies: bytes and a content type to objects and patches. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import yaml

from fairway.kube import protobuf
from fairway.kube.api import ApplyPatch, JsonPatch, MergePatch, Patch, StrategicPatch
from fairway.kube.errors import BadRequest, UnsupportedMediaType
from fairway.kube.objects import Obj

PROTOBUF = "application/vnd.kubernetes.protobuf"
_TYPES = ("application/json", "application/yaml", PROTOBUF)
_PATCHES = ("application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
            "application/apply-patch+yaml")

_TOO_DEEP = "the body of the request is nested too deeply: exceeded max depth"


@dataclass(frozen=True, slots=True)
class Body:
    """An object as it was sent. `repeated` are fields that were given twice, which JSON allows and nobody means."""

    value: Any
    repeated: tuple[str, ...] = ()


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML 1.1 as Kubernetes reads it: y and n are booleans, dates are strings."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rows if tag != "tag:yaml.org,2002:timestamp"]
    for first, rows in _Loader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:y|Y|n|N)$"), list("yYnN"))
_Loader.add_constructor("tag:yaml.org,2002:bool", lambda loader, node: node.value.lower() in ("y", "yes", "true", "on"))


def content_type_of(header: str) -> str:
    return header.partition(";")[0].strip().lower() or "application/json"


def decode_object(data: bytes, content_type: str, kind: str) -> Body:
    """The object that a POST or PUT carries. `kind` is what the path serves, for messages."""
    if content_type not in _TYPES:
        raise UnsupportedMediaType("the body of the request was in an unknown format - accepted media types include: "
                                   + ", ".join(_TYPES))
    if content_type == PROTOBUF:
        return Body(_protobuf(data, kind))
    body = _yaml(data) if content_type == "application/yaml" else _json(data, kind)
    if not isinstance(body.value, dict):
        raise BadRequest(f"the object provided is unrecognized (must be of type {kind}): not an object")
    return body


def decode_patch(data: bytes, content_type: str, *, force: bool) -> tuple[Patch, tuple[str, ...]]:
    """The patch that a PATCH carries, and its repeated fields."""
    if content_type not in _PATCHES:
        raise UnsupportedMediaType("the body of the request was in an unknown format - accepted media types include: "
                                   + ", ".join(_PATCHES))
    if content_type == "application/apply-patch+yaml":
        body = _json_or_yaml(data)
        return ApplyPatch(_object(body.value), force=force), body.repeated
    body = _patch_json(data)
    if content_type == "application/json-patch+json":
        return JsonPatch(_operations(body.value)), ()
    obj = _object(body.value)
    if content_type == "application/merge-patch+json":
        return MergePatch(obj), body.repeated
    return StrategicPatch(obj), body.repeated


def _object(value: Any) -> Obj:
    if not isinstance(value, dict):
        raise BadRequest("the patch is not an object")
    return value


def _operations(value: Any) -> Sequence[Obj]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise BadRequest("a JSON patch is a list of operations")
    return value


def _json(data: bytes, kind: str) -> Body:
    try:
        return _load(data)
    except RecursionError:
        raise BadRequest(_TOO_DEEP) from None
    except ValueError:
        raise BadRequest(f"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; "
                         f"json parse error: {_go_error(data)} ({_excerpt(data)})") from None


def _protobuf(data: bytes, kind: str) -> Obj:
    try:
        return protobuf.decode(data)
    except protobuf.UnknownKind as error:
        raise UnsupportedMediaType(f"the body of the request was in an unknown format - accepted media types include: "
                                   f"{', '.join(_TYPES[:2])}: {error}") from None
    except protobuf.Unreadable as error:
        raise BadRequest(f"the object provided is unrecognized (must be of type {kind}): {error}") from None


def _patch_json(data: bytes) -> Body:
    try:
        return _load(data)
    except RecursionError:
        raise BadRequest(_TOO_DEEP) from None
    except ValueError:
        raise BadRequest(_go_error(data)) from None


def _json_or_yaml(data: bytes) -> Body:
    try:
        return _load(data)
    except RecursionError:
        raise BadRequest(_TOO_DEEP) from None
    except ValueError:
        return _yaml(data)


def _load(data: bytes) -> Body:
    """Repeated fields cost a second, slower reading, so they are only looked for where a name occurs twice."""
    value = msgspec.json.decode(data)
    written = data.count(b'":') + data.count(b'" :')
    if written == _fields(value):
        return Body(value)
    repeated: list[str] = []
    return Body(_with_paths(json.loads(data, object_pairs_hook=_Pairs), "", repeated), tuple(repeated))


def _fields(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(_fields(child) for child in value.values() if isinstance(child, dict | list))
    if isinstance(value, list):
        return sum(_fields(child) for child in value if isinstance(child, dict | list))
    return 0


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with its repetitions."""


def _with_paths(value: Any, path: str, repeated: list[str]) -> Any:
    if isinstance(value, _Pairs):
        result: dict[str, Any] = {}
        for name, child in value:
            where = f"{path}.{name}" if path else name
            if name in result and where not in repeated:
                repeated.append(where)
            result[name] = _with_paths(child, where, repeated)
        return result
    if isinstance(value, list):
        return [_with_paths(child, f"{path}[{i}]", repeated) for i, child in enumerate(value)]
    return value


def _yaml(data: bytes) -> Body:
    loader = _Loader(data)
    try:
        node = loader.get_single_node()
        if node is None:
            return Body({})
        repeated: list[str] = []
        _repetitions(node, "", repeated)
        return Body(_plain(loader.construct_document(node)), tuple(repeated))
    except RecursionError:
        raise BadRequest(_TOO_DEEP) from None
    except (yaml.YAMLError, ValueError) as error:
        raise BadRequest(f"error converting YAML to JSON: {' '.join(str(error).split())}") from error
    finally:
        loader.dispose()


def _repetitions(node: yaml.Node, path: str, repeated: list[str]) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, child in node.value:
            where = f"{path}.{key.value}" if path else str(key.value)
            if key.value in seen and where not in repeated and key.value != "<<":
                repeated.append(where)
            seen.add(key.value)
            _repetitions(child, where, repeated)
    elif isinstance(node, yaml.SequenceNode):
        for i, child in enumerate(node.value):
            _repetitions(child, f"{path}[{i}]", repeated)


def _plain(value: Any) -> Any:
    """Keys are strings in JSON: `80: x` and `true: x` become so, as in Kubernetes."""
    if isinstance(value, dict):
        return {_key(name): _plain(child) for name, child in value.items()}
    if isinstance(value, list):
        return [_plain(child) for child in value]
    return value


def _key(name: Any) -> str:
    return str(name).lower() if isinstance(name, bool) else str(name)


def _excerpt(data: bytes) -> str:
    text = data[:100].decode(errors="replace")
    return text + "..." if len(data) > 100 else text


def _go_error(data: bytes) -> str:
    """What Go's decoder says about this text, for the mistakes that people make; clients show it."""
    text = data.decode(errors="replace")
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()):
            return "unexpected end of JSON input"
        found = text[error.pos]
        if "property name" in error.msg:
            return f"invalid character '{found}' looking for beginning of object key string"
        if "':' delimiter" in error.msg:
            return f"invalid character '{found}' after object key"
        if "',' delimiter" in error.msg:
            before = text[: error.pos].count("{") - text[: error.pos].count("}")
            return f"invalid character '{found}' after " + ("object key:value pair" if before else "array element")
        if "Extra data" in error.msg:
            return f"invalid character '{found}' after top-level value"
        return f"invalid character '{found}' looking for beginning of value"
    return "not UTF-8" if "�" in text else "invalid JSON"
