"""The log of one job: a line per line with its time, groups as `##[group]`, secrets masked, its size limited.

Readers may follow the file while it grows; it ends with the line that `END` starts. What a step says stands below a line
with `STEP` and its name, the first group being what is run.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from types import TracebackType

from fairway.ci.masking import Masker
from fairway.kube.objects import rfc3339_micro

MAX_BYTES = 16 * 1024 * 1024
END, STEP = "##[end]", "##[step]"

Listener = Callable[[str], None]

SPEAKER: ContextVar[str] = ContextVar("speaker", default="")
"""Who speaks where several do at once: a background step. It stands before each of its lines."""


class JobLog:
    """`listen` gets every masked line without its time, for live output."""

    def __init__(self, path: Path, masker: Masker, now: Callable[[], datetime], *, listen: Listener | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = path.open("wb", buffering=0)  # whoever follows the log sees a line when it is said
        self._masker = masker
        self._now = now
        self._listen = listen
        self._left = MAX_BYTES

    def __enter__(self) -> JobLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def line(self, text: str) -> None:
        if self._left <= 0:
            return
        speaker = SPEAKER.get()
        masked = self._masker.mask(f"[{speaker}] {text}" if speaker and not text.startswith("##[") else text)
        if self._listen is not None:
            self._listen(masked)
        data = f"{rfc3339_micro(self._now())} {masked}\n".encode(errors="replace")
        self._left -= len(data)
        self._file.write(data)
        if self._left <= 0:
            cut = f"##[warning]the log is cut here: it reached {MAX_BYTES // 1024 // 1024} MiB"
            self.say(cut)
            self._file.write(f"{rfc3339_micro(self._now())} {cut}\n".encode())

    @property
    def is_full(self) -> bool:
        """Nothing that is said now is shown any more."""
        return self._left <= 0

    def masked(self, text: str) -> str:
        return self._masker.mask(text)

    def hide(self, secret: str) -> None:
        """From here on."""
        self._masker.add(secret)

    def say(self, text: str) -> None:
        """To whoever listens now; not for the file."""
        if self._listen is not None:
            self._listen(text)

    def lines(self, text: str) -> None:
        for line in text.splitlines() or [""]:
            self.line(line)

    def close(self) -> None:
        if not self._file.closed:
            self._file.write(f"{rfc3339_micro(self._now())} {END}\n".encode())
            self._file.close()
