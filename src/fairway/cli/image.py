"""`fairway image`: build, move, inspect and scan OCI images without a daemon."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fairway.cli import image_content, image_docker, image_registry, image_signing
from fairway.cli.errors import CommandError, Misused
from fairway.cli.image_registry import pulled_base, reference_of
from fairway.cli.output import machine, output_option
from fairway.state import StateDir

if TYPE_CHECKING:
    from fairway.images.build import Built, Request
    from fairway.images.layout import Descriptor, Layout
    from fairway.images.reference import Reference
    from fairway.images.registry import LocalRegistry


@click.group()
def command() -> None:
    """OCI images without a daemon. The embedded registry lies in the state folder."""


for _one in (*image_registry.COMMANDS, *image_content.COMMANDS, *image_signing.COMMANDS, image_docker.docker,
             image_docker.kaniko):
    command.add_command(_one)


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
@click.option("--base", type=click.Choice(["host", "registry"]), default="host", show_default=True,
              help="What lies below: this machine's interpreter, or the image that FROM names, pulled.")
@click.option("--builder", type=click.Choice(["auto", "fairway", "buildah", "podman", "docker"]), default="auto",
              show_default=True, help="Who builds. auto: Fairway where it can, else the first of the others that is here.")
@click.option("--push", is_flag=True, help="Push to the embedded registry.")
@click.option("--sbom", is_flag=True, help="Attach a bill of materials (CycloneDX).")
@click.option("--provenance", is_flag=True, help="Attach where it comes from (SLSA, in-toto).")
@click.option("--max-size", metavar="SIZE", help="Fail above this, e.g. 500MB: the compressed layers together.")
@click.option("--registry", type=click.Path(path_type=Path), help="Folder of the embedded registry.")
@click.option("--layout", type=click.Path(path_type=Path), help="Also write an OCI image layout to this folder.")
@click.option("--cache", type=click.Path(path_type=Path), help="Where dependency layers are kept.")
@click.option("--metadata-file", type=click.Path(path_type=Path), help="Write the digest, names, size and time as JSON.")
@click.option("--iidfile", type=click.Path(path_type=Path), help="Write the image id.")
@output_option
@click.pass_obj
def build(state: StateDir, path: Path, dockerfile: Path | None, tags: tuple[str, ...], labels: tuple[str, ...],
          arguments: tuple[str, ...], target: str, base: str, builder: str, push: bool, sbom: bool, provenance: bool,
          max_size: str | None, registry: Path | None, layout: Path | None, cache: Path | None, metadata_file: Path | None,
          iidfile: Path | None, output: str) -> None:
    """Build a project into an image. A Python project's is reproducible: the same input gives the same digest."""
    from fairway.images.build import Request
    from fairway.images.layout import Layout
    from fairway.images.registry import LocalRegistry
    from fairway.images.sizes import parse_size

    started = datetime.now(UTC)
    names = [reference_of(line.strip()) for tag in tags for line in tag.splitlines() if line.strip()]
    if push and not names:
        raise Misused("there is nothing to push under", mend="name the image: -t registry.example.com/shop/app:1.0")
    try:
        most = parse_size(max_size) if max_size else None
    except ValueError as error:
        raise Misused(f"--max-size: {error}") from None
    here = LocalRegistry(registry or state.registry)
    request = Request(path, dockerfile or path / "Dockerfile", cache or state.root / "cache" / "images",
                      _pairs(labels, "--label"), _pairs(arguments, "--build-arg"), target,
                      **({"find_base": lambda name: pulled_base(state, here, name)} if base == "registry" else {}))
    with tempfile.TemporaryDirectory(prefix="fairway-image-") as folder:
        made = Layout(layout or Path(folder))
        built = _built(request, made, builder, [here, LocalRegistry(state.registry)])
        if most is not None and built.size > most:
            raise CommandError(f"the image has {built.size / 1e6:.1f} MB, at most {most / 1e6:.1f} MB are allowed",
                               mend="leave out what it does not need (.dockerignore), or raise --max-size")
        finished = datetime.now(UTC)
        if provenance:
            from fairway.cli.image_source import attach_provenance

            attach_provenance(made, built, request, names, started, finished)
        if sbom:
            _attach_sbom(made, built.manifest, names)
        for name in names:
            if push:
                here.push(made, built.manifest, name)
            if layout:
                made.tag(name.tag, built.manifest)
    digest = built.manifest.digest
    facts = {"digest": digest, "image_id": built.config_digest, "size": built.size, "names": [str(n) for n in names]}
    if metadata_file:
        metadata_file.write_text(json.dumps({
            "containerimage.digest": digest, "containerimage.config.digest": built.config_digest,
            "image.name": ",".join(str(n) for n in names), "fairway.image.size": built.size,
            "fairway.build.seconds": round((finished - started).total_seconds(), 3)}, indent=1))  # fmt: skip
    if iidfile:
        iidfile.write_text(built.config_digest)
    if not machine(facts, output):
        for name in names:
            click.echo(f"{'pushed' if push else 'built'} {name}")
        click.echo(digest)


