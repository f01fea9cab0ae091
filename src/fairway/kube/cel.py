"""The Common Expression Language, as far as the rules of custom kinds use it.

`compile_rule` gives a function of the names in scope; `Unsupported` when a rule says something that is not known here, so
that nobody believes it to be checked. Values are plain JSON. An error inside `&&` and `||` yields to the side that decides.
Source: the CEL specification, and the libraries that Kubernetes adds for strings and lists.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

Scope = Mapping[str, Any]
Expression = Callable[[Scope], Any]


class Unsupported(ValueError):
    """The text is not CEL, or CEL that is not evaluated here."""


class EvaluationError(ValueError):
    """The rule met a value that it cannot judge, such as a field that is not there."""


_TOKEN = re.compile(r"""\s*(?:
    (?P<float>\d+\.\d*(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+) | (?P<int>0x[0-9a-fA-F]+|\d+)u? |
    (?P<string>r?"(?:[^"\\]|\\.)*"|r?'(?:[^'\\]|\\.)*') |
    (?P<name>[A-Za-z_]\w*) | (?P<mark>&&|\|\||[=!<>]=|[-+*/%<>!?:.,()\[\]{}])
)""", re.VERBOSE)
_RELATIONS = ("==", "!=", "<", "<=", ">", ">=", "in")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "'": "'", "\\": "\\"}


@lru_cache(maxsize=1024)
def compile_rule(text: str) -> Expression:
    """A function from scope to value. It raises `EvaluationError`."""
    parser = _Parser(_tokens(text))
    expression = parser.ternary()
    if parser.kind != "end":
        raise Unsupported(f"unexpected {parser.text!r} in rule {text!r}")
    return expression


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, place = [], 0
    text = text.rstrip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None or match.lastgroup is None:
            raise Unsupported(f"unexpected {text[place:place + 10]!r} in rule {text!r}")
        tokens.append((match.lastgroup, match[match.lastgroup]))
        place = match.end()
    return [*tokens, ("end", "")]


@dataclass(slots=True)
class _Parser:
    tokens: list[tuple[str, str]]
    place: int = 0

    @property
    def kind(self) -> str:
        return self.tokens[self.place][0]

    @property
    def text(self) -> str:
        return self.tokens[self.place][1]

    def take(self) -> str:
        self.place += 1
        return self.tokens[self.place - 1][1]

    def skip(self, mark: str) -> bool:
        if self.kind in ("mark", "name") and self.text == mark:
            self.place += 1
            return True
        return False

    def need(self, mark: str) -> None:
        if not self.skip(mark):
            raise Unsupported(f"expected {mark!r}, found {self.text!r}")

    # --- grammar, loosest first ---------------------------------------------------------------------------------------

    def ternary(self) -> Expression:
        test = self.either()
        if not self.skip("?"):
            return test
        yes = self.ternary()
        self.need(":")
        no = self.ternary()
        return lambda scope: yes(scope) if _truth(test(scope)) else no(scope)

    def either(self) -> Expression:
        left = self.both()
        while self.skip("||"):
            left = _logic(left, self.both(), decides=True)
        return left

    def both(self) -> Expression:
        left = self.relation()
        while self.skip("&&"):
            left = _logic(left, self.relation(), decides=False)
        return left

    def relation(self) -> Expression:
        left = self.binary(0)
        while self.text in _RELATIONS and self.kind in ("mark", "name"):
            left = _related(self.take(), left, self.binary(0))
        return left

    def binary(self, level: int) -> Expression:
        marks = (("+", "-"), ("*", "/", "%"))
        if level == len(marks):
            return self.unary()
        left = self.binary(level + 1)
        while self.kind == "mark" and self.text in marks[level]:
            left = _computed(self.take(), left, self.binary(level + 1))
        return left

    def unary(self) -> Expression:
        if self.skip("!"):
            inner = self.unary()
            return lambda scope: not _truth(inner(scope))
        if self.skip("-"):
            inner = self.unary()
            return lambda scope: -_number(inner(scope))
        return self.member()

    def member(self) -> Expression:
        value = self.primary()
        while True:
            if self.skip("."):
                value = self.selected(value)
            elif self.skip("["):
                index = self.ternary()
                self.need("]")
                value = _indexed(value, index)
            else:
                return value

    def selected(self, value: Expression) -> Expression:
        name = self.take()
        if not self.skip("("):
            return lambda scope: _field(value(scope), name)
        if name in _MACROS:
            variable = self.take()
            self.need(",")
            body = self.ternary()
            self.need(")")
            return _MACROS[name](value, variable, body)
        method = _METHODS.get(name)
        if method is None:
            raise Unsupported(f"function {name!r} is not known")
        arguments = self.arguments(")")
        return lambda scope: _called(method, [value(scope), *(argument(scope) for argument in arguments)])

    def primary(self) -> Expression:
        kind, text = self.kind, self.take()
        match kind:
            case "int":
                return _constant(int(text, 0))
            case "float":
                return _constant(float(text))
            case "string":
                return _constant(_unquoted(text))
            case "name":
                return self.named(text)
        if text == "(":
            inner = self.ternary()
            self.need(")")
            return inner
        if text == "[":
            items = self.arguments("]")
            return lambda scope: [item(scope) for item in items]
        if text == "{":
            return self.entries()
        raise Unsupported(f"unexpected {text!r}")

    def named(self, name: str) -> Expression:
        if name in ("true", "false", "null"):
            return _constant({"true": True, "false": False, "null": None}[name])
        if not self.skip("("):
            return lambda scope: _variable(scope, name)
        if name == "has":
            return self.presence()
        function = _FUNCTIONS.get(name)
        if function is None:
            raise Unsupported(f"function {name!r} is not known")
        arguments = self.arguments(")")
        return lambda scope: _called(function, [argument(scope) for argument in arguments])

    def presence(self) -> Expression:
        """has(a.b): whether the last field is there."""
        value = self.primary()
        steps: list[str] = []
        while self.skip("."):
            steps.append(self.take())
        self.need(")")
        if not steps:
            raise Unsupported("has() needs a field")

        def present(scope: Scope) -> bool:
            found = value(scope)
            for step in steps[:-1]:
                found = _field(found, step)
            return isinstance(found, Mapping) and steps[-1] in found

        return present

    def arguments(self, end: str) -> list[Expression]:
        found: list[Expression] = []
        while not self.skip(end):
            found.append(self.ternary())
            if not self.skip(","):
                self.need(end)
                break
        return found

    def entries(self) -> Expression:
        pairs: list[tuple[Expression, Expression]] = []
        while not self.skip("}"):
            key = self.ternary()
            self.need(":")
            pairs.append((key, self.ternary()))
            if not self.skip(","):
                self.need("}")
                break
        return lambda scope: {key(scope): value(scope) for key, value in pairs}


# --- values -----------------------------------------------------------------------------------------------------------


def _constant(value: Any) -> Expression:
    return lambda scope: value


def _unquoted(text: str) -> str:
    if text[0] == "r":
        return text[2:-1]
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), text[1:-1])


def _variable(scope: Scope, name: str) -> Any:
    if name not in scope:
        raise EvaluationError(f"undeclared reference to {name!r}")
    return scope[name]


def _field(value: Any, name: str) -> Any:
    if isinstance(value, Mapping) and name in value:
        return value[name]
    raise EvaluationError(f"no such key: {name}")


def _indexed(value: Expression, index: Expression) -> Expression:
    def found(scope: Scope) -> Any:
        try:
            return value(scope)[index(scope)]
        except (KeyError, IndexError, TypeError) as error:
            raise EvaluationError(f"no such element: {error}") from error

    return found


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise EvaluationError("a boolean is needed")
    return value


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise EvaluationError("a number is needed")
    return value


def _logic(left: Expression, right: Expression, *, decides: bool) -> Expression:
    def decided(scope: Scope) -> bool:
        try:
            first = _truth(left(scope))
        except EvaluationError:
            if _truth(right(scope)) is decides:
                return decides
            raise
        return decides if first is decides else _truth(right(scope))

    return decided


def _related(mark: str, left: Expression, right: Expression) -> Expression:
    def judged(scope: Scope) -> bool:
        a, b = left(scope), right(scope)
        try:
            match mark:
                case "==":
                    return bool(a == b)
                case "!=":
                    return bool(a != b)
                case "in":
                    return a in b
                case "<":
                    return bool(a < b)
                case "<=":
                    return bool(a <= b)
                case ">":
                    return bool(a > b)
            return bool(a >= b)
        except TypeError as error:
            raise EvaluationError(f"no such overload: {error}") from error

    return judged


def _computed(mark: str, left: Expression, right: Expression) -> Expression:
    def result(scope: Scope) -> Any:
        a, b = left(scope), right(scope)
        if mark == "+" and ((isinstance(a, str) and isinstance(b, str)) or (isinstance(a, list) and isinstance(b, list))):
            return a + b  # type: ignore[operator]
        a, b = _number(a), _number(b)
        if mark in "/%" and b == 0:
            raise EvaluationError("division by zero")
        whole = isinstance(a, int) and isinstance(b, int)
        match mark:
            case "+":
                return a + b
            case "-":
                return a - b
            case "*":
                return a * b
            case "/":
                return int(a / b) if whole else a / b
        return a - b * int(a / b)  # as Go: the sign of the dividend

    return result


def _called(function: Callable[..., Any], arguments: list[Any]) -> Any:
    try:
        return function(*arguments)
    except (TypeError, ValueError, AttributeError, re.error) as error:
        raise EvaluationError(f"no such overload: {error}") from error


# --- macros and functions -----------------------------------------------------------------------------------------------

_Macro = Callable[[Expression, str, Expression], Expression]


def _each(value: Expression, variable: str, body: Expression, scope: Scope) -> list[tuple[Any, Any]]:
    items = value(scope)
    if not isinstance(items, list | Mapping):
        raise EvaluationError("a list or a map is needed")
    return [(item, body({**scope, variable: item})) for item in items]


_MACROS: dict[str, _Macro] = {
    "all": lambda v, n, b: lambda s: all(_truth(r) for _, r in _each(v, n, b, s)),
    "exists": lambda v, n, b: lambda s: any(_truth(r) for _, r in _each(v, n, b, s)),
    "exists_one": lambda v, n, b: lambda s: sum(_truth(r) for _, r in _each(v, n, b, s)) == 1,
    "filter": lambda v, n, b: lambda s: [item for item, r in _each(v, n, b, s) if _truth(r)],
    "map": lambda v, n, b: lambda s: [r for _, r in _each(v, n, b, s)],
}
_METHODS: dict[str, Callable[..., Any]] = {
    "size": len,
    "startsWith": lambda text, part: text.startswith(part),
    "endsWith": lambda text, part: text.endswith(part),
    "contains": lambda text, part: part in text,
    "matches": lambda text, pattern: re.search(pattern, text) is not None,
    "lowerAscii": lambda text: text.lower(),
    "upperAscii": lambda text: text.upper(),
    "trim": lambda text: text.strip(),
    "split": lambda text, mark: text.split(mark),
    "join": lambda items, mark="": mark.join(items),
    "replace": lambda text, old, new: text.replace(old, new),
    "indexOf": lambda text, part: text.index(part) if part in text else -1,
    "isSorted": lambda items: items == sorted(items),
    "sum": sum,
    "min": min,
    "max": max,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "size": len,
    "int": int,
    "double": float,
    "string": lambda value: str(value).lower() if isinstance(value, bool) else str(value),
    "matches": _METHODS["matches"],
    "type": lambda value: type(value).__name__,
}
