"""Steps as processes: environment, command files, shells, failures, time limits, masking, actions of the repository."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from fairway.ci.course import RunDecision
from fairway.ci.environment import RunFacts
from fairway.ci.events import Event
from fairway.ci.github import GithubCourse
from fairway.ci.local import LocalRun
from fairway.ci.runner import LocalRunner, RunnerConfig
from fairway.ci.states import JobRow
from fairway.ci.workflow import decode_workflow
from fairway.kube.clock import WallClock
from fairway.secrets.masking import Masker
from tests.ci.world import is_alive


@dataclass
class Ran:
    decision: RunDecision
    lines: list[str]

    @property
    def row(self) -> JobRow:
        return self.decision.rows[0]

    def phases(self) -> list[str]:
        return [step.phase for step in self.row.steps]


def run(tmp_path: Path, text: str, files: Mapping[str, str] | None = None, secrets: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None) -> Ran:
    """Run a workflow whose work trees hold these files."""
    workflow = decode_workflow(text, ".github/workflows/ci.yml")
    lines: list[str] = []

    def fill(work: Path) -> None:
        for name, content in (files or {}).items():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text(content)

    runner = LocalRunner(RunnerConfig(tmp_path / "ci", Masker, job_env=env or {}, prepare=fill,
                                      listen=lambda job, line: lines.append(line)))
    event = Event("push", "shop/app", "refs/heads/main", "1" * 40, actor="Ada")
    course = GithubCourse(workflow, event, runner, RunFacts("run-1"), secrets=secrets or {})
    local = LocalRun(course, WallClock(), course.first_rows(), places=4)
    return Ran(asyncio.run(local.run()), lines)


def job(steps: str, more: str = "") -> str:
    return f"on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n{more}    steps:\n{steps}"


def test_env_levels_files_and_path(tmp_path: Path) -> None:
    ran = run(tmp_path, "env: {W: w, L: workflow}\n" + job("""
      - run: |
          mkdir bin; printf '#!/bin/sh\\necho my tool' > bin/mytool; chmod +x bin/mytool
          echo "$PWD/bin" >> "$GITHUB_PATH"
          echo "G=global" >> "$GITHUB_ENV"
          printf 'M<<EOF\\na\\nb\\nEOF\\n' >> "$GITHUB_ENV"
          echo "# Report" >> "$GITHUB_STEP_SUMMARY"
      - env: {L: step}
        run: |
          mytool
          echo "$W $L $G ${{ env.L }} ${{ env.G }} [$M]"
          echo "$GITHUB_REPOSITORY $GITHUB_REF_NAME $GITHUB_ACTOR $CI $HOME $TMPDIR"
          test -z "$SECRET_OF_THE_HOST"
      - run: echo "$L"
""", more="    env: {L: job, J: '${{ github.actor }}'}\n"), env={"MORE": "yes"})
    assert ran.decision.phase == "Succeeded", ran.lines
    assert "my tool" in ran.lines
    assert "w step global step global [a" in ran.lines
    home = tmp_path / "ci" / "runs" / "run-1" / "jobs" / "a" / "home"
    assert f"shop/app main Ada true {home} {home.parent / 'temp'}" in ran.lines
    assert "job" in ran.lines
    assert (tmp_path / "ci" / "runs" / "run-1" / "jobs" / "a" / "summary.md").read_text() == "# Report\n\n"
    assert not home.exists()


def test_the_default_shell_stops_at_an_error_and_bash_also_in_a_pipe(tmp_path: Path) -> None:
    ran = run(tmp_path, job("""
      - {run: 'false; echo not here', continue-on-error: true}
      - run: 'false | true; echo default goes on'
      - {run: 'false | true; echo not there', shell: bash, continue-on-error: true}
      - {run: 'print(6 * 7)', shell: python3 {0}}
      - {run: 'echo $0', shell: sh, working-directory: sub}
""".replace("python3 {0}", "'python3 {0}'")), files={"sub/x": ""})
    assert ran.phases() == ["Failed", "Succeeded", "Failed", "Succeeded", "Succeeded"]
    assert {"default goes on", "42"} <= set(ran.lines)
    assert not {"not here", "not there"} & set(ran.lines)
    assert ran.decision.phase == "Succeeded"


def test_outcome_conclusion_and_status_functions(tmp_path: Path) -> None:
    ran = run(tmp_path, job("""
      - {id: soft, run: exit 3, continue-on-error: true}
      - run: echo "${{ steps.soft.outcome }} ${{ steps.soft.conclusion }} ${{ job.status }}"
      - {id: hard, run: exit 4}
      - run: echo skipped
      - {if: failure(), run: 'echo "after ${{ steps.hard.outcome }} ${{ job.status }}"'}
      - {if: always(), run: echo always}
      - {if: cancelled(), run: echo cancelled}
