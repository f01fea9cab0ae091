"""The part of Go templates, with sprig's commonest functions, that ApplicationSets are written in. Pure.

Actions: fields (`.path.basename`), `index`, pipes, literals, parentheses, `if`/`else if`/`else`, `range`, `with`, variables,
comments, and `{{-`/`-}}`. No loops without end, no access to anything but the parameters; what is not known is named.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fairway.manifests import yaml

_ACTION = re.compile(r"\{\{(-\s)?(.*?)(\s-)?\}\}", re.DOTALL)
_TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*"|`[^`]*`)|(-?\d+(?:\.\d+)?)|(:=|[|()])|(\$?[\w]*(?:\.[\w]+)+|\.|\$[\w]*|[\w]+))')
_MOST_OUTPUT = 1_000_000
NO_VALUE = "<no value>"


class TemplateError(ValueError):
    """The text shows the action and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class _Node:
    kind: str
    text: str = ""
    body: tuple[_Node, ...] = ()
    otherwise: tuple[_Node, ...] = ()


def render(text: str, params: Mapping[str, Any], *, strict: bool = False) -> str:
    """`text` with the parameters filled in. `strict` (missingkey=error): an absent field is an error."""
    return _Run(params, strict).all(_parsed(text), params, {"$": params})


@lru_cache(maxsize=1024)
def _parsed(text: str) -> tuple[_Node, ...]:
    """Read once, filled in for each of a thousand Applications."""
    nodes, rest, _ = _parse(_pieces(text), 0)
    if rest is not None:
        raise TemplateError(f"{{{{ {rest} }}}} has no beginning")
    return nodes


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
    found.append(("text", tail.lstrip() if trim else tail))
    return found


def _parse(pieces: Sequence[tuple[str, str]], at: int) -> tuple[tuple[_Node, ...], str | None, int]:
    """Nodes up to `end` or `else`; which of them it was, and where it goes on."""
    found: list[_Node] = []
    while at < len(pieces):
        kind, text = pieces[at]
        at += 1
        if kind == "text":
            found.append(_Node("text", text))
            continue
        word = text.split(None, 1)[0] if text else ""
        if word in ("end", "else"):
            return tuple(found), text, at
        if word in ("if", "range", "with"):
            node, at = _block(word, text[len(word):].strip(), pieces, at)
            found.append(node)
        elif word in ("define", "template", "block", "break", "continue"):
            raise TemplateError(f"{{{{ {text} }}}}: {word!r} is not supported")
        else:
            found.append(_Node("value", text))
    return tuple(found), None, at


def _block(word: str, condition: str, pieces: Sequence[tuple[str, str]], at: int) -> tuple[_Node, int]:
    body, stopped, at = _parse(pieces, at)
    otherwise: tuple[_Node, ...] = ()
    if stopped is not None and stopped.startswith("else"):
        chained = stopped[4:].strip()
        if chained:
            inner, at = _block(chained.split(None, 1)[0], chained.split(None, 1)[1], pieces, at)
            return _Node(word, condition, body, (inner,)), at
        otherwise, stopped, at = _parse(pieces, at)
    if stopped is None:
        raise TemplateError(f"{{{{ {word} {condition} }}}} has no end")
    return _Node(word, condition, body, otherwise), at


