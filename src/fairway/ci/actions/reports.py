"""Actions that take reports: coverage, findings. They are read and shown here; nothing is sent."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from fairway.ci.actions.builtin import ActionFailed, BuiltIn, Use
from fairway.ci.hash_files import select_files
from fairway.ci.states import Annotation

_COVERAGE = ("**/coverage.xml", "**/cobertura.xml", "**/lcov.info", "**/coverage.out", "**/coverage-final.json",
             "**/jacoco*.xml")
_LEVELS = {"error": "error", "warning": "warning", "note": "notice", "none": "notice"}


async def codecov(use: Use) -> None:
    """The rate of each report in log and summary."""
    named = [*use.listed("files"), *use.listed("file")]
    folder = use.inside(use.text("directory") or ".")
    files = select_files(folder, named or list(_COVERAGE))
    if not files:
        text = f"no coverage report found ({', '.join(named) or 'looked for ' + ', '.join(_COVERAGE[:3])})"
        if use.flag("fail_ci_if_error"):
            raise ActionFailed(text)
        use.warn(text)
        return
    for path in files:
        rate = coverage_rate(path)
        said = "not understood" if rate is None else f"{rate:.1f} % of lines"
        shown = f"{path.relative_to(use.workspace).as_posix()}: {said}"
        use.log(shown + (f" [{use.text('flags')}]" if use.text("flags") else ""))
        use.summary(f"- coverage of {shown}")
    use.notice(f"{len(files)} coverage report(s) read; nothing is sent from here")


def coverage_rate(path: Path) -> float | None:
    """Per cent of lines, of Cobertura, JaCoCo or LCOV."""
    text = path.read_text(errors="replace")
    if path.suffix == ".xml":
        found = re.search(r'<coverage\b[^>]*\bline-rate="([\d.]+)"', text)
        if found:
            return float(found[1]) * 100
        lines = re.findall(r'<counter type="LINE" missed="(\d+)" covered="(\d+)"/>', text)
        return 100.0 * int(lines[-1][1]) / max(int(lines[-1][0]) + int(lines[-1][1]), 1) if lines else None
    hit, all_lines = (sum(map(int, re.findall(rf"^{key}:(\d+)", text, re.MULTILINE))) for key in ("LH", "LF"))
    return 100.0 * hit / all_lines if all_lines else None


async def upload_sarif(use: Use) -> None:
    """Findings become annotations; the file is kept with the run."""
    path = use.inside(use.text("sarif_file") or "../results")
    files = sorted(path.glob("*.sarif")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise ActionFailed(f"Path does not exist: {use.text('sarif_file')}")
    for file in files:
        try:
            runs = json.loads(file.read_text())["runs"]
        except (ValueError, KeyError, TypeError) as error:
            raise ActionFailed(f"{file.name} is not SARIF: {error}") from None
        findings = [finding for run in runs for finding in run.get("results") or ()]
        for finding in findings:
            use.run.annotations.append(_annotation(finding))
        for run in runs:
            for call in run.get("invocations") or ():
                if call.get("executionSuccessful") is False:
                    use.warn(f"{file.name}: the tool did not run to its end; no findings is not the same as none")
        target = use.run.folders.path / "reports" / "sarif" / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        use.log(f"{file.name}: {len(findings)} finding(s)")
    use.output("sarif-id", files[0].stem)


def _annotation(finding: dict[str, Any]) -> Annotation:
    locations: list[dict[str, Any]] = finding.get("locations") or [{}]
    place: dict[str, Any] = locations[0].get("physicalLocation") or {}
    region = place.get("region") or {}
    return Annotation(_LEVELS.get(str(finding.get("level", "warning")), "warning"),
                      str((finding.get("message") or {}).get("text", ""))[:1000],
                      str((place.get("artifactLocation") or {}).get("uri", "")), int(region.get("startLine") or 0),
                      int(region.get("startColumn") or 0), str(finding.get("ruleId", "")))


async def codeql(use: Use) -> None:
    use.neutral("CodeQL is not available here: nothing was analysed")


async def trivy(use: Use) -> None:
    """The machine's trivy; without one a report that says that nothing was scanned."""
    kind = use.text("scan-type") or "image"
    target = use.text("image-ref") or use.text("input") or use.text("scan-ref") or "."
    program = shutil.which("trivy", path=use.run.search_path())
    if program is None:
        use.neutral(f"trivy is not on this machine: {target} was not scanned")
        if use.text("output") and use.text("format") == "sarif":
            use.inside(use.text("output")).write_text(json.dumps({
                "version": "2.1.0", "$schema": "https://json.schemastore.org/sarif-2.1.0.json", "runs": [{
                    "tool": {"driver": {"name": "Trivy"}}, "results": [], "invocations": [{
                        "executionSuccessful": False,
                        "toolExecutionNotifications": [{"message": {"text": "not scanned: trivy is not installed"}}]}]}]}))
        return
    argv = [program, kind, "--quiet", "--format", use.text("format") or "table", "--exit-code", use.text("exit-code") or "0"]
    for name, flag in (("severity", "--severity"), ("output", "--output"), ("vuln-type", "--vuln-type"),
                       ("timeout", "--timeout"), ("trivyignores", "--ignorefile"), ("scanners", "--scanners"),
                       ("skip-dirs", "--skip-dirs")):
        argv += [flag, use.text(name)] if use.text(name) else []
    argv += ["--ignore-unfixed"] if use.text("ignore-unfixed") == "true" else []
    await use.execute(*argv, target)


REPORTS = (
    BuiltIn("codecov/codecov-action", {"files": "", "file": "", "directory": "", "flags": "", "name": "", "token": "",
                                       "fail_ci_if_error": "false"}, codecov, takes_more=True),
    BuiltIn("github/codeql-action/upload-sarif", {"sarif_file": "", "category": "", "checkout_path": "", "token": "",
                                                  "wait-for-processing": ""}, upload_sarif, takes_more=True),
    *(BuiltIn(f"github/codeql-action/{part}", {}, codeql, takes_more=True) for part in ("init", "autobuild", "analyze")),
    BuiltIn("aquasecurity/trivy-action", {"scan-type": "image", "image-ref": "", "scan-ref": ".", "format": "table"}, trivy,
            takes_more=True),
)
