"""PromQL: Prometheus' own test language, run against our evaluator.

A script loads series, then asks. Native histograms cannot be loaded: a case that touches one fails and says so.
Positions ("(1:7)") at the end of warnings are not compared; the parser does not know them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fairway.metrics.labels import LabelTable
from fairway.metrics.matchers import Matcher
from fairway.metrics.promql import Answer, QueryError, Scalar, Text, Vector, instant, over_range
from fairway.metrics.series import ABSENT_BITS, STALE_BITS, Block, matching_rows
from tests.conformance.result import CaseResult

_STEP = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w|y)?")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000, None: 1}
_EVAL = re.compile(
    r"eval(?P<old>_\w+)?\s+(?:instant\s+at\s+(?P<at>\S+)|range\s+from\s+(?P<start>\S+)\s+to\s+(?P<end>\S+)"
    r"\s+step\s+(?P<step>\S+))\s+(?P<expr>.*)",
    re.DOTALL,
)
_LABEL = re.compile(r'\s*(?:"((?:\\.|[^"\\])*)"|([\w.:]+))\s*(?:=\s*("(?:\\.|[^"\\])*"|\'[^\']*\'))?\s*,?')
_REPEAT = re.compile(r"^(?P<base>.+?)(?:(?P<sign>[+-])(?P<delta>[\d.eE]+(?:[eE][+-]?\d+)?))?x(?P<times>\d+)$")
_POSITION = re.compile(r" \(\d+:\d+\)$")

Samples = list[float | str]  # a number, "_" (nothing), "stale", or "{{" (a native histogram)


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


@dataclass
class World:
    """What has been loaded since the last `clear`."""

    blocks: list[Block] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    """Metrics whose samples could not be loaded, and why."""

    def select(self, matchers: list[Matcher], start: int, end: int) -> list[Block]:
        found = []
        for block in self.blocks:
            rows = matching_rows(block.labels, matchers)
            when = (block.times > start) & (block.times <= end)
            if rows.any() and when.any():
                found.append(Block(block.labels.take(rows), block.times[when], block.values[rows][:, when]))
        return found

    def load(self, step: int, lines: list[str]) -> None:
        series: dict[tuple[tuple[str, str], ...], Samples] = {}
        for line in lines:
            labels, rest = labels_and_rest(line)
            name = labels.get("__name__", "")
            if "{{" in rest:
                self.unread[name] = "native histograms are not supported"
            try:
                series[tuple(sorted(labels.items()))] = samples_of(rest)
            except ValueError as error:
                self.unread[name] = f"samples not understood: {error}"
        length = max((len(samples) for samples in series.values()), default=0)
        values = np.zeros((len(series), length))
        bits = values.view(np.int64)
        bits[:] = ABSENT_BITS
        for i, samples in enumerate(series.values()):
            for j, sample in enumerate(samples):
                if isinstance(sample, float):
                    values[i, j] = sample
                elif sample == "stale":
                    bits[i, j] = STALE_BITS
        table = LabelTable.of([dict(labels) for labels in series])
        self.blocks.append(Block(table, np.arange(length, dtype=np.int64) * step, values))


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
        position = label.end()
        while line[position] == " ":
            position += 1
    return labels, line[position + 1 :].strip()


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), text[1:-1])


def samples_of(text: str) -> Samples:
    found: Samples = []
    for word in re.findall(r"\{\{.*?\}\}(?:[+-]\{\{.*?\}\})?(?:x\d+)?|\S+", text):
        if word.startswith("{{"):
            found += ["{{"] * (int(word.rpartition("x")[2]) + 1 if re.search(r"x\d+$", word) else 1)
        elif match := _REPEAT.match(word):
            times = int(match["times"])
            if match["base"] in ("_", "stale"):
                found += [match["base"]] * times
            else:
                delta = float(match["delta"] or 0) * (-1 if match["sign"] == "-" else 1)
                found += [float(match["base"]) + delta * i for i in range(times + 1)]
        else:
            found.append(word if word in ("_", "stale") else float(word))
    return found


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
            world.load(millis(line.split()[1]), block)
        elif command.startswith("eval"):
            try:
                reason = _judge(world, _case(line, block))
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
    if any("{{" in line for line in case.lines):
        return "native histograms are not supported"
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
        (_key(row), [float(v) if p else "_" for v, p in zip(value.values[i], value.present[i], strict=True)])
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
            same = a == b if isinstance(a, str) or isinstance(b, str) else _close(a, b)
            if not same:
                return f"{dict(key)}: got {found}, expected {samples}"
    return ""


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
            at = {int(t): float(v) for t, v, ok in zip(block.times, block.values[i], valid[i], strict=True) if ok}
            if any(t < start or t > end or (t - start) % step for t in at):
                return f"samples off the grid: {at}"
            got[_key(row)] = [at.get(t, "_") for t in range(start, end + 1, step)]
    expected = {_key(labels): samples_of(rest) for labels, rest in map(labels_and_rest, case.lines)}
    return _compare_series(expected, got)
