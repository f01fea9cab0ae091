"""`fairway image`: build, push and inspect OCI images without a daemon."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import click

from fairway.cli.errors import CommandError, Misused
from fairway.cli.output import machine, output_option
from fairway.state import StateDir


@click.group()
def command() -> None:
    """OCI images without a daemon. The embedded registry lies in the state folder."""


def _pairs(values: tuple[str, ...], option: str) -> dict[str, str]:
    lines = [line for value in values for line in value.splitlines() if line.strip()]
    for line in lines:
        if "=" not in line:
            raise Misused(f"{option} {line!r} has no value", mend=f"write {option} NAME=VALUE")
    return dict(line.split("=", 1) for line in lines)


@command.command()
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".")
@click.option("-f", "--file", "dockerfile", type=click.Path(path_type=Path), help="Dockerfile.  [default: PATH/Dockerfile]")
@click.option("-t", "--tag", "tags", multiple=True, help="Name and tag; again for more.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE")
@click.option("--build-arg", "arguments", multiple=True, metavar="NAME=VALUE")
@click.option("--target", default="", metavar="STAGE", help="Build up to this stage.  [default: the last]")
@click.option("--push", is_flag=True, help="Push to the embedded registry.")
@click.option("--registry", type=click.Path(path_type=Path), help="Folder of the embedded registry.")
@click.option("--layout", type=click.Path(path_type=Path), help="Also write an OCI image layout to this folder.")
@click.option("--cache", type=click.Path(path_type=Path), help="Where dependency layers are kept.")
@click.option("--metadata-file", type=click.Path(path_type=Path), help="Write the digest and names as JSON.")
@click.option("--iidfile", type=click.Path(path_type=Path), help="Write the image id.")
@output_option
@click.pass_obj
def build(state: StateDir, path: Path, dockerfile: Path | None, tags: tuple[str, ...], labels: tuple[str, ...],
          arguments: tuple[str, ...], target: str, push: bool, registry: Path | None, layout: Path | None, cache: Path | None,
          metadata_file: Path | None, iidfile: Path | None, output: str) -> None:
    """Build a Python project into a reproducible image: the same input gives the same digest."""
    from fairway.images.build import Request
    from fairway.images.build import build as build_image
    from fairway.images.dependencies import InstallFailed
    from fairway.images.dockerfile import DockerfileError
    from fairway.images.layout import Layout
    from fairway.images.reference import BadReference, parse_reference
    from fairway.images.registry import LocalRegistry

    try:
        names = [parse_reference(line.strip()) for tag in tags for line in tag.splitlines() if line.strip()]
    except BadReference as error:
        raise Misused(str(error)) from error
    if push and not names:
        raise Misused("there is nothing to push under", mend="name the image: -t registry.example.com/shop/app:1.0")
    request = Request(path, dockerfile or path / "Dockerfile", cache or state.root / "cache" / "images",
                      _pairs(labels, "--label"), _pairs(arguments, "--build-arg"), target)
    with tempfile.TemporaryDirectory(prefix="fairway-image-") as folder:
        made = Layout(layout or Path(folder))
        try:
            built = build_image(request, made)
        except (DockerfileError, InstallFailed) as error:
            raise CommandError(str(error)) from error
        for name in names:
            if push:
                LocalRegistry(registry or state.registry).push(made, built.manifest, name)
            if layout:
                made.tag(name.tag, built.manifest)
    digest = built.manifest.digest
    facts = {"digest": digest, "image_id": built.config_digest, "size": built.size, "names": [str(n) for n in names]}
    if metadata_file:
        metadata_file.write_text(json.dumps({
            "containerimage.digest": digest, "containerimage.config.digest": built.config_digest,
            "image.name": ",".join(str(n) for n in names)}, indent=1))  # fmt: skip
    if iidfile:
        iidfile.write_text(built.config_digest)
    if not machine(facts, output):
        for name in names:
            click.echo(f"{'pushed' if push else 'built'} {name}")
        click.echo(digest)


@command.command()
@click.argument("source", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("name")
@click.option("--registry", type=click.Path(path_type=Path), help="Folder of the embedded registry.")
@click.pass_obj
def push(state: StateDir, source: Path, name: str, registry: Path | None) -> None:
    """Push the image of an OCI layout folder (SOURCE[:TAG] as its only or its tagged image) to the embedded registry."""
    from fairway.images.layout import Layout
    from fairway.images.reference import BadReference, parse_reference
    from fairway.images.registry import LocalRegistry

    try:
        reference = parse_reference(name)
    except BadReference as error:
        raise Misused(str(error)) from error
    manifests = Layout(source).manifests()
    chosen = manifests.get(reference.tag) or (next(iter(manifests.values())) if len(manifests) == 1 else None)
    if chosen is None:
        raise CommandError(f"{source} has no image tagged {reference.tag!r} (tags: {', '.join(sorted(manifests)) or 'none'})")
    LocalRegistry(registry or state.registry).push(Layout(source), chosen, reference)
    click.echo(f"pushed {reference}\n{chosen.digest}")


@command.command()
@click.argument("name")
@click.option("--registry", type=click.Path(path_type=Path), help="Folder of the embedded registry.")
@output_option
@click.pass_obj
def inspect(state: StateDir, name: str, registry: Path | None, output: str) -> None:
    """Show what an image of the embedded registry is made of and how it runs."""
    from fairway.images.reference import BadReference, parse_reference
    from fairway.images.registry import LocalRegistry, UnknownImage

    local = LocalRegistry(registry or state.registry)
    try:
        reference = parse_reference(name)
        found = local.resolve(reference)
    except BadReference as error:
        raise Misused(str(error)) from error
    except UnknownImage as error:
        raise CommandError(str(error)) from error
    layout = local.layout(reference.name)
    manifest = layout.read_json(found.digest)
    config = layout.read_json(manifest["config"]["digest"])
    facts = {"name": reference.name, "digest": found.digest, "tags": local.tags(reference.name),
             "platform": f"{config['os']}/{config['architecture']}", "created": config.get("created"),
             "config": config.get("config", {}), "layers": manifest["layers"]}
    if not machine(facts, output):
        click.echo(f"name      {facts['name']}\ndigest    {facts['digest']}\ntags      {', '.join(facts['tags'])}\n"
                   f"platform  {facts['platform']}\nlayers    {len(facts['layers'])}, "
                   f"{sum(layer['size'] for layer in facts['layers']) / 1e6:.1f} MB")
        run = facts["config"]
        for key in ("Entrypoint", "Cmd", "WorkingDir", "User", "Env", "ExposedPorts", "Labels"):
            if run.get(key):
                click.echo(f"{key.lower():<9} {json.dumps(run[key])}")
