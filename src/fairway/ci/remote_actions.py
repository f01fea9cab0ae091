"""Actions of other repositories: from a folder that the user names, from a repository of the platform, or by git."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from fairway.ci.actions import Host
from fairway.ci.environment import SYSTEM_PATH
from fairway.ci.job_run import StepFailed

_FETCH_S = 60.0
_GIT_ENV = {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "PATH": SYSTEM_PATH}


async def folder_of(uses: str, host: Host, server_url: str) -> Path:
    """The folder of the action `owner/repo[/path]@ref`. `StepFailed` with the mend where it cannot be had."""
    name, _, ref = uses.partition("@")
    given = host.offline.folders.get(name.lower())
    if given is not None:
        return given
    owner, repository, *rest = name.split("/")
    access = host.repositories.resolve(f"{owner}/{repository}")
    source = str(access.path) if access is not None and access.path is not None else ""
    if not source and not host.offline.fetch:
        raise StepFailed(_mend(uses, "it is not built in, and nothing is downloaded here"))
    name = re.sub(r"[^A-Za-z0-9._-]", "-", f"{owner}-{repository}-{ref}")
    kept = (host.root or Path(tempfile.gettempdir())) / "actions" / name
    if not kept.is_dir() or source:  # a branch of ours may have moved; what was fetched is kept as a release is
        failed = await asyncio.to_thread(_fetch, source or f"{server_url}/{owner}/{repository}", ref, kept)
        if failed:
            raise StepFailed(_mend(uses, f"it is not built in, and git could not fetch it ({failed})"))
    return kept.joinpath(*rest)


def _mend(uses: str, why: str) -> str:
    name = uses.partition("@")[0]
    return (f"action {uses!r}: {why}. Copy it into the repository and write `uses: ./.github/actions/"
            f"{name.rpartition('/')[2]}`, do the same in a run step, take it from a folder with --action {name}=DIR, or leave "
            f"it out with --stub {name}")


def _fetch(url: str, ref: str, target: Path) -> str:
    """Fetch one commit into the folder, by atomic rename; why not, or ""."""
    target.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(dir=target.parent, prefix=".new-"))
    git = ["git", "-c", "protocol.file.allow=always", "-c", "advice.detachedHead=false", "-C", str(new)]
    try:
        for argv in (["init", "--quiet"], ["fetch", "--quiet", "--depth=1", "--no-tags", url, ref],
                     ["checkout", "--quiet", "FETCH_HEAD"]):
            done = subprocess.run([*git, *argv], env={**_GIT_ENV, "HOME": str(new)}, capture_output=True, text=True,
                                  timeout=_FETCH_S, check=False)
            if done.returncode != 0:
                return done.stderr.strip().splitlines()[-1][:200] if done.stderr.strip() else "git failed"
        if target.exists():
            shutil.rmtree(target)
        new.rename(target)
        return ""
    except subprocess.TimeoutExpired:
        return f"no answer within {_FETCH_S:g} s"
    finally:
        shutil.rmtree(new, ignore_errors=True)
