"""The syntax tree to a value. Errors carry the position of the part that went wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fairway.rollouts.expr import builtins
from fairway.rollouts.expr.errors import ExprError
from fairway.rollouts.expr.operators import binary, inverted, negated
from fairway.rollouts.expr.syntax import (
    Binary,
    Builtin,
    Call,
    Chain,
    Conditional,
    Constant,
    Let,
    ListOf,
    MapOf,
    Member,
    Name,
    Node,
    Pointer,
    Predicate,
    Sequence,
    Slice,
    Unary,
)
from fairway.rollouts.expr.values import Groups, NoList, is_nil, is_number, kind, printed

_NO_ITEM = object()


class _Nothing(Exception):
    """An optional access found nil: the chain around it is nil."""


@dataclass(slots=True)
class _Scope:
    item: Any = None
    index: int = 0
    accumulated: Any = None


class Evaluator:
    def __init__(self, env: Mapping[str, Any]) -> None:
        self._env = env
        self._names: list[tuple[str, Any]] = []
        self._scopes: list[_Scope] = []

    def value(self, node: Node) -> Any:
        try:
            return self._value(node)
        except ExprError as error:
            raise (error if error.at >= 0 else ExprError(error.message, node.at)) from None

    def _value(self, node: Node) -> Any:
        match node:
            case Constant(value):
                return value
            case Name(name):
                return self._name(name)
            case Pointer(name):
                return self._pointer(name)
            case Unary(operator, operand):
                return self._unary(operator, self.value(operand))
            case Binary():
                return self._binary(node)
            case Conditional(condition, then, otherwise):
                return self.value(then if self._truth(condition) else otherwise)
            case Member():
                return self._member(node)
            case Chain(inner):
                try:
                    found = self.value(inner)
                except _Nothing:
                    return None
                return None if is_nil(found) else found
            case Slice():
                return self._slice(node)
            case Call(callee, arguments):
                return self._call(callee, [self.value(argument) for argument in arguments])
            case Builtin():
                return self._builtin(node)
            case ListOf(items):
                return [self.value(item) for item in items]
            case MapOf(pairs):
                return {self._key(key): self.value(value) for key, value in reversed(pairs)}  # the first of two keys wins
            case Let(name, bound, body):
                return self._let(name, bound, body)
            case Sequence(nodes):
                return [self.value(inner) for inner in nodes][-1]
            case Predicate():
                raise ExprError("a predicate is only an argument", node.at)

    # --- names and operators --------------------------------------------------------------------------------------

    def _name(self, name: str) -> Any:
        for known, value in reversed(self._names):
            if known == name:
                return value
        if name == "$env":
            return dict(self._env)
        return self._env.get(name)  # the checker has refused unknown names wherever they are names of the environment

    def _let(self, name: str, bound: Node, body: Node) -> Any:
        self._names.append((name, self.value(bound)))
        try:
            return self.value(body)
        finally:
            self._names.pop()

    def _pointer(self, name: str) -> Any:
        scope = self._scopes[-1]
        if name == "":
            if scope.item is _NO_ITEM:
                raise ExprError("cannot fetch an element of a map by its position")
            return scope.item
        if name == "index":
            return scope.index
        if name == "acc":
            return scope.accumulated
        raise ExprError(f"unknown pointer #{name}")

    def _unary(self, operator: str, value: Any) -> Any:
        if operator in ("not", "!"):
            return inverted(value)
        if operator == "-":
            return negated(value)
        if not is_number(value):
            raise ExprError(f"invalid operation: + {kind(value)}")
        return value

    def _binary(self, node: Binary) -> Any:
        match node.operator:
            case "and" | "&&" | "or" | "||":
                return self._connected(node)
            case "??":
                left = self.value(node.left)
                return self.value(node.right) if is_nil(left) else left
        return binary(node.operator, self.value(node.left), self.value(node.right))

    def _connected(self, node: Binary) -> Any:
        """A literal true or false beside `and` and `or` decides, or is dropped, before anything is evaluated."""
        decides = node.operator in ("or", "||")  # what makes the other side irrelevant
        for literal, other in ((_literal(node.left), node.right), (_literal(node.right), node.left)):
            if literal is not None:
                return decides if literal is decides else self.value(other)
        return decides if self._truth(node.left) is decides else self.value(node.right)

    def _truth(self, node: Node) -> bool:
        value = self.value(node)
        if not isinstance(value, bool):
            raise ExprError(f"invalid operation: expected bool, found {kind(value)}", node.at)
        return value

    # --- members --------------------------------------------------------------------------------------------------

    def _member(self, node: Member) -> Any:
        target = self.value(node.target)
        if target is None and node.optional:
            raise _Nothing
        key = self.value(node.key)
        if isinstance(target, Groups):
            return target.get(_group_key(key, node.at), NoList())
        if isinstance(target, dict):
            if key is None:
                return None
            if not isinstance(key, str):
                raise ExprError(f"cannot fetch {printed(key)} from {kind(target)}", node.at)
            return target.get(key)
        if isinstance(target, (list, str, bytes)) and is_number(key):
            index = int(key)
            if not -len(target) <= index < len(target):
                raise ExprError(f"index out of range: {index} (array length is {len(target)})", node.at)
            return target.encode()[index] if isinstance(target, str) else target[index]
        raise ExprError(f"cannot fetch {printed(key)} from {kind(target)}", node.at)

    def _slice(self, node: Slice) -> Any:
        target = self.value(node.target)
        if not isinstance(target, (list, str, bytes)):
            raise ExprError(f"cannot slice {kind(target)}", node.at)
        size = len(target)
        start, end = self._bound(node.start, 0, size), self._bound(node.end, size, size)
        end = min(end, size)
        return target[min(start, end) : end]

    def _bound(self, node: Node | None, default: int, size: int) -> int:
        if node is None:
            return default
        value = self.value(node)
        if not is_number(value):
            raise ExprError(f"cannot slice by {kind(value)}", node.at)
        value = int(value)
        return max(int(value) + size, 0) if value < 0 else int(value)

    def _key(self, node: Node) -> str:
        key = self.value(node)
        if not isinstance(key, str):
            raise ExprError(f"a map key must be a string, found {kind(key)}", node.at)
        return key

    # --- calls ----------------------------------------------------------------------------------------------------

    def _call(self, callee: Node, arguments: list[Any]) -> Any:
        function = self.value(callee)
        if not callable(function):
            raise ExprError(f"{kind(function)} is not callable", callee.at)
        try:
            return function(*arguments)
        except TypeError:
            raise ExprError("invalid number of arguments", callee.at) from None

    def _builtin(self, node: Builtin) -> Any:
        predicate = _WITH_PREDICATE.get(node.name)
        if predicate is not None:
            return predicate(self, node)
        if node.name in ("now", "timezone"):
            raise ExprError(f"{node.name} is not offered: a condition is judged by its measurement alone", node.at)
        return builtins.call(node.name, [self.value(argument) for argument in node.arguments])

    def _items(self, node: Builtin) -> list[Any]:
        value = self.value(node.arguments[0])
        if isinstance(value, list):
            return value
        if isinstance(value, str):
            return list(value.encode())
        if isinstance(value, dict):
            return [_NO_ITEM] * len(value)  # a map is counted through, but none of its entries can be asked for
        raise ExprError(f"builtin {node.name} takes only array (got {kind(value)})", node.at)

    def _each(self, node: Builtin, items: list[Any], *, backwards: bool = False) -> Iterator[tuple[int, Any, Any]]:
        """Index, item, and what the predicate says about it."""
        body = node.arguments[1]
        order = range(len(items) - 1, -1, -1) if backwards else range(len(items))
        for index in order:
            yield index, items[index], self._applied(body, _Scope(items[index], index))

    def _applied(self, body: Node, scope: _Scope) -> Any:
        self._scopes.append(scope)
        try:
            return self.value(body.body if isinstance(body, Predicate) else body)
        finally:
            self._scopes.pop()

    def _holding(self, node: Builtin, *, backwards: bool = False) -> Iterator[tuple[int, Any]]:
        items = self._items(node)
        for index, item, answer in self._each(node, items, backwards=backwards):
            if not isinstance(answer, bool):
                raise ExprError(f"predicate should return boolean (got {kind(answer)})", node.at)
            if answer:
                yield index, item

    def holds_for(self, node: Builtin, enough: Callable[[int, int], bool]) -> bool:
        total = len(self._items(node))
        return enough(sum(1 for _ in self._holding(node)), total)

    def all_hold(self, node: Builtin) -> bool:
        for _, _, answer in self._each(node, self._items(node)):
            if not isinstance(answer, bool):
                raise ExprError(f"predicate should return boolean (got {kind(answer)})", node.at)
            if not answer:
                return False
        return True

    def find(self, node: Builtin, *, backwards: bool, index: bool) -> Any:
        for at, item in self._holding(node, backwards=backwards):
            return at if index else item
        return None

    def kept(self, node: Builtin) -> list[Any]:
        return [item for _, item in self._holding(node)]

    def mapped(self, node: Builtin) -> list[Any]:
        return [answer for _, _, answer in self._each(node, self._items(node))]

    def count(self, node: Builtin) -> int:
        if len(node.arguments) > 1:
            return sum(1 for _ in self._holding(node))
        found = self._items(node)
        if not all(isinstance(item, bool) for item in found):
            raise ExprError("predicate should return boolean", node.at)
        return sum(found)

    def total(self, node: Builtin) -> Any:
        found = self.mapped(node) if len(node.arguments) > 1 else self._items(node)
        total: Any = 0
        for item in found:
            total = binary("+", total, item) if is_number(item) else self._not_a_number(item, node)
        return total

    def _not_a_number(self, item: Any, node: Builtin) -> Any:
        raise ExprError(f"cannot sum {kind(item)}", node.at)

    def grouped(self, node: Builtin) -> Groups:
        found = Groups()
        for _, item, answer in self._each(node, self._items(node)):
            found.setdefault(_group_key(answer, node.at), []).append(item)
        return found

    def sorted(self, node: Builtin) -> list[Any]:
        items = self._items(node)
        order = self.value(node.arguments[2]) if len(node.arguments) > 2 else "asc"
        return builtins.sorted_by(items, [answer for _, _, answer in self._each(node, items)], order)

    def reduced(self, node: Builtin) -> Any:
        items = list(self._items(node))
        start = 0
        if len(node.arguments) > 2:
            accumulated = self.value(node.arguments[2])
        elif items:
            accumulated, start = items[0], 1
        else:
            raise ExprError("reduce of empty array with no initial value", node.at)
        for index in range(start, len(items)):
            accumulated = self._applied(node.arguments[1], _Scope(items[index], index, accumulated))
        return accumulated


def _literal(node: Node) -> bool | None:
    """True or false where the node is that and nothing else, whatever the environment holds."""
    if isinstance(node, Constant):
        return node.value if isinstance(node.value, bool) else None
    if not isinstance(node, Binary) or node.operator not in ("and", "&&", "or", "||"):
        return None
    left, right, decides = _literal(node.left), _literal(node.right), node.operator in ("or", "||")
    if decides in (left, right):
        return decides
    return not decides if left is not None and right is not None else None


def _group_key(key: Any, at: int) -> Any:
    if isinstance(key, (dict, list)):
        raise ExprError(f"runtime error: hash of unhashable type {kind(key)}", at)
    return key


_WITH_PREDICATE: dict[str, Callable[[Evaluator, Builtin], Any]] = {
    "all": Evaluator.all_hold,
    "none": lambda run, node: run.find(node, backwards=False, index=True) is None,
    "any": lambda run, node: run.find(node, backwards=False, index=True) is not None,
    "one": lambda run, node: run.holds_for(node, lambda held, _: held == 1),
    "filter": Evaluator.kept,
    "map": Evaluator.mapped,
    "count": Evaluator.count,
    "sum": Evaluator.total,
    "find": lambda run, node: run.find(node, backwards=False, index=False),
    "findIndex": lambda run, node: run.find(node, backwards=False, index=True),
    "findLast": lambda run, node: run.find(node, backwards=True, index=False),
    "findLastIndex": lambda run, node: run.find(node, backwards=True, index=True),
    "groupBy": Evaluator.grouped,
    "sortBy": Evaluator.sorted,
    "reduce": Evaluator.reduced,
}
