"""Rendering a kustomization of 10, 100 and 1,000 objects with six transformers, each time in a process of its own.

The peer is `kubectl kustomize` in the same run; without kubectl only ours is measured. 5,000 objects are measured for us
alone: the peer takes minutes.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_PEER_UP_TO = 1000
_RUNS = {10: 5, 100: 5, 1000: 3, 5000: 1}
_RENDER = "import sys; from pathlib import Path; from fairway.manifests import FolderTree, render; " \
          "from fairway.manifests.yaml import dump_all; print(dump_all(render(FolderTree(Path(sys.argv[1])))))"
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


def measure() -> dict[str, Any]:
    found: dict[str, Any] = {}
    kubectl = shutil.which("kubectl")
    with tempfile.TemporaryDirectory() as folder:
        for count, runs in _RUNS.items():
            tree = Path(folder, str(count))
            _write(tree, count)
            mine = _median([sys.executable, "-c", _RENDER, str(tree)], runs)
            row: dict[str, Any] = {"fairway_seconds": round(mine, 3)}
            if kubectl and count <= _PEER_UP_TO:
                peer = _median([kubectl, "kustomize", str(tree)], runs)
                row |= {"kubectl_seconds": round(peer, 3), "times_faster": round(peer / mine, 2)}
            found[f"{count} objects"] = row
    return found


def _write(folder: Path, count: int) -> None:
    folder.mkdir()
    texts = [(_DEPLOYMENT if n % 2 else _SERVICE).format(n=n // 2) for n in range(count - 1)]
    (folder / "all.yaml").write_text("---\n".join(texts))
    (folder / "kustomization.yaml").write_text(_KUSTOMIZATION)


def _median(command: list[str], runs: int) -> float:
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)
