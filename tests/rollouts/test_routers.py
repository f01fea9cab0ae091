"""What the traffic routers write: Istio's routes and subsets, an ALB's actions, the weights of an HTTPRoute."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fairway.kube.api import MergePatch
from fairway.kube.clock import Clock, run_virtual
from fairway.kube.decision import Action, Change
from fairway.kube.objects import Obj, dig
from fairway.kube.patches.merge_patch import merge
from fairway.kube.resources import DESTINATION_RULES, HTTP_ROUTES, INGRESSES, VIRTUAL_SERVICES
from fairway.rollouts.alb import move_alb
from fairway.rollouts.gateway_api import move_http_route
from fairway.rollouts.istio import move_subsets, move_virtual_service, virtual_service_errors
from fairway.rollouts.traffic_spec import Alb, DestinationRuleRef, VirtualServiceRef
from fairway.rollouts.traffic_wish import Extra, ManagedRoute, Wish
from tests.rollouts.world import NS, World, a_world, rollout

HEADER = ManagedRoute("by-agent", mirror=False, spec={"name": "by-agent", "match": [
    {"headerName": "agent", "headerValue": {"exact": "tester"}}]})
MIRROR = ManagedRoute("copied", mirror=True, spec={"name": "copied", "percentage": 30, "match": [
    {"method": {"exact": "GET"}, "path": {"prefix": "/"}}]})


def wish(weight: int, **more: Any) -> Wish:
    return Wish(canary=weight, total=100, canary_service="canary", stable_service="stable", **more)


def virtual_service(**spec: Any) -> Obj:
    routes = [{"destination": {"host": "stable", "port": {"number": 80}}, "weight": 100},
              {"destination": {"host": "canary.default.svc.cluster.local"}, "weight": 0}]
    meta = {"name": "shop", "namespace": NS}
    return {"apiVersion": "networking.istio.io/v1beta1", "kind": "VirtualService", "metadata": meta,
            "spec": {"hosts": ["shop.example.com"], "http": [{"name": "primary", "route": routes}], **spec}}


def applied(obj: Obj, action: Action | None) -> Obj:
    assert isinstance(action, Change) and isinstance(action.patch, MergePatch)
    found: Obj = merge(obj, action.patch.body)
    return found


def weights(route: Obj) -> list[tuple[str, int]]:
    return [(d["destination"]["host"].partition(".")[0], d["weight"]) for d in route["route"]]


def test_a_virtual_service_is_divided_and_left_alone_once_it_is() -> None:
    ref, obj = VirtualServiceRef("shop", ("primary",)), virtual_service()
    moved = applied(obj, move_virtual_service(obj, ref, None, "", wish(20), ()))
    assert weights(moved["spec"]["http"][0]) == [("stable", 80), ("canary", 20)]
    assert move_virtual_service(moved, ref, None, "", wish(20), ()) is None


def test_experiments_get_their_share_of_stables_and_lose_it_again() -> None:
    ref, obj = VirtualServiceRef("shop"), virtual_service()
    during = applied(obj, move_virtual_service(obj, ref, None, "", wish(10, extras=(Extra("trial", 15),)), ()))
    assert weights(during["spec"]["http"][0]) == [("stable", 75), ("canary", 10), ("trial", 15)]
    after = applied(during, move_virtual_service(during, ref, None, "", wish(10, gone=("trial",)), ()))
    assert weights(after["spec"]["http"][0]) == [("stable", 90), ("canary", 10)]


def test_routes_of_steps_stand_before_all_others_and_go_again() -> None:
    ref, obj, managed = VirtualServiceRef("shop", ("primary",)), virtual_service(), ("by-agent", "copied")
    moved = applied(obj, move_virtual_service(obj, ref, None, "", wish(20, routes=(HEADER, MIRROR)), managed))
    header, mirror, primary = moved["spec"]["http"]
    assert header == {"name": "by-agent", "match": [{"headers": {"agent": {"exact": "tester"}}}],
                      "route": [{"destination": {"host": "canary", "port": {"number": 80}}, "weight": 100}]}
    assert mirror["mirror"]["host"] == "canary" and mirror["mirrorPercentage"] == {"value": 30}
    assert mirror["match"] == [{"method": {"exact": "GET"}, "uri": {"prefix": "/"}}]
    assert weights(mirror) == weights(primary) == [("stable", 80), ("canary", 20)]
    gone = applied(moved, move_virtual_service(moved, ref, None, "", wish(0), managed))
    assert [route["name"] for route in gone["spec"]["http"]] == ["primary"]


def test_subsets_are_divided_by_name_and_mean_the_pods_of_their_hash() -> None:
    rule = DestinationRuleRef("shop", "new", "old")
    routes = [{"destination": {"host": "shop", "subset": "old"}, "weight": 100},
              {"destination": {"host": "shop", "subset": "new"}, "weight": 0}]
    obj = virtual_service(http=[{"route": routes}])
    moved = applied(obj, move_virtual_service(obj, VirtualServiceRef("shop"), rule, "shop", wish(40), ()))
    assert [d["weight"] for d in moved["spec"]["http"][0]["route"]] == [60, 40]
    subsets = {"metadata": {"name": "shop", "namespace": NS}, "spec": {"host": "shop", "subsets": [
        {"name": "old", "labels": {"app": "shop"}}, {"name": "new", "labels": {"app": "shop"}}, {"name": "mine"}]}}
    done = applied(subsets, move_subsets(subsets, rule, "shop", wish(40, canary_hash="b", stable_hash="a")))
    assert [dig(s, "labels", "rollouts-pod-template-hash") for s in done["spec"]["subsets"]] == ["a", "b", None]
    assert move_subsets(done, rule, "shop", wish(40, canary_hash="b", stable_hash="a")) is None


@pytest.mark.parametrize(("spec", "ref", "said"), [
    ({}, VirtualServiceRef("shop", ("other",)), "HTTP Route 'other' is not found in the defined Virtual Service."),
    ({"http": [{"route": [{"destination": {"host": "stable"}}]}]}, VirtualServiceRef("shop"),
     "Canary Service 'canary' not found in route"),
    ({"http": [{"name": "a", "route": []}, {"name": "b", "route": []}]}, VirtualServiceRef("shop"), "exactly one route"),
    ({"http": None, "tls": [{"match": [{"port": 443, "sniHosts": ["a"]}], "route": []}]},
     VirtualServiceRef("shop", (), ({"port": 443, "sniHosts": ["b"]},)), "No matching TLS routes"),
    ({"http": None}, VirtualServiceRef("shop"), "Unable to get any of the HTTP, TCP or TLS routes"),
])  # fmt: skip
def test_a_virtual_service_that_cannot_be_divided_says_why(spec: Obj, ref: VirtualServiceRef, said: str) -> None:
    found = virtual_service_errors(virtual_service(**spec), ref, None, canary="canary", stable="stable", managed=())
    assert said in found[0]


def test_a_load_balancer_gets_its_action_and_a_path_for_each_header_route() -> None:
    path = {"path": "/*", "pathType": "ImplementationSpecific", "backend": {"service": {
        "name": "root", "port": {"name": "use-annotation"}}}}
    obj = {"metadata": {"name": "shop", "namespace": NS}, "spec": {"rules": [{"http": {"paths": [path]}}]}}
    alb = Alb("shop", service_port=8080, root_service="root")
    moved = applied(obj, move_alb(obj, alb, "shop", "root", wish(20, extras=(Extra("trial", 10),), routes=(HEADER,))))
    notes = moved["metadata"]["annotations"]
    groups = json.loads(notes["alb.ingress.kubernetes.io/actions.root"])["ForwardConfig"]["TargetGroups"]
    assert [(g["ServiceName"], g["ServicePort"], g["Weight"]) for g in groups] == [
        ("canary", "8080", 20), ("trial", "8080", 10), ("stable", "8080", 70)]
    condition, = json.loads(notes["alb.ingress.kubernetes.io/conditions.by-agent"])
    assert condition["HttpHeaderConfig"] == {"HttpHeaderName": "agent", "Values": ["tester"]}
    names = [p["backend"]["service"]["name"] for p in moved["spec"]["rules"][0]["http"]["paths"]]
    assert names == ["by-agent", "root"]
    gone = applied(moved, move_alb(moved, alb, "shop", "root", wish(20)))
    assert gone["spec"] == obj["spec"]
    assert sorted(gone["metadata"]["annotations"]) == [
        "alb.ingress.kubernetes.io/actions.root", "rollouts.argoproj.io/managed-alb-actions"]


def test_an_http_route_is_divided_where_both_backends_stand_and_headers_come_first() -> None:
    refs = [{"name": "stable", "port": 80}, {"name": "canary", "port": 80}]
    rules = [{"matches": [{"path": {"value": "/"}}], "backendRefs": refs}, {"backendRefs": [{"name": "docs", "port": 80}]}]
    obj = {"metadata": {"name": "shop", "namespace": NS}, "spec": {"rules": rules}}
    moved = applied(obj, move_http_route(obj, wish(30, routes=(HEADER,)), ("by-agent",)))
    header, main, other = moved["spec"]["rules"]
    assert header["matches"] == [{"path": {"value": "/"}, "headers": [{"name": "agent", "type": "Exact", "value": "tester"}]}]
    assert [(ref["name"], ref["weight"]) for ref in main["backendRefs"]] == [("stable", 70), ("canary", 30)]
    assert other == rules[1]
    assert move_http_route(moved, wish(30, routes=(HEADER,)), ("by-agent",)) is None


# --- whole updates ----------------------------------------------------------------------------------------------------


async def shares(world: World, kind: str) -> dict[str, int]:
    if kind == "istio":
        found = await world.api.get(VIRTUAL_SERVICES, "shop", NS)
        return {d["destination"]["host"]: d["weight"] for d in found["spec"]["http"][-1]["route"]}
    if kind == "gateway":
        found = await world.api.get(HTTP_ROUTES, "shop", NS)
        return {ref["name"]: ref["weight"] for ref in found["spec"]["rules"][0]["backendRefs"]}
    notes = (await world.api.get(INGRESSES, "shop", NS))["metadata"]["annotations"]
    action = json.loads(notes["alb.ingress.kubernetes.io/actions.shop-stable"])
    return {g["ServiceName"]: g["Weight"] for g in action["ForwardConfig"]["TargetGroups"]}


ROUTING = {"istio": {"istio": {"virtualService": {"name": "shop"}}}, "alb": {"alb": {"ingress": "shop", "servicePort": 80}},
           "gateway": {"plugins": {"argoproj-labs/gatewayAPI": {"httpRoute": "shop", "namespace": NS}}}}


@pytest.mark.parametrize("kind", ["istio", "gateway", "alb"])
def test_a_canary_moves_through_every_router(kind: str) -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock, confirm_after=None) as world:
            hosts = [{"destination": {"host": name}} for name in ("shop-stable", "shop-canary")]
            refs = [{"name": name, "port": 80} for name in ("shop-stable", "shop-canary")]
            await world.api.create(virtual_service(http=[{"route": hosts}]))
            await world.api.create({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {
                "name": "shop", "namespace": NS}, "spec": {"rules": [{"backendRefs": refs}]}})
            await world.api.create(rollout(steps=[{"setWeight": 30}, {"pause": {}}], trafficRouting=ROUTING[kind]))
            await world.healthy()
            assert await shares(world, kind) == {"shop-stable": 100, "shop-canary": 0}
            await world.image("shop:2")
            await world.until(lambda r: dig(r, "status", "phase") == "Paused")
            assert await shares(world, kind) == {"shop-stable": 70, "shop-canary": 30}
            await world.patch({"status": {"abort": True}}, status=True)
            await world.until(lambda r: dig(r, "status", "phase") == "Degraded")
            assert await shares(world, kind) == {"shop-stable": 100, "shop-canary": 0}

    run_virtual(story)


def test_ping_and_pong_take_turns() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock, confirm_after=None) as world:
            hosts = [{"destination": {"host": name}} for name in ("shop-stable", "shop-canary")]
            await world.api.create(virtual_service(http=[{"route": hosts}]))
            await world.api.create(rollout(steps=[{"setWeight": 50}], trafficRouting=ROUTING["istio"], stableService=None,
                                           canaryService=None, pingPong={"pingService": "shop-stable",
                                                                         "pongService": "shop-canary"}))
            first = await world.healthy()
            assert first["status"]["canary"]["stablePingPong"] == "ping"
            one = first["status"]["stableRS"]
            assert await world.selects("shop-stable") == one and await shares(world, "istio") == {
                "shop-stable": 100, "shop-canary": 0}
            await world.image("shop:2")
            second = await world.healthy()
            assert second["status"]["canary"]["stablePingPong"] == "pong"
            await world.until(lambda r: dig(r, "status", "canary", "weights", "stable", "serviceName") == "shop-canary")
            assert await shares(world, "istio") == {"shop-stable": 0, "shop-canary": 100}
            assert await world.selects("shop-stable") == one
            assert await world.selects("shop-canary") == second["status"]["stableRS"]

    run_virtual(story)


def test_a_rollout_through_subsets_never_leads_to_pods_that_are_not_there() -> None:
    async def story(clock: Clock) -> None:
        async with a_world(clock, confirm_after=None) as world:
            routes = [{"destination": {"host": "shop-stable", "subset": subset}} for subset in ("stable", "canary")]
            await world.api.create(virtual_service(http=[{"route": routes}]))
            await world.api.create({"apiVersion": "networking.istio.io/v1beta1", "kind": "DestinationRule", "metadata": {
                "name": "shop", "namespace": NS}, "spec": {"host": "shop-stable", "subsets": [
                    {"name": "stable", "labels": {"app": "shop"}}, {"name": "canary", "labels": {"app": "shop"}}]}})
            routing = {"istio": {"virtualService": {"name": "shop"}, "destinationRule": {
                "name": "shop", "canarySubsetName": "canary", "stableSubsetName": "stable"}}}
            await world.api.create(rollout(steps=[{"setWeight": 50}, {"pause": {}}], trafficRouting=routing,
                                           stableService=None, canaryService=None))
            await world.healthy()
            await world.image("shop:2")
            found = await world.until(lambda r: dig(r, "status", "phase") == "Paused")
            rule = await world.api.get(DESTINATION_RULES, "shop", NS)
            hashes = {s["name"]: s["labels"]["rollouts-pod-template-hash"] for s in rule["spec"]["subsets"]}
            assert hashes == {"stable": found["status"]["stableRS"], "canary": found["status"]["currentPodHash"]}

    run_virtual(story)
