"""Canaries as stories: real Deployments and the real proxy model in virtual time; webhooks and metrics answer by script."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import pytest

from fairway.kube.api import MergePatch
from fairway.kube.clock import Clock, run_virtual
from fairway.kube.errors import NotFound
from fairway.kube.objects import Obj, annotations_of, dig, key_of, spec_of, status_of
from fairway.kube.resources import CANARIES, CONFIG_MAPS, DEPLOYMENTS, INGRESSES, SERVICES
from fairway.node.simulated import Script
from fairway.rollouts.flagger.alerts import letters
from fairway.rollouts.flagger.questions import Notice
from fairway.rollouts.flagger.spec import decode_canary
from fairway.rollouts.keys import TRACKING_ID
from fairway.rollouts.rollback.note import TAKE_BACK, TAKEN_BACK
from tests.rollouts.flagger_world import NS, FlaggerWorld, canary, deployment, flagger_world, ingress

Story = Callable[[FlaggerWorld], Awaitable[None]]


def play(story: Story, *objects: Obj, **more: Any) -> None:
    async def run(clock: Clock) -> None:
        async with flagger_world(clock, *objects, **more) as world:
            await story(world)

    run_virtual(run)


def hook(kind: str, name: str = "") -> Obj:
    return {"name": name or kind, "type": kind, "url": "http://gate.example.com/"}


def test_the_primary_serves_and_a_good_version_becomes_it_step_by_step() -> None:
    async def story(world: FlaggerWorld) -> None:
        await world.until("Initialized")
        assert await world.apex() == {"app": "shop-primary"}
        assert (await world.replicas("shop"), await world.replicas("shop-primary")) == (0, 2)
        await world.new_version()
        weights = []
        while status_of(await world.canary())["phase"] != "Succeeded":
            weights.append(await world.weight())
            await asyncio.sleep(10)
        assert list(dict.fromkeys(weights)) == ["0", "20", "40"] and await world.weight() == "0"
        assert await world.image("shop-primary") == "shop:2" and await world.replicas("shop") == 0
        condition = status_of(await world.canary())["conditions"][0]
        assert (condition["type"], condition["status"], condition["reason"]) == ("Promoted", "True", "Succeeded")

    play(story, deployment(), ingress(), canary())


def test_failed_checks_take_the_traffic_away_and_the_version_is_not_tried_again_until_it_changes() -> None:
    async def story(world: FlaggerWorld) -> None:
        await world.until("Initialized")
        await world.new_version()
        failed = await world.until("Failed")
        assert failed["status"]["conditions"][0]["status"] == "False"
        assert await world.weight() == "0" and await world.replicas("shop") == 0
        assert await world.image("shop-primary") == "shop:1"
        said = await world.said()
        assert "Halt shop.default advancement success rate 50.00% < 99%" in said
        assert "Rolling back shop.default failed checks threshold reached 2" in said
        await asyncio.sleep(3600)
        assert status_of(await world.canary())["phase"] == "Failed"
        await world.new_version("shop:3")
        await world.until("Progressing")

    play(story, deployment(), ingress(), canary(), answer=lambda text, at: 50.0)


def test_a_refused_version_is_reported_to_whoever_owns_its_files() -> None:
    tracked = deployment()
    tracked["metadata"]["annotations"] = {TRACKING_ID: "shop:apps/Deployment:default/shop"}

    async def story(world: FlaggerWorld) -> None:
        await world.until("Initialized")
        await world.new_version()
        await world.until("Failed")
        note = json.loads(annotations_of(await world.api.get(DEPLOYMENTS, "shop", NS))[TAKE_BACK])
        assert (note["bad"], note["good"]) == ({"shop": "shop:2"}, {"shop": "shop:1"})
        assert note["evidence"].startswith("Canary default/shop: Rolling back shop.default failed checks threshold reached 2")
        primary = await world.api.get(DEPLOYMENTS, "shop-primary", NS)
        assert TRACKING_ID not in annotations_of(primary), "what Flagger made is nobody's to prune"
        assert note["evidence"].endswith(": success rate 50.00% < 99%"), "the check that failed last"
        await world.new_version("shop:1")  # what the commit comes to
        await asyncio.sleep(15)
        notes = annotations_of(await world.api.get(DEPLOYMENTS, "shop", NS))
        assert TAKE_BACK not in notes and json.loads(notes[TAKEN_BACK]) == note
        await world.new_version()  # somebody insists: another analysis, and no word of the last one stands in its way
        await world.until("Progressing")
        assert TAKE_BACK not in annotations_of(await world.api.get(DEPLOYMENTS, "shop", NS))

    play(story, tracked, ingress(), canary(), answer=lambda text, at: 50.0)


def test_no_data_and_a_dead_metrics_server_halt_and_say_so() -> None:
    def answer(text: str, at: datetime) -> float | None:
        if at.minute % 2:
            raise RuntimeError("connection refused")
        return None

    async def story(world: FlaggerWorld) -> None:
        await world.until("Initialized")
        await world.new_version()
        await world.until("Failed")
        said = " | ".join(await world.said())
        assert "no values found" in said and "is not receiving traffic" in said
        assert "Prometheus query failed: connection refused" in said

    play(story, deployment(), ingress(), canary({"threshold": 8}), answer=answer)


def test_webhooks_are_called_in_upstreams_order_and_gates_hold() -> None:
    closed = {"confirm-rollout", "confirm-promotion"}
    kinds = ("confirm-rollout", "pre-rollout", "rollout", "confirm-traffic-increase", "confirm-promotion", "post-rollout",
             "rollback", "event")

    async def story(world: FlaggerWorld) -> None:
        world.hook = lambda name, at: "no" if name in closed or name == "rollback" else ""
        await world.until("Initialized")
        await world.new_version()
        await world.until("Waiting")
        await asyncio.sleep(300)
        assert await world.replicas("shop") == 0, "nothing starts before somebody agrees"
        closed.discard("confirm-rollout")
        await world.until("WaitingPromotion")
        await asyncio.sleep(300)
        assert await world.image("shop-primary") == "shop:1"
        closed.discard("confirm-promotion")
        await world.until("Succeeded")
        await asyncio.sleep(1)
        called = [kind for kind, _, _ in world.posts if kind != "event"]
        first = list(dict.fromkeys(called))
        assert first == ["confirm-rollout", "rollback", "pre-rollout", "confirm-traffic-increase", "rollout",
                         "confirm-promotion", "post-rollout"]
        body = next(body for kind, _, body in world.posts if kind == "post-rollout")
        assert (body["name"], body["namespace"], body["phase"]) == ("shop", NS, "Succeeded") and body["checksum"]
        event = next(body for kind, _, body in world.posts if kind == "event")
        assert event["metadata"]["eventType"] in ("Normal", "Warning") and event["metadata"]["eventMessage"]

    play(story, deployment(), ingress(), canary({"webhooks": [hook(kind) for kind in kinds]}))


def test_a_rollback_webhook_that_answers_rolls_back() -> None:
    wanted = False

    async def story(world: FlaggerWorld) -> None:
        nonlocal wanted
        world.hook = lambda name, at: "" if wanted else "not now"
        await world.until("Initialized")
        await world.new_version()
        await world.until_weight("20")
        wanted = True
        await world.until("Failed")
        assert await world.weight() == "0"
        assert "Rolling back shop.default manual webhook invoked" in await world.said()

    play(story, deployment(), ingress(), canary({"webhooks": [hook("rollback")]}))


def test_configuration_goes_with_the_primary_and_a_change_of_it_is_a_new_version() -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop-config", "namespace": NS}, "data": {"a": "1"}}
    pod: Obj = {"volumes": [{"name": "c", "configMap": {"name": "shop-config"}}]}

    async def story(world: FlaggerWorld) -> None:
        await world.until("Initialized")
        primary = await world.api.get(DEPLOYMENTS, "shop-primary", NS)
        assert dig(primary, "spec", "template", "spec", "volumes", 0, "configMap", "name") == "shop-config-primary"
        await world.api.patch(CONFIG_MAPS, "shop-config", NS, MergePatch({"data": {"a": "2"}}))
        await world.until("Progressing")
        assert (await world.api.get(CONFIG_MAPS, "shop-config-primary", NS))["data"] == {"a": "1"}
        await world.until("Succeeded")
        assert (await world.api.get(CONFIG_MAPS, "shop-config-primary", NS))["data"] == {"a": "2"}
        after = await world.api.get(DEPLOYMENTS, "shop-primary", NS)
        assert dig(after, "spec", "template", "metadata", "annotations") != dig(
            primary, "spec", "template", "metadata", "annotations"), "the pods roll"

    play(story, config, deployment(**pod), ingress(), canary())


def test_a_new_version_in_between_starts_the_analysis_again() -> None:
    async def story(world: FlaggerWorld) -> None:
        await world.until("Initialized")
        await world.new_version()
        await world.until_weight("40")
        await world.new_version("shop:3")
        await world.until_weight("0")
        assert status_of(await world.canary())["phase"] == "Progressing"
        await world.until("Succeeded")
        assert await world.image("shop-primary") == "shop:3"

    play(story, deployment(), ingress(), canary())


def test_an_a_b_test_sends_those_who_match() -> None:
    match = [{"headers": {"x-canary": {"exact": "insider"}}}, {"headers": {"cookie": {"exact": "canary"}}}]

    async def story(world: FlaggerWorld) -> None:
        await world.until("Initialized")
        await world.new_version()
        await world.until("Progressing")
        await asyncio.sleep(75)
        notes = annotations_of(await world.api.get(INGRESSES, "shop-canary", NS))
        prefix = "nginx.ingress.kubernetes.io/canary-by-"
        assert (notes[f"{prefix}header"], notes[f"{prefix}header-value"], notes[f"{prefix}cookie"]) == (
            "x-canary", "insider", "canary")
        await world.until("Succeeded")
        assert f"{prefix}header" not in annotations_of(await world.api.get(INGRESSES, "shop-canary", NS))

    play(story, deployment(), ingress(), canary({"stepWeight": None, "maxWeight": None, "iterations": 3, "match": match}))


def test_blue_green_without_routes_switches_the_primary_only() -> None:
    async def story(world: FlaggerWorld) -> None:
        await world.until("Initialized")
        await world.new_version()
        await world.until("Promoting")
        assert await world.apex() == {"app": "shop-primary"}
        await world.until("Succeeded")
        assert await world.image("shop-primary") == "shop:2"

    play(story, deployment(), canary({"iterations": 2}, provider="kubernetes"))


def test_a_version_that_does_not_come_up_is_rolled_back_at_its_deadline() -> None:
    async def story(world: FlaggerWorld) -> None:
        await world.until("Initialized")
        world.script = lambda pod: Script(ready_s=None)
        await world.new_version()
        await world.until("Failed")
        assert any("progress deadline exceeded" in said for said in await world.said())
        assert await world.image("shop-primary") == "shop:1" and await world.replicas("shop") == 0

    play(story, deployment(), ingress(), canary(progressDeadlineSeconds=60))


def test_a_primary_that_never_came_up_takes_nothing_down() -> None:
    async def story(world: FlaggerWorld) -> None:
        await asyncio.sleep(900)
        assert await world.replicas("shop") == 2, "the target still serves"
        assert status_of(await world.canary())["phase"] == "Initializing"

    play(story, deployment(), ingress(), canary(), script=lambda pod: Script(
        ready_s=None if pod["metadata"]["name"].startswith("shop-primary") else 1.0))


@pytest.mark.parametrize("at", range(0, 300, 50))
def test_a_controller_that_is_killed_at_any_time_comes_to_the_same_end(at: int) -> None:
    async def story(world: FlaggerWorld) -> None:
        await world.until("Initialized")
        await world.new_version()
        for pause in (at + 0.003, 0.7):
            await asyncio.sleep(pause)
            await world.kill()
            await world.start()
        await world.until("Succeeded")
        assert await world.image("shop-primary") == "shop:2" and await world.weight() == "0"

    play(story, deployment(), ingress(), canary())


def test_deleted_with_revert_the_target_serves_again() -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop", "namespace": NS},
               "spec": {"selector": {"app": "shop"}, "ports": [{"name": "http", "port": 80, "targetPort": 8000}]}}

    async def story(world: FlaggerWorld) -> None:
        await world.until("Initialized")
        await world.api.delete(CANARIES, "shop", NS)
        for _ in range(60):
            await asyncio.sleep(2)
            try:
                await world.canary()
            except NotFound:
                break
        assert await world.replicas("shop") == 2
        assert spec_of(await world.api.get(SERVICES, "shop", NS))["selector"] == {"app": "shop"}

    play(story, service, deployment(), ingress(), canary(revertOnDeletion=True))


def test_alerts_are_filtered_by_severity_and_their_address_is_told_to_nobody() -> None:
    address = base64.b64encode(b"https://chat.example.com/hooks/secret").decode()
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "chat", "namespace": NS}, "data": {"address": address}}
    provider = {"apiVersion": "flagger.app/v1beta1", "kind": "AlertProvider", "metadata": {"name": "chat", "namespace": NS},
                "spec": {"type": "slack", "channel": "ops", "secretRef": {"name": "chat"}}}
    alerts = [{"name": "ops", "severity": "error", "providerRef": {"name": "chat"}}]

    async def story(world: FlaggerWorld) -> None:
        world.hook = lambda name, at: "the chat is down"
        await world.until("Initialized")
        await world.new_version()
        await world.until("Failed")
        await asyncio.sleep(1)
        sent = [body for kind, _, body in world.posts if kind == "alert"]
        assert [dig(body, "attachments", 0, "text") for body in sent] == ["Failed checks threshold reached 2"]
        said = " ".join(await world.said())
        assert "alert provider chat.default was not told: the chat is down" in said and "secret" not in said

    play(story, secret, provider, deployment(), ingress(), canary({"alerts": alerts}), answer=lambda text, at: 0.0)


@pytest.mark.parametrize(("kind", "field"), [("slack", "attachments"), ("discord", "attachments"), ("rocket", "attachments"),
                                             ("msteams", "sections"), ("gchat", "text")])
def test_every_chat_gets_its_own_payload(kind: str, field: str) -> None:
    spec = decode_canary(canary({"alerts": [{"name": "a", "providerRef": {"name": "p"}}]}))
    provider = {"metadata": {"name": "p", "namespace": NS}, "spec": {"type": kind, "address": "https://chat.example.com/x"}}
    [letter] = letters(spec, Notice("New version", "info", facts=True), {key_of(provider): provider}, {})
    assert f'"{field}"' in letter.body and "Weight step: 20 max: 40" in letter.body  # type: ignore[union-attr]


@pytest.mark.parametrize(("change", "words"), [
    ({"provider": "linkerd"}, "provider linkerd is not carried here; carried are istio, nginx, gatewayapi, kubernetes"),
    ({"analysis": {"interval": "soon"}}, "spec.analysis.interval"),
    ({"ingressRef": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "shpo"}, "provider": "nginx"},
     "ingress shpo.default get query error"),
])
def test_what_cannot_be_done_is_said_and_changes_nothing(change: Obj, words: str) -> None:
    async def story(world: FlaggerWorld) -> None:
        await asyncio.sleep(120)
        assert any(words in said for said in await world.said()), await world.said()
        assert await world.replicas("shop") == 2

    play(story, deployment(), ingress(), canary(**change))
