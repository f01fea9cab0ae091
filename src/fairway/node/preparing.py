"""What a node lays out once, before its first pod: folders, the interpreter where images look for it, the compiled shim."""

from __future__ import annotations

import sys
from pathlib import Path

from fairway.node.settings import NodeSettings
from fairway.node.shims import compiled


def prepare(settings: NodeSettings) -> Path:
    """Idempotent. The compiled shim."""
    for folder in (settings.pods, settings.claims, settings.links, settings.interpreter / "local/bin"):
        folder.mkdir(parents=True, exist_ok=True)
    settings.folder.chmod(0o700)
    for name in ("python", "python3"):
        _link(settings.links / name, settings.python)
    for name in ("python", "python3", f"python3.{sys.version_info.minor}"):
        _link(settings.interpreter / "local/bin" / name, settings.python)
    return compiled(settings.folder)


def _link(link: Path, target: Path) -> None:
    if not link.is_symlink() or link.readlink() != target:
        link.unlink(missing_ok=True)
        link.symlink_to(target)
