"""Paths without a mount namespace: what an image calls `/app` lies somewhere else on this machine.

A container's command, arguments and environment are searched for absolute paths, and those that mean the image or a
volume are replaced by where they really lie: in the pod's own root. A path that the image does not have is left alone:
it is the host's (`/bin/sh`, `/dev/null`). Host names of Services, and the address `0.0.0.0`, are replaced in the same
way, because there is no name server and no network namespace either.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

_PATH = re.compile(r"(?P<before>^|[\s=:,;\"'(\[<>|&]|:///|file://|@)(?P<path>/[A-Za-z0-9_.@+%~-][A-Za-z0-9_.@+%~/-]*)")
_AUTHORITY = re.compile(r"(?P<before>://(?:[^/@\s\"']*@)?|@)(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*)(?=[:/?\s\"',]|$)")
_ANY_ADDRESS = re.compile(r"(?<![\w.])0\.0\.0\.0(?![\w.])")
_NAME = re.compile(r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9-]+)?(\.svc(\.cluster\.local\.?)?)?$")


@dataclass(frozen=True, slots=True)
class PathMap:
    """`root`: the pod's own root. `mounts`: mount paths. `in_image`: whether the image means something by this path."""

    root: str
    mounts: Sequence[str]
    in_image: Callable[[str], bool]

    def place(self, path: str) -> str:
        """Where an absolute path of the container lies on this machine."""
        return self.root + path if path != "/" else self.root

    def is_ours(self, path: str) -> bool:
        return any(path == mount or path.startswith(mount.rstrip("/") + "/") for mount in self.mounts) or (
            self.in_image(path))

    def rewrite(self, text: str) -> str:
        """`text` with every path of ours replaced by its place."""
        if "/" not in text:
            return text

        def replace(match: re.Match[str]) -> str:
            path = match["path"]
            return match["before"] + self.place(path) if self.is_ours(path.rstrip("/")) else match[0]

        return _PATH.sub(replace, text)


def with_address(text: str, address: str) -> str:
    """The literal `0.0.0.0` becomes the pod's own address."""
    return _ANY_ADDRESS.sub(address, text) if "0.0.0.0" in text else text


@dataclass(frozen=True, slots=True)
class ServiceNames:
    """Host names of Services as a pod of `namespace` may write them."""

    namespace: str
    addresses: Mapping[tuple[str, str], str]
    """(namespace, name) to address."""

    def address(self, host: str) -> str | None:
        """None: not a Service that we know."""
        if not _NAME.match(host):
            return None
        parts = host.removesuffix(".").removesuffix(".cluster.local").removesuffix(".svc").split(".")
        if len(parts) > 2:
            return None
        return self.addresses.get((parts[1] if len(parts) == 2 else self.namespace, parts[0]))

    def rewrite(self, text: str) -> str:
        """URLs to Services by address."""
        if "://" in text or "@" in text:
            return _AUTHORITY.sub(lambda m: m["before"] + (self.address(m["host"]) or m["host"]), text)
        host, colon, port = text.partition(":")
        if "." in host and (not colon or port.isdigit()):
            return (self.address(host) or host) + colon + port
        return text

    def rewrite_variable(self, name: str, value: str) -> str:
        """A bare word is taken for a Service only where the variable's name says that it holds a host."""
        if re.search(r"(^|_)(HOST|HOSTNAME|ADDR|ADDRESS|SERVER|URL)$", name) and "." not in value:
            host, colon, port = value.partition(":")
            address = self.address(host) if not colon or port.isdigit() else None
            if address is not None:
                return address + colon + port
        return self.rewrite(value)
