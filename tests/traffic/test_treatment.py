"""What VirtualServices and HTTPRoutes do to requests beside dividing them, over real data planes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fairway.kube.errors import Invalid
from fairway.kube.objects import Obj
from fairway.kube.resources import CRDS, HTTP_ROUTES, VIRTUAL_SERVICES, Resource
from fairway.traffic.controller import APPLIED_GENERATION
from fairway.traffic.gateway_api import read_http_route
from fairway.traffic.istio import read_virtual_service
from tests.traffic.backends import Backend
from tests.traffic.test_rules import http_route, virtual
from tests.traffic.world import DATA_PLANES, HOST, World, data_plane, world

Tell = Callable[[World, dict[str, Backend]], Awaitable[None]]


async def asked(port: int, path: str = "/", **headers: str) -> tuple[int, dict[str, str], str]:
    """(status, headers, body) of one request; of several equal headers all values, with commas."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    writer.write(f"GET {path} HTTP/1.1\r\nhost: {HOST}\r\n{lines}connection: close\r\n\r\n".encode())
    head, _, body = (await asyncio.wait_for(reader.read(), 10)).decode().partition("\r\n\r\n")
    writer.close()
    first, *rest = head.split("\r\n")
    found: dict[str, str] = {}
    for line in rest:
        name, _, value = line.partition(": ")
        found[name.lower()] = f"{found[name.lower()]},{value}" if name.lower() in found else value
    return int(first.split()[1]), found, body


def played(kind: str, folder: Path, resource: Resource, spec: Obj, tell: Tell) -> None:
    async def story() -> None:
        async with world(data_plane(kind, folder)) as w:
            backends = {name: await w.pod(name, name, name * 3) for name in ("stable", "canary")}
            for name, backend in backends.items():
                await w.service(name, {name: backend})
            made = http_route() if resource is HTTP_ROUTES else virtual()
            made |= {"metadata": {"name": "shop", "namespace": "default"}}
            made["spec"] = {"hosts": [HOST]} | spec if resource is VIRTUAL_SERVICES else {"hostnames": [HOST]} | spec
            await w.api.create(made)
            await w.until(lambda: w.note(resource, "shop", APPLIED_GENERATION) == "1")
            await tell(w, backends)

    asyncio.run(story())


@pytest.mark.parametrize("kind", DATA_PLANES)
def test_a_virtual_service_redirects_answers_and_changes_headers(kind: str, tmp_path: Path) -> None:
    def at(prefix: str, **rule: object) -> Obj:
        return {"match": [{"uri": {"prefix": prefix}}], **rule}

    to_stable = {"route": [{"destination": {"host": "stable"}}]}
    changed: Obj = {
        "headers": {"request": {"set": {"x-from": "route"}, "remove": ["x-secret"]}, "response": {"add": {"x-rule": "100%"}}},
        "rewrite": {"authority": "inside.example.com"},
        "route": [{"destination": {"host": "canary"}, "headers": {"response": {
            "add": {"set-cookie": "canary=1; Max-Age=9"}, "set": {"x-shop-version": "hidden"}}}}],
    }
    spec = {"http": [
        at("/old/", redirect={"uri": "/new", "redirectCode": 308}),
        at("/moved/", redirect={"authority": "elsewhere.example.com", "scheme": "https"}),
        at("/teapot/", directResponse={"status": 418, "body": {"string": "short and stout"}}),
        at("/changed/", **changed),
        {"match": [{"queryParams": {"beta": {"exact": "yes"}}, "withoutHeaders": {"x-bot": {"regex": "crawl.*"}}}],
         "route": [{"destination": {"host": "canary"}}]},
        to_stable,
    ]}

    async def tell(w: World, backends: dict[str, Backend]) -> None:
        status, headers, _ = await asked(w.port, "/old/x?a=1")
        assert (status, headers["location"].partition(HOST)[2]) == (308, "/new?a=1")
        status, headers, _ = await asked(w.port, "/moved/x?a=1")
        assert (status, headers["location"]) == (301, "https://elsewhere.example.com/moved/x?a=1")
        status, _, body = await asked(w.port, "/teapot/")
        assert (status, body) == (418, "short and stout")
        status, headers, _ = await asked(w.port, "/changed/", x_secret="s", x_from="client")
        assert (status, headers["x-shop-version"], headers["x-rule"]) == (200, "hidden", "100%")
        assert headers["set-cookie"] == "canary=1; Max-Age=9"
        seen = backends["canary"].last_head.lower()
        assert "x-from: route\r\n" in seen and "client" not in seen and "x-secret" not in seen
        assert "host: inside.example.com\r\n" in seen
        assert (await asked(w.port, "/?q=1&beta=yes"))[2] == "canary"
        assert (await asked(w.port, "/?beta=yes", x_bot="crawler"))[2] == "stable"
        assert (await asked(w.port, "/?beta=no"))[2] == (await asked(w.port, "/"))[2] == "stable"

    played(kind, tmp_path, VIRTUAL_SERVICES, spec, tell)


