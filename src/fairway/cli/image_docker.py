"""`fairway image docker …`: the docker commands of build scripts, for machines without a docker daemon.

Jobs of pipelines find it as `docker`. It builds, tags, pushes and pulls images and knows accounts; it runs no containers. What
is built stays with the job (below its home folder) until it is pushed: into the embedded registry, and on to the registry that
the name names where jobs reach that (`fairway.images.reach`).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from fairway.cli.errors import CommandError
from fairway.state import StateDir

if TYPE_CHECKING:
    from fairway.images.layout import Descriptor
    from fairway.images.reference import Reference
    from fairway.images.registry import LocalRegistry

_NOT_HERE = 125  # docker's own code for a command that could not be carried out
_IGNORED = ("pull", "no-cache", "load", "rm", "force-rm", "compress", "squash", "quiet")
_IGNORED_VALUES = ("cache-from", "cache-to", "platform", "progress", "network", "builder", "memory", "shm-size", "ulimit",
                   "provenance", "sbom")
_GROUPS = ("image", "container", "system")


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []}, hidden=True)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def docker(ctx: click.Context, words: tuple[str, ...]) -> None:
    """docker's commands for images, without docker."""
    given = list(words)
    if given[:1] and given[0] in _GROUPS:
        given = given[1:]
    if given[:2] == ["buildx", "build"]:
        given = given[1:]
    name, rest = (given[0], given[1:]) if given else ("", [])
    work = _COMMANDS.get(name)
    if work is not None:
        work(_Docker(ctx, ctx.obj), rest)
    elif name == "buildx":
        click.echo("images are built without a daemon: there is no builder to set up", err=True)
    elif name in ("version", "info", "--version", "-v", ""):
        click.echo("docker of Fairway: build, tag, push, pull, login, images and inspect, without a daemon")
    else:
        _refuse(f"docker {name}: Fairway runs no containers; have docker or podman on the machine, or leave the step out")


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []}, hidden=True)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def kaniko(ctx: click.Context, words: tuple[str, ...]) -> None:
    """kaniko's executor, without its container: build, push to every destination, write the digest."""
    parser = argparse.ArgumentParser(prog="executor", add_help=False, allow_abbrev=False)
    for name in ("context", "dockerfile", "target", "digest-file", "image-name-with-digest-file", "context-sub-path"):
        parser.add_argument(f"--{name}", *(["-c"] if name == "context" else []), default="")
    parser.add_argument("--destination", "-d", action="append", default=[])
    for name in ("build-arg", "label"):
        parser.add_argument(f"--{name}", action="append", default=[])
    parser.add_argument("--no-push", action="store_true")
    asked, _ = parser.parse_known_args([word.removesuffix("=true") for word in words])  # the rest is about caches and snapshots
    docker = _Docker(ctx, ctx.obj)
    folder = Path(asked.context.removeprefix("dir://") or ".") / asked.context_sub_path
    file = Path(asked.dockerfile or "Dockerfile")
    given = [word for name, values in (("--build-arg", asked.build_arg), ("--label", asked.label), ("-t", asked.destination))
             for value in values for word in (name, value)]
    target = ["--target", asked.target] if asked.target else []
    _build(docker, [*given, "-f", str(file if file.is_file() else folder / file), *target, str(folder)])
    for name in () if asked.no_push else asked.destination:
        docker.push(name)
    for file_, text in ((asked.digest_file, "{1}"), (asked.image_name_with_digest_file, "{0}@{1}\n")):
        if file_ and asked.destination:
            _, reference, found = docker.find(asked.destination[0])
            Path(file_).write_text(text.format(reference.name, found.digest))


