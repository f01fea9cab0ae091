"""Webhooks: only who knows the secret makes us look, and nothing else can be done with one."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json

import pytest
from aiohttp import ClientSession, web

from fairway.gitops.webhooks import Push, Refused, decode_push, plain_url, routes

SECRETS = {"webhook.github.secret": "gh", "webhook.gitlab.secret": "gl", "webhook.bitbucket.uuid": "{1}",
           "webhook.bitbucketserver.secret": "bs", "webhook.gogs.secret": "gt"}
HUB = {"ref": "refs/heads/main", "repository": {"clone_url": "https://forge.example.com/shop/deploy.git",
                                                "ssh_url": "git@forge.example.com:shop/deploy.git"}}
LAB = {"object_kind": "push", "ref": "refs/heads/main",
       "project": {"git_http_url": "https://forge.example.com/shop/deploy.git"}}
CLOUD = {"push": {"changes": [{"new": {"name": "main"}}]},
         "repository": {"full_name": "shop/deploy", "links": {"html": {"href": "https://bitbucket.org/shop/deploy"}}}}
SERVER = {"changes": [{"ref": {"id": "refs/heads/main"}}],
          "repository": {"links": {"clone": [{"href": "https://forge.example.com/scm/shop/deploy.git", "name": "http"}]}}}


def signed(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def senders() -> list[tuple[str, bytes, dict[str, str]]]:
    hub, lab, cloud, server = (json.dumps(value).encode() for value in (HUB, LAB, CLOUD, SERVER))
    return [
        ("github", hub, {"X-GitHub-Event": "push", "X-Hub-Signature-256": "sha256=" + signed("gh", hub)}),
        ("gitlab", lab, {"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": "gl"}),
        ("bitbucket", cloud, {"X-Hook-UUID": "{1}", "X-Event-Key": "repo:push"}),
        ("bitbucket server", server, {"X-Event-Key": "repo:refs_changed", "X-Hub-Signature": "sha256=" + signed("bs", server)}),
        ("gitea", hub, {"X-Gitea-Event": "push", "X-GitHub-Event": "push", "X-Gitea-Signature": signed("gt", hub)}),
    ]


@pytest.mark.parametrize(("name", "body", "headers"), senders(), ids=[s[0] for s in senders()])
def test_a_push_is_taken_from_who_knows_the_secret(name: str, body: bytes, headers: dict[str, str]) -> None:
    push = decode_push(headers, body, SECRETS)
    assert push is not None and push.revision == "main"
    assert any(plain_url(url).endswith("shop/deploy") for url in push.urls)


@pytest.mark.parametrize(("name", "body", "headers"), senders(), ids=[s[0] for s in senders()])
def test_a_wrong_secret_is_refused_and_so_is_no_secret(name: str, body: bytes, headers: dict[str, str]) -> None:
    for secrets in (dict.fromkeys(SECRETS, "other"), {}):
        with pytest.raises(Refused) as refused:
            decode_push(headers, body, secrets)
        assert refused.value.status == 403
    if "Signature" in str(headers):
        with pytest.raises(Refused):
            decode_push(headers, body + b" ", SECRETS)


def test_the_door() -> None:
    async def main() -> None:
        seen: list[Push] = []
        app = web.Application()
        app.add_routes(routes(lambda: SECRETS, seen.append))
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        try:
            async with ClientSession() as session:
                for _, body, headers in senders():
                    async with session.post(f"http://127.0.0.1:{port}/api/webhook", data=body, headers=headers) as answer:
                        assert answer.status == 200, await answer.text()
                async with session.post(f"http://127.0.0.1:{port}/api/webhook", data=b"{}") as answer:
                    assert answer.status == 400
        finally:
            await runner.cleanup()
        assert len(seen) == 5

    asyncio.run(main())


def test_urls_are_the_same_repository_however_they_are_written() -> None:
    forms = ("https://forge.example.com/shop/deploy.git", "git@forge.example.com:shop/deploy.git",
             "ssh://git@forge.example.com:22/shop/deploy", "https://user:word@Forge.example.com/shop/deploy/")
    assert {plain_url(form) for form in forms} == {"forge.example.com/shop/deploy"}
