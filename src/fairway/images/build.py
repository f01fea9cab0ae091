"""From a project's folder to an image: a dependency layer, an application layer, and how to run them.

Same input, same digest: on every machine with the same interpreter version and packages. Nothing of the build's time, user or
path is in the image; a time that must be there comes from SOURCE_DATE_EPOCH.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fairway.images.dependencies import dependency_layer, python_tag
from fairway.images.dockerfile import Copy, DockerfileError, Plan, parse, plan
from fairway.images.ignore import Ignore
from fairway.images.layers import Layer, layer_of
from fairway.images.layout import CONFIG, MANIFEST, Descriptor, Layout, encode

_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
BASE_LABEL = "dev.fairway.interpreter"


@dataclass(frozen=True, slots=True)
class Request:
    """`dockerfile` is relative to nothing: a path on disk. `cache` keeps dependency layers. `target`: a stage, not the last."""

    context: Path
    dockerfile: Path
    cache: Path
    labels: Mapping[str, str] = field(default_factory=dict)
    build_args: Mapping[str, str] = field(default_factory=dict)
    target: str = ""


@dataclass(frozen=True, slots=True)
class Built:
    manifest: Descriptor
    config_digest: str
    size: int
    """Bytes of the compressed layers."""


def build(request: Request, into: Layout) -> Built:
    """Build into a layout. Raises `DockerfileError`, or `InstallFailed` from the dependencies."""
    shown = request.dockerfile.name
    try:
        text = request.dockerfile.read_text()
    except FileNotFoundError:
        raise DockerfileError(f"{request.dockerfile}: no such file; name it with --file") from None
    wanted = plan(parse(text, shown), request.build_args, shown, target=request.target)
    layers = [*_dependencies(request, wanted, shown), _application(request, wanted, shown)]
    config = into.write(encode(_config(wanted, layers, request.labels)), CONFIG)
    for layer in layers:
        into.write(layer.data, layer.descriptor.media_type)
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.as_json(),
        "layers": [layer.descriptor.as_json() for layer in layers],
    }
    manifest = into.write(encode(document), MANIFEST)
    return Built(manifest, config.digest, sum(layer.descriptor.size for layer in layers))


def _dependencies(request: Request, wanted: Plan, shown: str) -> Iterator[Layer]:
    files = []
    for requirement in wanted.requirements:
        path = request.context / requirement.sources[0]
        if not path.is_file():
            raise DockerfileError(f"{shown}:{requirement.line}: {requirement.sources[0]} is not in the build context "
                                  f"{request.context}; commit it, or compile it first")
        if path not in files:
            files.append(path)
    if files:
        yield dependency_layer(files, request.cache)


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


def _config(wanted: Plan, layers: list[Layer], labels: Mapping[str, str]) -> dict[str, Any]:
    env = {"PATH": _PATH, **wanted.env}
    run: dict[str, Any] = {
        "Env": [f"{name}={value}" for name, value in env.items()],
        "Labels": {BASE_LABEL: python_tag(), **wanted.labels, **labels},
        "WorkingDir": wanted.working_dir,
    }
    optional = {
        "Cmd": list(wanted.cmd), "Entrypoint": list(wanted.entrypoint), "User": wanted.user,
        "ExposedPorts": {port: {} for port in wanted.ports}, "Healthcheck": wanted.healthcheck,
        "StopSignal": wanted.stop_signal,
    }  # fmt: skip
    run.update({name: value for name, value in optional.items() if value})
    return {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "created": datetime.fromtimestamp(_epoch(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "config": run,
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created_by": "fairway image build", "comment": f"layer {n + 1}"} for n in range(len(layers))],
    }


def _epoch() -> int:
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    return int(text) if text.isdigit() else 0
