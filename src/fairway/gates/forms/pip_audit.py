"""pip-audit's JSON. It gives no severities: all are `unknown`. What it skipped was not checked, and is counted."""

from __future__ import annotations

from fairway.gates.forms.report import NOT_AS_EXPECTED, Finding, Findings, Unreadable, loaded, misread


def read_pip_audit(text: str) -> Findings:
    body = loaded(text)
    listed = body.get("dependencies") if isinstance(body, dict) else body
    if not isinstance(listed, list):
        raise Unreadable("`dependencies` is missing: this is not pip-audit's JSON (--format json)")
    if not listed:
        raise Unreadable("no dependency was audited")
    try:
        skipped = sum("skip_reason" in one for one in listed)
        found = tuple(
            Finding(v["id"], frozenset({"unknown"}), f"{one['name']} {one['version']}", bool(v.get("fix_versions")),
                    frozenset(v.get("aliases") or ()))
            for one in listed for v in one.get("vulns") or ()
        )  # fmt: skip
    except NOT_AS_EXPECTED as error:
        raise misread("pip-audit", error) from None
    return Findings(found, skipped)
