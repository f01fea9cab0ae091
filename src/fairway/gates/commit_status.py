"""Where the verdict is told to the forge: requests as values. Sources: GitHub's and GitLab's APIs of commit statuses. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

CONTEXT = "fairway/gates"


class NoForge(Exception):
    """The environment does not say which commit of which forge; the message names what is missing."""


@dataclass(frozen=True, slots=True)
class Request:
    """A POST. The headers hold the token: they are never printed."""

    url: str
    body: bytes
    headers: Mapping[str, str] = field(repr=False)


def status_request(environment: Mapping[str, str], state: str, text: str) -> Request:
    """For the commit of this job, on GitHub (`GITHUB_TOKEN`) or GitLab (`GITLAB_TOKEN`). `state` in GitHub's words."""
    if environment.get("GITHUB_REPOSITORY") and environment.get("GITHUB_SHA"):
        token = environment.get("GITHUB_TOKEN")
        if not token:
            raise NoForge("GITHUB_TOKEN is not set; set it to `${{ github.token }}`, and give the job `statuses: write`")
        api = environment.get("GITHUB_API_URL", "https://api.github.com")
        url = f"{api}/repos/{environment['GITHUB_REPOSITORY']}/statuses/{environment['GITHUB_SHA']}"
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json",
                   "Content-Type": "application/json"}
        return Request(url, json.dumps({"state": state, "description": text, "context": CONTEXT}).encode(), headers)
    if environment.get("CI_PROJECT_ID") and environment.get("CI_COMMIT_SHA"):
        token = environment.get("GITLAB_TOKEN")
        if not token:
            raise NoForge("GITLAB_TOKEN is not set; a job token may not write statuses: give a project token with scope `api`")
        project = quote(environment["CI_PROJECT_ID"], safe="")
        url = f"{environment.get('CI_API_V4_URL', '')}/projects/{project}/statuses/{environment['CI_COMMIT_SHA']}"
        body = {"state": "success" if state == "success" else "failed", "description": text, "name": CONTEXT}
        return Request(url, json.dumps(body).encode(), {"PRIVATE-TOKEN": token, "Content-Type": "application/json"})
    raise NoForge("neither GITHUB_REPOSITORY and GITHUB_SHA nor CI_PROJECT_ID and CI_COMMIT_SHA are set: no job of a forge")
