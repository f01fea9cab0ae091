"""Ports that are remembered have to be free when the platform comes back."""

from __future__ import annotations

import socket
from dataclasses import astuple
from pathlib import Path

import pytest

from fairway.ports import LOOPBACK, Ports, PortTaken, choose_ports


def test_chosen_ports_are_none_that_the_system_gives_to_outgoing_connections(tmp_path: Path) -> None:
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    if first < 32_000:
        pytest.skip(f"this machine gives outgoing connections the ports from {first} to {last}")
    chosen = choose_ports(tmp_path / "ports.json", Ports(), ingress_may_be_ours=False)
    assert len({*astuple(chosen)}) == 3 and all(1024 <= port < first for port in astuple(chosen))
    assert choose_ports(tmp_path / "ports.json", Ports(), ingress_may_be_ours=False) == chosen


def test_a_port_that_was_asked_for_is_taken_or_refused_by_name(tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=f"port {port} for the web is taken.*--web-port"):
            choose_ports(tmp_path / "ports.json", Ports(web=port), ingress_may_be_ours=False)
    assert choose_ports(tmp_path / "ports.json", Ports(web=port), ingress_may_be_ours=False).web == port
