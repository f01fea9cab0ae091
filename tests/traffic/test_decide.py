"""Who answers a request, from objects alone."""

from __future__ import annotations

from collections.abc import Collection

from fairway.kube.objects import Key, Obj
from fairway.traffic import read
from fairway.traffic.addresses import listening_port
from fairway.traffic.decide import Routing, Seen, route
from fairway.traffic.model import Backend, Endpoint

NGINX = read.NGINX


def service(name: str, *, port: int = 80, address: str = "127.32.0.9", **more: object) -> Obj:
    return {"metadata": {"name": name, "namespace": "shop"},
            "spec": {"clusterIP": address, "ports": [{"name": "http", "port": port}], **more}}


def slice_of(service_name: str, *endpoints: tuple[str, str, bool]) -> Obj:
    """Endpoints as (address, pod, ready)."""
    return {
        "metadata": {"name": f"{service_name}-1", "namespace": "shop",
                     "labels": {"kubernetes.io/service-name": service_name}},
        "ports": [{"name": "http", "port": 8000}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": ready},
                       "targetRef": {"kind": "Pod", "name": pod}} for address, pod, ready in endpoints],
    }


def ingress(name: str, to: str, *, path: str = "/", kind: str = "Prefix", host: str = "shop.example.com",
            port: int | str = "http", created: str = "2030-01-01T00:00:00Z", **notes: str) -> Obj:
    reference = {"number": port} if isinstance(port, int) else {"name": port}
    return {
        "metadata": {"name": name, "namespace": "shop", "creationTimestamp": created,
                     "annotations": {NGINX + key.replace("_", "-"): value for key, value in notes.items()}},
        "spec": {"ingressClassName": "nginx", "rules": [{"host": host, "http": {"paths": [
            {"path": path, "pathType": kind, "backend": {"service": {"name": to, "port": reference}}}]}}]},
    }


def routed(services: list[Obj], slices: list[Obj], ingresses: list[Obj], pods: dict[str, str] | None = None,
           listening: Collection[str] = ()) -> Routing:
    found = [read.read_ingress(obj)[0] for obj in ingresses]
    return route(Seen(
        services=tuple(map(read.read_service, services)),
        slices=tuple(map(read.read_slice, slices)),
        ingresses=tuple(one for one in found if one is not None),
        pod_hashes={Key("shop", name): value for name, value in (pods or {}).items()},
        ingress_address="127.0.0.1", ingress_port=8080, unprivileged_from=0, listening=listening,
    ))


def backends(routing: Routing, path: str = "/") -> list[tuple[Backend, ...]]:
    return [found.backends for host in routing.model.ingress.hosts for found in host.routes if found.path == path]


STABLE, CANARY = service("stable"), service("canary", address="127.32.0.10")
HASHES = {"s1": "aaa", "s2": "aaa", "c1": "bbb"}
SLICES = [slice_of("stable", ("127.64.0.1", "s1", True), ("127.64.0.2", "s2", True)),
          slice_of("canary", ("127.64.0.3", "c1", True))]


def weighted(**notes: str) -> Routing:
    ingresses = [ingress("shop", "stable"), ingress("shop-canary", "canary", canary="true", **notes)]
    return routed([STABLE, CANARY], SLICES, ingresses, HASHES)


def test_clusters_are_named_as_metrics_reads_them() -> None:
    names = [cluster.name for cluster in weighted().model.clusters]
    assert names == ["shop|canary|80|bbb", "shop|stable|80|aaa"]


def test_a_weight_is_exact() -> None:
    routing = weighted(canary_weight="20")
    assert backends(routing) == [(Backend("shop|stable|80|aaa", 4), Backend("shop|canary|80|bbb", 1))]
    assert routing.weights == {Key("shop", "shop-canary"): "20"}


def test_a_weight_counts_in_its_total() -> None:
    assert backends(weighted(canary_weight="1", canary_weight_total="1000")) == [
        (Backend("shop|stable|80|aaa", 999), Backend("shop|canary|80|bbb", 1))]


