"""Types before values: what cannot fit is refused even where evaluation would never get there.

The types of the environment are those of its values, so `result >= 0.95` is refused for a vector and `result[0]` for a scalar,
and a condition that holds vacuously (`all(result, # > "x")` over nothing) is refused too. What is unknown (an element of a JSON
document) fits everywhere; nil fits only where nil makes sense. Source: expr-lang `checker/checker.go`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fairway.rollouts.expr import syntax as s
from fairway.rollouts.expr.errors import ExprError
from fairway.rollouts.expr.parse import FUNCTIONS, PREDICATES
from fairway.rollouts.expr.values import Floats


@dataclass(frozen=True, slots=True)
class Type:
    """`element` is that of an array; None counts as unknown."""

    name: str
    element: Type | None = None

    def __str__(self) -> str:
        if self.name == "array":
            return "[]interface {}" if self.element in (None, UNKNOWN) else f"[]{self.element}"
        return {"map": "map[string]interface {}", "float": "float64"}.get(self.name, self.name)


UNKNOWN, NIL, BOOL, INT = Type("unknown"), Type("nil"), Type("bool"), Type("int")
FLOAT, STRING, MAP, FUNC = Type("float"), Type("string"), Type("map"), Type("func")
TIME, DURATION, BYTES = Type("time.Time"), Type("time.Duration"), Type("array", INT)


def array(element: Type) -> Type:
    return Type("array", element)


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the environment with the types of its arguments and of its answer."""

    call: Callable[..., Any]
    takes: tuple[Type, ...]
    returns: Type = UNKNOWN

    def __call__(self, *arguments: Any) -> Any:
        return self.call(*arguments)


def type_of(value: Any) -> Type:
    """The type of a value of the environment. What a list holds is known only of `Floats`."""
    if isinstance(value, list):
        return array(FLOAT) if isinstance(value, Floats) else array(UNKNOWN)
    if isinstance(value, Function) or callable(value):
        return FUNC
    plain: tuple[tuple[type, Type], ...] = ((bool, BOOL), (int, INT), (float, FLOAT), (str, STRING), (dict, MAP),
                                            (bytes, BYTES), (datetime, TIME), (timedelta, DURATION))
    return next((found for kind, found in plain if isinstance(value, kind)), NIL if value is None else UNKNOWN)


def check(tree: s.Node, env: Mapping[str, Any]) -> Type:
    """The type of the whole expression; `ExprError` with the position of the first part that does not fit."""
    return _Checker(env).type(tree)


def _number(kind: Type) -> bool:
    return kind in (INT, FLOAT)


def _fits(kind: Type, *wanted: Type) -> bool:
    return kind == UNKNOWN or any(kind.name == other.name for other in wanted)


def _comparable(left: Type, right: Type) -> bool:
    loose = (UNKNOWN, NIL)
    return left in loose or right in loose or left.name == right.name or (_number(left) and _number(right))


