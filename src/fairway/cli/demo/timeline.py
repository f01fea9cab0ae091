"""From the recorded events to what one delivery took: its steps, and when the team's own work was going on. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fairway.cli.demo.figures import Span
from fairway.cli.demo.recorder import Seen
from fairway.kube.objects import Obj, annotations_of, dig, is_true, parse_time, spec_of, status_of, uid_of

APPLIED_WEIGHT = "fairway.dev/applied-weight"
WISHED_WEIGHT = "nginx.ingress.kubernetes.io/canary-weight"


def step_spans(events: Sequence[Seen], start: float, end: float) -> tuple[Span, ...]:
    """One span per canary weight: from the data plane's confirmation to the next wish."""
    spans: list[Span] = []
    weight, since = "", 0.0
    for seen in _between(events, start, end, "Ingress"):
        wished = "" if seen.deleted else annotations_of(seen.obj).get(WISHED_WEIGHT, "")
        applied = annotations_of(seen.obj).get(APPLIED_WEIGHT, "")
        if weight and wished != weight:
            spans.append(Span(weight, since, seen.at))
            weight = ""
        if not weight and wished not in ("", "0") and applied == wished:
            weight, since = wished, seen.at
    if weight:
        spans.append(Span(weight, since, end))
    return tuple(spans)


def users_time(events: Sequence[Seen], start: float, end: float) -> tuple[Span, ...]:
    """When the team's own things ran: steps of jobs, containers until ready (or done), pauses of the rollout."""
    return (
        *_job_steps(events, start, end),
        *_while_true(_between(events, start, end, "Pod"), _container_at_work, "container", end),
        *_while_true(_between(events, start, end, "Rollout"), _pausing, "pause", end),
    )


def _between(events: Iterable[Seen], start: float, end: float, kind: str) -> list[Seen]:
    return [seen for seen in events if seen.kind == kind and start <= seen.at <= end]


def _job_steps(events: Sequence[Seen], start: float, end: float) -> list[Span]:
    last: dict[str, Obj] = {uid_of(s.obj): s.obj for s in _between(events, start, end, "PipelineRun")}
    spans = []
    for run in last.values():
        for job in status_of(run).get("jobs") or ():
            for step in job.get("steps") or ():
                if step.get("startedAt") and step.get("finishedAt"):
                    spans.append(Span(f"{job['name']}: {step.get('name', '')}", _seconds(step["startedAt"]),
                                      _seconds(step["finishedAt"])))
    return spans


def _seconds(text: str) -> float:
    return parse_time(text).timestamp()


def _container_at_work(pod: Obj) -> bool:
    """A container runs and the pod is not ready yet (it boots), or will never be (it is a job's)."""
    containers = status_of(pod).get("containerStatuses") or ()
    started = any("running" in (status.get("state") or {}) for status in containers)
    return started and (not is_true(pod, "Ready") or spec_of(pod).get("restartPolicy") == "Never")


def _pausing(rollout: Obj) -> bool:
    return bool(dig(rollout, "status", "pauseConditions")) and not dig(rollout, "status", "abort", default=False)


def _while_true(seen: Iterable[Seen], holds: object, name: str, end: float) -> list[Span]:
    """Spans in which `holds(object)` was true, per object."""
    assert callable(holds)
    since: dict[str, float] = {}
    spans = []
    for event in seen:
        uid = uid_of(event.obj)
        if not event.deleted and holds(event.obj):
            since.setdefault(uid, event.at)
        elif uid in since:
            spans.append(Span(name, since.pop(uid), event.at))
    return [*spans, *(Span(name, begin, end) for begin in since.values())]
