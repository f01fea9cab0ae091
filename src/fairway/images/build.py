"""From a project's folder to an image: a dependency layer, an application layer, and how to run them.

Same input, same digest: on every machine with the same interpreter version and packages. Nothing of the build's time, user or
path is in the image; a time that must be there comes from SOURCE_DATE_EPOCH.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fairway.images.dependencies import dependency_layer, python_tag
from fairway.images.dockerfile import Copy, DockerfileError, Plan, parse, plan
from fairway.images.ignore import Ignore
from fairway.images.layers import Layer, layer_of
from fairway.images.layout import CONFIG, MANIFEST, Descriptor, Layout, encode
from fairway.images.platforms import own_platform

_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
BASE_LABEL = "dev.fairway.interpreter"


@dataclass(frozen=True, slots=True)
class Base:
    """A base image: its manifest in a layout, and the manifest's digest."""

    layout: Layout
    digest: str


@dataclass(frozen=True, slots=True)
class Request:
    """`dockerfile` is relative to nothing: a path on disk. `cache` keeps dependency layers. `target`: a stage, not the last."""

    context: Path
    dockerfile: Path
    cache: Path
    labels: Mapping[str, str] = field(default_factory=dict)
    build_args: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    find_base: Callable[[str], Base | None] = field(default=lambda _name: None)
    """The image that FROM names; None leaves it to the machine that runs the image (the interpreter of the host)."""


@dataclass(frozen=True, slots=True)
class Built:
    manifest: Descriptor
    config_digest: str
    size: int
    """Bytes of the compressed layers."""
    base: str = ""
    """What FROM names."""
    base_digest: str = ""
    """"" where the base is the host."""
    requirements: tuple[Path, ...] = ()


def build(request: Request, into: Layout) -> Built:
    """Build into a layout. Raises `DockerfileError`, or `InstallFailed` from the dependencies."""
    shown = request.dockerfile.name
    try:
        text = request.dockerfile.read_text()
    except FileNotFoundError:
        raise DockerfileError(f"{request.dockerfile}: no such file; name it with --file") from None
    wanted = plan(parse(text, shown), request.build_args, shown, target=request.target)
    files = _requirements(request, wanted, shown)
    base = request.find_base(wanted.base) if wanted.base != "scratch" else None
    below = _below(base, wanted, shown) if base else _Below()
    if base and files and below.python != python_tag():
        has = below.python or "no Python that it tells of (PYTHON_VERSION)"
        raise DockerfileError(f"{shown}:1: FROM {wanted.base} has {has}, the dependencies are built for {python_tag()}; "
                              "run fairway on that version, or choose another base")
    layers = [*([dependency_layer(files, request.cache)] if files else []), _application(request, wanted, shown)]
    config = into.write(encode(_config(wanted, layers, request.labels, below)), CONFIG)
    for layer in layers:
        into.write(layer.data, layer.descriptor.media_type)
    if base:
        for blob in below.layers:
            into.adopt(base.layout.blob_path(blob.digest), blob)
    stack = [*below.layers, *(layer.descriptor for layer in layers)]
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.as_json(),
        "layers": [layer.as_json() for layer in stack],
    }
    manifest = into.write(encode(document), MANIFEST)
    return Built(manifest, config.digest, sum(layer.size for layer in stack), wanted.base, base.digest if base else "",
                 tuple(files))


@dataclass(frozen=True, slots=True)
class _Below:
    """What the base brings: its layers, its configuration, and the interpreter that it says it has."""

    layers: tuple[Descriptor, ...] = ()
    diff_ids: tuple[str, ...] = ()
    history: tuple[Mapping[str, Any], ...] = ()
    run: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    python: str = ""


def _below(base: Base, wanted: Plan, shown: str) -> _Below:
    manifest = base.layout.read_json(base.digest)
    config = base.layout.read_json(manifest["config"]["digest"])
    if config.get("os", "linux") != "linux":
        raise DockerfileError(f"{shown}:1: FROM {wanted.base} is an image for {config['os']}, not for Linux")
    run = config.get("config") or {}
    env = dict(entry.partition("=")[::2] for entry in run.get("Env") or ())
    version = env.get("PYTHON_VERSION", "").split(".")
    return _Below(
        tuple(Descriptor.of(layer) for layer in manifest["layers"]), tuple(config["rootfs"]["diff_ids"]),
        tuple(config.get("history") or ()), run, env, f"python{version[0]}.{version[1]}" if len(version) > 1 else "",
    )  # fmt: skip


