"""A job's log at home, copied from its pod line by line. Who reads it sees no difference to that of a job on this machine.

A controller that begins again reads the pod's log from its start: the lines that are here already are passed over. What is said
here of the pod, which its own log does not hold, is marked and does not count.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from fairway.ci.joblog import END
from fairway.kube.objects import rfc3339_micro

MARK = "##[cluster]"


class CopiedLog:
    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0)
        whole = self._file.readall() or b""
        kept = whole[: whole.rfind(b"\n") + 1]  # a line that was cut off comes again
        lines = [line.partition(b" ")[2].decode(errors="replace") for line in kept.splitlines()]
        self.has_ended = bool(lines) and lines[-1] == END
        self._pass_over = sum(1 for line in lines if line != END and not line.startswith(MARK))
        self._remarks = {line for line in lines if line.startswith(MARK)}
        self._file.truncate(len(kept))
        self._file.seek(0, os.SEEK_END)
        self._passed = 0

    def rewind(self) -> None:
        """The pod's log is read from its start once more."""
        self._pass_over, self._passed = max(self._pass_over, self._passed), 0

    def line(self, at: str, text: str, now: datetime) -> None:
        self._passed += 1
        if self._passed > self._pass_over:
            self._write(f"{at or rfc3339_micro(now)} {text}".replace("\n", " "))

    def remark(self, text: str, now: datetime) -> None:
        """Something about the pod, once."""
        if f"{MARK}{text}" not in self._remarks:
            self._remarks.add(f"{MARK}{text}")
            self._write(f"{rfc3339_micro(now)} {MARK}{text}".replace("\n", " "))

    def close(self, now: datetime | None = None) -> None:
        """With `now` the job is over, and whoever follows the log stops."""
        if now is not None and not self.has_ended:
            self._write(f"{rfc3339_micro(now)} {END}")
        self._file.close()

    def _write(self, line: str) -> None:
        self._file.write(line.encode(errors="replace") + b"\n")