def _built(request: Request, into: Layout, builder: str, known: list[LocalRegistry]) -> Built:
    from fairway.images.build import Built
    from fairway.images.build import build as build_here
    from fairway.images.builders import BuilderFailed, Work, bases_of, build_with, epoch_of, present
    from fairway.images.dependencies import InstallFailed
    from fairway.images.dockerfile import DockerfileError, NeedsBuilder, images_named, parse

    try:
        if builder in ("auto", "fairway"):
            try:
                return build_here(request, into)
            except NeedsBuilder:
                other = present()
                if builder == "fairway" or other is None:
                    raise
                click.echo(f"the Dockerfile needs more than Fairway's own builder does: {other} builds it", err=True)
                builder = other
        named = images_named(parse(request.dockerfile.read_text(), request.dockerfile.name), request.build_args)
        with bases_of(named, known) as bases:
            work = Work(request.context, request.dockerfile, request.labels, request.build_args, request.target, bases,
                        epoch_of())
            manifest = build_with(builder, work, into, lambda line: click.echo(line, err=True))
    except (DockerfileError, InstallFailed, BuilderFailed) as error:
        raise CommandError(str(error)) from error
    document = into.read_json(manifest.digest)
    return Built(manifest, document["config"]["digest"], sum(layer["size"] for layer in document["layers"]))


def _attach_sbom(layout: Layout, manifest: Descriptor, names: list[Reference]) -> None:
    from fairway.images.attach import SBOM, attach
    from fairway.images.packages import packages_of
    from fairway.images.reference import parse_reference
    from fairway.images.sbom import bill_of_materials

    name = names[0] if names else parse_reference("localhost/image")
    attach(layout, manifest, SBOM, bill_of_materials(name, manifest.digest, packages_of(layout, manifest.digest)))


@command.command()
@click.argument("name")
@click.option("--registry", type=click.Path(path_type=Path), help="Folder of the embedded registry.")
@output_option
@click.pass_obj
def inspect(state: StateDir, name: str, registry: Path | None, output: str) -> None:
    """Show what an image of the embedded registry is made of and how it runs."""
    from fairway.images.attach import attachments
    from fairway.images.registry import LocalRegistry

    local = LocalRegistry(registry or state.registry)
    reference = reference_of(name)
    found, digest = image_content.image_in(local, reference)
    layout = local.layout(reference.name)
    manifest = layout.read_json(digest)
    config = layout.read_json(manifest["config"]["digest"])
    said = [{"type": one.kind, "digest": one.manifest.digest} for one in attachments(layout, found.digest)]
    facts = {"name": reference.name, "digest": found.digest, "tags": local.tags(reference.name),
             "platform": f"{config['os']}/{config['architecture']}", "created": config.get("created"),
             "config": config.get("config", {}), "layers": manifest["layers"], "attachments": said}
    if not machine(facts, output):
        click.echo(f"name      {facts['name']}\ndigest    {facts['digest']}\ntags      {', '.join(facts['tags'])}\n"
                   f"platform  {facts['platform']}\nlayers    {len(facts['layers'])}, "
                   f"{sum(layer['size'] for layer in facts['layers']) / 1e6:.1f} MB")
        run = facts["config"]
        for key in ("Entrypoint", "Cmd", "WorkingDir", "User", "Env", "ExposedPorts", "Labels"):
            if run.get(key):
                click.echo(f"{key.lower():<9} {json.dumps(run[key])}")
        for one in said:
            click.echo(f"attached  {one['type']} {one['digest']}")
