"""Version constraints as `targetRevision`: `1.x`, `^2.3`, `~1.4.2`, `>=1.0 <2.0 || 3.*`, `1.2 - 1.4`. Pure.

The highest tag that fits is meant. A version before a release (`2.0.0-rc.1`) fits only where the constraint names one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_VERSION = re.compile(r"^v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?$")
_PART = re.compile(r"^(\^|~>|~|>=|=>|<=|=<|!=|>|<|==|=)?\s*v?([\dxX*]+)(?:\.([\dxX*]+))?(?:\.([\dxX*]+))?"
                   r"(?:-([0-9A-Za-z.-]+))?$")
_HYPHEN = re.compile(r"(\S+)\s+-\s+(\S+)")
_SIGN_THEN_SPACE = re.compile(r"(\^|~>|~|>=|=>|<=|=<|!=|>|<|==|=)\s+")

Number = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Version:
    number: Number
    pre: str = ""

    @staticmethod
    def parse(text: str) -> Version | None:
        found = _VERSION.match(text)
        if found is None:
            return None
        return Version((int(found[1]), int(found[2] or 0), int(found[3] or 0)), found[4] or "")

    @property
    def rank(self) -> tuple[Number, bool, tuple[tuple[bool, int, str], ...]]:
        """A version before a release comes before it; its parts compare as numbers where they are numbers."""
        parts = tuple((not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in self.pre.split(".")) if (
            self.pre) else ()
        return self.number, not self.pre, parts


@dataclass(frozen=True, slots=True)
class _Range:
    """`low` is in, `high` is not; None is open. `without` is one version that is left out."""

    low: Version | None = None
    high: Version | None = None
    low_open: bool = False
    high_closed: bool = False
    without: Version | None = None
    named_pre: bool = False

    def has(self, version: Version) -> bool:
        if version.pre and not self.named_pre:
            return False
        rank = version.rank
        if self.without is not None and version == self.without:
            return False
        if self.low is not None and (rank < self.low.rank or (self.low_open and rank == self.low.rank)):
            return False
        if self.high is None:
            return True
        return rank < self.high.rank or (self.high_closed and rank == self.high.rank)


def is_constraint(text: str) -> bool:
    return _parse(text) is not None and Version.parse(text.strip()) is None


def best(constraint: str, tags: Iterable[str]) -> str | None:
    """The tag of the highest version that fits; None where none does."""
    alternatives = _parse(constraint)
    if alternatives is None:
        return None
    fitting = [(version.rank, tag) for tag in tags if (version := Version.parse(tag)) is not None
               and any(all(part.has(version) for part in parts) for parts in alternatives)]
    return max(fitting, default=(None, None))[1]


def _parse(text: str) -> list[list[_Range]] | None:
    found = []
    for alternative in text.split("||"):
        plain = _SIGN_THEN_SPACE.sub(r"\1", _HYPHEN.sub(r">=\1 <=\2", alternative.strip()))
        parts = [_range(word) for word in re.split(r"[,\s]+", plain) if word]
        if not parts or any(part is None for part in parts):
            return None
        found.append([part for part in parts if part is not None])
    return found


def _range(word: str) -> _Range | None:
    found = _PART.match(word)
    if found is None:
        return None
    sign, texts, pre = found[1] or "", [found[n] for n in (2, 3, 4)], found[5] or ""
    given: list[int] = []
    for text in texts:
        if text is None or not text.isdigit():
            break
        given.append(int(text))
    if any(text is not None and not text.isdigit() and text not in ("x", "X", "*") for text in texts):
        return None
    base = Version(_filled(given), pre)
    named = bool(pre)
    match sign:
        case ">=" | "=>":
            return _Range(base, named_pre=named)
        case ">":
            return _Range(base, low_open=True, named_pre=named) if len(given) == 3 else _Range(_up(given), named_pre=named)
        case "<":
            return _Range(high=base, named_pre=named)
        case "<=" | "=<":
            if len(given) == 3:
                return _Range(high=base, high_closed=True, named_pre=named)
            return _Range(high=_up(given), named_pre=named)
        case "!=":
            return _Range(without=base, named_pre=named)
        case "^":
            fixed = next((n + 1 for n, number in enumerate(given) if number), len(given))
            return _Range(base, _up(given[:fixed]), named_pre=named)
        case "~" | "~>":
            return _Range(base, _up(given[:2]), named_pre=named)
    if len(given) == 3:
        return _Range(base, base, high_closed=True, named_pre=named)
    return _Range(base if given else None, _up(given), named_pre=named)


def _filled(given: list[int]) -> Number:
    major, minor, patch = [*given, 0, 0, 0][:3]
    return major, minor, patch


def _up(given: list[int]) -> Version | None:
    """The first version after all that begin so; None where everything does."""
    return Version(_filled([*given[:-1], given[-1] + 1])) if given else None
