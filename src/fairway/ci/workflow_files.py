"""The workflow files of a working tree, of both dialects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fairway.ci.calls import check_calls
from fairway.ci.spec import Workflow, WorkflowError
from fairway.ci.trigger import GITLAB, WORKFLOWS, is_gitlab, is_workflow
from fairway.ci.workflow import decode_workflow


@dataclass(frozen=True, slots=True)
class WorkflowFile:
    """`workflow` is None where the file does not parse (`error` then says why), and for GitLab's configuration, which is
    read for each event."""

    path: str
    workflow: Workflow | None
    error: str = ""
    is_gitlab: bool = False


def read_workflows(root: Path, gitlab: str = GITLAB) -> list[WorkflowFile]:
    """All workflows below `root`, by name; GitLab's file last."""
    folder = root / WORKFLOWS
    names = sorted(entry.name for entry in folder.iterdir() if is_workflow(entry.name)) if folder.is_dir() else []
    found = [read_workflow(root, f"{WORKFLOWS}/{name}") for name in names]
    return [*found, WorkflowFile(gitlab, None, is_gitlab=True)] if (root / gitlab).is_file() else found


def read_workflow(root: Path, path: str) -> WorkflowFile:
    """One file, by its path below `root`."""
    if is_gitlab(path):
        return WorkflowFile(path, None, is_gitlab=True)

    def read(name: str) -> str | None:
        return (root / name).read_text(errors="replace") if (root / name).is_file() else None

    try:
        workflow = decode_workflow((root / path).read_text(errors="replace"), path, tolerant=True)
        check_calls(workflow, read)
        return WorkflowFile(path, workflow)
    except WorkflowError as error:
        return WorkflowFile(path, None, str(error))
