"""Patterns mean what they mean to Go."""

from __future__ import annotations

import pytest

from fairway.kube.re2 import BadPattern, compiled

TABLE = [
    ("^hello", "hello, you", True), ("a$", "a\n", False), ("(?m)a$", "a\nb", True),
    ("a.c", "a\nc", False), ("(?s)a.c", "a\nc", True),
    ("(?s:a.)c.d", "a\nc\nd", False), ("(?s:a.)c.d", "a\ncxd", True), ("((?s)a.)b.", "a\nb\n", False),
    ("a.b", "a\u2028b", True),
    ("a.c", "a\rc", True), ("(?s)a.(?-s).b", "a\n\nb", False),
    ("(?i)OK", "not ok", True), (r"\d", "٣", False), (r"\w", "é", False), (r"\s", "\u00a0", False),
    (r"[\s]", " ", True),
    (r"\S", " \t", False), (r"[[:alpha:]]+$", "abc", True), (r"^[[:^digit:]]+$", "a1", False),
    (r"^[[:upper:]-]+$", "A-B", True),
    (r"\Qa.b*\E$", "a.b*", True), (r"\Qa.b\E", "axb", False), ("[]a]", "]", True), ("[^]a]", "]", False),
    ("^[[]$", "[", True),
    ("^[a&&b]$", "&", True), ("^[~~]$", "~", True), (r"\x{41}", "A", True), (r"\pL", "é", True), (r"\bfoo\b", "a foo b", True),
    (r"(?P<year>\d{4})", "2026", True), ("^x*$", "", True), (r"\z", "", True), ("a{1000}", "a" * 1000, True),
    (r"[+-]", "-", True),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "text", "found"), TABLE)
def test_what_is_found(pattern: str, text: str, found: bool) -> None:
    assert compiled(pattern).found_in(text) is found


@pytest.mark.parametrize(("pattern", "why"), [
    ("[+", "missing closing ]"), ("(a", "missing closing )"),
    ("a)", "unexpected )"), ("*a", "missing argument to repetition operator"),
    ("a**", "invalid nested repetition operator"),
    ("(?=a)", "invalid or unsupported Perl syntax"), (r"(a)\1", "invalid escape"),
    ("a{1001}", "invalid repeat count"), ("[[:nothing:]]", "invalid character class range"), ("(?<!a)b", "Perl syntax"),
])  # fmt: skip
def test_what_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(BadPattern, match="error parsing regexp: ") as refusal:
        compiled(pattern)
    assert why in str(refusal.value)


def test_no_pattern_takes_longer_than_its_text_is_long() -> None:
    """A backtracking engine would take longer than the universe is old."""
    assert not compiled("^(a|a)*(a+)+$").found_in("a" * 100_000 + "b")
