"""SonarQube's quality gate, as its API `api/qualitygates/project_status` answers: conditions that are not met."""

from __future__ import annotations

from fairway.gates.forms.report import NOT_AS_EXPECTED, Measured, Unreadable, loaded, misread


def read_sonar(text: str) -> Measured:
    body = loaded(text)
    try:
        project = body["projectStatus"]
        status = project["status"]
        if status not in ("OK", "WARN", "ERROR"):
            raise Unreadable(f"the quality gate is {status}: the project was not analysed")
        failed = [str(one["metricKey"]) for one in project.get("conditions") or () if one["status"] == "ERROR"]
        count = max(len(failed), int(status == "ERROR"))
        return Measured({"failed_conditions": float(count)}, {"failed_conditions": ", ".join(failed[:5])})
    except NOT_AS_EXPECTED as error:
        raise misread("SonarQube", error) from None
