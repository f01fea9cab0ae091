"""The tree of files that a path on the command line lies in: overlays reach up to their bases, as far as the repository."""

from __future__ import annotations

from pathlib import Path

from fairway.manifests import FolderTree


def tree_around(path: Path) -> tuple[FolderTree, str]:
    """The repository around `path` and `path` within it; outside of a repository, the whole file system."""
    full = path.resolve()
    folder = full if full.is_dir() else full.parent
    root = next((parent for parent in (folder, *folder.parents) if (parent / ".git").exists()), Path(full.anchor))
    inside = full.relative_to(root).as_posix()
    return FolderTree(root), "" if inside == "." else inside


def root_of(path: Path) -> Path:
    """The folder that `tree_around(path)` starts at."""
    full = path.resolve()
    folder = full if full.is_dir() else full.parent
    return next((parent for parent in (folder, *folder.parents) if (parent / ".git").exists()), Path(full.anchor))
