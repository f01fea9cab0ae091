"""RFC 7386, JSON merge patch."""

from __future__ import annotations

from typing import Any

_ABSENT = object()


def merge(target: Any, patch: Any) -> Any:
    """`target` with `patch` merged in: null removes, maps merge, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


def difference(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The patch that makes `new` of `old`."""
    found: dict[str, Any] = {name: None for name in old if name not in new and old[name] is not None}
    for name, value in new.items():
        before = old.get(name, _ABSENT)
        if before == value:
            continue
        found[name] = difference(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return found
