"""Alertmanager's label matchers: `severity="page"`, `{team=~"a|b", env!=dev}`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_ONE = re.compile(r'\s*(?:"(?P<quoted>(?:\\.|[^"\\])*)"|(?P<name>[a-zA-Z_:][\w:.\-/]*))\s*(?P<op>=~|!~|!=|=)\s*'
                  r'(?:"(?P<value>(?:\\.|[^"\\])*)"|(?P<bare>[^,"{}]*?))\s*(?:,|$)')  # fmt: skip


class BadMatcher(ValueError):
    """It cannot be read; the message shows it."""


@dataclass(frozen=True, slots=True)
class Matcher:
    name: str
    op: str
    value: str

    def matches(self, labels: Mapping[str, str]) -> bool:
        text = labels.get(self.name, "")
        if self.op in ("=", "!="):
            return (text == self.value) == (self.op == "=")
        return (re.fullmatch(self.value, text, re.DOTALL) is not None) == (self.op == "=~")

    def as_json(self) -> dict[str, object]:
        return {"name": self.name, "value": self.value, "isRegex": "~" in self.op, "isEqual": self.op[0] == "="}

    def __str__(self) -> str:
        return f'{self.name}{self.op}"{self.value}"'


def all_match(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    return all(matcher.matches(labels) for matcher in matchers)


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """One string may hold several, with or without braces."""
    plain = text.strip()
    if plain.startswith("{") and plain.endswith("}"):
        plain = plain[1:-1]
    found: list[Matcher] = []
    at = 0
    while plain[at:].strip():
        match = _ONE.match(plain, at)
        if match is None or match.end() == at:
            raise BadMatcher(f"bad matcher format: {text}")
        at = match.end()
        name = match["name"] or _unquoted(match["quoted"] or "")
        value = match["bare"] if match["value"] is None else _unquoted(match["value"])
        found.append(matcher(name, match["op"], value))
    return tuple(found)


def matcher(name: str, op: str, value: str) -> Matcher:
    """Raises `BadMatcher` where the pattern cannot be read."""
    if "~" in op:
        try:
            re.compile(value)
        except re.error as error:
            raise BadMatcher(f"{name}{op}{value!r}: {error}") from None
    return Matcher(name, op, value)


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), text)
