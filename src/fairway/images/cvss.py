"""CVSS 3 vectors to base scores, and scores to words. Pure. Source: FIRST, CVSS 3.1 specification, sections 7.1 and 5."""

from __future__ import annotations

import math

_AV = {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2}
_AC = {"L": 0.77, "H": 0.44}
_PR = {"N": 0.85, "L": 0.62, "H": 0.27}
_PR_CHANGED = {"N": 0.85, "L": 0.68, "H": 0.5}
_UI = {"N": 0.85, "R": 0.62}
_IMPACT = {"H": 0.56, "L": 0.22, "N": 0.0}


def base_score(vector: str) -> float | None:
    """0.0 to 10.0; None for a vector that is no CVSS 3 vector."""
    if not vector.startswith("CVSS:3"):
        return None
    given = dict(part.partition(":")[::2] for part in vector.split("/")[1:])
    try:
        changed = given["S"] == "C"
        missed = (1 - _IMPACT[given["C"]]) * (1 - _IMPACT[given["I"]]) * (1 - _IMPACT[given["A"]])
        privileges = (_PR_CHANGED if changed else _PR)[given["PR"]]
        exploitability = 8.22 * _AV[given["AV"]] * _AC[given["AC"]] * privileges * _UI[given["UI"]]
    except KeyError:
        return None
    iss = 1 - missed
    impact = 7.52 * (iss - 0.029) - 3.25 * (iss - 0.02) ** 15 if changed else 6.42 * iss
    if impact <= 0:
        return 0.0
    return _rounded_up(min((1.08 if changed else 1.0) * (impact + exploitability), 10.0))


def rating(score: float) -> str:
    """`critical`, `high`, `medium`, `low` or `none`."""
    bounds = ((9.0, "critical"), (7.0, "high"), (4.0, "medium"), (0.1, "low"))
    return next((word for bound, word in bounds if score >= bound), "none")


def _rounded_up(value: float) -> float:
    whole = round(value * 100_000)
    return whole / 100_000 if whole % 10_000 == 0 else (math.floor(whole / 10_000) + 1) / 10
