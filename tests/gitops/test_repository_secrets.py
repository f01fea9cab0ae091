"""Repositories behind a password: Secrets in Argo CD's form open them, over real smart HTTP."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from fairway.connections import KnownRepositories
from fairway.git import Change, Person, Repositories
from fairway.git.http_backend import routes
from fairway.gitops import ApplicationController
from fairway.gitops.repository_secrets import login_for
from fairway.kube.cache import Informers
from fairway.kube.clock import WallClock
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.objects import Key, Obj, dig
from fairway.kube.reconcile import ControllerLoop
from fairway.kube.resources import APPLICATIONS
from tests.gitops.world import config_map

PASSWORD = "correct-horse"


def secret(name: str, kind: str, **data: str) -> Obj:
    return {"apiVersion": "v1", "kind": "Secret", "data": {k: base64.b64encode(v.encode()).decode() for k, v in data.items()},
            "metadata": {"name": name, "namespace": "argocd", "labels": {"argocd.argoproj.io/secret-type": kind}}}


OWN = secret("own", "repository", url="https://forge.example.com/shop/deploy.git", username="ann", password="own")
BARE = secret("bare", "repository", url="https://forge.example.com/shop/bare")
SHOP = secret("shop", "repo-creds", url="https://forge.example.com/shop", password="shop")
ALL = secret("all", "repo-creds", url="https://forge.example.com", bearerToken="all")


@pytest.mark.parametrize(("url", "wanted"), [
    ("https://forge.example.com/shop/deploy", ("ann", "own")), ("https://forge.example.com/Shop/Deploy.git", ("ann", "own")),
    ("https://forge.example.com/shop/bare", ("git", "shop")), ("https://forge.example.com/shop/other", ("git", "shop")),
    ("https://forge.example.com/else", ("x-token-auth", "all")), ("https://elsewhere.example.com/shop/deploy", None),
])  # fmt: skip
def test_a_repositorys_own_secret_counts_before_a_prefix_and_a_long_prefix_before_a_short_one(
        url: str, wanted: tuple[str, str] | None) -> None:
    found = login_for(url, [ALL, OWN, BARE, SHOP])
    assert (None if found is None else (found.user, found.password)) == wanted
    assert "own" not in repr(login_for("https://forge.example.com/shop/deploy", [OWN])), "a password is not for a log"


def test_a_secret_opens_the_repository_and_a_wrong_one_deletes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        forge = Repositories(tmp_path / "forge")
        repo = forge.create("shop/deploy")
        clock = WallClock()
        change = Change({"prod/a.yaml": config_map("a").encode()}, "first", Person("Ann", "ann@example.com"), clock.now())
        first = repo.commit("main", change, expected_head="")
        app = web.Application()
        app.add_routes(routes(forge, token=PASSWORD, on_push=lambda name: None))
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        base = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/git"  # type: ignore[union-attr]

        api = EmbeddedApi.in_memory(clock)
        informers = Informers(api)
        known = KnownRepositories(informers, Repositories(tmp_path / "own"), web_url="http://127.0.0.1:1",
                                  cache=tmp_path / "cache")
        controller = ApplicationController(informers, clock, known)
        loop = ControllerLoop(controller, informers, clock)
        controller.attach(loop.look_again)
        running = asyncio.create_task(loop.run())
        changed = asyncio.Event()
        informers.of(APPLICATIONS).on_change(lambda old, new: changed.set())

        async def until(check: Callable[[Obj], Any]) -> Obj:
            async with asyncio.timeout(30):
                while True:
                    found = informers.of(APPLICATIONS).get(Key("argocd", "shop"))
                    if found is not None and check(found):
                        return found
                    changed.clear()
                    await changed.wait()

        try:
            await api.create({
                "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
                "metadata": {"name": "shop", "namespace": "argocd"},
                "spec": {"project": "default", "syncPolicy": {"automated": {"prune": True}},
                         "source": {"repoURL": f"{base}/shop/deploy.git", "path": "prod", "targetRevision": "main"},
                         "destination": {"server": "https://kubernetes.default.svc", "namespace": "default"}}})
            refused = await until(lambda o: dig(o, "status", "conditions", 0, "type") == "ComparisonError")
            assert "credentials" in refused["status"]["conditions"][0]["message"]
            await api.create(secret("creds", "repo-creds", url=base, password=PASSWORD))
            synced = await until(lambda o: dig(o, "status", "sync", "status") == "Synced")
            assert synced["status"]["sync"]["revision"] == first
            wrong = secret("own", "repository", url=f"{base}/shop/deploy", password="wrong-horse")
            await api.create(wrong)
            lost = await until(lambda o: dig(o, "status", "sync", "status") == "Unknown")
            assert [r["name"] for r in lost["status"]["resources"]] == ["a"], "nothing is forgotten, nothing deleted"
            assert "horse" not in str(lost)
        finally:
            running.cancel()
            await informers.close()
            await runner.cleanup()

    asyncio.run(main())