def _requirements(request: Request, wanted: Plan, shown: str) -> list[Path]:
    files: list[Path] = []
    for requirement in wanted.requirements:
        path = request.context / requirement.sources[0]
        if not path.is_file():
            raise DockerfileError(f"{shown}:{requirement.line}: {requirement.sources[0]} is not in the build context "
                                  f"{request.context}; commit it, or compile it first")
        if path not in files:
            files.append(path)
    return files


def _application(request: Request, wanted: Plan, shown: str) -> Layer:
    rules = request.dockerfile.with_name(request.dockerfile.name + ".dockerignore")
    if not rules.is_file():
        rules = request.context / ".dockerignore"
    ignore = Ignore(rules.read_text().splitlines() if rules.is_file() else ())
    files: dict[str, Path | bytes] = {}
    for copy in wanted.copies:
        for source in copy.sources:
            found = dict(_copied(request.context, copy, source, ignore))
            if not found:
                raise DockerfileError(f"{shown}:{copy.line}: COPY {source} finds no file in the build context; "
                                      "check the name, and what .dockerignore leaves out")
            files.update(found)
    return layer_of(files, epoch=_epoch())


def _copied(context: Path, copy: Copy, source: str, ignore: Ignore) -> Iterator[tuple[str, Path]]:
    """(path in the image, file) pairs of one source, which may be a pattern, a file or a folder."""
    pattern = source.strip("/").removeprefix("./") or "."
    matched = [context] if pattern == "." else sorted(context.glob(pattern))
    for origin in matched:
        if not origin.resolve().is_relative_to(context.resolve()):
            continue
        if origin.is_dir():
            for path in sorted(p for p in origin.rglob("*") if p.is_file()):
                if _seen(context, path, ignore):
                    yield _inside(copy.target, path.relative_to(origin).as_posix(), folder=True), path
        elif _seen(context, origin, ignore):
            yield _inside(copy.target, origin.name, folder=copy.target.endswith("/")), origin


def _seen(context: Path, path: Path, ignore: Ignore) -> bool:
    name = path.relative_to(context).as_posix()
    compiled = "__pycache__" in path.parts or path.suffix == ".pyc"
    return not compiled and not name.startswith(".git/") and not ignore.excludes(name)


def _inside(target: str, name: str, *, folder: bool) -> str:
    return (f"{target.rstrip('/')}/{name}" if folder else target).strip("/")


def _config(wanted: Plan, layers: list[Layer], labels: Mapping[str, str], below: _Below) -> dict[str, Any]:
    env = {"PATH": _PATH, **below.env, **wanted.env}
    own = {} if below.layers else {BASE_LABEL: python_tag()}
    run: dict[str, Any] = {
        **below.run,
        "Env": [f"{name}={value}" for name, value in env.items()],
        "Labels": {**own, **(below.run.get("Labels") or {}), **wanted.labels, **labels},
        "WorkingDir": wanted.working_dir if wanted.working_dir != "/" else below.run.get("WorkingDir") or "/",
    }
    if wanted.entrypoint:
        run.pop("Cmd", None)  # the base's command was meant for the base's entry point
    optional = {
        "Cmd": list(wanted.cmd), "Entrypoint": list(wanted.entrypoint), "User": wanted.user,
        "ExposedPorts": {port: {} for port in wanted.ports}, "Healthcheck": wanted.healthcheck,
        "StopSignal": wanted.stop_signal,
    }  # fmt: skip
    run.update({name: value for name, value in optional.items() if value})
    return {
        "architecture": own_platform(platform.machine()).partition("/")[2],
        "os": "linux",
        "created": datetime.fromtimestamp(_epoch(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "config": run,
        "rootfs": {"type": "layers", "diff_ids": [*below.diff_ids, *(layer.diff_id for layer in layers)]},
        "history": [*below.history,
                    *({"created_by": "fairway image build", "comment": f"layer {n + 1}"} for n in range(len(layers)))],
    }


def _epoch() -> int:
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    return int(text) if text.isdigit() else 0
