"""What happened, as the user of a working tree says it: a push, a pull request, a tag … with what it changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fairway.ci.events import Event
from fairway.ci.snapshot import Snapshot, changed_paths, resolve
from fairway.ci.wish import Wish

_AS_GITHUB = {"merge_request": "pull_request", "merge_request_event": "pull_request", "tag": "push", "web": "workflow_dispatch",
              "api": "repository_dispatch", "trigger": "repository_dispatch"}


def event_of(snapshot: Snapshot, wish: Wish) -> Event:
    """What happened. A push moved the branch from its last commit; a pull request starts at its base."""
    name = _AS_GITHUB.get(wish.event, wish.event)
    ref = wish.ref or (f"refs/tags/{snapshot.branch}" if wish.event == "tag" else f"refs/heads/{snapshot.branch}")
    if not ref.startswith("refs/"):
        ref = f"refs/tags/{ref}" if wish.event == "tag" else f"refs/heads/{ref}"
    before, changed = snapshot.before, snapshot.changed
    payload: dict[str, Any] = dict(wish.payload)
    base = wish.base or snapshot.default_branch
    if wish.base or name.startswith("pull_request"):
        found = resolve(snapshot.path, base)
        if found:
            before = found
            changed = changed_paths(snapshot.path, found, snapshot.sha, since_fork=name.startswith("pull_request"))
    if name.startswith("pull_request"):
        head = ref.removeprefix("refs/heads/")
        payload = {"action": "synchronize", "number": 1.0, "pull_request": {
            "number": 1.0, "title": snapshot.message.partition("\n")[0], "draft": False,
            "head": {"ref": head, "sha": snapshot.sha, "repo": {"full_name": snapshot.repository}},
            "base": {"ref": base, "sha": before, "repo": {"full_name": snapshot.repository}}}, **payload}
        ref = "refs/pull/1/merge"
    return Event(
        wish.event if wish.event in ("web", "api", "trigger") else name, snapshot.repository, ref, snapshot.sha, before=before,
        actor=snapshot.author, email=snapshot.email, message=snapshot.message, default_branch=snapshot.default_branch,
        committed_at=snapshot.committed_at, changed=changed, inputs=wish.inputs, payload=payload)


def github_event(event: Event) -> Event:
    return replace(event, name=_AS_GITHUB.get(event.name, event.name))
