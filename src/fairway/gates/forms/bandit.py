"""bandit's JSON: issues by severity. A file that bandit could not parse was not checked, and is counted."""

from __future__ import annotations

from fairway.gates.forms.report import NOT_AS_EXPECTED, Finding, Findings, Unreadable, loaded, misread


def read_bandit(text: str) -> Findings:
    body = loaded(text)
    if not isinstance(body, dict) or not isinstance(body.get("results"), list):
        raise Unreadable("`results` is missing: this is not bandit's JSON (-f json)")
    try:
        found = tuple(
            Finding(one["test_id"], frozenset({str(one["issue_severity"]).lower()}), f"{one['filename']}:{one['line_number']}")
            for one in body["results"]
        )  # fmt: skip
        return Findings(found, len(body.get("errors") or ()))
    except NOT_AS_EXPECTED as error:
        raise misread("bandit", error) from None
