"""Where artifacts and caches are: on this machine, or with the Fairway that sent the job into a pod.

Jobs write both below their own root; what they read they ask for here first, so that only what is wanted is moved.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class ShelfError(OSError):
    """What is kept cannot be had now; the message says from whom, and why."""


class Shelf(Protocol):
    """Both block: call them in a thread."""

    def listing(self, folder: Path) -> Mapping[str, float]:
        """What is kept in a folder below `artifacts` or `cache`, with the time of its last change."""
        ...

    def bring(self, path: Path) -> None:
        """Have this file or folder, which `listing` named, on this machine. Raises `ShelfError`."""
        ...


class OwnShelf:
    """Everything is here already."""

    def listing(self, folder: Path) -> Mapping[str, float]:
        if not folder.is_dir():
            return {}
        return {path.name: path.stat().st_mtime for path in folder.iterdir() if not path.name.startswith(".")}

    def bring(self, path: Path) -> None:
        """It is used: that it was, its access time says, also on file systems that keep none."""
        with contextlib.suppress(OSError):
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
