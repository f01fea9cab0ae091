"""Where a Service can be listened to on this machine. Its address is the API's choice (`fairway.kube.service_addresses`)."""

from __future__ import annotations

from ipaddress import IPv4Address

UNPRIVILEGED_OFFSET = 20_000
"""A Service on port 80 answers on 20080 where the user may not open ports below 1024; 1023 + 20000 meets no
ephemeral port (32768 and up)."""


def is_loopback(address: str) -> bool:
    """Whether a listener can be opened on it here without privileges."""
    try:
        return IPv4Address(address).is_loopback
    except ValueError:
        return False


def listening_port(port: int, *, unprivileged_from: int) -> int:
    """The port to listen on for a Service port."""
    return port if port >= unprivileged_from else port + UNPRIVILEGED_OFFSET
