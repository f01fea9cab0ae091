"""Locust's `…_stats.csv`, the row Aggregated: times in milliseconds, shares in percent."""

from __future__ import annotations

import csv

from fairway.gates.forms.report import Measured, Unreadable

_TIMES = {"50%": "p50", "90%": "p90", "95%": "p95", "99%": "p99", "100%": "max", "Average Response Time": "avg"}


def read_locust(text: str) -> Measured:
    rows = list(csv.DictReader(text.splitlines()))
    total = next((row for row in rows if row.get("Name") == "Aggregated"), None)
    if total is None:
        raise Unreadable("there is no row Aggregated: this is not Locust's stats file (--csv NAME gives NAME_stats.csv)")
    try:
        requests, failures = int(total["Request Count"]), int(total["Failure Count"])
        if not requests:
            raise Unreadable("no request was made")
        values = {ours: float(total[theirs]) for theirs, ours in _TIMES.items() if total.get(theirs) not in (None, "", "N/A")}
        values |= {"requests": float(requests), "rps": float(total["Requests/s"]), "error_rate": failures * 100 / requests}
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"a Locust report that is not understood: {type(error).__name__}: {error}") from None
    worst = max((row for row in rows if row is not total), key=lambda row: int(row.get("Failure Count") or 0), default=None)
    detail = f"most at {worst['Type']} {worst['Name']}" if worst and int(worst.get("Failure Count") or 0) else ""
    return Measured(values, {"error_rate": detail})
