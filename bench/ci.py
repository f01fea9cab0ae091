"""CI runs from a working tree, each in a process of its own, as people start them.

Peers in the same run: gitlab-ci-local (FAIRWAY_GITLAB_CI_LOCAL as a command line, or on PATH, or fetched by npm into
`build/peers` with the node that it needs; shell executor), and act in host mode where it is found.
GitHub's dialect is measured against act, GitLab's against gitlab-ci-local. Goals: start-up and the first line of a step within
250 ms; a DAG whose longest path is 4 s ends within 4.3 s; hashFiles over 10,000 files ten times faster than act.
"""

from __future__ import annotations

import functools
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

FAIRWAY = str(Path(sys.executable).parent / "fairway")
_RUNS = 5
_FILES = 10_000
_MARK = "the-first-line"
_PEERS, _PACKAGES, _FETCH_S = Path("build/peers").absolute(), ("gitlab-ci-local@4", "node@22"), 300


def measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="fairway-bench-ci-") as folder:
        root = Path(folder)
        found: dict[str, Any] = {"start_up_ms": _told("start_up", lambda: _start_up(root / "start_up"))}
        for name, write in _SCENARIOS.items():
            found[name] = _told(name, lambda name=name, write=write: _scenario(root / name, write))
        found["hash_files_10000"] = _told("hash_files_10000", lambda: _hash_files(root / "hash"))
        found["first_line_ms"] = _told("first_line", lambda: _first_line(root / "one_step"))
    return found


def _told(name: str, measure: Callable[[], Any]) -> Any:
    """The answer, which is also printed at once: some take a minute."""
    print(f"  {name} ...", end="", file=sys.stderr, flush=True)
    answer = measure()
    shown = ", ".join(f"{key} {value}" for key, value in answer.items()) if isinstance(answer, dict) else answer
    print(f" {shown}", file=sys.stderr, flush=True)
    return answer


def _start_up(tree: Path) -> float | str:
    """`ci list` of a repository with one workflow."""
    _repository(tree, *_SCENARIOS["one_step"]())
    return _median([FAIRWAY, "ci", "list", str(tree)], tree, _RUNS)


def _scenario(tree: Path, write: Callable[[], tuple[str, str]]) -> dict[str, Any]:
    """Milliseconds of wall time, the median; the work tree is a repository with one commit."""
    github, gitlab = write()
    _repository(tree, github, gitlab)
    runs = 2 if tree.name.startswith("dag") else _RUNS
    answer = {"github_ms": _median(_fairway(tree, "ci.yml"), tree, runs), "gitlab_ms": _median(
        _fairway(tree, ".gitlab-ci.yml"), tree, runs)}
    peer = gitlab_ci_local()
    if peer:
        answer["gitlab_ci_local_ms"] = _median([*peer, "--force-shell-executor"], tree, runs)
        quick = [*peer, "--force-shell-executor", "--no-json-schema-validation"]
        answer["gitlab_ci_local_without_schema_ms"] = _median(quick, tree, runs)
    act = shutil.which("act")
    if act:
        answer["act_ms"] = _median([act, "push", "-P", "ubuntu-latest=-self-hosted", "-C", str(tree)], tree, runs)
    return answer


