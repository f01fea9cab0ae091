"""Images that a node pulls from other registries, as the kubelet would: accounts, policies, one pull for all, and its words."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from fairway.images.credentials import Account, remember
from fairway.images.distribution import Remote
from fairway.images.layout import DOCKER_INDEX, DOCKER_LAYER, DOCKER_MANIFEST, Layout, encode
from fairway.images.pull_accounts import accounts_for, configurations
from fairway.images.pulling import NotPulled, Policy, PulledImages, Wish
from fairway.images.reference import parse_reference
from fairway.images.registry import LocalRegistry
from fairway.images.transfer import push
from tests.images.servers import TOKEN, debians, ours
from tests.images.test_transfer import image

SOMEBODY = Account("somebody", TOKEN)


def secret(auths: dict[str, Any], kind: str = "kubernetes.io/dockerconfigjson") -> dict[str, Any]:
    content = {"auths": auths} if kind.endswith("json") else auths
    key = ".dockerconfigjson" if kind.endswith("json") else ".dockercfg"
    return {"type": kind, "data": {key: base64.b64encode(json.dumps(content).encode()).decode()}}


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize(("reference", "users"), [
    ("registry.example.com/team/app:1", ["team", "host", "glob"]),
    ("registry.example.com/other/app:1", ["host", "glob"]),
    ("registry.example.com/teams/app:1", ["host", "glob"]),
    ("mirror.example.com/team/app:1", ["glob"]),
    ("deep.mirror.example.com/team/app:1", []),
    ("registry.example.com:5000/team/app:1", ["port"]),
    ("nginx", ["hub"]),
])
def test_accounts_are_found_by_host_and_path_the_closest_first(reference: str, users: list[str]) -> None:
    found = configurations([
        secret({"registry.example.com": auth("host", "x"), "https://registry.example.com/team": auth("team", "x"),
                "*.example.com": {"username": "glob", "password": "x"}}),
        secret({"https://registry.example.com:5000/v2/": auth("port", "x"), "https://index.docker.io/v1/": auth("hub", "x")},
               "kubernetes.io/dockercfg"),
        {"type": "Opaque", "data": {".dockerconfigjson": base64.b64encode(b'{"auths": {"nginx": {}}}').decode()}},
        {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "not base64"}},
    ])
    assert [account.user for account in accounts_for(parse_reference(reference), found)] == users


class Node:
    """A node's images over a registry of somebody else's, with a record of what was told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[str] = []
        self.registry = LocalRegistry(folder / "registry")
        self.images = PulledImages(self.registry, LocalRegistry(folder / "pulled"), folder / "unpacked",
                                   lambda: [folder / "registries.json"], iter(range(1000)).__next__)

    async def ensure(self, reference: str, policy: Policy = "IfNotPresent", auths: tuple[dict[str, Any], ...] = ()) -> str:
        found = await self.images.ensure(reference, Wish(policy, auths, lambda reason, message: self.told.append(message)))
        return (found.root / "srv" / "app.txt").read_text()


async def put(host: str, folder: Path, text: bytes, tag: str = "1", account: Account | None = SOMEBODY) -> str:
    """An image in the registry at `host`; its reference by digest."""
    shutil.rmtree(folder, ignore_errors=True)
    registry, reference = LocalRegistry(folder), parse_reference(f"{host}/team/app:{tag}")
    manifest = image(registry.layout(reference.name), text)
    registry.layout(reference.name).tag(tag, manifest)
    async with Remote.open(host, "team/app", account=account) as remote:
        await push(registry, reference, remote)
    return f"{host}/team/app@{manifest.digest}"


def test_a_registry_with_a_password(tmp_path: Path) -> None:
    async def story() -> None:
        async with debians(tmp_path, locked=True) as host:
            by_digest = await put(host, tmp_path / "made", b"private")
            node = Node(tmp_path / "node")
            with pytest.raises(NotPulled, match="pull access denied, repository does not exist or may require authorization"):
                await node.ensure(f"{host}/team/app:1")
            wrong, right = {host: auth("somebody", "wrong")}, {host: auth("somebody", TOKEN)}
            with pytest.raises(NotPulled, match="pull access denied"):
                await node.ensure(f"{host}/team/app:1", auths=(wrong,))
            assert await node.ensure(f"{host}/team/app:1", auths=(wrong, right)) == "private", "each is tried"
            assert await node.ensure(by_digest) == "private", "it is present now"
            with pytest.raises(NotPulled) as raised:
                await node.ensure(f"{host}/team/app:2", auths=(right,))
            assert f"code = NotFound desc = failed to pull and unpack image \"{host}/team/app:2\"" in str(raised.value)
            assert f"{host}/team/app:2: not found. Nor is it in this machine's registry" in str(raised.value)
            other = Node(tmp_path / "other")
            remember(host, SOMEBODY, tmp_path / "other" / "registries.json")
            assert await other.ensure(by_digest) == "private", "with the machine's own account"

    asyncio.run(story())


