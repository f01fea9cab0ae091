"""YAML as Kubernetes reads it, with the position of every node.

libyaml parses (as go-yaml does, it descends from it); which plain scalar is a number, a boolean or text is decided here by
the rules of kubectl's decoder: `on` is true, `0777` is 511, `1e3` and `1234e56` are floats, `12:30:45` and `2001-01-01` are
text. Keys become strings as JSON needs them. A key that appears twice is an error with both positions.
"""

from __future__ import annotations

import io
import math
import re
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import yaml
from yaml.cyaml import CEmitter, CParser  # type: ignore[attr-defined]
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.representer import SafeRepresenter

from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.values import without_collector

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_TRUE = frozenset(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"))
_FALSE = frozenset(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"))
_INFINITE = {
    sign + text: value
    for sign, value in (("", math.inf), ("+", math.inf), ("-", -math.inf))
    for text in (".inf", ".Inf", ".INF")
}
_NAN = frozenset((".nan", ".NaN", ".NAN"))
_NUMBER_START = frozenset("+-.0123456789")
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_INTEGER = re.compile(r"^([-+]?)(0[xX][0-9a-fA-F]+|0[oO]?[0-7]+|0[bB][01]+|0|[1-9][0-9]*)$")
_LOOKS_TIMED = r"^(\d{4}-\d\d?-\d\d?([Tt ].*)?|[-+]?\d+(:[0-5]?\d)+(\.\d*)?)$"

_NOT_LITERAL = r"[ \t]+\n|[^\x09\x0a\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd]"
"""These two are compiled when they are first needed, which takes 3 ms."""

MAX_NODES = 1_000_000
"""Nodes built from one file, aliases expanded: about 100 MB of objects; a "billion laughs" file stops here."""

MAX_BYTES = 20 * 2**20
"""One file: the largest bundles of CRDs have 2 MB; an object that the API takes has 3 MB at most."""

_STR, _MAP, _SEQ, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq", "!merge"
_BINARY = "tag:yaml.org,2002:binary"


_LARGEST_FLOAT = int(sys.float_info.max)


@lru_cache(maxsize=16384)
def resolve_plain(text: str) -> Any:
    """The value of a plain (unquoted) scalar."""
    if text in _NULL:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if text[0] not in _NUMBER_START:
        return text
    if text in _INFINITE:
        return _INFINITE[text]
    if text in _NAN:
        return math.nan
    digits = text.replace("_", "")
    if m := _INTEGER.match(digits):
        body = m[2].lower()
        base = {"0x": 16, "0o": 8, "0b": 2}.get(body[:2], 8 if len(body) > 1 and body[0] == "0" else 10)
        value = int(body, base)
        number = -value if m[1] == "-" else value
        if -(2**63) <= number < 2**64:
            return number
        return float(number) if abs(number) < _LARGEST_FLOAT else text
    if _FLOAT.match(digits):
        number_f = float(digits)
        if math.isinf(number_f):
            return text
        return int(number_f) if number_f.is_integer() and abs(number_f) < 1e21 else number_f  # as JSON carries it
    return text


def resolve_without_words(text: str) -> Any:
    """The same as kustomize reads objects: of the words only `true` and `false` are booleans, `yes` and `off` are text."""
    value = resolve_plain(text)
    return text if isinstance(value, bool) and text.lower() not in ("true", "false") else value


class _Loader(CParser):
    """libyaml's composer. Tags of plain scalars are left to `_Builder`: `resolve` only says "plain" or "quoted".

    It is asked once for every node, so it also stops a file of more nodes than anybody means: 20 MB of `1,` would take 3 GB.
    """

    def __init__(self, text: str, file: str) -> None:
        CParser.__init__(self, text)
        self._file = file
        self._nodes = 0

    def descend_resolver(self, parent: Node | None, index: Any) -> None:
        pass

    def ascend_resolver(self) -> None:
        pass

    def resolve(self, kind: type[Node], value: Any, implicit: Any) -> str:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise ManifestError(Place(self._file), f"more than {MAX_NODES} values in one file", "split it")
        if kind is ScalarNode:
            return "" if implicit[0] else _STR
        return _MAP if kind is MappingNode else _SEQ


def decode(data: bytes | str, file: str = "") -> str:
    """The text of a file, without a byte order mark."""
    if len(data) > MAX_BYTES:
        raise ManifestError(Place(file), f"{len(data) >> 20} MB in one file", f"at most {MAX_BYTES >> 20} MB: split it")
    if isinstance(data, bytes):
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            raise ManifestError(Place(file, line), "not UTF-8 text", "save the file as UTF-8") from error
    else:
        text = data
    return text.removeprefix("\ufeff")


def nodes(data: bytes | str, file: str = "") -> list[Node]:
    """One node per non-empty document."""
    text = decode(data, file)
    try:
        loader = _Loader(text, file)
        found = []
        with without_collector():
            while loader.check_node():
                found.append(loader.get_node())
        return [node for node in found if node is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
        mistake = ", ".join(filter(None, (error.context, error.problem)))
        raise ManifestError(place, f"not YAML: {mistake}", _mend(text, mark)) from error
    except yaml.YAMLError as error:
        raise ManifestError(Place(file), f"not YAML: {error}") from error


def _mend(text: str, mark: Any) -> str:
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "indent with spaces, YAML allows no tabs"
    return "check the indentation, and quote text that contains ': ' or starts with a special character"


def place_of(node: Node, file: str) -> Place:
    return Place(file, node.start_mark.line + 1, node.start_mark.column + 1)


class _Builder:
    def __init__(self, file: str, *, last_wins: bool = False, words: bool = True) -> None:
        self.file = file
        self.last_wins = last_wins
        self.words = words
        self.built = 0
        self.open: set[int] = set()

    def value(self, node: Node) -> Any:
        self.built += 1
        if self.built > MAX_NODES:
            raise ManifestError(place_of(node, self.file), f"more than {MAX_NODES} values", "aliases multiply too much")
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        if id(node) in self.open:
            raise ManifestError(place_of(node, self.file), "an alias contains itself")
        self.open.add(id(node))
        try:
            if isinstance(node, SequenceNode):
                return [self.value(child) for child in node.value]
            return self._mapping(node)
        finally:
            self.open.discard(id(node))

    def _scalar(self, node: ScalarNode) -> Any:
        if node.tag == "":
            return resolve_plain(node.value) if self.words else resolve_without_words(node.value)
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if kind in ("int", "float", "bool", "null"):
            value = resolve_plain(node.value)
            return float(value) if kind == "float" and isinstance(value, int) else value
        return node.value

    def _mapping(self, node: Node) -> dict[str, Any]:
        found: dict[str, Any] = {}
        where: dict[str, Node] = {}
        merged: list[Node] = []
        for key, value in node.value:
            if isinstance(key, ScalarNode) and key.tag == "" and key.value == "<<":
                merged.append(value)
                continue
            name = self._key(key)
            if name in where and not self.last_wins:
                first = where[name].start_mark.line + 1
                raise ManifestError(place_of(key, self.file), f"key {name!r} is already set in line {first}",
                                    "remove one of the two")
            where[name] = key
            found[name] = self.value(value)
        for source in merged:
            self._merge(found, source)
        return found

    def _merge(self, into: dict[str, Any], node: Node) -> None:
        for source in node.value if isinstance(node, SequenceNode) else [node]:
            if not isinstance(source, MappingNode):
                raise ManifestError(place_of(source, self.file), "'<<' needs a mapping or a list of mappings")
            for name, value in self.value(source).items():
                into.setdefault(name, value)

    def _key(self, node: Node) -> str:
        if not isinstance(node, ScalarNode):
            raise ManifestError(place_of(node, self.file), "a key must be text", "quote it, if these are template braces")
        value = self._scalar(node)
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, float):
            return f"{value:g}"
        return "null" if value is None else str(value)


def value_of(node: Node, file: str = "", *, last_wins: bool = False) -> Any:
    """The JSON-shaped value of a node. `last_wins`: of a key that is set twice the second counts, and nobody is told."""
    return _Builder(file, last_wins=last_wins).value(node)


def load(data: bytes | str, file: str = "") -> Any:
    """The value of a file with at most one document; None where it is empty."""
    found = nodes(data, file)
    if len(found) > 1:
        raise ManifestError(place_of(found[1], file), "a second document", "only one is allowed here")
    return value_of(found[0], file) if found else None


def load_all(data: bytes | str, file: str = "", *, words: bool = True) -> Iterator[tuple[Any, Place]]:
    """Value and place of each document that is not empty.

    Without `words` a mapping is read as kustomize reads objects: `yes`, `no`, `on`, `off`, `y`, `n` are text. A list, which is
    a JSON patch, is read with them there, too.
    """
    for node in nodes(data, file):
        value = _Builder(file, words=words or isinstance(node, SequenceNode)).value(node)
        if value is not None:
            yield value, place_of(node, file)


def find(node: Node | None, *path: str | int) -> Node | None:
    """The node at a path of keys and indices, if it is there."""
    for step in path:
        if isinstance(node, MappingNode):
            node = next((v for k, v in node.value if isinstance(k, ScalarNode) and k.value == step), None)
        elif isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
        else:
            return None
    return node


# --- writing ------------------------------------------------------------------------------------------------------


class _Dumper(CEmitter, SafeRepresenter):
    """Sorted keys, block style, compact lists; text that any YAML reader could take for something else is quoted."""

    def __init__(self, stream: Any, **options: Any) -> None:
        CEmitter.__init__(self, stream, width=4096, allow_unicode=True, explicit_start=options.get("explicit_start"))
        SafeRepresenter.__init__(self, default_flow_style=False, sort_keys=options.get("sort_keys", True))

    def descend_resolver(self, parent: Any, index: Any) -> None:
        pass

    def ascend_resolver(self) -> None:
        pass

    def resolve(self, kind: type[Node], value: Any, implicit: Any) -> str:
        if kind is not ScalarNode:
            return _MAP if kind is MappingNode else _SEQ
        if not implicit[0]:
            return _STR
        plain = resolve_plain(value)
        if isinstance(plain, str):
            odd = value in ("=", "<<") or (value[0] in _NUMBER_START and re.match(_LOOKS_TIMED, value) is not None)
            return "tag:yaml.org,2002:odd" if odd else _STR
        return _TAGS[type(plain)]

    def ignore_aliases(self, data: Any) -> bool:
        return True


_TAGS = {
    bool: "tag:yaml.org,2002:bool", int: "tag:yaml.org,2002:int", float: "tag:yaml.org,2002:float",
    type(None): "tag:yaml.org,2002:null",
}


def _text(dumper: _Dumper, value: str) -> ScalarNode:
    style = "|" if "\n" in value and not re.search(_NOT_LITERAL, value) else None
    return dumper.represent_scalar(_STR, value, style=style)


def _float(dumper: _Dumper, value: float) -> ScalarNode:
    if value.is_integer() and abs(value) < 1e21:
        return dumper.represent_scalar(_TAGS[int], str(int(value)))
    return SafeRepresenter.represent_float(dumper, value)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(float, _float)


def dump(value: Any, *, sort_keys: bool = True) -> str:
    """One document."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=sort_keys))


def dump_all(values: Iterable[Any]) -> str:
    """Documents divided by `---`, as `kustomize build` prints them."""
    with without_collector():
        return "---\n".join(dump(value) for value in values)


def rewritten(node: Node) -> str:
    """The text of a parsed document whose scalars somebody has changed: quotes and flow style as they were."""
    stream = io.StringIO()
    dumper = _Dumper(stream)
    for part in _scalars(node):
        if part.tag == "":
            part.tag = dumper.resolve(ScalarNode, part.value, (True, False))
    dumper.open()
    dumper.serialize(node)
    dumper.close()
    return stream.getvalue()


def _scalars(node: Node) -> Iterator[ScalarNode]:
    if isinstance(node, ScalarNode):
        yield node
    elif isinstance(node, SequenceNode):
        for child in node.value:
            yield from _scalars(child)
    else:
        for key, value in node.value:
            yield from _scalars(key)
            yield from _scalars(value)
