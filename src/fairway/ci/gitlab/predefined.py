"""The `CI_*` variables of a pipeline and of a job, by what started it. Pure."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from fairway.ci.gitlab.spec import Environment

SOURCES: Mapping[str, str] = {
    "push": "push", "tag": "push", "create": "push", "merge_request": "merge_request_event",
    "pull_request": "merge_request_event", "merge_request_event": "merge_request_event", "schedule": "schedule", "web": "web",
    "workflow_dispatch": "web", "api": "api", "repository_dispatch": "api", "trigger": "trigger", "pipeline": "pipeline",
    "parent_pipeline": "parent_pipeline", "chat": "chat",
}
"""From an event's name, GitLab's or GitHub's, to CI_PIPELINE_SOURCE."""
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Occasion:
    """What started a pipeline. `ref` is a branch's or tag's short name; `target` the branch that a merge request goes to."""

    source: str
    repository: str
    ref: str
    sha: str
    is_tag: bool = False
    before: str = ""
    message: str = ""
    author: str = ""
    timestamp: str = ""
    default_branch: str = "main"
    target: str = ""
    target_sha: str = ""
    run: str = "run"
    number: int = 1
    server: str = "https://gitlab.com"
    user: str = ""
    email: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)


def pipeline_variables(o: Occasion) -> dict[str, str]:
    host = o.server.partition("://")[2]
    namespace, _, name = o.repository.rpartition("/")
    title, _, rest = o.message.partition("\n")
    is_merge_request = o.source == "merge_request_event"
    found = {
        "CI": "true", "GITLAB_CI": "true",
        "CI_API_V4_URL": f"{o.server}/api/v4", "CI_API_GRAPHQL_URL": f"{o.server}/api/graphql",
        "CI_SERVER": "yes", "CI_SERVER_NAME": "GitLab", "CI_SERVER_URL": o.server, "CI_SERVER_HOST": host.partition(":")[0],
        "CI_SERVER_FQDN": host, "CI_SERVER_PORT": "443", "CI_SERVER_PROTOCOL": "https", "CI_SERVER_VERSION": "18.6.0",
        "CI_SERVER_VERSION_MAJOR": "18", "CI_SERVER_VERSION_MINOR": "6", "CI_SERVER_VERSION_PATCH": "0",
        "CI_SERVER_SHELL_SSH_HOST": host, "CI_SERVER_SHELL_SSH_PORT": "22",
        "CI_PROJECT_ID": _number(o.repository), "CI_PROJECT_NAME": name, "CI_PROJECT_TITLE": name,
        "CI_PROJECT_NAMESPACE": namespace, "CI_PROJECT_ROOT_NAMESPACE": namespace.partition("/")[0],
        "CI_PROJECT_PATH": o.repository, "CI_PROJECT_PATH_SLUG": slug(o.repository), "CI_PROJECT_URL":
        f"{o.server}/{o.repository}", "CI_PROJECT_VISIBILITY": "private", "CI_DEFAULT_BRANCH": o.default_branch,
        "CI_DEFAULT_BRANCH_SLUG": slug(o.default_branch), "CI_REPOSITORY_URL": f"{o.server}/{o.repository}.git",
        "CI_CONFIG_PATH": ".gitlab-ci.yml", "CI_TEMPLATE_REGISTRY_HOST": "registry.gitlab.com",
        "CI_PAGES_DOMAIN": f"pages.{host}", "CI_REGISTRY": f"registry.{host}",
        "CI_REGISTRY_IMAGE": f"registry.{host}/{o.repository.lower()}", "CI_DEPENDENCY_PROXY_SERVER": f"{host}:443",
        "CI_DEPENDENCY_PROXY_GROUP_IMAGE_PREFIX": f"{host}:443/{namespace.partition('/')[0]}/dependency_proxy/containers",
        "CI_PIPELINE_ID": _number(o.run), "CI_PIPELINE_IID": str(o.number), "CI_PIPELINE_SOURCE": o.source,
        "CI_PIPELINE_CREATED_AT": o.timestamp, "CI_PIPELINE_URL":
        f"{o.server}/{o.repository}/-/pipelines/{_number(o.run)}", "CI_PIPELINE_TRIGGERED":
        "true" if o.source == "trigger" else "",
        "CI_COMMIT_SHA": o.sha, "CI_COMMIT_SHORT_SHA": o.sha[:8], "CI_COMMIT_BEFORE_SHA": o.before or "0" * 40,
        "CI_COMMIT_REF_NAME": o.ref, "CI_COMMIT_REF_SLUG": slug(o.ref), "CI_COMMIT_REF_PROTECTED":
        "true" if o.ref == o.default_branch else "false", "CI_COMMIT_TITLE": title, "CI_COMMIT_MESSAGE": o.message,
        "CI_COMMIT_DESCRIPTION": rest.strip() or o.message, "CI_COMMIT_AUTHOR": f"{o.author} <{o.email}>",
        "CI_COMMIT_TIMESTAMP": o.timestamp,
        "GITLAB_USER_NAME": o.user or o.author, "GITLAB_USER_LOGIN": (o.user or o.author).lower().replace(" ", "."),
        "GITLAB_USER_EMAIL": o.email, "GITLAB_USER_ID": "1",
    }
    if not found["CI_PIPELINE_TRIGGERED"]:
        del found["CI_PIPELINE_TRIGGERED"]
    if o.is_tag:
        found |= {"CI_COMMIT_TAG": o.ref, "CI_COMMIT_TAG_MESSAGE": title}
    elif is_merge_request:
        found |= _merge_request(o, title)
    else:
        found["CI_COMMIT_BRANCH"] = o.ref
    return {**found, **o.extra}


