"""Vulnerabilities as other tools read them: SARIF 2.1.0 for code scanning, Trivy's JSON for those who have Trivy's. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fairway.images.advisories import Vulnerability
from fairway.images.layout import encode
from fairway.images.reference import Reference

_SCORES = {"critical": 9.5, "high": 8.0, "medium": 5.5, "low": 2.0}
"""For findings whose records give a word and no score: the middle of CVSS 3.1's rating."""


def as_sarif(image: Reference, known: Sequence[Vulnerability]) -> bytes:
    rules = {v.id: _rule(v) for v in known}
    results = [{
        "ruleId": v.id,
        "level": "error" if v.severity in ("critical", "high") else "warning",
        "message": {"text": f"{v.package.name} {v.package.version}: {v.summary or v.id}"
                            + (f"; mended in {v.fixed}" if v.fixed else "; no version mends it")},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": image.repository}, "region": {"startLine": 1}}}],
        "partialFingerprints": {"vulnerability/v1": f"{v.id}:{v.package.purl}"},
    } for v in known]  # fmt: skip
    driver = {"name": "fairway image scan", "rules": list(rules.values())}
    return encode({"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0",
                   "runs": [{"tool": {"driver": driver}, "results": results}]})


def _rule(v: Vulnerability) -> dict[str, Any]:
    score = v.score if v.score is not None else _SCORES.get(v.severity)
    rule: dict[str, Any] = {"id": v.id, "shortDescription": {"text": v.summary or v.id}}
    if score is not None:
        rule["properties"] = {"security-severity": f"{score:.1f}", "tags": ["security", v.severity]}
    return rule


def as_trivy(image: Reference, known: Sequence[Vulnerability]) -> dict[str, Any]:
    results = []
    for kind, target, lang in (("pypi", "Python", "python-pkg"), ("deb", "Debian", "debian")):
        found = [{
            "VulnerabilityID": v.id, "PkgName": v.package.name, "InstalledVersion": v.package.version,
            "FixedVersion": v.fixed, "Severity": v.severity.upper(), "Title": v.summary,
            "PkgIdentifier": {"PURL": v.package.purl}, "Status": "fixed" if v.fixed else "affected",
        } for v in known if v.package.kind == kind]  # fmt: skip
        results.append({"Target": target, "Class": "lang-pkgs" if kind == "pypi" else "os-pkgs", "Type": lang,
                        "Vulnerabilities": found})  # fmt: skip
    return {"SchemaVersion": 2, "ArtifactName": str(image), "ArtifactType": "container_image", "Results": results}
