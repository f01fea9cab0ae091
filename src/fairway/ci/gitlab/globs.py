"""Path patterns: `*` within a folder, `**` across folders, `?`, `[]`, `{a,b}`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

_PARTS = re.compile(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\]|\{[^{}]*\})")


@lru_cache(maxsize=1024)
def path_pattern(pattern: str) -> re.Pattern[str]:
    """For `changes`, `exists`, `artifacts` and `cache`: `**/` may stand for no folder at all."""
    return re.compile(_source(pattern, "(?:.*/)?"), re.DOTALL)


@lru_cache(maxsize=256)
def include_pattern(pattern: str) -> re.Pattern[str]:
    """For `include:local`, where `folder/**/*.yml` means files of subfolders only."""
    return re.compile(_source(pattern, "(?:.*/)"), re.DOTALL)


def some_match(patterns: Iterable[str], names: Iterable[str]) -> bool:
    compiled = [path_pattern(pattern) for pattern in patterns]
    return any(pattern.fullmatch(name) for name in names for pattern in compiled)


def _source(pattern: str, folders: str) -> str:
    known = {"**/": folders, "**": ".*", "*": "[^/]*", "?": "[^/]"}
    out = []
    for part in _PARTS.split(pattern.removeprefix("./").removeprefix("/")):
        if part in known:
            out.append(known[part])
        elif part.startswith("[") and len(part) > 2:
            out.append("[" + part[1:-1].replace("!", "^", 1 if part[1] == "!" else 0).replace("\\", "\\\\") + "]")
        elif part.startswith("{") and part.endswith("}"):
            out.append("(?:" + "|".join(_source(choice, folders) for choice in part[1:-1].split(",")) + ")")
        else:
            out.append(re.escape(part))
    return "".join(out)