@pytest.mark.parametrize("kind", DATA_PLANES)
def test_faults_timeouts_and_retries_are_as_asked(kind: str, tmp_path: Path) -> None:
    def at(prefix: str, host: str, **rule: object) -> Obj:
        return {"match": [{"uri": {"prefix": prefix}}], "route": [{"destination": {"host": host}}], **rule}

    spec = {"http": [
        at("/broken/", "stable", fault={"abort": {"httpStatus": 555, "percentage": {"value": 100}}}),
        at("/late/", "stable", fault={"delay": {"fixedDelay": "300ms", "percentage": {"value": 100}}}),
        at("/whole/", "stable", fault={"abort": {"httpStatus": 555}}),
        at("/slow/", "canary", timeout="200ms"),
        at("/again/", "stable", retries={"attempts": 2, "retryOn": "5xx"}),
        at("/once/", "stable", retries={"attempts": 0}),
    ]}

    async def tell(w: World, backends: dict[str, Backend]) -> None:
        stable, canary = backends["stable"], backends["canary"]
        assert (await asked(w.port, "/broken/"))[0] == 555 and stable.requests == 0
        began = time.perf_counter()
        assert (await asked(w.port, "/late/"))[0] == 200 and time.perf_counter() - began >= 0.29
        assert (await asked(w.port, "/whole/"))[0] == 200, "without a percentage nothing is aborted"
        canary.delay_s = 5.0
        began = time.perf_counter()
        assert (await asked(w.port, "/slow/"))[0] == 504 and time.perf_counter() - began < 4
        stable.status, before = 500, stable.requests
        assert (await asked(w.port, "/again/"))[0] == 500 and stable.requests - before == 3
        assert (await asked(w.port, "/once/"))[0] == 500 and stable.requests - before == 4

    played(kind, tmp_path, VIRTUAL_SERVICES, spec, tell)


@pytest.mark.parametrize("kind", DATA_PLANES)
def test_filters_of_an_http_route(kind: str, tmp_path: Path) -> None:
    def at(prefix: str, *filters: Obj, **rule: object) -> Obj:
        return {"matches": [{"path": {"value": prefix}}], "filters": list(filters), **rule}

    def to(name: str, *filters: Obj) -> list[Obj]:
        return [{"name": name, "port": 80, "filters": list(filters)}]

    moved = {"type": "RequestRedirect", "requestRedirect": {
        "scheme": "https", "hostname": "www.example.com", "port": 8443, "statusCode": 301,
        "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/b"}}}
    request = {"type": "RequestHeaderModifier",
               "requestHeaderModifier": {"set": [{"name": "x-a", "value": "1"}], "remove": ["x-b"]}}
    sticky = {"type": "ResponseHeaderModifier",
              "responseHeaderModifier": {"add": [{"name": "Set-Cookie", "value": "sticky=1"}]}}
    renamed = {"type": "URLRewrite", "urlRewrite": {"hostname": "inside.example.com"}}
    spec = {"rules": [
        at("/a", moved),
        at("/headers", request, renamed, backendRefs=to("canary", sticky)),
        {"matches": [{"queryParams": [{"name": "beta", "value": "yes"}]}], "backendRefs": to("canary")},
        at("/", backendRefs=to("stable"), timeouts={"request": "200ms"}),
    ]}

    async def tell(w: World, backends: dict[str, Backend]) -> None:
        status, headers, _ = await asked(w.port, "/a/x/y?q=1")
        assert (status, headers["location"]) == (301, "https://www.example.com:8443/b/x/y?q=1")
        status, headers, _ = await asked(w.port, "/headers", x_a="0", x_b="2")
        assert (status, headers["set-cookie"], headers["x-shop-version"]) == (200, "sticky=1", "canary")
        seen = backends["canary"].last_head.lower()
        assert "x-a: 1\r\n" in seen and "x-b" not in seen and "host: inside.example.com\r\n" in seen
        assert (await asked(w.port, "/?beta=yes"))[2] == "canary" and (await asked(w.port, "/?beta=ye"))[2] == "stable"
        backends["stable"].delay_s = 5.0
        assert (await asked(w.port, "/"))[0] == 504

    played(kind, tmp_path, HTTP_ROUTES, spec, tell)


