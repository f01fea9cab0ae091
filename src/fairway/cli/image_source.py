"""Where a build context comes from: git says it, the pipeline's environment says which run it was."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from fairway.images.build import Built, Request
    from fairway.images.layout import Layout
    from fairway.images.provenance import Source
    from fairway.images.reference import Reference


def attach_provenance(layout: Layout, built: Built, request: Request, names: Sequence[Reference], started: datetime,
                      finished: datetime) -> None:
    from fairway import __version__
    from fairway.images.attach import PROVENANCE, attach
    from fairway.images.provenance import Ingredient, statement
    from fairway.images.reference import parse_reference

    ingredients = [Ingredient(path.name, {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()})
                   for path in (request.dockerfile, *built.requirements)]
    if built.base:
        base = f"pkg:docker/{built.base}"
        ingredients.append(Ingredient(base, {"sha256": built.base_digest.partition(":")[2]} if built.base_digest else {}))
    text = statement(names or [parse_reference("localhost/image")], built.manifest.digest,
                     dockerfile=request.dockerfile.name, target=request.target, arguments=tuple(request.build_args),
                     source=source_of(request.context), ingredients=ingredients, started=started, finished=finished,
                     run=run_of(), builder_version=__version__)
    attach(layout, built.manifest, PROVENANCE, text)


def source_of(context: Path) -> Source | None:
    """The commit that the context is at; None outside a git repository."""
    from fairway.images.provenance import Source

    commit = _git(context, "rev-parse", "HEAD")
    if not commit:
        return None
    remote = os.environ.get("GITHUB_SERVER_URL", "") + "/" + os.environ.get("GITHUB_REPOSITORY", "")
    if remote == "/":
        remote = os.environ.get("CI_PROJECT_URL") or _git(context, "remote", "get-url", "origin") or context.resolve().name
    ref = os.environ.get("GITHUB_REF") or _git(context, "symbolic-ref", "-q", "HEAD")
    return Source(_without_account(remote), commit, ref, dirty=bool(_git(context, "status", "--porcelain", "--", ".")))


def run_of() -> str:
    """The pipeline run's URL, "" outside one."""
    env = os.environ
    if env.get("GITHUB_RUN_ID"):
        return f"{env.get('GITHUB_SERVER_URL', '')}/{env.get('GITHUB_REPOSITORY', '')}/actions/runs/{env['GITHUB_RUN_ID']}"
    return env.get("CI_PIPELINE_URL", "")


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _without_account(url: str) -> str:
    """A remote's URL may carry a token; a statement about an image must not."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if parts.netloc else url
