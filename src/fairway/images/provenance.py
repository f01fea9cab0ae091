"""Where an image comes from: an in-toto statement with SLSA's provenance, version 1. Pure.

Values of build arguments are left out: people put secrets there. Source: slsa.dev/spec/v1.0/provenance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fairway.images.layout import encode
from fairway.images.reference import Reference

BUILD_TYPE = "https://fairway.dev/image-build/v1"
BUILDER = "https://fairway.dev/image-builder"


@dataclass(frozen=True, slots=True)
class Source:
    """The commit of the build context. `dirty`: the folder held changes that no commit has."""

    repository: str
    commit: str
    ref: str = ""
    dirty: bool = False


@dataclass(frozen=True, slots=True)
class Ingredient:
    """Something that went in, by digest: a base image, a requirements file."""

    uri: str
    digest: Mapping[str, str] = field(default_factory=dict)


def statement(images: Sequence[Reference], digest: str, *, dockerfile: str, target: str, arguments: Sequence[str],
              source: Source | None, ingredients: Sequence[Ingredient], started: datetime, finished: datetime,
              run: str = "", builder_version: str = "") -> bytes:
    """`run` is the URL or name of the pipeline run, "" outside one. Unknown sources are left out, not invented."""
    resolved: list[dict[str, Any]] = [{"uri": one.uri, "digest": dict(one.digest)} for one in ingredients]
    if source is not None:
        commit: dict[str, Any] = {"uri": f"git+{source.repository}" + (f"@{source.ref}" if source.ref else "")}
        if source.dirty:
            commit["annotations"] = {"dirty": True, "gitCommit": source.commit}  # what was built is not what the commit holds
        else:
            commit["digest"] = {"gitCommit": source.commit}
        resolved.insert(0, commit)
    hexadecimal = digest.partition(":")[2]
    return encode({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": hexadecimal}} for name in sorted({one.name for one in images})],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"dockerfile": dockerfile, "target": target, "buildArgs": sorted(arguments)},
                "internalParameters": {},
                "resolvedDependencies": resolved,
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": {"fairway": builder_version} if builder_version else {}},
                "metadata": {"invocationId": run, "startedOn": _time(started), "finishedOn": _time(finished)},
            },
        },
    })  # fmt: skip


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
