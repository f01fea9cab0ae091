"""Lighthouse's JSON: scores of its categories from 0 to 100. A score of null was not measured."""

from __future__ import annotations

from fairway.gates.forms.report import NOT_AS_EXPECTED, Measured, Unreadable, loaded, misread


def read_lighthouse(text: str) -> Measured:
    body = loaded(text)
    result = body.get("lhr", body) if isinstance(body, dict) else None
    if not isinstance(result, dict) or not isinstance(result.get("categories"), dict):
        raise Unreadable("`categories` is missing: this is not Lighthouse's JSON (--output json)")
    try:
        if (error := result.get("runtimeError")) and error.get("code", "NO_ERROR") != "NO_ERROR":
            raise Unreadable(f"Lighthouse says that it failed: {error['code']}")
        scores = {name: float(one["score"]) * 100 for name, one in result["categories"].items() if one.get("score") is not None}
        details = {name: str(result.get("finalDisplayedUrl") or result.get("finalUrl") or "") for name in scores}
    except NOT_AS_EXPECTED as problem:
        raise misread("Lighthouse", problem) from None
    return Measured({name: round(score, 6) for name, score in scores.items()}, details)
