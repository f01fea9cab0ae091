"""`fairway-gates.yaml`: which reports there must be, and how good. Decoded strictly; every mistake with its line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import yaml

from fairway.kube.durations import parse_duration

CONFIG_NAME = "fairway-gates.yaml"
DEFAULT_MAX_AGE = timedelta(hours=24)
"""A report older than that was not made by this run."""

COVERAGE_METRICS = ("lines", "branches", "functions", "statements")
SARIF_LEVELS = ("error", "warning", "note", "critical", "high", "medium", "low")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Coverage:
    """The least share in percent, per metric."""

    minimum: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class JUnit:
    """`failures` counts failures and errors. `skipped` is None where any number may be skipped."""

    failures: int = 0
    tests: int = 1
    skipped: int | None = None


@dataclass(frozen=True, slots=True)
class Sarif:
    """The most findings, per level (error, warning, note) or security severity (critical, high, medium, low)."""

    maximum: tuple[tuple[str, int], ...]


Rule = Coverage | JUnit | Sarif


@dataclass(frozen=True, slots=True)
class Gate:
    """`reports` are paths or globs, from the folder of the file."""

    name: str
    rule: Rule
    reports: tuple[str, ...]
    max_age: timedelta


@dataclass(frozen=True, slots=True)
class Mistake:
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.path}: {self.message}" if self.path else f"line {self.line}: {self.message}"


class ConfigMistakes(ValueError):
    """The file cannot be used; all that is wrong with it, in order."""

    def __init__(self, mistakes: tuple[Mistake, ...]) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = mistakes


def decode(text: str) -> tuple[Gate, ...]:
    """The gates of a file. Raises `ConfigMistakes`."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise ConfigMistakes((Mistake(mark.line + 1 if mark else 1, "", f"not YAML: {error.problem}"),)) from None
    reader = _Reader()
    gates = reader.config(node)
    if reader.mistakes:
        raise ConfigMistakes(tuple(sorted(reader.mistakes, key=lambda mistake: mistake.line)))
    return gates


