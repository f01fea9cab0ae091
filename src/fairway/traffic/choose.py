"""Which data plane this machine can have."""

from __future__ import annotations

from pathlib import Path

from fairway.traffic.envoy import EnvoyDataPlane, find_binary
from fairway.traffic.port import DataPlane
from fairway.traffic.proxy import ProxyDataPlane


def choose_data_plane(folder: Path, *, envoy: str = "") -> DataPlane:
    """Envoy where there is one (`envoy` names a binary; "none" asks for the proxy), else the proxy in this process."""
    binary = None if envoy == "none" else find_binary(envoy)
    return ProxyDataPlane() if binary is None else EnvoyDataPlane(folder, binary)
