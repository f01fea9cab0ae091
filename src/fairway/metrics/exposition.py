"""Prometheus' text format, read fast because a target says nearly the same thing every time.

The text before the value (`name{labels}`) is the same from scrape to scrape. It is parsed once and remembered with
the row that its samples go to; from then on a line costs one split, one dictionary look-up and one `float`.
OpenMetrics is read leniently: exemplars, `# EOF`, units and created-timestamps do no harm.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from fairway.metrics.histogram import Histogram
from fairway.metrics.labels import NAME

_LABEL = re.compile(
    r'\s*(?:"(?P<quoted>(?:\\.|[^"\\])*)"|(?P<name>[a-zA-Z_][\w.:]*))\s*(?P<equals>=\s*"(?P<value>(?:\\.|[^"\\])*)")?\s*,?'
)
_NAME = re.compile(r"\s*([a-zA-Z_:][\w:.]*)?\s*")
_ESCAPE = re.compile(r"\\(.)")
_EXEMPLAR = re.compile(r"\s#\s*\{.*$")

Labels = dict[str, str]
Sample = tuple[Labels, float | Histogram]


class BadExposition(ValueError):
    """The target's answer is not in the text format; the message names the line."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a target says about a metric. `kind` is counter, gauge, histogram, summary, or unknown."""

    kind: str = "unknown"
    help: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric as the protobuf format has it."""

    name: str
    metadata: Metadata
    samples: tuple[Sample, ...]


@dataclass(slots=True)
class Exposition:
    """Reads one target's answers. `rows` finds the row for labels that are new (-1: do not keep); it is asked once a
    series.
    """

    rows: Callable[[Labels], int]
    metadata: dict[str, Metadata] = field(default_factory=dict)
    samples: int = 0
    """How many the last answer had, before any was left out."""
    _known: dict[str, int] = field(default_factory=dict)
    _comments: set[str] = field(default_factory=set)

    def read(self, text: str) -> tuple[list[int], list[float]]:
        """(rows, values) of the samples. Timestamps in the text are ignored: a sample's time is the scrape's."""
        rows: list[int] = []
        values: list[float] = []
        known = self._known
        self.samples = 0
        for line in text.split("\n"):
            key, _, number = line.rpartition(" ")
            row = known.get(key)
            if row is None:
                if not line or line[0] == "#" or not line.strip():
                    self._comment(line)
                    continue
                key, number, row = self._new(line)
            self.samples += 1
            if row < 0:
                continue
            try:
                values.append(float(number))
            except ValueError:
                values.append(_number(number, line))
            rows.append(row)
        return rows, values

    def take(self, families: Iterable[Family]) -> tuple[list[int], list[float], list[tuple[int, Histogram]]]:
        """The same of protobuf; a native histogram has a value of 0 and stands beside it."""
        rows, values, natives = list[int](), list[float](), list[tuple[int, Histogram]]()
        self.samples = 0
        for family in families:
            self.metadata[family.name] = family.metadata
            for labels, value in family.samples:
                self.samples += 1
                row = self._row_of(str(sorted(labels.items())), labels)
                if row < 0:
                    continue
                rows.append(row)
                if isinstance(value, Histogram):
                    natives.append((row, value))
                values.append(0.0 if isinstance(value, Histogram) else value)
        return rows, values, natives

    def forget(self) -> None:
        """Rows were renumbered: ask for every series again."""
        self._known.clear()

    def is_counter(self, name: str) -> bool:
        """Whether the samples of `name` only grow from 0, by what the target says of its type."""
        if self._kind(name) == "counter" or self._kind(name.removesuffix("_total")) == "counter":
            return True
        base, _, part = name.rpartition("_")
        return part in ("bucket", "count", "sum") and self._kind(base) in ("histogram", "summary")

    def _kind(self, name: str) -> str:
        return self.metadata[name].kind if name in self.metadata else ""

    def _new(self, line: str) -> tuple[str, str, int]:
        key, labels, rest = _head(_EXEMPLAR.sub("", line) if "#" in line else line)
        parts = rest.split()
        if not parts or len(parts) > 2:
            raise BadExposition(f"expected a value and perhaps a timestamp after the metric: {line!r}")
        return key, parts[0], self._row_of(key, labels)

    def _row_of(self, key: str, labels: Labels) -> int:
        row = self._known.get(key)
        if row is None:
            row = self._known[key] = self.rows(labels)
        return row

    def _comment(self, line: str) -> None:
        """`# TYPE` and `# HELP`, each read once."""
        if line in self._comments or len(self._comments) > 100_000:
            return
        self._comments.add(line)
        parts = line.split(None, 3)
        if len(parts) < 3 or parts[0] != "#" or parts[1] not in ("TYPE", "HELP", "UNIT"):
            return
        old = self.metadata.get(parts[2], Metadata())
        text = parts[3].strip() if len(parts) > 3 else ""
        match parts[1]:
            case "TYPE":
                new = Metadata("unknown" if text == "untyped" else text, old.help, old.unit)
            case "HELP":
                new = Metadata(old.kind, _unescaped(text), old.unit)
            case _:
                new = Metadata(old.kind, old.help, text)
        self.metadata[parts[2]] = new


def parse(text: str) -> list[tuple[Labels, float]]:
    """Every sample of a text, for whoever reads one only once."""
    found: list[Labels] = []

    def remember(labels: Labels) -> int:
        found.append(labels)
        return len(found) - 1

    rows, values = Exposition(remember).read(text)
    return [(found[row], value) for row, value in zip(rows, values, strict=True)]


def _head(line: str) -> tuple[str, Labels, str]:
    """(text up to the end of the labels, labels, the rest)."""
    match = _NAME.match(line)
    labels: Labels = {}
    position = 0
    if match is not None:
        if match[1]:
            labels[NAME] = match[1]
        position = match.end()
    if position < len(line) and line[position] == "{":
        position += 1
        while True:
            while position < len(line) and line[position] in " \t,":
                position += 1
            if position < len(line) and line[position] == "}":
                position += 1
                break
            label = _LABEL.match(line, position)
            if label is None or label.end() == position:
                raise BadExposition(f"labels cannot be read: {line!r}")
            position = label.end()
            name = label["name"] or _unescaped(label["quoted"] or "")
            if label["equals"] is None:
                labels[NAME] = name
            else:
                labels[name] = _unescaped(label["value"])
        key = line[:position]
    else:
        key = line[:position].rstrip()
    if NAME not in labels:
        raise BadExposition(f"a sample without a metric name: {line!r}")
    return key, {name: value for name, value in labels.items() if value}, line[position:]


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda match: "\n" if match[1] == "n" else match[1], text)


def _number(text: str, line: str) -> float:
    if text.lower() in ("+inf", "-inf", "inf", "nan"):
        return float(text)
    raise BadExposition(f"not a number: {text!r} in {line!r}")
