"""Replacements: a value of one object copied into fields of others."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from fairway.kube.objects import Obj
from fairway.manifests import yaml
from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.kustomize.resource import Resource, Resources
from fairway.manifests.kustomize.text_documents import read_document
from fairway.manifests.values import copied

if TYPE_CHECKING:
    from fairway.kube.selectors import Selector

CREATED: Any = object()
"""Stands where a field is made: the value then has the type that its text would have without quotes."""
_LIST_KEY = re.compile(r"^\[([^=\]]+)=(.*)\]$")


def replace(resources: Resources, entry: Any, place: Place) -> None:
    """Carry one entry of `replacements:` out."""
    if not isinstance(entry, dict) or not isinstance(entry.get("targets"), list):
        raise ManifestError(place, "replacements must specify a source and at least one target", "add both")
    value = _source_value(resources, entry, place)
    for target in entry["targets"]:
        selector = target.get("select")
        if not isinstance(selector, dict):
            raise ManifestError(place, "replacement target must have a `select`")
        rejects = target.get("reject") or ()
        paths = target.get("fieldPaths") or ["metadata.name"]
        options = target.get("options") or {}
        for item in [item for item in resources if _matches(item, selector)]:
            if any(_matches(item, reject) for reject in rejects):
                continue
            for path in paths:
                _copy(item, str(path), value, options, place)
    resources.renamed()


def _source_value(resources: Resources, entry: Mapping[str, Any], place: Place) -> Any:
    source = entry.get("source")
    if "sourceValue" in entry and source is None:
        return entry["sourceValue"]
    if not isinstance(source, dict):
        raise ManifestError(place, "replacements must specify a source and at least one target", "add `source:`")
    found = [item for item in resources if _matches(item, source)]
    if len(found) != 1:
        problem = "multiple matches for selector" if found else "nothing selected by"
        raise ManifestError(place, f"{problem} {_describe(source)}", "name exactly one object in `source:`")
    path = str(source.get("fieldPath") or "metadata.name")
    values: list[Any] = []

    def take(value: Any) -> Any:
        values.append(value)
        return value

    if not _visit(found[0].obj, split_path(path), take, create=None) or not values:
        raise ManifestError(place, f"fieldPath `{path}` is missing for replacement source {_describe(source)}",
                            "correct the path")
    return _part(values[0], source.get("options") or {}, place)


def _part(value: Any, options: Mapping[str, Any], place: Place) -> Any:
    delimiter = options.get("delimiter")
    if not delimiter:
        return value
    if isinstance(value, (dict, list)):
        raise ManifestError(place, "delimiter option can only be used with scalar nodes")
    parts, index = _text(value).split(str(delimiter)), int(options.get("index") or 0)
    if not 0 <= index < len(parts):
        raise ManifestError(place, f"options.index {index} is out of bounds for value {value}")
    return parts[index]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _describe(selector: Mapping[str, Any]) -> str:
    parts = [str(selector.get(key) or f"[no{label}]")
             for key, label in (("kind", "Kind"), ("version", "Ver"), ("group", "Grp"))]
    return f"{'.'.join(parts)}/{selector.get('name') or '[noName]'}.{selector.get('namespace') or '[noNs]'}"


def _matches(item: Resource, selector: Mapping[str, Any]) -> bool:
    """By the present id or a former one, and by labels and annotations; empty fields match all."""
    meta = item.obj.get("metadata") or {}
    for field, section in (("labelSelector", "labels"), ("annotationSelector", "annotations")):
        if selector.get(field) and not _labels(str(selector[field])).matches(meta.get(section) or {}):
            return False
    return any(
        all(
            not selector.get(key) or selector[key] == getattr(one, key) or _pattern(str(selector[key])).match(getattr(one, key))
            or (key == "namespace" and selector[key] == "default" and not one.namespace)
            for key in ("group", "version", "kind", "name", "namespace")
        )
        for one in item.ids
    )


@lru_cache(maxsize=256)
def _labels(text: str) -> Selector:
    from fairway.kube.selectors import parse_labels  # only where something is selected: a start takes 3 ms longer

    return parse_labels(text)


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str]:
    """A selector's field is a regular expression for the whole value; one that is none matches only itself."""
    try:
        return re.compile(f"(?:{text})\\Z")
    except re.error:
        return re.compile(f"{re.escape(text)}\\Z")


