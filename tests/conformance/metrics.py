"""PromQL: Prometheus' own test language, run against our evaluator.

A script loads series, then asks.
Positions ("(1:7)") at the end of warnings are not compared; the parser does not know them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from fairway.metrics.histogram import Histogram
from fairway.metrics.labels import LabelTable
from fairway.metrics.matchers import Matcher
from fairway.metrics.promql import Answer, QueryError, Scalar, Text, Vector, instant, over_range
from fairway.metrics.series import ABSENT_BITS, STALE_BITS, Block, are_there, matching_rows
from tests.conformance.promql_notation import Sample, Samples, converted, samples_of, starts_of
from tests.conformance.result import CaseResult

_STEP = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w|y)?")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000, None: 1}
_EVAL = re.compile(
    r"eval(?P<old>_\w+)?\s+(?:instant\s+at\s+(?P<at>\S+)|range\s+from\s+(?P<start>\S+)\s+to\s+(?P<end>\S+)"
    r"\s+step\s+(?P<step>\S+))\s+(?P<expr>.*)",
    re.DOTALL,
)
_LABEL = re.compile(r'\s*(?:"((?:\\.|[^"\\])*)"|([\w.:]+))\s*(?:=\s*("(?:\\.|[^"\\])*"|\'[^\']*\'))?\s*,?')
_POSITION = re.compile(r" \(\d+:\d+\)$")


def suites(root: Path) -> dict[str, Callable[[], Iterable[CaseResult]]]:
    folder = root / "metrics" / "promql"
    if not folder.is_dir():
        return {}
    return {"metrics/promql": lambda: _run(folder)}


def _run(folder: Path) -> Iterator[CaseResult]:
    for script in sorted(folder.glob("*.test")):
        yield from run_script(script.name, script.read_text())


def millis(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    return sign * round(1000 * sum(float(number) * _SECONDS[unit or None] for number, unit in _STEP.findall(text)))


Key = tuple[tuple[str, str], ...]


@dataclass
class World:
    """What has been loaded since the last `clear`: samples and starts by series and time."""

    series: dict[Key, dict[int, tuple[Sample, float]]] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    """Metrics whose samples could not be loaded, and why."""
    _block: Block | None = None

    def select(self, matchers: list[Matcher], start: int, end: int) -> list[Block]:
        self._block = self._block or self._built()
        found = self._block.take(matching_rows(self._block.labels, matchers)).between(start, end)
        return [found] if len(found.labels) and len(found.times) else []

    def load(self, step: int, lines: list[str], *, nhcb: bool) -> None:
        series: dict[Key, Samples] = {}
        starts: dict[Key, list[float | None]] = {}
        for line in lines:
            labels, rest = labels_and_rest(line)
            key = tuple(sorted(labels.items()))
            try:
                if rest.startswith("@st"):
                    starts[key] = starts_of(rest[3:], millis)
                else:
                    series[key] = samples_of(rest)
            except (ValueError, KeyError) as error:
                self.unread[labels.get("__name__", "")] = f"samples not understood: {error}"
        self._block = None
        for key, samples in {**series, **(converted(series) if nhcb else {})}.items():
            began = starts.get(key, [])
            for i, sample in enumerate(samples):
                start = began[i] if i < len(began) else None
                if sample != "_":
                    self.series.setdefault(key, {})[i * step] = sample, 0.0 if start is None else i * step + start

    def _built(self) -> Block:
        times = sorted({time for samples in self.series.values() for time in samples})
        place = {time: i for i, time in enumerate(times)}
        values = np.zeros((len(self.series), len(times)))
        bits = values.view(np.int64)
        bits[:] = ABSENT_BITS
        natives, began = np.full(values.shape, None, object), np.zeros(values.shape)
        for i, samples in enumerate(self.series.values()):
            before: Sample = "_"
            for time, (sample, start) in sorted(samples.items()):
                j = place[time]
                began[i, j] = start
                if isinstance(sample, float):
                    values[i, j] = sample
                elif isinstance(sample, Histogram):
                    values[i, j], natives[i, j] = 0.0, as_stored(sample, before)
                else:
                    bits[i, j] = STALE_BITS
                before = sample
        has_natives = bool(are_there(natives).any())
        table = LabelTable.of([dict(labels) for labels in self.series])
        return Block(table, np.array(times, np.int64), values, natives if has_natives else None, began if began.any() else None)


def as_stored(sample: Histogram, before: Sample) -> Histogram:
    """With the reset hint that a store gives: it knows of no reset only for what continues the sample before."""
    if sample.reset == "gauge":
        return sample
    plain = replace(sample, reset="unknown")
    if not isinstance(before, Histogram) or before.reset == "gauge" or sample.reset == "reset":
        return plain
    layout = (before.schema, before.zero_threshold, before.custom) == (plain.schema, plain.zero_threshold, plain.custom)
    return replace(plain, reset="not_reset") if layout and not plain.fell_since(before) else plain


def labels_and_rest(line: str) -> tuple[dict[str, str], str]:
    match = re.match(r"\s*([\w:.]*)\s*(\{(?!\{))?", line)
    assert match is not None
    labels = {"__name__": match[1]} if match[1] else {}
    position = match.end()
    if not match[2]:
        return labels, line[position:].strip()
    while line[position] != "}":
        label = _LABEL.match(line, position)
        if label is None or label.end() == position:
            raise ValueError(f"labels not understood: {line}")
        name = label[1] if label[1] is not None else label[2]
        if label[3] is None:
            labels["__name__"] = name
        else:
            labels[name] = _unquoted(label[3])
            if not labels[name]:
                del labels[name]
        position = label.end()
        while line[position] == " ":
            position += 1
    return labels, line[position + 1 :].strip()


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), text[1:-1])


@dataclass(frozen=True)
class Case:
    expr: str
    at: int | None
    start: int
    end: int
    step: int
    expects: tuple[str, ...]
    lines: tuple[str, ...]


def run_script(name: str, text: str) -> Iterator[CaseResult]:
    world = World()
    lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if not line.strip().startswith("#")]
    i = 0
    while i < len(lines):
        number, line = lines[i]
        i += 1
        if not line.strip():
            continue
        block = []
        while i < len(lines) and lines[i][1].strip() and lines[i][1][:1] in " \t":
            block.append(lines[i][1].strip())
            i += 1
        command = line.split()[0]
        if command == "clear":
            world = World()
        elif command in ("load", "load_with_nhcb"):
            world.load(millis(line.split()[1]), block, nhcb=command == "load_with_nhcb")
        elif command.startswith("eval"):
            try:
                reason = _judge(world, _case(line.strip(), block))
            except (ValueError, AssertionError, IndexError) as error:
                reason = f"not understood: {error}"
            yield CaseResult(f"{name}:{number}", "failed" if reason else "passed", reason)


def _case(line: str, block: list[str]) -> Case:
    match = _EVAL.match(line)
    if match is None:
        raise ValueError(line)
    expects = [part[len("expect ") :] for part in block if part.startswith("expect ")]
    if match["old"]:
        expects.append(match["old"][1:])
    rest = tuple(part for part in block if not part.startswith("expect "))
    at = millis(match["at"]) if match["at"] else None
    times = [millis(match[part]) if match[part] else 0 for part in ("start", "end", "step")]
    return Case(match["expr"].strip(), at, *times, tuple(expects), rest)


def _judge(world: World, case: Case) -> str:
    """Why the case failed; "" where it passed."""
    for name, reason in world.unread.items():
        if re.search(rf"\b{re.escape(name)}\b", case.expr):
            return reason
    fails = [expect for expect in case.expects if expect.split()[0] == "fail"]
    try:
        if case.at is not None:
            answer = instant(case.expr, world, case.at)
        else:
            answer = over_range(case.expr, world, case.start, case.end, case.step)
    except QueryError as error:
        if not fails:
            return f"refused: {error}"
        if str(error).find("unsupported") >= 0:
            return f"refused for another reason: {error}"
        return _message(fails[0], [str(error)])
    if fails:
        return "should have failed"
    return _notes(case, answer) or _compare(case, answer)


def _message(expect: str, messages: list[str]) -> str:
    kind, _, wanted = expect.partition(" ")
    how, _, text = wanted.partition(":")
    for message in messages:
        plain = _POSITION.sub("", message)
        if (
            not wanted
            or (how == "msg" and _POSITION.sub("", text.strip()) in plain)
            or (how == "regex" and re.search(_POSITION_REGEX.sub("", text.strip()), plain))
        ):
            return ""
    return f"expected {kind} {wanted!r}, got {messages}"


_POSITION_REGEX = re.compile(r" \\\((?:\d+|\[0-9\]\+):(?:\d+|\[0-9\]\+)\\\)$")


def _notes(case: Case, answer: Answer) -> str:
    for expect in case.expects:
        kind = expect.split()[0]
        if kind in ("warn", "info"):
            messages = answer.notes.warnings if kind == "warn" else answer.notes.infos
            if reason := _message(expect, messages):
                return reason
        if kind == "no_warn" and answer.notes.warnings:
            return f"unexpected warnings {answer.notes.warnings}"
        if kind == "no_info" and answer.notes.infos:
            return f"unexpected infos {answer.notes.infos}"
    return ""


def _close(got: float, wanted: float) -> bool:
    if math.isnan(wanted) or math.isnan(got):
        return math.isnan(wanted) and math.isnan(got)
    if got == wanted:
        return True
    if math.isinf(got) or math.isinf(wanted):
        return False
    total = abs(got) + abs(wanted)
    if got == 0 or wanted == 0 or total < 2.2e-308:
        return abs(got - wanted) < 1e-6 * 2.2e-308
    return abs(got - wanted) / min(total, 1.7e308) < 1e-6


def _key(labels: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def _compare(case: Case, answer: Answer) -> str:
    value = answer.value
    strings = [expect for expect in case.expects if expect.startswith("string")]
    if isinstance(value, Text):
        return "" if strings and strings[0].split(None, 1)[1][1:-1] == value.value else f"got string {value.value!r}"
    if isinstance(value, list):
        return _compare_matrix(case, value)
    if isinstance(value, Scalar):
        if case.at is None:
            value = Vector.single(value.values)
        else:
            wanted = float(case.lines[0]) if case.lines else math.inf
            return "" if _close(float(value.values[0]), wanted) else f"got {value.values[0]}, expected {wanted}"
    wanted_series = [labels_and_rest(line) for line in case.lines]
    expected = [(_key(labels), samples_of(rest)) for labels, rest in wanted_series]
    got = [
        (_key(row), [value_at(value, i, step) for step in range(value.steps)])
        for i, row in enumerate(value.labels.rows())
    ]
    if "ordered" in case.expects and [key for key, _ in got] != [key for key, _ in expected]:
        return f"order: got {[dict(key) for key, _ in got]}"
    return _compare_series(dict(expected), dict(got))


def _compare_series(
    expected: dict[tuple[tuple[str, str], ...], Samples], got: dict[tuple[tuple[str, str], ...], Samples]
) -> str:
    for key in got.keys() - expected.keys():
        return f"unexpected {dict(key)} {got[key]}"
    for key, samples in expected.items():
        if key not in got:
            if all(sample == "_" for sample in samples):
                continue
            return f"missing {dict(key)}"
        found = got[key]
        padded = [*samples, *["_"] * (len(found) - len(samples))]
        for a, b in zip(found, padded, strict=True):
            if not same(a, b):
                return f"{dict(key)}: got {found}, expected {samples}"
    return ""


def value_at(vector: Vector, row: int, step: int) -> Sample:
    if not vector.present[row, step]:
        return "_"
    native = None if vector.histograms is None else vector.histograms[row, step]
    return float(vector.values[row, step]) if native is None else native


def same(got: Sample, wanted: Sample) -> bool:
    match got, wanted:
        case float(), float():
            return _close(got, wanted)
        case Histogram(), Histogram():
            return _same_histogram(got, wanted)
        case _:
            return isinstance(got, str) and got == wanted


def _same_histogram(got: Histogram, wanted: Histogram) -> bool:
    """The reset hint is compared where the script says what it expects."""
    numbers = [(h.zero_count, h.count, h.sum) for h in (got, wanted)]
    return (
        (got.schema, got.zero_threshold, got.custom) == (wanted.schema, wanted.zero_threshold, wanted.custom)
        and all(map(_close, *numbers))
        and all(
            a.keys() == b.keys() and all(_close(a[i], b[i]) for i in a)
            for a, b in ((got.positive, wanted.positive), (got.negative, wanted.negative))
        )
        and wanted.reset in ("unknown", got.reset)
    )


def _compare_matrix(case: Case, blocks: list[Block]) -> str:
    wanted = next((expect for expect in case.expects if expect.startswith("range vector")), None)
    if wanted is None:
        return "a range vector was not expected"
    words = wanted.split()
    start, end, step = millis(words[3]), millis(words[5]), millis(words[7])
    got: dict[tuple[tuple[str, str], ...], Samples] = {}
    for block in blocks:
        valid = block.valid()
        for i, row in enumerate(block.labels.rows()):
            native = [None] * len(block.times) if block.histograms is None else block.histograms[i]
            cells = zip(block.times, block.values[i], native, valid[i], strict=True)
            at = {int(t): h or float(v) for t, v, h, ok in cells if ok}
            if any(t < start or t > end or (t - start) % step for t in at):
                return f"samples off the grid: {at}"
            got[_key(row)] = [at.get(t, "_") for t in range(start, end + 1, step)]
    expected = {_key(labels): samples_of(rest) for labels, rest in map(labels_and_rest, case.lines)}
    return _compare_series(expected, got)
