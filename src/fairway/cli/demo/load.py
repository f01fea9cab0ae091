"""The steady load on the shop's ingress: a process of its own, so that measuring does not disturb what is measured."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fairway.cli.demo.figures import Answer

HOST, PATH = "shop.example.com", "/api/orders"


@dataclass
class Load:
    """`rate` requests a second until `stop`; every answer becomes a line of `record`."""

    port: int
    rate: int
    record: Path
    host: str = HOST
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fairway.traffic.prober", f"http://127.0.0.1:{self.port}{PATH}", "--host", self.host,
             "--rate", str(self.rate), "--out", str(self.record)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def answers(self) -> list[Answer]:
        """All answers so far. The last line may still be being written: it is left out."""
        if not self.record.is_file():
            return []
        text = self.record.read_text()
        return [_answer(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def _answer(line: str) -> Answer:
    fields = json.loads(line)
    return Answer(at=fields["at"], status=fields["status"], version=fields.get("version") or "")


@dataclass
class Tail:
    """Reads a growing record piece by piece, for the live error rate."""

    record: Path
    _position: int = 0

    def new_answers(self) -> Sequence[Answer]:
        if not self.record.is_file():
            return ()
        with self.record.open("rb") as handle:
            handle.seek(self._position)
            data = handle.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._position += len(whole)
        return [_answer(line) for line in whole.decode().splitlines()]
