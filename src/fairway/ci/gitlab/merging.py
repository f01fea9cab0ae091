"""What makes one configuration of many: deep merge, `extends`, `!reference`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairway.ci.gitlab.document import Reference

DEEPEST_EXTENDS = 11
DEEPEST_REFERENCE = 10


class MergeError(Exception):
    """`key` is the top-level key that cannot be merged."""

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


def deep_merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings are merged, everything else of `above` replaces."""
    found = dict(below)
    for key, value in above.items():
        old = found.get(key)
        found[key] = deep_merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return found


def extended(config: Mapping[str, Any]) -> dict[str, Any]:
    """Every job with what it extends merged below it. Raises `MergeError`."""
    done: dict[str, Any] = {}
    for name in config:
        _extend(config, name, done, ())
    return {name: done[name] for name in config}


def _extend(config: Mapping[str, Any], name: str, done: dict[str, Any], above: tuple[str, ...]) -> Any:
    if name in done:
        return done[name]
    job = config[name]
    if not isinstance(job, dict) or "extends" not in job:
        done[name] = job
        return job
    if name in above:
        raise MergeError(f"{name}: circular dependency detected in `extends`", name)
    if len(above) >= DEEPEST_EXTENDS:
        raise MergeError(f"{name}: nesting too deep in `extends` (at most {DEEPEST_EXTENDS} levels)", name)
    parents = [job["extends"]] if isinstance(job["extends"], str) else job["extends"]
    if not isinstance(parents, list) or not all(isinstance(parent, str) for parent in parents):
        raise MergeError(f"{name}:extends must be a name or a list of names", name)
    merged: dict[str, Any] = {}
    for parent in parents:
        if parent not in config:
            raise MergeError(f"{name}: unknown keys in `extends` ({parent})", name)
        found = _extend(config, parent, done, (*above, name))
        if not isinstance(found, dict):
            raise MergeError(f"{name}: invalid base hashes in `extends` ({parent})", name)
        merged = deep_merge(merged, found)
    own = {key: value for key, value in job.items() if key != "extends"}
    merged.pop("extends", None)
    done[name] = deep_merge(merged, own)
    return done[name]


def dereferenced(config: Mapping[str, Any]) -> dict[str, Any]:
    """Every `!reference` replaced by what stands there. Raises `MergeError`."""
    return {name: _resolve(config, value, (), name) for name, value in config.items()}


def _resolve(config: Mapping[str, Any], value: Any, above: tuple[tuple[str, ...], ...], key: str) -> Any:
    if isinstance(value, Reference):
        shown = f"!reference [{', '.join(value.path)}]"
        if value.path in above:
            raise MergeError(f"{shown} is part of a circular chain", key)
        if len(above) >= DEEPEST_REFERENCE:
            raise MergeError(f"{shown} is nested deeper than {DEEPEST_REFERENCE} levels", key)
        return _resolve(config, _at(config, value.path, shown, key), (*above, value.path), key)
    if isinstance(value, list):
        return [_resolve(config, item, above, key) for item in value]
    if isinstance(value, dict):
        return {name: _resolve(config, item, above, key) for name, item in value.items()}
    return value


def _at(config: Mapping[str, Any], path: tuple[str, ...], shown: str, key: str) -> Any:
    found: Any = config
    for part in path:
        if isinstance(found, Reference):
            found = _at(config, found.path, shown, key)
        if isinstance(found, list) and part.isdigit() and int(part) < len(found):
            found = found[int(part)]
        elif isinstance(found, dict) and part in found:
            found = found[part]
        else:
            raise MergeError(f"{shown} could not be found", key)
    return found


def flat(value: Any) -> list[Any]:
    """A list without lists in it."""
    if not isinstance(value, list):
        return [value]
    return [entry for item in value for entry in flat(item)]
