"""Coverage reports: Cobertura XML, coverage.py JSON, LCOV, Istanbul's summary. The format is seen from the text."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

from fairway.gates.forms.report import Unreadable

_BRANCHES = re.compile(r"\((\d+)/(\d+)\)")
_LCOV = {"LF": ("lines", 1), "LH": ("lines", 0), "BRF": ("branches", 1), "BRH": ("branches", 0), "FNF": ("functions", 1),
         "FNH": ("functions", 0)}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Covered:
    """(covered, total) per metric; a metric that the report does not measure is absent. `made_at` as the report says."""

    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    lines: Mapping[str, Mapping[int, bool]] = field(default_factory=dict)
    """Per file and line: was it run? Empty where the report has sums only."""
    made_at: datetime | None = None


def read_coverage(text: str) -> Covered:
    start = text.lstrip("\ufeff \t\r\n")
    if not start:
        raise Unreadable("the file is empty")
    if start.startswith("<"):
        found = _cobertura(start)
    elif start.startswith("{"):
        found = _json(start)
    else:
        found = _lcov(start)
    if not any(total for _, total in found.counts.values()):
        raise Unreadable("no lines were measured")
    return found


def added(reports: list[Covered]) -> Mapping[str, tuple[int, int]]:
    """Several reports (of packages, of shards with disjoint files) as one."""
    covered: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    for report in reports:
        for metric, (part, total) in report.counts.items():
            covered[metric] += part
            totals[metric] += total
    return {metric: (covered[metric], totals[metric]) for metric in totals}


def _cobertura(text: str) -> Covered:
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise Unreadable(f"not XML: {error}") from None
    if root.tag != "coverage":
        raise Unreadable(f"not a Cobertura report: its root is <{root.tag}>, not <coverage>")
    counts: dict[str, tuple[int, int]] = {}
    if root.get("lines-valid") is not None:
        counts["lines"] = (_integer(root.get("lines-covered")), _integer(root.get("lines-valid")))
        if _integer(root.get("branches-valid")):
            counts["branches"] = (_integer(root.get("branches-covered")), _integer(root.get("branches-valid")))
    else:
        lines = [line for owner in root.iter("class") for line in owner.findall("./lines/line")]
        counts["lines"] = (sum(line.get("hits", "0") != "0" for line in lines), len(lines))
        branches = [m for line in lines if (m := _BRANCHES.search(line.get("condition-coverage", "")))]
        if branches:
            counts["branches"] = (sum(int(m[1]) for m in branches), sum(int(m[2]) for m in branches))
    files: dict[str, dict[int, bool]] = {}
    for owner in root.iter("class"):
        seen = files.setdefault(owner.get("filename", ""), {})
        for line in owner.findall("./lines/line"):
            number = _integer(line.get("number"))
            seen[number] = seen.get(number, False) or line.get("hits", "0") != "0"
    return Covered(counts, files, _moment(root.get("timestamp")))


def _json(text: str) -> Covered:
    try:
        body: Any = json.loads(text)
    except ValueError as error:
        raise Unreadable(f"not JSON: {error}") from None
    try:
        if "totals" in body:
            totals = body["totals"]
            counts = {"lines": (int(totals["covered_lines"]), int(totals["num_statements"]))}
            if "num_branches" in totals:
                counts["branches"] = (int(totals["covered_branches"]), int(totals["num_branches"]))
            counts["statements"] = counts["lines"]
            return Covered(counts, {
                name: {**dict.fromkeys(one.get("executed_lines") or (), True),
                       **dict.fromkeys(one.get("missing_lines") or (), False)}
                for name, one in (body.get("files") or {}).items()
            })  # fmt: skip
        if "total" in body:
            kinds = ("lines", "branches", "functions", "statements")
            total = body["total"]
            return Covered({kind: (int(total[kind]["covered"]), int(total[kind]["total"])) for kind in kinds if kind in total})
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"a coverage report that is not understood: {type(error).__name__} at {error}") from None
    raise Unreadable('neither coverage.py\'s JSON ("totals") nor an Istanbul summary ("total")')


def _lcov(text: str) -> Covered:
    counts: dict[str, list[int]] = {}
    files: dict[str, dict[int, bool]] = {}
    lines: dict[int, bool] = {}
    for line in text.splitlines():
        key, _, value = line.strip().partition(":")
        if key == "SF":
            lines = files.setdefault(value, {})
        elif key in _LCOV and value.isdecimal():
            metric, place = _LCOV[key]
            counts.setdefault(metric, [0, 0])[place] += int(value)
        elif key == "DA":
            number, _, hits = value.partition(",")
            lines[_integer(number)] = hits.split(",")[0] not in ("0", "")
    if "SF:" not in text:
        raise Unreadable("no coverage report that is known (Cobertura, coverage.py JSON, LCOV, Istanbul summary)")
    if "lines" not in counts:
        run = [hit for seen in files.values() for hit in seen.values()]
        counts["lines"] = [sum(run), len(run)]
    return Covered({metric: (covered, total) for metric, (covered, total) in counts.items()}, files)


def _integer(text: str | None) -> int:
    try:
        return int(float(text or 0))
    except ValueError:
        raise Unreadable(f"not a number: {text!r}") from None


def _moment(text: str | None) -> datetime | None:
    """Seconds, or milliseconds as coverage.py writes them."""
    if text is None or not text.isdecimal() or int(text) == 0:
        return None
    seconds = int(text) / 1000 if int(text) > 100_000_000_000 else float(text)
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
