"""What forges tell over their HTTP APIs: open pull requests, the repositories of an organisation; and plugins. Hands.

A token comes from the Secret that the generator names, in the ApplicationSet's own namespace. Whatever is not a whole answer
is an OSError: an ApplicationSet changes nothing then. Not known here: Azure DevOps, AWS CodeCommit, apps of GitHub.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec

from fairway.gitops.generators import FoundRepository, PullRequest
from fairway.gitops.repository_secrets import text_of
from fairway.gitops.spec import InvalidSpec
from fairway.kube.cache import Informers
from fairway.kube.objects import Key, dig
from fairway.kube.resources import CONFIG_MAPS, SECRETS

_LIMIT = aiohttp.ClientTimeout(total=30)
_PAGES = 100  # of 100 entries each: an organisation with more has to be named in parts
_PER_PAGE = 100


@dataclass(frozen=True, slots=True)
class _Door:
    """A forge's API and how we show who we are."""

    api: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    verify: bool = True

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """The decoded answer; OSError for any other than 200. None: there is no such thing."""
        status, body = await self.ask("GET", path, query)
        if status == 404:
            return None
        if status != 200:
            raise OSError(f"{self.api}{path}: the forge answered {status}; check the address, and what the token may read")
        return _decoded(body, f"{self.api}{path}")

    async def ask(self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None) -> tuple[int, bytes]:
        try:
            async with aiohttp.ClientSession(timeout=_LIMIT, headers=self.headers) as session, session.request(
                    method, f"{self.api}{path}", params=query, json=body, ssl=self.verify) as answer:
                return answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise OSError(f"{self.api}{path}: {str(error) or type(error).__name__}") from error

    async def pages(self, path: str, query: Mapping[str, str] | None = None, *, size: str = "per_page") -> AsyncIterator[Any]:
        """The entries of all pages of a list."""
        for page in range(1, _PAGES + 1):
            found = await self.get(path, {**(query or {}), size: str(_PER_PAGE), "page": str(page)})
            if not isinstance(found, list):
                raise OSError(f"{self.api}{path}: there is no such list; check the names")
            for entry in found:
                yield entry
            if len(found) < _PER_PAGE:
                return
        raise OSError(f"{self.api}{path}: more than {_PAGES * _PER_PAGE} entries; ask for fewer")


def _decoded(body: bytes, place: str) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise OSError(f"{place}: the answer is no JSON: {error}") from error


class Forges:
    """The `Forge` of `generators`, over the network."""

    def __init__(self, informers: Informers) -> None:
        self._secrets = informers.of(SECRETS)
        self._config_maps = informers.of(CONFIG_MAPS)

    async def pull_requests(self, generator: Mapping[str, Any], namespace: str) -> Sequence[PullRequest]:
        name, said = _section(generator, ("github", "gitlab", "gitea", "bitbucketServer", "bitbucket"), "pullRequest")
        door = self._door(name, said, namespace)
        found = [one async for one in _REQUESTS[name](door, said)]
        wanted = {str(label) for label in said.get("labels") or ()}
        return [one for one in found if wanted <= set(one.labels)]

    async def repositories(self, generator: Mapping[str, Any], namespace: str) -> Sequence[FoundRepository]:
        name, said = _section(generator, ("github", "gitlab", "gitea"), "scmProvider")
        door = self._door(name, said, namespace)
        asked = [str(path) for one in generator.get("filters") or () for key in ("pathsExist", "pathsDoNotExist")
                 for path in one.get(key) or ()]
        ssh = generator.get("cloneProtocol", "ssh") == "ssh"
        return [one async for one in _REPOSITORIES[name](door, said, asked, ssh)]

    async def plugin(self, generator: Mapping[str, Any], namespace: str, set_name: str) -> Sequence[Mapping[str, Any]]:
        name = str(dig(generator, "configMapRef", "name", default=""))
        settings = (self._config_maps.get(Key(namespace, name)) or {}).get("data") or {}
        if not settings.get("baseUrl"):
            raise InvalidSpec(f"plugin.configMapRef: ConfigMap {namespace}/{name} with a baseUrl is needed")
        token = self._reference(str(settings.get("token") or ""), namespace)
        door = _Door(str(settings["baseUrl"]).rstrip("/"), {"Authorization": f"Bearer {token}"})
        body = {"applicationSetName": set_name, "input": {"parameters": dig(generator, "input", "parameters", default={})}}
        status, answer = await door.ask("POST", "/api/v1/getparams.execute", body=body)
        if status != 200:
            raise OSError(f"{door.api}: the plugin answered {status}")
        found = dig(_decoded(answer, door.api), "output", "parameters")
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise OSError(f"{door.api}: the plugin's answer has no list output.parameters of mappings")
        return found

    # --- who we are ---------------------------------------------------------------------------------------------------

    def _door(self, name: str, said: Mapping[str, Any], namespace: str) -> _Door:
        api, verify = str(said.get("api") or _PUBLIC.get(name, "")).rstrip("/"), not said.get("insecure")
        if not api:
            raise InvalidSpec(f"{name}.api: is missing; it is the address of the forge")
        basic, bearer = said.get("basicAuth"), said.get("bearerToken")
        if basic:
            password = self._secret(basic.get("passwordRef"), namespace)
            word = base64.b64encode(f"{basic.get('username')}:{password}".encode()).decode()
            return _Door(api, {"Authorization": f"Basic {word}"}, verify=verify)
        reference = (bearer or said).get("tokenRef")
        if not reference:
            return _Door(api, verify=verify)
        header, prefix = _HEADERS.get(name, ("Authorization", "Bearer "))
        return _Door(api, {header: prefix + self._secret(reference, namespace)}, verify=verify)

    def _secret(self, reference: Any, namespace: str) -> str:
        name, key = str(dig(reference, "secretName", default="")), str(dig(reference, "key", default=""))
        found = text_of(self._secrets.get(Key(namespace, name)) or {}).get(key)
        if found is None:
            raise InvalidSpec(f"tokenRef: Secret {namespace}/{name} has no key {key!r}")
        return found

    def _reference(self, text: str, namespace: str) -> str:
        """A plugin's token: `$secret:key`, or `$key` of argocd-secret."""
        if not text.startswith("$"):
            return text
        name, colon, key = text[1:].partition(":")
        return self._secret({"secretName": name if colon else "argocd-secret", "key": key or name}, namespace)


