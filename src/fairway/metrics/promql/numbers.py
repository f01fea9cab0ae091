"""Numbers and names as Prometheus writes them."""

from __future__ import annotations

import math

import numpy as np


def _special(value: float) -> str | None:
    if math.isnan(value):
        return "NaN"
    return None if math.isfinite(value) else ("+Inf" if value > 0 else "-Inf")


def format_float(value: float) -> str:
    """The shortest decimal that reads back as `value`, never with an exponent (Go's 'f' with precision -1)."""
    return _special(value) or np.format_float_positional(value, trim="-")


def format_sample(value: float) -> str:
    """As in answers of the query API: with an exponent below 1e-6 and from 1e21 on."""
    special = _special(value)
    if special is not None:
        return special
    if value != 0 and not 1e-6 <= abs(value) < 1e21:
        digits = np.format_float_scientific(value, trim="-", exp_digits=2)
        return digits.replace("e-0", "e-") if digits[-4:-1] == "e-0" else digits
    return np.format_float_positional(value, trim="-")


def escaped(name: str) -> str:
    """A name with the bytes that are no text as `\\xHH`."""
    return "".join(f"\\x{ord(ch) - 0xDC00:02x}" if "\udc80" <= ch <= "\udcff" else ch for ch in name)
