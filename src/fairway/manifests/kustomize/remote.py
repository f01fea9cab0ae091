"""Bases in other repositories: what their addresses mean, and a tree that holds theirs beside ours.

Off by default: a build then depends on one commit only. Whoever fills the port decides which repositories are asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fairway.manifests.files import FileTree, normal

_MOUNT = "remote:"
_SCHEME = r"^(?:git::)?(?P<scheme>https?|ssh|git|file)://(?:[^@/]*@)?(?P<host>[^/:]*)(?P<port>:\d+)?/(?P<rest>.*)$"
_SCP = r"^(?:git::)?(?:[\w.-]+@)(?P<host>[\w.-]+)[:/](?P<rest>.+)$"
_BARE = r"^(?P<host>(?:www\.)?(?:github\.com|gitlab\.com|bitbucket\.org))[/:](?P<rest>.+)$"


@dataclass(frozen=True, slots=True)
class RemoteAddress:
    """`https://host/org/repo//path?ref=v1` taken apart; `ref` is "" for the default branch."""

    text: str
    host: str
    repo: str
    path: str
    ref: str

    @staticmethod
    def parse(text: str) -> RemoteAddress | None:
        """None where the text is the path of a file or folder of this tree."""
        for pattern in (_SCHEME, _SCP, _BARE):
            if m := re.match(pattern, text):
                break
        else:
            return None
        rest, _, query = m["rest"].partition("?")
        asked = dict(part.partition("=")[::2] for part in query.split("&"))
        ref = asked.get("ref") or asked.get("version") or ""
        repo, path = _divided(rest)
        groups = m.groupdict()
        if pattern is _SCHEME:
            start = f"{groups['scheme']}://{groups['host']}{groups['port'] or ''}/"
        elif pattern is _SCP:
            start = f"{text[: m.start('rest')]}".removeprefix("git::")
        else:
            start = f"https://{groups['host']}/"
        return RemoteAddress(text, groups["host"], start + repo, normal(path), ref)


def _divided(rest: str) -> tuple[str, str]:
    """Repository and folder in it: divided by `//`, by `.git/`, by `_git/`, else after the second part."""
    if "//" in rest:
        repo, _, path = rest.partition("//")
        return repo, path
    if m := re.match(r"^(.*?\.git)(?:/(.*))?$", rest):
        return m[1], m[2] or ""
    if m := re.match(r"^(.*?/_git/[^/]+)(?:/(.*))?$", rest):
        return m[1], m[2] or ""
    parts = rest.strip("/").split("/")
    return "/".join(parts[:2]), "/".join(parts[2:])


class MountedTree:
    """One tree, and remote ones below folders that no path of a file can name."""

    def __init__(self, own: FileTree) -> None:
        self._own = own
        self._mounts: dict[str, FileTree] = {}
        self._places: dict[tuple[str, str], str] = {}

    def mount(self, address: RemoteAddress, tree: Callable[[], FileTree]) -> str:
        """The folder of this tree under which the repository's files appear; each is fetched once a build."""
        key = (address.repo, address.ref)
        if key not in self._places:
            folder = f"{_MOUNT}{len(self._mounts)}"
            self._mounts[folder] = tree()
            self._places[key] = folder
        return self._places[key]

    def _in(self, path: str) -> tuple[FileTree, str]:
        if not path.startswith(_MOUNT):
            return self._own, path
        first, _, rest = path.partition("/")
        return self._mounts[first], rest

    def read(self, path: str) -> bytes:
        tree, inside = self._in(path)
        return tree.read(inside)

    def is_file(self, path: str) -> bool:
        tree, inside = self._in(path)
        return tree.is_file(inside)

    def is_dir(self, path: str) -> bool:
        tree, inside = self._in(path)
        return tree.is_dir(inside)

    def names(self, folder: str = "") -> Sequence[str]:
        tree, inside = self._in(folder)
        return tree.names(inside)


def mount_of(path: str) -> str:
    """The mount that a path lies in; "" is our own tree."""
    return path.partition("/")[0] if path.startswith(_MOUNT) else ""


def leaves(folder: str, path: str) -> bool:
    """Whether `path`, as written in a file of `folder`, leads out of the repository that the folder is in."""
    return path == ".." or path.startswith("../") or mount_of(path) != mount_of(folder)
