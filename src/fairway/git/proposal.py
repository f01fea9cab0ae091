"""A change for somebody to look at first: a branch of its own, and the request that opens a pull or merge request for it.

One branch for each thing that is changed: a newer proposal takes the place of the one before, as people expect of update bots.
Sources: GitHub's "Create a pull request", GitLab's "Create MR".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, urlsplit

from fairway.git.clone import Clone
from fairway.git.port import MakeChange, UnknownRevision

Forge = Literal["github", "gitlab"]


@dataclass(frozen=True, slots=True)
class Proposed:
    """`sha` is the head of `branch`; `new` is False where the branch proposed just this already."""

    branch: str
    sha: str
    base: str
    title: str
    body: str
    new: bool


@dataclass(frozen=True, slots=True)
class Opening:
    """A POST that opens the request; `exists` is the status that says it is open already. The headers hold the token."""

    url: str
    body: bytes
    exists: int
    headers: Mapping[str, str] = field(repr=False)


def propose(clone: Clone, base: str, branch: str, make_change: MakeChange) -> Proposed | None:
    """The change on the newest head of `base`, as `branch` of `origin`. None where there is nothing to change."""
    head = clone.resolve(base)
    change = make_change(clone.read_tree(head), head)
    if change is None:
        return None
    sha = clone.write_commit(change, head)
    title, _, body = change.message.partition("\n")
    try:
        known = clone.resolve(branch)
    except UnknownRevision:
        known = ""
    same = bool(known) and not clone.changed_paths(known, sha) and clone.log(known, limit=1)[0].parents == (head,)
    if not same:
        clone.publish(branch, sha, expected=known)
    return Proposed(branch, known if same else sha, base, title, body.strip(), not same)


def forge_of(url: str, environment: Mapping[str, str]) -> Forge | None:
    """Which forge's API a repository's URL belongs to: the job's own server first, then the name."""
    host = urlsplit(url).hostname or ""
    if host and host == urlsplit(environment.get("GITHUB_SERVER_URL", "")).hostname:
        return "github"
    if host and host == urlsplit(environment.get("CI_SERVER_URL", "")).hostname:
        return "gitlab"
    return "github" if "github" in host else "gitlab" if "gitlab" in host else None


def opening(proposed: Proposed, url: str, forge: Forge, environment: Mapping[str, str], token: str) -> Opening:
    parts = urlsplit(url)
    path = parts.path.strip("/").removesuffix(".git")
    server = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if forge == "github":
        own = urlsplit(environment.get("GITHUB_SERVER_URL", "")).hostname == parts.hostname
        api = environment.get("GITHUB_API_URL", "") if own else ""
        api = api or ("https://api.github.com" if parts.hostname == "github.com" else f"{server}/api/v3")
        body = {"title": proposed.title, "body": proposed.body, "head": proposed.branch, "base": proposed.base}
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json",
            "Content-Type": "application/json"}
        return Opening(f"{api}/repos/{path}/pulls", json.dumps(body).encode(), 422, headers)
    body = {"title": proposed.title, "description": proposed.body, "source_branch": proposed.branch,
            "target_branch": proposed.base, "remove_source_branch": "true"}
    headers = {"PRIVATE-TOKEN": token, "Content-Type": "application/json"}
    return Opening(f"{server}/api/v4/projects/{quote(path, safe='')}/merge_requests", json.dumps(body).encode(), 409, headers)
