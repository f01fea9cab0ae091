"""Image write-back: the smallest edit of the text that makes a deployment folder name another image.

The file is parsed only to find where a scalar begins and ends; everything between stays byte for byte: comments, quotes,
line ends, order. In a kustomization the entry of `images:` is changed (a `newTag` line becomes a `digest` line where a digest
is asked for); in plain manifests every `image:` of that name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from fairway.manifests import yaml
from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.files import FileTree, OverlaidTree, join, manifest_files
from fairway.manifests.image_reference import ImageReference
from fairway.manifests.kustomize.dead_images import dead_images
from fairway.manifests.kustomize.spec import KUSTOMIZATION_FILES

_PLAIN = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._/@:+-]*$")


@dataclass(frozen=True, slots=True)
class _Edit:
    """Replace text[start:end]."""

    start: int
    end: int
    text: str


def set_image(files: FileTree, path: str, name: str, reference: str) -> dict[str, bytes]:
    """The files that change so that the folder `path` names `reference` where it named the image `name`.

    In a kustomization the entry goes by the name that the image has when this folder comes to it: where a base has renamed
    `name`, that is the base's new name. Empty where it already does. ManifestError where nothing names `name`, and where the
    folder has an entry for it that changes nothing; ValueError where `reference` is not one.
    """
    wanted = ImageReference.parse_checked(reference)
    for file in KUSTOMIZATION_FILES:
        if files.is_file(join(path, file)):
            return _that_lives(files, path, join(path, file), name, wanted)
    changed: dict[str, bytes] = {}
    seen = False
    for file in manifest_files(files, path):
        if file.endswith(".jsonnet"):
            continue
        text = yaml.decode(files.read(file), file)
        edits = [edit for document in yaml.nodes(text, file) for edit in _plain_images(document, text, name, wanted)]
        seen = seen or bool(edits)
        _keep(changed, files, file, text, edits)
    if not seen:
        raise ManifestError(Place(path or "."), f"no container here uses the image {name!r}",
                            "name an image as it stands in the manifests, or add it to `images:` of a kustomization")
    return changed


def _keep(changed: dict[str, bytes], files: FileTree, file: str, text: str, edits: list[_Edit]) -> None:
    new = text
    for edit in sorted(edits, key=lambda e: e.start, reverse=True):
        new = new[: edit.start] + edit.text + new[edit.end :]
    if new != text:
        mark = b"\xef\xbb\xbf" if files.read(file).startswith(b"\xef\xbb\xbf") else b""
        changed[file] = mark + new.encode()


# --- plain manifests ----------------------------------------------------------------------------------------------


def _plain_images(node: Node, text: str, name: str, wanted: ImageReference) -> Iterator[_Edit]:
    """Edits (perhaps without effect) of every `image: name…` in lists of containers."""
    if isinstance(node, SequenceNode):
        for child in node.value:
            yield from _plain_images(child, text, name, wanted)
    elif isinstance(node, MappingNode):
        for key, value in node.value:
            if getattr(key, "value", None) == "image" and isinstance(value, ScalarNode):
                if ImageReference.parse(value.value).name in (name, wanted.name):
                    yield _scalar(text, value, str(wanted))
            else:
                yield from _plain_images(value, text, name, wanted)


# --- kustomization ------------------------------------------------------------------------------------------------


def _that_lives(files: FileTree, path: str, file: str, name: str, wanted: ImageReference) -> dict[str, bytes]:
    """The edit, proved by rendering: an entry that no container meets would look done and deploy nothing."""
    changed = _in_kustomization(files, file, name, wanted)
    try:
        dead = {one.name: one for one in dead_images(OverlaidTree(files, changed), path) if one.folder == path}
        before = {one.name for one in dead_images(files, path) if one.folder == path}
    except ManifestError:
        return changed  # what does not render cannot be judged; the build says why
    if name not in dead or not (dead[name].now or dead[name].others):
        return changed
    if name in before or not dead[name].now:
        raise dead[name].error()
    return _in_kustomization(files, file, dead[name].now, wanted)


def _in_kustomization(files: FileTree, file: str, name: str, wanted: ImageReference) -> dict[str, bytes]:
    text = yaml.decode(files.read(file), file)
    documents = yaml.nodes(text, file)
    root = documents[0] if documents else None
    if root is not None and not isinstance(root, MappingNode):
        raise ManifestError(yaml.place_of(root, file), "a kustomization is a mapping")
    images = yaml.find(root, "images")
    changed: dict[str, bytes] = {}
    if images is not None and not isinstance(images, SequenceNode):
        raise ManifestError(yaml.place_of(images, file), "`images` is a list")
    for entry in images.value if images is not None else ():
        if (named := yaml.find(entry, "name")) is not None and named.value == name:
            _keep(changed, files, file, text, _entry(text, entry, name, wanted))
            return changed
    _keep(changed, files, file, text, [_new_entry(text, images, name, wanted)])
    return changed


def _entry(text: str, entry: MappingNode, name: str, wanted: ImageReference) -> list[_Edit]:
    """Edits of one entry: the tag or digest it has is replaced; what it lacks goes in as a line of its own."""
    fields = {key.value: (key, value) for key, value in entry.value}
    edits: list[_Edit] = []
    missing: list[tuple[str, str]] = []
    current_name = fields["newName"][1].value if "newName" in fields else name
    if current_name != wanted.name:
        if "newName" in fields:
            edits.append(_scalar(text, fields["newName"][1], wanted.name))
        else:
            missing.append(("newName", wanted.name))
    asked = {"newTag": wanted.tag, "digest": wanted.digest}
    spare = [key for key in ("newTag", "digest") if key in fields and not asked[key]]
    for key, value in asked.items():
        if not value:
            continue
        if key in fields:
            edits.append(_scalar(text, fields[key][1], value))
        elif spare:
            old_key, old_value = fields[spare.pop()]
            edits += [_scalar(text, old_key, key), _scalar(text, old_value, value)]
        else:
            missing.append((key, value))
    edits += [_without(text, entry, *fields[key]) for key in spare]
    if missing:
        edits.append(_insert(text, entry, missing))
    return edits


def _scalar(text: str, node: ScalarNode, value: str) -> _Edit:
    """The node's text replaced, its quotes kept, and quotes added where the value would not be text without."""
    start, end = node.start_mark.index, node.end_mark.index
    if text[start:end].startswith("&") or node.style in ("|", ">"):
        return _Edit(start, end, f'"{value}"')
    if node.style in ("'", '"'):
        return _Edit(start, end, f"{node.style}{value}{node.style}")
    return _Edit(start, end, _written(value))


