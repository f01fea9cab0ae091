"""A tree and its contexts to a value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from fairway.ci.expressions.errors import ExpressionError
from fairway.ci.expressions.functions import GLOBAL, Function
from fairway.ci.expressions.parser import (
    Arity,
    Call,
    Chain,
    Compare,
    Index,
    Literal,
    Name,
    Node,
    Not,
    Star,
    calls_any,
    names_of,
    parse,
)
from fairway.ci.expressions.values import (
    Filtered,
    Value,
    equal,
    has_property,
    is_primitive,
    less,
    property_of,
    size_of,
    to_number,
    to_text,
    truthy,
)

MAX_BYTES = 1024 * 1024
"""Of a call's result and its text arguments together: the limit of GitHub's own runner."""


@dataclass(frozen=True)
class Scope:
    """What an expression may use: contexts by name, and functions by lower case name besides the global ones."""

    contexts: Mapping[str, Value]
    functions: Mapping[str, Function] = field(default_factory=dict)

    def names(self) -> frozenset[str]:
        return names_of(*self.contexts)

    def arities(self) -> tuple[tuple[str, Arity], ...]:
        return tuple(sorted(((name, f.arity) for name, f in {**GLOBAL, **self.functions}.items()),
                            key=lambda pair: pair[0]))


def evaluate(text: str, scope: Scope) -> Value:
    """The value of an expression written without `${{ }}`. Raises `ExpressionError`."""
    return _Evaluator(scope).value(parse(text, scope.names(), scope.arities()))


def evaluate_condition(text: str, scope: Scope, status_functions: frozenset[str]) -> bool:
    """An `if`: without a status function it means `success() && (...)`; an empty one is `success()`."""
    tree = parse(text, scope.names(), scope.arities())
    if not text.strip():
        tree = Call("success", ())
    elif not calls_any(tree, status_functions):
        tree = Chain("&&", (Call("success", ()), tree))
    return truthy(_Evaluator(scope).value(tree))


class _Evaluator:
    def __init__(self, scope: Scope) -> None:
        self._contexts = dict(scope.contexts)
        self._functions = {**GLOBAL, **scope.functions}

    def value(self, node: Node) -> Value:
        match node:
            case Literal(value):
                return value
            case Name(name):
                return property_of(self._contexts, name)
            case Not(operand):
                return not truthy(self.value(operand))
            case Compare(operator, left, right):
                return _compare(operator, self.value(left), self.value(right))
            case Chain(operator, operands):
                return self._chain(operator, operands)
            case Index(target, index):
                return _index(self.value(target), self.value(index))
            case Star(target):
                return _star(self.value(target))
            case Call(function, arguments):
                return self._call(function, arguments)

    def _chain(self, operator: str, operands: tuple[Node, ...]) -> Value:
        value: Value = None
        for operand in operands:
            value = self.value(operand)
            if truthy(value) is (operator == "||"):
                return value
        return value

    def _call(self, name: str, arguments: tuple[Node, ...]) -> Value:
        if name == "case":
            return self._case(arguments)
        values = [self.value(argument) for argument in arguments]
        result = self._functions[name].call(values)
        if size_of(result) + sum(size_of(value) for value in values if isinstance(value, str)) > MAX_BYTES:
            raise ExpressionError("evaluation", "The maximum allowed memory size was exceeded")
        return result

    def _case(self, arguments: tuple[Node, ...]) -> Value:
        """Only the branch that is taken is evaluated."""
        for predicate, result in zip(arguments[0:-1:2], arguments[1:-1:2], strict=True):
            value = self.value(predicate)
            if not isinstance(value, bool):
                raise ExpressionError("evaluation", "case predicate must evaluate to a boolean value")
            if value:
                return self.value(result)
        return self.value(arguments[-1])


def _compare(operator: str, left: Value, right: Value) -> bool:
    match operator:
        case "==":
            return equal(left, right)
        case "!=":
            return not equal(left, right)
        case "<":
            return less(left, right)
        case "<=":
            return less(left, right) or equal(left, right)
        case ">":
            return less(right, left)
        case _:
            return less(right, left) or equal(left, right)


def _array_index(index: Value) -> int:
    """-1 where the index selects nothing."""
    number = to_number(index)
    return -1 if math.isnan(number) or math.isinf(number) or number < 0 else math.floor(number)


def _index(target: Value, index: Value) -> Value:
    if isinstance(target, Filtered):
        found = Filtered()
        for item in target:
            if isinstance(item, dict):
                if is_primitive(index) and has_property(item, to_text(index)):
                    found.append(property_of(item, to_text(index)))
            elif isinstance(item, list) and 0 <= (at := _array_index(index)) < len(item):
                found.append(item[at])
        return found
    if isinstance(target, dict):
        return property_of(target, to_text(index)) if is_primitive(index) else None
    if isinstance(target, list):
        at = _array_index(index)
        return target[at] if 0 <= at < len(target) else None
    return None


def _star(target: Value) -> Value:
    found = Filtered()
    for item in target if isinstance(target, Filtered) else (target,):
        if isinstance(item, dict):
            found.extend(item.values())
        elif isinstance(item, list):
            found.extend(item)
    return found
