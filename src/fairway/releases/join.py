"""From a digest in production back to the commit that made it: the digest is the identity, tags are not asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from fairway.kube.objects import Obj, annotations_of, dig, meta_of, parse_time, spec_of, status_of

TRACKING_ID = "argocd.argoproj.io/tracking-id"
HOOK = "argocd.argoproj.io/hook"


@dataclass(frozen=True, slots=True)
class Source:
    """The commit that an image was built from, and when; what a PipelineRun does not say is "" or None."""

    repository: str = ""
    sha: str = ""
    committed_at: datetime | None = None
    pushed_at: datetime | None = None
    image_at: datetime | None = None


def digest_in(image: str) -> str:
    """ "sha256:…" of an image reference, "" where it names a tag only."""
    return image.partition("@")[2]


def source_of(digest: str, runs: Iterable[Obj]) -> Source:
    """From the PipelineRun that made the image first; a rebuild of the same digest changes nothing."""
    made = [run for run in runs if any(image.get("digest") == digest for image in status_of(run).get("images") or ())]
    if not made:
        return Source()
    run = min(made, key=lambda run: str(meta_of(run).get("creationTimestamp", "")))
    spec, status = spec_of(run), status_of(run)
    jobs = [job for job in status.get("jobs") or ()
            if any(image.get("digest") == digest for image in job.get("images") or ())]
    built = [job["finishedAt"] for job in jobs if job.get("finishedAt")]
    return Source(
        repository=str(spec.get("repository") or ""),
        sha=str(spec.get("sha") or ""),
        committed_at=_moment(dig(status, "commit", "committedAt")),
        pushed_at=_moment(dig(status, "commit", "pushedAt")),
        image_at=_moment(min(built) if built else status.get("finishedAt")),
    )


def application_of(obj: Obj) -> str:
    """The Application that an object belongs to, "" where none says so."""
    return annotations_of(obj).get(TRACKING_ID, "").partition(":")[0]


def digests_of(workload: Obj) -> tuple[str, ...]:
    """Digests that a workload's pod template names, containers in their order."""
    containers = dig(workload, "spec", "template", "spec", "containers", default=[])
    return tuple(digest for c in containers if (digest := digest_in(str(c.get("image") or ""))))


def _moment(text: str | None) -> datetime | None:
    return parse_time(text) if text else None
