"""Dockerfiles that need a real builder: buildah, podman or docker, whichever is here. The image comes back as an OCI layout.

Base images that are in the embedded registry are handed to the builder, which would look for them elsewhere. What a build
leaves in the builder's own storage is removed again, except what it pulled from real registries.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fairway.images.layout import Descriptor, Layout
from fairway.images.reference import BadReference, parse_reference
from fairway.images.registry import LocalRegistry, UnknownImage, copy

BUILDERS = ("buildah", "podman", "docker")
"""In order of preference: the first two need no daemon."""
_LAST_WORDS = 12  # lines of a failed build: the command that failed and what it said
_BASE = "base"

Say = Callable[[str], None]


class BuilderFailed(Exception):
    """The builder is not here, or said no; the message ends with what it said."""


@dataclass(frozen=True, slots=True)
class Base:
    """An image that a `FROM` line names (as written there), in a layout that holds nothing else."""

    name: str
    layout: Path
    digest: str


@dataclass(frozen=True, slots=True)
class Work:
    context: Path
    dockerfile: Path
    labels: Mapping[str, str]
    build_args: Mapping[str, str]
    target: str = ""
    bases: tuple[Base, ...] = field(default=())
    epoch: str = ""
    """`SOURCE_DATE_EPOCH`: the time of everything that the build makes."""


def present(find: Callable[[str], str | None] = shutil.which) -> str | None:
    return next((name for name in BUILDERS if find(name)), None)


def build_command(builder: str, work: Work, layout: Path, image_id: Path) -> list[str]:
    """The argv that builds the image: docker's writes it to `layout`, the others' leave its id in the file `image_id`."""
    options = ["-f", str(work.dockerfile)]
    for flag, values in (("--label", work.labels), ("--build-arg", work.build_args)):
        for name, value in sorted(values.items()):
            options += [flag, f"{name}={value}"]
    if work.target:
        options += ["--target", work.target]
    if builder == "docker":
        for base in work.bases:
            options += ["--build-context", f"{base.name}=oci-layout://{base.layout}@{base.digest}"]
        if work.epoch:
            options += ["--build-arg", f"SOURCE_DATE_EPOCH={work.epoch}"]
        return ["docker", "buildx", "build", *options, "--provenance=false", "--output", f"type=oci,dest={layout},tar=false",
                str(work.context)]
    options += ["--format", "oci", "--iidfile", str(image_id), *(["--timestamp", work.epoch] if work.epoch else [])]
    start = ["podman", "build"] if builder == "podman" else ["buildah", "bud", "--isolation", "chroot"]
    return [*start, *options, str(work.context)]


def export_command(builder: str, image: str, layout: Path) -> list[str]:
    if builder == "podman":
        return ["podman", "save", "--format", "oci-dir", "-o", str(layout), image]
    return ["buildah", "push", "--quiet", image, f"oci:{layout}"]


def build_with(builder: str, work: Work, into: Layout, say: Say = lambda line: None) -> Descriptor:
    """The manifest of the image, now in `into`; `say` hears the build. Raises `BuilderFailed`."""
    if not shutil.which(builder):
        raise BuilderFailed(f"{builder} is not on PATH; install it, or choose another --builder")
    with tempfile.TemporaryDirectory(prefix="fairway-builder-") as folder, ExitStack() as stack:
        layout, image_id = Path(folder) / "layout", Path(folder) / "iid"
        if builder != "docker":
            for base in work.bases:
                stack.enter_context(_lent(builder, base, say))
        _run(build_command(builder, work, layout, image_id), f"build {work.dockerfile.name}", say)
        if builder != "docker":
            image = image_id.read_text().strip()
            stack.callback(_discard, builder, image)
            _run(export_command(builder, image.removeprefix("sha256:"), layout), "write the image", say)
        made = Layout(layout)
        manifests = list(made.manifests().values())
        if len(manifests) != 1:
            raise BuilderFailed(f"{builder} wrote {len(manifests)} images where one was expected; build for one platform")
        copy(made, manifests[0], into)
        return manifests[0]


@contextmanager
def _lent(builder: str, base: Base, say: Say) -> Iterator[None]:
    """A base image in the builder's storage, under the name that the Dockerfile has for it."""
    # Named by its last part alone: the builder calls the image by the path that it is given, and not every path is such a name.
    image = _run([builder, "pull", "--quiet", f"oci:{base.layout.name}:{_BASE}"], f"take {base.name}", say,
                 folder=base.layout.parent)[-1]
    try:
        _run([builder, "tag", image, base.name], f"take {base.name}", say)
        yield
    finally:
        _discard(builder, image)


def _discard(builder: str, image: str) -> None:
    subprocess.run([builder, "rmi", "--force", image], stdin=subprocess.DEVNULL, capture_output=True)


def _run(argv: list[str], what: str, say: Say, *, folder: Path | None = None) -> list[str]:
    """The last lines of what the command says."""
    said: deque[str] = deque(maxlen=_LAST_WORDS)
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", cwd=folder) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line.rstrip())
            say(line.rstrip())
    if process.returncode:
        words = "\n".join(said)
        raise BuilderFailed(f"{argv[0]} could not {what}:\n{words}")
    return list(said)


@contextmanager
def bases_of(names: list[str], registries: list[LocalRegistry]) -> Iterator[tuple[Base, ...]]:
    """Those of the names that one of the registries has, each laid out for a builder."""
    with tempfile.TemporaryDirectory(prefix="fairway-bases-") as folder:
        found: list[Base] = []
        for number, name in enumerate(names):
            for registry in registries:
                try:
                    reference = parse_reference(name)
                    manifest = registry.resolve(reference)
                except (BadReference, UnknownImage):
                    continue
                layout = Layout(Path(folder) / str(number))
                copy(registry.layout(reference.name), manifest, layout)
                layout.tag(_BASE, manifest)
                found.append(Base(name, layout.root, manifest.digest))
                break
        yield tuple(found)


def epoch_of(environment: Mapping[str, str] = os.environ) -> str:
    return environment.get("SOURCE_DATE_EPOCH", "")
