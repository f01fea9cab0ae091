"""The expression language of GitHub workflows, pure: text, contexts and functions in, a value out."""

from fairway.ci.expressions.errors import ExpressionError
from fairway.ci.expressions.evaluator import Scope, evaluate, evaluate_condition
from fairway.ci.expressions.functions import GLOBAL, Function, from_json, to_json
from fairway.ci.expressions.interpolation import condition_text, has_expression, interpolate, interpolate_text, split
from fairway.ci.expressions.parser import Arity, Node, calls_any, names_in, names_of, parse
from fairway.ci.expressions.values import CaseSensitive, Value, kind_of, to_number, to_text, truthy

__all__ = [
    "GLOBAL",
    "Arity",
    "CaseSensitive",
    "ExpressionError",
    "Function",
    "Node",
    "Scope",
    "Value",
    "calls_any",
    "condition_text",
    "evaluate",
    "evaluate_condition",
    "from_json",
    "has_expression",
    "interpolate",
    "interpolate_text",
    "kind_of",
    "names_in",
    "names_of",
    "parse",
    "split",
    "to_json",
    "to_number",
    "to_text",
    "truthy",
]
