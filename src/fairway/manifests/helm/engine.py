"""Who renders: the SDK in a worker process, or the `helm` command. Neither is ever loaded into this process.

Go aborts a whole process that runs out of memory, and a template can run for ever: both engines are processes with a limit of
address space and of time, killed when they exceed it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from fairway.manifests.errors import ManifestError, Place

SECONDS = 30.0
"""For one chart: kube-prometheus-stack takes 0.1 s."""
MEMORY_BYTES = 4 * 2**30
"""Of address space: Go reserves 1.8 GB before it does anything, and large charts take 0.2 GB of it."""
OUTPUT_BYTES = 128 * 2**20
"""Of one chart: kube-prometheus-stack with its CRDs prints 6 MB."""
IDLE_SECONDS = 60.0
"""A worker that nobody asks ends by itself: it holds 140 MB."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to render: the chart's folder on disk, and everything that `helm template` takes, with values merged."""

    chart: Path
    release: str
    namespace: str
    values: Mapping[str, Any]
    kube_version: str
    api_versions: tuple[str, ...]
    upgrade: bool


@dataclass(frozen=True, slots=True)
class Rendered:
    """Templates by path (`web/templates/x.yaml`), and CRD files by path."""

    templates: Mapping[str, str]
    crds: Mapping[str, str]


class HelmRefused(Exception):
    """Helm's own words about a chart or its values."""


class HelmEngine(Protocol):
    def render(self, request: Request) -> Rendered:
        """`HelmRefused` where the chart or its values are wrong, or where it takes too much time or memory."""
        ...


@lru_cache(maxsize=1)
def engine_on_this_machine() -> HelmEngine:
    """The SDK where its wheel is installed, else the command; a refusal with the mend where there is neither."""
    if importlib.util.find_spec("helm_python") is not None:
        return WorkerEngine()
    if command := shutil.which("helm"):
        return CommandEngine(command)
    raise ManifestError(Place("Chart.yaml"), "a Helm chart, and nothing on this machine renders one",
                        "install `fairway[helm]`, put `helm` on PATH, or commit what `helm template` prints")


class WorkerEngine:
    """The SDK in one worker process, started when it is first needed and again after it was killed."""

    def __init__(self, *, seconds: float = SECONDS, memory: int = MEMORY_BYTES) -> None:
        self._seconds = seconds
        self._memory = memory
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def render(self, request: Request) -> Rendered:
        line = json.dumps({
            "chart": str(request.chart), "values": request.values,
            "options": {"name": request.release, "namespace": request.namespace, "kube_version": request.kube_version,
                        "api_versions": list(request.api_versions), "is_upgrade": request.upgrade,
                        "is_install": not request.upgrade}})
        with self._lock:
            answer = self._asked(line.encode() + b"\n")
        if "error" in answer:
            raise HelmRefused(answer["error"])
        return Rendered(answer["templates"], answer["crds"])

    def close(self) -> None:
        """End the worker; the next request starts another."""
        with self._lock:
            self._end()

    def _asked(self, line: bytes) -> dict[str, Any]:
        for attempt in (1, 2):  # the worker may have gone idle between two requests
            process = self._process
            if process is None or process.poll() is not None:
                self._end()
                process = self._process = self._started()
            assert process.stdin is not None
            try:
                process.stdin.write(line)
                process.stdin.flush()
            except OSError:
                if attempt == 2:
                    raise
                continue
            data = self._line(process)
            if data:
                found: dict[str, Any] = json.loads(data)
                return found
            code = process.wait()
            if code != 0 or attempt == 2:
                self._end()
                raise HelmRefused(f"the renderer died (exit {code}): a template needs more than "
                                  f"{self._memory >> 20} MB, or Helm has a defect")
        raise HelmRefused("the renderer does not start")

    def _line(self, process: subprocess.Popen[bytes]) -> bytes:
        """One line of the answer; empty where the worker died. Kills it when the time is over."""
        assert process.stdout is not None
        deadline, found, fd = time.monotonic() + self._seconds, bytearray(), process.stdout.fileno()
        while not found.endswith(b"\n"):
            ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                self._end()
                raise HelmRefused(f"rendering took more than {self._seconds:g} s and was stopped")
            data = os.read(fd, 1 << 20)
            if not data:
                return b""
            found += data
            if len(found) > OUTPUT_BYTES:
                self._end()
                raise HelmRefused(f"the templates print more than {OUTPUT_BYTES >> 20} MB; rendering was stopped")
        return bytes(found)

    def _started(self) -> subprocess.Popen[bytes]:
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": tempfile.gettempdir(),
                       "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        return subprocess.Popen(
            [sys.executable, "-m", "fairway.manifests.helm.worker", str(self._memory), str(IDLE_SECONDS)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, start_new_session=True)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


class CommandEngine:
    """The user's own `helm`, one process a chart."""

    def __init__(self, command: str, *, seconds: float = SECONDS, memory: int = MEMORY_BYTES) -> None:
        self._command = command
        self._seconds = seconds
        self._memory = memory

    def render(self, request: Request) -> Rendered:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as values, tempfile.TemporaryFile("w+") as printed:
            json.dump(request.values, values)
            values.flush()
            process = subprocess.Popen(self.argv(request, values.name), text=True, stdout=printed, stderr=subprocess.PIPE)
            with suppress(ProcessLookupError):
                resource.prlimit(process.pid, resource.RLIMIT_AS, (self._memory, self._memory))
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (OUTPUT_BYTES, OUTPUT_BYTES))
            try:
                _, words = process.communicate(timeout=self._seconds)
            except subprocess.TimeoutExpired as error:
                process.kill()
                process.communicate()
                raise HelmRefused(f"rendering took more than {self._seconds:g} s and was stopped") from error
            printed.seek(0)
            output = printed.read()
        if process.returncode == -signal.SIGXFSZ:
            raise HelmRefused(f"the templates print more than {OUTPUT_BYTES >> 20} MB; rendering was stopped")
        if process.returncode != 0:
            raise HelmRefused(words.strip().removeprefix("Error: "))
        crds = {str(path.relative_to(request.chart.parent)): path.read_text()
                for path in sorted(request.chart.glob("**/crds/**/*.yaml"))}
        return Rendered(_by_source(output), crds)

    def argv(self, request: Request, values: str) -> list[str]:
        versions = [part for version in request.api_versions for part in ("--api-versions", version)]
        return [self._command, "template", request.release, str(request.chart), "--namespace", request.namespace,
                "--values", values, "--kube-version", request.kube_version, *versions, "--skip-crds",
                *(["--is-upgrade"] if request.upgrade else [])]


def _by_source(output: str) -> dict[str, str]:
    """What `helm template` printed, by the `# Source:` lines that it writes above each document."""
    found: dict[str, list[str]] = {}
    for document in f"\n{output}".split("\n---\n"):
        text = document.strip("\n")
        first, _, rest = text.partition("\n")
        if text:
            found.setdefault(first.removeprefix("# Source: "), []).append(rest)
    return {source: "\n---\n".join(texts) for source, texts in found.items()}