"""))
    assert "failure success success" in ran.lines
    assert "after failure failure" in ran.lines
    assert ran.phases() == ["Failed", "Succeeded", "Failed", "Skipped", "Succeeded", "Succeeded", "Skipped"]
    assert ran.decision.phase == "Failed"
    assert "Process completed with exit code 4." in ran.decision.message


def test_commands_in_the_output(tmp_path: Path) -> None:
    ran = run(tmp_path, job("""
      - id: a
        run: |
          echo "::set-output name=x::one%0Atwo"
          echo "::add-mask::hush"
          echo "do not say hush"
          echo "::group::Things"
          echo "::endgroup::"
          echo "::error file=a.py,line=3::broken"
          echo "::stop-commands::tok"
          echo "::error::not a command"
          echo "::tok::"
          echo "::debug::hidden"
      - run: echo "[${{ steps.a.outputs.x }}]"
"""))
    assert ran.decision.phase == "Succeeded"
    assert {"do not say ***", "##[group]Things", "##[error]a.py:3: broken", "::error::not a command", "[one"} <= set(ran.lines)
    assert not any("hush" in line for line in ran.lines[ran.lines.index("::add-mask::***"):])
    assert not any("hidden" in line and "echo" not in line for line in ran.lines)


def test_secrets_are_masked_in_the_log_and_left_out_of_outputs(tmp_path: Path) -> None:
    ran = run(tmp_path, job("""
      - {id: s, run: 'echo "v=${{ secrets.TOKEN }}" >> $GITHUB_OUTPUT; echo w=ok >> $GITHUB_OUTPUT'}
      - run: echo "$T" | base64; echo "token is $T"
        env: {T: "${{ secrets.TOKEN }}"}
""", more="    outputs: {v: '${{ steps.s.outputs.v }}', w: '${{ steps.s.outputs.w }}'}\n"), secrets={"TOKEN": "s3cr3t-value"})
    assert "token is ***" in ran.lines
    log = (tmp_path / "ci/runs/run-1/jobs/a/log.txt").read_text()
    assert "s3cr3t" not in log
    assert "czNjcjN0LXZhbHVl" not in log
    assert dict(ran.row.outputs) == {"w": "ok"}


def test_time_limits_kill_the_whole_group(tmp_path: Path) -> None:
    ran = run(tmp_path, job("""
      - run: (sleep 600; true) & echo $! > $MARKS/child; exec python3 -c 'import time; time.sleep(600)'
        timeout-minutes: 0.005
""", more="    timeout-minutes: 1\n"), env={"MARKS": str(tmp_path)})
    assert ran.phases() == ["Failed"]
    assert "has timed out after 0.005 minutes" in ran.row.message
    assert not is_alive(int((tmp_path / "child").read_text()))


def test_a_job_that_runs_out_of_time_fails_and_tidies_up(tmp_path: Path) -> None:
    ran = run(tmp_path, job("""
      - run: exec python3 -c 'import time; time.sleep(600)'
      - {if: always(), run: echo tidy}
""", more="    timeout-minutes: 0.005\n"))
    assert ran.row.phase == "Failed"
    assert ran.row.message == "The job has exceeded the maximum execution time of 0.005 minutes."
    assert "tidy" in ran.lines


def test_what_a_job_leaves_in_the_background_ends_with_it(tmp_path: Path) -> None:
    ran = run(tmp_path, job("""
      - run: setsid sleep 600 & echo $! > $MARKS/pid
      - run: kill -0 $(cat $MARKS/pid) && echo still there
"""), env={"MARKS": str(tmp_path)})
    assert ran.decision.phase == "Succeeded", ran.lines
    assert "still there" in ran.lines
    assert not is_alive(int((tmp_path / "pid").read_text()))


COMPOSITE = """
name: greet
inputs: {who: {default: you}, loud: {default: "${{ github.actor }}"}}
outputs: {text: {value: "${{ steps.say.outputs.text }}"}}
runs:
  using: composite
  steps:
    - {id: say, shell: bash, run: 'echo "text=hello $WHO ${{ inputs.loud }} $OUTER" >> $GITHUB_OUTPUT',
       env: {WHO: "${{ inputs.who }}"}}
    - {shell: bash, if: failure(), run: exit 9}
    - {shell: sh, run: 'test -f "$GITHUB_ACTION_PATH/action.yml"'}
