"""Walking a YAML file's nodes, which know their lines, and noting what is wrong instead of stopping at the first mistake."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TypeVar

import yaml

from fairway.kube.durations import parse_duration

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Mistake:
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.path}: {self.message}" if self.path else f"line {self.line}: {self.message}"


class Nodes:
    """Reads values of nodes; `mistakes` are all that was found wrong. A wrong value is replaced by a harmless one."""

    def __init__(self) -> None:
        self.mistakes: list[Mistake] = []

    def wrong(self, node: yaml.Node, path: str, message: str) -> None:
        self.mistakes.append(Mistake(node.start_mark.line + 1, path, message))

    def fields(self, node: yaml.Node, path: str, known: Collection[str]) -> dict[str, yaml.Node]:
        if isinstance(node, yaml.ScalarNode) and node.value in ("", "~", "null"):
            return {}
        if not isinstance(node, yaml.MappingNode):
            self.wrong(node, path, "a mapping is needed")
            return {}
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = str(key.value)
            if name not in known:
                self.wrong(key, f"{path}.{name}".lstrip("."), f"unknown field; known are {', '.join(sorted(known))}")
            elif name in found:
                self.wrong(key, f"{path}.{name}".lstrip("."), "given twice")
            else:
                found[name] = value
        return found

    def items(self, node: yaml.Node, path: str) -> Iterator[tuple[int, yaml.Node]]:
        if isinstance(node, yaml.SequenceNode):
            yield from enumerate(node.value)
        else:
            self.wrong(node, path, "a list is needed")

    def scalar(self, node: yaml.Node, path: str, what: str, read: Callable[[str], T], default: T) -> T:
        if isinstance(node, yaml.ScalarNode):
            try:
                return read(node.value)
            except ValueError:
                pass
        shown = node.value if isinstance(node, yaml.ScalarNode) else "something else"
        self.wrong(node, path, f"{what} is needed, got {shown!r}")
        return default

    def text(self, node: yaml.Node, path: str) -> str:
        return self.scalar(node, path, "a text", _not_blank, "")

    def count(self, node: yaml.Node, path: str) -> int:
        return self.scalar(node, path, "a number from 0 on", _natural, 0)

    def number(self, node: yaml.Node, path: str, highest: float = 100.0) -> float:
        return self.scalar(node, path, f"a number from 0 to {highest:g}", lambda text: _within(text, highest), 0.0)

    def duration(self, node: yaml.Node, path: str, default: timedelta) -> timedelta:
        return self.scalar(node, path, "a duration such as 30m or 24h", parse_duration, default)

    def flag(self, node: yaml.Node, path: str) -> bool:
        return self.scalar(node, path, "true or false", _truth, False)

    def day(self, node: yaml.Node, path: str) -> date:
        return self.scalar(node, path, "a day such as 2030-12-31", date.fromisoformat, date.min)


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError
    return text


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise ValueError
    return int(text)


def _within(text: str, highest: float) -> float:
    value = float(text.removesuffix("%"))
    if not 0 <= value <= highest:
        raise ValueError
    return value


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError
    return text.lower() == "true"
