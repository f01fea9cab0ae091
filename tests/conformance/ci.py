"""GitHub workflows: expressions, filters, parsing, and whole runs as processes."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from fairway.ci import globs
from fairway.ci.call_checks import MAX_DEPTH, MAX_JOBS, Limits, call_mistakes
from fairway.ci.called import CallingRunner
from fairway.ci.environment import RunFacts, github_context, numbers_as_floats
from fairway.ci.events import Event
from fairway.ci.expressions import ExpressionError, Scope, evaluate, kind_of
from fairway.ci.github import GithubCourse
from fairway.ci.local import LocalRun
from fairway.ci.permissions import LIMITED_READ, WRITE, excesses
from fairway.ci.plan import InputError, checked_inputs, plan
from fairway.ci.runner import LocalRunner, RunnerConfig
from fairway.ci.snapshot import SnapshotRepositories, take_snapshot
from fairway.ci.spec import Job, Workflow, WorkflowError
from fairway.ci.states import result_of
from fairway.ci.tools import link_tools
from fairway.ci.workflow import MAX_CHARACTERS, decode_workflow
from fairway.kube.clock import WallClock
from fairway.secrets.masking import Masker
from tests.conformance.result import CaseResult

_DEFAULTS = {"LimitedRead": LIMITED_READ, "Write": WRITE}


def suites(root: Path) -> dict[str, Callable[[], Iterable[CaseResult]]]:
    folder = root / "ci"
    if not folder.is_dir():
        return {}
    return {
        "ci/expressions": lambda: map(_expression, _rows(folder / "expressions" / "cases.jsonl")),
        "ci/globs": lambda: _globs(folder / "globs"),
        "ci/workflow-parser": lambda: map(_parsed, _cases(folder / "workflow-parser")),
        "ci/actionlint": lambda: _linted(folder / "actionlint"),
        "ci/act": lambda: map(_run, _cases(folder / "act")),
    }


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text().splitlines():
        yield json.loads(line)


def _cases(folder: Path) -> Iterator[Path]:
    yield from sorted(path.parent for path in folder.glob("*/case.json"))


def _answer(case_id: str, why: str) -> CaseResult:
    return CaseResult(case_id, "failed" if why else "passed", why)


# --- expressions ----------------------------------------------------------------------------------------------------


def _expression(row: dict[str, Any]) -> CaseResult:
    try:
        value = evaluate(row["expression"], Scope(numbers_as_floats(row["contexts"] or {})))
    except ExpressionError as error:
        wanted = row.get("error")
        right = wanted is not None and error.stage == wanted["stage"]
        return _answer(row["id"], "" if right else f"{error.stage}: {error.message}")
    if "error" in row:
        return _answer(row["id"], f"no error, but {value!r}")
    expected = row["expect"]
    same = kind_of(value) == expected["kind"] and _json(value) == _json(numbers_as_floats(expected["value"]))
    return _answer(row["id"], "" if same else f"{value!r} instead of {expected['value']!r}")


def _json(value: Any) -> str:
    """In the order of keys; -0 is 0."""
    return re.sub(r"(?<![\w.])-0\.0(?![\d])", "0.0", json.dumps(value))


# --- filters --------------------------------------------------------------------------------------------------------


def _globs(folder: Path) -> Iterator[CaseResult]:
    for row in _rows(folder / "match.jsonl"):
        match = globs.selects(row["patterns"], row["inputs"])
        ignored = not globs.ignores_all(row["patterns"], row["inputs"])
        right = match == row["match"] and row["ignore_runs"] in (None, ignored)
        yield _answer(row["id"], "" if right else f"match {match}, ignore {ignored}")
    for row in _rows(folder / "validate.jsonl"):
        found = globs.mistakes(row["pattern"], row["for"])
        right = (not found) == row["valid"]
        right &= len(found) == len(row.get("errors", found))
        right &= "column" not in row or found[0].column == row["column"]
        yield _answer(row["id"], "" if right else f"{found}")


# --- parser ---------------------------------------------------------------------------------------------------------


def _parsed(folder: Path) -> CaseResult:
    """Accepted or refused with every mistake at its place; of what is accepted the jobs, as far as our types say it."""
    case = json.loads((folder / "case.json").read_text())
    expected = json.loads((folder / "expected.json").read_text())
    try:
        limit = case["options"].get("max-file-size") or MAX_CHARACTERS
        workflow = decode_workflow((folder / "workflow.yml").read_text(), case["file"], max_characters=limit)
    except WorkflowError as error:
        found = sorted((m.line, m.column) for m in error.mistakes)
        if case["outcome"] == "template":
            return _answer(case["id"], f"refused: {error}")
        wanted = sorted(_place(row["Message"]) for row in expected["errors"])
        return _answer(case["id"], "" if found == wanted else f"mistakes at {found}, expected {wanted}")
    beyond = excesses(workflow, _called(folder, case), _DEFAULTS[case["options"].get("permissions-policy", "Write")])
    if beyond:
        found = sorted((e.line, e.column) for e in beyond)
        wanted = sorted(_place(row["Message"]) for row in expected.get("errors", []))
        return _answer(case["id"], "" if found == wanted else f"{beyond[0].message}, expected mistakes at {wanted}")
    options = case["options"]
    limits = Limits(options.get("max-nested-reusable-workflows-depth", MAX_DEPTH - 1), options.get("max-job-limit", MAX_JOBS))
    wrong = call_mistakes(workflow, _called(folder, case), limits)
    if wrong:
        found = sorted((m.line, m.column) for m in wrong)
        wanted = sorted(_place(row["Message"]) for row in expected.get("errors", []))
        return _answer(case["id"], "" if found == wanted else f"{wrong[0].message}, expected mistakes at {wanted}")
    if case["outcome"] != "template":
        return _answer(case["id"], f"accepted, expected {expected['errors'][0]['Message'][:120]}")
    return _answer(case["id"], _differs(workflow, expected, case))


def _called(folder: Path, case: dict[str, Any]) -> Callable[[str], Workflow | None]:
    def find(name: str) -> Workflow | None:
        file = case["called"].get(name)
        return decode_workflow((folder / file).read_text(), name) if file else None

    return find


def _place(message: str) -> tuple[int, int]:
    match = re.search(r"\(Line: (\d+), Col: (\d+)\)", message)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _differs(workflow: Workflow, expected: dict[str, Any], case: dict[str, Any]) -> str:
    """The first difference between the template and what we read, or ""."""
    ids = [_plain(job["id"]) for job in expected["jobs"]]
    if ids != list(workflow.jobs):
        return f"jobs {list(workflow.jobs)} instead of {ids}"
    for entry in expected["jobs"]:
        job = workflow.jobs[_plain(entry["id"])]
        for what, mine, theirs in _compared(job, entry):
            if mine != theirs:
                return f"{job.id}: {what} {mine!r} instead of {theirs!r}"
    return ""


def _compared(job: Job, entry: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    yield "needs", [need.lower() for need in job.needs], [_plain(need).lower() for need in entry.get("needs") or []]
    yield "if", _condition(job.condition), _plain(entry.get("if"))
    if not isinstance(_plain(entry.get("name")), str) or job.name is not None:
        yield "name", _unwrapped(job.name) or job.id, _plain(entry.get("name"))
    steps = entry.get("steps") or []
    yield "number of steps", len(job.steps), len(steps)
    for step, row in zip(job.steps, steps, strict=True):
        yield "step id", step.id, _plain(row["id"])
        if step.kind == "work":
            yield "step if", _condition(step.condition), _plain(row.get("if"))
        yield "step background", step.background, bool(row.get("background"))
        yield "step targets", list(step.targets), _plain(row.get("wait")) or [_plain(row.get("cancel"))] * ("cancel" in row)
        yield "step uses", step.uses or None, _plain(row.get("uses"))


def _plain(token: Any) -> Any:
    if isinstance(token, dict):
        if "expr" in token:
            return token["expr"]
        return next((token[key] for key in ("lit", "bool", "num", "seq") if key in token), None)
    return token


def _unwrapped(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("${{") and value.count("${{") == 1 and value.endswith("}}"):
        return value[3:-2].strip()
    if isinstance(value, str) and "${{" in value:
        from fairway.ci.expressions import condition_text

        return condition_text(value)
    return value


def _condition(text: str) -> str:
    """With the implicit success() written out."""
    if not text:
        return "success()"
    if re.search(r"\b(success|failure|always|cancelled)\s*\(", text, re.IGNORECASE):
        return text
    return f"success() && ({text})"


# --- findings -------------------------------------------------------------------------------------------------------


def _linted(folder: Path) -> Iterator[CaseResult]:
    """Valid workflows must parse. A case with findings passes where every line with one is told, and no other line is."""
    for path in sorted((folder / "ok").glob("*.y*ml")):
        try:
            decode_workflow(path.read_text(), path.name)
        except WorkflowError as error:
            yield _answer(f"ok/{path.stem}", str(error))
        else:
            yield _answer(f"ok/{path.stem}", "")
    for kind in ("err", "examples", "projects"):
        for expected in sorted((folder / kind).glob("*/expected.json")):
            case = json.loads(expected.read_text())
            yield _answer(case["id"], _findings_differ(expected.parent, case["findings"]))


def _findings_differ(folder: Path, findings: list[dict[str, Any]]) -> str:
    told: set[tuple[str, int]] = set()
    for path in sorted(p for p in folder.rglob("*.y*ml") if p.name == "test.yaml" or "workflows" in p.parts):
        name = path.relative_to(folder).as_posix()
        try:
            decode_workflow(path.read_text(), name)
        except WorkflowError as error:
            told |= {(name, mistake.line) for mistake in error.mistakes}
    wanted = {(row["file"], row["line"]) for row in findings if row.get("line")}
    missed, extra = wanted - told, told - wanted
    if not missed and not extra:
        return ""
    return f"not told: {sorted(missed)[:3]}" if missed else f"told too much: {sorted(extra)[:3]}"


# --- whole runs -----------------------------------------------------------------------------------------------------


def _run(folder: Path) -> CaseResult:
    case = json.loads((folder / "case.json").read_text())
    with tempfile.TemporaryDirectory(prefix="fairway-act-") as name:
        root = Path(name)
        source = root / "source"
        shutil.copytree(folder / "workspace", source)
        _commit(source, case["repository"])
        try:
            outcome, jobs, output = _run_all(case, source, root)
        except InputError as error:
            if case["expect"]["outcome"] == "success":
                return CaseResult(case["id"], "skipped", f"GitHub refuses this start too: {error}")
            return _answer(case["id"], "")
    expected = case["expect"]
    if outcome != expected["outcome"]:
        return _answer(case["id"], f"{outcome} instead of {expected['outcome']}: {jobs} {output[-300:]}")
    if expected["jobs"] and jobs != expected["jobs"]:
        return _answer(case["id"], f"{jobs} instead of {expected['jobs']}")
    shown = [text for text in expected.get("output_absent") or [] if text in output]
    return _answer(case["id"], f"printed {shown}" if shown else "")


def _commit(source: Path, repository: str) -> None:
    git = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.com"]
    for argv in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "case"],
                 ["remote", "add", "origin", f"https://github.com/{repository}.git"]):
        subprocess.run([*git, *argv], cwd=source, check=True)


def _run_all(case: dict[str, Any], source: Path, root: Path) -> tuple[str, dict[str, str], str]:
    files = sorted(p for p in (source / case["workflows"]).iterdir() if p.suffix in (".yml", ".yaml"))
    snapshot = take_snapshot(source, root / "snapshot.git")
    payload = json.loads((source / case["payload"]).read_text()) if case["payload"] else {}
    event = Event(case["event"], snapshot.repository, "refs/heads/main", snapshot.sha, actor="tester", message="case",
                  changed=snapshot.changed, inputs=case.get("inputs") or {}, payload=payload)
    secrets = _dotenv(source / case["secrets_file"]) if case.get("secrets_file") else {}
    env = {**(case.get("env") or {}), **(_dotenv(source / case["env_file"]) if case.get("env_file") else {})}
    outcomes, jobs, output = [], {}, []
    silent = False

    def heard(job: str, line: str) -> None:
        nonlocal silent
        silent = line.startswith("##[group]Run") or (silent and line != "##[endgroup]")
        if not silent and "::add-mask::" not in line:
            output.append(line)

    for file in files:
        path = file.relative_to(source).as_posix()
        try:
            workflow = decode_workflow(file.read_text(), path, tolerant=True)
        except WorkflowError as error:
            return "failure", {}, str(error)
        planned = plan(workflow, event)
        if planned.refused is not None:
            continue
        if isinstance(workflow.env, dict):
            workflow = replace(workflow, env={**env, **workflow.env})
        config = RunnerConfig(
            root / "ci", Masker, SnapshotRepositories(snapshot), listen=heard,
            path_prepend=(str(link_tools(root / "bin")),), prepare=lambda work: _clone(snapshot.path, work))
        trigger = workflow.trigger(event.name)
        facts = RunFacts(file.stem)
        contexts = {"github": github_context(event, workflow, facts), "inputs": {}, "vars": {}}
        given = payload.get("inputs") or event.inputs
        inputs = checked_inputs(trigger.inputs, given, Scope(contexts)) if trigger is not None else {}
        course = GithubCourse(workflow, event, CallingRunner(LocalRunner(config)), facts, inputs=inputs, secrets=secrets,
                              read_file=snapshot.read_file, labels=tuple(label.lower() for label in case["runner_labels"]))
        decision = asyncio.run(LocalRun(course, WallClock(), planned.rows).run())
        outcomes.append(decision.phase)
        for name in workflow.jobs:
            jobs[name] = result_of(row for row in decision.rows if row.job == name)
    failed = not outcomes or any(phase not in ("Succeeded", "Skipped") for phase in outcomes)
    return "failure" if failed else "success", jobs, "\n".join(output)


def _clone(repository: Path, work: Path) -> None:
    work.rmdir()
    subprocess.run(["git", "clone", "-q", str(repository), str(work)], check=True)


def _dotenv(path: Path) -> dict[str, str]:
    found = {}
    for line in path.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not name.startswith("#"):
            quoted = len(value) > 1 and value[0] == value[-1] == '"'
            found[name.strip()] = value[1:-1].replace("\\n", "\n") if quoted else value
    return found
