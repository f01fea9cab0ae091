"""One YAML file of a pipeline as plain values: anchors, merge keys, `!reference`, and a header with `spec`. Pure.

`$[[ ]]` blocks are taken out before YAML is read, because a flow sequence could not hold them, and put back as `Block`s
or as parts of a text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from fairway.ci.spec import Mistake, WorkflowError

_BLOCK = re.compile(r"\$\[\[(.*?)\]\]", re.DOTALL)
_HOLDER = re.compile(r"fwblock(\d+)end")
_HEADER_KEYS = frozenset({"spec", "component"})


@dataclass(frozen=True, slots=True)
class Reference:
    """`!reference [job, key, …]`: replaced by what stands there once everything is merged."""

    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """A value that is one `$[[ … ]]` and nothing else: it keeps the type of what it stands for."""

    text: str

    def __str__(self) -> str:
        return f"$[[{self.text}]]"


@dataclass(frozen=True)
class Document:
    """`header` is what the first of two documents says (`spec`). `lines` gives the line of each top-level key."""

    path: str
    body: dict[str, Any]
    header: dict[str, Any] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)

    def refuse(self, message: str, key: str = "") -> WorkflowError:
        line = self.lines.get(key, 0)
        return WorkflowError(self.path, (Mistake(message, line, 1 if line else 0),))


class _Loader(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):  # type: ignore[misc]
    """Dates stay texts, and `!reference` is known."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own attribute)
        first: [(tag, pattern) for tag, pattern in rows if tag != "tag:yaml.org,2002:timestamp"]
        for first, rows in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _reference(loader: Any, node: yaml.Node) -> Reference:
    if not isinstance(node, yaml.SequenceNode):
        raise yaml.constructor.ConstructorError(None, None, "!reference needs a list: !reference [job, key]",
                                                node.start_mark)
    return Reference(tuple(str(item.value) for item in node.value))


_Loader.add_constructor("!reference", _reference)


def read_document(text: str, path: str) -> Document:
    """Raises `WorkflowError` where the text is not YAML or not a mapping."""
    blocks: list[str] = []

    def hold(match: re.Match[str]) -> str:
        blocks.append(match[1])
        return f"fwblock{len(blocks) - 1}end"

    held = _BLOCK.sub(hold, text)
    try:
        nodes = list(yaml.compose_all(held, Loader=_Loader))
        found = [_restore(value, blocks) for value in yaml.load_all(held, Loader=_Loader)]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise WorkflowError(path, (Mistake(error.problem or "not valid YAML", *place),)) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise WorkflowError(path, (Mistake(f"not valid YAML: {error}".replace("\n", " ")),)) from None
    header: Any = {}
    if len(found) > 1 and isinstance(found[0], dict) and found[0].keys() <= _HEADER_KEYS:
        header, found, nodes = found[0], found[1:], nodes[1:]
        if not isinstance(header.get("spec") or {}, dict):
            raise WorkflowError(path, (Mistake("the header's spec is a mapping, with `inputs` below it", 1, 1),))
    body = found[0] if found else {}
    if body is None:
        body = {}
    if not isinstance(body, dict):
        raise WorkflowError(path, (Mistake("a pipeline is a mapping of jobs and keywords", 1, 1),))
    lines = {str(_restore(key.value, blocks)): key.start_mark.line + 1
             for key, _ in getattr(nodes[0], "value", ()) if isinstance(key, yaml.ScalarNode)} if nodes else {}
    return Document(path, {_key(key): value for key, value in body.items()}, header, lines)


def _key(key: Any) -> str:
    return ("true" if key else "false") if isinstance(key, bool) else str(key)


def _restore(value: Any, blocks: list[str]) -> Any:
    if isinstance(value, str):
        whole = _HOLDER.fullmatch(value)
        if whole and int(whole[1]) < len(blocks):
            return Block(blocks[int(whole[1])])
        return _HOLDER.sub(lambda m: f"$[[{blocks[int(m[1])]}]]" if int(m[1]) < len(blocks) else m[0], value)
    if isinstance(value, list):
        return [_restore(item, blocks) for item in value]
    if isinstance(value, dict):
        return {str(restored) if isinstance(restored := _restore(key, blocks), Block) else key if not isinstance(key, str)
                else restored: _restore(item, blocks) for key, item in value.items()}
    if isinstance(value, Reference):
        return Reference(tuple(str(_restore(part, blocks)) for part in value.path))
    return value


def map_texts(value: Any, change: Any) -> Any:
    """`change` applied to every text and `Block` of a tree, keys too."""
    if isinstance(value, (str, Block)):
        return change(value)
    if isinstance(value, list):
        return [map_texts(item, change) for item in value]
    if isinstance(value, dict):
        return {str(map_texts(key, change)): map_texts(item, change) for key, item in value.items()}
    if isinstance(value, Reference):
        return Reference(tuple(str(map_texts(part, change)) for part in value.path))
    return value
