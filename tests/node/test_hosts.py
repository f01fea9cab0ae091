"""Names of Services in the files that containers see as /etc/hosts."""

from __future__ import annotations

from fairway.kube.objects import Key, Obj
from fairway.node.hosts import aliases_text, hosts_text, names_of


def service(name: str, address: str, namespace: str = "shop", **spec: object) -> Obj:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"clusterIP": address, **spec}}


def slice_of(name: str, *endpoints: Obj) -> Obj:
    return {"metadata": {"name": f"{name}-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": name}},
            "endpoints": list(endpoints)}


def endpoint(address: str, hostname: str = "", *, ready: bool = True) -> Obj:
    return {"addresses": [address], "conditions": {"ready": ready}, **({"hostname": hostname} if hostname else {})}


def test_short_names_are_those_of_the_own_namespace_and_whole_ones_lead_everywhere() -> None:
    names = names_of([service("db", "127.1.0.1"), service("db", "127.1.0.2", "other"), service("young", "")], [])
    assert hosts_text(names, "shop", "") == (
        "127.1.0.2 db.other.svc.cluster.local db.other.svc db.other\n"
        "127.1.0.1 db.shop.svc.cluster.local db.shop.svc db.shop db\n")


def test_headless_services_lead_to_ready_pods_and_each_pod_has_its_own_name() -> None:
    slices = [slice_of("db", endpoint("127.2.0.1", "db-0"), endpoint("127.2.0.2", "db-1", ready=False))]
    assert names_of([service("db", "None")], slices) == {Key("shop", "db"): [("127.2.0.1", ""), ("127.2.0.1", "db-0.")]}
    every = names_of([service("db", "None", publishNotReadyAddresses=True)], slices)
    assert [address for address, before in every[Key("shop", "db")] if before] == ["127.2.0.1", "127.2.0.2"]
    assert "127.2.0.1 db-0.db.shop.svc.cluster.local db-0.db.shop.svc db-0.db.shop db-0.db\n" in hosts_text(every, "shop", "")


def test_an_external_name_leads_to_a_service_of_the_cluster_and_nowhere_else() -> None:
    alias = service("old", "", type="ExternalName", externalName="db.shop.svc.cluster.local")
    away = service("away", "", type="ExternalName", externalName="db.example.com")
    found = names_of([alias, away, service("db", "127.1.0.1")], [])
    assert found[Key("shop", "old")] == [("127.1.0.1", "")] and Key("shop", "away") not in found


def test_the_machines_own_names_stay_unless_a_service_is_called_so() -> None:
    machine = "127.0.0.1 localhost # here\n127.0.1.1 db laptop\n# 1.2.3.4 nothing\n\n::1 ip6-localhost\n"
    assert hosts_text(names_of([service("db", "127.1.0.1")], []), "shop", machine).splitlines()[1:] == [
        "127.0.0.1 localhost", "127.0.1.1 laptop", "::1 ip6-localhost"]
    assert aliases_text([{"ip": "127.9.9.9", "hostnames": ["a", "b"]}, {"ip": "127.9.9.8"}]) == "127.9.9.9 a b\n"
