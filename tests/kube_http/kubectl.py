"""The real kubectl, pointed at a server of ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.kube_http.serving import DEADLINE_S, Served

needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed here")


class Kubectl:
    def __init__(self, served: Served, home: Path) -> None:
        self.served = served
        self.environment = {**os.environ, "KUBECONFIG": str(served.kubeconfig), "HOME": str(home),
                            "KUBECACHEDIR": str(home / "cache"), "KUBECTL_KUBERC": "false"}

    def run(self, *arguments: str, given: str = "", fails: bool = False, **environment: str) -> str:
        """What it said, on both streams."""
        done = self._done(arguments, given, fails, environment)
        return done.stdout + done.stderr

    def output(self, *arguments: str, given: str = "") -> str:
        """What it printed on standard output alone: kubectl may log about frames on the other stream."""
        return self._done(arguments, given, False, {}).stdout

    def _done(self, arguments: tuple[str, ...], given: str, fails: bool,
              environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(["kubectl", *arguments], env={**self.environment, **environment}, input=given,
                              capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        assert (done.returncode != 0) == fails, f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done

    def says(self, words: str, *arguments: str, **rest: Any) -> None:
        """It succeeds (or `fails`), and says `words`."""
        said = self.run(*arguments, **rest)
        assert words in said, f"kubectl {' '.join(arguments)}: {said}"

    def code(self, *arguments: str) -> int:
        return subprocess.run(["kubectl", *arguments], env=self.environment, capture_output=True, timeout=DEADLINE_S,
                              stdin=subprocess.DEVNULL, check=False).returncode

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """In the background, for a while: whoever reads its output must not wait for ever."""
        process = subprocess.Popen(["kubectl", *arguments], env=self.environment, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL)
        limit = threading.Timer(DEADLINE_S, process.kill)
        limit.daemon = True
        limit.start()
        return process
