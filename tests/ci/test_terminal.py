"""`fairway ci run` as a person sees it: on a terminal, with Ctrl-C, a shell where a step fails, and files that change."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DEADLINE_S = 30.0
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Terminal:
    """A command on a terminal of 120 columns. `until` reads what it prints, `type` writes as a person would."""

    def __init__(self, argv: list[str], cwd: Path) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
            os.chdir(cwd)
            as_people_have_it = {"COLUMNS": "120", "TERM": "xterm-256color", "SHELL": "/bin/sh", "PS1": "$ "}
            os.execvpe(argv[0], argv, {**os.environ, **as_people_have_it})
        self.raw = ""
        self.code: int | None = None

    @property
    def text(self) -> str:
        return _ESCAPES.sub("", self.raw)

    def until(self, wanted: str, *, times: int = 1) -> str:
        """What was printed from the start, once `wanted` is in it (or, for "", the command is over)."""
        deadline = time.monotonic() + DEADLINE_S
        while not wanted or self.text.count(wanted) < times:
            assert time.monotonic() < deadline, f"{wanted!r} did not come:\n{self.text}"
            if not select.select([self._fd], [], [], 1.0)[0]:
                continue
            try:
                data = os.read(self._fd, 65536)
            except OSError:
                data = b""
            if not data:
                assert not wanted, f"it ended without {wanted!r}:\n{self.text}"
                self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
                break
            self.raw += data.decode(errors="replace")
        return self.text

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def close(self) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._fd)


@contextmanager
def ci_run(tmp_path: Path, workflow: str, *options: str) -> Iterator[Terminal]:
    tree = tmp_path / "tree"
    (tree / ".github/workflows").mkdir(parents=True, exist_ok=True)
    (tree / ".github/workflows/ci.yml").write_text(workflow)
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=tree, check=True)
    terminal = Terminal([str(Path(sys.executable).parent / "fairway"), "--state", str(tmp_path / "state"), "ci", "run",
                         *options], tree)
    try:
        yield terminal
    finally:
        terminal.close()


SLOW = """
on: push
jobs:
  slow:
    runs-on: ubuntu-latest
    steps:
      - run: echo begun; trap '' INT; sleep 300
      - if: cancelled()
        run: echo tidied
"""


def test_steps_are_headings_and_the_end_names_annotations_summaries_and_artifacts(tmp_path: Path) -> None:
    with ci_run(tmp_path, """
on: push
jobs:
  a:
    name: Unit tests of everything there is (3.12)
    runs-on: ubuntu-latest
    steps:
      - name: Test
        run: |
          echo "::warning file=src/app.py,line=3,col=7::unused"
          echo "### Fine" >> $GITHUB_STEP_SUMMARY
          echo "::group::Details"; echo inside; echo "::endgroup::"
          touch result
      - uses: actions/upload-artifact@v4
        with: {name: out, path: result}
      - run: exit 3
""") as terminal:
        lines = terminal.until("").splitlines()
    assert terminal.code == 1
    assert [line for line in lines if line.startswith("Unit tes…")][1:4] == [
        "Unit tes…there is (3.12) │ ▸ Test",
        "Unit tes…there is (3.12) │   Run echo \"::warning file=src/app.py,line=3,col=7::unused\"",
        "Unit tes…there is (3.12) │   echo \"::warning file=src/app.py,line=3,col=7::unused\""]
    assert "Unit tes…there is (3.12) │   ▸ Details" in lines and "Unit tes…there is (3.12) │ inside" in lines
    assert "warning  src/app.py:3:7  unused  (Unit tests of everything there is (3.12))" in lines
    assert lines[lines.index("summary of Unit tests of everything there is (3.12)") + 1] == "  ### Fine"
    assert any(line.startswith("artifacts: out  in ") for line in lines)
    assert any(line.startswith("logs: ") for line in lines)


def test_control_c_cancels_as_github_does_and_twice_kills(tmp_path: Path) -> None:
    with ci_run(tmp_path, SLOW.replace("trap '' INT; ", "")) as terminal:
        terminal.until("│ begun")
        terminal.type("\x03")
        text = terminal.until("")
    assert "cancelling; once more kills it" in text and "│ tidied" in text
    assert re.search(r"slow +Cancelled +[\d.]+s  the job was cancelled", text)
    with ci_run(tmp_path, SLOW) as terminal:
        terminal.until("│ begun")
        begin = time.monotonic()
        terminal.type("\x03")
        terminal.until("cancelling")
        terminal.type("\x03")
        text = terminal.until("")
    assert time.monotonic() - begin < 7, "not after the 7.5 s that a step has after SIGINT"
    assert re.search(r"slow +Cancelled .*killed", text) and "│ tidied" not in text
    assert not list((tmp_path / "state/ci/local/runs").glob("*/jobs/*/work")), "nothing is left"


def test_a_shell_where_a_step_fails_has_its_environment(tmp_path: Path) -> None:
    with ci_run(tmp_path, """
on: push
jobs:
  a:
    runs-on: ubuntu-latest
    env: {WORD: from-the-job}
    steps:
      - run: echo made > here.txt; exit 4
      - if: failure()
        run: echo after
""", "--shell-on-failure") as terminal:
        terminal.until("This is a shell where it failed")
        terminal.type("cat here.txt; echo word=$WORD\nexit\n")
        text = terminal.until("")
    assert "failed with 4" in text and "word=from-the-job" in text and "made\n" in text
    assert text.index("word=from-the-job") < text.index("│ after")
    assert terminal.code == 1


def test_watch_runs_again_after_a_change_also_one_made_meanwhile(tmp_path: Path) -> None:
    with ci_run(tmp_path, """
on: push
jobs:
  a: {runs-on: ubuntu-latest, steps: [{uses: actions/checkout@v4}, {run: 'echo "it says $(cat word.txt 2>/dev/null)."'}]}
""", "--watch") as terminal:
        terminal.until("it says .")
        (tmp_path / "tree/word.txt").write_text("hello")
        terminal.until("changed: word.txt")
        terminal.until("it says hello.")
        terminal.until("watching; Ctrl-C ends it", times=2)
        terminal.type("\x03")
        terminal.until("")
    assert terminal.code == 0, "the last run was fine"


def test_the_board_shows_a_line_a_job_and_the_log_of_what_failed(tmp_path: Path) -> None:
    with ci_run(tmp_path, "on: push\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: exit 1}]}}\n", "--live",
                "board") as terminal:
        text = terminal.until("")
    assert re.search(r"✗ a +[\d.]+s  step 'Run exit 1': Process completed with exit code 1\.", text)
    assert "── a\n" in text and "error: Process completed with exit code 1." in text