def test_weights_at_the_ends() -> None:
    assert backends(weighted(canary_weight="0")) == [(Backend("shop|stable|80|aaa", 1),)]
    assert backends(weighted(canary_weight="100")) == [(Backend("shop|canary|80|bbb", 1),)]
    assert backends(weighted(canary_weight="250")) == [(Backend("shop|canary|80|bbb", 1),)]


def test_a_service_over_two_versions_is_spread_by_ready_endpoints() -> None:
    slices = [slice_of("stable", ("127.64.0.1", "s1", True), ("127.64.0.2", "s2", True), ("127.64.0.3", "c1", True),
                       ("127.64.0.4", "c2", False))]
    routing = routed([STABLE], slices, [ingress("shop", "stable")], {**HASHES, "c2": "bbb"})
    assert backends(routing) == [(Backend("shop|stable|80|aaa", 2), Backend("shop|stable|80|bbb", 1))]
    assert routing.serving == {Key("shop", "stable-1"): ("127.64.0.1", "127.64.0.2", "127.64.0.3")}


def test_an_empty_stable_keeps_its_share_so_that_exposure_does_not_grow() -> None:
    slices = [slice_of("stable"), SLICES[1]]
    routing = routed([STABLE, CANARY], slices,
                     [ingress("shop", "stable"), ingress("shop-canary", "canary", canary="true", canary_weight="20")], HASHES)
    assert backends(routing) == [(Backend("shop|stable|80|-", 4), Backend("shop|canary|80|bbb", 1))]


def test_terminating_endpoints_get_nothing() -> None:
    slices = [slice_of("stable", ("127.64.0.1", "s1", True))]
    slices[0]["endpoints"][0]["conditions"]["terminating"] = True
    routing = routed([STABLE], slices, [], HASHES)
    assert [cluster.endpoints for cluster in routing.model.clusters] == [()]
    assert routing.serving == {Key("shop", "stable-1"): ()}


def test_header_goes_before_cookie_before_weight() -> None:
    found = weighted(canary_weight="10", canary_by_header="x", canary_by_cookie="c").model.ingress.hosts[0].routes
    assert [(bool(one.headers), bool(one.cookies), len(one.backends)) for one in found] == [
        (True, False, 1), (True, False, 1), (False, True, 1), (False, True, 1), (False, False, 2)]


def test_longer_paths_go_first_and_exact_ones_before_all() -> None:
    routing = routed([STABLE], SLICES, [
        ingress("a", "stable"), ingress("b", "stable", path="/api"), ingress("c", "stable", path="/x", kind="Exact")], HASHES)
    assert [found.path for found in routing.model.ingress.hosts[0].routes] == ["/x", "/api", "/"]


def test_the_older_ingress_keeps_its_path() -> None:
    routing = routed([STABLE, CANARY], SLICES, [
        ingress("a-new", "canary", created="2030-02-01T00:00:00Z"), ingress("b-old", "stable")], HASHES)
    assert backends(routing) == [(Backend("shop|stable|80|aaa", 1),)]
    assert [remark.reason.code for remark in routing.remarks] == ["PathTaken"]


def test_a_canary_without_pods_is_remarked_only_where_it_should_get_requests() -> None:
    """Before its first pod is ready a canary has no weight, and nothing is wrong."""

    def remarks(**notes: str) -> list[str]:
        ingresses = [ingress("shop", "stable"), ingress("shop-canary", "canary", canary="true", **notes)]
        return [remark.reason.code for remark in routed([STABLE, CANARY], SLICES[:1], ingresses, HASHES).remarks]

    assert remarks(canary_weight="0") == []
    assert remarks(canary_weight="20") == remarks(canary_by_header="x-canary") == ["CanaryNotReady"]


def test_what_is_missing_is_named() -> None:
    routing = routed([STABLE], SLICES, [ingress("a", "nobody"), ingress("b", "stable", path="/b", port="grpc")], HASHES)
    assert [str(remark.reason) for remark in routing.remarks] == [
        "ServiceMissing: ingress shop/a: service shop/nobody does not exist",
        "PortMissing: ingress shop/b: service shop/stable has no port 'grpc' (it has http=80)",
    ]


