"""Session affinity: whoever was answered by the canary once keeps it, by a cookie of this release."""

from __future__ import annotations

from fairway.rollouts.flagger.spec import Analysis


def release_cookie(analysis: Analysis, revision: str) -> str:
    """`name=value`, another value for every version; "" where there is no affinity."""
    if analysis.affinity is None or not analysis.affinity.cookie:
        return ""
    return f"{analysis.affinity.cookie}={revision[:10]}"


def cookie_pattern(cookie: str) -> str:
    return f".*{cookie}.*"


def set_cookie(cookie: str, max_age: int) -> str:
    return f"{cookie}; Max-Age={max_age}"