def _merge_request(o: Occasion, title: str) -> dict[str, str]:
    target = o.target or o.default_branch
    return {
        "CI_MERGE_REQUEST_ID": "1", "CI_MERGE_REQUEST_IID": "1", "CI_MERGE_REQUEST_REF_PATH": "refs/merge-requests/1/head",
        "CI_MERGE_REQUEST_PROJECT_ID": _number(o.repository), "CI_MERGE_REQUEST_PROJECT_PATH": o.repository,
        "CI_MERGE_REQUEST_PROJECT_URL": f"{o.server}/{o.repository}", "CI_MERGE_REQUEST_TITLE": title,
        "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": o.ref, "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": "",
        "CI_MERGE_REQUEST_SOURCE_PROJECT_PATH": o.repository, "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": target,
        "CI_MERGE_REQUEST_TARGET_BRANCH_SHA": "", "CI_MERGE_REQUEST_DIFF_BASE_SHA": o.target_sha or o.before,
        "CI_MERGE_REQUEST_EVENT_TYPE": "detached", "CI_MERGE_REQUEST_DRAFT": "false", "CI_MERGE_REQUEST_APPROVED": "false",
        "CI_OPEN_MERGE_REQUESTS": f"{o.repository}!1",
    }


def environment_variables(environment: Environment | None) -> dict[str, str]:
    """Of an environment whose name is expanded. Its URL, a variable too, is expanded by the job."""
    if environment is None:
        return {}
    return {"CI_ENVIRONMENT_NAME": environment.name, "CI_ENVIRONMENT_SLUG": environment_slug(environment.name),
            "CI_ENVIRONMENT_ACTION": environment.action, "CI_ENVIRONMENT_TIER": environment.tier or tier_of(environment.name)}


def tier_of(name: str) -> str:
    """GitLab guesses the tier from the name."""
    low = name.lower()
    for tier, pattern in (("development", r"dev|review|trunk"), ("testing", r"test|tst|int|ac(ce|)pt|qa|qc|control|quality"),
                          ("staging", r"st(a|)g|mod(e|)l|pre|demo|non"), ("production", r"pr(o|)d|live")):
        if re.search(pattern, low):
            return tier
    return "other"


def slug(text: str) -> str:
    """CI_COMMIT_REF_SLUG: 63 characters of a-z, 0-9 and `-`."""
    return re.sub(r"[^a-z0-9]", "-", text.lower())[:63].strip("-")


def environment_slug(name: str) -> str:
    """24 characters that a host name may have; a name that had to be changed gets a hash of itself."""
    made = re.sub(r"[^a-z0-9]", "-", name.lower())
    made = re.sub(r"-+", "-", made if re.match(r"[a-z]", made) else f"env-{made}")
    if len(made) <= 24 and made == name:
        return made.removesuffix("-")
    made = made[:17]
    return f"{made if made.endswith('-') else made + '-'}{_base36(int(hashlib.sha256(name.encode()).hexdigest(), 16))[-6:]}"


def _base36(number: int) -> str:
    out = ""
    while number:
        number, digit = divmod(number, 36)
        out = _DIGITS[digit] + out
    return out or "0"


def _number(text: str) -> str:
    """Ids are numbers, the same for the same name."""
    return str(zlib.crc32(text.encode()) + 1)