def split_path(path: str) -> list[str]:
    """Parts between dots; a dot is kept after a backslash and inside `[…]`."""
    parts, current, depth, escaped = [], "", 0, False
    for char in path:
        if escaped:
            current += char if char == "." else f"\\{char}"
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == "." and depth == 0:
            parts.append(current)
            current = ""
        else:
            depth += (char == "[") - (char == "]")
            current += char
    return [part for part in [*parts, current] if part]


def _copy(item: Resource, path: str, value: Any, options: Mapping[str, Any], place: Place) -> None:
    create = bool(options.get("create"))
    if path.replace("/", ".") in ("metadata.name", "metadata.namespace", "kind", "apiVersion"):
        item.remember()

    def put(old: Any) -> Any:
        return _combined(old, value, options, place)

    if not _visit(item.obj, split_path(path), put, create=value if create else None):
        raise ManifestError(place, f"unable to find field {path!r} in replacement target {item.id}",
                            "correct the path, or set `options: {create: true}`")


def _combined(old: Any, value: Any, options: Mapping[str, Any], place: Place) -> Any:
    delimiter = options.get("delimiter")
    if delimiter:
        if isinstance(old, (dict, list)):
            raise ManifestError(place, "delimiter option can only be used with scalar nodes")
        before = "" if old is CREATED else _text(old)
        parts, index, new = before.split(str(delimiter)), int(options.get("index") or 0), _text(value)
        if index < 0:
            parts = [new, *parts]
        elif index >= len(parts):
            parts = [*parts, new]
        else:
            parts[index] = new
        value = str(delimiter).join(parts)
    if isinstance(value, (dict, list)) or value is None:
        return copied(value)
    text = _text(value)
    return text if isinstance(old, str) else yaml.resolve_without_words(text)  # text where text was, else as it reads unquoted


def _visit(at: Any, path: list[str], setter: Callable[[Any], Any], *, create: Any) -> bool:
    """Set what `path` leads to; False where it leads nowhere. With `create` not None missing parts are made."""
    if not path:
        return False
    step, rest = path[0], path[1:]
    if isinstance(at, list):
        return _visit_list(at, step, rest, setter, create)
    if not isinstance(at, dict):
        return False
    if step.startswith("[") and step.endswith("]") and "=" not in step:
        step = step[1:-1]
    if step == "*":
        each = [_visit(at, [key, *rest], setter, create=create) for key in list(at)]  # all of them, not the first
        return any(each)
    if not rest:
        if step not in at and create is None:
            return False
        at[step] = setter(at.get(step, CREATED))
        return True
    if at.get(step) is None:
        if create is None:
            return False
        at[step] = [] if rest[0].startswith("[") or rest[0] in ("-", "0") else {}
    inner = at[step]
    if isinstance(inner, str) and (document := read_document(inner)) is not None:
        found = _visit(document.value, rest, setter, create=create)
        at[step] = document.written()
        return found
    return _visit(inner, rest, setter, create=create)


def _visit_list(at: list[Any], step: str, rest: list[str], setter: Callable[[Any], Any], create: Any) -> bool:
    if step in ("*", "[*]"):
        chosen = list(range(len(at)))
    elif step in ("-", "[-]"):
        if create is None and not at:
            return False
        at.append(_first_of(rest))
        chosen = [len(at) - 1]
    elif m := _LIST_KEY.match(step):
        chosen = [n for n, item in enumerate(at) if isinstance(item, dict) and _text(item.get(m[1])) == m[2]]
        if not chosen and create is not None:
            new: Obj = {m[1]: yaml.resolve_without_words(m[2]) if m[2] else ""}
            at.append(new)
            chosen = [len(at) - 1]
    elif step.strip("[]").isdigit():
        n = int(step.strip("[]"))
        if n >= len(at) and create is not None and n == len(at):
            at.append(_first_of(rest))
        chosen = [n] if n < len(at) else []
    else:
        chosen = []
    found = False
    for n in chosen:
        if rest:
            found = _visit(at[n], rest, setter, create=create) or found
        else:
            at[n] = setter(at[n])
            found = True
    return found


def _first_of(rest: list[str]) -> Any:
    """What a new item of a list starts as, so that the rest of the path finds its place in it."""
    if not rest:
        return CREATED
    return [] if rest[0].startswith("[") or rest[0] in ("-", "0") else {}
