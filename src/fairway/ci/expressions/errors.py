"""What can be wrong with an expression, and at which stage it shows."""

from __future__ import annotations

from typing import Literal

Stage = Literal["lexing", "parsing", "evaluation"]


class ExpressionError(Exception):
    """`message` is for the user; `position` is 1-based within the expression, 0 where it concerns the whole."""

    def __init__(self, stage: Stage, message: str, position: int = 0) -> None:
        super().__init__(message)
        self.stage = stage
        self.message = message
        self.position = position
