"""docker/build-push-action: an image built by `fairway image build` in a process of its own, and pushed where that reaches."""

from __future__ import annotations

import json
from pathlib import Path

from fairway.ci.actions.builtin import ActionFailed, BuiltIn, Use
from fairway.images.reach import is_reached
from fairway.images.reference import BadReference, parse_reference

_IGNORED = ("builder", "cache-from", "cache-to", "attests", "ssh", "secrets", "secret-files",
            "secret-envs", "ulimit", "shm-size", "network", "allow", "outputs", "load",
            "platforms")


def build_argv(fairway: tuple[str, ...], inputs: dict[str, str], tags: list[str], labels: list[str],
               build_args: list[str], metadata: Path) -> list[str]:
    """The command that builds the image. `inputs` are context, file, target, push, sbom, provenance."""
    context = inputs["context"] or "."
    argv = [*fairway, "image", "build", context]
    argv += ["-f", inputs["file"] or (f"{context.rstrip('/')}/Dockerfile")]
    for option, values in (("-t", tags), ("--label", labels), ("--build-arg", build_args)):
        for value in values:
            argv += [option, value]
    if inputs["target"]:
        argv += ["--target", inputs["target"]]
    argv += [f"--{option}" for option in ("push", "sbom", "provenance") if inputs.get(option) == "true"]
    return [*argv, "--metadata-file", str(metadata)]


async def build_push(use: Use) -> None:
    context = use.text("context") or "."
    if "://" in context or context.startswith("git@"):
        raise ActionFailed(f"context {context!r} is a remote repository; check it out and use `context: .`")
    for name in _IGNORED:
        if use.text(name) and use.text(name) not in ("false", "true"):
            use.notice(f"input {name!r} has no meaning without BuildKit and is not used")
    tags = use.listed("tags")
    if use.flag("push") and not tags:
        raise ActionFailed("tag is needed when pushing to registry")
    metadata = use.temp / f"image-metadata-{next(use.run.files)}.json"
    inputs = {name: use.text(name) for name in ("context", "file", "target", "push", "sbom")}
    inputs["provenance"] = "false" if use.text("provenance") in ("", "false") else "true"  # also mode=min, mode=max
    argv = build_argv(use.host.fairway, inputs, tags, use.lines("labels"), use.lines("build-args"), metadata)
    await use.execute(*argv)
    try:
        text = metadata.read_text()
        found = json.loads(text)
    except (OSError, ValueError) as error:
        raise ActionFailed(f"the image was built, but its metadata cannot be read: {error}") from None
    digest = str(found.get("containerimage.digest") or "")
    if not digest:
        raise ActionFailed(f"the metadata of the image name no containerimage.digest: {text[:200]}")
    use.output("digest", digest)
    use.output("imageid", str(found.get("containerimage.config.digest") or digest))
    use.output("metadata", text)
    if use.flag("push"):
        for tag in tags:
            if is_reached(_registry(tag), use.variables()):
                await use.execute(*use.host.fairway, "image", "push", tag)
    for name in dict.fromkeys(image_name(tag) for tag in tags):
        use.add_image(name, digest)


def image_name(reference: str) -> str:
    """The reference without tag and digest: `registry:5000/shop/app:1.0` is `registry:5000/shop/app`."""
    plain = reference.partition("@")[0]
    head, _, last = plain.rpartition("/")
    name = last.partition(":")[0]
    return f"{head}/{name}" if head else name


def _registry(tag: str) -> str:
    try:
        return parse_reference(tag).registry
    except BadReference as error:
        raise ActionFailed(str(error)) from None


BUILD_PUSH = BuiltIn(
    "docker/build-push-action",
    {"add-hosts": "", "allow": "", "annotations": "", "attests": "", "build-args": "", "build-contexts": "",
     "builder": "", "cache-from": "", "cache-to": "", "call": "", "cgroup-parent": "", "context": "", "file": "",
     "labels": "", "load": "false", "network": "", "no-cache": "false", "no-cache-filters": "", "outputs": "",
     "platforms": "", "provenance": "", "pull": "false", "push": "false", "sbom": "", "secrets": "", "secret-envs": "",
     "secret-files": "", "shm-size": "", "ssh": "", "tags": "", "target": "", "ulimit": "", "github-token": ""},
    build_push,
)
