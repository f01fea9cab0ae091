"""Events: which ones exist with which filters, what one carries, and whether a workflow wants it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fairway.ci import globs
from fairway.ci.spec import Filter, Trigger, Workflow
from fairway.kube.decision import Reason

_BRANCHES = ("branches", "branches-ignore")
_PATHS = ("paths", "paths-ignore")

_PLAIN = (
    "branch_protection_rule", "check_run", "check_suite", "create", "delete", "deployment", "deployment_status",
    "discussion", "discussion_comment", "fork", "gollum", "image_version", "issue_comment", "issues", "label",
    "merge_group", "milestone", "page_build", "project", "project_card", "project_column",
    "public", "pull_request_comment",
    "pull_request_review", "pull_request_review_comment", "registry_package", "release", "repository_dispatch",
    "schedule", "status", "watch", "workflow_call", "workflow_dispatch",
)

EVENTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_PLAIN, ()),
    "image_version": ("names", "versions"),
    "merge_group": _BRANCHES,
    "push": (*_BRANCHES, "tags", "tags-ignore", *_PATHS),
    "pull_request": (*_BRANCHES, *_PATHS),
    "pull_request_target": (*_BRANCHES, *_PATHS),
    "workflow_run": (*_BRANCHES, "workflows"),
}
"""Each event with the keys that it knows besides `types`."""

_DEFAULT_TYPES = {
    "pull_request": ("opened", "synchronize", "reopened"),
    "pull_request_target": ("opened", "synchronize", "reopened"),
}
SKIP_MARKS = ("[skip ci]", "[ci skip]", "[no ci]", "[skip actions]", "[actions skip]")
"""In the message of the head commit they keep push and pull_request workflows from running."""


@dataclass(frozen=True)
class Event:
    """What happened. `ref` is full (`refs/heads/main`); `changed` is None where the paths are not known.

    `committed_at` is RFC 3339.
    """

    name: str
    repository: str
    ref: str
    sha: str
    before: str = ""
    actor: str = "fairway"
    message: str = ""
    default_branch: str = "main"
    committed_at: str = ""
    changed: frozenset[str] | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    payload: Mapping[str, Any] = field(default_factory=dict)
    email: str = ""

    @property
    def ref_name(self) -> str:
        if self.ref.startswith("refs/pull/"):
            return self.ref.removeprefix("refs/pull/")
        return self.ref.removeprefix("refs/heads/").removeprefix("refs/tags/")

    @property
    def is_tag(self) -> bool:
        return self.ref.startswith("refs/tags/")

    @property
    def action(self) -> str:
        return str(self.payload.get("action", ""))

    @property
    def base_ref(self) -> str:
        pull: Mapping[str, Any] = self.payload.get("pull_request") or {}
        return str((pull.get("base") or {}).get("ref", ""))

    @property
    def head_ref(self) -> str:
        pull: Mapping[str, Any] = self.payload.get("pull_request") or {}
        return str((pull.get("head") or {}).get("ref", ""))


def why_not(workflow: Workflow, event: Event) -> Reason | None:
    """None where the event starts the workflow, else why it does not."""
    trigger = workflow.trigger(event.name)
    if trigger is None:
        listed = ", ".join(t.event for t in workflow.on)
        return Reason("OtherEvent", f"{workflow.path} runs on {listed}, not on {event.name}")
    if event.name in ("push", "pull_request") and any(mark in event.message for mark in SKIP_MARKS):
        mark = next(mark for mark in SKIP_MARKS if mark in event.message)
        return Reason("SkipMark", f"the commit message holds {mark}")
    types = trigger.types or _DEFAULT_TYPES.get(event.name, ())
    if types and event.action and event.action not in types:
        return Reason("OtherType", f"{event.name} is of type {event.action}; wanted: {', '.join(types)}")
    return _ref_why_not(trigger, event) or _paths_why_not(trigger, event)


def _ref_why_not(trigger: Trigger, event: Event) -> Reason | None:
    if event.name == "push":
        if event.is_tag:
            if trigger.branches.given and not trigger.tags.given:
                return Reason("OtherRef", f"only branches are wanted, {event.ref_name} is a tag")
            return _filtered(trigger.tags, (event.ref_name,), "tag")
        if trigger.tags.given and not trigger.branches.given:
            return Reason("OtherRef", f"only tags are wanted, {event.ref_name} is a branch")
        return _filtered(trigger.branches, (event.ref_name,), "branch")
    if event.name in ("pull_request", "pull_request_target"):
        return _filtered(trigger.branches, (event.base_ref or event.ref_name,), "base branch")
    if event.name == "workflow_run":
        head = (event.payload.get("workflow_run") or {}).get("head_branch")
        return _filtered(trigger.branches, (str(head or event.ref_name),), "branch")
    if event.name == "merge_group":
        return _filtered(trigger.branches, (event.ref_name,), "branch")
    return None


def _paths_why_not(trigger: Trigger, event: Event) -> Reason | None:
    """Tags have no diff: path filters do not apply to them."""
    if not trigger.paths.given or event.is_tag or event.changed is None:
        return None
    return _filtered(trigger.paths, sorted(event.changed), "changed path")


def _filtered(wanted: Filter, names: tuple[str, ...] | list[str], what: str) -> Reason | None:
    code = "OtherPaths" if what == "changed path" else "OtherRef"
    shown = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
    if wanted.select and not globs.selects(wanted.select, names):
        return Reason(code, f"no {what} ({shown}) matches {', '.join(wanted.select)}")
    if wanted.ignore and globs.ignores_all(wanted.ignore, names):
        return Reason(code, f"every {what} ({shown}) is ignored by {', '.join(wanted.ignore)}")
    return None
