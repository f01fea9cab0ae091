"""The native gate: is the canary worse than stable? Asked at every look, with one bound over all looks together.

Of every batch of requests the data plane knows how many each version served and how many failed. If both versions fail
equally often, each failure lands on the canary with probability q, its share of the batch, whatever the error rate is and
however it changes: an outage that hits both versions proves nothing. If the canary's odds of failing are θ times stable's,
the probability is θq / (1 - q + θq). The gate bets on several θ at once, and on nothing (cash); its wealth starts at 1. While
the canary is at most `tolerate` times as bad, wealth grows beyond 1/α with probability α at most, looked at as often as one
likes (Ville). So wealth 1/α is the evidence that aborts. Small weights lose nothing: a failure at 5 % is worth twenty.

A request that has been under way for longer than allowed is slow already: what hangs need not end before it counts.

Four additions keep that bound and mend what the plain test gets wrong:

- **A share of the wealth is spread again** before every batch with failures, so that a version that turns bad late is caught
  as soon as one that was bad at once.
- **No single look decides**: one look brings two thirds of the evidence at most. Failures that come together
  (retries, one client) count as one look's, and a second look has to agree.
- **A warm-up is judged by its own measure**: in it only a version that fails more than `cold` of its requests, and is worse
  than stable, is stopped. A quarter of α is set aside for it.
- **Proof** is the same bet the other way round: that the canary fails less often than a limit.

Where counts are missing nothing is bet: wealth stays, and the answer is neither yes nor no.

Source of the idea: Lindon & Malek, arXiv 2011.03567; Howard et al. on confidence sequences. Fewer requests than a batch's
are drawn without replacement, where the binomial bet is conservative (Hoeffding 1963).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

ODDS = (4.0, 15.0, 60.0, 400.0)
"""Alternatives, as multiples of what is tolerated. Four are enough: between two of them a bet loses a tenth of its growth."""
CASH = 0.05
SPREAD = 0.01
"""Of the wealth, per batch with failures. Of 100 such batches cash keeps a third at least, and a late failure finds 1 % of
the wealth on every bet: worth one or two failures."""
ONE_LOOK = 2 / 3
"""Of the evidence that aborts (as a power), what one look may bring: a second one has to bring the last third."""
COLD_SHARE = 0.25
COLD_WORST = 0.97
"""During warm-up the bet is on a version that fails practically always."""
PROOF_BETTER = 0.1
"""Proof bets on a tenth of the limit: a version at half the limit is still proven, in three times as many requests."""

Verdict = Literal["Running", "Failed", "Successful", "Inconclusive"]


@dataclass(frozen=True, slots=True)
class Arm:
    """What one version served: counters since its data plane started. `slow` of the requests took longer than allowed;
    `waiting` are under way now, and have been for longer than that."""

    requests: int = 0
    errors: int = 0
    slow: int = 0
    waiting: int = 0

    def __add__(self, other: Arm) -> Arm:
        return Arm(self.requests + other.requests, self.errors + other.errors, self.slow + other.slow)

    def since(self, before: Arm) -> Arm:
        """The increase; after a restart of the data plane its counters begin at 0."""
        if self.requests < before.requests:
            return replace(self, waiting=0)
        return Arm(self.requests - before.requests, max(self.errors - before.errors, 0), max(self.slow - before.slow, 0))


@dataclass(frozen=True, slots=True)
class Ahead:
    """Requests that were counted while they were still under way, and that the counters will bring once more."""

    requests: int = 0
    slow: int = 0

    @staticmethod
    def of(waiting: int) -> Ahead:
        return Ahead(waiting, waiting)


@dataclass(frozen=True, slots=True)
class Counts:
    canary: Arm
    stable: Arm


_NOTHING = Counts(Arm(), Arm())


@dataclass(frozen=True, slots=True)
class GateSpec:
    """`false_abort` is α. `tolerate` is an odds ratio: so many times as bad as stable is still good enough. `proof` is the
    error rate below which the canary has to be proven (0: nothing is to be proven, the gate guards until it is ended)."""

    false_abort: float = 0.01
    tolerate: float = 1.0
    every: timedelta = timedelta(milliseconds=500)
    warm_up: timedelta = timedelta(0)
    cold: float = 0.3
    slower_than: timedelta | None = None
    proof: float = 0.0
    patience: timedelta = timedelta(seconds=60)

    @property
    def needed(self) -> float:
        return 1.0 / self.false_abort


Wealth = tuple[float, ...]
"""On each of `ODDS`, and last in cash."""


def fresh_wealth() -> Wealth:
    return (*((1.0 - CASH) / len(ODDS) for _ in ODDS), CASH)


@dataclass(frozen=True, slots=True)
class Gate:
    """All that is remembered between looks. `pending` waits until both versions have served a request."""

    began: datetime
    looked: datetime
    last: Counts | None = None
    pending: Counts = _NOTHING
    seen: Counts = _NOTHING
    ahead: tuple[Ahead, Ahead] = (Ahead(), Ahead())
    """Of canary and stable."""
    errors: Wealth = ()
    slow: Wealth = ()
    cold: float = 1.0
    cold_errors: Wealth = ()
    proof: float = 1.0
    first_served: datetime | None = None
    missing_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """`message` is put together when somebody reads it."""

    gate: Gate
    verdict: Verdict
    said: str = ""
    spec: GateSpec | None = None
    warming: bool = False

    @property
    def message(self) -> str:
        return self.said or (_described(self, self.spec) if self.spec is not None else "")


def begin(now: datetime) -> Gate:
    fresh = fresh_wealth()
    return Gate(now, now, errors=fresh, slow=fresh, cold_errors=fresh)


def look(gate: Gate, counts: Counts | None, spec: GateSpec, now: datetime) -> Look:
    """One look. `counts` is None where the data plane does not answer."""
    if counts is None:
        since = gate.missing_since or gate.looked
        gate = replace(gate, missing_since=since)
        waited = (now - since).total_seconds()
        if now - since > spec.patience:
            return Look(gate, "Inconclusive", f"no counts for {waited:.0f} s: nothing is known, so a person has to decide")
        return Look(gate, "Running", f"no counts for {waited:.0f} s; holding the evidence so far")
    if gate.last is None:
        ahead = Ahead.of(counts.canary.waiting), Ahead.of(counts.stable.waiting)  # begun before the gate did: no concern of it
        return Look(replace(gate, last=counts, ahead=ahead, looked=now, missing_since=None), "Running", "counting from now on")
    canary, canary_ahead = _counted(gate.last.canary, counts.canary, gate.ahead[0])
    stable, stable_ahead = _counted(gate.last.stable, counts.stable, gate.ahead[1])
    served = gate.first_served or (now if canary.requests else None)
    warming = bool(spec.warm_up) and (served is None or now < served + spec.warm_up)
    batch = Counts(gate.pending.canary + canary, gate.pending.stable + stable)
    changed = _bets(gate, canary, batch, spec, warming=warming)
    gate = replace(gate, looked=now, missing_since=None, last=counts, first_served=served, ahead=(canary_ahead, stable_ahead),
                   seen=Counts(gate.seen.canary + canary, gate.seen.stable + stable), **changed)
    verdict: Verdict = "Running"
    if evidence(gate, spec) >= spec.needed:
        verdict = "Failed"
    elif spec.proof and gate.proof >= spec.needed:
        verdict = "Successful"
    return Look(gate, verdict, spec=spec, warming=warming)


def _counted(before: Arm, now: Arm, ahead: Ahead) -> tuple[Arm, Ahead]:
    """What is new, those that wait now among it, and how many are ahead of the counters then.

    Requests and slow ones are kept apart, for their counters do not move together. Should others wait now than before, some are
    counted later: never too many.
    """
    if now.requests < before.requests:
        ahead = Ahead()  # the data plane was restarted: what it had under way is gone
    fresh, waiting = now.since(before), now.waiting
    requests, slow = max(ahead.requests - fresh.requests, 0), max(ahead.slow - fresh.slow, 0)
    new = Arm(max(fresh.requests - ahead.requests, 0) + max(waiting - requests, 0), fresh.errors,
              max(fresh.slow - ahead.slow, 0) + max(waiting - slow, 0))
    return new, Ahead(max(requests, waiting), max(slow, waiting))


def ended(gate: Gate) -> Look:
    """The run is over before the gate has decided."""
    if gate.missing_since is not None or not gate.seen.canary.requests:
        return Look(gate, "Inconclusive", "ended without counts of the canary")
    return Look(gate, "Successful", f"nothing against the canary in its {gate.seen.canary.requests} requests")


def evidence(gate: Gate, spec: GateSpec) -> float:
    """1 is none, 1/α aborts. The average of several bets is a bet."""
    main = sum(gate.errors)
    if spec.slower_than is not None:
        main = (main + sum(gate.slow)) / 2
    if not spec.warm_up:
        return main
    return (1.0 - COLD_SHARE) * main + COLD_SHARE * min(gate.cold, sum(gate.cold_errors))


# --- bets -----------------------------------------------------------------------------------------------------------


def _bets(gate: Gate, canary: Arm, batch: Counts, spec: GateSpec, *, warming: bool) -> dict[str, Any]:
    """The fields of the gate that change: every bet after `canary` has served its requests, and what is still pending."""
    changed: dict[str, Any] = {"pending": batch}
    if canary.requests:
        changed["proof"] = _proven(gate.proof, canary, spec)
        if warming:
            changed["cold"] = _bet_cold(gate.cold, canary, spec)
    if not batch.canary.requests or not batch.stable.requests:
        return changed
    changed["pending"] = _NOTHING
    failed = batch.canary.errors, batch.stable.errors
    if warming:
        changed["cold_errors"] = _grown(gate.cold_errors, batch, *failed, spec)
        return changed
    changed["errors"] = _grown(gate.errors, batch, *failed, spec)
    if spec.slower_than is not None:
        changed["slow"] = _grown(gate.slow, batch, batch.canary.slow, batch.stable.slow, spec)
    return changed


def _grown(wealth: Wealth, batch: Counts, canary: int, stable: int, spec: GateSpec) -> Wealth:
    if not canary + stable:
        return wealth
    share = batch.canary.requests / (batch.canary.requests + batch.stable.requests)
    total = sum(wealth)
    part = SPREAD * total / len(wealth)
    logs = [_log_ratio(odds, share, spec.tolerate, canary, stable) for odds in ODDS]
    grown = [((1.0 - SPREAD) * w + part) * math.exp(min(log, 600.0)) for w, log in zip(wealth[:-1], logs, strict=True)]
    grown.append((1.0 - SPREAD) * wealth[-1] + part)
    limit = total * spec.needed**ONE_LOOK
    excess = sum(grown) / limit
    return tuple(w / excess for w in grown) if excess > 1.0 else tuple(grown)


def _log_ratio(odds: float, share: float, tolerate: float, canary: float, stable: float) -> float:
    """Log likelihood of where the failures landed: odds `tolerate`·`odds` against `tolerate`."""
    null, other = _landing(share, tolerate), _landing(share, tolerate * odds)
    return canary * math.log(other / null) + stable * math.log((1.0 - other) / (1.0 - null))


def _landing(share: float, odds: float) -> float:
    return odds * share / (1.0 - share + odds * share)


def _bet_cold(wealth: float, canary: Arm, spec: GateSpec) -> float:
    good = canary.requests - canary.errors
    log = canary.errors * math.log(COLD_WORST / spec.cold) + good * math.log((1.0 - COLD_WORST) / (1.0 - spec.cold))
    return max(wealth, 1e-12) * math.exp(min(log, math.log(spec.needed / COLD_SHARE) / 2))


def _proven(wealth: float, canary: Arm, spec: GateSpec) -> float:
    if not spec.proof:
        return wealth
    better, good = spec.proof * PROOF_BETTER, canary.requests - canary.errors
    log = canary.errors * math.log(PROOF_BETTER) + good * math.log((1.0 - better) / (1.0 - spec.proof))
    return max(wealth, 1e-12) * math.exp(min(log, 600.0))


# --- what it means --------------------------------------------------------------------------------------------------


def _described(seen: Look, spec: GateSpec) -> str:
    gate = seen.gate
    found, canary, stable = evidence(gate, spec), gate.seen.canary, gate.seen.stable
    rates = f"canary {_rate(canary.errors, canary.requests)}, stable {_rate(stable.errors, stable.requests)} failed"
    if spec.slower_than is not None:
        rates += f"; slower than {spec.slower_than.total_seconds() * 1000:g} ms: {_rate(canary.slow, canary.requests)} and " + (
            _rate(stable.slow, stable.requests))
    if seen.verdict == "Failed":
        return f"the canary is worse than stable (evidence {found:.0f} of {spec.needed:.0f}): {rates}"
    if seen.verdict == "Successful":
        return f"proven: fails less than {spec.proof:.2%} of its requests; {rates}"
    parts = [f"evidence {found:.2g} of {spec.needed:.0f} against the canary", rates]
    if seen.warming:
        parts.append("warming up")
    more = requests_needed(gate, spec)
    if more is not None:
        parts.append(f"about {more} more canary requests to abort if this goes on")
    if spec.proof:
        growth = math.log((1.0 - spec.proof * PROOF_BETTER) / (1.0 - spec.proof))
        left = math.ceil(max(math.log(spec.needed / max(gate.proof, 1e-300)), 0.0) / growth)
        parts.append(f"{left} more without an error to prove it below {spec.proof:.2%}")
    elif more is None:
        parts.append(f"one that fails 5 % would take about {_for_reference(gate, spec)}")
    return "; ".join(parts)


def requests_needed(gate: Gate, spec: GateSpec) -> int | None:
    """Canary requests until 1/α if both go on as seen; None where that would never come."""
    canary, stable = gate.seen.canary, gate.seen.stable
    if not canary.errors or not stable.requests:
        return None
    share = canary.requests / (canary.requests + stable.requests)
    growth = _growth(canary.errors / canary.requests, (stable.errors + 0.5) / (stable.requests + 1), share, spec)
    left = math.log(spec.needed / max(evidence(gate, spec), 1e-300))
    return math.ceil(left / growth) if growth > 0 else None


def _for_reference(gate: Gate, spec: GateSpec) -> int | str:
    canary, stable = gate.seen.canary, gate.seen.stable
    if not canary.requests or not stable.requests:
        return "as long as it gets no requests"
    share = canary.requests / (canary.requests + stable.requests)
    growth = _growth(0.05, (stable.errors + 0.5) / (stable.requests + 1), share, spec)
    left = math.log(spec.needed / max(evidence(gate, spec), 1e-300))
    return f"{math.ceil(left / growth)} requests" if growth > 0 else "for ever: stable fails as often"


def _growth(canary: float, stable: float, share: float, spec: GateSpec) -> float:
    """Expected log growth of the best bet, per canary request."""
    return max(_log_ratio(odds, share, spec.tolerate, canary, stable * (1.0 - share) / share) for odds in ODDS)


def _rate(bad: int, of: int) -> str:
    return f"{bad} of {of}" + (f" ({bad / of:.2%})" if of else "")