def test_an_ingress_that_envoy_would_refuse_is_left_out_alone() -> None:
    bad = {
        "weight": ingress("w", "stable", canary="true", canary_weight="a lot"),
        "total": ingress("t", "stable", canary="true", canary_weight_total="0"),
        "pattern": ingress("p", "stable", canary="true", canary_by_header="x", canary_by_header_pattern="("),
        "look": ingress("l", "stable", path="/(?!api)", use_regex="true"),
        "name": ingress("n", "stable", canary="true", canary_by_header="x y"),
        "path": ingress("q", "stable", path="/a?b"),
    }
    codes = {name: [remark.reason.code for remark in read.read_ingress(obj)[1]] for name, obj in bad.items()}
    assert codes == {"weight": ["AnnotationInvalid"], "total": ["AnnotationInvalid"], "pattern": ["RegexInvalid"],
                     "look": ["RegexInvalid"], "name": ["AnnotationInvalid"], "path": ["PathInvalid"]}
    assert all(read.read_ingress(obj)[0] is None for obj in bad.values())


def test_other_classes_are_left_alone() -> None:
    obj = ingress("a", "stable")
    obj["spec"]["ingressClassName"] = "alb"
    found, remarks = read.read_ingress(obj)
    assert found is None
    assert remarks[0].reason.code == "OtherIngressClass"


def test_protocols_of_ports() -> None:
    def protocol(**port: object) -> str:
        return read.read_service({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 1234, **port}]}}).ports[0].protocol

    assert protocol(name="http") == "http"
    assert protocol(name="http-admin") == "http"
    assert protocol(name="grpc") == "http2"
    assert protocol(name="anything", appProtocol="kubernetes.io/h2c") == "http2"
    assert protocol(name="redis") == "tcp"
    assert protocol(name="https") == "tcp"
    assert protocol() == "tcp"
    assert protocol(port=80) == "http"


def test_headless_services_have_no_listener_but_can_stand_behind_an_ingress() -> None:
    routing = routed([service("stable", address="None")], SLICES[:1], [ingress("shop", "stable")], HASHES)
    assert routing.model.services == ()
    assert backends(routing) == [(Backend("shop|stable|80|aaa", 1),)]
    assert routing.serving[Key("shop", "stable-1")] == ("127.64.0.1", "127.64.0.2")


def test_a_listener_opens_with_the_first_pod_and_stays() -> None:
    def listening(*pods: tuple[str, str, bool], already: Collection[str] = ()) -> list[str]:
        return [found.name for found in routed([STABLE], [slice_of("stable", *pods)], [], HASHES, already).model.services]

    assert listening() == []
    assert listening(("127.64.0.1", "s1", False)) == ["shop|stable|80"]
    assert listening(already={"shop|stable|80"}) == ["shop|stable|80"]


def test_addresses_that_cannot_be_listened_on_are_named() -> None:
    slices = [slice_of(name, ("127.64.0.1", "s1", True)) for name in "abc"]
    routing = routed([service("a", address="10.96.0.1"), service("b"), service("c")], slices, [])
    assert [remark.reason.code for remark in routing.remarks] == ["AddressNotLocal", "AddressInUse"]
    assert [found.service for found in routing.model.services] == ["b"]


def test_ports_come_from_the_slice() -> None:
    slices = [slice_of("stable", ("127.64.0.1", "s1", True))]
    slices[0]["ports"][0]["port"] = 9999
    assert routed([STABLE], slices, []).model.clusters[0].endpoints == (Endpoint("127.64.0.1", 9999),)


def test_privileged_ports_are_moved_for_normal_users() -> None:
    assert listening_port(80, unprivileged_from=1024) == 20080
    assert listening_port(8080, unprivileged_from=1024) == 8080
    assert listening_port(80, unprivileged_from=0) == 80
