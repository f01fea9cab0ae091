"""Forges and plugins, asked over real HTTP: who is let in, every page is read, and half an answer is none."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from fairway.gitops.forges import Forges
from fairway.gitops.generators import Engine, World, generate
from fairway.gitops.spec import InvalidSpec
from fairway.kube.cache import Informers
from fairway.kube.clock import WallClock
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.objects import Obj
from fairway.kube.resources import CONFIG_MAPS, SECRETS

TOKEN = "correct-horse"


def hub(n: int) -> Obj:
    return {"number": n, "title": f"Change {n}", "head": {"ref": f"topic/{n}", "sha": f"{n:040d}"}, "base": {"ref": "main"},
            "labels": [{"name": "preview"}] if n % 2 else [], "user": {"login": "ann", "username": "ann"}}


LAB = {"iid": 1, "title": "Change 1", "source_branch": "topic/1", "target_branch": "main", "sha": f"{1:040d}",
       "labels": ["preview"], "author": {"username": "ann"}}
SERVER = {"id": 1, "title": "Change 1", "fromRef": {"displayId": "topic/1", "latestCommit": f"{1:040d}"},
          "toRef": {"displayId": "main"}, "author": {"user": {"name": "ann"}}}
CLOUD = {"id": 1, "title": "Change 1", "source": {"branch": {"name": "topic/1"}, "commit": {"hash": f"{1:040d}"}},
         "destination": {"branch": {"name": "main"}}, "author": {"nickname": "ann"}}
REPOSITORY = {"name": "shop", "default_branch": "main", "clone_url": "https://forge.example.com/team/shop.git",
              "ssh_url": "git@forge.example.com:team/shop.git", "topics": ["web"]}


def answers(request: web.Request) -> Any:
    """What a forge of each kind says; None: nothing of that name."""
    path, page = request.path, int(request.query.get("page", "1"))
    branch = {"name": "main", "commit": {"sha": f"{7:040d}", "id": f"{7:040d}"}}
    known: dict[str, Any] = {
        "/hub/repos/team/shop/pulls": [hub(n) for n in range(1, 131)][(page - 1) * 100:page * 100],
        "/tea/api/v1/repos/team/shop/pulls": [hub(1)], "/lab/api/v4/projects/team/shop/merge_requests": [LAB],
        "/server/rest/api/1.0/projects/TEAM/repos/shop/pull-requests": {
            "values": [SERVER], "isLastPage": request.query.get("start") == "1", "nextPageStart": 1},
        "/cloud/repositories/team/shop/pullrequests": {"values": [CLOUD]},
        "/hub/orgs/team/repos": [REPOSITORY, {**REPOSITORY, "name": "old", "archived": True}],
        "/hub/repos/team/shop/branches/main": branch, "/hub/repos/team/shop/contents/deploy": [{}],
    }  # fmt: skip
    return known.get(path)


def ask(story: Callable[[World, str], Awaitable[None]]) -> None:
    async def main() -> None:
        async def answer(request: web.Request) -> web.Response:
            if request.path.startswith("/plugin"):
                asked = await request.json()
                return web.json_response({"output": {"parameters": [{"name": asked["input"]["parameters"]["size"]}]}})
            shown = request.headers.get("Authorization", "") + request.headers.get("PRIVATE-TOKEN", "")
            if TOKEN not in shown and base64.b64encode(f"ann:{TOKEN}".encode()).decode() not in shown:
                return web.json_response({"message": "Bad credentials"}, status=401)
            found = answers(request)
            return web.json_response(found, status=404 if found is None else 200)

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        address = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
        api = EmbeddedApi.in_memory(WallClock())
        for name, token in (("token", TOKEN), ("wrong", "wrong-donkey")):
            await api.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "argocd"},
                              "data": {"token": base64.b64encode(token.encode()).decode()}})
        await api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "sizes", "namespace": "argocd"},
                          "data": {"baseUrl": f"{address}/plugin", "token": "$token:token"}})
        informers = Informers(api)
        for resource in (SECRETS, CONFIG_MAPS):
            informers.of(resource)
        await informers.synced()

        async def call(port: Any, work: Callable[[], Any]) -> Any:
            return work()

        def no_repository(url: str) -> Any:
            raise AssertionError(url)

        try:
            await story(World(no_repository, [], Forges(informers), call), address)
        finally:
            await informers.close()
            await runner.cleanup()

    asyncio.run(main())


REFERENCE = {"secretName": "token", "key": "token"}


@pytest.mark.parametrize(("name", "where", "said", "count"), [
    ("github", "/hub", {"owner": "team", "repo": "shop", "tokenRef": REFERENCE}, 130),
    ("github", "/hub", {"owner": "team", "repo": "shop", "tokenRef": REFERENCE, "labels": ["preview"]}, 65),
    ("gitea", "/tea", {"owner": "team", "repo": "shop", "tokenRef": REFERENCE}, 1),
    ("gitlab", "/lab", {"project": "team/shop", "tokenRef": REFERENCE}, 1),
    ("bitbucketServer", "/server", {"project": "TEAM", "repo": "shop", "basicAuth": {
        "username": "ann", "passwordRef": REFERENCE}}, 2),
    ("bitbucket", "/cloud", {"owner": "team", "repo": "shop", "bearerToken": {"tokenRef": REFERENCE}}, 1),
], ids=["github", "labels", "gitea", "gitlab", "bitbucket server", "bitbucket"])  # fmt: skip
def test_open_pull_requests(name: str, where: str, said: dict[str, Any], count: int) -> None:
    async def story(world: World, address: str) -> None:
        found = await generate({"pullRequest": {name: {**said, "api": address + where}}}, Engine(go=True), world, "spec")
        assert len(found) == count
        first = found[0].params
        assert (first["number"], first["branch_slug"], first["target_branch"], first["author"], first["head_short_sha_7"]) == (
            "1", "topic-1", "main", "ann", "0000000")

    ask(story)


def test_repositories_of_an_organisation_that_have_a_folder() -> None:
    async def story(world: World, address: str) -> None:
        github = {"organization": "team", "api": f"{address}/hub", "tokenRef": REFERENCE}
        for path, wanted in (("deploy", ["shop"]), ("none", [])):
            body = {"cloneProtocol": "https", "github": github, "filters": [{"repositoryMatch": "^shop", "pathsExist": [path]}]}
            found = await generate({"scmProvider": body}, Engine(go=True), world, "spec")
            assert [one.params["repository"] for one in found] == wanted
            if found:
                assert (found[0].params["url"], found[0].params["short_sha_7"], found[0].params["labels"]) == (
                    "https://forge.example.com/team/shop.git", "0000000", "web")

    ask(story)


def test_a_plugin_answers_with_sets_of_parameters() -> None:
    async def story(world: World, address: str) -> None:
        body = {"configMapRef": {"name": "sizes"}, "input": {"parameters": {"size": "large"}}, "values": {"n": "{{.name}}"}}
        found = await generate({"plugin": body}, Engine(go=True), world, "spec")
        assert [(one.params["name"], one.params["values"]) for one in found] == [("large", {"n": "large"})]

    ask(story)


@pytest.mark.parametrize(("said", "error", "words"), [
    ({"owner": "team", "repo": "shop", "tokenRef": {"secretName": "wrong", "key": "token"}}, OSError, "answered 401"),
    ({"owner": "team", "repo": "none", "tokenRef": REFERENCE}, OSError, "no such list"),
    ({"owner": "team", "repo": "shop", "tokenRef": {"secretName": "none", "key": "token"}}, InvalidSpec, "none has no key"),
], ids=["a wrong token", "no repository", "no secret"])  # fmt: skip
def test_half_an_answer_is_none(said: dict[str, Any], error: type[Exception], words: str) -> None:
    async def story(world: World, address: str) -> None:
        with pytest.raises(error, match=words) as refused:
            await generate({"pullRequest": {"github": {**said, "api": f"{address}/hub"}}}, Engine(), world, "spec")
        assert "donkey" not in str(refused.value)

    ask(story)
