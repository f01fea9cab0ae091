"""The `github` and `runner` contexts, event payloads, and the variables that a step's process sees. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairway.ci.events import Event
from fairway.ci.expressions import Value, to_text
from fairway.ci.spec import Workflow

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_AS_VARIABLES = (
    "action", "action_path", "action_ref", "action_repository", "actor", "api_url", "base_ref", "event_name",
    "event_path", "graphql_url", "head_ref", "job", "ref", "ref_name", "ref_protected", "ref_type", "repository",
    "repository_owner", "retention_days", "run_attempt", "run_id", "run_number", "server_url", "sha",
    "triggering_actor", "workflow", "workflow_ref", "workflow_sha", "workspace",
)


@dataclass(frozen=True, slots=True)
class RunFacts:
    """`name` is the PipelineRun's; `number` counts the runs of the workflow; `attempt` is 1-based."""

    name: str
    number: int = 1
    attempt: int = 1
    server_url: str = "https://github.com"

    @property
    def id(self) -> str:
        """A number, as tools expect of a run id; the same for the same name."""
        return str(zlib.crc32(self.name.encode()) + 1)


def github_context(event: Event, workflow: Workflow, facts: RunFacts) -> dict[str, Value]:
    """What is known before a job starts. Paths and the job's own entries are added by its runner."""
    owner = event.repository.partition("/")[0]
    api = "https://api.github.com" if facts.server_url == "https://github.com" else f"{facts.server_url}/api/v3"
    return {
        "actor": event.actor,
        "api_url": api,
        "base_ref": event.base_ref,
        "event": numbers_as_floats(payload_of(event)),
        "event_name": event.name,
        "graphql_url": f"{api}/graphql",
        "head_ref": event.head_ref,
        "ref": event.ref,
        "ref_name": event.ref_name,
        "ref_protected": False,
        "ref_type": "tag" if event.is_tag else "branch",
        "repository": event.repository,
        "repository_owner": owner,
        "repositoryUrl": f"git://{facts.server_url.partition('://')[2]}/{event.repository}.git",
        "retention_days": "90",
        "run_attempt": str(facts.attempt),
        "run_id": facts.id,
        "run_number": str(facts.number),
        "secret_source": "Actions",
        "server_url": facts.server_url,
        "sha": event.sha,
        "triggering_actor": event.actor,
        "workflow": workflow.title,
        "workflow_ref": f"{event.repository}/{workflow.path}@{event.ref}",
        "workflow_sha": event.sha,
    }


def payload_of(event: Event) -> dict[str, Any]:
    """The event's own payload, completed by what every payload of its kind has."""
    owner, _, name = event.repository.partition("/")
    common: dict[str, Any] = {
        "repository": {
            "name": name,
            "full_name": event.repository,
            "default_branch": event.default_branch,
            "owner": {"login": owner, "name": owner},
        },
        "sender": {"login": event.actor},
    }
    if event.name == "push":
        head = {"id": event.sha, "message": event.message, "author": {"name": event.actor},
                "timestamp": event.committed_at or None}
        common |= {
            "ref": event.ref,
            "before": event.before or "0" * 40,
            "after": event.sha,
            "created": not event.before,
            "deleted": False,
            "forced": False,
            "base_ref": None,
            "pusher": {"name": event.actor},
            "head_commit": head,
            "commits": [head],
        }
    elif event.name == "workflow_dispatch":
        common |= {"ref": event.ref, "inputs": {key: to_text(value) for key, value in event.inputs.items()} or None}
    elif event.name == "pull_request":
        branch = event.ref_name
        common |= {"action": "synchronize", "number": 1.0, "pull_request": {
            "number": 1.0,
            "head": {"ref": branch, "sha": event.sha},
            "base": {"ref": event.default_branch, "sha": event.before},
        }}
    return {**common, **event.payload}


def numbers_as_floats(value: Any) -> Value:
    """JSON values as expressions have them: every number a double."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, list):
        return [numbers_as_floats(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): numbers_as_floats(item) for key, item in value.items()}
    return to_text(value)


def github_variables(github: Mapping[str, Value]) -> dict[str, str]:
    """`GITHUB_*`: the entries of the context that are also variables."""
    return {f"GITHUB_{name.upper()}": to_text(github[name]) for name in _AS_VARIABLES if name in github}


def runner_variables(runner: Mapping[str, Value]) -> dict[str, str]:
    """`RUNNER_*`."""
    return {f"RUNNER_{name.upper()}": to_text(value) for name, value in runner.items() if name != "debug"}
