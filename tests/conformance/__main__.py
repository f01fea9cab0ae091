"""Run the conformance suites that have data and print one line a suite.

Each area is a module of this package with `suites(root) -> {name: run}`; `run()` yields a `CaseResult` per case. Data
is found through FAIRWAY_CONFORMANCE (default `../shared/conformance`). The whole answer goes to
`build/conformance.json`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import tests.conformance as package
from tests.conformance.result import CaseResult

Suite = Callable[[], Iterable[CaseResult]]


def all_suites(root: Path) -> dict[str, Suite]:
    found: dict[str, Suite] = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
        area = importlib.import_module(f"{package.__name__}.{module}") if module not in ("__main__", "result") else None
        if area is not None and hasattr(area, "suites"):
            found.update(area.suites(root))
    return dict(sorted(found.items()))


def run(suite: Suite) -> dict[str, object]:
    results = list(suite())
    failures = {r.case_id: r.reason for r in results if r.outcome == "failed"}
    return {
        "passed": sum(r.outcome == "passed" for r in results),
        "failed": len(failures),
        "skipped": sum(r.outcome == "skipped" for r in results),
        "failures": list(failures),
        "reasons": failures,
        "skips": {r.case_id: r.reason for r in results if r.outcome == "skipped"},
    }


def _without_runner(root: Path, wanted: str) -> list[str]:
    """Suites that have a folder with cases here and that nobody runs."""
    known = all_suites(root)
    folders = (f"{path.parent.name}/{path.name}" for path in sorted(root.glob("*/*/")) if path.is_dir())
    return [name for name in folders if name not in known and (not wanted or f"{name}/".startswith(f"{wanted}/"))]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make conformance", description=__doc__)
    parser.add_argument("--suite", default="", help="one suite (metrics/promql) or one area (gitops)")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="print up to N failures a suite")
    options = parser.parse_args()
    root = Path(os.environ.get("FAIRWAY_CONFORMANCE", "../shared/conformance")).absolute()
    if not root.is_dir():
        print(f"skipped: no conformance data at {root}; set FAIRWAY_CONFORMANCE to its folder")
        return 0
    wanted = options.suite.strip("/")
    chosen = {n: s for n, s in all_suites(root).items() if not wanted or n == wanted or n.startswith(wanted + "/")}
    if not chosen and not _without_runner(root, wanted):
        print(f"no suite is called {wanted!r}; there are: {', '.join(all_suites(root))}", file=sys.stderr)
        return 2
    answer = {}
    for name, suite in chosen.items():
        result = answer[name] = run(suite)
        print(f"{name}: {result['passed']} passed, {result['failed']} failed, {result['skipped']} skipped", flush=True)
        reasons = result["reasons"]
        assert isinstance(reasons, dict)
        for case_id, reason in list(reasons.items())[: options.show]:
            print(f"    {case_id}: {reason}")
    for name in _without_runner(root, wanted):
        print(f"{name}: not run, there is no runner for it yet")
    out = Path("build") / "conformance.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(answer, indent=1, sort_keys=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
