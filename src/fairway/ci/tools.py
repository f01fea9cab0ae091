"""What jobs get of this machine: commands as links in a folder for the front of their PATH, and how packages are reached.

Not the whole folder of our interpreter: `pip install` of a job would change Fairway itself.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from fairway.ci.environment import SYSTEM_PATH

COMMANDS = ("fairway", "uv", "uvx")
_PASSED_ON = ("PIP_", "UV_", "SSL_CERT_", "REQUESTS_CA_", "NODE_EXTRA_CA_")
_PASSED_ON_WHOLE = frozenset({"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"})


def link_tools(folder: Path) -> Path:
    """The folder, with links to what is installed beside our interpreter, and a `python3` where the machine has none."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = Path(sys.executable).parent
    wanted = {name: beside / name for name in COMMANDS if (beside / name).is_file()}
    base = Path(getattr(sys, "_base_executable", sys.executable))
    for name in ("python3", "python"):
        if shutil.which(name, path=SYSTEM_PATH) is None:
            wanted[name] = base
    for name, target in wanted.items():
        link = folder / name
        if not (link.is_symlink() and link.readlink() == target):
            new = folder / f".{name}.{os.getpid()}"
            new.unlink(missing_ok=True)
            new.symlink_to(target)
            new.rename(link)
    _docker(folder, beside / "fairway")
    return folder


def _docker(folder: Path, fairway: Path) -> None:
    """Where no docker daemon is, `docker build`, `push` and their like are ours."""
    script, there = folder / "docker", os.environ.get("DOCKER_HOST") or Path("/var/run/docker.sock").exists()
    if there or not fairway.is_file():
        script.unlink(missing_ok=True)
        return
    new = folder / f".docker.{os.getpid()}"
    new.write_text(f'#!/bin/sh\nexec "{fairway}" image docker "$@"\n')
    new.chmod(0o755)
    new.rename(script)


_PASSWORD = re.compile(r"://[^/@\s]*?:([^/@\s]+)@|://([^/:@\s]+)@")
"""`https://user:PASSWORD@index` and `https://TOKEN@index`."""


def secrets_in(environ: Mapping[str, str]) -> set[str]:
    """What of these variables no log may show: passwords in URLs, and variables that say that they are secret."""
    found = {unquote(part) for value in environ.values() for pair in _PASSWORD.findall(value) for part in pair if part}
    return found | {value for name, value in environ.items() if name.endswith(("_PASSWORD", "_TOKEN")) and value}


def package_access(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables by which this machine reaches package indexes: indexes, certificates, proxies."""
    return {name: value for name, value in environ.items() if name.startswith(_PASSED_ON) or name in _PASSED_ON_WHOLE}
