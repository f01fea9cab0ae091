"""`fairway image login|logout|push|pull|load|save|tag|list`: images between here and real registries."""

from __future__ import annotations

import asyncio
import platform
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.errors import CommandError, Misused
from fairway.cli.output import machine, output_option, table
from fairway.state import StateDir

if TYPE_CHECKING:
    from fairway.images.build import Base
    from fairway.images.distribution import Progress, Remote
    from fairway.images.reference import Reference
    from fairway.images.registry import LocalRegistry

_registry_option = click.option("--registry", type=click.Path(path_type=Path), help="Folder of the embedded registry.")
_plain_option = click.option("--plain-http", is_flag=True, help="The registry speaks HTTP (loopback addresses do anyway).")
_ca_option = click.option("--ca-file", type=click.Path(exists=True, path_type=Path),
                          help="Certificates to trust beside the system's.")


def reference_of(name: str) -> Reference:
    from fairway.images.reference import BadReference, parse_reference

    try:
        return parse_reference(name)
    except BadReference as error:
        raise Misused(str(error)) from error


@click.command()
@click.argument("registry")
@click.option("-u", "--username", required=True)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input, for scripts.")
@_plain_option
@_ca_option
@click.pass_obj
def login(state: StateDir, registry: str, username: str, password_stdin: bool, plain_http: bool, ca_file: Path | None) -> None:
    """Check an account at REGISTRY and remember it in the state folder."""
    from fairway.images.credentials import Account, BadCredentials, remember

    password = sys.stdin.read().rstrip("\n") if password_stdin else click.prompt("Password", hide_input=True, err=True)
    account = Account(username, password)

    async def check() -> None:
        from fairway.images.distribution import Remote

        async with Remote.open(registry, "", account=account, plain=plain_http, authorities=ca_file) as remote:
            await remote.ping()

    _talk(check)
    try:
        remember(registry, account, state.registries)
    except BadCredentials as error:
        raise CommandError(str(error)) from error
    click.echo(f"logged in to {registry} as {username}")


@click.command()
@click.argument("registry")
@click.pass_obj
def logout(state: StateDir, registry: str) -> None:
    """Forget the account at REGISTRY that `login` remembered."""
    from fairway.images.credentials import forget

    click.echo(f"forgot the account at {registry}" if forget(registry, state.registries) else f"there was none for {registry}")


@click.command()
@click.argument("name")
@click.option("--as", "other", metavar="NAME", help="Push under another name.")
@_registry_option
@_plain_option
@_ca_option
@output_option
@click.pass_obj
def push(state: StateDir, name: str, other: str | None, registry: Path | None, plain_http: bool, ca_file: Path | None,
         output: str) -> None:
    """Push an image of the embedded registry to the registry that its name names. Its digest stays the same."""
    from fairway.images.registry import LocalRegistry
    from fairway.images.transfer import push as send

    local, source = LocalRegistry(registry or state.registry), reference_of(name)
    target = reference_of(other) if other else source

    async def run() -> Any:
        async with _remote(state, target, plain_http, ca_file) as remote:
            found = local.resolve(source)
            if target != source:
                local.push(local.layout(source.name), found, target)
            return await send(local, target, remote, _progress())

    moved = _talk(run)
    facts = {"name": str(target), "digest": moved.manifest.digest, "sent": moved.sent}
    if not machine(facts, output):
        click.echo(f"pushed {target} ({moved.sent / 1e6:.1f} MB sent)\n{moved.manifest.digest}")


@click.command()
@click.argument("name")
@click.option("--platform", "wanted", metavar="OS/ARCH", help="Of an image for several.  [default: this machine's]")
@_registry_option
@_plain_option
@_ca_option
@output_option
@click.pass_obj
def pull(state: StateDir, name: str, wanted: str | None, registry: Path | None, plain_http: bool, ca_file: Path | None,
         output: str) -> None:
    """Pull an image into the embedded registry, where pods of that name find it."""
    from fairway.images.platforms import own_platform
    from fairway.images.registry import LocalRegistry
    from fairway.images.transfer import pull as fetch

    local, reference = LocalRegistry(registry or state.registry), reference_of(name)

    async def run() -> Any:
        async with _remote(state, reference, plain_http, ca_file) as remote:
            return await fetch(remote, reference, local, wanted or own_platform(platform.machine()), _progress())

    moved = _talk(run)
    if not machine({"name": str(reference), "digest": moved.manifest.digest, "fetched": moved.sent}, output):
        click.echo(f"pulled {reference} ({moved.sent / 1e6:.1f} MB fetched)\n{moved.manifest.digest}")


