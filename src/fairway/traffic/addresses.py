"""Which loopback address a Service answers on: 127.32.0.0/12, chosen by name so that it stays the same."""

from __future__ import annotations

import hashlib
from collections.abc import Container
from ipaddress import IPv4Address, IPv4Network

NETWORK = IPv4Network("127.32.0.0/12")
"""A million addresses, apart from those of pods (127.64.0.0/10)."""

UNPRIVILEGED_OFFSET = 20_000
"""A Service on port 80 answers on 20080 where the user may not open ports below 1024; 1023 + 20000 meets no
ephemeral port (32768 and up)."""


def allocate(namespace: str, service: str, taken: Container[str], *, seed: str = "") -> str:
    """The first free address in the order that the name gives. `seed` keeps two platforms of one machine apart."""
    size = NETWORK.num_addresses - 2
    digest = hashlib.sha256(f"{seed}|{namespace}|{service}".encode()).digest()
    start = int.from_bytes(digest[:8], "big") % size
    for step in range(size):
        address = str(NETWORK.network_address + 1 + (start + step) % size)
        if address not in taken:
            return address
    raise ValueError(f"no address is left in {NETWORK}")


def is_loopback(address: str) -> bool:
    """Whether a listener can be opened on it here without privileges."""
    try:
        return IPv4Address(address).is_loopback
    except ValueError:
        return False


def listening_port(port: int, *, unprivileged_from: int) -> int:
    """The port to listen on for a Service port."""
    return port if port >= unprivileged_from else port + UNPRIVILEGED_OFFSET
