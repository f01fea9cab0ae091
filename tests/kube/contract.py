"""What every `Api` does, told as small stories. Each takes a fresh world and the name of a namespace of its own.

`CASES` is run against the embedded API in memory and over SQLite, and against an API over HTTP: whoever implements the port
runs it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from fairway.kube.api import (
    Api,
    ApplyPatch,
    DeleteOptions,
    JsonPatch,
    MergePatch,
    StrategicPatch,
    WatchEvent,
    WriteOptions,
    apply,
    patch_status,
)
from fairway.kube.errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    UnsupportedMediaType,
)
from fairway.kube.objects import Obj
from fairway.kube.resources import (
    ANALYSIS_RUNS,
    APPLICATIONS,
    CONFIG_MAPS,
    CRDS,
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    PIPELINE_RUNS,
    PODS,
    ROLLOUTS,
    SECRETS,
    SERVICES,
)

Case = Callable[[Api, str], Awaitable[None]]
ALONE: set[Case] = set()
DEADLINE_S = 10.0


def config(ns: str, name: str, /, labels: dict[str, str] | None = None, **data: str) -> Obj:
    meta: dict[str, Any] = {"name": name, "namespace": ns}
    if labels:
        meta["labels"] = labels
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def pod(ns: str, name: str, **spec: Any) -> Obj:
    containers = [{"name": "app", "image": "shop:1"}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": ns},
            "spec": {"containers": containers, **spec}}


def deployment(ns: str, name: str, **spec: Any) -> Obj:
    labels = {"app": name}
    container = {"name": "app", "image": "shop:1", "ports": [{"containerPort": 80}], "env": [{"name": "A", "value": "1"}]}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": ns, "labels": labels},
            "spec": {"selector": {"matchLabels": labels},
                     "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}, **spec}}


async def next_events(stream: AsyncIterator[WatchEvent], count: int) -> list[tuple[str, str]]:
    """(type, name) of the next events, bookmarks left out."""
    found: list[tuple[str, str]] = []
    while len(found) < count:
        event = await asyncio.wait_for(anext(stream), DEADLINE_S)
        if event.type != "BOOKMARK":
            found.append((event.type, event.object["metadata"]["name"]))
    return found


def alone(case: Case) -> Case:
    """A story in which nobody else may write: no controllers, no node."""
    ALONE.add(case)
    return case


# --- create, read, replace --------------------------------------------------------------------------------------------


async def a_created_object_carries_what_only_the_api_may_say(api: Api, ns: str) -> None:
    made = await api.create(config(ns, "a", k="v"))
    meta = made["metadata"]
    assert meta["uid"] and meta["resourceVersion"] and meta["creationTimestamp"].endswith("Z")
    assert made["data"] == {"k": "v"}
    assert await api.get(CONFIG_MAPS, "a", ns) == made


async def what_goes_in_is_never_changed(api: Api, ns: str) -> None:
    sent = deployment(ns, "web")
    before = repr(sent)
    await api.create(sent)
    assert repr(sent) == before


async def what_comes_out_may_be_changed(api: Api, ns: str) -> None:
    await api.create(config(ns, "a", k="v"))
    got = await api.get(CONFIG_MAPS, "a", ns)
    got["data"]["k"] = "spoiled"
    assert (await api.get(CONFIG_MAPS, "a", ns))["data"]["k"] == "v"


async def a_name_is_taken_once(api: Api, ns: str) -> None:
    await api.create(config(ns, "a"))
    with pytest.raises(AlreadyExists, match='configmaps "a" already exists'):
        await api.create(config(ns, "a"))


async def what_is_missing_is_said_in_the_words_of_kubernetes(api: Api, ns: str) -> None:
    with pytest.raises(NotFound, match=r'deployments\.apps "web" not found') as caught:
        await api.get(DEPLOYMENTS, "web", ns)
    assert caught.value.details == {"name": "web", "group": "apps", "kind": "deployments"}


async def generated_names_differ(api: Api, ns: str) -> None:
    nameless = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "job-", "namespace": ns}}
    names = {(await api.create(nameless))["metadata"]["name"] for _ in range(20)}
    assert len(names) == 20
    assert all(name.startswith("job-") and len(name) == 9 for name in names)


async def replace_without_version_wins_and_with_an_old_one_loses(api: Api, ns: str) -> None:
    first = await api.create(config(ns, "a", k="1"))
    second = await api.replace(config(ns, "a", k="2"))
    assert second["metadata"]["uid"] == first["metadata"]["uid"]
    assert int(second["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    with pytest.raises(Conflict, match="the object has been modified"):
        await api.replace(first)


async def writing_what_is_there_changes_nothing(api: Api, ns: str) -> None:
    first = await api.create(config(ns, "a", k="1"))
    again = await api.patch(CONFIG_MAPS, "a", ns, MergePatch({"data": {"k": "1"}}))
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def a_dry_run_leaves_no_trace(api: Api, ns: str) -> None:
    shown = await api.create(deployment(ns, "web"), WriteOptions(dry_run=True))
    assert shown["spec"]["replicas"] == 1
    with pytest.raises(NotFound):
        await api.get(DEPLOYMENTS, "web", ns)


async def a_namespace_must_exist(api: Api, ns: str) -> None:
    with pytest.raises(NotFound, match='namespaces "nowhere" not found'):
        await api.create(config("nowhere", "a"))


# --- list ---------------------------------------------------------------------------------------------------------------


@alone
async def lists_select_by_labels_and_fields(api: Api, ns: str) -> None:
    for name, tier in (("a", "front"), ("b", "back"), ("c", "back")):
        await api.create(config(ns, name, {"tier": tier}))

    async def names(**chosen: str) -> list[str]:
        return [o["metadata"]["name"] for o in (await api.list(CONFIG_MAPS, ns, **chosen)).items]

    assert await names() == ["a", "b", "c"]
    assert await names(labels="tier=back") == ["b", "c"]
    assert await names(labels="tier in (front, other)") == ["a"]
    assert await names(labels="tier!=back") == ["a"]
    assert await names(labels="!tier") == []
    assert await names(fields="metadata.name=b") == ["b"]
    with pytest.raises(BadRequest):
        await names(fields="data.k=v")
    with pytest.raises(BadRequest):
        await names(labels="tier in")


@alone
async def pods_are_found_by_node_and_phase(api: Api, ns: str) -> None:
    await api.create(pod(ns, "here", nodeName="fairway"))
    await api.create(pod(ns, "waiting"))
    found = await api.list(PODS, ns, fields="spec.nodeName=fairway")
    assert [o["metadata"]["name"] for o in found.items] == ["here"]
    assert len((await api.list(PODS, ns, fields="status.phase=Pending")).items) == 2


@alone
async def a_long_list_comes_in_pages(api: Api, ns: str) -> None:
    for number in range(5):
        await api.create(config(ns, f"c{number}"))
    names: list[str] = []
    token = ""
    for expected in (2, 2, 1):
        page = await api.list(CONFIG_MAPS, ns, limit=2, continue_token=token)
        assert len(page.items) == expected
        names += [o["metadata"]["name"] for o in page.items]
        token = page.continue_token
    assert names == ["c0", "c1", "c2", "c3", "c4"]
    assert token == ""


# --- watch --------------------------------------------------------------------------------------------------------------


@alone
async def a_watch_begins_where_the_list_ended(api: Api, ns: str) -> None:
    await api.create(config(ns, "before"))
    listed = await api.list(CONFIG_MAPS, ns)
    await api.create(config(ns, "a"))
    stream = api.watch(CONFIG_MAPS, ns, resource_version=listed.resource_version)
    await api.patch(CONFIG_MAPS, "a", ns, MergePatch({"data": {"k": "v"}}))
    await api.delete(CONFIG_MAPS, "a", ns)
    assert await next_events(stream, 3) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


@alone
async def a_watch_without_version_shows_what_is_there_first(api: Api, ns: str) -> None:
    await api.create(config(ns, "a"))
    await api.create(config(ns, "b"))
    stream = api.watch(CONFIG_MAPS, ns)
    assert await next_events(stream, 2) == [("ADDED", "a"), ("ADDED", "b")]
    await api.create(config(ns, "c"))
    assert await next_events(stream, 1) == [("ADDED", "c")]


async def leaving_a_selection_is_a_deletion_for_its_watcher(api: Api, ns: str) -> None:
    listed = await api.list(CONFIG_MAPS, ns)
    stream = api.watch(CONFIG_MAPS, ns, labels="tier=front", resource_version=listed.resource_version)
    await api.create(config(ns, "other", {"tier": "back"}))
    await api.create(config(ns, "a", {"tier": "front"}))
    await api.patch(CONFIG_MAPS, "a", ns, MergePatch({"metadata": {"labels": {"tier": "back"}}}))
    await api.patch(CONFIG_MAPS, "a", ns, MergePatch({"metadata": {"labels": {"tier": "front"}}}))
    assert await next_events(stream, 1) == [("ADDED", "a")]
    left = await asyncio.wait_for(anext(stream), DEADLINE_S)
    assert left.type == "DELETED"
    assert left.object["metadata"]["labels"] == {"tier": "front"}  # as it was last seen
    assert await next_events(stream, 1) == [("ADDED", "a")]


@alone
async def initial_events_end_with_a_bookmark(api: Api, ns: str) -> None:
    await api.create(config(ns, "a"))
    stream = api.watch(CONFIG_MAPS, ns, initial_events=True, bookmarks=True)
    first = await asyncio.wait_for(anext(stream), DEADLINE_S)
    end = await asyncio.wait_for(anext(stream), DEADLINE_S)
    assert (first.type, end.type) == ("ADDED", "BOOKMARK")
    assert end.object["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


# --- patches ------------------------------------------------------------------------------------------------------------


async def a_json_patch_tests_before_it_writes(api: Api, ns: str) -> None:
    await api.create(config(ns, "a", k="1"))
    with pytest.raises(Invalid):
        await api.patch(CONFIG_MAPS, "a", ns, JsonPatch([{"op": "test", "path": "/data/k", "value": "2"},
                                                         {"op": "replace", "path": "/data/k", "value": "3"}]))
    done = await api.patch(CONFIG_MAPS, "a", ns, JsonPatch([{"op": "add", "path": "/data/new", "value": "x"}]))
    assert done["data"] == {"k": "1", "new": "x"}


async def a_merge_patch_removes_by_null_and_locks_by_version(api: Api, ns: str) -> None:
    made = await api.create(config(ns, "a", k="1", gone="x"))
    done = await api.patch(CONFIG_MAPS, "a", ns, MergePatch({"data": {"gone": None, "new": "y"}}))
    assert done["data"] == {"k": "1", "new": "y"}
    stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"k": "2"}}
    with pytest.raises(Conflict):
        await api.patch(CONFIG_MAPS, "a", ns, MergePatch(stale))


async def a_strategic_patch_merges_containers_by_name(api: Api, ns: str) -> None:
    await api.create(deployment(ns, "web"))
    extra = [{"name": "app", "image": "shop:2"}, {"name": "side", "image": "proxy:1"}]
    done = await api.patch(DEPLOYMENTS, "web", ns, StrategicPatch({"spec": {"template": {"spec": {"containers": extra}}}}))
    containers = {c["name"]: c for c in done["spec"]["template"]["spec"]["containers"]}
    assert containers["app"]["image"] == "shop:2"
    assert containers["app"]["env"] == [{"name": "A", "value": "1"}]
    assert containers["side"]["image"] == "proxy:1"


async def custom_kinds_know_no_strategic_patch(api: Api, ns: str) -> None:
    await api.create(_rollout(ns))
    with pytest.raises(UnsupportedMediaType):
        await api.patch(ROLLOUTS, "web", ns, StrategicPatch({"spec": {"replicas": 2}}))


# --- server-side apply ----------------------------------------------------------------------------------------------------


@alone
async def apply_owns_exactly_what_it_says(api: Api, ns: str) -> None:
    made = await apply(api, deployment(ns, "web", replicas=2), manager="one")
    [entry] = made["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"]) == ("one", "Apply")
    assert entry["fieldsV1"]["f:spec"]["f:replicas"] == {}
    assert "f:strategy" not in entry["fieldsV1"]["f:spec"]
    assert made["spec"]["strategy"]["type"] == "RollingUpdate"
    again = await apply(api, deployment(ns, "web", replicas=2), manager="one")
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


@alone
async def a_field_of_another_manager_is_a_conflict(api: Api, ns: str) -> None:
    await apply(api, deployment(ns, "web", replicas=2), manager="one")
    with pytest.raises(Conflict, match=r'conflict with "one": \.spec\.replicas') as caught:
        await apply(api, deployment(ns, "web", replicas=5), manager="two", force=False)
    assert caught.value.details["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".spec.replicas"}]
    forced = await apply(api, deployment(ns, "web", replicas=5), manager="two")
    assert forced["spec"]["replicas"] == 5
    owners = {entry["manager"]: entry["fieldsV1"]["f:spec"] for entry in forced["metadata"]["managedFields"]}
    assert "f:replicas" in owners["two"]
    assert "f:replicas" not in owners["one"]


async def what_an_applier_no_longer_says_goes_unless_others_want_it(api: Api, ns: str) -> None:
    await apply(api, config(ns, "a", mine="1", ours="2"), manager="one")
    await apply(api, config(ns, "a", ours="2"), manager="two")
    done = await apply(api, config(ns, "a", other="3"), manager="one")
    assert done["data"] == {"ours": "2", "other": "3"}


async def apply_merges_ports_by_number_and_protocol(api: Api, ns: str) -> None:
    def service(*ports: Obj) -> Obj:
        return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": ns},
                "spec": {"selector": {"a": "b"}, "ports": list(ports)}}

    await apply(api, service({"port": 80, "name": "http"}), manager="one")
    done = await apply(api, service({"port": 81, "name": "admin"}), manager="two")
    assert [port["port"] for port in done["spec"]["ports"]] == [80, 81]
    done = await apply(api, service(), manager="two")
    assert [port["port"] for port in done["spec"]["ports"]] == [80]


async def plain_writes_are_owned_too(api: Api, ns: str) -> None:
    await apply(api, config(ns, "a", k="1"), manager="one")
    done = await api.patch(CONFIG_MAPS, "a", ns, MergePatch({"data": {"k": "2"}}), WriteOptions(manager="hand"))
    assert {entry["manager"] for entry in done["metadata"]["managedFields"]} == {"hand"}
    with pytest.raises(Conflict, match=r'conflict with "hand" using v1: \.data\.k'):
        await apply(api, config(ns, "a", k="1"), manager="one", force=False)


async def a_dry_run_apply_shows_the_difference(api: Api, ns: str) -> None:
    await apply(api, deployment(ns, "web", replicas=2), manager="argocd-controller")
    shown = await apply(api, deployment(ns, "web", replicas=3), manager="argocd-controller", dry_run=True)
    live = await api.get(DEPLOYMENTS, "web", ns)
    assert (shown["spec"]["replicas"], live["spec"]["replicas"]) == (3, 2)


async def apply_creates_custom_objects_and_knows_their_lists(api: Api, ns: str) -> None:
    def run(*args: Obj) -> Obj:
        return {"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun", "metadata": {"name": "r", "namespace": ns},
                "spec": {"metrics": [{"name": "m", "provider": {"prometheus": {"query": "up"}}}], "args": list(args)}}

    await apply(api, run({"name": "a", "value": "1"}), manager="one")
    done = await apply(api, run({"name": "b", "value": "2"}), manager="two")
    assert [arg["name"] for arg in done["spec"]["args"]] == ["a", "b"]
    assert (await api.get(ANALYSIS_RUNS, "r", ns))["spec"]["metrics"][0]["provider"]["prometheus"] == {"query": "up"}


@alone
async def an_exported_status_is_nobodys_to_apply(api: Api, ns: str) -> None:
    exported = deployment(ns, "web")
    exported["status"] = {"replicas": 7}
    made = await apply(api, exported, manager="one")
    assert made["status"] == {}
    assert "f:status" not in made["metadata"]["managedFields"][0]["fieldsV1"]
    exported["spec"]["replicas"] = 9
    done = await api.patch(DEPLOYMENTS, "web", ns, ApplyPatch(exported), WriteOptions(manager="two"), subresource="status")
    assert (done["status"], done["spec"]["replicas"]) == ({"replicas": 7}, 1)
    owner = next(entry for entry in done["metadata"]["managedFields"] if entry["manager"] == "two")
    assert (owner["subresource"], owner["fieldsV1"]) == ("status", {"f:status": {"f:replicas": {}}})


async def apply_refuses_a_body_that_cannot_be_one(api: Api, ns: str) -> None:
    body = config(ns, "a")
    body["metadata"]["managedFields"] = []
    with pytest.raises(BadRequest, match=r"metadata\.managedFields must be nil"):
        await api.patch(CONFIG_MAPS, "a", ns, ApplyPatch(body), WriteOptions(manager="one"))


# --- status, scale, generation --------------------------------------------------------------------------------------------


@alone
async def status_and_spec_are_written_through_different_doors(api: Api, ns: str) -> None:
    made = await api.create(deployment(ns, "web", replicas=2))
    done = await api.patch(DEPLOYMENTS, "web", ns, MergePatch({"status": {"replicas": 1}, "spec": {"replicas": 9}}),
                           subresource="status")
    assert (done["spec"]["replicas"], done["status"]["replicas"]) == (2, 1)
    assert done["metadata"]["generation"] == made["metadata"]["generation"] == 1
    done = await api.patch(DEPLOYMENTS, "web", ns, MergePatch({"status": {"replicas": 7}, "spec": {"replicas": 3}}))
    assert (done["spec"]["replicas"], done["status"]["replicas"]) == (3, 1)
    assert done["metadata"]["generation"] == 2


@alone
async def status_of_our_own_kinds(api: Api, ns: str) -> None:
    run = {"apiVersion": "fairway.dev/v1alpha1", "kind": "PipelineRun", "metadata": {"name": "r", "namespace": ns},
           "spec": {"repository": "shop/app", "workflow": "ci.yml"}}
    made = await api.create(run)
    done = await patch_status(api, PIPELINE_RUNS, made, {"phase": "Running", "message": "x"})
    assert done["status"] == {"phase": "Running", "message": "x"}
    done = await patch_status(api, PIPELINE_RUNS, made, {"phase": "Succeeded", "message": None})
    assert done["status"] == {"phase": "Succeeded"}
    with pytest.raises(Invalid, match=r'status\.phase: Unsupported value: "Odd"'):
        await patch_status(api, PIPELINE_RUNS, made, {"phase": "Odd"})


@alone
async def a_kind_without_status_door_keeps_its_status_in_the_object(api: Api, ns: str) -> None:
    application = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": "shop", "namespace": ns},
                   "spec": {"project": "default", "destination": {"namespace": ns},
                            "source": {"repoURL": "https://git.example.com/shop.git", "path": "prod",
                                       "kustomize": {"images": ["a=b"]}}}}
    await api.create(application)
    done = await api.patch(APPLICATIONS, "shop", ns, MergePatch({"status": {"sync": {"status": "Synced"}}}))
    assert done["status"] == {"sync": {"status": "Synced"}}
    assert done["spec"]["source"]["kustomize"] == {"images": ["a=b"]}


async def scale_is_one_shape_for_every_kind(api: Api, ns: str) -> None:
    await api.create(deployment(ns, "web", replicas=2))
    shown = await api.patch(DEPLOYMENTS, "web", ns, MergePatch({"spec": {"replicas": 5}}), subresource="scale")
    assert (shown["kind"], shown["spec"]["replicas"]) == ("Scale", 5)
    assert (await api.get(DEPLOYMENTS, "web", ns))["spec"]["replicas"] == 5
    await api.create(_rollout(ns))
    await api.patch(ROLLOUTS, "web", ns, MergePatch({"spec": {"replicas": 4}}), subresource="scale")
    assert (await api.get(ROLLOUTS, "web", ns))["spec"]["replicas"] == 4


def _rollout(ns: str) -> Obj:
    template = deployment(ns, "web")["spec"]["template"]
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "web", "namespace": ns},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template,
                     "strategy": {"canary": {"steps": [{"setWeight": 5}, {"pause": {}}, {"setWeight": 50}]}}}}


async def users_specifications_are_kept_whole(api: Api, ns: str) -> None:
    sent = _rollout(ns)
    sent["spec"]["strategy"]["canary"]["trafficRouting"] = {"nginx": {"stableIngress": "web", "additional": {"x": [1, 2]}}}
    made = await api.create(sent)
    assert made["spec"] == sent["spec"]


# --- deletion -------------------------------------------------------------------------------------------------------------


async def a_finalizer_holds_a_deleted_object(api: Api, ns: str) -> None:
    held = config(ns, "a")
    held["metadata"]["finalizers"] = ["example.com/wait"]
    await api.create(held)
    answer = await api.delete(CONFIG_MAPS, "a", ns)
    assert answer["metadata"]["deletionTimestamp"]
    with pytest.raises(Invalid, match="no new finalizers can be added"):
        await api.patch(CONFIG_MAPS, "a", ns, MergePatch({"metadata": {"finalizers": ["example.com/wait", "x.y/z"]}}))
    await api.patch(CONFIG_MAPS, "a", ns, MergePatch({"metadata": {"finalizers": None}}))
    with pytest.raises(NotFound):
        await api.get(CONFIG_MAPS, "a", ns)


async def propagation_is_written_down_as_a_finalizer(api: Api, ns: str) -> None:
    await api.create(deployment(ns, "web"))
    answer = await api.delete(DEPLOYMENTS, "web", ns, DeleteOptions(propagation="Foreground"))
    assert answer["metadata"]["finalizers"] == ["foregroundDeletion"]
    await api.create(deployment(ns, "other"))
    answer = await api.delete(DEPLOYMENTS, "other", ns, DeleteOptions(propagation="Orphan"))
    assert answer["metadata"]["finalizers"] == ["orphan"]


async def preconditions_guard_a_delete(api: Api, ns: str) -> None:
    await api.create(config(ns, "a"))
    with pytest.raises(Conflict, match="the UID in the precondition"):
        await api.delete(CONFIG_MAPS, "a", ns, DeleteOptions(uid="another"))
    await api.get(CONFIG_MAPS, "a", ns)


@alone
async def a_pod_on_a_node_is_given_time(api: Api, ns: str) -> None:
    await api.create(pod(ns, "waiting"))
    await api.delete(PODS, "waiting", ns)
    with pytest.raises(NotFound):
        await api.get(PODS, "waiting", ns)
    await api.create(pod(ns, "running", nodeName="fairway", terminationGracePeriodSeconds=7))
    await api.delete(PODS, "running", ns)
    meta = (await api.get(PODS, "running", ns))["metadata"]
    assert meta["deletionGracePeriodSeconds"] == 7
    await api.delete(PODS, "running", ns, DeleteOptions(grace_period_s=0))
    with pytest.raises(NotFound):
        await api.get(PODS, "running", ns)


@alone
async def a_terminating_namespace_takes_nothing_new(api: Api, ns: str) -> None:
    await api.delete(NAMESPACES, ns)
    assert (await api.get(NAMESPACES, ns))["status"]["phase"] == "Terminating"
    with pytest.raises(Forbidden, match="because it is being terminated"):
        await api.create(config(ns, "a"))
    empty = await api.get(NAMESPACES, ns)
    empty["spec"]["finalizers"] = []
    await api.replace(empty, subresource="finalize")
    with pytest.raises(NotFound):
        await api.get(NAMESPACES, ns)


# --- admission ------------------------------------------------------------------------------------------------------------


async def defaults_are_filled_in(api: Api, ns: str) -> None:
    made = await api.create(deployment(ns, "web"))
    spec = made["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}
    container = spec["template"]["spec"]["containers"][0]
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["ports"] == [{"containerPort": 80, "protocol": "TCP"}]


async def a_job_gets_its_selector_from_its_uid(api: Api, ns: str) -> None:
    template = {"spec": {"containers": [{"name": "c", "image": "x"}], "restartPolicy": "Never"}}
    made = await api.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": ns},
                             "spec": {"template": template}})
    label = "batch.kubernetes.io/controller-uid"
    assert made["spec"]["selector"] == {"matchLabels": {label: made["metadata"]["uid"]}}
    assert made["spec"]["template"]["metadata"]["labels"]["job-name"] == "j"
    with pytest.raises(Invalid, match="field is immutable"):
        await api.patch(JOBS, "j", ns, StrategicPatch(
            {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "y"}]}}}}))


async def secrets_are_stored_encoded_and_service_addresses_are_kept(api: Api, ns: str) -> None:
    made = await api.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": ns},
                             "stringData": {"a": "b"}})
    assert made["data"] == {"a": "Yg=="}
    assert "stringData" not in await api.get(SECRETS, "s", ns)
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": ns},
               "spec": {"ports": [{"port": 80}]}}
    made = await api.create(service)
    assert "targetPort" in made["spec"]["ports"][0]
    assert made["spec"]["clusterIPs"] == [made["spec"]["clusterIP"]]
    kept = await api.replace(service)
    assert kept["spec"]["clusterIP"] == made["spec"]["clusterIP"]
    with pytest.raises(Invalid, match=r"spec\.clusterIPs\[0\]: .* may not change once set"):
        await api.patch(SERVICES, "s", ns, MergePatch({"spec": {"clusterIP": "127.1.0.7"}}))


async def refusals_name_every_field(api: Api, ns: str) -> None:
    wrong = deployment(ns, "web", replicas=-1)
    wrong["spec"]["template"]["spec"]["containers"][0]["name"] = "Bad_"
    wrong["spec"]["selector"] = {"matchLabels": {"q": "z"}}
    with pytest.raises(Invalid) as caught:
        await api.create(wrong)
    assert [cause["field"] for cause in caught.value.details["causes"]] == [
        "spec.replicas", "spec.template.metadata.labels", "spec.template.spec.containers[0].name"]
    assert "`selector` does not match template `labels`" in caught.value.message


async def unknown_fields_are_warned_of_or_refused(api: Api, ns: str) -> None:
    odd = deployment(ns, "web", bogus=1)
    options = WriteOptions()
    made = await api.create(odd, options)
    assert options.warnings == ['unknown field "spec.bogus"']
    assert "bogus" not in made["spec"]
    with pytest.raises(BadRequest, match=r'strict decoding error: unknown field "spec\.bogus"'):
        await api.create(odd, WriteOptions(validation="Strict"))


async def wrong_types_are_refused(api: Api, ns: str) -> None:
    with pytest.raises(BadRequest, match=r"cannot unmarshal string into Go struct field DeploymentSpec\.spec\.replicas"):
        await api.create(deployment(ns, "web", replicas="three"))


# --- custom kinds of users --------------------------------------------------------------------------------------------------


async def a_definition_makes_a_kind(api: Api, ns: str) -> None:
    spec = {"type": "object", "required": ["color"], "properties": {
        "color": {"type": "string", "enum": ["red", "blue"]}, "size": {"type": "integer", "default": 3, "maximum": 9}}}
    await api.create({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "gizmos.gold.io"},
        "spec": {"group": "gold.io", "scope": "Namespaced", "names": {"plural": "gizmos", "kind": "Gizmo"}, "versions": [
            {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}},
             "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}}]}})
    gizmo = {"apiVersion": "gold.io/v1", "kind": "Gizmo", "metadata": {"name": "g", "namespace": ns},
             "spec": {"color": "red", "unknown": 1}}
    made = await api.create(gizmo)
    assert made["spec"] == {"color": "red", "size": 3}
    gizmo["metadata"]["name"], gizmo["spec"]["color"] = "h", "green"
    with pytest.raises(Invalid, match=r'spec\.color: Unsupported value: "green": supported values: "red", "blue"'):
        await api.create(gizmo)
    resource = api.resources.of(made)
    await api.delete(CRDS, "gizmos.gold.io")
    with pytest.raises(ApiError) as caught:
        await api.get(resource, "g", ns)
    assert caught.value.code == 404


CASES: tuple[Case, ...] = tuple(
    value for name, value in list(globals().items())
    if asyncio.iscoroutinefunction(value) and value.__module__ == __name__ and name not in ("next_events", "apply")
)
