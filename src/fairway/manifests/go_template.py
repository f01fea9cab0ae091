"""Go templates: the language; whoever uses it brings the functions. Pure.

Actions: fields (`.path.basename`), `index`, pipes, literals, parentheses, `if`/`else if`/`else`, `range`, `with`, variables,
`define`/`template`/`block`, comments, and `{{-`/`-}}`. No loops without end, no access to anything but the parameters; what
is not known is named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

_ACTION = re.compile(
    r'\{\{(-\s)?((?>"(?:\\.|[^"\\])*"|`[^`]*`|/\*.*?\*/|(?!\}\}|/\*)[^"`])*?)(\s-)?\}\}', re.DOTALL)
"""Atomic: each sign has one reading only, so that quotes without end cost no time without end."""
_TOKEN = re.compile(
    r'\s*(?:("(?:[^"\\]|\\.)*"|`[^`]*`)|(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)|(:=|[|()=,])'
    r"|(\$?[\w]*(?:\.[\w]+)+|\.|\$[\w]*|[\w]+))"
)
_MOST_OUTPUT = 1_000_000
_DEEPEST = 50
NO_VALUE = "<no value>"


class TemplateError(ValueError):
    """The text shows the action and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Language:
    """What a user of templates brings. `missing`: what an absent field is; `strict`: an absent field is an error."""

    functions: Mapping[str, Callable[..., Any]]
    show: Callable[[Any], str]
    missing: Any = None
    strict: bool = False
    methods: Mapping[type, frozenset[str]] = field(default_factory=dict)
    """Attributes that templates may ask values of these types for."""


@dataclass(frozen=True, slots=True)
class _Node:
    kind: str
    text: str = ""
    body: tuple[_Node, ...] = ()
    otherwise: tuple[_Node, ...] = ()


Definitions = dict[str, tuple[_Node, ...]]


def render(
    text: str, dot: Any, language: Language, *, names: Mapping[str, Any] | None = None, library: Sequence[str] = ()
) -> str:
    """`text` filled in. `names` are variables (`$labels`), `library` texts whose definitions may be used."""
    definitions: Definitions = {}
    for source in library:
        _parsed(source, definitions)
    nodes = _parsed(text, definitions)
    return _Run(dot, language, definitions).all(nodes, dot, {"$": dot, **(names or {})})


def check(text: str, language: Language) -> None:
    """`TemplateError` where blocks do not end or a function is not known, without any values."""
    definitions: Definitions = {}
    nodes = [*_parsed(text, definitions), *(node for body in definitions.values() for node in body)]
    while nodes:
        node = nodes.pop()
        nodes += [*node.body, *node.otherwise]
        if node.kind not in ("text", "template"):
            for token in _tokens(node.text):
                if re.fullmatch(r"[A-Za-z]\w*", token) and token not in language.functions and token not in _CONSTANTS:
                    raise TemplateError(f"{{{{ {node.text} }}}}: function {token!r} is not known")


_CONSTANTS = {"true": True, "false": False, "nil": None}


def _parsed(text: str, definitions: Definitions) -> tuple[_Node, ...]:
    nodes, defined = _read(text)
    definitions.update(defined)
    return nodes


@lru_cache(maxsize=1024)
def _read(text: str) -> tuple[tuple[_Node, ...], tuple[tuple[str, tuple[_Node, ...]], ...]]:
    """Read once, filled in for each of a thousand Applications."""
    definitions: Definitions = {}
    nodes, rest, _ = _parse(_pieces(text), 0, definitions)
    if rest is not None:
        raise TemplateError(f"{{{{ {rest} }}}} has no beginning")
    return nodes, tuple(definitions.items())


