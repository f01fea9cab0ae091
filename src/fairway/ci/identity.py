"""Who a job is, for others to check: signed tokens (OpenID Connect) with the claims that GitHub and GitLab give theirs.

A GitHub job with `permissions: id-token: write` asks for its tokens over HTTP while it runs; a GitLab job has those of its
`id_tokens` as variables. Whoever trusts this platform as an issuer reads its key over HTTP (`identity_routes`).
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from fairway.ci.expressions import Value, to_text

LIFE = timedelta(minutes=5)
"""As long as GitHub's: a log-in takes seconds, and what it gives has a life of its own."""
_GITHUB = ("actor", "base_ref", "event_name", "head_ref", "ref", "ref_type", "repository", "repository_owner", "run_attempt",
           "run_id", "run_number", "sha", "workflow", "workflow_ref", "workflow_sha")


class Signer(Protocol):
    def sign(self, claims: Mapping[str, Any]) -> str: ...

    def jwk(self) -> Mapping[str, str]: ...


@dataclass(frozen=True, slots=True)
class _Grant:
    owner: str
    token: str
    claims: Mapping[str, Any]


class Identities:
    """The issuer. What running jobs may ask with is kept in memory alone: a job does not outlive the platform."""

    def __init__(self, web_url: str, key: Signer, now: Callable[[], datetime]) -> None:
        self.issuer = f"{web_url}/ci"
        self._key = key
        self._now = now
        self._grants: list[_Grant] = []

    def grant(self, owner: str, claims: Mapping[str, Any]) -> dict[str, str]:
        """The variables with which a GitHub job asks for tokens, until `revoke(owner)`."""
        token = secrets.token_urlsafe(30)
        self._grants.append(_Grant(owner, token, claims))
        return {"ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.issuer}/token?api-version=2.0", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": token}

    def revoke(self, owner: str) -> None:
        self._grants = [grant for grant in self._grants if grant.owner != owner]

    def issue(self, claims: Mapping[str, Any], audience: Sequence[str]) -> str:
        now = int(self._now().timestamp())
        return self._key.sign({
            **claims, "iss": self.issuer, "aud": audience[0] if len(audience) == 1 else list(audience), "iat": now, "nbf": now,
            "exp": now + int(LIFE.total_seconds()), "jti": secrets.token_hex(16)})

    def answer(self, token: str, audience: str) -> str | None:
        """The signed token for a job that asks with the token of its grant; None for anybody else."""
        found = next((grant for grant in self._grants if hmac.compare_digest(token.encode(), grant.token.encode())), None)
        if found is None:
            return None
        return self.issue(found.claims, [audience or f"https://github.com/{found.claims['repository_owner']}"])

    def key(self) -> dict[str, str]:
        """The public key, as others check tokens with it."""
        return dict(self._key.jwk())


def github_claims(github: Mapping[str, Value], environment: str) -> dict[str, str]:
    """`sub` names the environment where there is one, else a pull request, else the ref."""
    found = {name: to_text(github.get(name)) for name in _GITHUB}
    about = f"environment:{environment}" if environment else "pull_request" \
        if found["event_name"].startswith("pull_request") else f"ref:{found['ref']}"
    return {**found, "sub": f"repo:{found['repository']}:{about}", "job_workflow_ref": found["workflow_ref"],
            "runner_environment": "self-hosted", **({"environment": environment} if environment else {})}


def gitlab_claims(variables: Mapping[str, str]) -> dict[str, str]:
    """From the variables of a job."""
    project, is_tag = variables.get("CI_PROJECT_PATH", ""), "CI_COMMIT_TAG" in variables
    ref, kind = variables.get("CI_COMMIT_REF_NAME", ""), "tag" if is_tag else "branch"
    environment = variables.get("CI_ENVIRONMENT_NAME", "")
    return {
        "sub": f"project_path:{project}:ref_type:{kind}:ref:{ref}", "project_path": project, "ref": ref, "ref_type": kind,
        "namespace_path": variables.get("CI_PROJECT_NAMESPACE", ""), "project_id": variables.get("CI_PROJECT_ID", ""),
        "ref_path": f"refs/{'tags' if is_tag else 'heads'}/{ref}",
        "ref_protected": variables.get("CI_COMMIT_REF_PROTECTED", "false"),
        "pipeline_id": variables.get("CI_PIPELINE_ID", ""), "pipeline_source": variables.get("CI_PIPELINE_SOURCE", ""),
        "job_id": variables.get("CI_JOB_ID", ""), "sha": variables.get("CI_COMMIT_SHA", ""),
        "user_login": variables.get("GITLAB_USER_LOGIN", ""), "runner_environment": "self-hosted",
        **({"environment": environment, "environment_action": variables.get("CI_ENVIRONMENT_ACTION", "start"),
            "deployment_tier": variables.get("CI_ENVIRONMENT_TIER", "")} if environment else {})}
