"""The process in which the Helm SDK lives: one JSON request a line on stdin, one JSON answer a line on stdout.

It ends when its input ends, when nobody asks for a while, and when it is killed.
"""

from __future__ import annotations

import json
import os
import resource
import select
import sys
import tempfile
from pathlib import Path
from typing import Any


def main() -> None:
    memory, idle_seconds = int(sys.argv[1]), float(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the library prints must not stand between two answers
    import helm_python

    helm_python.disable_logging()
    waiting = b""
    while True:
        while b"\n" not in waiting:
            ready, _, _ = select.select([0], [], [], idle_seconds)
            data = os.read(0, 1 << 20) if ready else b""
            if not data:
                return
            waiting += data
        line, _, waiting = waiting.partition(b"\n")
        answers.write(json.dumps(answer(json.loads(line))).encode() + b"\n")
        answers.flush()


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """`{templates, crds}`, or `{error}` in Helm's words."""
    import helm_python
    from helm_python import _native

    try:
        with helm_python.Chart.load(request["chart"]) as chart:
            values = json.dumps(request["values"])
            refused = incompatible(str(chart.metadata.get("kubeVersion") or ""), request["options"]["kube_version"])
            if refused:
                return {"error": refused}
            # The wrapper has no words for kube_version and api_versions; the library below it has.
            rendered = _native.call_string("helm_render", chart._raw(), values, json.dumps(request["options"]))
            crds = {str(crd["filename"]): str(crd["data"]) for crd in chart.crds}
        return {"templates": json.loads(rendered), "crds": crds}
    except helm_python.HelmError as error:
        return {"error": str(error)}


def incompatible(constraint: str, kube_version: str) -> str:
    """What `helm template` says of a chart that wants another Kubernetes; the library below leaves that out.

    Asked of Helm's own `semverCompare`, in a chart of one line.
    """
    import helm_python

    if not constraint:
        return ""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "templates").mkdir()
        (Path(folder) / "Chart.yaml").write_text("apiVersion: v2\nname: asked\nversion: 0.0.0\n")
        question = f"{{{{ semverCompare {json.dumps(constraint)} {json.dumps(kube_version)} }}}}"
        (Path(folder) / "templates" / "asked.yaml").write_text(question)
        with helm_python.Chart.load(folder) as chart:
            fits = "true" in "".join(chart.render(name="asked").values())
    return "" if fits else f"chart requires kubeVersion: {constraint} which is incompatible with Kubernetes {kube_version}"


if __name__ == "__main__":
    main()
