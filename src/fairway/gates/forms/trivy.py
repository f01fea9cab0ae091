"""Trivy's JSON (schema 2), which `fairway image scan -o json` writes too: findings of all its scanners, by severity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fairway.gates.forms.report import NOT_AS_EXPECTED, Finding, Findings, Unreadable, loaded, misread


def read_trivy(text: str) -> Findings:
    body = loaded(text)
    if not isinstance(body, dict) or not isinstance(body.get("Results"), list):
        raise Unreadable("`Results` is missing: Trivy looked at nothing, or this is not its JSON (--format json)")
    try:
        return Findings(tuple(finding for result in body["Results"] for finding in _findings(result)))
    except NOT_AS_EXPECTED as error:
        raise misread("Trivy", error) from None


def _findings(result: Mapping[str, Any]) -> Iterator[Finding]:
    target = str(result.get("Target", ""))
    for v in result.get("Vulnerabilities") or ():
        place = f"{v['PkgName']} {v.get('InstalledVersion', '')}".strip()
        yield Finding(v["VulnerabilityID"], _word(v), place, bool(v.get("FixedVersion")))
    for m in result.get("Misconfigurations") or ():
        if m.get("Status", "FAIL") == "FAIL":
            yield Finding(m.get("ID") or m["AVDID"], _word(m), target, True)
    for s in result.get("Secrets") or ():
        yield Finding(s["RuleID"], _word(s), f"{target}:{s.get('StartLine', 1)}", True)


def _word(entry: Mapping[str, Any]) -> frozenset[str]:
    return frozenset({str(entry.get("Severity") or "unknown").lower()})
