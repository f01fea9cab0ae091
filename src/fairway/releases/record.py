"""A Release: what was deployed where, when, by which commit, and how it ended. One object per deployment of one digest.

Times are kept to the microsecond. A time that is not known is None, and stays out of every figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from fairway.kube.objects import Obj, meta_of, parse_time, rfc3339_micro, spec_of, status_of
from fairway.kube.resources import RELEASES

Outcome = Literal["InProgress", "Promoted", "RolledBack", "Failed"]
TIMES = ("committedAt", "pushedAt", "imageAt", "syncedAt", "exposedAt", "abortedAt", "promotedAt", "finishedAt")


@dataclass(frozen=True, slots=True)
class Release:
    """`revision` is the deployment repository's commit that brought the digest; `sha` the source commit ("" if unknown)."""

    name: str
    namespace: str
    application: str
    environment: str
    digest: str
    revision: str
    repository: str = ""
    sha: str = ""
    outcome: Outcome = "InProgress"
    committed_at: datetime | None = None
    pushed_at: datetime | None = None
    image_at: datetime | None = None
    synced_at: datetime | None = None
    exposed_at: datetime | None = None
    aborted_at: datetime | None = None
    promoted_at: datetime | None = None
    finished_at: datetime | None = None
    phases: Mapping[str, float] = field(default_factory=dict)
    evidence: str = ""
    created_at: datetime | None = None

    @property
    def ended(self) -> bool:
        return self.outcome != "InProgress"


def release_name(application: str, digest: str, revision: str) -> str:
    return f"{application}-{digest.removeprefix('sha256:')[:12]}-{revision[:7]}".rstrip("-").lower()


def read_release(obj: Obj) -> Release:
    meta, spec, status = meta_of(obj), spec_of(obj), status_of(obj)
    born = meta.get("creationTimestamp")
    return Release(
        name=meta["name"], namespace=meta.get("namespace", ""), application=str(spec.get("application") or ""),
        environment=str(spec.get("environment") or ""), digest=str(spec.get("digest") or ""),
        revision=str(spec.get("revision") or ""), repository=str(spec.get("repository") or ""), sha=str(spec.get("sha") or ""),
        outcome=status.get("outcome") or "InProgress", phases=status.get("phases") or {},
        evidence=str(status.get("evidence") or ""), created_at=parse_time(born) if born else None,
        **{_field(name): _moment(status.get(name)) for name in TIMES},
    )  # fmt: skip


def write_spec(release: Release) -> Obj:
    """The object as it is created; its status is written after it."""
    return {
        "apiVersion": RELEASES.api_version,
        "kind": RELEASES.kind,
        "metadata": {"name": release.name, "namespace": release.namespace,
                     "labels": {"fairway.dev/application": release.application,
                                "fairway.dev/environment": release.environment}},
        "spec": {"application": release.application, "environment": release.environment, "repository": release.repository,
                 "sha": release.sha, "digest": release.digest, "revision": release.revision},
    }


def write_status(release: Release) -> Obj:
    found: dict[str, Any] = {"outcome": release.outcome, "evidence": release.evidence or None,
                             "phases": {name: round(seconds, 3) for name, seconds in release.phases.items()}}
    for name in TIMES:
        moment: datetime | None = getattr(release, _field(name))
        found[name] = rfc3339_micro(moment) if moment else None
    return found


def _field(name: str) -> str:
    return f"{name.removesuffix('At')}_at"


def _moment(text: str | None) -> datetime | None:
    return parse_time(text) if text else None
