"""Secrets of the namespace `argocd` that say how a repository is reached, as Argo CD reads them. Pure.

    argocd.argoproj.io/secret-type: repository     one repository, by its `url`
    argocd.argoproj.io/secret-type: repo-creds     every repository whose URL begins with `url`; the longest fits best

    username, password     over https; a token is a password
    bearerToken            sent as the password of the user `x-token-auth`, which is how forges take such a token from git
    sshPrivateKey          over ssh
    insecure               "true": the server's certificate, or host key, is not checked

A repository's own Secret counts before a prefix; where it has no credentials, those of the prefix are used.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fairway.git import Login
from fairway.gitops.tracking import HOME
from fairway.kube.objects import Obj, labels_of, meta_of
from fairway.manifests.helm.download import Login as ChartLogin

SECRET_TYPE = "argocd.argoproj.io/secret-type"
_TOKEN_USER = "x-token-auth"


@dataclass(frozen=True, slots=True)
class _Said:
    url: str
    is_prefix: bool
    login: Login


def is_repository_secret(obj: Obj) -> bool:
    return meta_of(obj).get("namespace") == HOME and labels_of(obj).get(SECRET_TYPE) in ("repository", "repo-creds")


def login_for(url: str, secrets: Iterable[Obj]) -> Login | None:
    """How the repository at `url` is reached; None where no Secret speaks of it."""
    said = [_decoded(obj) for obj in secrets if is_repository_secret(obj)]
    wanted = _plain(url)
    own = next((one for one in said if not one.is_prefix and _plain(one.url) == wanted), None)
    if own is not None and own.login.proves_something:
        return own.login
    fitting = [one for one in said if one.is_prefix and one.url and url.lower().startswith(one.url.lower())]
    best = max(fitting, key=lambda one: len(one.url), default=None)
    return best.login if best is not None else own.login if own is not None else None


def chart_login_for(url: str, secrets: Iterable[Obj]) -> ChartLogin | None:
    """The same for a Helm repository or registry."""
    found = login_for(url, secrets)
    return ChartLogin(found.user, found.password) if found is not None and found.password else None


def _decoded(obj: Obj) -> _Said:
    data = text_of(obj)
    token = data.get("bearerToken", "")
    login = Login(data.get("username", "") or (_TOKEN_USER if token else "git"), data.get("password", "") or token,
                  data.get("sshPrivateKey", ""), data.get("insecure", "") == "true")
    return _Said(data.get("url", ""), labels_of(obj)[SECRET_TYPE] == "repo-creds", login)


def text_of(secret: Obj) -> Mapping[str, str]:
    """A Secret's data as text."""
    return {name: base64.b64decode(value).decode(errors="replace").strip()
            for name, value in (secret.get("data") or {}).items()}


def _plain(url: str) -> str:
    return url.strip().lower().removesuffix("/").removesuffix(".git")
