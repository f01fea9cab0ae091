"""Every pod has an address of its own in 127.0.0.0/8, so that each replica can listen on the same port."""

from __future__ import annotations

import ipaddress
import zlib
from pathlib import Path

from fairway.node.folder import write_atomic

NETWORK = "127.64.0.0/10"
"""Four million addresses: at one pod a second, none is used again within seven weeks."""


class Addresses:
    """Hands out one address after the other and remembers, across restarts, where it was.

    The first one depends on the folder, so that two platforms on one machine do not meet.
    """

    def __init__(self, file: Path, network: str = NETWORK) -> None:
        self._file = file
        net = ipaddress.ip_network(network)
        self._base, self._size = int(net.network_address), net.num_addresses
        try:
            self._next = int(file.read_text())
        except (OSError, ValueError):
            self._next = zlib.crc32(str(file.absolute()).encode()) % self._size

    def take(self, used: frozenset[str] = frozenset()) -> str:
        while True:
            offset, self._next = self._next, (self._next + 1) % self._size
            address = str(ipaddress.ip_address(self._base + offset))
            if offset & 0xFF not in (0, 0xFF) and address not in used:
                break
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self._file, str(self._next))
        return address
