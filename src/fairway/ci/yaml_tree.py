"""YAML to a tree that remembers where everything stands. Pure.

Scalars follow the core schema of YAML 1.2, as GitHub reads workflows: `on`, `yes` and `no` are strings, `0o17` is a
number. Anchors and aliases work; merge keys and duplicate keys do not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

MAX_DEPTH = 50
MAX_NODES = 1_000_000

_NULL = re.compile(r"(?:null|Null|NULL|~|)")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)")
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INF = re.compile(r"[-+]?\.(?:inf|Inf|INF)")
_NAN = re.compile(r"\.(?:nan|NaN|NAN)")
_TAG = "tag:yaml.org,2002:"


class YamlError(Exception):
    """Not YAML, or not YAML that a workflow may be written in. `line` and `column` are 1-based, 0 where unknown."""

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
class Scalar:
    value: bool | float | str | None
    text: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Seq:
    items: tuple[Node, ...]
    line: int
    column: int

    def __iter__(self) -> Iterator[Node]:
        return iter(self.items)


@dataclass(frozen=True, slots=True)
class Map:
    """Pairs in the order of the file."""

    pairs: tuple[tuple[Scalar, Node], ...]
    line: int
    column: int

    def get(self, name: str) -> Node | None:
        return next((value for key, value in self.pairs if key.text == name), None)


Node = Scalar | Seq | Map


class _Loader(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):  # type: ignore[misc]
    """Without the implicit types of YAML 1.1: an untagged scalar arrives as its text."""

    yaml_implicit_resolvers: dict[str, list[object]] = {}  # noqa: RUF012 (PyYAML's own attribute)


class _AgainLoader(yaml.SafeLoader):
    """The slow reader, for files that use the name of an anchor again, which libyaml does not take."""

    yaml_implicit_resolvers: dict[str, list[object]] = {}  # noqa: RUF012

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if not isinstance(event, yaml.AliasEvent):
            self.anchors.pop(getattr(event, "anchor", None), None)
        return super().compose_node(parent, index)


def parse_yaml(text: str) -> Node | None:
    """The one document of the text, or None where it is empty. Raises `YamlError`."""
    try:
        root = _composed(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = error.problem or error.context or "not valid YAML"
        raise YamlError(what, *((mark.line + 1, mark.column + 1) if mark else (0, 0))) from None
    except yaml.YAMLError as error:
        raise YamlError(str(error).replace("\n", " ")) from None
    except RecursionError:
        raise YamlError(f"nested deeper than {MAX_DEPTH} levels") from None
    return None if root is None else _Builder().build(root, 1)


def _composed(text: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        if "second occurrence" not in f"{error.problem} {error.context}":
            raise
    return yaml.compose(text, Loader=_AgainLoader)


class _Builder:
    def __init__(self) -> None:
        self.nodes = 0

    def build(self, node: yaml.Node, depth: int) -> Node:
        self.nodes += 1
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        if depth > MAX_DEPTH:
            raise YamlError(f"nested deeper than {MAX_DEPTH} levels", line, column)
        if self.nodes > MAX_NODES:
            raise YamlError(f"more than {MAX_NODES} values", line, column)
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node, line, column)
        if isinstance(node, yaml.SequenceNode):
            return Seq(tuple(self.build(item, depth + 1) for item in node.value), line, column)
        if isinstance(node, yaml.MappingNode):
            return self._map(node, line, column, depth)
        raise YamlError("not a value of YAML", line, column)

    def _map(self, node: yaml.MappingNode, line: int, column: int, depth: int) -> Map:
        pairs: list[tuple[Scalar, Node]] = []
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key = self.build(key_node, depth + 1)
            if not isinstance(key, Scalar):
                raise YamlError("a key must be a single value", key.line, key.column)
            if key.text.upper() in seen:
                raise YamlError(f"'{key.text}' is already defined", key.line, key.column)
            seen.add(key.text.upper())
            pairs.append((key, self.build(value_node, depth + 1)))
        return Map(tuple(pairs), line, column)


def _scalar(node: yaml.ScalarNode, line: int, column: int) -> Scalar:
    text = str(node.value)
    if node.tag.startswith(_TAG) and node.tag != f"{_TAG}str":
        return Scalar(_tagged(node, text, line, column), text, line, column)
    if not node.tag.startswith(_TAG) and node.tag != "!":
        raise YamlError(f"Unexpected tag '{node.tag}'", line, column)
    is_plain = node.style in (None, "") and not _has_explicit_tag(node)
    return Scalar(core_value(text) if is_plain else text, text, line, column)


def _has_explicit_tag(node: yaml.ScalarNode) -> bool:
    """`!!str 5` and `! 5` start before their value's first letter; a plain scalar starts with it."""
    span = (node.end_mark.index or 0) - (node.start_mark.index or 0)
    return span > 0 and node.end_mark.line == node.start_mark.line and span != len(node.value) and bool(node.value)


def core_value(text: str) -> bool | float | str | None:
    """What a plain scalar of the core schema stands for."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    number = _number(text)
    return text if number is None else number


def _number(text: str) -> float | None:
    if _INT.fullmatch(text):
        return float(int(text))
    if _HEX.fullmatch(text):
        return float(int(text[2:], 16))
    if _OCTAL.fullmatch(text):
        return float(int(text[2:], 8))
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INF.fullmatch(text):
        return -math.inf if text.startswith("-") else math.inf
    return math.nan if _NAN.fullmatch(text) else None


def _tagged(node: yaml.ScalarNode, text: str, line: int, column: int) -> bool | float | str | None:
    kind = node.tag.removeprefix(_TAG)
    if kind not in ("null", "bool", "int", "float"):
        raise YamlError(f"Unexpected tag '{node.tag}'", 0, 0)
    if node.style not in (None, ""):
        style = {"'": "SingleQuoted", '"': "DoubleQuoted", "|": "Literal", ">": "Folded"}[node.style]
        raise YamlError(f"The scalar style '{style}' on line {line} and column {column} is not valid with the tag "
                        f"'{node.tag}'")
    value = core_value(text)
    if kind == "float" and _number(text) is not None:
        return _number(text)
    wanted = {"null": type(None), "bool": bool, "int": float, "float": float}[kind]
    if not isinstance(value, wanted) or (kind == "int" and not float(str(value)).is_integer()):
        raise YamlError(f"The value '{text}' on line {line} and column {column} is invalid for the type '{node.tag}'")
    return value