class _Docker:
    def __init__(self, ctx: click.Context, state: StateDir) -> None:
        from fairway.images.registry import LocalRegistry

        self.ctx, self.state = ctx, state
        self.home = Path(os.environ.get("HOME") or "~").expanduser()
        self.store = LocalRegistry(self.home / ".local" / "share" / "fairway-docker")
        self.embedded = LocalRegistry(state.registry)
        self.accounts = Path(os.environ.get("DOCKER_CONFIG") or self.home / ".docker") / "config.json"

    def find(self, name: str) -> tuple[LocalRegistry, Reference, Descriptor]:
        """Built or pulled by this job, else in the embedded registry."""
        from fairway.cli.image_registry import reference_of
        from fairway.images.registry import UnknownImage

        reference = reference_of(name)
        for registry in (self.store, self.embedded):
            try:
                return registry, reference, registry.resolve(reference)
            except UnknownImage:
                continue
        raise CommandError(f"no such image: {reference}", mend=f"build it: docker build -t {name} .")

    def push(self, name: str) -> None:
        from fairway.cli import image_registry
        from fairway.images.reach import is_reached

        registry, reference, found = self.find(name)
        self.embedded.push(registry.layout(reference.name), found, reference)
        click.echo(f"The push refers to repository [{reference.name}]")
        if is_reached(reference.registry, os.environ):
            self.ctx.invoke(image_registry.push, name=str(reference))
        else:
            click.echo(f"{reference} is in the embedded registry; {reference.registry} was not spoken to", err=True)
        click.echo(f"{reference.tag}: digest: {found.digest} size: {found.size}")
        if record := os.environ.get("FAIRWAY_PUSHED_IMAGES"):
            with Path(record).open("a") as file:
                file.write(f"{reference.name} {found.digest}\n")


def _parser(name: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog=f"docker {name}", add_help=False, allow_abbrev=False)


def _parsed(parser: argparse.ArgumentParser, words: list[str]) -> Any:
    plain = [word.removesuffix("=true") for word in words if not word.endswith("=false")]  # flags may be written so
    found, unknown = parser.parse_known_args(plain)
    if unknown:
        odd = [word for word in unknown if word.startswith("-")] or unknown
        _refuse(f"{parser.prog}: {' '.join(odd)} is not understood by Fairway; leave it out, or have docker on the machine")
    return found


def _build(docker: _Docker, words: list[str]) -> None:
    from fairway.cli.image import build

    parser = _parser("build")
    parser.add_argument("-t", "--tag", action="append", default=[])
    parser.add_argument("-f", "--file")
    for name in ("build-arg", "label"):
        parser.add_argument(f"--{name}", action="append", default=[])
    for name in ("target", "iidfile", "metadata-file", *_IGNORED_VALUES):
        parser.add_argument(f"--{name}", default="")
    for name in ("push", *_IGNORED):
        parser.add_argument(f"--{name}", *(["-q"] if name == "quiet" else []), action="store_true")
    parser.add_argument("path")
    asked = _parsed(parser, words)
    arguments = [value if "=" in value else f"{value}={os.environ.get(value, '')}" for value in asked.build_arg]
    args = [asked.path, *(["-f", asked.file] if asked.file else [])]
    for option, values in (("-t", asked.tag), ("--label", asked.label), ("--build-arg", arguments)):
        args += [word for value in values for word in (option, value)]
    for option, value in (("--target", asked.target), ("--iidfile", asked.iidfile), ("--metadata-file", asked.metadata_file)):
        args += [option, value] if value else []
    if asked.tag:
        args += ["--push", "--registry", str(docker.store.root)]
    build.main(args=args, prog_name="docker build", standalone_mode=False, obj=docker.state)
    for tag in asked.tag if asked.push else ():
        docker.push(tag)


def _tag(docker: _Docker, words: list[str]) -> None:
    from fairway.cli.image_registry import reference_of

    parser = _parser("tag")
    parser.add_argument("source")
    parser.add_argument("target")
    asked = _parsed(parser, words)
    registry, reference, found = docker.find(asked.source)
    docker.store.push(registry.layout(reference.name), found, reference_of(asked.target))