@pytest.mark.parametrize(("rule", "code"), [
    ({"match": [{"sourceLabels": {"app": "web"}}]}, "MatchNotServed"),
    ({"match": [{"gateways": ["mesh"]}]}, "MatchNotServed"),
    ({"headers": {"response": {"set": {"bad name": "x"}}}}, "HeaderInvalid"),
    ({"headers": {"request": {"set": {"host": "x"}}}}, "HeaderInvalid"),
    ({"headers": {"request": {"set": {"x-a": "one\r\ntwo"}}}}, "HeaderInvalid"),
    ({"redirect": {"uri": "/", "redirectCode": 300}}, "StatusInvalid"),
    ({"directResponse": {"status": 99}}, "StatusInvalid"),
    ({"directResponse": {"status": 200, "body": {"string": "x" * 5000}}}, "BodyTooLarge"),
    ({"timeout": "soon"}, "DurationInvalid"),
    ({"fault": {"abort": {"httpStatus": 500, "percentage": {"value": 101}}}}, "PercentInvalid"),
    ({"retries": {"attempts": 1, "retryOn": "whenever"}}, "RetryInvalid"),
    ({"rewrite": {"uriRegexRewrite": {"match": "a", "rewrite": "b"}}}, "RuleNotServed"),
    ({"delegate": {"name": "other"}}, "RuleNotServed"),
])  # fmt: skip
def test_a_rule_that_cannot_be_followed_is_left_out_and_said(rule: Obj, code: str) -> None:
    """One value that the data plane refuses would hold back every other change, and a match made wider than it is written
    would send everybody where a few were meant to go."""
    route = {"route": [{"destination": {"host": "stable"}}]}
    found, (remark,) = read_virtual_service(virtual({**route, **rule}, route), {})
    assert found is not None and len(found.rules) == 1 and remark.reason.code == code


def test_what_an_http_route_asks_beyond_that_is_said() -> None:
    cors = {"filters": [{"type": "CORS"}], "backendRefs": [{"name": "stable", "port": 80}]}
    found, (remark,) = read_http_route(http_route(cors))
    assert found is not None and remark.reason.code == "FilterNotServed"


def test_an_object_that_cannot_be_read_holds_nobody_else_back(tmp_path: Path) -> None:
    """Where the definition has no schema, every shape comes in."""
    broken: Obj = {"http": [{"route": [{"destination": "stable"}]}]}

    async def tell(w: World, backends: dict[str, Backend]) -> None:
        made = virtual()
        made |= {"metadata": {"name": "broken", "namespace": "default"}}
        made["spec"] = {"hosts": ["other.example.com"], **broken}
        with pytest.raises(Invalid, match=r"http\[0\].route\[0\].destination in body must be of type object"):
            await w.api.create(made)
        definition = await w.api.get(CRDS, "virtualservices.networking.istio.io")
        for version in definition["spec"]["versions"]:
            version["schema"]["openAPIV3Schema"]["properties"]["spec"] = {
                "type": "object", "x-kubernetes-preserve-unknown-fields": True}
        await w.api.replace(definition)
        await w.api.create(made)
        await w.until(lambda: any(reason.code == "Malformed" for reason in w.controller.reasons))
        to_canary = {"http": [{"route": [{"destination": {"host": "canary"}}]}]}
        await w.patch(VIRTUAL_SERVICES, "shop", {"spec": to_canary})
        await w.until(lambda: w.note(VIRTUAL_SERVICES, "shop", APPLIED_GENERATION) == "2")
        assert (await asked(w.port))[2] == "canary"

    played("proxy", tmp_path, VIRTUAL_SERVICES, {"http": [{"route": [{"destination": {"host": "stable"}}]}]}, tell)
