"""Arguments of analysis: where their values come from, how templates and Rollouts merge them, and `{{args.name}}`.

Source: argo-rollouts `utils/analysis/factory.go`, `utils/analysis/helpers.go`, `utils/template/template.go`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fairway.kube.objects import Obj, dig

_TAG = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_KEYED = re.compile(r"^metadata\.(labels|annotations)\['([^']*)'\]$")


class ArgError(ValueError):
    """An argument has no value; the message is upstream's."""


def rollout_args(asked: Iterable[Obj], rollout: Obj, *, latest: str, stable: str) -> list[Obj]:
    """The arguments of an AnalysisRun that a Rollout starts; `latest` and `stable` are pod-template hashes."""
    found = []
    for arg in asked:
        value = arg.get("value")
        source: Mapping[str, Any] = arg.get("valueFrom") or {}
        if source.get("podTemplateHashValue") is not None:
            value = {"Latest": latest, "Stable": stable}.get(source["podTemplateHashValue"], "")
        elif source.get("fieldRef"):
            value = field_of(rollout, str(dig(source, "fieldRef", "fieldPath", default="")))
        elif source.get("secretKeyRef"):
            found.append({"name": arg["name"], "valueFrom": {"secretKeyRef": source["secretKeyRef"]}})
            continue
        found.append({"name": arg["name"], "value": "" if value is None else str(value)})
    return found


def field_of(rollout: Obj, path: str) -> str:
    """`metadata.labels['app']`, `metadata.name`, or any path in the Rollout that ends in a plain value."""
    if keyed := _KEYED.match(path):
        return str(dig(rollout, "metadata", keyed[1], keyed[2], default=""))
    at: Any = rollout
    for part in filter(None, re.split(r"[.\[\]]+", path)):
        if isinstance(at, list):
            if not part.isdigit():
                raise ArgError(f"invalid index '{part}'")
            if int(part) >= len(at):
                raise ArgError(f"index {part} out of range")
            at = at[int(part)]
        elif isinstance(at, Mapping):
            at = at.get(part)
        else:
            raise ArgError(f"invalid path {path} in rollout")
    if at is None:
        raise ArgError(f"invalid path {path} in rollout")
    if isinstance(at, (list, Mapping)):
        raise ArgError(f"path {path} in rollout must terminate in a primitive value")
    return str(at).lower() if isinstance(at, bool) else str(at)


def merge_args(incoming: Iterable[Obj], template: Iterable[Obj]) -> list[Obj]:
    """The template's arguments with incoming values over them; arguments that the template does not know are dropped."""
    merged = {arg["name"]: dict(arg) for arg in template}
    for arg in incoming:
        mine = merged.get(arg["name"])
        if mine is None:
            continue
        if arg.get("value") is not None:
            mine["value"] = arg["value"]
            mine.pop("valueFrom", None)
        elif arg.get("valueFrom") is not None:
            mine["valueFrom"] = arg["valueFrom"]
            mine.pop("value", None)
    for arg in merged.values():
        if arg.get("value") is None and arg.get("valueFrom") is None:
            raise ArgError(f"args.{arg['name']} was not resolved")
    return list(merged.values())


def flatten_args(lists: Iterable[Sequence[Obj]]) -> list[Obj]:
    """Arguments of several templates; the same name with two values is an error."""
    combined: dict[str, Obj] = {}
    for args in lists:
        for arg in args:
            before = combined.get(arg["name"])
            if before is None or before.get("value") is None:
                combined[arg["name"]] = arg
            elif arg.get("value") is not None and arg["value"] != before["value"]:
                raise ArgError(f"Argument `{arg['name']}` specified multiple times with different values: "
                               f"'{before['value']}', '{arg['value']}'")
    return list(combined.values())


def substitute(value: Any, values: Mapping[str, str]) -> Any:
    """`value` with every `{{args.name}}` in its strings replaced; other `{{…}}` stay. `ArgError` names one without value."""
    if isinstance(value, str):
        return _TAG.sub(lambda tag: _lookup(tag, values), value)
    if isinstance(value, dict):
        return {name: substitute(inner, values) for name, inner in value.items()}
    return [substitute(inner, values) for inner in value] if isinstance(value, list) else value


def _lookup(tag: re.Match[str], values: Mapping[str, str]) -> str:
    name = tag[1].strip()
    if not name.startswith("args."):
        return tag[0]
    value = values.get(name.removeprefix("args."))
    if value is None:
        raise ArgError(f"failed to resolve {{{{{tag[1]}}}}}")
    return value
