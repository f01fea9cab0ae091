"""`fairway image keys|sign|verify`: signatures that cosign reads, and that cosign made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fairway.cli.errors import CommandError, Misused
from fairway.cli.image_registry import reference_of
from fairway.cli.output import machine, output_option
from fairway.state import StateDir

if TYPE_CHECKING:
    from fairway.images.layout import Descriptor
    from fairway.images.reference import Reference
    from fairway.images.registry import LocalRegistry

_registry_option = click.option("--registry", type=click.Path(path_type=Path), help="Folder of the embedded registry.")
_annotation_option = click.option("-a", "--annotation", "annotations", multiple=True, metavar="NAME=VALUE")


def _password() -> bytes:
    return (os.environ.get("FAIRWAY_KEY_PASSWORD") or os.environ.get("COSIGN_PASSWORD") or "").encode()


def _pairs(values: tuple[str, ...]) -> dict[str, str]:
    for value in values:
        if "=" not in value:
            raise Misused(f"--annotation {value!r} has no value", mend="write -a NAME=VALUE")
    return dict(value.split("=", 1) for value in values)


def _found(local: LocalRegistry, reference: Reference) -> Descriptor:
    from fairway.images.registry import UnknownImage

    try:
        return local.resolve(reference)
    except UnknownImage as error:
        raise CommandError(str(error)) from error


@click.command()
@click.option("--out", default="cosign", show_default=True, metavar="NAME", help="Writes NAME.key and NAME.pub.")
def keys(out: str) -> None:
    """Make a key pair (ECDSA P-256). FAIRWAY_KEY_PASSWORD or COSIGN_PASSWORD encrypts the private key."""
    from fairway.images.signatures import new_keys

    private, public = Path(f"{out}.key"), Path(f"{out}.pub")
    for file in (private, public):
        if file.exists():
            raise CommandError(f"{file} exists already", mend="choose another name: --out NAME")
    password = _password()
    made = new_keys(password)
    with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file_:
        file_.write(made[0])
    public.write_bytes(made[1])
    if not password:
        click.echo(f"{private} is not encrypted: nobody but its owner may read it", err=True)
    click.echo(f"{private}\n{public}")


@click.command()
@click.argument("name")
@click.option("--key", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True,
              help="The private key (PEM).")
@_annotation_option
@click.option("--push", is_flag=True, help="Push image and signature to the registry that NAME names.")
@_registry_option
@output_option
@click.pass_context
def sign(ctx: click.Context, name: str, key: Path, annotations: tuple[str, ...], push: bool, registry: Path | None,
         output: str) -> None:
    """Sign an image of the embedded registry. Its digest stays the same; `push` and `pull` take the signature along."""
    from fairway.images.attach import signature_tag
    from fairway.images.registry import LocalRegistry
    from fairway.images.signatures import BadKey, private_key
    from fairway.images.signatures import sign as make

    state: StateDir = ctx.obj
    local, reference = LocalRegistry(registry or state.registry), reference_of(name)
    found = _found(local, reference)
    try:
        made = make(local.layout(reference.name), reference, found.digest, private_key(key.read_bytes(), _password()),
                    _pairs(annotations))
    except BadKey as error:
        raise CommandError(f"{key}: {error}") from None
    if push:
        from fairway.cli import image_registry

        ctx.invoke(image_registry.push, name=str(reference), registry=registry, output="text")
    tag = signature_tag(found.digest)
    if not machine({"name": str(reference), "digest": found.digest, "tag": tag, "signature": made.digest}, output):
        click.echo(f"signed {reference.name}@{found.digest}\n{reference.name}:{tag}")


@click.command()
@click.argument("name")
@click.option("--key", "files", type=click.Path(exists=True, dir_okay=False, path_type=Path), multiple=True, required=True,
              help="A public key (PEM); again for more: one of them is enough.")
@_annotation_option
@_registry_option
@output_option
@click.pass_obj
def verify(state: StateDir, name: str, files: tuple[Path, ...], annotations: tuple[str, ...], registry: Path | None,
           output: str) -> None:
    """Is an image of the embedded registry signed with one of these keys? Fails where it is not."""
    from fairway.images.layout import BadBlob
    from fairway.images.registry import LocalRegistry
    from fairway.images.signatures import BadKey, NotSigned, public_key
    from fairway.images.signatures import verify as check

    local, reference = LocalRegistry(registry or state.registry), reference_of(name)
    found = _found(local, reference)
    try:
        public = [public_key(file.read_bytes()) for file in files]
        stand = check(local.layout(reference.name), found.digest, public, _pairs(annotations))
    except (BadKey, NotSigned, BadBlob) as error:
        raise CommandError(f"{reference}: {error}") from None
    facts = {"name": str(reference), "digest": found.digest,
             "signatures": [{"reference": one.reference, "annotations": dict(one.annotations)} for one in stand]}
    if not machine(facts, output):
        click.echo(f"{reference.name}@{found.digest}: {len(stand)} signature{'s' if len(stand) != 1 else ''} stand"
                   f"{'' if len(stand) != 1 else 's'}")
        for one in stand:
            shown = "".join(f" {key}={value}" for key, value in one.annotations.items())
            click.echo(f"  signed as {one.reference}{shown}")


COMMANDS = (keys, sign, verify)