class _Run:
    def __init__(self, root: Mapping[str, Any], strict: bool) -> None:
        self._root = root
        self._strict = strict
        self._length = 0

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
                return "" if value is _ASSIGNED else shown(value)
            case "if":
                return self.all(node.body if truth(self._value(node.text, dot, names)) else node.otherwise, dot, dict(names))
            case "with":
                value = self._value(node.text, dot, names)
                return self.all(node.body, value, dict(names)) if truth(value) else self.all(node.otherwise, dot, dict(names))
        return self._range(node, dot, names)

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
        found = re.match(r"(\$\w+)\s*:?=\s*(.*)", text, re.DOTALL)
        if found is None:
            return self._value(text, dot, names)
        names[found[1]] = self._value(found[2], dot, names)
        return _ASSIGNED

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
        first, function = tokens[0], FUNCTIONS.get(tokens[0])
        arguments: list[Any] = []
        if function is not None:
            tokens = tokens[1:]
        elif re.fullmatch(r"[A-Za-z]\w*", first) and first not in ("true", "false", "nil"):
            raise TemplateError(f"{{{{ {text} }}}}: function {first!r} is not known")
        while tokens and tokens[0] not in ("|", ")"):
            argument, tokens = self._operand(tokens, dot, names, text)
            arguments.append(argument)
        if function is None:
            if len(arguments) != 1 or piped:
                raise TemplateError(f"{{{{ {text} }}}}: {first!r} is no function")
            return arguments[0], tokens
        try:
            return function(*arguments, *piped), tokens
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise TemplateError(f"{{{{ {text} }}}}: {first}: {error}") from error

    def _operand(self, tokens: list[str], dot: Any, names: Mapping[str, Any], text: str) -> tuple[Any, list[str]]:
        token, rest = tokens[0], tokens[1:]
        if token == "(":
            value, rest = self._pipeline(rest, dot, names, text)
            if not rest or rest[0] != ")":
                raise TemplateError(f"{{{{ {text} }}}}: a ) is missing")
            return value, rest[1:]
        if token.startswith('"'):
            return json.loads(token), rest
        if token.startswith("`"):
            return token[1:-1], rest
        if token in ("true", "false", "nil"):
            return {"true": True, "false": False, "nil": None}[token], rest
        if re.fullmatch(r"-?\d+(\.\d+)?", token):
            return (float(token) if "." in token else int(token)), rest
        if token in FUNCTIONS:
            return FUNCTIONS[token](), rest
        return self._field(token, dot, names, text), rest

    def _field(self, token: str, dot: Any, names: Mapping[str, Any], text: str) -> Any:
        head, *steps = token.split(".")
        if head.startswith("$") and head not in names:
            raise TemplateError(f"{{{{ {text} }}}}: variable {head} is not set")
        value = names[head] if head.startswith("$") else dot
        for step in (step for step in steps if step):
            if isinstance(value, Mapping) and step in value:
                value = value[step]
            elif self._strict:
                raise TemplateError(f"{{{{ {text} }}}}: map has no entry for key {step!r}")
            else:
                return None
        return value


_ASSIGNED = object()


@lru_cache(maxsize=4096)
def _tokens(text: str) -> tuple[str, ...]:
    tokens: list[str] = []
    at = 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None:
            raise TemplateError(f"{{{{ {text} }}}}: cannot be read from {text[at:].strip()[:20]!r} on")
        tokens.append(next(group for group in match.groups() if group is not None))
        at = match.end()
    return tuple(tokens)


def truth(value: Any) -> bool:
    return bool(value)


def shown(value: Any) -> str:
    """As Go prints it."""
    if value is None:
        return NO_VALUE
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{shown(inner)}" for key, inner in sorted(value.items())) + "]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(shown(item) for item in value) + "]"
    return str(value)


# --- functions --------------------------------------------------------------------------------------------------------------


def _index(value: Any, *steps: Any) -> Any:
    for step in steps:
        value = value.get(step) if isinstance(value, Mapping) else value[step]
    return value


def _printf(form: str, *values: Any) -> str:
    given = iter(values)

    def put(match: re.Match[str]) -> str:
        verb = match[0]
        if verb == "%%":
            return "%"
        value = next(given)
        return json.dumps(value) if verb == "%q" else shown(value) if verb in ("%s", "%v") else str(verb % value)

    return re.sub(r"%[-+0-9.]*[sdvqfx%]", put, form)


def normalised(text: Any, longest: int = 253) -> str:
    """A name that the API takes: lower case, letters, digits, `-` and `.`."""
    plain = re.sub(r"[^-a-z0-9.]", "-", str(text).lower())[:longest]
    return re.sub(r"^[^a-z0-9]+|[^a-z0-9]+$", "", plain)