"""


def test_composite_actions(tmp_path: Path) -> None:
    ran = run(tmp_path, job("""
      - {id: g, uses: ./act, with: {Who: Bob}, env: {OUTER: out}}
      - run: echo "${{ steps.g.outputs.text }} [$OUTER$WHO]"
"""), files={"act/action.yml": COMPOSITE})
    assert "hello Bob Ada out []" in ran.lines, ran.lines


def test_what_cannot_run_is_refused_with_the_mend(tmp_path: Path) -> None:
    for step, message in {
        "{uses: someone/thing@v1}": "action 'someone/thing@v1': it is not built in",
        "{uses: 'docker://alpine'}": "container actions need docker or podman",
        "{uses: ./nothing}": "under './nothing'; did you forget to run actions/checkout",
        "{uses: actions/github-script@v7, with: {script: throw new Error(1)}}": "exit code 1",
        "{run: x, shell: fish}": "shell 'fish' is not known",
        "{run: x, working-directory: gone}": "working-directory 'gone' does not exist",
        "{run: 'echo broken >> $GITHUB_ENV'}": "Invalid format 'broken'",
    }.items():
        ran = run(tmp_path, job(f"      - {step}\n"))
        assert ran.decision.phase == "Failed", step
        assert message in ran.decision.message, ran.decision.message
    ran = run(tmp_path, job("      - run: 'true'\n").replace("ubuntu-latest", "windows-latest"))
    assert "no runner with the label 'windows-latest'" in ran.decision.message
    ran = run(tmp_path, job("      - run: 'true'\n", more="    services: {db: {image: example.com/mainframe}}\n"))
    assert "service example.com/mainframe: only PostgreSQL and Redis run here without containers" in ran.decision.message


def test_steps_beside_each_other(tmp_path: Path) -> None:
    ran = run(tmp_path, job("""
      - {id: one, background: true, run: 'mkfifo f; echo "o=1" >> "$GITHUB_OUTPUT"; echo "E=one" >> "$GITHUB_ENV"; cat f'}
      - run: 'until test -e f; do :; done; echo "between [${{ steps.one.outputs.o }}][$E]"; echo went > f'
      - wait: one
      - run: 'echo "after [${{ steps.one.outputs.o }}][$E]"'
      - {id: server, background: true, run: 'exec sleep 1000'}
      - parallel:
          - {id: l, run: 'mkfifo g; cat g'}
          - {id: r, run: 'until test -e g; do :; done; echo met > g'}
      - cancel: server
      - run: 'echo "${{ steps.server.outcome }} ${{ steps.r.conclusion }}"'
"""))
    assert ran.decision.phase == "Succeeded", ran.lines
    for line in ("between [][]", "[one] went", "after [1][one]", "[l] met", "cancelled success"):
        assert line in ran.lines, ran.lines


def test_a_background_step_that_fails_fails_the_job_where_somebody_waits_for_it(tmp_path: Path) -> None:
    ran = run(tmp_path, job("      - {id: bad, background: true, run: exit 3}\n      - run: echo still here\n"
                            "      - wait-all:\n      - run: echo never\n"))
    assert ran.decision.phase == "Failed"
    assert "still here" in ran.lines
    assert "never" not in ran.lines


def test_a_step_that_prints_without_end_is_cut_and_its_commands_are_still_heard(tmp_path: Path) -> None:
    ran = run(tmp_path, job("""
      - id: loud
        run: |
          yes "$(head -c 4000 /dev/zero | tr '\\0' x)" | head -c 200000000
          echo; echo "::set-output name=o::heard"
      - run: 'test "${{ steps.loud.outputs.o }}" = heard'
"""))
    assert ran.decision.phase == "Succeeded", ran.lines[-3:]
    assert "##[warning]the log is cut here: it reached 16 MiB" in ran.lines
    assert sum(map(len, ran.lines)) < 20 * 1024 * 1024


def test_a_step_that_multiplies_without_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fairway.ci.process.MOST_PROCESSES", 60)
    ran = run(tmp_path, job("      - run: 'for i in $(seq 200); do sleep 1000 & done; wait'\n"))
    assert ran.decision.phase == "Failed"
    assert any("more than 60 processes" in line for line in ran.lines), ran.lines[-3:]
