"""Strategic merge as kustomize does it: `manifests/merge`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from fairway.kube.facts import facts
from fairway.kube.patches import strategic
from fairway.kube.schema import ANY, Schema
from tests.conformance.result import CaseResult


def suites(root: Path) -> dict[str, Callable[[], Iterable[CaseResult]]]:
    cases = root / "manifests" / "merge" / "cases.json"
    return {"manifests/merge": lambda: _run(cases)} if cases.exists() else {}


def _run(path: Path) -> Iterator[CaseResult]:
    seen: dict[str, int] = {}
    for case in json.loads(path.read_text()):
        name = str(case["description"])
        seen[name] = seen.get(name, 0) + 1
        case_id = name if seen[name] == 1 else f"{name} #{seen[name]}"
        yield _judge(case_id, case)


def _judge(case_id: str, case: dict[str, Any]) -> CaseResult:
    target, patch, expected = (yaml.safe_load(case[part]) for part in ("target", "patch", "expected"))
    schema = _said_in_comments(case["patch"]) or facts().of_kind(str((target or {}).get("apiVersion", "")),
                                                                 str((target or {}).get("kind", "")))
    try:
        got = strategic.merge(target, patch, schema, "prepend" if "1" in str(case["prepend"]) else "append")
    except strategic.PatchRefused as error:
        return CaseResult(case_id, "failed", f"refused: {error}")
    if got == expected:
        return CaseResult(case_id, "passed")
    return CaseResult(case_id, "failed", f"expected {json.dumps(expected)}, got {json.dumps(got)}")


_FIELD = re.compile(r"^(\w+): *# *(\{.*\})$", re.MULTILINE)


def _said_in_comments(text: str) -> Schema | None:
    """The schema of a patch that brings one: `field: # {"type": "array", "x-kubernetes-patch-strategy": "merge"}`."""
    said = {name: json.loads(schema) for name, schema in _FIELD.findall(text)}
    if not said:
        return None
    return Schema("object", fields={
        name: Schema("list", items=ANY, merge_key=str(one.get("x-kubernetes-patch-merge-key") or ""),
                     strategies=(str(one["x-kubernetes-patch-strategy"]),))
        for name, one in said.items() if one.get("type") == "array" and "x-kubernetes-patch-strategy" in one})