class _Checker:
    def __init__(self, env: Mapping[str, Any]) -> None:
        self._env = env
        self._names: list[tuple[str, Type]] = []
        self._items: list[tuple[Type, Type]] = []

    def type(self, node: s.Node) -> Type:
        match node:
            case s.Constant(value):
                return type_of(value)
            case s.Name(name):
                return self._name(name, node.at)
            case s.Pointer(name):
                item, accumulated = self._items[-1]
                return {"": item, "index": INT, "acc": accumulated}.get(name, UNKNOWN)
            case s.Unary(operator, operand):
                return self._unary(operator, self.type(operand), node.at)
            case s.Binary(operator, left, right):
                return self._binary(operator, self.type(left), self.type(right), node.at)
            case s.Conditional(condition, then, otherwise):
                return self._conditional(self.type(condition), then, otherwise, condition.at)
            case s.Member(s.Name("$env"), key, optional):
                return self._environment(key, optional)
            case s.Member(target, key, optional):
                return self._member(self.type(target), self.type(key), key, optional=optional)
            case s.Chain(inner):
                return self._chained(inner)
            case s.Slice(target, start, end):
                over = self.type(target)
                if over == UNKNOWN:
                    return UNKNOWN  # the bounds are looked at when it comes to that
                return self._slice(over, [self.type(b) for b in (start, end) if b is not None], node.at)
            case s.Call(callee, arguments):
                return self._call(callee, arguments, node.at)
            case s.Builtin(name, arguments):
                judged = self._predicate if name in PREDICATES else self._function
                return judged(name, arguments, node.at)
            case s.ListOf(items):
                return array(_common([self.type(item) for item in items]))
            case s.MapOf(pairs):
                for part in (part for pair in pairs for part in pair):
                    self.type(part)
                return MAP
            case s.Let(name, bound, body):
                return self._let(name, bound, body, node.at)
            case s.Sequence(nodes):
                return [self.type(inner) for inner in nodes][-1]
            case s.Predicate(body):
                return self.type(body)

    # --- names ----------------------------------------------------------------------------------------------------

    def _name(self, name: str, at: int) -> Type:
        for known, kind in reversed(self._names):
            if known == name:
                return kind
        if name == "$env":
            return UNKNOWN
        if name not in self._env and (name in FUNCTIONS or name in PREDICATES):
            return UNKNOWN  # a built-in function that is not called is nil
        if name not in self._env:
            raise ExprError(f"unknown name {name}", at)
        return type_of(self._env[name])

    def _let(self, name: str, bound: s.Node, body: s.Node, at: int) -> Type:
        if name in self._env or any(known == name for known, _ in self._names):
            raise ExprError(f"cannot redeclare {name}", at)
        if name in FUNCTIONS or name in PREDICATES:
            raise ExprError(f"cannot redeclare builtin {name}", at)
        self._names.append((name, self.type(bound)))
        try:
            return self.type(body)
        finally:
            self._names.pop()

    def _chained(self, inner: s.Node) -> Type:
        """May be nil instead, so nothing certain is said about scalars."""
        found = self.type(inner)
        return found if found.name in ("array", "map") else UNKNOWN

    # --- operators ------------------------------------------------------------------------------------------------

    def _unary(self, operator: str, kind: Type, at: int) -> Type:
        if operator in ("not", "!"):
            if _fits(kind, BOOL):
                return BOOL
        elif _fits(kind, INT, FLOAT):
            return kind
        raise ExprError(f"invalid operation: {operator} (mismatched type {kind})", at)

    def _binary(self, operator: str, left: Type, right: Type, at: int) -> Type:
        found = self._result(operator, left, right, at)
        if found is None:
            raise ExprError(f"invalid operation: {operator} (mismatched types {left} and {right})", at)
        return found

    def _result(self, operator: str, left: Type, right: Type, at: int) -> Type | None:
        """The type of `left operator right`, None where they do not fit."""

        def both(*wanted: Type) -> bool:
            return _fits(left, *wanted) and _fits(right, *wanted)

        match operator:
            case "==" | "!=":
                return BOOL if _comparable(left, right) else None
            case "and" | "&&" | "or" | "||":
                return BOOL if both(BOOL) else None
            case "<" | "<=" | ">" | ">=":
                return BOOL if both(INT, FLOAT) or both(STRING) or both(TIME) or both(DURATION) else None
            case "contains" | "startsWith" | "endsWith" | "matches":
                return BOOL if both(STRING) else None
            case "in":
                return self._in(left, right, at)
            case "..":
                return array(INT) if both(INT) else None
            case "??":
                return right if left == NIL else left if right == NIL or left == right else UNKNOWN
            case "/" | "**" | "^":
                return FLOAT if both(INT, FLOAT) else None
            case "%":
                return INT if both(INT) else None
        return self._sum(operator, left, right)

    def _sum(self, operator: str, left: Type, right: Type) -> Type | None:
        if UNKNOWN in (left, right):
            other = right if left == UNKNOWN else left
            return UNKNOWN if _fits(other, INT, FLOAT, STRING, TIME, DURATION) else None
        if _number(left) and _number(right):
            return FLOAT if FLOAT in (left, right) else INT
        if operator == "+" and left == right == STRING:
            return STRING
        if operator == "*":
            return DURATION if DURATION in (left, right) and (_number(left) or _number(right)) else None
        if left == right == DURATION:
            return DURATION
        if operator == "-" and left == right == TIME:
            return DURATION
        if (left == TIME and right == DURATION) or (operator == "+" and left == DURATION and right == TIME):
            return TIME
        return None

    def _in(self, left: Type, right: Type, at: int) -> Type | None:
        if right == MAP:
            if not _fits(left, STRING, NIL):
                raise ExprError(f"cannot use {left} as type string in map key", at)
            return BOOL
        if right.name == "array":
            if not _comparable(left, right.element or UNKNOWN):
                raise ExprError(f"cannot use {left} as type {right.element} in array", at)
            return BOOL
        return BOOL if UNKNOWN in (left, right) else None

    def _conditional(self, condition: Type, then: s.Node, otherwise: s.Node, at: int) -> Type:
        left, right = self.type(then), self.type(otherwise)
        if not _fits(condition, BOOL):
            raise ExprError(f"non-bool expression (type {condition}) used as condition", at)
        if NIL in (left, right):
            return right if left == NIL else left
        return left if left == right else UNKNOWN

    # --- members, calls -------------------------------------------------------------------------------------------

    def _member(self, target: Type, key: Type, node: s.Node, *, optional: bool) -> Type:
        if target == UNKNOWN or (target == NIL and optional):
            return UNKNOWN
        if target == MAP:
            if not _fits(key, STRING):
                raise ExprError(f"cannot use {key} to get an element from {target}", node.at)
            return UNKNOWN
        if target.name == "array":
            if not _fits(key, INT):
                raise ExprError(f"array elements can only be selected using an integer (got {key})", node.at)
            return target.element or UNKNOWN
        shown = f".{node.value}" if isinstance(node, s.Constant) and isinstance(node.value, str) else f"[{key}]"
        raise ExprError(f"type {target}{shown} is undefined", node.at)

    def _environment(self, key: s.Node, optional: bool) -> Type:
        """`$env.name` is the name; any other key is looked up at run time."""
        if not isinstance(key, s.Constant) or not isinstance(key.value, str):
            return UNKNOWN
        if key.value in self._env:
            return type_of(self._env[key.value])
        if not optional:
            raise ExprError(f"unknown name {key.value}", key.at)
        return UNKNOWN

    def _slice(self, target: Type, bounds: Iterable[Type], at: int) -> Type:
        if not _fits(target, STRING, array(UNKNOWN)):
            raise ExprError(f"cannot slice {target}", at)
        for bound in bounds:
            if not _fits(bound, INT, FLOAT):
                raise ExprError(f"non-integer slice index {bound}", at)
        return target

    def _call(self, callee: s.Node, nodes: Sequence[s.Node], at: int) -> Type:
        """What is not known to be a function is called at run time, if it comes to that: its arguments are not looked at."""
        known = self._env.get(callee.name) if isinstance(callee, s.Name) else None
        kind = self.type(callee)
        if kind == UNKNOWN:
            return UNKNOWN
        arguments = [self.type(node) for node in nodes]
        if not isinstance(known, Function):
            if not _fits(kind, FUNC):
                name = callee.name if isinstance(callee, s.Name) else str(kind)
                raise ExprError(f"{name} is not callable", at)
            return UNKNOWN
        if len(arguments) != len(known.takes):
            few = "not enough" if len(arguments) < len(known.takes) else "too many"
            raise ExprError(f"{few} arguments to call {getattr(callee, 'name', '')}", at)
        for given, wanted in zip(arguments, known.takes, strict=True):
            number = wanted == FLOAT and given == INT
            if wanted != UNKNOWN and not _fits(given, wanted) and not number:
                raise ExprError(f"cannot use {given} as argument (type {wanted}) to call {getattr(callee, 'name', '')}", at)
        return known.returns

    def _predicate(self, name: str, arguments: Sequence[s.Node], at: int) -> Type:
        over = self.type(arguments[0])
        if not _fits(over, array(UNKNOWN)):
            raise ExprError(f"builtin {name} takes only array (got {over})", at)
        element = over.element or UNKNOWN if over.name == "array" else UNKNOWN
        answer = UNKNOWN
        if len(arguments) > 1:
            start = self.type(arguments[2]) if name == "reduce" and len(arguments) > 2 else UNKNOWN
            self._items.append((element, start))
            answer = self.type(arguments[1])
            self._items.pop()
        if name in _BOOLEAN and len(arguments) > 1 and not _fits(answer, BOOL):
            raise ExprError(f"predicate should return boolean (got {answer})", arguments[1].at)
        if name == "sum" and not _fits(answer if len(arguments) > 1 else element, INT, FLOAT):
            raise ExprError(f"builtin sum takes only numbers (got {answer})", at)
        return _PREDICATE_RETURNS[name](element, answer)

    def _function(self, name: str, arguments: Sequence[s.Node], at: int) -> Type:
        given = [self.type(argument) for argument in arguments]
        if name == "get" and arguments and arguments[0] == s.Constant(None, at=arguments[0].at):
            raise ExprError("type unknown does not support indexing", at)
        if name == "get" and given and given[0] in (INT, FLOAT, BOOL):
            raise ExprError(f"type {given[0]} does not support indexing", at)
        wanted = _TAKES.get(name)
        if wanted and given and not _fits(given[0], *wanted):
            raise ExprError(f"invalid argument for {name} (type {given[0]})", at)
        if name in ("max", "min", "mean", "median"):
            for kind in given:
                if not _fits(kind, INT, FLOAT, array(UNKNOWN)) or (kind.name == "array" and not _numeric(kind)):
                    raise ExprError(f"invalid argument for {name} (type {kind})", at)
        if name in ("first", "last", "get") and given and given[0].name == "array":
            return UNKNOWN
        return _RETURNS.get(name, UNKNOWN)


