"""JSON and YAML that stand as text in a field, such as a file in a ConfigMap: changed inside, written back as they were."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from yaml.nodes import ScalarNode

from fairway.manifests import yaml
from fairway.manifests.errors import ManifestError
from fairway.manifests.values import copied

_Path = tuple[str | int, ...]


class TextDocument:
    """`value` may be changed; `written()` gives the text for it."""

    def __init__(self, text: str, value: Any, *, is_json: bool) -> None:
        self.value = value
        self._text = text
        self._before = copied(value)
        self._is_json = is_json

    def written(self) -> str:
        if self.value == self._before:
            return self._text
        if self._is_json:
            indent = 2 if "\n" in self._text.strip() else None
            separators = None if indent else (",", ":")
            new = json.dumps(self.value, indent=indent, separators=separators, ensure_ascii=False, sort_keys=True)
        else:
            new = self._yaml()
        return new.rstrip("\n") + self._text[len(self._text.rstrip("\n")) :]

    def _yaml(self) -> str:
        changes = list(_changes(self._before, self.value, ()))
        node = yaml.nodes(self._text)[0]
        places = [(yaml.find(node, *path), value) for path, value in changes]
        if any(not isinstance(at, ScalarNode) or isinstance(value, (dict, list)) for at, value in places):
            return yaml.dump(self.value, sort_keys=False)
        changed = [at for at, _ in places if isinstance(at, ScalarNode)]
        for at, (_, value) in zip(changed, changes, strict=True):
            _set(at, value)
        return _spliced(self._text, changed) if "#" in self._text else yaml.rewritten(node)


def read_document(text: str) -> TextDocument | None:
    """None where the text is neither a JSON nor a YAML map or list."""
    try:
        value = json.loads(text)
        if isinstance(value, (dict, list)):
            return TextDocument(text, value, is_json=True)
    except ValueError:
        pass
    try:
        value = yaml.load(text)
    except ManifestError:
        return None
    return TextDocument(text, value, is_json=False) if isinstance(value, (dict, list)) else None


def _changes(before: Any, after: Any, path: _Path) -> Iterator[tuple[_Path, Any]]:
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        for key in after:
            yield from _changes(before[key], after[key], (*path, key))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for n, (a, b) in enumerate(zip(before, after, strict=True)):
            yield from _changes(a, b, (*path, n))
    elif before != after:
        yield path, after


def _set(node: ScalarNode, value: Any) -> None:
    text = yaml.dump(value).removesuffix("\n...\n").rstrip("\n") if not isinstance(value, str) else value
    if node.tag == "" and (not isinstance(value, str) or yaml.resolve_plain(text) == text):
        node.value = text
    else:
        node.value, node.tag = text, "tag:yaml.org,2002:str"


def _spliced(text: str, changed: Sequence[ScalarNode]) -> str:
    """Only the changed scalars replaced, so that comments survive."""
    for node in sorted(changed, key=lambda n: -n.start_mark.index):
        single = yaml.rewritten(ScalarNode(node.tag, node.value, style=node.style)).removesuffix("\n...\n").rstrip("\n")
        text = text[: node.start_mark.index] + single + text[node.end_mark.index :]
    return text

