"""Services as real containers, where docker or podman answers. Commands are values here; nothing is run."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from functools import lru_cache

from fairway.ci.services.wish import ServiceWish, port_maps


@lru_cache(maxsize=1)
def engine() -> str:
    """`docker` or `podman`, whichever can run containers; "" where none can."""
    for name in ("docker", "podman"):
        if shutil.which(name) and subprocess.run([name, "info"], capture_output=True, check=False).returncode == 0:
            return name
    return ""


def run_command(program: str, wish: ServiceWish, name: str, address: str) -> list[str]:
    """Ports are published on the job's own address; 0 lets the engine choose."""
    argv = [program, "run", "--detach", "--rm", "--name", name]
    for entry in port_maps(wish):
        argv += ["--publish", f"{address}:{entry.host or ''}:{entry.container}"]
    for key in wish.env:
        argv += ["--env", key]
    for volume in wish.volumes:
        argv += ["--volume", volume]
    argv += shlex.split(wish.options)
    if wish.entrypoint:
        argv += ["--entrypoint", wish.entrypoint[0]]
    return [*argv, wish.image, *wish.entrypoint[1:], *wish.command]


def health_command(program: str, name: str) -> list[str]:
    return [program, "inspect", "--format", "{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}", name]


def stop_command(program: str, name: str) -> list[str]:
    return [program, "rm", "--force", "--volumes", name]
