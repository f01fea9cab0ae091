"""Host names that lead to a job's own services: an `/etc/hosts` in a mount namespace, or other words in variables."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

_ENTER = 'mount --bind "$0" /etc/hosts && exec "$@"'


@lru_cache(maxsize=1)
def namespace_command() -> tuple[str, ...]:
    """What starts a process in a mount namespace of its own; () where this machine does not allow it."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return ()
    for flags in (("--mount",),) if os.geteuid() == 0 else (("--user", "--map-root-user", "--mount"),):
        done = subprocess.run([unshare, *flags, "sh", "-c", "mount --bind /etc/hosts /etc/hosts"], capture_output=True,
                              check=False)
        if done.returncode == 0:
            return (unshare, *flags)
    return ()


def with_hosts(argv: Sequence[str], hosts: Path) -> list[str]:
    """The command with this file as its `/etc/hosts`."""
    return [*namespace_command(), "sh", "-c", _ENTER, str(hosts), *argv]


def hosts_text(names: Mapping[str, str], address: str) -> str:
    """The machine's own file below ours. `localhost` leads to the job's services first, and else where it always does."""
    own = "".join(f"{where} {name}\n" for name, where in names.items())
    try:
        usual = Path("/etc/hosts").read_text()
    except OSError:
        usual = "127.0.0.1 localhost\n"
    return f"{own}{address} localhost\n127.0.0.1 localhost\n{usual}"


def rewritten(text: str, places: Mapping[tuple[str, int], tuple[str, int]]) -> str:
    """`host:port` in a text replaced by where the service really is; a text that is only a host name, too."""
    for (host, port), (address, real) in places.items():
        text = re.sub(rf"(?<![\w.-]){re.escape(host)}:{port}(?!\d)", f"{address}:{real}", text)
        if text == host and host not in ("localhost", "127.0.0.1"):
            return address
        if host not in ("localhost", "127.0.0.1"):
            text = re.sub(rf"(?<=[/@]){re.escape(host)}(?=[/?]|$)", address if real == port else f"{address}:{real}", text)
    return text
