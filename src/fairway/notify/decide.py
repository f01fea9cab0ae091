"""What people should hear about an object now, and what they have heard of it already.

Each trigger that holds has a mark that is new whenever the thing happens again: a time, a revision. The marks that were told
stand in an annotation of the object. A trigger whose mark is not there is told. What happened long before anybody listened is
not news.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from fairway.kube.api import MergePatch
from fairway.kube.decision import Change, Decision, Reason
from fairway.kube.objects import Obj, annotations_of, dig, key_of, parse_time, spec_of, status_of
from fairway.kube.resources import APPLICATIONS, PIPELINE_RUNS, RELEASES, ROLLOUTS, Resource
from fairway.notify.spec import BAD_NEWS, Trigger

NOTIFIED = "fairway.dev/notified"
NEWS_FOR = timedelta(hours=1)

_STATES: frozenset[str] = frozenset({"app-degraded"})
"""Triggers that end: forgotten when they hold no longer, so that they are told when they come back."""


@dataclass(frozen=True, slots=True)
class Message:
    """`facts` are short (name, value) pairs. `id` is the same for the same happening, however often it is looked at."""

    id: str
    trigger: Trigger
    kind: str
    namespace: str
    name: str
    title: str
    facts: tuple[tuple[str, str], ...] = ()
    at: datetime | None = None

    @property
    def bad(self) -> bool:
        return self.trigger in BAD_NEWS

    @property
    def text(self) -> str:
        """One paragraph, as a chat shows it."""
        lines = [f"{'🔴' if self.bad else '🟢'} {self.title}", *(f"{name}: {value}" for name, value in self.facts)]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Happening:
    """A trigger that holds. `mark` tells this time from the last one; `at` is when it happened, if the object says."""

    trigger: Trigger
    mark: str
    title: str
    facts: tuple[tuple[str, str], ...] = ()
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class News:
    """`decision` writes the record; then `messages` are sent."""

    decision: Decision
    messages: tuple[Message, ...] = ()


def decide(resource: Resource, obj: Obj, now: datetime) -> News:
    """What is to be told of this object."""
    told = _told(obj)
    happenings = list(_READERS[resource](obj))
    record = {trigger: mark for trigger, mark in told.items() if trigger not in _STATES}
    record.update((happening.trigger, happening.mark) for happening in happenings)
    if record == told:
        return News(Decision())
    fresh = [h for h in happenings if told.get(h.trigger) != h.mark]
    messages = tuple(_message(obj, h) for h in fresh if h.at is None or now - h.at <= NEWS_FOR)
    reasons = [Reason("Notified", message.title) for message in messages]
    reasons += [Reason("OldNews", f"{h.title}: that was at {h.at}, before anybody listened")
                for h in fresh if h.at is not None and now - h.at > NEWS_FOR]  # fmt: skip
    key = key_of(obj)
    written = json.dumps(record, sort_keys=True) if record else None
    patch = MergePatch({"metadata": {"annotations": {NOTIFIED: written}}})
    return News(Decision((Change(resource, key.namespace, key.name, patch),), reasons=tuple(reasons)), messages)


def _told(obj: Obj) -> dict[str, str]:
    try:
        record = json.loads(annotations_of(obj).get(NOTIFIED, "{}"))
    except ValueError:
        return {}
    return {str(k): str(v) for k, v in record.items()} if isinstance(record, dict) else {}


def _message(obj: Obj, happening: Happening) -> Message:
    key = key_of(obj)
    identity = f"{dig(obj, 'metadata', 'uid', default='')}/{happening.trigger}/{happening.mark}"
    facts = tuple((name, value) for name, value in happening.facts if value)
    return Message(identity, happening.trigger, str(obj.get("kind", "")), key.namespace, key.name, happening.title, facts,
                   happening.at)  # fmt: skip


def _time(text: object) -> datetime | None:
    try:
        return parse_time(str(text)) if text else None
    except ValueError:
        return None


# --- what each kind tells ---------------------------------------------------------------------------------------------

_OUTCOMES: Mapping[str, tuple[Trigger, str]] = {
    "Promoted": ("release-promoted", "is in"), "RolledBack": ("release-rolled-back", "was rolled back in"),
    "Failed": ("release-failed", "failed in"),
}  # fmt: skip


def _release(release: Obj) -> Iterator[Happening]:
    spec, status = spec_of(release), status_of(release)
    outcome = str(status.get("outcome", ""))
    if outcome not in _OUTCOMES:
        return
    trigger, verb = _OUTCOMES[outcome]
    application = spec.get("application") or key_of(release).name
    what = str(spec.get("sha") or str(spec.get("digest") or "").removeprefix("sha256:"))[:7]  # no pipeline made it: its digest
    title = f"{application} {what} {verb} {spec.get('environment') or key_of(release).namespace}"
    begun, ended = _time(status.get("pushedAt") or status.get("committedAt")), _time(status.get("finishedAt"))
    took = f"{round((ended - begun).total_seconds())} s" if begun and ended else ""
    facts = (("Digest", str(spec.get("digest", ""))), ("Evidence", _words(status.get("evidence"))), ("From push", took))
    yield Happening(trigger, outcome, title, facts, ended)


def _rollout(rollout: Obj) -> Iterator[Happening]:
    status, key = status_of(rollout), key_of(rollout)
    if not status.get("abort") and not status.get("abortedAt"):
        return
    at = str(status.get("abortedAt") or "")
    facts = (("Reason", str(status.get("message", ""))), ("Stable", str(status.get("stableRS", ""))))
    yield Happening("rollout-aborted", at or str(status.get("currentPodHash", "")),
                    f"rollout {key} was aborted; stable keeps serving", facts, _time(at))  # fmt: skip


def _application(application: Obj) -> Iterator[Happening]:
    status, name = status_of(application), key_of(application).name
    health = status.get("health") or {}
    if health.get("status") == "Degraded":
        since = str(health.get("lastTransitionTime") or "")
        reason = (("Reason", str(health.get("message") or "")),)
        yield Happening("app-degraded", since or "Degraded", f"application {name} is degraded", reason, _time(since))
    operation = status.get("operationState") or {}
    revision = str(dig(operation, "syncResult", "revision", default="") or dig(status, "sync", "revision", default=""))
    finished = str(operation.get("finishedAt") or "")
    facts = (("Revision", revision[:7]), ("Message", str(operation.get("message") or "")))
    match operation.get("phase"):
        case "Succeeded" if dig(status, "sync", "status") == "Synced":
            yield Happening("app-synced", revision, f"application {name} is synced", facts[:1], _time(finished))
        case "Failed" | "Error":
            yield Happening("app-sync-failed", f"{revision} {finished}", f"sync of application {name} failed", facts,
                            _time(finished))  # fmt: skip


def _pipeline_run(run: Obj) -> Iterator[Happening]:
    spec, status = spec_of(run), status_of(run)
    if status.get("phase") != "Failed":
        return
    failed = [str(job.get("name") or job.get("id")) for job in status.get("jobs") or () if job.get("phase") == "Failed"]
    title = f"{spec.get('workflow', 'workflow')} failed for {spec.get('repository', '')} {str(spec.get('sha', ''))[:7]}"
    subject = str(dig(status, "commit", "message", default="")).partition("\n")[0]
    author = str(dig(status, "commit", "author", default=""))
    facts = (("Jobs", ", ".join(failed)), ("Commit", subject), ("Author", author),
             ("Message", str(status.get("message") or "")))  # fmt: skip
    yield Happening("pipeline-failed", "Failed", title, facts, _time(status.get("finishedAt")))


def _words(value: object) -> str:
    if isinstance(value, list):
        return "; ".join(map(_words, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_words(one)}" for name, one in value.items())
    return str(value or "")


_READERS: Mapping[Resource, Callable[[Obj], Iterator[Happening]]] = {
    RELEASES: _release, ROLLOUTS: _rollout, APPLICATIONS: _application, PIPELINE_RUNS: _pipeline_run,
}  # fmt: skip
WATCHED: tuple[Resource, ...] = tuple(_READERS)
