"""VirtualServices and HTTPRoutes: who answers which request, from objects alone, and over real data planes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from fairway.kube.objects import Key, Obj
from fairway.kube.resources import HTTP_ROUTES, VIRTUAL_SERVICES, Resource
from fairway.traffic import read
from fairway.traffic.alb import PREFIX, read_alb
from fairway.traffic.controller import APPLIED_GENERATION
from fairway.traffic.decide import Routing, Seen, route
from fairway.traffic.gateway_api import read_http_route
from fairway.traffic.istio import read_subsets, read_virtual_service, service_of
from fairway.traffic.matching import route_of
from fairway.traffic.model import Route
from tests.traffic.backends import ask
from tests.traffic.test_decide import CANARY, HASHES, SLICES, STABLE, service, slice_of
from tests.traffic.world import DATA_PLANES, HOST, data_plane, failed, share, world


def virtual(*http: Obj, hosts: tuple[str, ...] = ("shop.example.com",), **more: Any) -> Obj:
    return {"apiVersion": "networking.istio.io/v1beta1", "kind": "VirtualService",
            "metadata": {"name": "shop", "namespace": "shop", "generation": 4},
            "spec": {"hosts": list(hosts), "http": list(http), **more}}


def to(stable: int, canary: int, **more: Any) -> Obj:
    whole = {"host": "canary.shop.svc.cluster.local", "port": {"number": 80}}
    return {"route": [{"destination": {"host": "stable"}, "weight": stable}, {"destination": whole, "weight": canary}], **more}


def http_route(*rules: Obj) -> Obj:
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": "shop", "namespace": "shop", "generation": 2},
            "spec": {"hostnames": ["shop.example.com"], "rules": list(rules)}}


def refs(**weights: int) -> list[Obj]:
    return [{"name": name, "port": 80, "weight": weight} for name, weight in weights.items()]


def routed(obj: Obj, *, rules: tuple[Obj, ...] = (), services: tuple[Obj, ...] = (STABLE, CANARY),
           slices: tuple[Obj, ...] = tuple(SLICES), hashes: dict[str, str] = HASHES) -> tuple[Routing, tuple[read.Remark, ...]]:
    found, remarks = (read_virtual_service(obj, read_subsets(rules)) if obj["kind"] == "VirtualService"
                      else read_http_route(obj))
    routing = route(Seen(
        services=tuple(map(read.read_service, services)), slices=tuple(map(read.read_slice, slices)), ingresses=(),
        pod_hashes={Key("shop", name): value for name, value in hashes.items()}, ingress_address="127.0.0.1",
        ingress_port=8080, rule_sets=(found,) if found else ()))
    return routing, (*remarks, *routing.remarks)


def taken(routing: Routing, path: str, **headers: str) -> dict[str, int]:
    """Weights by cluster of the route that a request takes."""
    host, = routing.model.ingress.hosts
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    found: Route | None = route_of(host.routes, path, {":method": "GET", **named})
    return {backend.cluster.split("|")[1]: backend.weight for backend in found.backends} if found else {}


def test_weights_of_a_virtual_service_are_those_of_requests_and_the_generation_is_answered_for() -> None:
    routing, remarks = routed(virtual(to(80, 20)))
    assert taken(routing, "/") == {"stable": 4, "canary": 1}
    assert routing.generations == {("VirtualService", Key("shop", "shop")): "4"} and not remarks
    assert taken(routed(virtual(to(100, 0)))[0], "/") == {"stable": 1}


def test_the_first_rule_that_matches_takes_the_request() -> None:
    testers = to(0, 100, match=[{"headers": {"agent": {"regex": "fire.*"}}}, {"uri": {"prefix": "/beta"}}])
    routing, _ = routed(virtual(testers, to(100, 0)))
    assert taken(routing, "/", agent="firefox") == taken(routing, "/beta/x") == taken(routing, "/betamax") == {"canary": 1}
    assert taken(routing, "/", agent="chrome") == {"stable": 1}


def test_a_canary_without_ready_pods_gets_nothing_and_costs_nothing() -> None:
    empty = (SLICES[0], slice_of("canary", ("127.64.0.3", "c1", False)))
    routing, remarks = routed(virtual(to(50, 50)), slices=empty)
    assert taken(routing, "/") == {"stable": 1}
    assert remarks[0].reason.code == "DestinationNotReady" and not routing.generations, "half of it is not in force"
    assert routed(virtual(to(100, 0)), slices=empty)[0].generations


def test_subsets_are_pods_of_one_hash() -> None:
    rule = {"metadata": {"name": "shop", "namespace": "shop"}, "spec": {"host": "stable", "subsets": [
        {"name": "old", "labels": {read.HASH_LABEL: "aaa"}}, {"name": "new", "labels": {read.HASH_LABEL: "bbb"}}]}}
    both = slice_of("stable", ("127.64.0.1", "s1", True), ("127.64.0.3", "c1", True))
    divided = {"route": [{"destination": {"host": "stable", "subset": "old"}, "weight": 75},
                         {"destination": {"host": "stable", "subset": "new"}, "weight": 25}]}
    routing, _ = routed(virtual(divided), rules=(rule,), slices=(both,))
    host, = routing.model.ingress.hosts
    assert [(b.cluster.split("|")[3], b.weight) for b in host.routes[0].backends] == [("aaa", 3), ("bbb", 1)]


def test_a_service_that_is_a_host_is_divided_for_its_callers_inside_too() -> None:
    front = service("front", address="127.32.0.11")
    routing, _ = routed(virtual(to(50, 50), hosts=("front",)), services=(STABLE, CANARY, front))
    listener = next(found for found in routing.model.services if found.service == "front")
    assert {backend.cluster.split("|")[1] for backend in listener.backends} == {"stable", "canary"}
    assert service_of("front.shop.svc.cluster.local", "other") == Key("shop", "front")
    assert service_of("shop.example.com", "shop") == Key("shop", "shop.example.com")


def test_mirrors_and_rewrites() -> None:
    mirrored = to(100, 0, mirror={"host": "canary"}, mirrorPercentage={"value": 25}, match=[{"uri": {"prefix": "/v1/"}}],
                  rewrite={"uri": "/"})
    host, = routed(virtual(mirrored))[0].model.ingress.hosts
    found = host.routes[0]
    assert [(m.cluster.split("|")[1], m.percent) for m in found.mirrors] == [("canary", 25.0)]
    assert (found.path, found.rewrite) == ("/v1/(.*)", "/\\1")


def test_what_is_not_carried_is_said_and_left_out() -> None:
    routing, remarks = routed(virtual({"delegate": {"name": "other"}}, to(100, 0), tls=[{"route": []}]))
    assert [remark.reason.code for remark in remarks] == ["RoutesNotServed", "RuleNotServed"]
    assert taken(routing, "/") == {"stable": 1}
    bad, said = routed(virtual(to(0, 100, match=[{"uri": {"regex": "a(?=b)"}}]), to(100, 0)))
    assert said[0].reason.code == "RegexInvalid" and taken(bad, "/ab") == {"stable": 1}
    _, missing = routed(virtual({"route": [{"destination": {"host": "nobody"}}]}))
    assert missing[0].reason.code == "ServiceMissing"


def test_of_an_http_route_the_most_specific_match_counts_not_the_first() -> None:
    plain = {"matches": [{"path": {"value": "/"}}], "backendRefs": refs(stable=9, canary=1)}
    beta = {"matches": [{"path": {"value": "/beta"}, "headers": [{"name": "agent", "value": "tester"}]}],
            "backendRefs": refs(canary=1)}
    routing, _ = routed(http_route(plain, beta))
    assert taken(routing, "/beta", agent="tester") == {"canary": 1}
    assert taken(routing, "/beta") == taken(routing, "/x") == {"stable": 9, "canary": 1}
    assert taken(routing, "/betamax", agent="tester") == {"stable": 9, "canary": 1}, "its prefix is one of path elements"


def test_an_ingress_of_a_load_balancer_is_divided_by_its_action_and_asks_its_conditions_first() -> None:
    def path(name: str, port: str = "use-annotation") -> Obj:
        backend = {"service": {"name": name, "port": {"name": port}}}
        return {"path": "/*", "pathType": "ImplementationSpecific", "backend": backend}

    def forward(**weights: int) -> str:
        groups = [{"ServiceName": name, "ServicePort": "80", "Weight": weight} for name, weight in weights.items()]
        return json.dumps({"Type": "forward", "ForwardConfig": {"TargetGroups": groups}})

    condition = [{"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "agent", "Values": ["test*"]}}]
    notes = {f"{PREFIX}actions.root": forward(canary=10, stable=90), f"{PREFIX}actions.testers": forward(canary=100),
             f"{PREFIX}conditions.testers": json.dumps(condition)}
    obj = {"metadata": {"name": "shop", "namespace": "shop", "annotations": notes},
           "spec": {"ingressClassName": "alb", "rules": [{"http": {"paths": [path("testers"), path("root")]}}]}}
    (found,), remarks = read_alb(obj)
    assert not remarks and found.generation == "10,90" and found.hosts == ("*",)
    routing = route(Seen(services=tuple(map(read.read_service, (STABLE, CANARY))), slices=tuple(map(read.read_slice, SLICES)),
                         ingresses=(), pod_hashes={}, ingress_address="127.0.0.1", ingress_port=8080, rule_sets=(found,)))
    assert taken(routing, "/x", agent="tester") == {"canary": 1}
    assert taken(routing, "/x") == {"stable": 9, "canary": 1}
    assert routing.weights == {Key("shop", "shop"): "10,90"}
    _, said = read_alb({**obj, "metadata": {"name": "shop", "namespace": "shop"}})
    assert said[0].reason.code == "AnnotationInvalid"


@pytest.mark.parametrize("kind", DATA_PLANES)
@pytest.mark.parametrize("resource", [VIRTUAL_SERVICES, HTTP_ROUTES], ids=str)
def test_requests_follow_the_object_once_its_generation_is_answered_for(kind: str, resource: Resource, tmp_path: Path) -> None:
    def rules(stable: int, canary: int) -> Obj:
        if resource is HTTP_ROUTES:
            return {"spec": {"rules": [{"backendRefs": refs(stable=stable, canary=canary)}]}}
        divided = to(stable, canary)
        divided["route"][1]["destination"]["host"] = "canary"
        return {"spec": {"http": [divided]}}

    async def story() -> None:
        async with world(data_plane(kind, tmp_path)) as w:
            await w.service("stable", {"s1": await w.pod("s1", "old", "aaa")})
            await w.service("canary", {"c1": await w.pod("c1", "new", "bbb")})
            made = http_route() if resource is HTTP_ROUTES else virtual()
            made["metadata"] = {"name": "shop", "namespace": "default"}
            made["spec"] |= {"hosts": [HOST], "hostnames": [HOST], **rules(100, 0)["spec"]}
            await w.api.create(made)
            for stable, canary, version in ((100, 0, "old"), (0, 100, "new")):
                await w.patch(resource, "shop", rules(stable, canary))
                wanted = str((await w.api.get(resource, "shop", "default"))["metadata"]["generation"])
                await w.until(lambda wanted=wanted: w.note(resource, "shop", APPLIED_GENERATION) == wanted)  # type: ignore[misc]
                assert {await ask("127.0.0.1", w.port, HOST) for _ in range(5)} == {(200, version)}

    asyncio.run(story())


@pytest.mark.parametrize("kind", DATA_PLANES)
def test_weights_of_a_virtual_service_move_under_load_and_no_request_fails(kind: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with world(data_plane(kind, tmp_path)) as w:
            await w.service("stable", {"s1": await w.pod("s1", "old", "aaa")})
            await w.service("canary", {"c1": await w.pod("c1", "new", "bbb")})
            made = virtual(to(100, 0), hosts=(HOST,))
            made["metadata"] = {"name": "shop", "namespace": "default"}
            await w.api.create(made)
            await w.until(lambda: w.note(VIRTUAL_SERVICES, "shop", APPLIED_GENERATION) == "1")
            async with w.load(500 if kind == "envoy" else 150) as answers:
                for weight in (0, 30, 100, 0):
                    hosts = [{"destination": {"host": "stable"}, "weight": 100 - weight},
                             {"destination": {"host": "canary"}, "weight": weight}]
                    await w.patch(VIRTUAL_SERVICES, "shop", {"spec": {"http": [{"route": hosts}]}})
                    wanted = str((await w.api.get(VIRTUAL_SERVICES, "shop", "default"))["metadata"]["generation"])
                    await w.until(lambda wanted=wanted: w.note(  # type: ignore[misc]
                        VIRTUAL_SERVICES, "shop", APPLIED_GENERATION) == wanted)
                    seen = await w.more(answers, 300)
                    assert abs(share(seen, "new") - weight / 100) <= (0.01 if weight in (0, 100) else 0.11), weight
            assert failed(answers) == []

    asyncio.run(story())