def _pieces(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at, trim = 0, False
    for match in _ACTION.finditer(text):
        plain = text[at:match.start()]
        plain = plain.lstrip() if trim else plain
        found.append(("text", plain.rstrip() if match[1] else plain))
        action = match[2].strip()
        if not action.startswith("/*"):
            found.append(("action", action))
        at, trim = match.end(), bool(match[3])
    tail = text[at:]
    if "{{" in tail:
        raise TemplateError(f"an action is not closed: {tail[tail.index('{{'):][:40]!r}")
    found.append(("text", tail.lstrip() if trim else tail))
    return found


def _parse(pieces: Sequence[tuple[str, str]], at: int, definitions: Definitions) -> tuple[tuple[_Node, ...], str | None, int]:
    """Nodes up to `end` or `else`; which of them it was, and where it goes on."""
    found: list[_Node] = []
    while at < len(pieces):
        kind, text = pieces[at]
        at += 1
        if kind == "text":
            found.append(_Node("text", text))
            continue
        word, _, rest = text.partition(" ")
        if word in ("end", "else"):
            return tuple(found), text, at
        if word in ("if", "range", "with"):
            node, at = _block(word, rest.strip(), pieces, at, definitions)
            found.append(node)
        elif word in ("define", "block"):
            name, _, dot = rest.strip().partition(" ")
            body, stopped, at = _parse(pieces, at, definitions)
            if stopped != "end":
                raise TemplateError(f"{{{{ {text} }}}} has no end")
            definitions[name.strip("\"`")] = body
            if word == "block":
                found.append(_Node("template", f"{name} {dot}"))
        elif word == "template":
            found.append(_Node("template", rest.strip()))
        elif word in ("break", "continue"):
            raise TemplateError(f"{{{{ {text} }}}}: {word!r} is not supported")
        else:
            found.append(_Node("value", text))
    return tuple(found), None, at


def _block(
    word: str, condition: str, pieces: Sequence[tuple[str, str]], at: int, definitions: Definitions
) -> tuple[_Node, int]:
    body, stopped, at = _parse(pieces, at, definitions)
    otherwise: tuple[_Node, ...] = ()
    if stopped is not None and stopped.startswith("else"):
        chained, _, rest = stopped[4:].strip().partition(" ")
        if chained:
            if chained not in ("if", "with") or not rest:
                raise TemplateError(f"{{{{ {stopped} }}}}: after else an if or a with may stand, with its condition")
            inner, at = _block(chained, rest.strip(), pieces, at, definitions)
            return _Node(word, condition, body, (inner,)), at
        otherwise, stopped, at = _parse(pieces, at, definitions)
    if stopped is None:
        raise TemplateError(f"{{{{ {word} {condition} }}}} has no end")
    return _Node(word, condition, body, otherwise), at


class _Run:
    def __init__(self, root: Any, language: Language, definitions: Definitions) -> None:
        self._root = root
        self._language = language
        self._definitions = definitions
        self._length = 0
        self._depth = 0

    def all(self, nodes: Sequence[_Node], dot: Any, names: dict[str, Any]) -> str:
        out = []
        for node in nodes:
            text = self._one(node, dot, names)
            self._length += len(text) if node.kind in ("text", "value") else 0
            if self._length > _MOST_OUTPUT:
                raise TemplateError(f"the template makes more than {_MOST_OUTPUT} characters")
            out.append(text)
        return "".join(out)

    def _one(self, node: _Node, dot: Any, names: dict[str, Any]) -> str:
        match node.kind:
            case "text":
                return node.text
            case "value":
                value = self._assign(node.text, dot, names)
                return "" if value is _ASSIGNED else self._language.show(value)
            case "template":
                return self._template(node.text, dot, names)
            case "if" | "with":
                inner = dict(names)
                value = self._assigned(node.text, dot, inner)
                body_dot = value if node.kind == "with" and truth(value) else dot
                return self.all(node.body if truth(value) else node.otherwise, body_dot, inner)
        return self._range(node, dot, names)

    def _template(self, text: str, dot: Any, names: Mapping[str, Any]) -> str:
        name, _, argument = text.partition(" ")
        body = self._definitions.get(name.strip("\"`"))
        if body is None:
            raise TemplateError(f"{{{{ template {text} }}}}: template {name} is not defined")
        value = self._value(argument, dot, names) if argument.strip() else None
        self._depth += 1
        if self._depth > _DEEPEST:
            raise TemplateError(f"{{{{ template {text} }}}}: templates inside one another without end")
        found = self.all(body, value, {"$": value})
        self._depth -= 1
        return found

    def _range(self, node: _Node, dot: Any, names: dict[str, Any]) -> str:
        variables, assigned, expression = node.text.rpartition(":=")
        given = [name.strip() for name in variables.split(",")] if assigned else []
        value = self._value(expression, dot, names)
        pairs = sorted(value.items()) if isinstance(value, Mapping) else list(enumerate(value or ()))
        if not pairs:
            return self.all(node.otherwise, dot, dict(names))
        out = ""
        for key, item in pairs:
            inner = {**names, **dict(zip(given, (key, item) if len(given) == 2 else (item,), strict=False))}
            out += self.all(node.body, item, inner)
        return out

    def _assign(self, text: str, dot: Any, names: dict[str, Any]) -> Any:
        found = _ASSIGNMENT.match(text)
        if found is None:
            return self._value(text, dot, names)
        names[found[1]] = self._value(found[2], dot, names)
        return _ASSIGNED

    def _assigned(self, text: str, dot: Any, names: dict[str, Any]) -> Any:
        """The value of a condition, which may set a variable too."""
        found = _ASSIGNMENT.match(text)
        value = self._assign(text, dot, names)
        return names[found[1]] if found is not None else value

    # --- expressions --------------------------------------------------------------------------------------------------------

    def _value(self, text: str, dot: Any, names: Mapping[str, Any]) -> Any:
        value, rest = self._pipeline(list(_tokens(text)), dot, names, text)
        if rest:
            raise TemplateError(f"{{{{ {text} }}}}: unexpected {rest[0]!r}")
        return value

    def _pipeline(self, tokens: list[str], dot: Any, names: Mapping[str, Any], text: str) -> tuple[Any, list[str]]:
        value, tokens = self._command(tokens, dot, names, text, ())
        while tokens and tokens[0] == "|":
            value, tokens = self._command(tokens[1:], dot, names, text, (value,))
        return value, tokens

    def _command(self, tokens: list[str], dot: Any, names: Mapping[str, Any], text: str,
                 piped: tuple[Any, ...]) -> tuple[Any, list[str]]:
        if not tokens:
            raise TemplateError(f"{{{{ {text} }}}}: a value is missing")
        first, function = tokens[0], self._language.functions.get(tokens[0])
        arguments: list[Any] = []
        if function is not None:
            tokens = tokens[1:]
        elif re.fullmatch(r"[A-Za-z]\w*", first) and first not in _CONSTANTS:
            raise TemplateError(f"{{{{ {text} }}}}: function {first!r} is not known")
        while tokens and tokens[0] not in ("|", ")"):
            argument, tokens = self._operand(tokens, dot, names, text)
            arguments.append(argument)
        if function is None and arguments and callable(arguments[0]):
            function, *arguments = arguments
        if function is None:
            if len(arguments) != 1 or piped:
                raise TemplateError(f"{{{{ {text} }}}}: {first!r} is no function")
            return arguments[0], tokens
        return _called(function, first, (*arguments, *piped), text), tokens

    def _operand(self, tokens: list[str], dot: Any, names: Mapping[str, Any], text: str) -> tuple[Any, list[str]]:
        token, rest = tokens[0], tokens[1:]
        if token == "(":
            value, rest = self._pipeline(rest, dot, names, text)
            if not rest or rest[0] != ")":
                raise TemplateError(f"{{{{ {text} }}}}: a ) is missing")
            rest = rest[1:]
            if rest and rest[0].startswith(")."):
                return self._steps(value, rest[0][1:].split("."), text), rest[1:]
            return value, rest
        if token.startswith('"'):
            try:
                return json.loads(token), rest
            except ValueError as error:
                raise TemplateError(f"{{{{ {text} }}}}: {token[:40]} is no text: {error}") from error
        if token.startswith("`"):
            return token[1:-1], rest
        if token in _CONSTANTS:
            return _CONSTANTS[token], rest
        if re.fullmatch(r"-?\d+(\.\d+)?([eE][-+]?\d+)?", token):
            return (int(token) if re.fullmatch(r"-?\d+", token) else float(token)), rest
        if token in self._language.functions:
            return _called(self._language.functions[token], token, (), text), rest
        return self._field(token, dot, names, text), rest

    def _field(self, token: str, dot: Any, names: Mapping[str, Any], text: str) -> Any:
        head, *steps = token.split(".")
        if head.startswith("$") and head not in names:
            raise TemplateError(f"{{{{ {text} }}}}: variable {head} is not set")
        return self._steps(names[head] if head.startswith("$") else dot, steps, text)

    def _steps(self, value: Any, steps: Sequence[str], text: str) -> Any:
        language = self._language
        for step in (step for step in steps if step):
            if isinstance(value, Mapping) and step in value:
                value = value[step]
            elif step in language.methods.get(type(value), ()):
                value = getattr(value, step)
            elif language.strict:
                raise TemplateError(f"{{{{ {text} }}}}: map has no entry for key {step!r}")
            elif isinstance(value, Mapping) or value is None:
                value = language.missing
            else:
                raise TemplateError(f"{{{{ {text} }}}}: can't evaluate field {step} of {language.show(value)[:40]!r}")
        return value


def _called(function: Callable[..., Any], name: object, arguments: Sequence[Any], text: str) -> Any:
    try:
        return function(*arguments)
    except TemplateError:
        raise
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, re.error) as error:
        raise TemplateError(f"{{{{ {text} }}}}: {name}: {error}") from error


@lru_cache(maxsize=4096)
def _tokens(text: str) -> tuple[str, ...]:
    """A field right after a parenthesis (`(…).name`) is marked with a leading ")"."""
    tokens: list[str] = []
    at = 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None:
            raise TemplateError(f"{{{{ {text} }}}}: cannot be read from {text[at:].strip()[:20]!r} on")
        token = next(group for group in match.groups() if group is not None)
        glued = bool(tokens) and tokens[-1] == ")" and token.startswith(".") and not match[0][0].isspace()
        tokens.append(f"){token}" if glued else token)
        at = match.end()
    return tuple(tokens)


_ASSIGNED = object()
_ASSIGNMENT = re.compile(r"(\$\w+)\s*:?=(?!=)\s*(.*)", re.DOTALL)


def truth(value: Any) -> bool:
    return bool(value)