class _Reader:
    """Walks the nodes, which know their lines, and notes what is wrong instead of stopping at the first."""

    def __init__(self) -> None:
        self.mistakes: list[Mistake] = []

    def config(self, node: yaml.Node | None) -> tuple[Gate, ...]:
        if not isinstance(node, yaml.MappingNode):
            self.mistakes.append(Mistake(1, "", "a mapping with `gates:` is needed"))
            return ()
        fields = self._fields(node, "", {"gates", "max_age"})
        if "gates" not in fields:
            self._wrong(node, "", "`gates:` is missing: a list of gates is needed")
            return ()
        max_age = self._duration(fields["max_age"], "max_age") if "max_age" in fields else DEFAULT_MAX_AGE
        gates = [self._gate(item, f"gates[{i}]", max_age) for i, item in self._items(fields["gates"], "gates")]
        if not gates and not self.mistakes:
            self._wrong(fields["gates"], "gates", "at least one gate is needed; no gate would mean no check")
        found = tuple(gate for gate in gates if gate is not None)
        names = [gate.name for gate in found]
        for name in sorted({name for name in names if names.count(name) > 1}):
            self._wrong(fields["gates"], "gates", f"two gates are called {name!r}")
        return found

    def _gate(self, node: yaml.Node, path: str, default_age: timedelta) -> Gate | None:
        readers: dict[str, Callable[[dict[str, yaml.Node], str], Rule]] = {
            "coverage": self._coverage, "junit": self._junit, "sarif": self._sarif,
        }  # fmt: skip
        fields = self._fields(node, path, {"name", "report", "reports", "max_age", *readers})
        kinds = [kind for kind in readers if kind in fields]
        if len(kinds) != 1:
            self._wrong(node, path, f"exactly one of {', '.join(readers)} is needed, found {', '.join(kinds) or 'none'}")
            return None
        kind = kinds[0]
        reports = self._reports(node, fields, path)
        allowed = {"coverage": COVERAGE_METRICS, "junit": ("failures", "tests", "skipped"), "sarif": SARIF_LEVELS}[kind]
        rule = readers[kind](self._fields(fields[kind], f"{path}.{kind}", set(allowed)), f"{path}.{kind}")
        if kind != "junit" and not (rule.minimum if isinstance(rule, Coverage) else getattr(rule, "maximum", ())):
            self._wrong(fields[kind], f"{path}.{kind}", f"no threshold: give one of {', '.join(allowed)}")
        name = self._text(fields["name"], f"{path}.name") if "name" in fields else kind
        max_age = self._duration(fields["max_age"], f"{path}.max_age") if "max_age" in fields else default_age
        return Gate(name, rule, reports, max_age)

    def _reports(self, node: yaml.Node, fields: dict[str, yaml.Node], path: str) -> tuple[str, ...]:
        if ("report" in fields) == ("reports" in fields):
            self._wrong(node, path, "`report: PATH` or `reports: [PATH, …]` is needed (one of them)")
            return ()
        if "report" in fields:
            return (self._text(fields["report"], f"{path}.report"),)
        found = [self._text(item, f"{path}.reports[{i}]") for i, item in self._items(fields["reports"], f"{path}.reports")]
        if not found:
            self._wrong(fields["reports"], f"{path}.reports", "at least one path is needed")
        return tuple(found)

    def _coverage(self, fields: dict[str, yaml.Node], path: str) -> Rule:
        return Coverage(tuple((name, self._number(node, f"{path}.{name}", 100.0)) for name, node in fields.items()))

    def _junit(self, fields: dict[str, yaml.Node], path: str) -> Rule:
        numbers = {name: self._count(node, f"{path}.{name}") for name, node in fields.items()}
        return JUnit(**numbers)

    def _sarif(self, fields: dict[str, yaml.Node], path: str) -> Rule:
        return Sarif(tuple((name, self._count(node, f"{path}.{name}")) for name, node in fields.items()))

    # --- nodes --------------------------------------------------------------------------------------------------------

    def _wrong(self, node: yaml.Node, path: str, message: str) -> None:
        self.mistakes.append(Mistake(node.start_mark.line + 1, path, message))

    def _fields(self, node: yaml.Node, path: str, known: set[str]) -> dict[str, yaml.Node]:
        if isinstance(node, yaml.ScalarNode) and node.value in ("", "~", "null"):
            return {}
        if not isinstance(node, yaml.MappingNode):
            self._wrong(node, path, "a mapping is needed")
            return {}
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = str(key.value)
            if name not in known:
                self._wrong(key, f"{path}.{name}".lstrip("."), f"unknown field; known are {', '.join(sorted(known))}")
            elif name in found:
                self._wrong(key, f"{path}.{name}".lstrip("."), "given twice")
            else:
                found[name] = value
        return found

    def _items(self, node: yaml.Node, path: str) -> Iterator[tuple[int, yaml.Node]]:
        if isinstance(node, yaml.SequenceNode):
            yield from enumerate(node.value)
        else:
            self._wrong(node, path, "a list is needed")

    def _scalar(self, node: yaml.Node, path: str, what: str, read: Callable[[str], T], default: T) -> T:
        if isinstance(node, yaml.ScalarNode):
            try:
                return read(node.value)
            except ValueError:
                pass
        shown = node.value if isinstance(node, yaml.ScalarNode) else "something else"
        self._wrong(node, path, f"{what} is needed, got {shown!r}")
        return default

    def _text(self, node: yaml.Node, path: str) -> str:
        return self._scalar(node, path, "a text", _not_blank, "")

    def _count(self, node: yaml.Node, path: str) -> int:
        return self._scalar(node, path, "a number from 0 on", _natural, 0)

    def _number(self, node: yaml.Node, path: str, highest: float) -> float:
        return self._scalar(node, path, f"a number from 0 to {highest:g}", lambda text: _within(text, highest), 0.0)

    def _duration(self, node: yaml.Node, path: str) -> timedelta:
        return self._scalar(node, path, "a duration such as 30m or 24h", parse_duration, DEFAULT_MAX_AGE)


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
