"""What goes wrong in other people's files and scripts, as GitHub workflows and as GitLab pipelines: it is said clearly, it
stays within bounds, and nothing of it is left."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from fairway.cli.ci import command
from fairway.state import StateDir

GITHUB, GITLAB = ".github/workflows/ci.yml", ".gitlab-ci.yml"
BOTH = pytest.mark.parametrize("file", [GITHUB, GITLAB], ids=["github", "gitlab"])


def run(tmp_path: Path, file: str, text: str, *options: str) -> tuple[int, list[str]]:
    """Exit code and lines of `fairway ci run` of this file."""
    tree = tmp_path / "tree"
    (tree / file).parent.mkdir(parents=True, exist_ok=True)
    (tree / file).write_text(text)
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@example.com"]
    for argv in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "--allow-empty", "-qm", "one"]):
        subprocess.run([*git, *argv], cwd=tree, check=True)
    result = CliRunner().invoke(command, ["run", str(tree), *options], obj=StateDir(tmp_path / "state"), catch_exceptions=False)
    assert leftovers(tmp_path) == [], "no process is left"
    assert not list((tmp_path / "state/ci/local").glob("runs/*/jobs/*/work")), "no work tree is left"
    assert not list((tmp_path / "state/ci/local/snapshots").glob("*")), "no snapshot is left"
    return result.exit_code, result.output.splitlines()


def leftovers(tmp_path: Path) -> list[str]:
    """Processes that were started for jobs below this folder."""
    mark, found = f"fairway:{tmp_path}".encode(), []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in environ.read_bytes() and int(environ.parent.name) != os.getpid():
                found.append((environ.parent / "cmdline").read_text())
        except OSError:
            continue
    return found


def script(file: str, text: str, more: str = "") -> str:
    """A job `a` with this script; `more` are its other keys."""
    indented = "".join(f"      {line}\n" for line in text.strip().splitlines())
    if file == GITLAB:
        return f"a:\n{more}  script:\n    - |\n{indented}"
    shifted = "".join(f"    {line}\n" for line in indented.splitlines())
    return f"on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n{more}    steps:\n      - run: |\n{shifted}"


@pytest.mark.parametrize(("file", "text", "said"), [
    (GITHUB, "on: push\njobs:\n  a: {needs: b, runs-on: ubuntu-latest, steps: [{run: x}]}\n"
             "  b: {needs: a, runs-on: ubuntu-latest, steps: [{run: x}]}\n"
             "  c: {runs-on: ubuntu-latest, steps: [{run: x}]}\n", f"{GITHUB}:3:14: "),
    (GITLAB, "a: {script: echo, needs: [b]}\nb: {script: echo, needs: [a]}\n", "the needs of job 'a' lead back to itself"),
    (GITHUB, "on: push\njobs:\n  z: {runs-on: ubuntu-latest, steps: [{run: x}]}\n"
             "  a: {needs: nobody, runs-on: ubuntu-latest, steps: [{run: x}]}\n", f"{GITHUB}:4:14: "),
    (GITLAB, "a: {script: echo, needs: [nobody]}\n", "undefined need: nobody"),
    (GITHUB, "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo ${{ github.ref == }}\n",
     f"{GITHUB}:6:14: "),
    (GITLAB, "a:\n  script: echo\n  rules: [{if: '$A == '}]\n", "a value is missing at the end"),
    (GITHUB, "on: push\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: x, uses: y}]}}\n", f"{GITHUB}:2:"),
    (GITHUB, "on: push\njobs: [1\n", f"{GITHUB}:3:1: "),
], ids=["github-cycle", "gitlab-cycle", "github-need", "gitlab-need", "github-expression", "gitlab-expression", "github-step",
        "github-yaml"])
def test_a_file_that_cannot_run_is_refused_with_its_place(tmp_path: Path, file: str, text: str, said: str) -> None:
    code, lines = run(tmp_path, file, text)
    assert code == 1 and said in "\n".join(lines), lines
    assert not any("│" in line for line in lines), "nothing has run"


def test_a_secret_that_is_not_there_is_named_and_empty(tmp_path: Path) -> None:
    text = script(GITHUB, 'echo "[${{ secrets.DEPLOY_KEY }}] [$TOKEN]"; echo "${{ secrets.GITHUB_TOKEN }}"',
                  "    env: {TOKEN: '${{ secrets.api_token }}', OTHER: '${{ secrets.GIVEN }}'}\n")
    code, lines = run(tmp_path, GITHUB, text, "-s", "GIVEN=something-long")
    assert code == 0
    assert [line.partition("│ ")[2] for line in lines if "warning" in line] == [
        "warning: secrets that are not set, and so are empty: API_TOKEN, DEPLOY_KEY"]
    assert "a │ [] []" in lines
    code, lines = run(tmp_path, GITHUB, text, "-s", "GIVEN=x", "-s", "DEPLOY_KEY=y", "-s", "API_TOKEN=z")
    assert not any("warning" in line for line in lines)


@pytest.mark.parametrize(("file", "size"), [(GITHUB, 1_000_000_000), (GITLAB, 200_000_000)], ids=["github", "gitlab"])
def test_a_gigabyte_of_output_is_cut_and_costs_no_memory(tmp_path: Path, file: str, size: int) -> None:
    loud = f"(yes \"$(head -c 4000 /dev/zero | tr '\\0' x)\" || true) | head -c {size}"
    code, lines = run(tmp_path, file, script(file, f"{loud}\necho; echo ended > ../../../../ended"))
    assert code == 0
    assert any("the log is cut here: it reached 16 MiB" in line for line in lines)
    assert sum(map(len, lines)) < 20 << 20
    [log] = (tmp_path / "state/ci/local/runs").glob("*/jobs/*/log.txt")
    assert log.stat().st_size < 17 << 20
    assert list((tmp_path / "state").rglob("ended")), "the script went on to its end"


@BOTH
def test_a_fork_bomb_is_ended_and_named(tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fairway.ci.process.MOST_PROCESSES", 60)
    code, lines = run(tmp_path, file, script(file, "for i in $(seq 200); do (setsid sleep 1000 &) ; done; sleep 1000"))
    assert code == 1
    assert any("more than 60 processes" in line for line in lines), lines[-5:]


@BOTH
def test_a_script_that_ignores_every_signal_is_killed_with_all_that_it_started(
        tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fairway.ci.process.INTERRUPT_S", 0.3)
    monkeypatch.setattr("fairway.ci.process.TERMINATE_S", 0.2)
    limit = "  timeout: 1 second\n" if file == GITLAB else "    timeout-minutes: 0.015\n"
    code, lines = run(tmp_path, file, script(
        file, "trap 'echo told INT' INT; trap 'echo told TERM' TERM\n(trap '' INT TERM; setsid sleep 1000) &\n"
              "while true; do sleep 0.05; done", limit))
    text = "\n".join(lines)
    assert code == 1 and "told INT" in text and "told TERM" in text
    assert re.search("maximum execution time|timed out|timeout|longer than", text), lines[-3:]
