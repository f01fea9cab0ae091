"""Pushes that GitHub, GitLab, Bitbucket and Gitea tell of: checked, decoded, answered by a look at git (`POST /api/webhook`).

A webhook can do one thing only: make the Applications of that repository look again. Its sender has to know the secret that
stands in the Secret `argocd-secret` under Argo CD's keys; where none is set for a forge, its webhooks are refused.

    webhook.github.secret           X-Hub-Signature-256, HMAC over the body
    webhook.gitlab.secret           X-Gitlab-Token
    webhook.bitbucket.uuid          X-Hook-UUID (cloud)
    webhook.bitbucketserver.secret  X-Hub-Signature, HMAC over the body
    webhook.gogs.secret             X-Gitea-Signature (or X-Gogs-Signature), HMAC over the body
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from fairway.gitops.tracking import HOME
from fairway.kube.cache import Informers
from fairway.kube.objects import Key, dig
from fairway.kube.resources import SECRETS

SECRET = "argocd-secret"
_LARGEST = 25 * 1024 * 1024  # GitHub sends no more


@dataclass(frozen=True, slots=True)
class Push:
    """URLs that mean the repository, and the branch or tag that moved ("" where the sender does not say)."""

    urls: tuple[str, ...]
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Refused(Exception):
    status: int
    text: str


def decode_push(headers: Mapping[str, str], body: bytes, secrets: Mapping[str, str]) -> Push | None:
    """The push, None for an event that is none, or `Refused`. `headers` are looked up as they are written here."""
    if "X-Gitea-Event" in headers or "X-Gogs-Event" in headers:
        signature = headers.get("X-Gitea-Signature") or headers.get("X-Gogs-Signature") or ""
        _check_hmac(body, signature, secrets, "webhook.gogs.secret")
        event = headers.get("X-Gitea-Event") or headers.get("X-Gogs-Event")
        return _hub_push(_json(body)) if event == "push" else None
    if "X-GitHub-Event" in headers:
        _check_hmac(body, headers.get("X-Hub-Signature-256", "").removeprefix("sha256="), secrets, "webhook.github.secret")
        return _hub_push(_json(body)) if headers["X-GitHub-Event"] == "push" else None
    if "X-Gitlab-Event" in headers:
        _check_word(headers.get("X-Gitlab-Token", ""), secrets, "webhook.gitlab.secret")
        known = headers["X-Gitlab-Event"] in ("Push Hook", "Tag Push Hook", "System Hook")
        return _gitlab_push(_json(body)) if known else None
    if "X-Hook-UUID" in headers:
        _check_word(headers["X-Hook-UUID"], secrets, "webhook.bitbucket.uuid")
        return _bitbucket_push(_json(body)) if headers.get("X-Event-Key") == "repo:push" else None
    if "X-Event-Key" in headers:
        if headers["X-Event-Key"] == "diagnostics:ping":
            return None
        _check_hmac(body, headers.get("X-Hub-Signature", "").removeprefix("sha256="), secrets,
                    "webhook.bitbucketserver.secret")
        return _bitbucket_server_push(_json(body)) if headers["X-Event-Key"] == "repo:refs_changed" else None
    raise Refused(400, "Unknown webhook event: send it from GitHub, GitLab, Bitbucket or Gitea")


def _secret(secrets: Mapping[str, str], key: str) -> str:
    if not secrets.get(key):
        raise Refused(403, f"no secret is set for this sender: put one into Secret {HOME}/{SECRET} under {key}, and into the "
                           "webhook's settings")
    return secrets[key]


def _check_hmac(body: bytes, signature: str, secrets: Mapping[str, str], key: str) -> None:
    wanted = hmac.new(_secret(secrets, key).encode(), body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(wanted.encode(), signature.encode()):
        raise Refused(403, f"the signature does not fit the body; is {key} the secret that the sender has?")


def _check_word(word: str, secrets: Mapping[str, str], key: str) -> None:
    if not hmac.compare_digest(_secret(secrets, key).encode(), word.encode()):
        raise Refused(403, f"the token is not that of {key}")


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise Refused(400, f"the body is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise Refused(400, "the body is not an object")
    return found


def _revision(ref: Any) -> str:
    return str(ref or "").removeprefix("refs/heads/").removeprefix("refs/tags/")


def _urls(*found: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(url) for url in found if url))


def _hub_push(body: Mapping[str, Any]) -> Push:
    repository = dig(body, "repository", default={})
    urls = _urls(*(repository.get(key) for key in ("clone_url", "ssh_url", "html_url", "git_url")))
    return Push(urls, _revision(body.get("ref")))


def _gitlab_push(body: Mapping[str, Any]) -> Push | None:
    if body.get("object_kind") not in ("push", "tag_push"):
        return None
    project = dig(body, "project", default={})
    return Push(_urls(*(project.get(k) for k in ("git_http_url", "git_ssh_url", "web_url"))), _revision(body.get("ref")))


def _bitbucket_push(body: Mapping[str, Any]) -> Push:
    change = dig(body, "push", "changes", 0, "new", "name", default="")
    name = dig(body, "repository", "full_name", default="")
    return Push(_urls(dig(body, "repository", "links", "html", "href"), f"git@bitbucket.org:{name}.git" if name else ""),
                str(change))


def _bitbucket_server_push(body: Mapping[str, Any]) -> Push:
    links = [link.get("href") for link in dig(body, "repository", "links", "clone", default=[])]
    return Push(_urls(*links), _revision(dig(body, "changes", 0, "ref", "id")))


def plain_url(url: str) -> str:
    """A URL for comparing: host and path alone, whether it was written for https or ssh."""
    text = url.strip().removesuffix("/").removesuffix(".git")
    scheme, found, rest = text.partition("://")
    if not found:
        rest = scheme.replace(":", "/", 1)
    host, slash, path = rest.partition("/")
    return f"{host.rpartition('@')[2].partition(':')[0].lower()}{slash}{path.lower()}"


# --- the door -------------------------------------------------------------------------------------------------------------


def secrets_in(informers: Informers) -> dict[str, str]:
    """What argocd-secret says about webhooks now."""
    secret = informers.of(SECRETS).get(Key(HOME, SECRET)) or {}
    return {key: base64.b64decode(value).decode(errors="replace").strip()
            for key, value in (secret.get("data") or {}).items() if key.startswith("webhook.")}


def routes(secrets: Callable[[], Mapping[str, str]], on_push: Callable[[Push], None]) -> list[web.RouteDef]:
    """What the web port serves; `on_push` is told of every push that was checked."""

    async def answer(request: web.Request) -> web.Response:
        if (request.content_length or 0) > _LARGEST:
            return web.Response(status=413, text=f"the body is larger than {_LARGEST} bytes")
        body = await request.content.read(_LARGEST + 1)
        while len(body) <= _LARGEST and (more := await request.content.read(_LARGEST + 1 - len(body))):
            body += more
        try:
            if len(body) > _LARGEST:
                raise Refused(413, f"the body is larger than {_LARGEST} bytes")
            push = decode_push(request.headers, body, secrets())
        except Refused as refused:
            return web.Response(status=refused.status, text=refused.text)
        if push is None:
            return web.Response(text="this event changes nothing here")
        on_push(push)
        return web.Response(text="ok")

    return [web.post("/api/webhook", answer)]
