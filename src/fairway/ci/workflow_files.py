"""The workflow files of a working tree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fairway.ci.spec import Workflow, WorkflowError
from fairway.ci.trigger import WORKFLOWS, is_workflow
from fairway.ci.workflow import decode_workflow


@dataclass(frozen=True, slots=True)
class WorkflowFile:
    """`workflow` is None where the file does not parse; `error` then says why."""

    path: str
    workflow: Workflow | None
    error: str = ""


def read_workflows(root: Path) -> list[WorkflowFile]:
    """All workflows below `root`, by name."""
    folder = root / WORKFLOWS
    names = sorted(entry.name for entry in folder.iterdir() if is_workflow(entry.name)) if folder.is_dir() else []
    return [read_workflow(root, f"{WORKFLOWS}/{name}") for name in names]


def read_workflow(root: Path, path: str) -> WorkflowFile:
    """One file, by its path below `root`."""
    try:
        return WorkflowFile(path, decode_workflow((root / path).read_text(errors="replace"), path))
    except WorkflowError as error:
        return WorkflowFile(path, None, str(error))
