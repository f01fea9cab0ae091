"""What a called workflow may ask of the token: never more than its caller has. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fairway.ci.expressions import Value
from fairway.ci.spec import Job, Workflow

SCOPES = (
    "actions", "artifact-metadata", "attestations", "checks", "code-quality", "contents", "copilot-requests",
    "deployments", "discussions", "drives", "id-token", "issues", "models", "packages", "pages", "pull-requests",
    "repository-projects", "security-events", "statuses", "vulnerability-alerts",
)
_LEVELS = ("none", "read", "write")

LIMITED_READ: Mapping[str, str] = {"contents": "read", "packages": "read"}
WRITE: Mapping[str, str] = dict.fromkeys(SCOPES, "write")
"""The two defaults of a repository's token."""

Lookup = Callable[[str], Workflow | None]


@dataclass(frozen=True, slots=True)
class Excess:
    """`line` and `column` are those of the calling job in the file `path`."""

    path: str
    line: int
    column: int
    message: str


def granted(permissions: Value, inherited: Mapping[str, str]) -> Mapping[str, str]:
    """The scopes that `permissions:` grants; what it does not name it does not grant. None inherits."""
    if permissions is None:
        return inherited
    if isinstance(permissions, str):
        return dict.fromkeys(SCOPES, permissions.removesuffix("-all"))
    return {str(scope): str(level) for scope, level in permissions.items()}


def excesses(workflow: Workflow, called: Lookup, default: Mapping[str, str] = WRITE) -> list[Excess]:
    """Every call in the workflow that asks for more than its job has, and in what it calls."""
    return _of_workflow(workflow, workflow.path, called, granted(workflow.permissions, default), ())


def _of_workflow(workflow: Workflow, path: str, called: Lookup, allowed: Mapping[str, str],
                 above: tuple[str, ...]) -> list[Excess]:
    found: list[Excess] = []
    for job in workflow.jobs.values():
        other = called(job.uses) if job.uses and job.uses not in above else None
        if other is None:
            continue
        own = granted(job.permissions, allowed)
        wrong = _asked_by(other, job.uses, own)
        if wrong:
            found.append(Excess(path, job.line, job.column, f"Error calling workflow '{job.uses}'. {wrong}"))
        else:
            inner = granted(other.permissions, own)
            found += _of_workflow(other, job.uses, called, inner, (*above, job.uses))
    return found


def _asked_by(workflow: Workflow, name: str, allowed: Mapping[str, str]) -> str:
    """The first request of a called workflow that goes too far, in words; "" where none does."""
    if workflow.permissions is not None:
        over = _over(granted(workflow.permissions, {}), allowed)
        if over:
            return f"The workflow '{name}' is requesting {_compared(over, workflow.permissions, allowed)}."
    for job in workflow.jobs.values():
        over = _over(granted(job.permissions, {}), allowed) if job.permissions is not None else []
        if over:
            return f"The nested job '{_title(job)}' is requesting {_compared(over, job.permissions, allowed)}."
    return ""


def _title(job: Job) -> str:
    return job.name if isinstance(job.name, str) else job.id


def _over(asked: Mapping[str, str], allowed: Mapping[str, str]) -> list[str]:
    return [scope for scope, level in asked.items()
            if _LEVELS.index(level) > _LEVELS.index(allowed.get(scope, "none"))]


def _compared(over: list[str], permissions: Value, allowed: Mapping[str, str]) -> str:
    asked = granted(permissions, {})
    wanted = ", ".join(f"{scope}: {asked[scope]}" for scope in over)
    have = ", ".join(f"{scope}: {allowed.get(scope, 'none')}" for scope in over)
    return f"'{wanted}', but is only allowed '{have}'"
