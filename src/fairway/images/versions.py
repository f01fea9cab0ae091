"""Is one version older than another? By each ecosystem's own order. Pure.

Sources: PEP 440 (the package `packaging`); Debian policy 5.6.12 for dpkg's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cmp_to_key
from typing import Any

from packaging.version import InvalidVersion, Version


class Incomparable(ValueError):
    """Not a version of this ecosystem."""


def key_for(ecosystem: str) -> Callable[[str], Any]:
    """A sort key for versions of `PyPI` or `Debian`. The key raises `Incomparable`."""
    return _python_key if ecosystem == "PyPI" else _debian_key


def _python_key(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:
        raise Incomparable(f"{text!r} is not a version (PEP 440)") from None


def _debian_key(text: str) -> Any:
    return _BY_DPKG(text.strip())


def _compare(a: str, b: str) -> int:
    (epoch_a, up_a, rev_a), (epoch_b, up_b, rev_b) = _split(a), _split(b)
    return (epoch_a > epoch_b) - (epoch_a < epoch_b) or _part(up_a, up_b) or _part(rev_a, rev_b)


_BY_DPKG = cmp_to_key(_compare)


def _split(text: str) -> tuple[int, str, str]:
    epoch, colon, rest = text.partition(":")
    if not colon:
        epoch, rest = "0", text
    if not epoch.isdecimal():
        raise Incomparable(f"{text!r} is not a Debian version")
    upstream, dash, revision = rest.rpartition("-")
    return int(epoch), upstream if dash else rest, revision if dash else ""


def _part(a: str, b: str) -> int:
    """Alternately the text without digits, in which `~` comes before the end and letters before the rest, and the number."""
    while a or b:
        (text_a, number_a, a), (text_b, number_b, b) = _head(a), _head(b)
        keys_a, keys_b = [*map(_order, text_a), 0], [*map(_order, text_b), 0]
        if keys_a != keys_b:
            return 1 if keys_a > keys_b else -1
        if number_a != number_b:
            return 1 if number_a > number_b else -1
    return 0


def _head(text: str) -> tuple[str, int, str]:
    m = re.match(r"(\D*)(\d*)", text)
    assert m is not None  # both halves may be empty
    return m[1], int(m[2] or 0), text[m.end():]


def _order(ch: str) -> int:
    return -1 if ch == "~" else ord(ch) if ch.isalpha() else ord(ch) + 256
