"""What a container says about its own end: `terminationMessagePath` and `terminationMessagePolicy`.

Each attempt has a file of its own, so that `lastState` still knows what the one before said. Figures are the kubelet's.
"""

from __future__ import annotations

import os
from pathlib import Path

from fairway.kube.objects import Obj
from fairway.node.attempt import Attempt
from fairway.node.folder import PodFolder
from fairway.node.logs import parse_line

DEFAULT_PATH = "/dev/termination-log"
LIMIT, LOG_LINES, LOG_LIMIT = 4096, 80, 2048
_TAIL = 64 * 1024


def path_of(container: Obj) -> str:
    """The file in which the container may say why it ends, as the container names it."""
    return container.get("terminationMessagePath") or DEFAULT_PATH


def file_of(folder: PodFolder, container: Obj, attempt: int) -> Path:
    """The same file, where it lies."""
    return folder.last_words(container["name"], attempt) / path_of(container).lstrip("/")


def prepare(file: Path) -> Path:
    """An empty file that whoever the container runs as may write."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"")
    file.chmod(0o666)
    return file


def read(folder: PodFolder, container: Obj, attempt: Attempt) -> str:
    """"" where it said nothing. With FallbackToLogsOnError, an end with an error is told by the end of the log."""
    said = _end_of(file_of(folder, container, attempt.number), LIMIT)
    if not said and attempt.code and container.get("terminationMessagePolicy") == "FallbackToLogsOnError":
        lines = [line for raw in _end_of(folder.log(container["name"], attempt.number), _TAIL).split(b"\n")
                 if (line := parse_line(raw)) is not None]
        whole = b"".join(line.text + (b"\n" if line.whole else b"") for line in lines)
        said = b"".join(whole.splitlines(keepends=True)[-LOG_LINES:])[-LOG_LIMIT:]
    return said.decode("utf-8", "replace")


def _end_of(file: Path, size: int) -> bytes:
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - size))
            return stream.read(size)
    except OSError:
        return b""
