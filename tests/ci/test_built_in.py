"""Built-in actions: what they do here, and what they say where there is nothing to do."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from fairway.ci.actions.paths_filter import listed
from fairway.ci.actions.reports import coverage_rate
from fairway.ci.actions.toolchains import fits
from tests.ci.test_steps import job, run

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="no node here")


@needs_node
def test_github_script_runs_and_records_what_it_would_ask(tmp_path: Path) -> None:
    ran = run(tmp_path, job("""
      - id: s
        uses: actions/github-script@v7
        with:
          script: |
            core.setOutput('o', context.repo.repo);
            await github.rest.issues.createComment({ owner: context.repo.owner, body: 'hello' });
            return { answer: 42 };
      - run: 'echo "${{ steps.s.outputs.o }} ${{ fromJSON(steps.s.outputs.result).answer }}"'
"""))
    assert ran.decision.phase == "Succeeded", ran.lines
    assert "app 42" in ran.lines
    assert any("github.rest.issues.createComment is only recorded here" in line for line in ran.lines)


def test_reports_are_read_and_what_was_not_scanned_is_said(tmp_path: Path) -> None:
    place = {"physicalLocation": {"artifactLocation": {"uri": "a.py"}, "region": {"startLine": 3}}}
    finding = {"level": "error", "ruleId": "X1", "message": {"text": "bad"}, "locations": [place]}
    sarif = {"version": "2.1.0", "runs": [{"results": [finding]}]}
    ran = run(tmp_path, job("""
      - {uses: codecov/codecov-action@v4, with: {files: coverage.xml, fail_ci_if_error: true}}
      - {uses: github/codeql-action/upload-sarif@v3, with: {sarif_file: found.sarif}}
      - {uses: aquasecurity/trivy-action@master, with: {scan-type: fs, format: sarif, output: trivy.sarif}}
      - run: cat trivy.sarif
      - {uses: slackapi/slack-github-action@v1, with: {payload: '{"text": "hi"}'}}
"""), {"coverage.xml": '<coverage line-rate="0.875">', "found.sarif": json.dumps(sarif)})
    assert ran.decision.phase == "Succeeded", ran.lines
    assert "coverage.xml: 87.5 % of lines" in ran.lines
    [note] = ran.row.annotations
    assert (note.level, note.file, note.line, note.title) == ("error", "a.py", 3, "X1")
    if shutil.which("trivy") is None:
        assert any('"executionSuccessful": false' in line for line in ran.lines)
    assert any("a message to Slack is only recorded here" in line for line in ran.lines)


def test_paths_filter_says_what_changed(tmp_path: Path) -> None:
    ran = run(tmp_path, job("""
      - run: |
          git init -q . && git config user.name a && git config user.email a@example.com
          mkdir src docs && echo 1 > src/a.py && git add . && git commit -qm one
          echo 2 > src/b.py && echo 3 > docs/x.md && rm src/a.py && git add -A . && git commit -qm two
      - id: f
        uses: dorny/paths-filter@v3
        with:
          list-files: json
          filters: |
            src: ['src/**']
            gone: [{deleted: '**/*.py'}]
            web: ['web/**']
      - env: {CHANGES: '${{ steps.f.outputs.changes }}', FILES: '${{ steps.f.outputs.src_files }}'}
        run: 'echo "$CHANGES $FILES ${{ steps.f.outputs.web }} ${{ steps.f.outputs.gone_count }}"'
"""))
    assert ran.decision.phase == "Succeeded", ran.lines
    assert '["src","gone"] ["src/a.py","src/b.py"] false 1' in ran.lines


def test_an_action_of_another_repository_is_taken_from_a_folder_or_left_out(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from fairway.cli.ci import command
    from fairway.state import StateDir

    tree, action = tmp_path / "tree", tmp_path / "action"
    (tree / ".github/workflows").mkdir(parents=True)
    (tree / ".github/workflows/ci.yml").write_text(
        "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n"
        "      - {id: t, uses: some/thing@v1, with: {word: hello}}\n      - run: 'echo \"out=${{ steps.t.outputs.o }}\"'\n")
    action.mkdir()
    (action / "action.yml").write_text("name: t\ninputs: {word: {}}\noutputs: {o: {value: '${{ steps.s.outputs.o }}'}}\nruns:\n"
                                       "  using: composite\n  steps:\n    - {id: s, shell: bash, "
                                       "run: 'echo \"o=${{ inputs.word }}\" >> \"$GITHUB_OUTPUT\"'}\n")
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@example.com"]
    for argv in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *argv], cwd=tree, check=True)

    def invoke(*argv: str) -> tuple[int, str]:
        result = CliRunner().invoke(command, ["run", str(tree), *argv], obj=StateDir(tmp_path / "state"),
                                    catch_exceptions=False)
        return result.exit_code, result.output

    assert "out=hello" in invoke("--action", f"some/thing={action}")[1]
    assert "out=stub" in invoke("--stub", "some/thing:o=stub")[1]
    code, output = invoke("--offline")
    assert (code, "leave it out with --stub some/thing" in output) == (1, True)


def test_small_judgements() -> None:
    assert [fits("20.11.1", wanted) for wanted in ("20", "20.x", "^20.3", ">=18", "lts/*", "22", "20.12")] == [
        True, True, True, True, True, False, False]
    assert listed(["a b.py", "c.py"], "shell") == "'a b.py' c.py"
    assert listed(["a,b", "c"], "csv") == '"a,b",c'


def test_coverage_of_three_formats(tmp_path: Path) -> None:
    for name, text, rate in (("a.xml", '<coverage x="1" line-rate="0.5">', 50.0), ("lcov.info", "LF:10\nLH:4\n", 40.0),
                             ("jacoco.xml", '<counter type="LINE" missed="1" covered="3"/>', 75.0), ("b.xml", "<x/>", None)):
        (tmp_path / name).write_text(text)
        assert coverage_rate(tmp_path / name) == rate