def _written(value: str) -> str:
    plain = _PLAIN.match(value) and isinstance(yaml.resolve_plain(value), str) and not value.endswith(":")
    return value if plain else f'"{value}"'


def _indent(text: str, node: Node) -> str:
    return " " * int(node.start_mark.column)


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _insert(text: str, entry: MappingNode, pairs: list[tuple[str, str]]) -> _Edit:
    """New keys behind the last one of the entry."""
    last = entry.value[-1][1]
    at = last.end_mark.index
    if entry.flow_style:
        return _Edit(at, at, "".join(f", {key}: {_written(value)}" for key, value in pairs))
    at = _line_end(text, at)
    indent, newline = _indent(text, entry.value[0][0]), _newline(text)
    return _Edit(at, at, "".join(f"{newline}{indent}{key}: {_written(value)}" for key, value in pairs))


def _without(text: str, entry: MappingNode, key: ScalarNode, value: ScalarNode) -> _Edit:
    """A key and its value taken out: the whole line, or in `{…}` the pair with a comma beside it."""
    start, end = key.start_mark.index, value.end_mark.index
    if entry.flow_style:
        comma = text.rfind(",", 0, start)
        if comma > entry.start_mark.index:
            return _Edit(comma, end, "")
        following = re.compile(r"\s*,\s*").match(text, end)
        return _Edit(start, following.end() if following else end, "")
    if entry.value[0][0] is key and len(entry.value) > 1:  # it stands behind the dash: the next key moves up
        return _Edit(start, entry.value[1][0].start_mark.index, "")
    line = text.rfind("\n", 0, start) + 1
    following_line = text.find("\n", end)
    return _Edit(line, following_line + 1 if following_line >= 0 else len(text), "")


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    if end < 0:
        return len(text)
    return end - 1 if text[end - 1] == "\r" else end


def _new_entry(text: str, images: SequenceNode | None, name: str, wanted: ImageReference) -> _Edit:
    """A new entry of `images:`, which is made at the end of the file where it is absent."""
    newline = _newline(text)
    pairs = [("name", name)]
    if wanted.name != name:
        pairs.append(("newName", wanted.name))
    pairs += [(key, value) for key, value in (("newTag", wanted.tag), ("digest", wanted.digest)) if value]
    if images is not None and images.flow_style:
        inner = "{" + ", ".join(f"{key}: {_written(value)}" for key, value in pairs) + "}"
        at = images.end_mark.index - 1
        return _Edit(at, at, f", {inner}" if images.value else inner)
    dash = " " * (images.start_mark.column if images is not None else 0)
    lines = [f"{dash}{'- ' if n == 0 else '  '}{key}: {_written(value)}" for n, (key, value) in enumerate(pairs)]
    if images is not None and images.value:
        at = _line_end(text, _last_end(images.value[-1]))
        return _Edit(at, at, "".join(newline + line for line in lines))
    start = "" if not text or text.endswith("\n") else newline
    return _Edit(len(text), len(text), start + newline.join(["images:", *lines]) + newline)


def _last_end(node: Node) -> int:
    """Where the text of a node ends: a block's own end mark is behind the blank lines and comments that follow it."""
    if isinstance(node, MappingNode) and not node.flow_style and node.value:
        return _last_end(node.value[-1][1])
    if isinstance(node, SequenceNode) and not node.flow_style and node.value:
        return _last_end(node.value[-1])
    return int(node.end_mark.index)


def image_name(files: FileTree, path: str, reference: str) -> str:
    """The name under which `set_image` finds the image that is rendered as `reference`.

    In a kustomization an entry of `images:` may give an image another name; else it is the reference's own.
    """
    rendered = ImageReference.parse(reference).name
    for file in KUSTOMIZATION_FILES:
        if files.is_file(join(path, file)):
            value = yaml.load(files.read(join(path, file)), join(path, file))
            for entry in (value or {}).get("images") or ():
                if isinstance(entry, dict) and (entry.get("newName") or entry.get("name")) == rendered:
                    return str(entry["name"])
    return rendered
