"""Sizes as people write them. Pure."""

from __future__ import annotations

import re

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_SIZE = re.compile(r"^(\d+(?:\.\d+)?)\s*([kmg]i?|)b?$", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Bytes of `500MB`, `1.5Gi`, `1048576`. Raises ValueError."""
    m = _SIZE.match(text.strip())
    if m is None:
        raise ValueError(f"{text!r} is not a size; write e.g. 500MB, 1.5GB or 200Mi")
    return int(float(m[1]) * _UNITS[m[2].lower()])