_PUBLIC = {"github": "https://api.github.com", "gitlab": "https://gitlab.com", "bitbucket": "https://api.bitbucket.org/2.0"}
_HEADERS = {"gitlab": ("PRIVATE-TOKEN", ""), "gitea": ("Authorization", "token ")}


def _section(generator: Mapping[str, Any], known: Sequence[str], kind: str) -> tuple[str, Mapping[str, Any]]:
    for name in known:
        if isinstance(generator.get(name), dict):
            return name, generator[name]
    raise InvalidSpec(f"{kind}: one of {', '.join(known)} is needed; other forges are not known here")


# --- pull requests ----------------------------------------------------------------------------------------------------


async def _github_requests(door: _Door, said: Mapping[str, Any]) -> AsyncIterator[PullRequest]:
    async for one in door.pages(f"/repos/{said.get('owner')}/{said.get('repo')}/pulls", {"state": "open"}):
        yield _hub_request(one, str(dig(one, "user", "login", default="")))


async def _gitea_requests(door: _Door, said: Mapping[str, Any]) -> AsyncIterator[PullRequest]:
    path = f"/api/v1/repos/{said.get('owner')}/{said.get('repo')}/pulls"
    async for one in door.pages(path, {"state": "open"}, size="limit"):
        yield _hub_request(one, str(dig(one, "user", "username") or dig(one, "user", "login", default="")))


def _hub_request(one: Mapping[str, Any], author: str) -> PullRequest:
    labels = tuple(str(label.get("name")) for label in one.get("labels") or ())
    return PullRequest(int(one["number"]), str(one.get("title")), str(dig(one, "head", "ref")), str(dig(one, "base", "ref")),
                       str(dig(one, "head", "sha")), labels, author)


async def _gitlab_requests(door: _Door, said: Mapping[str, Any]) -> AsyncIterator[PullRequest]:
    state = str(said.get("pullRequestState") or "opened")
    path = f"/api/v4/projects/{quote(str(said.get('project')), safe='')}/merge_requests"
    async for one in door.pages(path, {"state": state}):
        yield PullRequest(int(one["iid"]), str(one.get("title")), str(one.get("source_branch")), str(one.get("target_branch")),
                          str(one.get("sha")), tuple(map(str, one.get("labels") or ())),
                          str(dig(one, "author", "username", default="")))


async def _bitbucket_server_requests(door: _Door, said: Mapping[str, Any]) -> AsyncIterator[PullRequest]:
    path, start = f"/rest/api/1.0/projects/{said.get('project')}/repos/{said.get('repo')}/pull-requests", 0
    while True:
        found = await door.get(path, {"state": "OPEN", "limit": str(_PER_PAGE), "start": str(start)})
        if found is None:
            raise OSError(f"{door.api}{path}: there is no such repository")
        for one in found.get("values") or ():
            yield PullRequest(int(one["id"]), str(one.get("title")), str(dig(one, "fromRef", "displayId")),
                              str(dig(one, "toRef", "displayId")), str(dig(one, "fromRef", "latestCommit")), (),
                              str(dig(one, "author", "user", "name", default="")))
        if found.get("isLastPage", True):
            return
        start = int(found["nextPageStart"])


