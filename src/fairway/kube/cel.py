"""The Common Expression Language, as far as rules of custom kinds and admission policies use it.

`compile_rule` gives a function of the names in scope; `Unsupported` when a rule says something that is not known here, so
that nobody believes it to be checked. Values are plain JSON. An error inside `&&` and `||` yields to the side that decides.
Source: the CEL specification, and the libraries that Kubernetes adds for strings and lists.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from fairway.kube.cel_library import FUNCTIONS, METHODS, NONE, Optional

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
BUDGET = "\0budget"
"""In a scope: a list of one number, the steps that may still be taken. Loops count it down."""
COST_LIMIT = 1_000_000  # of one object's rules together; a second or so
_WORDS = {"__underscores__": "__", "__dot__": ".", "__dash__": "-", "__slash__": "/"}
_RESERVED = re.compile(r"^__(true|false|null|in|as|break|const|continue|else|for|function|if|import|let|loop|package|namespace|"
                       r"return|var|void|while)__$")
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
                value = self.perhaps_selected(value) if self.skip("?") else self.selected(value)
            elif self.skip("["):
                perhaps = self.skip("?")
                index = self.ternary()
                self.need("]")
                value = _perhaps(_indexed(_held(value), index), value) if perhaps else _indexed(value, index)
            else:
                return value

    def selected(self, value: Expression) -> Expression:
        name = self.take()
        if not self.skip("("):
            return lambda scope: _field(value(scope), name)
        if name in _MACROS or name in _OPTIONAL_MACROS:
            return self.loop(name, value)
        method = METHODS.get(name)
        if method is None:
            raise Unsupported(f"function {name!r} is not known")
        arguments = self.arguments(")")
        return lambda scope: _called(method, [value(scope), *(argument(scope) for argument in arguments)])

    def perhaps_selected(self, value: Expression) -> Expression:
        """`a.?b`: an optional."""
        name = self.take()
        held = _held(value)
        return _perhaps(lambda scope: _field(held(scope), name), value)

    def loop(self, name: str, value: Expression) -> Expression:
        """`list.all(x, body)`, `map.all(key, value, body)`, `list.map(x, filter, body)`."""
        names = [self.take()]
        self.need(",")
        two = name in ("transformList", "transformMap") or (
            name != "map" and self.kind == "name" and self.tokens[self.place + 1] == ("mark", ","))
        if two:
            names.append(self.take())
            self.need(",")
        bodies = [self.ternary()]
        if self.skip(","):
            bodies.append(self.ternary())
        self.need(")")
        if name in _OPTIONAL_MACROS:
            return _OPTIONAL_MACROS[name](value, names[0], bodies[0])
        if len(bodies) == 2:
            value, bodies = _chosen(value, names, bodies[0]), bodies[1:]
        return _MACROS[name](value, names, bodies[0])

    def bound(self) -> Expression:
        """`cel.bind(name, value, body)`"""
        name = self.take()
        self.need(",")
        value = self.ternary()
        self.need(",")
        body = self.ternary()
        self.need(")")
        return lambda scope: body({**scope, name: value(scope)})

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
        spaced = self.text == "." and f"{name}.{self.tokens[min(self.place + 1, len(self.tokens) - 1)][1]}"
        if spaced in FUNCTIONS or spaced == "cel.bind":
            self.place += 2
            name = str(spaced)
        if not self.skip("("):
            return lambda scope: _variable(scope, name)
        if name == "has":
            return self.presence()
        if name == "cel.bind":
            return self.bound()
        function = FUNCTIONS.get(name)
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
            return isinstance(found, Mapping) and _plain(steps[-1]) in found

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


def _plain(name: str) -> str:
    """A field whose name is no identifier, or a word of the language, is written escaped."""
    if not name.startswith("__") and "__" not in name:
        return name
    if match := _RESERVED.match(name):
        return match[1]
    for escaped, text in _WORDS.items():
        name = name.replace(escaped, text)
    return name


def _field(value: Any, name: str) -> Any:
    if isinstance(value, Optional):
        return _field(value.held, name) if value.present else NONE
    plain = _plain(name)
    if isinstance(value, Mapping) and plain in value:
        return value[plain]
    raise EvaluationError(f"no such key: {plain}")


def _held(value: Expression) -> Expression:
    def held(scope: Scope) -> Any:
        found = value(scope)
        return found.held if isinstance(found, Optional) else found

    return held


def _perhaps(value: Expression, base: Expression) -> Expression:
    """The value as an optional: absent where the key is, or where its base is absent."""

    def found(scope: Scope) -> Optional:
        if base(scope) in (NONE, None):
            return NONE
        try:
            return Optional(True, value(scope))
        except EvaluationError:
            return NONE

    return found


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
        if mark in "+-" and (isinstance(a, timedelta | datetime) or isinstance(b, timedelta)):
            return _called(operator.add if mark == "+" else operator.sub, [a, b])
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
    except ValueError as error:
        raise EvaluationError(str(error)) from error
    except (TypeError, AttributeError, KeyError, IndexError, re.error) as error:
        raise EvaluationError(f"no such overload: {error}") from error


# --- macros and functions -----------------------------------------------------------------------------------------------

_Macro = Callable[[Expression, list[str], Expression], Expression]


def _each(value: Expression, names: list[str], body: Expression, scope: Scope) -> list[tuple[Any, Any]]:
    """(element, what the body says of it). With two names: of a list its place and element, of a map its key and value."""
    items = value(scope)
    if not isinstance(items, list | Mapping):
        raise EvaluationError("a list or a map is needed")
    spend(scope, len(items))
    if len(names) == 1:
        return [(item, body({**scope, names[0]: item})) for item in items]
    pairs = items.items() if isinstance(items, Mapping) else enumerate(items)
    return [(key, body({**scope, names[0]: key, names[1]: item})) for key, item in pairs]


def spend(scope: Scope, steps: int) -> None:
    left = scope.get(BUDGET)
    if left is not None:
        left[0] -= steps
        if left[0] < 0:
            raise EvaluationError("operation cancelled: actual cost limit exceeded")


def _chosen(value: Expression, names: list[str], test: Expression) -> Expression:
    """The elements for which the test holds; of a map, its pairs."""

    def found(scope: Scope) -> Any:
        items = value(scope)
        kept = [key for key, result in _each(value, names, test, scope) if _truth(result)]
        if isinstance(items, Mapping):
            return {key: items[key] for key in kept}
        return kept if len(names) == 1 else [items[place] for place in kept]

    return found


def _mapped(value: Expression, name: str, body: Expression, *, flat: bool) -> Expression:
    def found(scope: Scope) -> Any:
        held = value(scope)
        if not isinstance(held, Optional):
            raise EvaluationError("an optional is needed")
        if not held.present:
            return NONE
        result = body({**scope, name: held.held})
        return result if flat else Optional(True, result)

    return found


_OPTIONAL_MACROS: dict[str, Callable[[Expression, str, Expression], Expression]] = {
    "optMap": lambda v, n, b: _mapped(v, n, b, flat=False),
    "optFlatMap": lambda v, n, b: _mapped(v, n, b, flat=True),
}


_MACROS: dict[str, _Macro] = {
    "all": lambda v, n, b: lambda s: all(_truth(r) for _, r in _each(v, n, b, s)),
    "exists": lambda v, n, b: lambda s: any(_truth(r) for _, r in _each(v, n, b, s)),
    "exists_one": lambda v, n, b: lambda s: sum(_truth(r) for _, r in _each(v, n, b, s)) == 1,
    "filter": lambda v, n, b: lambda s: [item for item, r in _each(v, n, b, s) if _truth(r)],
    "map": lambda v, n, b: lambda s: [r for _, r in _each(v, n, b, s)],
    "transformList": lambda v, n, b: lambda s: [r for _, r in _each(v, n, b, s)],
    "transformMap": lambda v, n, b: lambda s: dict(_each(v, n, b, s)),
    "sortBy": lambda v, n, b: lambda s: [item for item, _ in sorted(_each(v, n, b, s), key=lambda pair: pair[1])],
}
