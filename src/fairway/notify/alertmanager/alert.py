"""An alert as it is posted, and how it is known again: by its labels alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from fairway.kube.objects import parse_time

Labels = tuple[tuple[str, str], ...]
RESOLVE_TIMEOUT = timedelta(minutes=5)
"""An alert that says no end is over when nobody has repeated it for this long: Alertmanager's `resolve_timeout`."""


class BadAlert(ValueError):
    """It cannot be taken; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Alert:
    labels: Labels
    annotations: Labels
    starts_at: datetime
    ends_at: datetime
    updated_at: datetime
    generator_url: str = ""
    fingerprint: str = field(default="", compare=False)

    def resolved(self, now: datetime) -> bool:
        return self.ends_at <= now

    def label(self, name: str) -> str:
        return dict(self.labels).get(name, "")


def decode_alert(written: object, now: datetime, resolve_timeout: timedelta = RESOLVE_TIMEOUT) -> Alert:
    """One element of `POST /api/v2/alerts`."""
    if not isinstance(written, Mapping) or not isinstance(written.get("labels"), Mapping):
        raise BadAlert("an alert needs labels")
    labels = texts(written["labels"])
    if not labels:
        raise BadAlert("at least one label pair required")
    starts = _moment(written.get("startsAt"), "startsAt")
    ends = _moment(written.get("endsAt"), "endsAt")
    starts = starts or (min(ends, now) if ends is not None else now)
    if ends is not None and ends < starts:
        raise BadAlert("start time must be before end time")
    return Alert(labels, texts(written.get("annotations") or {}), starts, ends or now + resolve_timeout, now,
                 str(written.get("generatorURL") or ""), fingerprint(labels))  # fmt: skip


def texts(written: Mapping[Any, Any]) -> Labels:
    """Sorted pairs, without empty ones."""
    return tuple(sorted((str(name), str(text)) for name, text in written.items() if text not in (None, "")))


def merged(old: Alert | None, new: Alert, now: datetime) -> Alert:
    """What is known after the same alert came again: it began when it first did, unless it had ended in between."""
    if old is None or (old.resolved(now) and new.starts_at > old.ends_at):
        return new
    return replace(new, starts_at=min(old.starts_at, new.starts_at))


def fingerprint(labels: Labels) -> str:
    """Sixteen hexadecimal digits."""
    text = "\x00".join(f"{name}\x01{value}" for name, value in labels)
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


def _moment(written: object, field_name: str) -> datetime | None:
    """None where it is absent, or Go's zero time."""
    if written in (None, "") or str(written).startswith("0001-01-01"):
        return None
    try:
        return parse_time(str(written))
    except ValueError:
        raise BadAlert(f"{field_name}: {written!r} is no RFC 3339 time") from None
