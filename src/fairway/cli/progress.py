"""Progress of long work, on standard error and only where it is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def waiting(words: str) -> Iterator[Callable[[float], None]]:
    """A line that counts seconds while something is waited for; it is gone afterwards."""
    if not sys.stderr.isatty():
        yield lambda _seconds: None
        return

    def tick(seconds: float) -> None:
        if seconds >= 0.5:
            sys.stderr.write(f"\r{words} {seconds:.0f}s")
            sys.stderr.flush()

    try:
        yield tick
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