def test_policies(tmp_path: Path) -> None:
    async def story() -> None:
        async with ours(LocalRegistry(tmp_path / "served")) as host:
            name, node = f"{host}/team/app:1", Node(tmp_path / "node")
            remember(host, SOMEBODY, tmp_path / "node" / "registries.json")
            with pytest.raises(NotPulled, match=f'Container image "{name}" is not present with pull policy of Never') as never:
                await node.ensure(name, "Never")
            assert never.value.reason == "ErrImageNeverPull"
            await put(host, tmp_path / "made", b"one")
            assert await node.ensure(name) == "one"
            told = [text.split(" in ")[0] for text in node.told]
            assert told == [f'Pulling image "{name}"', f'Successfully pulled image "{name}"']
            await put(host, tmp_path / "made", b"two")
            assert await node.ensure(name) == "one", "it is present"
            assert await node.ensure(name, "Never") == "one"
            assert len(node.told) == 2, "nothing was pulled"
            assert await node.ensure(name, "Always") == "two"
            assert await node.ensure(name, "Always") == "two"
            assert node.told[-1].endswith("all of them present already.")
            node.registry.layout(f"{host}/team/app").tag("1", image(node.registry.layout(f"{host}/team/app"), b"mine"))
            assert await node.ensure(name, "Always") == "mine", "what was pushed here is here"
        gone = Node(tmp_path / "gone")
        with pytest.raises(NotPulled, match="the registry does not answer"):
            await gone.ensure(name)

    asyncio.run(story())


def test_pods_that_want_one_image_at_once_share_one_pull(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    real = Remote.fetch

    async def counted(self: Remote, blob: Any, into: Layout, progress: Any = None) -> None:
        fetched.append(blob.digest)
        await real(self, blob, into, progress)

    monkeypatch.setattr(Remote, "fetch", counted)

    async def story() -> None:
        async with ours(LocalRegistry(tmp_path / "served")) as host:
            await put(host, tmp_path / "made", b"shared")
            node = Node(tmp_path / "node")
            remember(host, SOMEBODY, tmp_path / "node" / "registries.json")
            first = asyncio.create_task(node.ensure(f"{host}/team/app:1"))
            rest = [asyncio.create_task(node.ensure(f"{host}/team/app:1")) for _ in range(4)]
            await asyncio.sleep(0)
            first.cancel()
            assert await asyncio.gather(*rest) == ["shared"] * 4, "who goes away takes nothing from the others"
        assert sorted(fetched) == sorted(set(fetched))
        assert len(fetched) == 3

    asyncio.run(story())


def test_a_manifest_list_of_docker(tmp_path: Path) -> None:
    """Schema 2, as docker hub still has most images: the right architecture is taken, by the list's own digest."""
    async def story() -> None:
        async with debians(tmp_path) as host:
            registry = LocalRegistry(tmp_path / "made")
            layout = registry.layout(f"{host}/team/app")
            entries = []
            for architecture in ("s390x", "amd64", "arm64"):
                document = layout.read_json(image(layout, architecture.encode(), architecture).digest)
                layers = [{**layer, "mediaType": DOCKER_LAYER} for layer in document["layers"]]
                config = {**document["config"], "mediaType": "application/vnd.docker.container.image.v1+json"}
                manifest = {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": config, "layers": layers}
                made = layout.write(encode(manifest), DOCKER_MANIFEST)
                entries.append({**made.as_json(), "platform": {"os": "linux", "architecture": architecture}})
            top = layout.write(encode({"schemaVersion": 2, "mediaType": DOCKER_INDEX, "manifests": entries}), DOCKER_INDEX)
            layout.tag("1", top)
            async with Remote.open(host, "team/app") as remote:
                await push(registry, parse_reference(f"{host}/team/app:1"), remote)
            node = Node(tmp_path / "node")
            assert await node.ensure(f"{host}/team/app@{top.digest}") in ("amd64", "arm64")
            entries = entries[:1]
            odd = layout.write(encode({"schemaVersion": 2, "mediaType": DOCKER_INDEX, "manifests": entries}), DOCKER_INDEX)
            layout.tag("odd", odd)
            async with Remote.open(host, "team/app") as remote:
                await push(registry, parse_reference(f"{host}/team/app:odd"), remote)
            with pytest.raises(NotPulled, match=r"no match for platform in manifest: not found \(there is no image for linux/"):
                await node.ensure(f"{host}/team/app:odd")

    asyncio.run(story())
