"""Images between here and registries: one suite for our own server and for Debian's docker-registry."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from aiohttp import web

from fairway.images.attach import SBOM, attach, attached
from fairway.images.credentials import Account
from fairway.images.distribution import NotThere, RegistryError, Remote
from fairway.images.layers import layer_of
from fairway.images.layout import CONFIG, INDEX, MANIFEST, Descriptor, Layout, digest_of, encode
from fairway.images.platforms import NoPlatform, image_manifest
from fairway.images.reference import Reference, parse_reference
from fairway.images.registry import LocalRegistry
from fairway.images.transfer import pull, push
from tests.images.servers import TOKEN, debians, ours

ACCOUNT = Account("somebody", TOKEN)
Server = Callable[[Path], AbstractAsyncContextManager[str]]


def own(folder: Path) -> AbstractAsyncContextManager[str]:
    return ours(LocalRegistry(folder / "served"))


both = pytest.mark.parametrize("server", [own, debians], ids=["ours", "docker-registry"])


def image(layout: Layout, text: bytes = b"hello", architecture: str = "amd64") -> Descriptor:
    layers = [layer_of({"base": b"the same for all"}), layer_of({"srv/app.txt": text})]
    config = layout.write(encode({"architecture": architecture, "os": "linux", "config": {"Cmd": ["cat", "/srv/app.txt"]},
                                  "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in layers]}}), CONFIG)
    for one in layers:
        layout.write(one.data, one.descriptor.media_type)
    return layout.write(encode({"schemaVersion": 2, "mediaType": MANIFEST, "config": config.as_json(),
                                "layers": [one.descriptor.as_json() for one in layers]}), MANIFEST)


def local(folder: Path, host: str, text: bytes = b"hello") -> tuple[LocalRegistry, Reference, Descriptor]:
    registry, reference = LocalRegistry(folder), parse_reference(f"{host}/registry.example.com/shop/app:1.0")
    layout = registry.layout(reference.name)
    manifest = image(layout, text)
    layout.tag("1.0", manifest)
    return registry, reference, manifest


def remote(reference: Reference) -> AbstractAsyncContextManager[Remote]:
    return Remote.open(reference.registry, reference.repository, account=ACCOUNT)


@both
def test_what_is_pushed_is_pulled_with_the_same_digest_and_what_is_said_about_it(server: Server, tmp_path: Path) -> None:
    async def run() -> None:
        async with server(tmp_path) as host:
            registry, reference, manifest = local(tmp_path / "a", host)
            attach(registry.layout(reference.name), manifest, SBOM, b'{"bomFormat":"CycloneDX"}')
            other = LocalRegistry(tmp_path / "b")
            async with remote(reference) as there:
                first = await push(registry, reference, there)
                again = await push(registry, reference, there)
                got = await pull(there, reference, other, "linux/amd64")
                pinned = reference.with_digest(manifest.digest)
                by_digest = await pull(there, pinned, LocalRegistry(tmp_path / "c"), "linux/amd64")
            assert first.sent > 0 and again.sent == 0
            assert got.manifest == by_digest.manifest == manifest
            layout = other.layout(reference.name)
            assert other.resolve(reference) == manifest and other.tags(reference.name) == ["1.0"]
            assert all(layout.read(part.digest) for part in layout.parts(manifest))
            assert attached(layout, manifest.digest, SBOM) == b'{"bomFormat":"CycloneDX"}'

    asyncio.run(run())


@both
def test_of_an_index_the_image_for_one_platform_comes_under_the_digest_of_the_index(server: Server, tmp_path: Path) -> None:
    async def run() -> None:
        async with server(tmp_path) as host:
            registry, reference, _ = local(tmp_path / "a", host)
            layout = registry.layout(reference.name)
            images = {arch: image(layout, arch.encode(), arch) for arch in ("amd64", "arm64")}
            index = layout.write(encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
                {**one.as_json(), "platform": {"os": "linux", "architecture": arch}} for arch, one in images.items()]}), INDEX)
            layout.tag("1.0", index)
            other = LocalRegistry(tmp_path / "b")
            async with remote(reference) as there:
                await push(registry, reference, there)
                await pull(there, reference, other, "linux/arm64")
                with pytest.raises(NoPlatform, match="no image for linux/s390x; there is one for linux/amd64, linux/arm64"):
                    await pull(there, reference, other, "linux/s390x")
            came = other.layout(reference.name)
            assert other.resolve(reference) == index
            assert image_manifest(came, index, "linux/arm64") == images["arm64"].digest
            assert came.parts(index) == [images["arm64"]]

    asyncio.run(run())


@both
def test_what_is_not_there_is_said_by_name(server: Server, tmp_path: Path) -> None:
    async def run() -> None:
        async with server(tmp_path) as host:
            registry, reference, _ = local(tmp_path / "a", host)
            async with remote(reference) as there:
                await push(registry, reference, there)
                with pytest.raises(NotThere, match=r"has no manifest 2\.0"):
                    await there.manifest("2.0")

    asyncio.run(run())


def test_a_wrong_password_is_refused_with_the_mend_and_nothing_is_sent(tmp_path: Path) -> None:
    async def run() -> None:
        async with own(tmp_path) as host:
            registry, reference, manifest = local(tmp_path / "a", host)
            for account in (Account("somebody", "wrong"), None):
                async with Remote.open(host, reference.repository, account=account) as there:
                    with pytest.raises(RegistryError, match="fairway image login") as refused:
                        await push(registry, reference, there)
                    assert "wrong" not in str(refused.value)
            assert not LocalRegistry(tmp_path / "served").layout("registry.example.com/shop/app").has(manifest.digest)

    asyncio.run(run())


def test_a_manifest_whose_blobs_were_not_pushed_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with own(tmp_path) as host:
            registry, reference, manifest = local(tmp_path / "a", host)
            async with remote(reference) as there:
                with pytest.raises(NotThere, match="MANIFEST_BLOB_UNKNOWN"):
                    await there.put_manifest("1.0", manifest, registry.layout(reference.name).read(manifest.digest))

    asyncio.run(run())


def test_a_blob_that_was_changed_on_its_way_is_not_taken(tmp_path: Path) -> None:
    async def run() -> None:
        async with own(tmp_path) as host:
            registry, reference, manifest = local(tmp_path / "a", host)
            async with remote(reference) as there:
                await push(registry, reference, there)
                served = LocalRegistry(tmp_path / "served").layout("registry.example.com/shop/app")
                blob = served.parts(manifest)[-1]
                path = served.blob_path(blob.digest)
                path.unlink()
                path.write_bytes(b"x" * blob.size)
                other = LocalRegistry(tmp_path / "b")
                with pytest.raises(RegistryError, match="not what its digest says"):
                    await pull(there, reference, other, "linux/amd64")
            layout = other.layout(reference.name)
            assert not layout.has(blob.digest) and not layout.manifests()
            assert not list(layout.root.glob(".coming-*"))

    asyncio.run(run())


def test_skopeo_pushes_to_us_and_pulls_from_us(tmp_path: Path) -> None:
    if not shutil.which("skopeo"):
        pytest.skip("skopeo is not installed: no other client is asked")

    async def skopeo(*arguments: str) -> str:
        process = await asyncio.create_subprocess_exec("skopeo", "--insecure-policy", *arguments, stdout=subprocess.PIPE,
                                                       stderr=subprocess.PIPE)
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return out.decode()

    async def run() -> None:
        source = Layout(tmp_path / "layout")
        manifest = image(source)
        source.tag("1.0", manifest)
        served = LocalRegistry(tmp_path / "served")
        async with ours(served) as host:
            name = f"docker://{host}/registry.example.com/shop/app"
            credentials = f"x:{TOKEN}"
            here, back = f"oci:{source.root}:1.0", f"oci:{tmp_path / 'back'}:1.0"
            await skopeo("copy", "--dest-tls-verify=false", "--dest-creds", credentials, here, f"{name}:1.0")
            assert served.resolve(parse_reference("registry.example.com/shop/app:1.0")) == manifest
            tags = await skopeo("list-tags", "--tls-verify=false", "--creds", credentials, name)
            assert '"1.0"' in tags
            await skopeo("copy", "--src-tls-verify=false", "--src-creds", credentials, f"{name}:1.0", back)
            assert Layout(tmp_path / "back").manifests()["1.0"].digest == manifest.digest

    asyncio.run(run())


def test_an_image_of_the_old_schema_1_is_refused_by_its_name(tmp_path: Path) -> None:
    kind = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    old = encode({"schemaVersion": 1, "name": "shop/app", "tag": "1.0", "architecture": "amd64", "fsLayers": [], "history": []})

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=old, headers={"Content-Type": kind})

    async def run() -> None:
        app = web.Application()
        app.add_routes([web.get("/v2/{path:.*}", answer)])
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        reference = parse_reference(f"127.0.0.1:{runner.addresses[0][1]}/shop/app:1.0")
        async with remote(reference) as old_one:
            with pytest.raises(RegistryError, match=r"1\.0 is an image of Docker's old schema 1, which is not read"):
                await pull(old_one, reference, LocalRegistry(tmp_path), "linux/amd64")
        await runner.cleanup()
        async with ours(LocalRegistry(tmp_path / "served")) as host, Remote.open(host, "shop/app", account=ACCOUNT) as here:
            with pytest.raises(RegistryError, match="MANIFEST_INVALID: Docker's old schema 1 is not taken"):
                await here.put_manifest("1.0", Descriptor(kind, digest_of(old), len(old)), old)

    asyncio.run(run())