def _numeric(kind: Type) -> bool:
    inner = kind.element or UNKNOWN
    return _numeric(inner) if inner.name == "array" else _fits(inner, INT, FLOAT)


def _common(kinds: Sequence[Type]) -> Type:
    return kinds[0] if kinds and all(kind == kinds[0] for kind in kinds) else UNKNOWN


_BOOLEAN = frozenset({"all", "none", "any", "one", "filter", "count", "find", "findIndex", "findLast", "findLastIndex"})
_PREDICATE_RETURNS: dict[str, Callable[[Type, Type], Type]] = {
    **dict.fromkeys(("all", "none", "any", "one"), lambda element, answer: BOOL),
    "count": lambda element, answer: INT,
    **dict.fromkeys(("findIndex", "findLastIndex"), lambda element, answer: UNKNOWN),
    **dict.fromkeys(("filter", "sortBy"), lambda element, answer: array(element)),
    "map": lambda element, answer: array(answer), "groupBy": lambda element, answer: UNKNOWN,
    "sum": lambda element, answer: UNKNOWN, "find": lambda element, answer: UNKNOWN,
    "findLast": lambda element, answer: UNKNOWN, "reduce": lambda element, answer: UNKNOWN,
}  # fmt: skip
_TEXT = ("trim", "trimPrefix", "trimSuffix", "upper", "lower", "split", "splitAfter", "replace", "repeat", "indexOf",
         "lastIndexOf", "hasPrefix", "hasSuffix", "fromJSON", "toBase64", "fromBase64", "duration")  # fmt: skip
