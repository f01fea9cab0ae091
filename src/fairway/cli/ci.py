"""`fairway ci`: the workflows of a working tree, listed, drawn and run here without the platform."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.errors import FAILED, CommandError, Misused
from fairway.cli.output import machine, output_option, paint, table
from fairway.state import StateDir

if TYPE_CHECKING:
    from fairway.ci.local import LocalRun
    from fairway.ci.snapshot import Snapshot
    from fairway.ci.spec import Workflow
    from fairway.ci.states import JobRow
    from fairway.ci.workflow_files import WorkflowFile

_KEPT_RUNS = 20
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group()
def command() -> None:
    """Run GitHub workflows here, from the working tree."""


# --- list and graph -------------------------------------------------------------------------------------------------


@command.command("list")
@click.argument("path", type=_FOLDER, default=".")
@output_option
def list_command(path: Path, output: str) -> None:
    """The workflows below PATH, their events and jobs."""
    files = _read(path)
    if not machine([_described(file) for file in files], output):
        rows = [(file.path, file.workflow.name if file.workflow else "",
                 ", ".join(trigger.event for trigger in file.workflow.on) if file.workflow else "",
                 ", ".join(file.workflow.jobs) if file.workflow else "does not parse") for file in files]
        click.echo(table(("WORKFLOW", "NAME", "EVENTS", "JOBS"), rows))
    broken = [file for file in files if file.workflow is None]
    for file in broken:
        click.echo(file.error, err=True)
    if broken:
        sys.exit(FAILED)


def _described(file: WorkflowFile) -> dict[str, Any]:
    if file.workflow is None:
        return {"path": file.path, "error": file.error}
    return {
        "path": file.path,
        "name": file.workflow.name,
        "events": [trigger.event for trigger in file.workflow.on],
        "jobs": [{"id": job.id, "needs": list(job.needs)} for job in file.workflow.jobs.values()],
    }


@command.command("graph")
@click.argument("path", type=_FOLDER, default=".")
@click.option("-w", "--workflow", default="", help="File name of one workflow.")
def graph_command(path: Path, workflow: str) -> None:
    """Which jobs wait for which: one line a job, in stages."""
    for file in _chosen(_read(path), workflow):
        if file.workflow is None:
            raise CommandError(file.error)
        click.echo(paint(file.workflow.title, "cyan"))
        for number, stage in enumerate(_stages(file.workflow), 1):
            for job in stage:
                needs = file.workflow.jobs[job].needs
                click.echo(f"  {number}  {job}{'  after ' + ', '.join(needs) if needs else ''}")


def _stages(workflow: Workflow) -> list[list[str]]:
    depth: dict[str, int] = {}

    def of(name: str) -> int:
        if name not in depth:
            depth[name] = 1 + max((of(need) for need in workflow.jobs[name].needs), default=0)
        return depth[name]

    stages: dict[int, list[str]] = {}
    for name in workflow.jobs:
        stages.setdefault(of(name), []).append(name)
    return [stages[number] for number in sorted(stages)]


def _read(path: Path) -> list[WorkflowFile]:
    from fairway.ci.workflow_files import read_workflows

    files = read_workflows(path)
    if not files:
        raise CommandError(f"no workflow below {path / '.github/workflows'}", mend="name the folder of the repository")
    return files


def _chosen(files: list[WorkflowFile], name: str) -> list[WorkflowFile]:
    if not name:
        return files
    found = [file for file in files if file.path == name or Path(file.path).name == name or Path(file.path).stem == name
             or (file.workflow is not None and file.workflow.name == name)]
    if not found:
        raise Misused(f"no workflow is called {name!r}", mend=f"there are: {', '.join(file.path for file in files)}")
    return found


# --- run ------------------------------------------------------------------------------------------------------------


@command.command("run")
@click.argument("path", type=_FOLDER, default=".")
@click.option("-e", "--event", default="push", show_default=True, help="The event that starts the workflows.")
@click.option("-w", "--workflow", default="", help="File name of one workflow.  [default: all that the event starts]")
@click.option("-j", "--job", default="", help="Only this job and what it needs.")
@click.option("-i", "--input", "inputs", multiple=True, metavar="NAME=VALUE", help="Input of a workflow_dispatch.")
@click.option("-s", "--secret", "secrets", multiple=True, metavar="NAME[=VALUE]",
              help="A secret; without a value it is taken from the environment.")
@click.option("-v", "--var", "variables", multiple=True, metavar="NAME=VALUE", help="An entry of `vars`.")
@click.option("--keep", is_flag=True, help="Keep the work trees of the jobs.")
@output_option
@click.pass_obj
def run_command(state: StateDir | None, path: Path, event: str, workflow: str, job: str, inputs: tuple[str, ...],
                secrets: tuple[str, ...], variables: tuple[str, ...], keep: bool, output: str) -> None:
    """Run the workflows of the working tree at PATH.

    Jobs see the files as they are now, also those that are not committed yet; the working tree itself is not changed.
    """
    from fairway.ci.snapshot import NotRunnable

    files = _chosen(_read(path), workflow)
    root = (state or StateDir.default()).ci / "local"
    try:
        results = _run_all(root, path, files, event=event, job=job, inputs=_pairs(inputs), secrets=_secrets(secrets),
                           variables=_pairs(variables), keep=keep, live=output == "text")
    except NotRunnable as error:
        raise CommandError(str(error)) from None
    if not machine(results, output):
        _summary(results)
    if any(result["phase"] not in ("Succeeded", "Skipped") for result in results):
        sys.exit(FAILED)


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise Misused(f"{text!r} is not NAME=VALUE")
        found[name] = value
    return found


def _secrets(texts: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals and name not in os.environ:
            raise Misused(f"secret {name!r} has no value, and the environment has none of that name")
        found[name] = value if equals else os.environ[name]
    return found


def _run_all(root: Path, path: Path, files: list[WorkflowFile], *, event: str, job: str, inputs: dict[str, str],
             secrets: dict[str, str], variables: dict[str, str], keep: bool, live: bool) -> list[dict[str, Any]]:
    import asyncio
    import secrets as chance
    import shutil

    from fairway.ci.snapshot import take_snapshot

    token = chance.token_hex(3)
    _prune(root)
    (root / "snapshots").mkdir(parents=True, exist_ok=True)
    snapshot = take_snapshot(path, root / "snapshots" / f"{token}.git")
    try:
        results = []
        for file in files:
            run = _prepared(root, snapshot, file, f"{Path(file.path).stem}-{token}", event=event, job=job, inputs=inputs,
                            secrets=secrets, variables=variables, keep=keep, live=live)
            if isinstance(run, dict):
                results.append(run)
            else:
                results.append(asyncio.run(_drive(run, file.path)))
        if job and all(result["phase"] == "Skipped" for result in results):
            raise Misused(f"no workflow that {event} starts has a job {job!r}")
        return results
    finally:
        shutil.rmtree(snapshot.path, ignore_errors=True)


def _prepared(root: Path, snapshot: Snapshot, file: WorkflowFile, name: str, *, event: str, job: str,
              inputs: dict[str, str], secrets: dict[str, str], variables: dict[str, str], keep: bool,
              live: bool) -> LocalRun | dict[str, Any]:
    """The run to drive, or the result where there is nothing to run."""
    from fairway.ci.called import CallingRunner
    from fairway.ci.environment import RunFacts, github_context
    from fairway.ci.events import Event
    from fairway.ci.expressions import Scope
    from fairway.ci.local import LocalRun
    from fairway.ci.plan import InputError, checked_inputs, plan
    from fairway.ci.runner import LocalRunner, RunnerConfig
    from fairway.ci.snapshot import SnapshotRepositories
    from fairway.ci.tools import link_tools, package_access
    from fairway.kube.clock import WallClock
    from fairway.secrets.masking import Masker

    workflow = file.workflow
    if workflow is None:
        return {"workflow": file.path, "phase": "Failed", "message": file.error, "jobs": []}
    happened = Event(event, snapshot.repository, f"refs/heads/{snapshot.branch}", snapshot.sha, before=snapshot.before,
                     actor=snapshot.author, default_branch=snapshot.branch, changed=snapshot.changed, inputs=inputs)
    planned = plan(workflow, happened, only=job if job in workflow.jobs else "")
    if planned.refused is not None or (job and job not in workflow.jobs):
        why = planned.refused.message if planned.refused is not None else f"it has no job {job!r}"
        return {"workflow": file.path, "phase": "Skipped", "message": why, "jobs": []}
    facts = RunFacts(name)
    trigger = workflow.trigger(event)
    try:
        given = checked_inputs(trigger.inputs, inputs, Scope({
            "github": github_context(happened, workflow, facts), "inputs": {}, "vars": dict(variables)})) if trigger else {}
    except InputError as error:
        raise Misused(str(error)) from None
    heard = _printer(list(workflow.jobs)) if live else None
    job_env = {"UV_CACHE_DIR": str(root / "cache" / "uv"), "PIP_CACHE_DIR": str(root / "cache" / "pip"),
               **package_access(os.environ), "FAIRWAY_STATE": str(root / "state")}
    runner = LocalRunner(RunnerConfig(
        root, Masker, SnapshotRepositories(snapshot), job_env=job_env, path_prepend=(str(link_tools(root / "bin")),),
        keep_work=keep, listen=heard, fairway=(str(root / "bin" / "fairway"),)))
    return LocalRun(workflow, happened, CallingRunner(runner), WallClock(), facts, planned.rows, inputs=given,
                    variables=variables, secrets=secrets, read_file=snapshot.read_file)


async def _drive(run: LocalRun, path: str) -> dict[str, Any]:
    import asyncio
    import signal

    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, run.cancel)
    decision = await run.run()
    return {"workflow": path, "run": run.facts.name, "phase": decision.phase, "message": decision.message,
            "jobs": [_job(row) for row in decision.rows]}


def _job(row: JobRow) -> dict[str, Any]:
    from fairway.ci.states import to_status

    seconds = (row.finished_at - row.started_at).total_seconds() if row.started_at and row.finished_at else None
    return {**to_status(row), "seconds": seconds}


def _printer(jobs: list[str]) -> Any:
    """Lines with their job before them; groups as headings, errors in red."""
    width = min(max(map(len, jobs)), 24)

    def heard(job: str, line: str) -> None:
        if line == "##[endgroup]":
            return
        shown = line
        for mark, colour in (("##[group]", "cyan"), ("##[error]", "red"), ("##[warning]", "yellow"),
                             ("##[notice]", "blue")):
            if line.startswith(mark):
                word = "" if mark == "##[group]" else f"{mark[3:-1]}: "
                shown = paint(f"{word or '▸ '}{line.removeprefix(mark)}", colour)  # type: ignore[arg-type]
        click.echo(f"{paint(job.ljust(width), 'bright_black')} │ {shown}")

    return heard


def _summary(results: list[dict[str, Any]]) -> None:
    rows = []
    for result in results:
        if not result["jobs"]:
            rows.append((result["workflow"], "-", result["phase"], "", result["message"]))
        for job in result["jobs"]:
            seconds = f"{job['seconds']:.1f}s" if job["seconds"] is not None else ""
            rows.append((result["workflow"], job["name"], job["phase"], seconds, job.get("message", "")))
    click.echo()
    click.echo(table(("WORKFLOW", "JOB", "RESULT", "TIME", "WHY"), rows))


def _prune(root: Path) -> None:
    """Keep the logs of the last runs only."""
    import shutil

    folder = root / "runs"
    runs = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime) if folder.is_dir() else []
    for old in runs[: max(len(runs) - _KEPT_RUNS, 0)]:
        shutil.rmtree(old, ignore_errors=True)
