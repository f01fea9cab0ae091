"""`fairway set image`: change one image of a deployment folder and keep every other byte."""

from __future__ import annotations

import os
from pathlib import Path

import click

from fairway.cli.errors import CommandError, Misused


@click.group()
def command() -> None:
    """Change one image of a kustomization and keep the rest."""


@command.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.argument("images", metavar="NAME=REF...", nargs=-1, required=True)
@click.option("--dry-run", is_flag=True, help="Say which files would change, and change none.")
def image(path: Path, images: tuple[str, ...], dry_run: bool) -> None:
    """Make the folder PATH use the image REF where it uses NAME.

    REF is a repository with a tag or a digest: shop=registry.example.com/shop@sha256:...
    """
    from fairway.manifests import ManifestError, set_image

    from .manifest_tree import root_of, tree_around

    root = root_of(path)
    touched = False
    for pair in images:
        name, equals, reference = pair.partition("=")
        if not equals or not name or not reference:
            raise Misused(f"{pair!r} is not NAME=REF", mend="for example: shop=registry.example.com/shop:1.2.0")
        tree, inside = tree_around(path)
        try:
            changed = set_image(tree, inside, name, reference)
        except ManifestError as error:
            raise CommandError(f"{error.place}: {error.mistake}", mend=error.mend) from error
        except ValueError as error:
            raise Misused(str(error)) from error
        for file, content in changed.items():
            if not dry_run:
                _replace(root / file, content)
            click.echo(f"{'would change' if dry_run else 'changed'} {_shown(root / file)}")
        touched = touched or bool(changed)
    if not touched:
        click.echo("nothing to change: the images are already these")


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