@click.command()
@click.argument("source", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("name")
@_registry_option
@click.pass_obj
def load(state: StateDir, source: Path, name: str, registry: Path | None) -> None:
    """Take the image of an OCI layout folder (the one tagged as NAME's tag, or its only one) as NAME."""
    from fairway.images.layout import Layout
    from fairway.images.registry import LocalRegistry

    reference = reference_of(name)
    manifests = Layout(source).manifests()
    chosen = manifests.get(reference.tag) or (next(iter(manifests.values())) if len(manifests) == 1 else None)
    if chosen is None:
        raise CommandError(f"{source} has no image tagged {reference.tag!r} (tags: {', '.join(sorted(manifests)) or 'none'})")
    LocalRegistry(registry or state.registry).push(Layout(source), chosen, reference)
    click.echo(f"loaded {reference}\n{chosen.digest}")


@click.command()
@click.argument("name")
@click.argument("target", type=click.Path(path_type=Path))
@_registry_option
@click.pass_obj
def save(state: StateDir, name: str, target: Path, registry: Path | None) -> None:
    """Write an image of the embedded registry to an OCI layout folder."""
    from fairway.images.layout import Layout
    from fairway.images.registry import LocalRegistry, UnknownImage, copy

    local, reference = LocalRegistry(registry or state.registry), reference_of(name)
    try:
        found = local.resolve(reference)
    except UnknownImage as error:
        raise CommandError(str(error)) from error
    copy(local.layout(reference.name), found, Layout(target))
    Layout(target).tag(reference.tag or "latest", found)
    click.echo(f"saved {reference} to {target}\n{found.digest}")


@click.command()
@click.argument("source")
@click.argument("target")
@_registry_option
@click.pass_obj
def tag(state: StateDir, source: str, target: str, registry: Path | None) -> None:
    """Give an image of the embedded registry another name. Its digest stays the same."""
    from fairway.images.registry import LocalRegistry, UnknownImage

    local, old, new = LocalRegistry(registry or state.registry), reference_of(source), reference_of(target)
    try:
        found = local.resolve(old)
    except UnknownImage as error:
        raise CommandError(str(error)) from error
    local.push(local.layout(old.name), found, new)
    click.echo(f"{new} is {found.digest}")


@click.command(name="list")
@_registry_option
@output_option
@click.pass_obj
def list_(state: StateDir, registry: Path | None, output: str) -> None:
    """The images of the embedded registry."""
    from fairway.images.registry import LocalRegistry

    known = list(LocalRegistry(registry or state.registry).images())
    facts = [{"name": name, "tag": tag, "digest": found.digest, "size": size} for name, tag, found, size in known]
    if not machine(facts, output):
        rows = [(name, tag, found.digest[:19], f"{size / 1e6:.1f}") for name, tag, found, size in known]
        click.echo(table(("NAME", "TAG", "DIGEST", "MB"), rows))


def pulled_base(state: StateDir, local: LocalRegistry, name: str) -> Base:
    """A base image: from the embedded registry where it is there already, else pulled."""
    from fairway.images.build import Base
    from fairway.images.platforms import NoPlatform, image_manifest, own_platform
    from fairway.images.registry import UnknownImage
    from fairway.images.transfer import pull as fetch

    reference, wanted = reference_of(name), own_platform(platform.machine())
    try:
        found = local.resolve(reference)
    except UnknownImage:
        async def run() -> Any:
            async with _remote(state, reference, False, None) as remote:
                return await fetch(remote, reference, local, wanted, _progress())

        found = _talk(run).manifest
    layout = local.layout(reference.name)
    try:
        return Base(layout, image_manifest(layout, found, wanted))
    except NoPlatform as error:
        raise CommandError(f"base image {reference}: {error}") from error


@asynccontextmanager
async def _remote(state: StateDir, reference: Reference, plain: bool, authorities: Path | None) -> AsyncIterator[Remote]:
    from fairway.images.credentials import account_of, files
    from fairway.images.distribution import Remote

    account = account_of(reference.registry, files(state.registries))
    async with Remote.open(reference.registry, reference.repository, account=account, plain=plain,
                           authorities=authorities) as remote:
        yield remote


def _talk(run: Callable[[], Any]) -> Any:
    from fairway.images.credentials import BadCredentials
    from fairway.images.distribution import RegistryError
    from fairway.images.layout import BadBlob
    from fairway.images.platforms import NoPlatform
    from fairway.images.registry import UnknownImage

    try:
        return asyncio.run(run())
    except (RegistryError, BadCredentials, BadBlob, NoPlatform, UnknownImage) as error:
        raise CommandError(str(error)) from error


def _progress() -> Progress | None:
    """A line that says how far each blob is, where somebody watches."""
    if not sys.stderr.isatty():
        return None

    def show(what: str, done: int, whole: int) -> None:
        end = "\n" if done >= whole else ""
        click.echo(f"\r{what[7:19]}  {done / 1e6:8.1f} of {whole / 1e6:.1f} MB{end}", err=True, nl=False)

    return show


COMMANDS = (login, logout, push, pull, load, save, tag, list_)
