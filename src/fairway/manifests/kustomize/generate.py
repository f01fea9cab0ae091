"""ConfigMaps and Secrets from literals, files and env files; and the hash that makes a change of their data a new name."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from fairway.kube.objects import Obj
from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.files import FileTree
from fairway.manifests.kustomize.resource import Resource

_READABLE = str.maketrans("013ae", "ghkmt")
_BASE64_LINE = 70


def generate(kind: str, args: Mapping[str, Any], options: Mapping[str, Any], files: FileTree, locate: Any,
             place: Place) -> Resource:
    """One generator entry to an object. `locate(path)` gives the tree's path of a file, or refuses it."""
    name = args.get("name")
    if not isinstance(name, str) or not name:
        raise ManifestError(place, f"{_field(kind)}: an entry has no name", "add `name:`")
    meta: Obj = {"name": name}
    if args.get("namespace"):
        meta["namespace"] = args["namespace"]
    for key in ("labels", "annotations"):
        if options.get(key):
            meta[key] = {k: str(v) for k, v in options[key].items()}
    obj: Obj = {"apiVersion": "v1", "kind": kind, "metadata": meta}
    data, binary = _data(args, files, locate, place)
    if kind == "Secret":
        obj["type"] = str(args.get("type") or "Opaque")
        data = {key: _base64(value.encode()) for key, value in data.items()}
        data.update({key: _base64(value) for key, value in binary.items()})
        binary = {}
    if data:
        obj["data"] = data
    if binary:
        obj["binaryData"] = {key: _base64(value) for key, value in binary.items()}
    if options.get("immutable"):
        obj["immutable"] = True
    behavior = str(args.get("behavior") or "create")
    if behavior not in ("create", "merge", "replace"):
        raise ManifestError(place, f"{_field(kind)} {name!r}: behavior {behavior!r}", "create, merge or replace")
    return Resource(obj, place, needs_hash=not options.get("disableNameSuffixHash"), behavior=behavior)


def _field(kind: str) -> str:
    return "configMapGenerator" if kind == "ConfigMap" else "secretGenerator"


def _base64(data: bytes) -> str:
    """Lines of 70, as upstream writes them; a single line stays without a line end."""
    text = base64.b64encode(data).decode()
    if len(text) <= _BASE64_LINE:
        return text
    return "".join(text[n : n + _BASE64_LINE] + "\n" for n in range(0, len(text), _BASE64_LINE))


def _data(args: Mapping[str, Any], files: FileTree, locate: Any, place: Place) -> tuple[dict[str, str], dict[str, bytes]]:
    data: dict[str, str] = {}
    binary: dict[str, bytes] = {}

    def put(key: str, value: bytes | str) -> None:
        if key in data or key in binary:
            raise ManifestError(place, f"cannot add key {key}, another key by that name already exists", "rename one")
        if isinstance(value, bytes):
            try:
                data[key] = value.decode("utf-8")
            except UnicodeDecodeError:
                binary[key] = value
        else:
            data[key] = value

    envs = list(args.get("envs") or ())
    if args.get("env"):
        envs.append(args["env"])
    for env in envs:
        for key, value in _env_file(files.read(locate(env)).decode("utf-8"), Place(locate(env))):
            put(key, value)
    for source in args.get("files") or ():
        key, equals, path = str(source).partition("=")
        put(key if equals else key.rpartition("/")[2], files.read(locate(path if equals else key)))
    for literal in args.get("literals") or ():
        key, equals, value = str(literal).partition("=")
        if not equals or not key:
            raise ManifestError(place, f"invalid literal source {literal!r}, expected key=value", "write KEY=value")
        put(key, _unquoted(value))
    return data, binary


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'" else value


def _env_file(text: str, place: Place) -> list[tuple[str, str]]:
    found = []
    for n, raw in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        line = raw.lstrip()
        if not line or line.startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals:
            raise ManifestError(Place(place.file, n), f"env file: {line!r} has no '='", "write KEY=value")
        found.append((key, value))
    return found


def content_hash(obj: Obj) -> str:
    """Ten characters, equal for equal data whatever the name: sha256 of the sorted JSON, in an alphabet without vowels."""
    kind = obj.get("kind")
    if kind in ("ConfigMap", "Secret"):
        content: Obj = {"kind": kind, "name": "", "data": obj.get("data") or ""}
        if kind == "Secret":
            content["type"] = obj.get("type", "")
        for extra in ("binaryData",) if kind == "ConfigMap" else ("stringData",):
            if isinstance(obj.get(extra), dict):
                content[extra] = obj[extra]
    else:
        content = obj
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for char in "<>&\u2028\u2029":  # as Go's encoder escapes them
        text = text.replace(char, f"\\u{ord(char):04x}")
    return hashlib.sha256(text.encode()).hexdigest()[:10].translate(_READABLE)


def merged(kind_of_merge: str, base: Resource, new: Resource) -> Obj:
    """`base` with a generator of behavior merge or replace put over it."""
    obj = {**new.obj, "metadata": {**new.obj["metadata"]}}
    meta, old_meta = obj["metadata"], base.obj.get("metadata") or {}
    for key in ("labels", "annotations"):
        both = {**(old_meta.get(key) or {}), **(meta.get(key) or {})}
        if both:
            meta[key] = both
    meta["name"] = old_meta.get("name")
    if old_meta.get("namespace"):
        meta["namespace"] = old_meta["namespace"]
    if kind_of_merge == "merge":
        for key in ("data", "binaryData"):
            both = {**(base.obj.get(key) or {}), **(obj.get(key) or {})}
            if both:
                obj[key] = both
        if "type" in base.obj:
            obj["type"] = base.obj["type"] if new.obj.get("type") in (None, "Opaque") else new.obj["type"]
        if base.obj.get("immutable"):
            obj["immutable"] = True
    return obj
