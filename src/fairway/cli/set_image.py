"""`fairway set image`: change one image of a deployment folder and keep every other byte."""

from __future__ import annotations

import os
from pathlib import Path

import click

from fairway.cli.errors import Misused


@click.group()
def command() -> None:
    """Change one image of a kustomization and keep the rest."""


@command.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.argument("images", metavar="NAME=REF...", nargs=-1, required=True)
@click.option("--dry-run", is_flag=True, help="Say which files would change, and change none.")
@click.option("--push", is_flag=True, help="Commit on the newest head of origin and push; again where others were quicker.")
@click.option("--pull-request", is_flag=True, envvar="FAIRWAY_PULL_REQUEST",
              help="With --push: to a branch of its own, with a pull request (FAIRWAY_PULL_REQUEST=1 makes it the rule).")
@click.option("--source", default="", metavar="REPO@SHA", help="With --push: the commit that the image was built from.")
def image(path: Path, images: tuple[str, ...], dry_run: bool, push: bool, pull_request: bool, source: str) -> None:
    """Make the folder PATH use the image REF where it uses NAME.

    REF is a repository with a tag or a digest: shop=registry.example.com/shop@sha256:... With --push the change is a commit of
    its own, and the same change twice is one commit.
    """
    from .manifest_tree import root_of

    pairs = [_pair(text) for text in images]
    if push and pull_request:
        from .image_commit import open_request, propose_images

        made = propose_images(path, root_of(path), pairs, source=source)
        if made is None:
            click.echo("nothing to change: the newest head already names these images")
            return
        proposed, url = made
        click.echo(f"{'pushed' if proposed.new else 'already proposed:'} {proposed.branch} at {proposed.sha}")
        click.echo(open_request(proposed, url))
        return
    if push:
        from .image_commit import commit_images

        sha = commit_images(path, root_of(path), pairs, source=source)
        click.echo(f"pushed {sha}" if sha else "nothing to change: the newest head already names these images")
        return
    changed = _changes(path, pairs)
    for file, content in changed.items():
        if not dry_run:
            _replace(file, content)
        click.echo(f"{'would change' if dry_run else 'changed'} {_shown(file)}")
    if not changed:
        click.echo("nothing to change: the images are already these")


def _pair(text: str) -> tuple[str, str]:
    name, equals, reference = text.partition("=")
    if not equals or not name or not reference:
        raise Misused(f"{text!r} is not NAME=REF", mend="for example: shop=registry.example.com/shop:1.2.0")
    return name, reference


def _changes(path: Path, pairs: list[tuple[str, str]]) -> dict[Path, bytes]:
    from .image_commit import changed_files
    from .manifest_tree import root_of, tree_around

    tree, inside = tree_around(path)
    return {root_of(path) / file: content for file, content in changed_files(tree, inside, pairs).items()}


def _replace(file: Path, content: bytes) -> None:
    """As a whole, with the mode that it had."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.chmod(file.stat().st_mode & 0o7777)
    temporary.replace(file)


def _shown(file: Path) -> str:
    try:
        return str(file.relative_to(Path.cwd()))
    except ValueError:
        return str(file)
