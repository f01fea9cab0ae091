"""`fairway build`: manifests as they would be applied."""

from __future__ import annotations

from pathlib import Path

import click

from fairway.cli.errors import CommandError


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", help="How to print the objects.")
def command(path: Path, output: str) -> None:
    """Render the folder (or file) PATH: a kustomization where there is one, else its YAML files."""
    import json

    from fairway.cli.manifest_tree import tree_around
    from fairway.manifests import ManifestError, render
    from fairway.manifests.yaml import dump_all

    tree, inside = tree_around(path)
    try:
        objects = render(tree, inside)
    except ManifestError as error:
        raise CommandError(f"{error.place}: {error.mistake}", mend=error.mend) from error
    click.echo(json.dumps(objects, indent=2, ensure_ascii=False) if output == "json" else dump_all(objects), nl=False)
    if output == "json":
        click.echo()
