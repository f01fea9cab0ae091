"""GitLab pipelines: rule expressions, plans, previews, refusals, and whole runs as processes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fairway.ci.gitlab.conditions import ConditionError, evaluate, truthy
from fairway.ci.gitlab.decoding import decode
from fairway.ci.gitlab.includes import Given, read_whole
from fairway.ci.gitlab.local_settings import read_settings
from fairway.ci.gitlab.local_tree import FolderSources, inputs_of, pipeline_of
from fairway.ci.gitlab.merging import flat
from fairway.ci.gitlab.plan import Leg, Pipeline
from fairway.ci.gitlab.preview import preview
from fairway.ci.gitlab.rules import Facts, RuleMistake, decode_rules, outcome
from fairway.ci.gitlab.script import plain
from fairway.ci.gitlab.spec import AllowFailure
from fairway.ci.plan import InputError
from fairway.ci.runner import LocalRunner, RunnerConfig
from fairway.ci.said_event import event_of
from fairway.ci.snapshot import Snapshot, SnapshotRepositories, take_snapshot
from fairway.ci.spec import WorkflowError
from fairway.ci.states import JobRow
from fairway.ci.tools import link_tools
from fairway.ci.wish import NoSuchJob, Prepared, Wish
from fairway.ci.workflow_files import WorkflowFile
from fairway.ci.working_tree import Bench
from fairway.secrets.masking import Masker
from tests.conformance.result import CaseResult

FILE = ".gitlab-ci.yml"
_REFUSALS = (WorkflowError, InputError, NoSuchJob, RuleMistake)


def suites(root: Path) -> dict[str, Callable[[], Iterable[CaseResult]]]:
    folder = root / "ci" / "gitlab"
    return {"ci/gitlab": lambda: _all(folder)} if folder.is_dir() else {}


def _all(folder: Path) -> Iterator[CaseResult]:
    for line in (folder / "rules.jsonl").read_text().splitlines():
        row = json.loads(line)
        why = _rule(row)
        yield CaseResult(row["id"], "failed" if why else "passed", why)
    for path in sorted((folder / "cases").glob("*/expected.json")):
        case = json.loads(path.read_text())
        try:
            why = next(_case(path.parent, case), "")
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
        yield CaseResult(case["id"], "failed" if why else "passed", why)


# --- rules ----------------------------------------------------------------------------------------------------------


def _rule(row: dict[str, Any]) -> str:
    if row["kind"] == "rules":
        allowed = AllowFailure(row["job_allow_failure"]) if "job_allow_failure" in row else None
        when, allows, _ = outcome(decode_rules(row["rules"], "rules"), row["variables"], Facts(),
                                  job_when=row.get("job_when", "on_success"), job_allows=allowed)
        right = (when, allows.always) == (row["when"], row["allow_failure"])
        return "" if right else f"{when}, allow_failure {allows.always}"
    try:
        value: Any = evaluate(row["expression"], row["variables"], inputs=row.get("inputs"))
    except ConditionError as error:
        return "" if row["kind"] == "invalid" or (row["kind"] == "truthy" and not row["value"]) else f"refused: {error}"
    if row["kind"] == "invalid":
        return f"not refused: {value!r}"
    found = truthy(value) if row["kind"] == "truthy" else value
    return "" if found == row["value"] and type(found) is type(row["value"]) else f"{found!r}"


# --- pipelines ------------------------------------------------------------------------------------------------------


@contextmanager
def _repository(source: Path) -> Iterator[tuple[Path, Snapshot, Path]]:
    """A copy of the folder as a repository with one commit, its snapshot, and a folder for everything else."""
    with tempfile.TemporaryDirectory(prefix="fairway-gitlab-") as name:
        root = Path(name)
        tree = root / "tree"
        shutil.copytree(source, tree, symlinks=True)
        (root / "home").mkdir()
        git = ["git", "-c", "user.name=Testersen", "-c", "user.email=test@test.com"]
        for argv in (["init", "-q", "-b", "master"], ["add", "-A"], ["commit", "-q", "-m", "Test"],
                     ["remote", "add", "origin", "git@gitlab.com:gcl/test-project.git"],
                     ["update-ref", "refs/remotes/origin/main", "HEAD"],
                     ["symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main"]):
            subprocess.run([*git, *argv], cwd=tree, check=True)
        yield tree, take_snapshot(tree, root / "snapshot.git"), root


def _case(folder: Path, case: dict[str, Any]) -> Iterator[str]:
    """What differs from what is expected, the first first."""
    with _repository(folder / "workspace") as (tree, snapshot, root):
        wish = Wish(home=root / "home")
        try:
            pipeline = pipeline_of(tree, snapshot, FILE, "case", event_of(snapshot, wish), wish)
        except _REFUSALS as error:
            if case["plan"] is not None:
                yield f"refused: {error}"
        else:
            if case.get("error"):
                yield f"accepted, expected: {case['error']}"
            yield from _plan_differs(pipeline, case["plan"] or [])
            if case.get("preview"):
                _INPUTS.now = inputs_of(wish, read_settings(tree, wish.home, snapshot.repository))
                yield from _preview_differs(tree, pipeline, (folder / case["preview"]).read_text())
    for run in case["runs"]:
        for why in _run(folder / "workspace", run):
            yield f"{run['name']}: {why}"


def _plain_name(name: str) -> str:
    """GitLab writes `job: [a, b]`, the tool that made the cases `job: [a,b]`."""
    return name.replace(", ", ",")


def _plan_differs(pipeline: Pipeline, expected: list[dict[str, Any]]) -> Iterator[str]:
    if not expected:
        return
    mine = {_plain_name(leg.name): leg for leg in (*pipeline.legs, *pipeline.left_out)}
    wanted = {_plain_name(row["name"]): row for row in expected}
    if mine.keys() != wanted.keys():
        yield f"jobs {sorted(mine)} instead of {sorted(wanted)}"
        return
    for name, row in wanted.items():
        leg = mine[name]
        for what, found, right in (
            ("stage", leg.job.stage, row["stage"]), ("when", leg.when, row["when"]),
            ("allow_failure", _allowed(leg.allow_failure), _codes(row["allow_failure"])),
            ("needs", _needs(leg), _needs_of(row.get("needs"))),
        ):
            if found != right:
                yield f"{name}: {what} {found!r} instead of {right!r}"


def _allowed(allowed: AllowFailure) -> Any:
    return sorted(allowed.exit_codes) if allowed.exit_codes else allowed.always


def _codes(value: Any) -> Any:
    return sorted(flat(value["exit_codes"])) if isinstance(value, dict) else value


def _needs(leg: Leg) -> Any:
    if leg.job.needs is None:
        return None
    return sorted((need.job, need.artifacts, need.optional) for need in leg.job.needs if not need.project and not need.pipeline)


def _needs_of(value: Any) -> Any:
    return None if value is None else sorted((n["job"], n.get("artifacts", True), n.get("optional", False)) for n in value)


def _preview_differs(tree: Path, pipeline: Pipeline, text: str) -> Iterator[str]:
    names = list(FolderSources(tree).own().files())
    facts = Facts("push", "master", False, frozenset(), lambda: names)
    visible = pipeline.given.over(pipeline.predefined).expanded()
    whole = read_whole(pipeline.configuration.path, Given(FolderSources(tree), facts, visible, _INPUTS.get()))
    assert whole is not None
    yield from _documents_differ(preview(whole, decode(whole, pipeline.configuration.path)), yaml.load(text, _Loader))


class _Loader(yaml.SafeLoader):
    """Times are texts."""


_Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda loader, node: node.value)


class _Inputs:
    """Inputs of the run whose preview is compared."""

    def __init__(self) -> None:
        self.now: dict[str, Any] = {}

    def get(self) -> dict[str, Any]:
        return self.now


_INPUTS = _Inputs()


def _documents_differ(mine: dict[str, Any], expected: dict[str, Any]) -> Iterator[str]:
    left = {key for key in mine if isinstance(mine[key], dict) and key not in ("variables", "workflow", "default")}
    right = {key for key in expected if isinstance(expected[key], dict) and not key.startswith(".")
             and key not in ("variables", "workflow", "default", "cache", "image", "include")}
    if left != right:
        yield f"preview: jobs {sorted(left)} instead of {sorted(right)}"
        return
    for name in sorted(right):
        for key in ("script", "stage", "rules", "variables", "needs"):
            found, wanted = _even(key, mine[name].get(key)), _even(key, expected[name].get(key))
            if found != wanted:
                yield f"preview: {name}: {key} {found!r} instead of {wanted!r}"


def _even(key: str, value: Any) -> Any:
    """Written differently, meant alike: a script as one text, numbers as texts, keys of other pipelines aside."""
    if value is None:
        return [] if key == "needs" else None if key != "stage" else "test"
    if key == "script":
        return flat(value)
    if key == "needs":
        return [need for need in value if "project" not in need and "pipeline" not in need]
    if key == "variables":
        return {name: str(entry.get("value", "")) if isinstance(entry, dict) else str(entry) for name, entry in value.items()}
    return value


# --- whole runs -----------------------------------------------------------------------------------------------------


@dataclass
class _Ran:
    rows: tuple[JobRow, ...] = ()
    lines: dict[str, list[str]] = field(default_factory=dict)
    phase: str = ""
    refused: str = ""

    @property
    def log(self) -> str:
        texts = [text for lines in self.lines.values() for text in lines]
        return "\n".join([*texts, *(row.name for row in self.rows if row.attempt)])

    def state(self, name: str) -> str:
        row = next((row for row in self.rows if _plain_name(row.name) == _plain_name(name)), None)
        if row is None or not row.attempt:
            return ""
        return {"Succeeded": "passed", "Failed": "warning" if row.allowed else "failed"}.get(row.phase, row.phase)


def _run(workspace: Path, run: dict[str, Any]) -> Iterator[str]:
    options, expect = run["options"], run["expect"]
    source = workspace / options.get("directory", "")
    with _repository(source) as (tree, snapshot, root):
        wish = _wish(options, source, root)
        path = options.get("file", FILE)
        if options.get("preview"):
            yield from _previewed(tree, snapshot, path, wish, expect)
            return
        ran = _started(tree, snapshot, root, path, wish)
        if "error" in expect:
            yield from () if ran.refused else (f"not refused, expected: {expect['error']}",)
            return
        if ran.refused:
            yield f"refused: {ran.refused}"
            return
        yield from _unmet(ran, expect)
        for file, exists in (expect.get("files") or {}).items():
            if (tree / file).exists() != exists:
                yield f"{file} {'is missing' if exists else 'exists'}"
        code = 1 if ran.phase == "Failed" else 0
        if code != run["result"]["exit_code"]:
            yield f"exit code {code} instead of {run['result']['exit_code']}: {ran.log[-300:]}"


def _wish(options: dict[str, Any], source: Path, root: Path) -> Wish:
    from fairway.cli.ci.files import pairs
    from fairway.cli.ci.run import typed_inputs

    inputs, components = typed_inputs(tuple(options.get("inputs") or ()))
    home = source / options["home"] if options.get("home") else root / "home"
    return Wish(
        jobs=tuple(options.get("jobs") or ()), alone=not options.get("needs"), inputs=inputs, component_inputs=components,
        variables=pairs(tuple(options.get("variables") or ())), manual=tuple(options.get("manual") or ()), home=home)


def _previewed(tree: Path, snapshot: Snapshot, path: str, wish: Wish, expect: dict[str, Any]) -> Iterator[str]:
    try:
        pipeline = pipeline_of(tree, snapshot, path, "case", event_of(snapshot, wish), wish)
        if "error" in expect:
            yield f"accepted, expected: {expect['error']}"
            return
        _INPUTS.now = inputs_of(wish, read_settings(tree, wish.home, snapshot.repository))
        if "preview" in expect:
            yield from _preview_differs(tree, pipeline, expect["preview"])
    except _REFUSALS as error:
        if "error" not in expect:
            yield f"refused: {error}"
    finally:
        _INPUTS.now = {}


def _started(tree: Path, snapshot: Snapshot, root: Path, path: str, wish: Wish) -> _Ran:
    import asyncio

    from fairway.ci.local import LocalRun
    from fairway.kube.clock import WallClock

    ran = _Ran()
    config = RunnerConfig(
        root / "ci", Masker, SnapshotRepositories(snapshot), path_prepend=(str(link_tools(root / "bin")),),
        listen=lambda job, line: ran.lines.setdefault(job, []).append(line))
    try:
        prepared = Bench(tree, snapshot, LocalRunner(config)).prepared(WorkflowFile(path, None, is_gitlab=True), "case", wish)
    except _REFUSALS as error:
        ran.refused = str(error) or "refused"
        return ran
    if not isinstance(prepared, Prepared):
        if prepared.code == "NoSuchJob":
            ran.refused = prepared.message
        return ran
    run = LocalRun(prepared.course, WallClock(), prepared.rows)
    decision = asyncio.run(run.run())
    ran.rows, ran.phase = decision.rows, decision.phase
    names = {row.id: _plain_name(row.name) for row in ran.rows}
    ran.lines = {names.get(job, job): lines for job, lines in ran.lines.items()}
    return ran


def _unmet(ran: _Ran, expect: dict[str, Any]) -> Iterator[str]:
    for entry in expect.get("output") or ():
        if _even_line(entry["line"]) not in map(_even_line, ran.lines.get(_plain_name(entry["job"]), ())):
            yield f"{entry['job']} did not print {entry['line']!r}: {ran.log[-300:]}"
    for entry in expect.get("no_output") or ():
        if _even_line(entry["line"]) in map(_even_line, ran.lines.get(_plain_name(entry["job"]), ())):
            yield f"{entry['job']} printed {entry['line']!r}"
    for text in expect.get("contains") or ():
        if text not in ran.log:
            yield f"the log does not have {text!r}"
    for text in expect.get("absent") or ():
        if text in ran.log:
            yield f"the log has {text!r}"
    for job, state in (expect.get("jobs") or {}).items():
        if ran.state(job) != state:
            yield f"{job} is {ran.state(job) or 'not run'} instead of {state}"
    for job in expect.get("not_passed") or ():
        if ran.state(job) == "passed":
            yield f"{job} passed"
    for job, number in (expect.get("coverage") or {}).items():
        row = next(row for row in ran.rows if _plain_name(row.name) == _plain_name(job))
        if row.coverage != number:
            yield f"{job}: coverage {row.coverage} instead of {number}"
    if expect.get("no_failure") and ran.phase == "Failed":
        yield f"failed: {ran.log[-300:]}"


def _even_line(line: str) -> str:
    return re.sub(r"\s+", " ", plain(line)).strip()
