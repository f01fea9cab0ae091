"""A measured value judged by a metric's success and failure conditions.

| success condition | failure condition | outcome                                                        |
|-------------------|-------------------|----------------------------------------------------------------|
| none              | none              | Successful                                                     |
| true / false      | none              | Successful / Failed                                            |
| none              | true / false      | Failed / Successful                                            |
| any               | true              | Failed                                                         |
| true / false      | false             | Successful / Inconclusive                                      |

Anything that cannot be evaluated is an Error. Source: argo-rollouts `utils/evaluate/evaluate.go`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fairway.rollouts.analysis_spec import Metric
from fairway.rollouts.expr import ExprError, Program, compile_expression
from fairway.rollouts.expr.check import BOOL, FLOAT, INT, UNKNOWN, Function, Type, type_of


@dataclass(frozen=True, slots=True)
class Judged:
    phase: str
    message: str = ""


def judge(metric: Metric, value: Any) -> Judged:
    answers: list[bool | None] = []
    for kind, condition in (("successCondition", metric.success_condition), ("failureCondition", metric.failure_condition)):
        try:
            answers.append(condition_holds(condition, value) if condition else None)
        except ExprError as error:
            nothing = " (metric result is nil or empty)" if value is None or value == [] else ""
            return Judged("Error", f"could not evaluate {kind} `{condition}`{nothing}: {error}")
    success, failure = answers
    match success, failure:
        case None, None:
            return Judged("Successful")
        case bool(), None:
            return Judged("Successful" if success else "Failed")
        case None, bool():
            return Judged("Failed" if failure else "Successful")
    if failure:
        return Judged("Failed")
    return Judged("Successful" if success else "Inconclusive")


def condition_holds(condition: str, value: Any) -> bool:
    """`ExprError` where the condition does not fit the value, or is not a boolean."""
    env = environment(value)
    program, kind = _compiled(condition), (condition, type_of(value))
    if kind not in _fitting:
        program.check(env)
        if len(_fitting) >= _MOST_FITTING:
            _fitting.clear()
        _fitting.add(kind)
    answer = program.evaluate(env)
    if not isinstance(answer, bool):
        raise ExprError(f"expected bool, but got {go_type(answer)}")
    return answer


_fitting: set[tuple[str, Type]] = set()
"""Conditions, and types of results that they have been found to fit."""
_MOST_FITTING = 512


@lru_cache(maxsize=512)
def _compiled(condition: str) -> Program:
    return compile_expression(condition)


def environment(value: Any) -> dict[str, Any]:
    """What a condition may use besides expr's own functions. `isNil` and `default` look at the result, whatever is given."""
    nothing = value is None
    return {
        "result": value,
        "asInt": Function(as_int, (UNKNOWN,), INT),
        "asFloat": Function(as_float, (UNKNOWN,), FLOAT),
        "isNaN": Function(lambda number: math.isnan(number), (FLOAT,), BOOL),
        "isInf": Function(lambda number: math.isinf(number), (FLOAT,), BOOL),
        "isNil": Function(lambda _: nothing, (UNKNOWN,), BOOL),
        "default": Function(lambda _, instead: instead if nothing else value, (UNKNOWN, UNKNOWN)),
    }


def as_int(value: Any) -> int:
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            raise ExprError(f'strconv.ParseInt: parsing "{value}": invalid syntax') from None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return int(value) if math.isfinite(value) else -(2**63)
    raise ExprError(f"asInt() not supported on {go_type(value)} {value}")


def as_float(value: Any) -> float:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise ExprError(f'strconv.ParseFloat: parsing "{value}": invalid syntax') from None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise ExprError(f"asFloat() not supported on {go_type(value)} {value}")


def go_type(value: Any) -> str:
    names = {bool: "bool", int: "int", float: "float64", str: "string", list: "[]interface {}", dict: "map[string]interface {}"}
    return "nil" if value is None else names.get(type(value), type(value).__name__)
