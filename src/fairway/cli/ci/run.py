"""`fairway ci run`: the workflows of the working tree, run here."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.ci.files import FOLDER, chosen, event_options, pairs, payload_of, read, snapshot_begun
from fairway.cli.ci.report import report
from fairway.cli.errors import FAILED, Misused
from fairway.cli.output import coloured, machine, output_option
from fairway.state import StateDir

if TYPE_CHECKING:
    from fairway.ci.runner import LocalRunner
    from fairway.ci.snapshot import Snapshot
    from fairway.ci.states import JobRow
    from fairway.ci.wish import Prepared, Wish
    from fairway.ci.workflow_files import WorkflowFile

_KEPT_RUNS = 20
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(frozen=True)
class How:
    """What does not change which jobs run, but how."""

    keep: bool
    live: str
    shell: bool
    places: int
    stubs: Mapping[str, Mapping[str, str]]
    folders: Mapping[str, Path]
    fail: bool
    offline: bool


@click.command("run")
@click.argument("path", type=FOLDER, default=".")
@event_options
@click.option("-w", "--workflow", default="", help="File name of one workflow.  [default: all that the event starts]")
@click.option("-j", "--job", "jobs", multiple=True, help="Only this job and what it needs.")
@click.option("--no-needs", is_flag=True, help="With --job: not what it needs.")
@click.option("-m", "--matrix", multiple=True, metavar="KEY=VALUE", help="Only legs with this value.")
@click.option("--manual", multiple=True, metavar="JOB", help="Start this manual job of a GitLab pipeline.")
@click.option("-i", "--input", "inputs", multiple=True, metavar="NAME=VALUE", help="Input of a workflow_dispatch or pipeline "
              "(COMPONENT:NAME=VALUE for one component).")
@click.option("-s", "--secret", "secrets", multiple=True, metavar="NAME[=VALUE]",
              help="A secret; without a value it is taken from the environment.")
@click.option("--secret-file", type=_FILE, help="Secrets as NAME=VALUE lines.")
@click.option("-v", "--var", "variables", multiple=True, metavar="NAME=VALUE", help="An entry of `vars`; a CI/CD variable.")
@click.option("--var-file", type=_FILE, help="Variables as NAME=VALUE lines.")
@click.option("--label", "labels", multiple=True, help="A further runner label that this machine answers to.")
@click.option("--stub", "stubs", multiple=True, metavar="ACTION[:OUTPUT=VALUE]", help="Do nothing where this action is used.")
@click.option("--action", "folders", multiple=True, metavar="ACTION=DIR", help="Take this action from a folder.")
@click.option("--fail", is_flag=True, help="Fail where an action has nothing to do here (a scanner that is not installed).")
@click.option("--offline", is_flag=True, help="Fetch no action from the network.")
@click.option("--places", type=click.IntRange(1), default=max(os.cpu_count() or 1, 2), help="Jobs at a time.")
@click.option("--watch", is_flag=True, help="Run again whenever a file changes.")
@click.option("--live", type=click.Choice(["lines", "board"]), default="lines", show_default=True,
              help="What is shown meanwhile.")
@click.option("--shell-on-failure", "shell", is_flag=True, help="Open a shell in the job where a step fails.")
@click.option("--keep", is_flag=True, help="Keep the work trees of the jobs.")
@output_option
@click.pass_obj
def run_command(state: StateDir | None, /, path: Path, output: str, watch: bool, workflow: str, gitlab_file: str,
                **given: Any) -> None:
    """Run the workflows of the working tree at PATH.

    Jobs see the files as they are now, also those that are not committed yet; the working tree itself is not changed.
    """
    wish, how = _wish(given), _how(given, output)
    root = (state or StateDir.default()).ci / "local"
    while True:
        before = _times(path) if watch else {}
        results = _run_all(root, path, chosen(read(path, gitlab_file), workflow), wish, how)
        if not machine(results, output):
            report(results)
        if not watch or not _changed_since(before, path):
            break
    if any(result["phase"] not in ("Succeeded", "Skipped") for result in results):
        sys.exit(FAILED)


# --- options --------------------------------------------------------------------------------------------------------


def _wish(given: dict[str, Any]) -> Wish:
    from fairway.ci.wish import Wish

    inputs, components = typed_inputs(given["inputs"])
    return Wish(
        event=given["event"], ref=given["ref"], base=given["base"], jobs=given["jobs"], alone=given["no_needs"],
        matrix=pairs(given["matrix"]), inputs=inputs, component_inputs=components,
        secrets={**_lines(given["secret_file"]), **_secrets(given["secrets"])},
        variables={**_lines(given["var_file"]), **pairs(given["variables"])}, payload=payload_of(given["payload"]),
        manual=given["manual"], labels=tuple(label.lower() for label in given["labels"]))


def _how(given: dict[str, Any], output: str) -> How:
    if given["shell"] and not sys.stdin.isatty():
        raise Misused("--shell-on-failure needs a terminal")
    stubs: dict[str, dict[str, str]] = {}
    for text in given["stubs"]:
        name, _, value = text.partition(":")
        stubs.setdefault(name.lower(), {}).update(pairs((value,)) if value else {})
    folders = {name.lower(): Path(folder).absolute() for name, folder in pairs(given["folders"]).items()}
    live = "" if output != "text" else "lines" if given["shell"] or not coloured() else given["live"]
    return How(given["keep"], live, given["shell"], given["places"], stubs, folders, given["fail"], given["offline"])


def typed_inputs(texts: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Values that look like YAML's other types have them: GitLab's inputs are typed, GitHub's are typed when checked."""
    import yaml

    plain: dict[str, Any] = {}
    components: dict[str, dict[str, Any]] = {}
    for name, text in pairs(texts).items():
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        if isinstance(value, dict) or value is None:
            value = text
        component, colon, own = name.partition(":")
        if colon:
            components.setdefault(component, {})[own] = value
        else:
            plain[name] = value
    return plain, components