def _push(docker: _Docker, words: list[str]) -> None:
    parser = _parser("push")
    parser.add_argument("-q", "--quiet", action="store_true")
    parser.add_argument("-a", "--all-tags", action="store_true")
    parser.add_argument("name")
    asked = _parsed(parser, words)
    if not asked.all_tags:
        docker.push(asked.name)
        return
    _, reference, _ = docker.find(asked.name)
    for tag in docker.store.tags(reference.name):
        docker.push(f"{reference.name}:{tag}")


def _pull(docker: _Docker, words: list[str]) -> None:
    from fairway.cli import image_registry
    from fairway.images.registry import UnknownImage

    parser = _parser("pull")
    parser.add_argument("-q", "--quiet", action="store_true")
    parser.add_argument("--platform")
    parser.add_argument("name")
    asked = _parsed(parser, words)
    reference = image_registry.reference_of(asked.name)
    try:
        found = docker.embedded.resolve(reference)
        docker.store.push(docker.embedded.layout(reference.name), found, reference)
        click.echo(f"{reference} is in the embedded registry")
    except UnknownImage:
        docker.ctx.invoke(image_registry.pull, name=str(reference), wanted=asked.platform, registry=docker.store.root)


def _login(docker: _Docker, words: list[str]) -> None:
    import asyncio

    from fairway.images.credentials import Account, remember
    from fairway.images.distribution import RegistryError, Remote
    from fairway.images.reach import is_reached

    parser = _parser("login")
    parser.add_argument("-u", "--username", default="")
    parser.add_argument("-p", "--password", default="")
    parser.add_argument("--password-stdin", action="store_true")
    parser.add_argument("registry", nargs="?", default="docker.io")
    asked = _parsed(parser, words)
    account = Account(asked.username, sys.stdin.read().rstrip("\n") if asked.password_stdin else asked.password)
    registry = asked.registry.partition("://")[2].partition("/")[0] or asked.registry

    async def check() -> None:
        async with Remote.open(registry, "", account=account) as remote:
            await remote.ping()

    if is_reached(registry, os.environ):
        try:
            asyncio.run(check())
        except RegistryError as error:
            raise CommandError(str(error)) from error
    remember(registry, account, docker.accounts)
    click.echo("Login Succeeded")


def _logout(docker: _Docker, words: list[str]) -> None:
    from fairway.images.credentials import forget

    registry = words[0] if words else "docker.io"
    forget(registry, docker.accounts)
    click.echo(f"Removing login credentials for {registry}")


def _images(docker: _Docker, words: list[str]) -> None:
    for name, tag, found, size in docker.store.images():
        click.echo(f"{name}:{tag} {found.digest} {size / 1e6:.1f}MB")


def _inspect(docker: _Docker, words: list[str]) -> None:
    """The formats by which scripts read a digest; without one, all of it."""
    parser = _parser("inspect")
    parser.add_argument("-f", "--format", default="")
    parser.add_argument("name")
    asked = _parsed(parser, words)
    registry, reference, found = docker.find(asked.name)
    layout = registry.layout(reference.name)
    config = layout.read_json(layout.read_json(found.digest)["config"]["digest"])
    image = layout.read_json(found.digest)["config"]["digest"]
    digest = f"{reference.name}@{found.digest}"
    facts = {"Id": image, "RepoTags": [str(reference)], "RepoDigests": [digest], "Config": config.get("config") or {},
             "Architecture": config.get("architecture"), "Os": config.get("os")}
    known = {"{{index .RepoDigests 0}}": digest, "{{.Id}}": image, "{{.ID}}": image,
             "{{json .RepoDigests}}": json.dumps([digest])}
    if asked.format and asked.format not in known:
        _refuse(f"docker inspect: the format {asked.format} is not understood; understood are {', '.join(known)}")
    click.echo(known[asked.format] if asked.format else json.dumps([facts], indent=4))


_COMMANDS = {"build": _build, "tag": _tag, "push": _push, "pull": _pull, "login": _login, "logout": _logout, "images": _images,
             "ls": _images, "inspect": _inspect}


def _refuse(words: str) -> NoReturn:
    click.echo(words, err=True)
    sys.exit(_NOT_HERE)
