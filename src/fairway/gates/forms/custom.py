"""A number out of any JSON, by a jq expression."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import jq

from fairway.gates.forms.report import Measured, Unreadable, loaded


class BadExpression(ValueError):
    """jq does not understand the expression."""


@cache
def compiled(expression: str) -> Any:
    """Raises `BadExpression`."""
    try:
        return jq.compile(expression)
    except ValueError as error:
        raise BadExpression(str(error).strip().splitlines()[0]) from None


def reader(expression: str) -> Callable[[str], Measured]:
    """Reads what the expression gives, which has to be one number."""

    def read(text: str) -> Measured:
        body = loaded(text)
        try:
            found = compiled(expression).input_value(body).all()
        except ValueError as error:
            raise Unreadable(f"jq: {str(error).strip()}") from None
        if len(found) != 1 or isinstance(found[0], bool) or not isinstance(found[0], int | float):
            shown = ", ".join(map(str, found))[:80] or "nothing"
            raise Unreadable(f"`{expression}` gives {shown}; one number is needed")
        return Measured({"value": float(found[0])})

    return read