_LISTS = ("take", "reverse", "uniq", "concat", "flatten", "sort", "join", "fromPairs")
_TAKES: dict[str, tuple[Type, ...]] = {
    **dict.fromkeys(_TEXT, (STRING,)), **dict.fromkeys(_LISTS, (array(UNKNOWN),)),
    **dict.fromkeys(("abs", "ceil", "floor", "round"), (INT, FLOAT)), **dict.fromkeys(("int", "float"), (INT, FLOAT, STRING)),
    **dict.fromkeys(("keys", "values", "toPairs"), (MAP,)), "len": (STRING, array(UNKNOWN), MAP),
    **dict.fromkeys(("bitand", "bitor", "bitxor", "bitnand", "bitnot", "bitshl", "bitshr", "bitushr"), (INT,)),
}  # fmt: skip
_RETURNS: dict[str, Type] = {
    **dict.fromkeys(("len", "int", "indexOf", "lastIndexOf", "bitand", "bitor", "bitxor", "bitnand", "bitnot", "bitshl",
                     "bitshr", "bitushr"), INT),
    **dict.fromkeys(("ceil", "floor", "round", "float"), FLOAT),
    **dict.fromkeys(("trim", "trimPrefix", "trimSuffix", "upper", "lower", "replace", "repeat", "join", "string", "type",
                     "toJSON", "toBase64", "fromBase64"), STRING),
    **dict.fromkeys(("hasPrefix", "hasSuffix"), BOOL), **dict.fromkeys(("split", "splitAfter"), array(STRING)),
    "keys": array(UNKNOWN), "duration": DURATION, "date": TIME, "fromPairs": MAP,
    **dict.fromkeys(("take", "reverse", "uniq", "concat", "flatten", "sort", "values", "toPairs"), array(UNKNOWN)),
}  # fmt: skip
