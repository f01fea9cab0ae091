"""The provider `fairway`: a metric whose one measurement is the native gate, looked at until it is decided or ended.

All that the gate remembers stands in the measurement's metadata, so a controller that is killed goes on with the same
evidence. In the background the gate guards: it fails the run, or it runs until the run is ended. With `proof` it succeeds as
soon as the canary is proven, which makes it an analysis step that ends when enough is known and not when a timer does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from fairway.kube.clock import Clock
from fairway.kube.durations import parse_duration
from fairway.kube.objects import labels_of, meta_of, parse_time, rfc3339_micro
from fairway.rollouts.analysis_spec import Metric
from fairway.rollouts.fields import FieldError, Fields, SpecError
from fairway.rollouts.gate import Ahead, Arm, Counts, Gate, GateSpec, Look, begin, ended, evidence, fresh_wealth, look
from fairway.rollouts.keys import HASH_LABEL
from fairway.rollouts.measurements import Measurement
from fairway.rollouts.providers import Ask, failed_to_measure

STATE = "fairway.dev/gate"
FIELDS = ("canary", "stable", "falseAbort", "tolerate", "every", "warmUp", "cold", "slowerThan", "proof", "patience")


class NoCounts(Exception):
    """The data plane does not say what it served; the message says why."""


class Counting(Protocol):
    async def counts(self, namespace: str, *, slower_than: timedelta | None) -> Mapping[str, Arm]:
        """By pod-template hash, what the data plane served in this namespace. Raises `NoCounts`."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """The metric's settings, read: which versions, and how they are compared."""

    canary: str
    stable: str
    spec: GateSpec


def decode_gate(settings: Mapping[str, Any], *, canary: str = "") -> Asked:
    """`canary` is used where the settings name none. `SpecError` with the path of the mistake."""
    at = Fields(settings, "provider.fairway")
    for name in settings:
        if name not in FIELDS:
            raise SpecError(FieldError(at.at(name), f"unknown field; there are: {', '.join(FIELDS)}", settings[name]))
    stable = at.text("stable")
    if not stable:
        raise SpecError(FieldError(at.at("stable"), "the pod-template hash of stable is needed: an argument with "
                                   "`valueFrom: {podTemplateHashValue: Stable}`", type="Required value"))
    plain = GateSpec()
    slower = _length(at, "slowerThan", timedelta(0))
    return Asked(at.text("canary") or canary, stable, GateSpec(
        false_abort=_share(at, "falseAbort", plain.false_abort),
        tolerate=max(_number(at, "tolerate", plain.tolerate), 1.0),
        every=max(_length(at, "every", plain.every), timedelta(milliseconds=100)),
        warm_up=_length(at, "warmUp", plain.warm_up),
        cold=_share(at, "cold", plain.cold),
        slower_than=slower or None,
        proof=_share(at, "proof", 0.0),
        patience=_length(at, "patience", plain.patience),
    ))


def _length(at: Fields, name: str, default: timedelta) -> timedelta:
    text = at.text(name)
    try:
        return parse_duration(text) if text else default
    except ValueError:
        raise at.wrong(name, "a duration such as 500ms or 10s") from None


def _number(at: Fields, name: str, default: float) -> float:
    """A number, a numeric string, or a percentage."""
    value = at.raw.get(name)
    if value is None:
        return default
    try:
        text = str(value)
        return float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise at.wrong(name, "a number or a percentage") from None


def _share(at: Fields, name: str, default: float) -> float:
    value = _number(at, name, default)
    if not at.has(name) or 0.0 < value < 1.0:
        return value
    raise at.wrong(name, "more than 0 and less than 1 (100 %)")


