"""Which workflows a command means, and the event that it assumes."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.errors import CommandError, Misused

if TYPE_CHECKING:
    from fairway.ci.snapshot import Snapshot
    from fairway.ci.workflow_files import WorkflowFile

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
EVENTS = "push, tag, pull_request (merge_request), workflow_dispatch (web), schedule, release, …"


def event_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What is said to have happened."""
    for option in (
        click.option("--payload", type=click.Path(exists=True, dir_okay=False, path_type=Path),
                     help="JSON file with the event's payload (`github.event`)."),
        click.option("--base", default="", metavar="REF", help="What to compare with: the branch that a pull request goes to, "
                     "or the commit before a push.  [default: the default branch; the last commit]"),
        click.option("--ref", default="", metavar="REF", help="Branch or tag of the event.  [default: the branch here]"),
        click.option("-e", "--event", default="push", show_default=True, help=f"What happened: {EVENTS}"),
        click.option("--gitlab-file", default=".gitlab-ci.yml", show_default=True, help="GitLab's configuration file."),
    ):
        command = option(command)
    return command


def read(path: Path, gitlab: str = ".gitlab-ci.yml") -> list[WorkflowFile]:
    from fairway.ci.workflow_files import read_workflows

    files = read_workflows(path, gitlab)
    if not files:
        raise CommandError(f"no workflow below {path / '.github/workflows'}, and no {gitlab}",
                           mend="name the folder of the repository")
    return files


def chosen(files: list[WorkflowFile], name: str) -> list[WorkflowFile]:
    if not name:
        return files
    found = [file for file in files if file.path == name or Path(file.path).name == name or Path(file.path).stem == name
             or (file.workflow is not None and file.workflow.name == name)]
    if not found:
        raise Misused(f"no workflow is called {name!r}", mend=f"there are: {', '.join(file.path for file in files)}")
    return found


@contextmanager
def snapshot_of(path: Path, folder: Path | None = None) -> Iterator[Snapshot]:
    """The working tree as a commit; gone at the end."""
    with snapshot_begun(path, folder) as taken:
        yield taken()


@contextmanager
def snapshot_begun(path: Path, folder: Path | None = None) -> Iterator[Callable[[], Snapshot]]:
    """The working tree as a commit, for whoever asks; git makes it while the engine is loaded. Gone at the end."""
    from fairway.ci.snapshot import NotRunnable, take_snapshot

    root = Path(tempfile.mkdtemp(prefix="fairway-snapshot-", dir=folder))
    made: list[Snapshot | Exception] = []

    def take() -> None:
        try:
            made.append(take_snapshot(path, root / "tree.git"))
        except Exception as error:  # raised where the snapshot is asked for
            made.append(error)

    def taken() -> Snapshot:
        thread.join()
        if isinstance(made[0], Exception):
            raise made[0]
        return made[0]

    thread = threading.Thread(target=take, name="snapshot", daemon=True)
    thread.start()
    try:
        yield taken
    except NotRunnable as error:
        raise CommandError(str(error)) from None
    finally:
        thread.join()
        shutil.rmtree(root, ignore_errors=True)


def payload_of(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    import json

    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise Misused(f"{path}: not JSON: {error}") from None
    if not isinstance(found, dict):
        raise Misused(f"{path}: a payload is an object")
    return found


def pairs(texts: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise Misused(f"{text!r} is not NAME=VALUE")
        found[name] = value
    return found
