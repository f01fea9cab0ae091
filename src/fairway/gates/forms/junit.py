"""JUnit XML as every test runner writes it: the cases are counted, the totals in attributes are not trusted."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

from fairway.gates.forms.report import Unreadable

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Tests:
    """`failing` names the first failing cases."""

    total: int = 0
    failures: int = 0
    skipped: int = 0
    seconds: float = 0.0
    failing: tuple[str, ...] = ()

    def __add__(self, other: Tests) -> Tests:
        return Tests(self.total + other.total, self.failures + other.failures, self.skipped + other.skipped,
                     self.seconds + other.seconds,
                     (*self.failing, *other.failing)[:_SHOWN])  # fmt: skip


def read_junit(text: str) -> Tests:
    if not text.strip():
        raise Unreadable("the file is empty")
    try:
        root = ElementTree.fromstring(text.lstrip("\ufeff \t\r\n"))
    except ElementTree.ParseError as error:
        raise Unreadable(f"not XML: {error}") from None
    if root.tag not in ("testsuites", "testsuite"):
        raise Unreadable(f"not a JUnit report: its root is <{root.tag}>, not <testsuites> or <testsuite>")
    cases = list(root.iter("testcase"))
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    # a suite that broke outside its cases (collection, set-up) says so in an <error> of its own
    broken = [suite for suite in root.iter("testsuite") if suite.find("error") is not None or suite.find("failure") is not None]
    names = [_name(case) for case in failed] + [suite.get("name", "a test suite") for suite in broken]
    seconds = sum(_seconds(case.get("time", "")) for case in cases)
    return Tests(len(cases), len(names), skipped, seconds, tuple(names[:_SHOWN]))


def _seconds(text: str) -> float:
    try:
        return float(text.replace(",", "") or 0)
    except ValueError:
        return 0.0


def _name(case: ElementTree.Element) -> str:
    owner, name = case.get("classname", ""), case.get("name", "")
    return f"{owner}.{name}" if owner else name