class GateProvider:
    """Implements `MetricProvider`."""

    def __init__(self, counting: Counting, clock: Clock) -> None:
        self._counting, self._clock = counting, clock

    async def measure(self, ask: Ask, now: datetime) -> Measurement:
        try:
            asked = _asked(ask)
        except SpecError as mistake:
            return failed_to_measure(now, self._clock.now(), str(mistake))
        return await self._look(ask, asked, begin(now), Measurement("Running", started_at=now), now)

    async def resume(self, ask: Ask, unfinished: Measurement, now: datetime) -> Measurement:
        try:
            asked = _asked(ask)
        except SpecError as mistake:
            return replace(unfinished, phase="Error", message=str(mistake), finished_at=now, resume_at=None)
        return await self._look(ask, asked, read_state(unfinished.metadata, now), unfinished, now)

    async def end(self, ask: Ask, unfinished: Measurement, now: datetime) -> Measurement:
        answer = ended(read_state(unfinished.metadata, now))
        return replace(unfinished, phase=answer.verdict, message=answer.message, finished_at=now, resume_at=None)

    def about(self, metric: Metric) -> Mapping[str, str]:
        return {}

    async def _look(self, ask: Ask, asked: Asked, gate: Gate, measurement: Measurement, now: datetime) -> Measurement:
        counts: Counts | None = None
        why = ""
        try:
            namespace = str(meta_of(ask.run).get("namespace", ""))
            found = await self._counting.counts(namespace, slower_than=asked.spec.slower_than)
            counts = Counts(found.get(asked.canary, Arm()), found.get(asked.stable, Arm()))
        except NoCounts as missing:
            why = f" ({missing})"
        return _written(measurement, look(gate, counts, asked.spec, now), asked.spec, why, now)


def _asked(ask: Ask) -> Asked:
    return decode_gate(ask.settings, canary=labels_of(ask.run).get(HASH_LABEL, ""))


def _written(measurement: Measurement, answer: Look, spec: GateSpec, why: str, now: datetime) -> Measurement:
    done = answer.verdict != "Running"
    return replace(
        measurement, phase=answer.verdict, message=answer.message + why, value=f"{evidence(answer.gate, spec):.3g}",
        metadata={STATE: write_state(answer.gate)}, finished_at=now if done else None,
        resume_at=None if done else now + spec.every,
    )  # fmt: skip


# --- what is remembered, as text --------------------------------------------------------------------------------------


def write_state(gate: Gate) -> str:
    counts = {name: [[arm.requests, arm.errors, arm.slow] for arm in (pair.canary, pair.stable)]
              for name, pair in (("last", gate.last), ("pending", gate.pending), ("seen", gate.seen)) if pair is not None}
    times = {name: rfc3339_micro(at) for name, at in (("began", gate.began), ("looked", gate.looked),
                                                      ("served", gate.first_served), ("missing", gate.missing_since)) if at}
    wealth = {name: [float(f"{w:.9g}") for w in bets] for name, bets in (
        ("errors", gate.errors), ("slow", gate.slow), ("coldErrors", gate.cold_errors))}
    numbers = {"cold": float(f"{gate.cold:.9g}"), "proof": float(f"{gate.proof:.9g}")}
    ahead = {"ahead": [[one.requests, one.slow] for one in gate.ahead]} if any(a.slow or a.requests for a in gate.ahead) else {}
    return json.dumps({**times, **counts, **wealth, **numbers, **ahead}, separators=(",", ":"))


def read_state(metadata: Mapping[str, str], now: datetime) -> Gate:
    """As it was written; a gate whose memory was lost begins anew, which can only make it later."""
    if STATE not in metadata:
        return begin(now)
    at = json.loads(metadata[STATE])
    counts = {name: Counts(*(Arm(*arm) for arm in at[name])) for name in ("last", "pending", "seen") if name in at}
    fresh, ahead = fresh_wealth(), at.get("ahead") or ((), ())
    return Gate(
        began=parse_time(at["began"]), looked=parse_time(at["looked"]), last=counts.get("last"),
        pending=counts.get("pending", Counts(Arm(), Arm())), seen=counts.get("seen", Counts(Arm(), Arm())),
        ahead=(Ahead(*ahead[0]), Ahead(*ahead[1])),
        errors=tuple(at.get("errors") or fresh), slow=tuple(at.get("slow") or fresh), cold=at.get("cold", 1.0),
        cold_errors=tuple(at.get("coldErrors") or fresh), proof=at.get("proof", 1.0),
        first_served=parse_time(at["served"]) if "served" in at else None,
        missing_since=parse_time(at["missing"]) if "missing" in at else None,
    )  # fmt: skip
