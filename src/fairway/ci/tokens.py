"""Tokens of running jobs: each opens what its job may open, and nothing once the job is over.

They are kept in memory alone: a job does not outlive the platform that gave it its token. One that does, in the pod of a
cluster, has its token in the Secret of that pod, and whoever adopts the job learns it from there (`adopt`).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from fairway.ci.permissions import WRITE, granted
from fairway.ci.spec import Job, Workflow

Level = Literal["read", "write"]
PREFIX = "fwj_"
"""So that a token that got somewhere is recognised, as secret scanners do."""


@dataclass(frozen=True, slots=True)
class _Grant:
    owner: str
    repository: str
    level: Level


class Tokens(Protocol):
    """Who gives jobs what opens a repository for them."""

    def issue(self, owner: str, repository: str, level: Level) -> str:
        """A token for one repository, until `revoke(owner)`."""
        ...

    def revoke(self, owner: str) -> None: ...


class JobTokens:
    """Only hashes are kept."""

    def __init__(self) -> None:
        self._grants: dict[bytes, _Grant] = {}

    def issue(self, owner: str, repository: str, level: Level) -> str:
        token = PREFIX + secrets.token_urlsafe(30)
        self.adopt(token, owner, repository, level)
        return token

    def adopt(self, token: str, owner: str, repository: str, level: Level) -> None:
        """A token that was given out before this process began."""
        self._grants[_hash(token)] = _Grant(owner, repository, level)

    def owner_of(self, token: str) -> str | None:
        grant = self._grants.get(_hash(token))
        return grant.owner if grant is not None else None

    def revoke(self, owner: str) -> None:
        self._grants = {key: grant for key, grant in self._grants.items() if grant.owner != owner}

    def allows(self, token: str, repository: str, *, write: bool) -> bool:
        grant = self._grants.get(_hash(token))
        return grant is not None and grant.repository == repository and (grant.level == "write" or not write)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def contents_level(workflow: Workflow, job: Job) -> Level | None:
    """What `permissions` gives of the repository's contents; without any, write."""
    level = _permissions(workflow, job).get("contents", "none")
    return "write" if level == "write" else "read" if level == "read" else None


def may_prove_itself(workflow: Workflow, job: Job) -> bool:
    """`id-token: write` has to be written; no default has it."""
    return granted(job.permissions, granted(workflow.permissions, {})).get("id-token") == "write"


def _permissions(workflow: Workflow, job: Job) -> Mapping[str, str]:
    return granted(job.permissions, granted(workflow.permissions, WRITE))
