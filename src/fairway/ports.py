"""Which ports this state folder's platform listens on.

The same ones after every start, so that kubeconfigs, git remotes and bookmarks stay good.
"""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Collection
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path

LOOPBACK = "127.0.0.1"
_OURS = range(22_000, 32_000)
_OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")


class PortTaken(Exception):
    """Somebody else listens there: choose another port, or stop the other."""

    def __init__(self, name: str, port: int) -> None:
        super().__init__(f"port {port} for the {name} is taken by another program; stop that program, or choose "
                         f"another port with --{name}-port N (0: any free one)")


@dataclass(frozen=True, slots=True)
class Ports:
    """0 stands for "not chosen yet"."""

    api: int = 0
    web: int = 0
    ingress: int = 0


def choose_ports(remembered_at: Path, wanted: Ports, *, ingress_may_be_ours: bool) -> Ports:
    """What was asked for, else what was used last, else a free port; remembered in `remembered_at`.

    `ingress_may_be_ours`: a data plane of an earlier daemon goes on listening there, which is no conflict.
    Raises `PortTaken`.
    """
    last = _remembered(remembered_at)
    chosen = wanted
    for name in ("api", "web", "ingress"):
        asked, before = getattr(wanted, name), getattr(last, name)
        port = asked or before
        ours = name == "ingress" and ingress_may_be_ours and port == before
        if port and not ours and not is_free(port):
            raise PortTaken(name, port)
        chosen = replace(chosen, **{name: port or _free_port(astuple(chosen))})
    temporary = remembered_at.with_suffix(".tmp")
    temporary.write_text(json.dumps(asdict(chosen)))
    temporary.replace(remembered_at)
    return chosen


def _remembered(path: Path) -> Ports:
    try:
        return Ports(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return Ports()


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _free_port(taken: Collection[int]) -> int:
    """One that no outgoing connection is given by the system: ours are remembered, and have to be free when we come back."""
    for port in random.sample(_OURS, len(_OURS)):
        if port not in taken and port < _first_outgoing() and is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _first_outgoing() -> int:
    try:
        return int(_OUTGOING.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32_768
