"""Jobs in kaniko's image: `/kaniko/executor` of their scripts is ours, for the machine has none.

Only in jobs whose image is kaniko's, and only where jobs are processes of this machine: there the folder `/kaniko` means one of
the job's own, with an executor that builds and pushes as `docker build` and `push` of other scripts do.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

_FOLDER = re.compile(r"(?<![\w./-])/kaniko(?=/)")


def is_kaniko(image: str) -> bool:
    """`gcr.io/kaniko-project/executor:debug`, and mirrors and forks of that name."""
    return "kaniko" in image.partition("@")[0]


def lay_out(folder: Path, fairway: tuple[str, ...]) -> None:
    accounts = folder / ".docker"
    accounts.mkdir(parents=True, exist_ok=True)
    executor = folder / "executor"
    ours = f"DOCKER_CONFIG={shlex.quote(str(accounts))} exec {shlex.join(fairway)} image kaniko"
    executor.write_text(f'#!/bin/sh\n{ours} "$@"\n')
    executor.chmod(0o755)


def redirected(script: str, folder: Path) -> str:
    """The script with the job's own folder for kaniko's; what it shows of itself stays as it was written."""
    return "\n".join(line if line.startswith("printf '%s\\n' ") else _FOLDER.sub(lambda found: str(folder), line)
                     for line in script.split("\n"))
