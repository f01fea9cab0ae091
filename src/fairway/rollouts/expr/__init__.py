"""expr-lang, the language of success and failure conditions, as version 1.17 defines it.

`compile_expression(text)` parses; `Program.run(env)` checks the types of what the environment holds, then evaluates. Every
error is an `ExprError` with the line and column of the part that is wrong. No I/O, no clock: `now()` is not offered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairway.rollouts.expr.check import check
from fairway.rollouts.expr.errors import ExprError
from fairway.rollouts.expr.evaluate import Evaluator
from fairway.rollouts.expr.parse import parse
from fairway.rollouts.expr.syntax import Node

__all__ = ["ExprError", "Program", "compile_expression"]


@dataclass(frozen=True, slots=True)
class Program:
    text: str
    tree: Node

    def run(self, env: Mapping[str, Any]) -> Any:
        """Python values in and out: int and float are told apart, lists, dicts, None."""
        self.check(env)
        return self.evaluate(env)

    def check(self, env: Mapping[str, Any]) -> None:
        """Only the types of what the environment holds are looked at, not the values."""
        try:
            check(self.tree, env)
        except ExprError as error:
            raise error.within(self.text) from None
        except RecursionError:
            raise ExprError("the expression is nested too deeply") from None

    def evaluate(self, env: Mapping[str, Any]) -> Any:
        """For an environment of types that have been checked."""
        try:
            return Evaluator(env).value(self.tree)
        except ExprError as error:
            raise error.within(self.text) from None
        except RecursionError:
            raise ExprError("the expression is nested too deeply") from None


def compile_expression(text: str, names: frozenset[str] = frozenset()) -> Program:
    """`names` are those of the environment, where they may hide built-in functions."""
    try:
        return Program(text, parse(text, names))
    except ExprError as error:
        raise error.within(text) from None
    except RecursionError:
        raise ExprError("the expression is nested too deeply") from None
