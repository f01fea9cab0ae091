"""Which pods the node takes, and what those hear that have to wait."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fairway.kube.api import MergePatch
from fairway.kube.objects import Obj, condition, status_of
from fairway.kube.resources import CORE_EVENTS, NODES
from fairway.node.scheduling import refusal
from tests.node.machine import Machine, shell
from tests.node.test_pods import play

HELPLESS = " preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
CORDONED = {"unschedulable": True, "taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]}
FOR_DB = {"taints": [{"key": "only", "value": "db", "effect": "NoSchedule"}]}
NODE = {"metadata": {"name": "fairway", "labels": {"kubernetes.io/os": "linux", "disk": "ssd", "cores": "8"}}}


def affinity(*expressions: Obj, fields: tuple[Obj, ...] = ()) -> Obj:
    term = {"matchExpressions": list(expressions), "matchFields": list(fields)}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}}


def asks(key: str, operator: str, *values: str) -> Obj:
    return {"key": key, "operator": operator, "values": list(values)}


@pytest.mark.parametrize(("spec", "node", "why"), [
    ({}, {}, ""),
    ({"nodeSelector": {"kubernetes.io/os": "linux", "disk": "ssd"}}, {}, ""),
    ({"nodeSelector": {"disk": "hdd"}}, {}, "node(s) didn't match Pod's node affinity/selector"),
    (affinity(asks("disk", "In", "ssd", "nvme"), asks("gpu", "DoesNotExist"), asks("cores", "Gt", "4")), {}, ""),
    (affinity(asks("disk", "NotIn", "ssd")), {}, "node(s) didn't match Pod's node affinity/selector"),
    (affinity(asks("cores", "Lt", "8")), {}, "node(s) didn't match Pod's node affinity/selector"),
    (affinity(fields=(asks("metadata.name", "In", "fairway"),)), {}, ""),
    (affinity(fields=(asks("metadata.name", "In", "other"),)), {}, "node(s) didn't match Pod's node affinity/selector"),
    (affinity(), {}, "node(s) didn't match Pod's node affinity/selector"),
    ({}, CORDONED, "node(s) were unschedulable"),
    ({"tolerations": [{"operator": "Exists"}]}, CORDONED, ""),
    ({}, FOR_DB, "node(s) had untolerated taint {only: db}"),
    ({"tolerations": [{"key": "only", "value": "db"}]}, FOR_DB, ""),
    ({}, {"taints": [{"key": "only", "value": "db", "effect": "PreferNoSchedule"}]}, ""),
])  # fmt: skip
def test_what_keeps_a_pod_away(spec: Obj, node: Obj, why: str) -> None:
    found = refusal({"spec": spec}, {**NODE, "spec": node})
    assert (found.message if found else "") == (f"0/1 nodes are available: 1 {why}.{HELPLESS}" if why else "")


def test_gates_and_a_missing_node() -> None:
    gated = refusal({"spec": {"schedulingGates": [{"name": "example.com/later"}]}}, NODE)
    assert gated is not None and gated.reason == "SchedulingGated"
    gone = refusal({"spec": {}}, None)
    assert gone is not None and gone.message == "no nodes available to schedule pods"


def test_a_cordoned_node_takes_no_pod_until_it_may(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        async def registered() -> Any:
            return (await m.api.list(NODES)).items

        await m.until(registered, "the node")
        await m.api.patch(NODES, "fairway", "", MergePatch({"spec": {"unschedulable": True}}))
        await m.api.create(shell("waits", "sleep 60", {"terminationGracePeriodSeconds": 0}))
        await m.api.create(shell("other", "sleep 60", {"schedulerName": "mine"}))

        async def refused() -> bool:
            said = condition(await m.pod("waits"), "PodScheduled") or {}
            events = (await m.api.list(CORE_EVENTS, "default", fields="reason=FailedScheduling")).items
            return said.get("reason") == "Unschedulable" and len(events) == 1

        await m.until(refused, "the refusal")
        assert status_of(await m.pod("waits"))["phase"] == "Pending"
        await m.api.patch(NODES, "fairway", "", MergePatch({"spec": {"unschedulable": None}}))
        found = await m.ready("waits")
        assert (condition(found, "PodScheduled") or {})["status"] == "True"
        assert "nodeName" not in (await m.pod("other"))["spec"], "another scheduler's pod"

    play(tmp_path, story)
