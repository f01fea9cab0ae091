"""Dockerfiles that need a real builder: buildah, podman or docker, whichever is here. The image comes back as an OCI layout."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fairway.images.layout import Descriptor, Layout
from fairway.images.registry import copy

BUILDERS = ("buildah", "podman", "docker")
"""In order of preference: the first two need no daemon."""


class BuilderFailed(Exception):
    """The builder is not here, or said no; the message ends with what it said."""


@dataclass(frozen=True, slots=True)
class Work:
    context: Path
    dockerfile: Path
    labels: Mapping[str, str]
    build_args: Mapping[str, str]
    target: str = ""


def present(find: Callable[[str], str | None] = shutil.which) -> str | None:
    return next((name for name in BUILDERS if find(name)), None)


def commands(builder: str, work: Work, layout: Path, image_id: Path) -> list[list[str]]:
    """The argvs that build the image and write it to `layout`; `image_id` is a file that the first one writes."""
    options = ["-f", str(work.dockerfile)]
    for flag, values in (("--label", work.labels), ("--build-arg", work.build_args)):
        for name, value in sorted(values.items()):
            options += [flag, f"{name}={value}"]
    if work.target:
        options += ["--target", work.target]
    context = str(work.context)
    match builder:
        case "docker":
            return [["docker", "buildx", "build", *options, "--provenance=false", "--output",
                     f"type=oci,dest={layout},tar=false", context]]
        case "podman":
            return [["podman", "build", *options, "--format", "oci", "--iidfile", str(image_id), context],
                    ["podman", "save", "--format", "oci-dir", "-o", str(layout), "@iid"]]
        case _:
            return [["buildah", "bud", "--isolation", "chroot", *options, "--format", "oci", "--iidfile", str(image_id),
                     context],
                    ["buildah", "push", "@iid", f"oci:{layout}"]]


def build_with(builder: str, work: Work, into: Layout) -> Descriptor:
    """The manifest of the image, now in `into`. Raises `BuilderFailed`."""
    if not shutil.which(builder):
        raise BuilderFailed(f"{builder} is not on PATH; install it, or choose another --builder")
    with tempfile.TemporaryDirectory(prefix="fairway-builder-") as folder:
        layout, image_id = Path(folder) / "layout", Path(folder) / "iid"
        for argv in commands(builder, work, layout, image_id):
            if "@iid" in argv:
                name = image_id.read_text().strip()
                argv = [name if word == "@iid" else word for word in argv]
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            if done.returncode:
                said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-12:])
                raise BuilderFailed(f"{builder} could not build {work.dockerfile.name}:\n{said}")
        made = Layout(layout)
        manifests = list(made.manifests().values())
        if len(manifests) != 1:
            raise BuilderFailed(f"{builder} wrote {len(manifests)} images where one was expected; build for one platform")
        copy(made, manifests[0], into)
        return manifests[0]
