"""Text with `${{ }}` in it.

A value that is one expression and nothing else keeps the kind of its result; within other text it becomes a string.
"""

from __future__ import annotations

from functools import lru_cache

from fairway.ci.expressions.errors import ExpressionError
from fairway.ci.expressions.evaluator import Scope, evaluate
from fairway.ci.expressions.values import Value, to_text

OPEN, CLOSE = "${{", "}}"
INSERT = "insert"


@lru_cache(maxsize=4096)
def split(text: str) -> tuple[tuple[bool, str], ...]:
    """Parts of the text in order, each (is it an expression?, text). Quotes inside an expression hide `}}`."""
    parts: list[tuple[bool, str]] = []
    at = 0
    while (start := text.find(OPEN, at)) >= 0:
        if start > at:
            parts.append((False, text[at:start]))
        end = _close(text, start + len(OPEN))
        if end < 0:
            raise ExpressionError("parsing", "The expression is not closed. An unescaped ${{ sequence was found, but "
                                  "the closing }} sequence was not found.", start + 1)
        parts.append((True, text[start + len(OPEN) : end].strip()))
        at = end + len(CLOSE)
    if at < len(text):
        parts.append((False, text[at:]))
    return tuple(parts)


def _close(text: str, at: int) -> int:
    quoted = False
    while at < len(text):
        if text[at] == "'":
            quoted = not quoted
        elif not quoted and text.startswith(CLOSE, at):
            return at
        at += 1
    return -1


def has_expression(value: Value) -> bool:
    return isinstance(value, str) and OPEN in value


def interpolate(value: Value, scope: Scope) -> Value:
    """The value with its expressions evaluated; lists and objects are walked."""
    if isinstance(value, str):
        if OPEN not in value:
            return value
        parts = split(value)
        if len(parts) == 1 and parts[0][0]:
            return evaluate(parts[0][1], scope)
        return "".join(to_text(evaluate(text, scope)) if is_expression else text for is_expression, text in parts)
    if isinstance(value, list):
        return _sequence(value, scope)
    if isinstance(value, dict):
        return _mapping(value, scope)
    return value


def _sequence(items: list[Value], scope: Scope) -> list[Value]:
    """An item that is an expression and gives a sequence stands for its elements."""
    found: list[Value] = []
    for item in items:
        result = interpolate(item, scope)
        if isinstance(result, list) and not isinstance(item, list):
            found.extend(result)
        else:
            found.append(result)
    return found


def _mapping(pairs: dict[str, Value], scope: Scope) -> dict[str, Value]:
    """The key `${{ insert }}` stands for the entries of its value."""
    found: dict[str, Value] = {}
    for key, item in pairs.items():
        result = interpolate(item, scope)
        if OPEN in key and split(key) == ((True, INSERT),):
            if not isinstance(result, dict):
                raise ExpressionError("evaluation", "${{ insert }} needs a mapping")
            found.update(result)
        else:
            found[interpolate_text(key, scope)] = result
    return found


def interpolate_text(value: Value, scope: Scope) -> str:
    return to_text(interpolate(value, scope))


def condition_text(value: Value) -> str:
    """The expression of an `if`: the whole value is one, with or without `${{ }}`.

    Text around `${{ }}` makes it a string, which is always true: it becomes `format(...)`, as GitHub has it.
    """
    text = to_text(value).strip()
    if OPEN not in text:
        return text
    parts = split(text)
    if len(parts) == 1:
        return parts[0][1]
    template = "".join(
        f"{{{sum(1 for other, _ in parts[:number] if other)}}}" if is_expression
        else part.replace("{", "{{").replace("}", "}}").replace("'", "''")
        for number, (is_expression, part) in enumerate(parts)
    )
    arguments = ", ".join(part for is_expression, part in parts if is_expression)
    return f"format('{template}', {arguments})"
