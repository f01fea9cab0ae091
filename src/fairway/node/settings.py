"""What the node is told by the platform."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fairway.node.addresses import NETWORK


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """`folder`: the node's own; pods lie in `folder/pods`, claims in `folder/claims`.

    `python` runs the shims and is the `python3` of images: the interpreter behind a virtual environment, not the
    environment, so that a pod does not see Fairway's own packages. `isolation`: "auto" gives every container a root of its
    own where the machine allows it, "paths" maps paths everywhere.
    """

    folder: Path
    node_name: str = "fairway"
    network: str = NETWORK
    python: Path = field(default_factory=lambda: Path(sys.executable).resolve())
    host_path: str = field(default_factory=lambda: os.environ.get("PATH", os.defpath))
    api_host: str = ""
    api_port: int = 0
    isolation: Literal["auto", "paths"] = "auto"

    @property
    def pods(self) -> Path:
        return self.folder / "pods"

    @property
    def claims(self) -> Path:
        return self.folder / "claims"

    @property
    def hosts(self) -> Path:
        """Files as `/etc/hosts`, one for each namespace."""
        return self.folder / "hosts"

    @property
    def links(self) -> Path:
        return self.folder / "bin"

    @property
    def interpreter(self) -> Path:
        """A layer for `/usr` that has `python3` where images have it."""
        return self.folder / "interpreter"

    @property
    def addresses(self) -> Path:
        return self.folder / "next-address"
