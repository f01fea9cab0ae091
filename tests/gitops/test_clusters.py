"""Applications of other clusters: which one is meant, what is done there, and what is not while it cannot be reached."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

from fairway.gitops.clusters import Cluster, UnknownCluster, choose, config_of, decode_cluster
from fairway.gitops.project import Destination, Project
from fairway.kube.api import MergePatch
from fairway.kube.kubeconfig import Connection, ExecPlugin
from fairway.kube.objects import Obj, dig
from fairway.kube.resources import APPLICATION_SETS, APPLICATIONS, CONFIG_MAPS, SECRETS
from tests.gitops.conftest import Play
from tests.gitops.world import URL, RemoteCluster, World

SERVER = "https://east.example.com"
CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: '1'}\n"


def secret(name: str = "east", *, server: str = SERVER, config: Any = None, **data: str) -> Obj:
    config = {"bearerToken": "secret"} if config is None else config
    said = {"name": name, "server": server, "config": json.dumps(config), **data}
    return {"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": f"cluster-{name}", "namespace": "argocd",
                         "labels": {"argocd.argoproj.io/secret-type": "cluster", "region": name}},
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in said.items()}}


async def registered(world: World, name: str = "east", **data: Any) -> RemoteCluster:
    server = data.setdefault("server", SERVER)
    world.elsewhere[server] = made = RemoteCluster(world.clock)
    await world.api.create(secret(name, **data))
    return made


def synced(app: Obj) -> bool:
    return dig(app, "status", "sync", "status") == "Synced" and dig(app, "status", "operationState", "phase") == "Succeeded"


def unknown(app: Obj) -> bool:
    return dig(app, "status", "sync", "status") == "Unknown"


def condition(app: Obj) -> tuple[str, str]:
    found = dig(app, "status", "conditions", default=[])
    return (found[0]["type"], found[0]["message"]) if found else ("", "")


async def there(cluster: RemoteCluster, name: str = "settings") -> list[str]:
    found = (await cluster.api.list(CONFIG_MAPS, "default", fields=f"metadata.name={name}")).items
    return [obj["metadata"]["name"] for obj in found]


# --- which cluster --------------------------------------------------------------------------------------------------------


def test_a_secret_says_how_its_cluster_is_reached() -> None:
    pem = base64.b64encode(b"PEM").decode()
    found = decode_cluster(secret(namespaces="a, b", clusterResources="true", project="team", config={
        "bearerToken": "t", "tlsClientConfig": {"caData": pem, "certData": pem, "keyData": pem, "serverName": "api.east"}}))
    assert found == Cluster("east", SERVER, ("a", "b"), True, "team", Connection(
        SERVER, ca="PEM", token="t", client_certificate="PEM", client_key="PEM", server_name="api.east"), "", "cluster-east")
    plugin = decode_cluster(secret(config={"execProviderConfig": {"command": "aws", "args": ["eks"], "env": {"A": "b"}}}))
    assert plugin.connection is not None
    assert plugin.connection.exec == ExecPlugin("aws", ("eks",), (("A", "b"),))


@pytest.mark.parametrize("connection", [
    Connection(SERVER, token="t", ca="PEM"), Connection(SERVER, username="ann", password="pw", insecure=True),
    Connection(SERVER, client_certificate="C", client_key="K", server_name="x", exec=ExecPlugin("aws", ("a",), (("B", "c"),))),
])
def test_what_is_written_is_read_again(connection: Connection) -> None:
    assert decode_cluster(secret(config=config_of(connection))).connection == connection


@pytest.mark.parametrize(("data", "said"), [
    ({"server": ""}, "data.server is missing"),
    ({"config": {"awsAuthConfig": {"clusterName": "x"}}}, "data.config.awsAuthConfig is not supported; use execProviderConfig"),
    ({"config": {"tlsClientConfig": {"caData": "%"}}}, "data.config.tlsClientConfig.caData is not base64 of a PEM"),
    ({"config": {"tlsClientConfig": {"caData": "UEVN", "insecure": True}}}, "insecure and caData exclude each other"),
    ({"config": {"execProviderConfig": {"args": []}}}, "data.config.execProviderConfig.command is missing"),
    ({"config": ["x"]}, "data.config is not a JSON object"),
])
def test_a_secret_that_cannot_be_used_says_where(data: dict[str, Any], said: str) -> None:
    found = decode_cluster(secret(**data))
    assert said in found.mistake
    if found.server:
        with pytest.raises(UnknownCluster, match="cannot be used"):
            choose(found.server, "", [found])


@pytest.mark.parametrize(("server", "name", "expected"), [
    ("https://kubernetes.default.svc", "", "in-cluster"), ("", "in-cluster", "in-cluster"), ("", "", "in-cluster"),
    (SERVER + "/", "", "east"), ("", "east", "east"),
    ("", "nowhere", "there are no clusters with this name: nowhere"),
    ("https://nowhere", "", 'cluster "https://nowhere" not found'),
    ("", "twin", "there are 2 clusters with the same name: [https://a https://b]"),
    (SERVER, "east", "application destination can't have both name and server defined"),
])
def test_a_destination_means_one_cluster(server: str, name: str, expected: str) -> None:
    known = [decode_cluster(secret()), Cluster("twin", "https://a"), Cluster("twin", "https://b")]
    try:
        assert choose(server, name, known).name == expected
    except UnknownCluster as error:
        assert expected in str(error)


def test_our_own_cluster_may_have_a_secret_or_be_closed() -> None:
    ours = decode_cluster(secret("hub", server="https://kubernetes.default.svc", config={}, namespaces="shop"))
    assert choose("", "hub", [ours]).is_here
    assert choose("", "in-cluster", [ours]).namespaces == ("shop",)
    with pytest.raises(UnknownCluster, match="disabled"):
        choose("", "", [], here=False)


K = "https://kubernetes.default.svc"


@pytest.mark.parametrize(("rules", "server", "name", "namespace", "permitted"), [
    ([("!" + K, "", "default")], K, "", "default", False),
    ([(K, "", "!default")], K, "", "kube-system", True),
    ([("!https://my-cluster", "", "default")], K, "", "default", True),
    ([("!https://*.default.svc", "", "default")], K, "", "default", False),
    ([(K, "", "!test-*")], K, "", "test-foo", False),
    ([(K, "", "!test-*")], K, "", "test", True),
    ([("", "!test", "*")], "", "test", "test", False),
    ([("", "!test2", "*")], "", "test", "test", True),
    ([("*", "", "*"), ("*", "", "!kube-system")], K, "", "kube-system", False),
    ([("*", "", "*"), ("!" + K, "", "kube-system"), ("*", "", "!kube-system")], K, "", "default", False),
    ([("*", "", "*"), ("!" + K, "", "kube-system"), ("*", "", "!kube-system")], "https://other", "", "kube-system", False),
    ([("", "east", "*")], SERVER, "east", "shop", True),
    ([("", "west", "*")], SERVER, "east", "shop", False),
])
def test_a_project_permits_clusters(rules: list[tuple[str, str, str]], server: str, name: str, namespace: str,
                                    permitted: bool) -> None:
    project = Project("team", destinations=tuple(Destination(*rule) for rule in rules))
    assert project.permits_destination(server, name, namespace) is permitted


# --- delivering -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("destination", [{"name": "east"}, {"server": SERVER}])
def test_an_application_is_delivered_to_its_cluster_and_drift_there_is_healed(perform: Play, destination: Obj) -> None:
    async def story(world: World) -> None:
        east = await registered(world)
        world.push(prod__all=CONFIG_MAP)
        await world.create_app(destination={**destination, "namespace": "default"})
        await world.until(synced)
        assert await there(east) == ["settings"]
        assert await world.get(CONFIG_MAPS, "settings") is None
        await east.api.patch(CONFIG_MAPS, "settings", "default", MergePatch({"data": {"a": "by hand"}}))
        await world.until(lambda o: len(dig(o, "status", "operationState", "operation", "sync", "resources", default=[])) == 1
                          and synced(o))
        assert dig(await east.api.get(CONFIG_MAPS, "settings", "default"), "data") == {"a": "1"}
        world.push("remove", prod__all=None, prod__other=CONFIG_MAP.replace("settings", "other"))
        await world.until(lambda o: [r["name"] for r in dig(o, "status", "resources", default=[])] == ["other"] and synced(o))
        assert await there(east) == []

    perform(story)


def test_a_cluster_that_is_away_is_unknown_and_nothing_is_deleted(perform: Play) -> None:
    async def story(world: World) -> None:
        east = await registered(world)
        world.push(prod__all=CONFIG_MAP)
        await world.create_app(destination={"name": "east", "namespace": "default"},
                               metadata={"finalizers": ["resources-finalizer.argocd.argoproj.io"]})
        await world.create_app("here")
        await world.until(synced)
        east.away = True
        found = await world.until(unknown, within=40)
        assert condition(found)[0] == "ComparisonError"
        assert condition(found)[1].startswith(f"cluster east at {SERVER} cannot be reached: ")
        assert dig(found, "status", "health", "status") == "Unknown"
        assert [r["status"] for r in found["status"]["resources"]] == ["Unknown"]
        world.push("remove", prod__all=CONFIG_MAP.replace("settings", "other"))
        await world.until(lambda o: o["status"]["sync"]["revision"] == world.repo.resolve("main"), name="here")
        east.away = False
        await world.until(lambda o: [r["name"] for r in dig(o, "status", "resources", default=[])] == ["other"] and synced(o),
                          within=60)
        east.away = True
        await world.until(unknown, within=40)
        await world.api.delete(APPLICATIONS, "shop", "argocd")
        held = await world.until(lambda o: condition(o)[0] == "DeletionError", within=60)
        assert condition(held)[1].startswith("nothing is deleted: cluster east")
        east.away = False
        for _ in range(1200):
            if await world.get(APPLICATIONS, "shop", "argocd") is None:
                break
            await asyncio.sleep(0.1)
        assert await world.get(APPLICATIONS, "shop", "argocd") is None
        assert await there(east, "other") == []

    perform(story)


def test_clusters_come_go_and_change_their_credentials_while_we_run(perform: Play) -> None:
    async def story(world: World) -> None:
        world.push(prod__all=CONFIG_MAP)
        await world.create_app(destination={"name": "east", "namespace": "default"},
                               metadata={"finalizers": ["resources-finalizer.argocd.argoproj.io"]})
        found = await world.until(unknown)
        assert condition(found) == ("InvalidSpecError", "there are no clusters with this name: east")
        east = await registered(world)
        await world.until(synced)
        east.token = "rotated"
        await world.until(lambda o: "Unauthorized" in condition(o)[1], within=40)
        renewed = secret(config={"bearerToken": "rotated"})["data"]
        await world.edit(SECRETS, "cluster-east", {"data": renewed}, namespace="argocd")
        await world.until(lambda o: synced(o) and not condition(o)[0], within=40)
        assert [connection.token for connection in east.connections] == ["secret", "rotated"]
        await world.api.delete(SECRETS, "cluster-east", "argocd")
        await world.until(lambda o: condition(o)[0] == "InvalidSpecError")
        assert await there(east) == ["settings"]
        await world.api.delete(APPLICATIONS, "shop", "argocd")
        for _ in range(100):
            if await world.get(APPLICATIONS, "shop", "argocd") is None:
                break
            await asyncio.sleep(0.1)
        assert await there(east) == ["settings"], "a cluster that is not known any more keeps what it has"

    perform(story)


def test_a_cluster_of_some_namespaces_takes_nothing_else(perform: Play) -> None:
    async def story(world: World) -> None:
        east = await registered(world, namespaces="default,kube-public")
        role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: r}\nrules: []\n"
        world.push(prod__all=CONFIG_MAP + "---\n" + CONFIG_MAP.replace("{name: settings}", "{name: x, namespace: kube-system}")
                   + "---\n" + role)
        await world.create_app(destination={"name": "east", "namespace": "default"}, automated=False)
        found = await world.until(lambda o: dig(o, "status", "resources"))
        assert {r["name"]: r["status"] for r in found["status"]["resources"]} == {
            "settings": "OutOfSync", "x": "Unknown", "r": "Unknown"}
        await world.edit_app({"operation": {"sync": {}}})
        failed = await world.until(lambda o: dig(o, "status", "operationState", "phase") == "Failed")
        assert 'cluster level ClusterRole "r" can not be managed when in namespaced mode' in failed["status"][
            "operationState"]["message"]
        world.push("smaller", prod__all=CONFIG_MAP)
        await world.until(lambda o: len(dig(o, "status", "resources", default=[])) == 1)
        await world.edit_app({"operation": {"sync": {}}})
        await world.until(synced)
        assert await there(east) == ["settings"]

    perform(story)


def test_the_cluster_generator_delivers_to_the_clusters_that_it_finds(perform: Play) -> None:
    async def story(world: World) -> None:
        east = await registered(world)
        west = await registered(world, "west", server="https://west.example.com")
        world.push(prod__all=CONFIG_MAP)
        await world.api.create({
            "apiVersion": "argoproj.io/v1alpha1", "kind": APPLICATION_SETS.kind,
            "metadata": {"name": "fleet", "namespace": "argocd"},
            "spec": {"goTemplate": True, "generators": [{"clusters": {"selector": {"matchExpressions": [
                {"key": "region", "operator": "In", "values": ["east", "west"]}]}}}], "template": {
                    "metadata": {"name": "shop-{{.name}}"}, "spec": {
                        "project": "default", "source": {"repoURL": URL, "path": "prod", "targetRevision": "main"},
                        "destination": {"server": "{{.server}}", "namespace": "default"},
                        "syncPolicy": {"automated": {}}}}},
        })
        for name in ("shop-east", "shop-west"):
            await world.until_app_phase(name, "Succeeded")
        assert await there(east) == await there(west) == ["settings"]
        assert await world.get(CONFIG_MAPS, "settings") is None

    perform(story)


def test_a_kind_that_comes_with_its_definition_has_its_scope_at_once(perform: Play) -> None:
    async def story(world: World) -> None:
        east = await registered(world)
        schema = "{openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}"
        world.push(prod__all=(
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets.example.com}\n"
            "spec:\n"
            "  group: example.com\n  scope: Cluster\n  names: {kind: Widget, plural: widgets}\n"
            f"  versions: [{{name: v1, served: true, storage: true, schema: {schema}}}]\n---\n"
            "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: blue}\n"))
        await world.create_app(destination={"name": "east", "namespace": "default"})
        found = await world.until(synced)
        assert [(r["kind"], r["namespace"]) for r in found["status"]["resources"]] == [
            ("CustomResourceDefinition", ""), ("Widget", "")]
        await world.until(lambda o: dig(o, "status", "health", "status") == "Healthy")
        widget = east.api.resources.of_group_kind("example.com", "Widget")
        assert widget is not None
        assert len((await east.api.list(widget)).items) == 1
        assert len(dig(await world.app(), "status", "history", default=[])) == 1, "one sync was enough"

    perform(story)


def test_who_does_not_lead_writes_nothing_to_other_clusters(perform: Play) -> None:
    async def story(world: World) -> None:
        east = await registered(world)
        world.push(prod__all=CONFIG_MAP)
        await world.create_app(destination={"name": "east", "namespace": "default"})
        await world.until(synced)
        world.late = True
        world.push("change", prod__all=CONFIG_MAP.replace("'1'", "'2'"))
        await asyncio.sleep(60)
        assert dig(await east.api.get(CONFIG_MAPS, "settings", "default"), "data") == {"a": "1"}
        world.late = False
        await world.settled(world.repo.resolve("main"))
        assert dig(await east.api.get(CONFIG_MAPS, "settings", "default"), "data") == {"a": "2"}

    perform(story)


def test_windows_and_exclusions_name_clusters(perform: Play) -> None:
    async def story(world: World) -> None:
        east = await registered(world)
        await world.api.create({"apiVersion": "v1", "kind": "ConfigMap",
                                "metadata": {"name": "argocd-cm", "namespace": "argocd"},
                                "data": {"resource.exclusions": f"[{{kinds: [Secret], clusters: ['{SERVER}']}}]"}})
        await world.api.create({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": {"name": "default", "namespace": "argocd"},
            "spec": {"sourceRepos": ["*"], "destinations": [{"name": "*", "namespace": "*"}], "syncWindows": [
                {"kind": "deny", "schedule": "* * * * *", "duration": "1h", "clusters": ["east"], "manualSync": True}]}})
        world.push(prod__all=CONFIG_MAP + "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\n")
        await world.create_app("here")
        await world.create_app(destination={"name": "east", "namespace": "default"})
        found = await world.until(synced, name="here")
        assert [r["name"] for r in found["status"]["resources"]] == ["settings", "s"]
        held = await world.until(lambda o: dig(o, "status", "reasons"))
        assert held["status"]["reasons"][0]["type"] == "SyncWindow"
        assert condition(held)[0] == "ExcludedResourceWarning"
        await world.edit_app({"operation": {"sync": {}}})
        await world.until(synced)
        assert await there(east) == ["settings"]
        assert (await east.api.list(SECRETS, "default")).items == []

    perform(story)


def test_a_kind_that_may_not_be_listed_is_looked_up(perform: Play) -> None:
    async def story(world: World) -> None:
        east = await registered(world)
        east.forbidden = {"secrets"}
        secret_text = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: b}\n"
        world.push(prod__all=CONFIG_MAP + "---\n" + secret_text)
        await world.create_app(destination={"name": "east", "namespace": "default"})
        await world.until(synced)
        assert (await east.api.get(SECRETS, "s", "default"))["data"] == {"a": "Yg=="}
        await east.api.patch(CONFIG_MAPS, "settings", "default", MergePatch({"data": {"a": "by hand"}}))
        await world.until(lambda o: dig(o, "status", "operationState", "operation", "sync", "resources") and synced(o))
        assert dig(await east.api.get(CONFIG_MAPS, "settings", "default"), "data") == {"a": "1"}

    perform(story)