def _lines(path: Path | None) -> dict[str, str]:
    """`NAME=VALUE` lines; a value in double quotes may hold `\\n`."""
    found = {}
    for line in path.read_text().splitlines() if path is not None else ():
        name, equals, value = line.partition("=")
        if not equals or line.lstrip().startswith("#"):
            continue
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1].replace("\\n", "\n") if value[0] == '"' else value[1:-1]
        found[name.removeprefix("export ").strip()] = value
    return found


def _secrets(texts: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals and name not in os.environ:
            raise Misused(f"secret {name!r} has no value, and the environment has none of that name")
        found[name] = value if equals else os.environ[name]
    return found


# --- running --------------------------------------------------------------------------------------------------------


def _run_all(root: Path, path: Path, files: list[WorkflowFile], wish: Wish, how: How) -> list[dict[str, Any]]:
    from fairway.ci.cache_room import make_room

    _prune(root)
    (root / "snapshots").mkdir(parents=True, exist_ok=True)
    with snapshot_begun(path, root / "snapshots") as taken:
        import fairway.ci.working_tree

        if any(file.is_gitlab for file in files):
            import fairway.ci.gitlab.course
            import fairway.ci.gitlab.local_tree  # noqa: F401 (so too)

        token = os.urandom(3).hex()
        snapshot = taken()
        results = [_one(root, path, snapshot, file, f"{Path(file.path).stem.removeprefix('.')}-{token}", wish, how)
                   for file in files]
        make_room(root / "cache", snapshot.repository, datetime.now(UTC))
    if wish.jobs and all(result["phase"] == "Skipped" for result in results):
        raise Misused(f"no workflow that {wish.event} starts has a job {wish.jobs[0]!r}")
    return results


def _one(root: Path, path: Path, snapshot: Snapshot, file: WorkflowFile, name: str, wish: Wish, how: How) -> dict[str, Any]:
    import asyncio

    from fairway.ci.plan import InputError
    from fairway.ci.spec import WorkflowError
    from fairway.ci.wish import NoSuchJob, Prepared
    from fairway.ci.working_tree import Bench

    if file.error:
        return {"workflow": file.path, "phase": "Failed", "message": file.error, "jobs": []}
    speaker = _Speaker(how.live)
    try:
        run = Bench(path.resolve(), snapshot, _runner(root, snapshot, how, speaker.heard)).prepared(file, name, wish)
    except WorkflowError as error:
        return {"workflow": file.path, "phase": "Failed", "message": str(error), "jobs": []}
    except (InputError, NoSuchJob) as error:
        raise Misused(str(error)) from None
    if not isinstance(run, Prepared):
        return {"workflow": file.path, "phase": "Skipped", "message": run.message, "jobs": []}
    with speaker.of(run):
        return {**asyncio.run(_drive(run, how, speaker)), "folder": str(root / "runs" / name)}


def _runner(root: Path, snapshot: Snapshot, how: How, heard: Callable[[str, str], None] | None) -> LocalRunner:
    from fairway.ci.actions import Offline
    from fairway.ci.runner import LocalRunner, RunnerConfig
    from fairway.ci.snapshot import SnapshotRepositories
    from fairway.ci.tools import link_tools, package_access
    from fairway.secrets.masking import Masker

    job_env = {"UV_CACHE_DIR": str(root / "cache" / "uv"), "PIP_CACHE_DIR": str(root / "cache" / "pip"),
               **package_access(os.environ), "FAIRWAY_STATE": str(root / "state")}
    return LocalRunner(RunnerConfig(
        root, Masker, SnapshotRepositories(snapshot), job_env=job_env, path_prepend=(str(link_tools(root / "bin")),),
        keep_work=how.keep, listen=heard if how.live else None, fairway=(str(root / "bin" / "fairway"),),
        offline=Offline(how.stubs, how.folders, strict=how.fail, fetch=not how.offline),
        on_failure=_shell if how.shell else None))


class _Speaker:
    """What shows a run: nothing, lines, or a board."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._heard: Callable[[str, str], None] = lambda job, line: None
        self.changed: Callable[[tuple[JobRow, ...]], None] = lambda rows: None

    def heard(self, job: str, line: str) -> None:
        self._heard(job, line)

    def of(self, run: Prepared) -> Any:
        from contextlib import nullcontext

        from fairway.cli.ci.live import Board, Lines

        if not self.kind:
            return nullcontext()
        shown = Board() if self.kind == "board" else Lines()
        self._heard, self.changed = shown.heard, shown.changed
        shown.changed(run.rows)
        return shown if isinstance(shown, Board) else nullcontext()


async def _drive(prepared: Prepared, how: How, speaker: _Speaker) -> dict[str, Any]:
    import asyncio
    import signal

    from fairway.ci.local import LocalRun
    from fairway.kube.clock import WallClock

    run = LocalRun(prepared.course, WallClock(), prepared.rows, places=how.places, on_change=speaker.changed)
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(run.run())

    def stop() -> None:
        """Once: jobs are cancelled, and what runs `if: always()` still does. Twice: at once."""
        if run.cancelled:
            task.cancel()
        else:
            click.echo("cancelling; once more kills it", err=True)
            run.cancel()

    for sent in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sent, stop)
    found: dict[str, Any] = {"workflow": prepared.path, "run": prepared.name}
    try:
        decision = await task
    except asyncio.CancelledError:
        return {**found, "phase": "Cancelled", "message": "killed", "jobs": [
            _job(row) if row.finished else {**_job(row), "phase": "Cancelled", "message": "killed"} for row in run.rows]}
    return {**found, "phase": decision.phase, "message": decision.message, "jobs": [_job(row) for row in decision.rows]}


def _shell(folder: Path, env: Mapping[str, str], why: str) -> None:
    import subprocess

    click.echo(f"{why}. This is a shell where it failed, with its environment; `exit` goes on.")
    subprocess.run([os.environ.get("SHELL", "sh"), "-i"], cwd=folder, env={**env, "TERM": os.environ.get("TERM", "xterm")},
                   check=False)


# --- afterwards -----------------------------------------------------------------------------------------------------


def _job(row: JobRow) -> dict[str, Any]:
    from fairway.ci.states import to_status

    seconds = (row.finished_at - row.started_at).total_seconds() if row.started_at and row.finished_at else None
    return {**to_status(row), "seconds": seconds}


def _prune(root: Path) -> None:
    """Keep the logs of the last runs only."""
    import shutil

    folder = root / "runs"
    runs = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime) if folder.is_dir() else []
    for old in runs[: max(len(runs) - _KEPT_RUNS, 0)]:
        shutil.rmtree(old, ignore_errors=True)


def _times(path: Path) -> dict[str, int]:
    """When each file that git sees was changed last."""
    from fairway.ci.gitlab.local_tree import FolderSources

    found = {}
    for name in FolderSources(path).own().files():
        try:
            found[name] = (path / name).stat().st_mtime_ns
        except OSError:
            found[name] = 0
    return found


def _changed_since(before: Mapping[str, int], path: Path) -> bool:
    """Waits for a change, also one that came while the run was going on; False where the user has had enough."""
    import time

    try:
        click.echo("\nwatching; Ctrl-C ends it")
        while (now := _times(path)) == before:
            time.sleep(0.5)
    except KeyboardInterrupt:
        click.echo()
        return False
    names = sorted(name for name in {*now, *before} if now.get(name) != before.get(name))
    click.echo(f"changed: {', '.join(names[:3])}{' …' if len(names) > 3 else ''}\n")
    return True
