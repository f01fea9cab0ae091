"""What the node is told by the platform."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from fairway.node.addresses import NETWORK


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """`folder`: the node's own; pods lie in `folder/pods`, claims in `folder/claims`.

    `python` runs the shims and is the `python3` of images: the interpreter behind a virtual environment, not the
    environment, so that a pod does not see Fairway's own packages.
    """

    folder: Path
    node_name: str = "fairway"
    network: str = NETWORK
    python: Path = field(default_factory=lambda: Path(sys.executable).resolve())
    host_path: str = field(default_factory=lambda: os.environ.get("PATH", os.defpath))
    api_host: str = ""
    api_port: int = 0

    @property
    def pods(self) -> Path:
        return self.folder / "pods"

    @property
    def claims(self) -> Path:
        return self.folder / "claims"

    @property
    def links(self) -> Path:
        return self.folder / "bin"

    @property
    def addresses(self) -> Path:
        return self.folder / "next-address"
