"""What the words of a command mean that somebody runs inside of a container. Pure.

Absolute paths are the container's, as in `paths`. `tar` is a case of its own, because `kubectl cp` is made of it: the
names in an archive are the names on its command line, so a path that were replaced by its place on this machine would
come out under a name that the reader does not expect. It is told to begin in the container's root instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fairway.node.paths import PathMap

_PACKS = ("cf", "-cf", "cvf", "-cvf", "czf", "-czf")


def words(command: Sequence[str], paths: PathMap, is_volume: Callable[[str], bool]) -> list[str]:
    """`command` with every path of the container replaced. `is_volume` tells whether a place on this machine is
    a link to a folder."""
    if len(command) > 3 and command[0].rpartition("/")[2] == "tar" and command[1] in _PACKS and command[2] == "-":
        packed = [_packed(word, paths, is_volume) for word in command[3:]]
        return [command[0], command[1], "-", *(part for parts in packed for part in parts)]
    return [paths.root if word == "/" else paths.rewrite(word) for word in command]


def _packed(word: str, paths: PathMap, is_volume: Callable[[str], bool]) -> tuple[str, ...]:
    """One file or folder to pack. Of a volume, what lies in it is packed and not the link to it."""
    path = word.rstrip("/")
    if not word.startswith("/"):
        return (word,)
    if path and not paths.is_ours(path):
        return "-C", "/", path[1:]
    return "-C", paths.root, (path[1:] + ("/." if is_volume(paths.place(path)) else "")) if path else "."
