"""Variables: what a definition says, and how `$NAME`, `${NAME}` and `$$` are expanded. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_REFERENCE = re.compile(r"\$\$|\$(\w+)|\$\{(\w+)\}|%(\w+)%")
MOST_EXPANDED = 1 << 20
"""Characters of one expanded value: variables that double each other end here."""


@dataclass(frozen=True, slots=True)
class Variable:
    """`raw` is taken as it is (`expand: false`); a `file` variable is given to jobs as the path of a file that holds it."""

    value: str
    raw: bool = False
    file: bool = False
    masked: bool = False
    description: str = ""
    options: tuple[str, ...] = ()


class Variables(Mapping[str, Variable]):
    """Variables by name. `over` lays others on top."""

    def __init__(self, found: Mapping[str, Variable] | None = None) -> None:
        self._found = dict(found or {})

    @classmethod
    def of(cls, texts: Mapping[str, str], *, raw: bool = False) -> Variables:
        return cls({name: Variable(value, raw=raw) for name, value in texts.items()})

    def __getitem__(self, name: str) -> Variable:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __hash__(self) -> int:
        return hash(tuple(self._found.items()))

    def over(self, below: Mapping[str, Variable]) -> Variables:
        return Variables({**below, **self._found})

    def only(self, names: bool | tuple[str, ...]) -> Variables:
        """`inherit:variables`: all, none, or those named."""
        if isinstance(names, bool):
            return self if names else Variables()
        return Variables({name: value for name, value in self._found.items() if name in names})

    def expanded(self) -> dict[str, str]:
        """Every value with the others in it. A variable that is not defined is empty; one that refers to itself, near or
        far, keeps that reference as it is written."""
        done: dict[str, str] = {}
        for name in self._found:
            self._expand(name, done, ())
        return {name: done[name] for name in self._found}

    def _expand(self, name: str, done: dict[str, str], above: tuple[str, ...]) -> str:
        if name in done:
            return done[name]
        variable = self._found[name]
        if variable.raw or variable.file or ("$" not in variable.value and "%" not in variable.value):
            done[name] = variable.value
            return variable.value
        circular = False

        def replaced(match: re.Match[str]) -> str:
            nonlocal circular
            wanted = match[1] or match[2] or match[3]
            if match[0] == "$$":
                return "$"
            if wanted == name or wanted in above:
                circular = True
                return match[0]
            if wanted not in self._found:
                return match[0] if match[3] else ""
            return self._expand(wanted, done, (*above, name))

        value = _REFERENCE.sub(replaced, variable.value)[:MOST_EXPANDED]
        if not circular or not above:
            done[name] = value
        return value


NO_VARIABLES = Variables()


def expand(text: str, variables: Mapping[str, str], *, keep_unknown: bool = False) -> str:
    """A text with variables in it."""
    return _REFERENCE.sub(
        lambda m: "$" if m[0] == "$$" else variables.get(m[1] or m[2] or m[3], m[0] if keep_unknown or m[3] else ""), text)


def expand_all(value: Any, variables: Mapping[str, str]) -> Any:
    """Every text of a tree expanded."""
    if isinstance(value, str):
        return expand(value, variables)
    if isinstance(value, list):
        return [expand_all(item, variables) for item in value]
    if isinstance(value, dict):
        return {key: expand_all(item, variables) for key, item in value.items()}
    return value
