"""What is wrong with an expression, and where."""

from __future__ import annotations


class ExprError(ValueError):
    """`at` is an offset into the text, -1 where there is none; `within` adds line and column to what is printed."""

    def __init__(self, message: str, at: int = -1, text: str | None = None) -> None:
        self.message, self.at, self.text = message, at, text
        super().__init__(message if text is None or at < 0 else f"{message} ({line_and_column(text, at)})")

    def within(self, text: str) -> ExprError:
        return self if self.text is not None else ExprError(self.message, self.at, text)


def line_and_column(text: str, at: int) -> str:
    """As expr prints it: line from 1, column from 1."""
    before = text[:at]
    return f"{before.count(chr(10)) + 1}:{at - (before.rfind(chr(10)) + 1) + 1}"