def slug(*values: Any) -> str:
    """`slugify [length] [smart truncation] text`: letters, digits and `-`, at most 50 long unless said otherwise."""
    *options, text = values
    longest = int(options[0]) if options else 50
    plain = re.sub(r"-{2,}", "-", re.sub(r"[^a-z0-9]+", "-", str(text).lower())).strip("-")
    return plain[:longest].strip("-")


def _default(fallback: Any, value: Any = None) -> Any:
    return value if truth(value) else fallback


def _compare(check: Callable[[Any, Any], bool]) -> Callable[..., bool]:
    return lambda a, *others: any(check(a, b) for b in others)


def _first_true(*values: Any) -> Any:
    return next((value for value in values if truth(value)), values[-1] if values else None)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "index": _index, "printf": _printf, "print": lambda *v: "".join(map(shown, v)), "len": len,
    "eq": _compare(lambda a, b: a == b), "ne": lambda a, b: a != b, "lt": lambda a, b: a < b, "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b, "not": lambda v: not truth(v), "or": _first_true,
    "and": lambda *v: next((value for value in v if not truth(value)), v[-1]),
    "default": _default, "empty": lambda v: not truth(v), "coalesce": _first_true,
    "ternary": lambda yes, no, test: yes if test else no, "lower": lambda v: str(v).lower(), "upper": lambda v: str(v).upper(),
    "title": lambda v: str(v).title(), "trim": lambda v: str(v).strip(), "nospace": lambda v: re.sub(r"\s", "", str(v)),
    "trimPrefix": lambda p, v: str(v).removeprefix(p), "trimSuffix": lambda s, v: str(v).removesuffix(s),
    "trimAll": lambda c, v: str(v).strip(c), "replace": lambda a, b, v: str(v).replace(a, b),
    "contains": lambda part, v: part in str(v), "hasPrefix": lambda p, v: str(v).startswith(p),
    "hasSuffix": lambda s, v: str(v).endswith(s), "quote": lambda *v: " ".join(json.dumps(shown(i)) for i in v),
    "squote": lambda *v: " ".join(f"'{shown(i)}'" for i in v), "cat": lambda *v: " ".join(map(shown, v)),
    "trunc": lambda n, v: str(v)[:n] if n >= 0 else str(v)[n:], "substr": lambda a, b, v: str(v)[a:b if b >= 0 else None],
    "splitList": lambda s, v: str(v).split(s), "join": lambda s, v: s.join(map(shown, v)), "first": lambda v: v[0],
    "last": lambda v: v[-1], "has": lambda item, v: item in v, "list": lambda *v: list(v), "keys": lambda v: sorted(v),
    "dict": lambda *v: dict(zip(v[::2], v[1::2], strict=True)), "get": lambda m, k: m.get(k, ""),
    "hasKey": lambda m, k: k in m, "toString": shown, "toJson": lambda v: json.dumps(v, separators=(",", ":")),
    "toYaml": lambda v: yaml.dump(v).rstrip("\n"), "int": lambda v: int(float(v)), "add": lambda *v: sum(int(i) for i in v),
    "sub": lambda a, b: int(a) - int(b), "mul": lambda a, b: int(a) * int(b), "b64enc": lambda v: base64.b64encode(
        str(v).encode()).decode(), "b64dec": lambda v: base64.b64decode(v).decode(), "sha256sum": lambda v: hashlib.sha256(
        str(v).encode()).hexdigest(), "indent": lambda n, v: "\n".join(" " * n + line for line in str(v).split("\n")),
    "nindent": lambda n, v: "\n" + "\n".join(" " * n + line for line in str(v).split("\n")),
    "normalize": normalised, "slugify": slug, "base": lambda v: str(v).rpartition("/")[2],
    "dir": lambda v: str(v).rpartition("/")[0] or ".",
}  # fmt: skip
