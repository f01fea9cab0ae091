"""What users of a service notice of a rollout: nothing. Each story runs over Envoy and over the slow proxy."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fairway.kube.resources import INGRESSES, SERVICES
from fairway.traffic.controller import APPLIED_WEIGHT
from tests.traffic.backends import ask
from tests.traffic.world import DATA_PLANES, HOST, NGINX, World, data_plane, failed, share, world

RATE = {"envoy": 800, "proxy": 150}  # the built-in proxy shares the test's own loop, on a machine that may be busy
PER_STEP = {"envoy": 500, "proxy": 300}
TOLERANCE = 0.09
"""Of 500 answers at 50 % the standard deviation of the share is 2.2 points: four of them."""

pytestmark = pytest.mark.parametrize("kind", DATA_PLANES)


async def shop(world: World, **canary: str) -> None:
    """Two stable pods, one canary pod, and the ingresses as rollouts makes them."""
    stable = {name: await world.pod(name, "1.0.0", "aaa", port=9300) for name in ("stable-1", "stable-2")}
    new = {"canary-1": await world.pod("canary-1", "1.1.0", "bbb", port=9300)}
    await world.service("shop-stable", stable)
    await world.service("shop-canary", new)
    await world.ingress("shop", "shop-stable")
    notes = {NGINX + "canary": "true", **{NGINX + name.replace("_", "-"): value for name, value in canary.items()}}
    await world.ingress("shop-canary", "shop-canary", notes)
    await world.until(lambda: world.note(INGRESSES, "shop-canary", APPLIED_WEIGHT) is not None)


def test_weights_move_under_load_and_no_request_fails(kind: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with world(data_plane(kind, tmp_path / "envoy")) as w:
            await shop(w, canary_weight="0")
            async with w.load(RATE[kind]) as answers:
                for weight in (0, 5, 20, 50, 80, 100):
                    await w.canary_weight(weight)
                    seen = await w.more(answers, PER_STEP[kind])
                    exact = weight in (0, 100)
                    assert abs(share(seen, "1.1.0") - weight / 100) <= (0.005 if exact else TOLERANCE), weight
            assert failed(answers) == []
            text = await w.controller._data_plane.stats()
            assert 'envoy_cluster_upstream_rq_total{envoy_cluster_name="default|shop-canary|80|bbb"}' in text
            assert "envoy_cluster_upstream_rq{" in text
            assert 'envoy_response_code="200"' in text

    asyncio.run(story())


def test_an_endpoint_leaves_and_its_process_stops_without_a_failed_request(kind: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with world(data_plane(kind, tmp_path / "envoy")) as w:
            pods = {name: await w.pod(name, name, "aaa", port=9300) for name in ("one", "two", "three")}
            await w.service("shop", pods)
            await w.ingress("shop", "shop")
            await w.served()
            async with w.load(RATE[kind]) as answers:
                for name in ("one", "two"):
                    await w.more(answers, 150)
                    leaving = pods.pop(name)
                    await w.endpoints("shop", pods)
                    await w.until(lambda: w.serving("shop") == {pod.address for pod in pods.values()})
                    await leaving.stop()
                seen = await w.more(answers, 150)
            assert failed(answers) == []
            assert share(seen[-100:], "three") == 1.0

    asyncio.run(story())


def test_a_killed_pod_costs_no_request(kind: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with world(data_plane(kind, tmp_path / "envoy")) as w:
            pods = {name: await w.pod(name, name, "aaa", port=9300) for name in ("one", "two")}
            await w.service("shop", pods)
            await w.ingress("shop", "shop")
            await w.served()
            async with w.load(RATE[kind]) as answers:
                await w.more(answers, 100)
                pods["one"].kill()
                await w.more(answers, 400)
            assert failed(answers) == []

    asyncio.run(story())


@pytest.mark.parametrize(
    ("canary", "headers", "version"),
    [
        ({"canary_by_header": "X-Canary"}, "x-canary: always\r\n", "1.1.0"),
        ({"canary_by_header": "X-Canary", "canary_weight": "100"}, "x-canary: never\r\n", "1.0.0"),
        ({"canary_by_header": "X-Canary"}, "x-canary: else\r\n", "1.0.0"),
        ({"canary_by_header": "X-Canary", "canary_by_header_value": "beta"}, "x-canary: beta\r\n", "1.1.0"),
        ({"canary_by_header": "X-Canary", "canary_by_header_pattern": "^be.a$"}, "x-canary: beta\r\n", "1.1.0"),
        ({"canary_by_cookie": "try"}, "cookie: a=b; try=always\r\n", "1.1.0"),
        ({"canary_by_cookie": "try"}, "cookie: a=b; try=alwaysnot\r\n", "1.0.0"),
        ({"canary_weight": "100"}, "", "1.1.0"),
    ],
)
def test_who_gets_the_canary(kind: str, tmp_path: Path, canary: dict[str, str], headers: str, version: str) -> None:
    async def story() -> None:
        async with world(data_plane(kind, tmp_path / "envoy")) as w:
            await shop(w, **canary)
            assert await ask("127.0.0.1", w.port, HOST, headers=headers) == (200, version)
            assert await ask("127.0.0.1", w.port, f"{HOST}:{w.port}", headers=headers) == (200, version)
            assert (await ask("127.0.0.1", w.port, "other.example.com"))[0] == 404

    asyncio.run(story())


def test_a_canary_without_ready_endpoints_gets_nothing(kind: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with world(data_plane(kind, tmp_path / "envoy")) as w:
            await shop(w, canary_weight="50")
            await w.endpoints("shop-canary", {})
            await w.until(lambda: w.note(INGRESSES, "shop-canary", APPLIED_WEIGHT) == "0")
            assert [await ask("127.0.0.1", w.port, HOST) for _ in range(10)] == [(200, "1.0.0")] * 10
            assert [reason.code for reason in w.controller.reasons] == ["CanaryNotReady"]

    asyncio.run(story())


def test_a_service_answers_on_an_address_of_its_own(kind: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with world(data_plane(kind, tmp_path / "envoy")) as w:
            await w.service("web", {"web-1": await w.pod("web-1", "web", "aaa")}, port=8080)
            await w.service("raw", {"raw-1": await w.pod("raw-1", "raw", "")}, port=6379, app_protocol="redis")
            await w.service("low", {"low-1": await w.pod("low-1", "low", "")}, port=80)
            await w.until(lambda: w.controller.in_force is not None and len(w.controller.in_force.services) == 3)
            await w.until(lambda: all(w.serving(name) for name in ("web", "raw", "low")))
            found = {name: (await w.api.get(SERVICES, name, "default")) for name in ("web", "raw", "low")}
            addresses = {name: obj["spec"]["clusterIP"] for name, obj in found.items()}
            assert len(set(addresses.values())) == 3
            assert all(address.startswith("127.") for address in addresses.values())
            forged = "x-fairway-listener: default|low|80\r\n"
            assert await ask(addresses["web"], 8080, "anything", headers=forged) == (200, "web")
            assert "x-fairway-listener" not in w.backends[0].last_head or kind == "proxy"
            assert await ask(addresses["raw"], 6379, "anything", body=b"abc") == (200, "raw")
            assert found["low"]["metadata"]["annotations"]["fairway.dev/ports"] == "80=20080"
            assert await ask(addresses["low"], 20080, "anything") == (200, "low")

    asyncio.run(story())
