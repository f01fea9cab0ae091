"""k6's summary, as `--summary-export` or `handleSummary` writes it: times in milliseconds, shares in percent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairway.gates.forms.report import NOT_AS_EXPECTED, Measured, Unreadable, loaded, misread

_TIMES = {"avg": "avg", "med": "p50", "p(90)": "p90", "p(95)": "p95", "p(99)": "p99", "max": "max"}


def read_k6(text: str) -> Measured:
    body = loaded(text)
    metrics = body.get("metrics") if isinstance(body, dict) else None
    if not isinstance(metrics, dict):
        raise Unreadable("`metrics` is missing: this is not k6's summary (--summary-export)")
    try:
        times = _values(metrics.get("http_req_duration"))
        values = {ours: float(times[theirs]) for theirs, ours in _TIMES.items() if theirs in times}
        for name, metric in (("error_rate", "http_req_failed"), ("checks", "checks")):
            given = _values(metrics.get(metric))
            if (share := given.get("rate", given.get("value"))) is not None:
                values[name] = float(share) * 100
        requests = _values(metrics.get("http_reqs"))
        values.update({ours: float(requests[theirs]) for ours, theirs in (("requests", "count"), ("rps", "rate"))
                       if theirs in requests})  # fmt: skip
        failed = [f"{name}: {rule}" for name, metric in metrics.items() for rule in _failed(metric)]
    except NOT_AS_EXPECTED as error:
        raise misread("k6", error) from None
    if not values.get("requests"):
        raise Unreadable("no request was made")
    return Measured({**values, "thresholds": float(len(failed))}, {"thresholds": ", ".join(failed[:5])})


def _values(metric: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """`handleSummary` keeps them under `values`, `--summary-export` beside everything else."""
    values: Mapping[str, Any] = (metric or {}).get("values", metric or {})
    return values


def _failed(metric: Mapping[str, Any]) -> list[str]:
    """k6's own thresholds that were crossed: `{"ok": false}`, or `true` in the older form."""
    rules = metric.get("thresholds") or {}
    return [rule for rule, said in rules.items() if (said is True if isinstance(said, bool) else not said["ok"])]
