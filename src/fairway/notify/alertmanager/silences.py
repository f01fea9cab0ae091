"""Silences: matchers that keep alerts quiet for a time, written by people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from fairway.kube.objects import parse_time
from fairway.notify.alertmanager.matchers import BadMatcher, Matcher, all_match, matcher

KEPT = timedelta(hours=120)
"""How long an expired silence is still shown: Alertmanager's `data.retention`."""


class BadSilence(ValueError):
    """It cannot be taken; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Silence:
    id: str
    matchers: tuple[Matcher, ...]
    starts_at: datetime
    ends_at: datetime
    updated_at: datetime
    created_by: str
    comment: str

    def state(self, now: datetime) -> Literal["pending", "active", "expired"]:
        if now >= self.ends_at:
            return "expired"
        return "active" if now >= self.starts_at else "pending"

    def silences(self, labels: Mapping[str, str], now: datetime) -> bool:
        return self.state(now) == "active" and all_match(self.matchers, labels)

    def expired(self, now: datetime) -> Silence:
        return replace(self, ends_at=now, starts_at=min(self.starts_at, now), updated_at=now)

    def as_json(self, now: datetime) -> dict[str, Any]:
        return {
            "id": self.id, "status": {"state": self.state(now)}, "updatedAt": stamp(self.updated_at),
            "comment": self.comment, "createdBy": self.created_by, "startsAt": stamp(self.starts_at),
            "endsAt": stamp(self.ends_at), "matchers": [one.as_json() for one in self.matchers],
        }  # fmt: skip


def decode_silence(written: object, id: str, now: datetime, *, stored: bool = False) -> Silence:
    """As `POST /api/v2/silences` takes it, and as `as_json` wrote it (`stored`)."""
    if not isinstance(written, Mapping):
        raise BadSilence("a silence is an object")
    try:
        matchers = tuple(_matcher(one) for one in written.get("matchers") or ())
        starts, ends = (parse_time(str(written.get(name) or "")) for name in ("startsAt", "endsAt"))
        updated = parse_time(str(written["updatedAt"])) if stored else now
    except (ValueError, KeyError, TypeError) as error:
        raise BadSilence(f"bad silence: {error}") from None
    if not matchers:
        raise BadSilence("bad silence: at least one matcher required")
    if all(one.matches({}) for one in matchers):
        raise BadSilence("bad silence: at least one matcher must not match the empty string")
    if not stored:
        starts = max(starts, now)
        if ends <= starts:
            raise BadSilence("Failed to create silence: end time can't be in the past" if ends <= now else
                             "Failed to create silence: start time must be before end time")  # fmt: skip
        if not written.get("createdBy"):
            raise BadSilence("bad silence: creator information missing")
    return Silence(id, matchers, starts, ends, updated, str(written.get("createdBy") or ""), str(written.get("comment") or ""))


def _matcher(one: Any) -> Matcher:
    op = ("=" if one.get("isEqual", True) else "!") + ("~" if one.get("isRegex") else "" if one.get("isEqual", True) else "=")
    try:
        return matcher(str(one["name"]), op, str(one["value"]))
    except BadMatcher as error:
        raise ValueError(str(error)) from None


def silencing(silences: Iterable[Silence], labels: Mapping[str, str], now: datetime) -> list[str]:
    """Ids of the silences that keep an alert quiet."""
    return sorted(silence.id for silence in silences if silence.silences(labels, now))


def stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