@functools.cache
def gitlab_ci_local() -> tuple[str, ...]:
    """The command, or nothing where it is not here and cannot be had."""
    given = os.environ.get("FAIRWAY_GITLAB_CI_LOCAL")
    if given:
        return tuple(shlex.split(given))
    found = shutil.which("gitlab-ci-local")
    if found:
        return (found,)
    bin = _PEERS / "node_modules" / ".bin"
    npm = shutil.which("npm")
    if not (bin / "gitlab-ci-local").exists() and npm:
        print("  fetching gitlab-ci-local and its node by npm (once) ...", file=sys.stderr, flush=True)
        _PEERS.mkdir(parents=True, exist_ok=True)
        subprocess.run([npm, "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(_PEERS), *_PACKAGES],
                       capture_output=True, timeout=_FETCH_S, check=False)
    command = bin / "gitlab-ci-local"
    return (str(bin / "node"), str(command.resolve())) if command.exists() and (bin / "node").exists() else ()


def _fairway(tree: Path, workflow: str) -> list[str]:
    return [FAIRWAY, "--state", str(tree.parent / "state"), "ci", "run", str(tree), "-w", workflow, "--places", "8"]


def _median(argv: list[str], tree: Path, runs: int) -> float | str:
    times = []
    for _ in range(runs + 1):
        begin = time.perf_counter()
        done = subprocess.run(argv, cwd=tree, capture_output=True, text=True, check=False)
        times.append(time.perf_counter() - begin)
        if done.returncode != 0:
            return f"failed: {(done.stderr or done.stdout).strip()[-200:]}"
    return round(statistics.median(times[1:]) * 1000, 0)


def _repository(tree: Path, github: str, gitlab: str) -> None:
    (tree / ".github/workflows").mkdir(parents=True)
    (tree / ".github/workflows/ci.yml").write_text(github)
    if gitlab:
        (tree / ".gitlab-ci.yml").write_text(gitlab)
    (tree / ".gitignore").write_text(".gitlab-ci-local\n")
    git = ["git", "-c", "user.name=bench", "-c", "user.email=bench@example.com"]
    for argv in (["init", "-q", "-b", "main"], ["remote", "add", "origin", "git@gitlab.com:bench/app.git"], ["add", "-A"],
                 ["commit", "-qm", "bench"], ["update-ref", "refs/remotes/origin/main", "HEAD"],
                 ["symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main"]):
        subprocess.run([*git, *argv], cwd=tree, check=True)


# --- scenarios ------------------------------------------------------------------------------------------------------


def _workflow(jobs: dict[str, tuple[list[str], list[str]]]) -> str:
    """Jobs with their needs and the commands of their steps."""
    text = "on: push\njobs:\n"
    for name, (needs, steps) in jobs.items():
        text += f"  {name}:\n    runs-on: ubuntu-latest\n"
        text += f"    needs: [{', '.join(needs)}]\n" if needs else ""
        text += "    steps:\n" + "".join(f"      - run: {step}\n" for step in steps)
    return text


def _pipeline(jobs: dict[str, tuple[list[str], list[str]]]) -> str:
    return "".join(f"{name}:\n  needs: [{', '.join(needs)}]\n  script: [{', '.join(steps)}]\n"
                   for name, (needs, steps) in jobs.items())


def _both(jobs: dict[str, tuple[list[str], list[str]]]) -> Callable[[], tuple[str, str]]:
    return lambda: (_workflow(jobs), _pipeline(jobs))


_SCENARIOS: dict[str, Callable[[], tuple[str, str]]] = {
    "one_step": _both({"a": ([], [f"echo {_MARK}"])}),
    "twenty_steps": _both({"a": ([], [f"echo {n}" for n in range(20)])}),
    "twenty_jobs": _both({f"j{n}": ([], [f"echo {n}"]) for n in range(20)}),
    "dag_of_4_s": _both({"a": ([], ["sleep 1"]), "b": (["a"], ["sleep 1"]), "c": (["b"], ["sleep 1"]),
                         "d": (["c"], ["sleep 1"]), "slow": ([], ["sleep 4"])}),
}


def _hash_files(tree: Path) -> dict[str, Any]:
    """One evaluation over 10,000 files of 1 kB: the time of a step with it, less that of the same step without. The whole run
    is mostly the checkout of the files."""
    text = ("on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout@v4\n"
            "      - run: echo\n      - run: echo ${{ hashFiles('data/**') }}\n      - run: echo\n")
    for n in range(_FILES):
        path = tree / "data" / f"{n % 100:02d}" / f"{n}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{n}\n" * 200)
    _repository(tree, text, "")
    took, runs = [], []
    for _ in range(3):
        begin = time.perf_counter()
        done = subprocess.run([*_fairway(tree, "ci.yml"), "-o", "json"], cwd=tree, capture_output=True, text=True, check=True)
        runs.append(time.perf_counter() - begin)
        _, _, hashed, plain = (datetime.fromisoformat(step["finishedAt"]) - datetime.fromisoformat(step["startedAt"])
                               for step in json.loads(done.stdout)[0]["jobs"][0]["steps"])
        took.append((hashed - plain).total_seconds())
    answer: dict[str, Any] = {"hash_ms": round(statistics.median(took) * 1000), "run_ms": round(statistics.median(runs) * 1000)}
    act = shutil.which("act")
    if act:
        argv = [act, "push", "-W", ".github/workflows/ci.yml", "-P", "ubuntu-latest=-self-hosted"]
        answer["act_run_ms"] = _median(argv, tree, 1)
    return answer


def _first_line(tree: Path) -> dict[str, float]:
    """From the start of the process to the first line that a step prints."""
    answer = {}
    for dialect, workflow in (("github", "ci.yml"), ("gitlab", ".gitlab-ci.yml")):
        times = []
        for _ in range(_RUNS + 1):
            begin = time.perf_counter()
            with subprocess.Popen(_fairway(tree, workflow), stdout=subprocess.PIPE, text=True, cwd=tree,
                                  env={**os.environ, "PYTHONUNBUFFERED": "1"}) as process:
                assert process.stdout is not None
                for line in process.stdout:
                    if line.rstrip().endswith(f"│ {_MARK}"):
                        times.append(time.perf_counter() - begin)
                        break
                process.stdout.read()
        answer[dialect] = round(statistics.median(times[1:]) * 1000, 0)
    return answer
