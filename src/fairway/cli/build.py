"""`fairway build`: manifests as they would be applied."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fairway.cli.errors import CommandError, Misused

if TYPE_CHECKING:
    from fairway.manifests import DeadImage, Parameter


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", help="How to print the objects.")
@click.option("--recurse", is_flag=True, help="Of a plain folder: also the folders below it.")
@click.option("-n", "--namespace", default="default", help="Of a chart: the namespace of the release.")
@click.option("--release", default="", metavar="NAME", help="Of a chart: the name of the release; else the chart's.")
@click.option("-f", "--values", multiple=True, metavar="FILE", help="Of a chart: a values file, from the chart's folder.")
@click.option("--set", "parameters", multiple=True, metavar="NAME=VALUE", help="Of a chart: one value, as helm's --set.")
def command(path: Path, output: str, recurse: bool, namespace: str, release: str, values: tuple[str, ...],
            parameters: tuple[str, ...]) -> None:
    """Render the folder (or file) PATH: a Helm chart, a kustomization, or else its YAML, JSON and Jsonnet files."""
    from fairway.cli.manifest_tree import tree_around
    from fairway.manifests import Directory, ManifestError, Rendering, render
    from fairway.manifests.yaml import dump_all

    tree, inside = tree_around(path)
    helm = None
    if tree.is_file(_chart_file(inside)):
        from fairway.manifests import HelmOptions

        helm = HelmOptions(release or path.resolve().name, namespace, values, parameters=_parameters(parameters))
    try:
        objects = render(tree, inside, Rendering(helm=helm, directory=Directory(recurse=recurse), notice=_warn))
    except ManifestError as error:
        raise CommandError(f"{error.place}: {error.mistake}", mend=error.mend) from error
    if output == "json":
        import json

        click.echo(json.dumps(objects, indent=2, ensure_ascii=False))
    else:
        click.echo(dump_all(objects), nl=False)


def _chart_file(inside: str) -> str:
    return f"{inside}/Chart.yaml" if inside else "Chart.yaml"


def _parameters(texts: tuple[str, ...]) -> tuple[Parameter, ...]:
    from fairway.manifests import Parameter

    found = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise Misused(f"--set {text!r}: NAME=VALUE is needed")
        found.append(Parameter(name, value))
    return tuple(found)


def _warn(dead: DeadImage) -> None:
    """An entry of `images:` changes nothing: the build is the same without it, and its author thinks otherwise."""
    click.echo(f"warning: {dead.error()}", err=True)
