"""The port to images, and the one image that needs none: `host`, this machine's own files and commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


class ImageUnavailable(Exception):
    """The image cannot be had. The message says what was looked for, where, and the mend; `reason` is the kubelet's."""

    def __init__(self, message: str, reason: str = "ErrImagePull") -> None:
        super().__init__(message)
        self.reason = reason


def _nobody(reason: str, message: str) -> None:
    return


@dataclass(frozen=True, slots=True)
class Pull:
    """How a container wants its image: `imagePullPolicy`, its pod's pull secrets, and who is told (reason, message)."""

    policy: str = "IfNotPresent"
    secrets: tuple[Mapping[str, Any], ...] = ()
    tell: Callable[[str, str], None] = _nobody


AS_IT_IS = Pull()


class UnpackedImage(Protocol):
    """A root file system on disk that pods share, and what the image says about running it."""

    @property
    def root(self) -> Path | None:
        """None: the host's own file system."""
        ...

    @property
    def digest(self) -> str: ...
    @property
    def entrypoint(self) -> tuple[str, ...]: ...
    @property
    def cmd(self) -> tuple[str, ...]: ...
    @property
    def env(self) -> Mapping[str, str]: ...
    @property
    def working_dir(self) -> str: ...
    @property
    def labels(self) -> Mapping[str, str]: ...


class ImageSource(Protocol):
    async def ensure(self, reference: str, pull: Pull = AS_IT_IS) -> UnpackedImage:
        """Unpacked once per digest. Raises `ImageUnavailable`."""
        ...


@dataclass(frozen=True, slots=True)
class HostImage:
    """The pseudo-image `host` (or `host:anything`)."""

    root: Path | None = None
    digest: str = "host"
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    working_dir: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


def is_host(reference: str) -> bool:
    return reference == "host" or reference.startswith("host:")
