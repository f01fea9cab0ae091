"""The client of a real cluster, over our own server: the contract of the port, and what only a client over HTTP has."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fairway.kube.api import Api, WriteOptions
from fairway.kube.clock import WallClock
from fairway.kube.cluster import ClusterApi
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.errors import NotFound, Unauthorized, Unavailable
from fairway.kube.http.server import KubeServer
from fairway.kube.kubeconfig import Connection, ExecPlugin, read_kubeconfig
from fairway.kube.objects import meta_of
from fairway.kube.resources import BUILT_IN, CONFIG_MAPS, NAMESPACES, PODS, ROLLOUTS
from tests.kube.contract import ALONE, CASES, Case
from tests.kube_http.serving import Served

NAMESPACE = "story"


@asynccontextmanager
async def over_http() -> AsyncIterator[Api]:
    """In one loop: the contract's stories are about the port, not about the network."""
    clock = WallClock()
    embedded = EmbeddedApi.in_memory(clock)
    server = KubeServer(embedded, clock, logs=None, tls=None, token="t")
    await server.start("127.0.0.1", 0)
    api = await ClusterApi.connect(Connection(server.url, token="t"))
    try:
        yield api
    finally:
        await api.close()
        await server.stop()
        await embedded.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_contract(case: Case) -> None:
    async def tell() -> None:
        async with over_http() as api:
            await api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
            await case(api, NAMESPACE)

    asyncio.run(tell())


KUBECONFIG = os.environ.get("FAIRWAY_TEST_KUBECONFIG", "")


@pytest.mark.skipif(not KUBECONFIG, reason="FAIRWAY_TEST_KUBECONFIG names no cluster to test against")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_contract_on_a_cluster_of_yours(case: Case) -> None:
    """Each story in a namespace of its own, which is deleted afterwards."""
    if case in ALONE:
        pytest.skip("the controllers of a cluster have a hand in what this story looks at")

    async def tell() -> None:
        api = await ClusterApi.connect(read_kubeconfig(Path(KUBECONFIG)))
        name = f"fairway-{secrets.token_hex(4)}"
        try:
            await api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
            await case(api, name)
        finally:
            with contextlib.suppress(NotFound):
                await api.delete(NAMESPACES, name)
            await api.close()

    asyncio.run(tell())


def test_resources_are_those_of_the_server(served: Served) -> None:
    async def main() -> None:
        api = await ClusterApi.connect(read_kubeconfig(served.kubeconfig))
        try:
            assert {row.qualified for row in BUILT_IN} <= {row.qualified for row in api.resources}
            assert api.resources.of_kind("v1", "Pod") is PODS
            assert api.resources.named("ro") is ROLLOUTS
        finally:
            await api.close()

    asyncio.run(main())


def config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}


def test_a_kubeconfig_with_a_ca_and_warnings(served: Served) -> None:
    async def main() -> None:
        api = await ClusterApi.connect(read_kubeconfig(served.kubeconfig))
        try:
            options = WriteOptions(manager="tests")
            await api.create({**config_map("warned"), "spec": {"a": 1}}, options)
            assert options.warnings == ['unknown field "spec"']
        finally:
            await api.close()

    asyncio.run(main())


def test_a_plugin_gives_the_token_and_is_asked_again_when_it_is_refused(served: Served, tmp_path: Path) -> None:
    count = tmp_path / "count"
    count.write_text("0")
    plugin = tmp_path / "plugin"
    plugin.write_text(f"""#!/bin/sh
n=$(($(cat {count}) + 1)); echo $n > {count}
token=stale; [ $n -gt 1 ] && token=$TOKEN
echo '{{"kind":"ExecCredential","status":{{"token":"'$token'"}}}}'
""")
    plugin.chmod(stat.S_IRWXU)
    asked = ExecPlugin(str(plugin), environment=(("TOKEN", served.pki.token),))

    async def main() -> None:
        api = await ClusterApi.connect(Connection(served.server.url, ca=served.pki.ca, exec=asked))
        await api.list(CONFIG_MAPS)
        await api.close()

    asyncio.run(main())
    assert int(count.read_text()) <= 3  # stale once (two requests may have met it), then kept


def test_a_plugin_that_fails_is_named(served: Served) -> None:
    broken = Connection(served.server.url, ca=served.pki.ca, exec=ExecPlugin("/nonexistent/plugin"))
    with pytest.raises(Unauthorized, match="/nonexistent/plugin cannot be run"):
        asyncio.run(ClusterApi.connect(broken))


def test_a_token_file_is_read_again(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(served.pki.token)

    async def main() -> None:
        api = await ClusterApi.connect(Connection(served.server.url, ca=served.pki.ca, token_file=str(file)))
        file.write_text("rotated and wrong")
        with pytest.raises(Unauthorized):
            await api.list(CONFIG_MAPS)
        await api.close()

    asyncio.run(main())


def test_without_the_ca_nothing_is_trusted_unless_asked_for(served: Served) -> None:
    async def main() -> None:
        with pytest.raises(Unavailable, match="cannot be reached"):
            await ClusterApi.connect(Connection(served.server.url, token=served.pki.token))
        api = await ClusterApi.connect(Connection(served.server.url, token=served.pki.token, insecure=True))
        await api.close()

    asyncio.run(main())


def test_a_server_that_goes_away_ends_the_watch(tmp_path: Path) -> None:
    async def main() -> None:
        clock = WallClock()
        embedded = EmbeddedApi.in_memory(clock)
        server = KubeServer(embedded, clock, logs=None, tls=None, token="t")
        await server.start("127.0.0.1", 0)
        api = await ClusterApi.connect(Connection(server.url, token="t"))
        await api.create({**config_map("large"), "data": {"big": "x" * 300_000}})  # longer than a reader's line
        stream = api.watch(CONFIG_MAPS, "default")
        event = await anext(stream)
        assert (event.type, meta_of(event.object)["name"]) == ("ADDED", "large")
        await server.stop()
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(stream), 10)
        with pytest.raises(Unavailable):
            await api.list(CONFIG_MAPS)
        await api.close()
        await embedded.close()

    asyncio.run(main())


def test_plain_discovery_finds_the_same(served: Served) -> None:
    from fairway.kube.discovering import discover

    def fetcher(*, aggregated: bool) -> Any:
        async def fetch(path: str, accept: str) -> Any:
            header = accept if aggregated else "application/json"
            with served.open("GET", path, Accept=header) as response:
                return json.load(response)

        return fetch

    async def main() -> None:
        new, old = await discover(fetcher(aggregated=True)), await discover(fetcher(aggregated=False))
        assert sorted(new, key=str) == sorted(old, key=str)

    asyncio.run(main())