async def _bitbucket_requests(door: _Door, said: Mapping[str, Any]) -> AsyncIterator[PullRequest]:
    path = f"/repositories/{said.get('owner')}/{said.get('repo')}/pullrequests"
    for page in range(1, _PAGES + 1):
        found = await door.get(path, {"state": "OPEN", "pagelen": "50", "page": str(page)})
        if found is None:
            raise OSError(f"{door.api}{path}: there is no such repository")
        for one in found.get("values") or ():
            yield PullRequest(int(one["id"]), str(one.get("title")), str(dig(one, "source", "branch", "name")),
                              str(dig(one, "destination", "branch", "name")), str(dig(one, "source", "commit", "hash")), (),
                              str(dig(one, "author", "nickname", default="")))
        if not found.get("next"):
            return


_REQUESTS = {"github": _github_requests, "gitlab": _gitlab_requests, "gitea": _gitea_requests,
             "bitbucketServer": _bitbucket_server_requests, "bitbucket": _bitbucket_requests}  # fmt: skip


# --- repositories of an organisation ------------------------------------------------------------------------------------


async def _hub_repositories(door: _Door, lists: str, root: str, size: str, said: Mapping[str, Any], owner: str,
                            asked: Sequence[str], ssh: bool) -> AsyncIterator[FoundRepository]:
    """GitHub and Gitea, whose answers are alike."""
    async for one in door.pages(lists, size=size):
        name, main = str(one["name"]), str(one.get("default_branch") or "main")
        branches = f"{root}/repos/{owner}/{name}/branches"
        if one.get("archived"):
            continue
        if said.get("allBranches"):
            heads = [branch async for branch in door.pages(branches, size=size)]
        else:
            head = await door.get(f"{branches}/{quote(main, safe='')}")
            heads = [head] if head is not None else []  # nothing was ever pushed
        for head in heads:
            branch = str(head["name"])
            contents = f"{root}/repos/{owner}/{name}/contents"
            has = [path for path in asked if await door.get(f"{contents}/{quote(path)}", {"ref": branch}) is not None]
            sha = dig(head, "commit", "sha") or dig(head, "commit", "id", default="")
            yield FoundRepository(owner, name, str(one.get("ssh_url" if ssh else "clone_url")), branch, str(sha),
                                  tuple(map(str, one.get("topics") or ())), frozenset(has))


def _github_repositories(door: _Door, said: Mapping[str, Any], asked: Sequence[str],
                         ssh: bool) -> AsyncIterator[FoundRepository]:
    owner = str(said.get("organization"))
    return _hub_repositories(door, f"/orgs/{owner}/repos", "", "per_page", said, owner, asked, ssh)


def _gitea_repositories(door: _Door, said: Mapping[str, Any], asked: Sequence[str],
                        ssh: bool) -> AsyncIterator[FoundRepository]:
    owner = str(said.get("owner"))
    return _hub_repositories(door, f"/api/v1/orgs/{owner}/repos", "/api/v1", "limit", said, owner, asked, ssh)


async def _gitlab_repositories(door: _Door, said: Mapping[str, Any], asked: Sequence[str],
                               ssh: bool) -> AsyncIterator[FoundRepository]:
    group = str(said.get("group"))
    query = {"include_subgroups": "true" if said.get("includeSubgroups") else "false", "archived": "false"}
    async for one in door.pages(f"/api/v4/groups/{quote(group, safe='')}/projects", query):
        root = f"/api/v4/projects/{one['id']}/repository"
        async for head in door.pages(f"{root}/branches"):
            branch = str(head["name"])
            if branch != one.get("default_branch") and not said.get("allBranches"):
                continue
            has = []
            for path in asked:
                folder, _, name = path.rpartition("/")
                async for entry in door.pages(f"{root}/tree", {"path": folder, "ref": branch}):
                    if entry.get("name") == name:
                        has.append(path)
            url = str(one.get("ssh_url_to_repo" if ssh else "http_url_to_repo"))
            yield FoundRepository(str(dig(one, "namespace", "full_path", default=group)), str(one["path"]), url, branch,
                                  str(dig(head, "commit", "id")), tuple(map(str, one.get("topics") or ())), frozenset(has))


_REPOSITORIES = {"github": _github_repositories, "gitea": _gitea_repositories, "gitlab": _gitlab_repositories}
