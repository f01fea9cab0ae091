"""Rendering a kustomization of 10, 100, 1,000 and 5,000 objects with six transformers, each time in a process of its own.

What is measured is the command, `fairway build`, beside `kubectl kustomize` on the same folder in the same run: time on the
clock, and processor time, which a busy machine changes less. kubectl's time grows with the square of the objects: it is
stopped after `PEER_LIMIT_S`, and what is said then is how much faster we were at least. Without kubectl only ours is measured.
"""

from __future__ import annotations

import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

PEER_LIMIT_S = 120
_RUNS = {10: 9, 100: 7, 1000: 3, 5000: 1}
_FAIRWAY = [str(Path(sys.executable).with_name("fairway")), "build"]
_DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: app-{n}
  labels: {{app: app-{n}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: app-{n}}}}}
  template:
    metadata:
      labels: {{app: app-{n}}}
    spec:
      serviceAccountName: app-{n}
      containers:
      - name: app
        image: shop
        ports: [{{containerPort: 8080}}]
        envFrom:
        - configMapRef: {{name: settings}}
"""
_SERVICE = """\
apiVersion: v1
kind: Service
metadata: {{name: app-{n}}}
spec:
  selector: {{app: app-{n}}}
  ports: [{{port: 80, targetPort: 8080}}]
"""
_KUSTOMIZATION = """\
resources: [all.yaml]
namespace: shop
namePrefix: prod-
labels:
- pairs: {env: prod}
  includeSelectors: true
commonAnnotations: {team: web}
images:
- {name: shop, newName: registry.example.com/shop, newTag: v1}
configMapGenerator:
- name: settings
  literals: [COLOUR=blue]
"""


class _Took(NamedTuple):
    seconds: float
    cpu_s: float


def measure() -> dict[str, Any]:
    found: dict[str, Any] = {}
    kubectl = shutil.which("kubectl")
    with tempfile.TemporaryDirectory(prefix="fairway-bench-") as folder:
        for count, runs in _RUNS.items():
            print(f"  rendering {count} objects ...", file=sys.stderr)
            tree = Path(folder, str(count))
            _write(tree, count)
            peer = [kubectl, "kustomize", str(tree)] if kubectl else []
            found[f"{count} objects"] = _beside(peer, [*_FAIRWAY, str(tree)], runs)
    return found


def _beside(peer: list[str], own: list[str], runs: int) -> dict[str, Any]:
    """Medians; the two take turns, so that both see the same machine."""
    mine: list[_Took] = []
    theirs: list[_Took | None] = []
    for _ in range(runs):
        mine.append(_took(own) or _Took(PEER_LIMIT_S, PEER_LIMIT_S))
        if peer and None not in theirs:
            theirs.append(_took(peer))
    own_time = _median(mine)
    row: dict[str, Any] = {"fairway_s": round(own_time.seconds, 3), "fairway_cpu_s": round(own_time.cpu_s, 3)}
    finished = [took for took in theirs if took is not None]
    if finished:
        other = _median(finished)
        row |= {"kubectl_s": round(other.seconds, 3), "kubectl_cpu_s": round(other.cpu_s, 3),
                "times_faster": round(other.seconds / own_time.seconds, 2),
                "times_less_cpu": round(other.cpu_s / own_time.cpu_s, 2)}
    elif theirs:
        row |= {"kubectl": f"stopped after {PEER_LIMIT_S} s",
                "times_faster_at_least": round(PEER_LIMIT_S / own_time.seconds, 1)}
    return row


def _write(folder: Path, count: int) -> None:
    folder.mkdir()
    texts = [(_DEPLOYMENT if n % 2 else _SERVICE).format(n=n // 2) for n in range(count - 1)]
    (folder / "all.yaml").write_text("---\n".join(texts))
    (folder / "kustomization.yaml").write_text(_KUSTOMIZATION)


def _took(command: list[str]) -> _Took | None:
    """None where it was stopped."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    try:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=PEER_LIMIT_S)
    except subprocess.TimeoutExpired:
        return None
    seconds, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return _Took(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _median(found: list[_Took]) -> _Took:
    return _Took(statistics.median(took.seconds for took in found), statistics.median(took.cpu_s for took in found))
