"""`spec:inputs` and `$[[ inputs.x | function ]]`: checked values, put into a file before anything else reads it. Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fairway.ci.gitlab.conditions import ConditionError, evaluate, truthy
from fairway.ci.gitlab.document import Block, Document, map_texts
from fairway.ci.gitlab.regexps import RegexpError, compile_re2

MOST_FUNCTIONS = 3
_BLOCK = re.compile(r"\$\[\[(.*?)\]\]", re.DOTALL)
_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
}
_KEYS = frozenset({"default", "type", "description", "options", "regex", "rules"})
_MISSING = object()


class InputMistake(Exception):
    """An input that is not declared, not given, or not of its kind."""


@dataclass(frozen=True, slots=True)
class Values:
    """What `$[[ ]]` may read: inputs, and facts of the component that the file is."""

    inputs: Mapping[str, Any]
    component: Mapping[str, str]
    variables: Mapping[str, str]


def interpolated(document: Document, given: Mapping[str, Any], variables: Mapping[str, str], *,
                 component: Mapping[str, str] | None = None) -> Document:
    """The file with its inputs in place. Raises `WorkflowError`."""
    try:
        values = Values(_checked(document, given, variables), component or {}, variables)
        body = map_texts(document.body, lambda value: _filled(value, values))
    except InputMistake as error:
        raise document.refuse(str(error)) from None
    lines = {str(_loosely(key, values)): line for key, line in document.lines.items()}
    return Document(document.path, body, document.header, lines)


def _loosely(key: str, values: Values) -> Any:
    try:
        return _filled(key, values)
    except InputMistake:
        return key


def _checked(document: Document, given: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    declared = ((document.header.get("spec") or {}).get("inputs")) or {}
    if not isinstance(declared, dict):
        raise InputMistake("spec:inputs must be a mapping")
    unknown = [name for name in given if name not in declared]
    if unknown:
        raise InputMistake(f"unknown input arguments: {', '.join(map(str, unknown))}")
    found: dict[str, Any] = {}
    for name, spec in declared.items():
        found[str(name)] = _value(str(name), spec or {}, given, found, variables)
    return found


def _value(name: str, spec: Any, given: Mapping[str, Any], before: Mapping[str, Any],
           variables: Mapping[str, str]) -> Any:
    if not isinstance(spec, dict) or not spec.keys() <= _KEYS:
        raise InputMistake(f"header:spec:inputs:{name} config contains unknown keys")
    kind = spec.get("type", "string")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise InputMistake(f"header:spec:inputs:{name} input type unknown value: {kind}")
    options, default = spec.get("options"), spec.get("default", _MISSING)
    for rule in spec.get("rules") or ():
        try:
            holds = "if" not in rule or truthy(evaluate(str(rule["if"]), variables, inputs=before))
        except ConditionError as error:
            raise InputMistake(f"`{name}` input: rules: {error}") from None
        if holds:
            options, default = rule.get("options", options), rule.get("default", default)
            break
    value = given.get(name, _MISSING)
    if value is _MISSING:
        value = default
    if value is _MISSING:
        raise InputMistake(f"`{name}` input: required value has not been provided")
    if kind == "string" and isinstance(value, (int, float)) and not isinstance(value, bool) and name not in given:
        value = _text(value)
    if not _TYPES[kind](value):
        raise InputMistake(f"`{name}` input: {'provided' if name in given else 'default'} value is not a {kind}")
    if options is not None and any(item not in options for item in (value if isinstance(value, list) else [value])):
        bad = next(item for item in (value if isinstance(value, list) else [value]) if item not in options)
        raise InputMistake(f"`{name}` input: `{_text(bad)}` cannot be used because it is not in the list of allowed options")
    if spec.get("regex") is not None:
        try:
            pattern = compile_re2(str(spec["regex"]).removeprefix("/").removesuffix("/")
                                  if str(spec["regex"]).startswith("/") else str(spec["regex"]))
        except RegexpError:
            raise InputMistake(f"`{name}` input: regex `{spec['regex']}` is not a valid regular expression") from None
        if not pattern.search(_text(value)):
            raise InputMistake(f"`{name}` input: `{_text(value)}` does not match required regex: {spec['regex']}")
    return value


def _filled(value: str | Block, values: Values) -> Any:
    if isinstance(value, Block):
        return str(value) if value.text.strip().startswith("matrix.") else _answer(value.text, values)
    if "$[[" not in value:
        return value
    return _BLOCK.sub(lambda m: m[0] if m[1].strip().startswith("matrix.") else _text(_answer(m[1], values)), value)


def _answer(block: str, values: Values) -> Any:
    first, *functions = (part.strip() for part in block.split("|"))
    if len(functions) > MOST_FUNCTIONS:
        raise InputMistake("too many functions in interpolation block")
    space, _, name = first.partition(".")
    source: Mapping[str, Any] | None = {"inputs": values.inputs, "component": values.component}.get(space)
    if source is None:
        raise InputMistake(f"unknown interpolation key: `{first}`; known are inputs.NAME, component.NAME and matrix.NAME")
    if name not in source:
        raise InputMistake(f"unknown interpolation key: `{name}`")
    value = source[name]
    for function in functions:
        value = _applied(function, value, values)
    return value


def _applied(function: str, value: Any, values: Values) -> Any:
    if function == "expand_vars":
        return re.sub(r"\$(\w+)|\$\{(\w+)\}", lambda m: values.variables.get(m[1] or m[2], m[0]), _text(value))
    if function == "posix_escape":
        return shlex.quote(_text(value))
    cut = re.fullmatch(r"truncate\(\s*(\d+)\s*,\s*(\d+)\s*\)", function)
    if cut:
        return _text(value)[int(cut[1]) : int(cut[1]) + int(cut[2])]
    raise InputMistake(f"no function matching `{function}`: there are expand_vars, truncate(start, length), posix_escape")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    if isinstance(value, (list, dict)):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return str(value)
