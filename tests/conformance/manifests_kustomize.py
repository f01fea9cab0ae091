"""Kustomize builds: each case is a folder tree, and the objects or the error that come of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from fairway.manifests import FolderTree, ManifestError, Outside
from fairway.manifests import yaml as manifest_yaml
from fairway.manifests.helm.engine import engine_on_this_machine
from fairway.manifests.kustomize import build
from fairway.manifests.render import ChartsOfThisMachine
from tests.conformance.result import CaseResult


def suites(root: Path) -> dict[str, Callable[[], Iterable[CaseResult]]]:
    return {"manifests/kustomize": lambda: _cases(root / "manifests" / "kustomize")}


def _cases(folder: Path) -> Iterator[CaseResult]:
    for case in sorted(path.parent for path in folder.glob("*/case.json")):
        yield _case(case)


def _case(folder: Path) -> CaseResult:
    case = json.loads((folder / "case.json").read_text())
    if case["tier"] == "helm" and (reason := _helm_is_missing(folder)):
        return CaseResult(folder.name, "skipped", reason)
    options = case.get("options") or {}
    expected = folder / "expected.yaml"
    try:
        objects = build(FolderTree(folder / "input"), case["build_dir"].strip("/").removeprefix("./").rstrip("."),
                        load_restrictions=options.get("load_restrictor") != "LoadRestrictionsNone",
                        sort=str(options.get("reorder") or ""), outside=Outside(charts=ChartsOfThisMachine()))
    except ManifestError as error:
        if expected.exists():
            return CaseResult(folder.name, "failed", f"refused: {error}")
        return CaseResult(folder.name, "passed", str(error))
    except Exception as error:  # a defect of ours is this case's result, not the suite's end
        return CaseResult(folder.name, "failed", f"{type(error).__name__}: {error}")
    if not expected.exists():
        phrase = re.sub(r"\s+", " ", (folder / "expected_error.txt").read_text())[:120]
        return CaseResult(folder.name, "failed", f"built, but should be refused: {phrase}")
    wanted = [value for value, _ in manifest_yaml.load_all(expected.read_text())]
    if objects == wanted:
        return CaseResult(folder.name, "passed", "")
    return CaseResult(folder.name, "failed", _difference(objects, wanted))


def _helm_is_missing(folder: Path) -> str:
    """Why a case with a chart cannot be run here; "" where it can."""
    if not any(folder.glob("input/**/Chart.yaml")):
        return "the chart is not in the case: it would have to be downloaded, and a build downloads nothing"
    try:
        engine_on_this_machine()
    except ManifestError as error:
        return str(error)
    return ""


def _difference(found: list[dict[str, object]], wanted: list[dict[str, object]]) -> str:
    if len(found) != len(wanted):
        return f"{len(found)} objects instead of {len(wanted)}"
    for n, (a, b) in enumerate(zip(found, wanted, strict=True)):
        if a != b:
            fields = [key for key in {*a, *b} if a.get(key) != b.get(key)]
            return f"object {n} ({b.get('kind')}): differs in {', '.join(sorted(fields))}"
    return "differs"
