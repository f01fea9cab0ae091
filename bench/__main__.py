"""`make bench`: every measurement, or those named (`make bench BENCH_FLAGS=main_job`). Writes `build/bench.json`."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

MEASUREMENTS = ("api", "ci", "kube", "promql", "traffic", "main_job", "kustomize", "gitops", "rehearse", "gate", "exposure")


def main() -> int:
    wanted = sys.argv[1:] or list(MEASUREMENTS)
    unknown = [name for name in wanted if name not in MEASUREMENTS]
    if unknown:
        print(f"no measurement is called {unknown[0]!r}; there are: {', '.join(MEASUREMENTS)}", file=sys.stderr)
        return 2
    answers = {}
    for name in wanted:
        print(f"{name} ...", file=sys.stderr)
        answers[name] = importlib.import_module(f"bench.{name}").measure()
        print(json.dumps({name: answers[name]}, indent=1), flush=True)
    out = Path("build") / "bench.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(answers, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
