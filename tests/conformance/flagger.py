"""Flagger: tables of decisions, and sequences of ticks played against the real controller on the real API.

Fixtures were dumped from Go structs: embedded references stand under the struct's name and Secret data is plain text. Both
are put right here. Whoever reports a workload ready in a sequence is a small stand-in for the Deployment controller.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from fairway.kube.api import JsonPatch, MergePatch
from fairway.kube.cache import Informers
from fairway.kube.clock import Clock, run_virtual
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.errors import NotFound
from fairway.kube.objects import Key, Obj, dig, spec_of, status_of
from fairway.kube.resources import (
    CANARIES,
    CONFIG_MAPS,
    DAEMON_SETS,
    DEPLOYMENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    SECRETS,
    SERVICES,
    VIRTUAL_SERVICES,
)
from fairway.rollouts.fields import SpecError
from fairway.rollouts.flagger.controller import CanaryController
from fairway.rollouts.flagger.spec import decode_canary, verify
from tests.conformance.result import CaseResult

RESOURCES = {"Deployment": DEPLOYMENTS, "DaemonSet": DAEMON_SETS, "Service": SERVICES, "ConfigMap": CONFIG_MAPS,
             "Secret": SECRETS, "HorizontalPodAutoscaler": HORIZONTAL_POD_AUTOSCALERS}
NS, NAME = "default", "podinfo"


def suites(root: Path) -> dict[str, Callable[[], Iterable[CaseResult]]]:
    at = root / "flagger"
    found: dict[str, Callable[[], Iterable[CaseResult]]] = {}
    if (at / "rows").is_dir():
        found["flagger/rows"] = lambda: _rows(at / "rows" / "cases.jsonl")
    if (at / "ticks").is_dir():
        found["flagger/ticks"] = lambda: _sequences(at / "ticks")
    return found


def _rows(path: Path) -> Iterator[CaseResult]:
    for line in path.read_text().splitlines():
        row = json.loads(line)
        try:
            got = _ROWS[row["op"]](row["input"]["canary"])
        except Exception as error:  # a crash, or an unknown question, is this case's failure
            got = {"crash": f"{type(error).__name__}: {error}"}
        yield CaseResult(row["id"], "passed" if got == row["want"] else "failed",
                         "" if got == row["want"] else f"got {got}, want {row['want']}")


def _verified(canary: Obj) -> Obj:
    try:
        return {"error": bool(verify(decode_canary(canary), cross_namespace=False))}
    except SpecError:
        return {"error": True}


def _weights(canary: Obj) -> Obj:
    """Ticks after a change until the promotion."""

    async def story(clock: Clock) -> Obj:
        stage = Stage(clock, "Service")
        await stage.set_up(canary, [])
        for _ in range(2):
            await stage.tick()
        await stage.api.patch(SERVICES, NAME, NS, JsonPatch([
            {"op": "replace", "path": "/spec/selector", "value": {"app": "podinfo-v2"}}]))
        await stage.settle()
        seen: list[int] = []
        for _ in range(200):
            await stage.tick()
            if status_of(await stage.canary()).get("phase") != "Progressing":
                break
            seen.append((await stage.routes())["primary"])
        return {"primary": seen}

    return run_virtual(story)


_ROWS: Mapping[str, Callable[[Obj], Obj]] = {
    "verify-canary": _verified,
    "deployment-strategy": lambda canary: {"value": decode_canary(canary).checks.strategy},
    "primary-weights": _weights,
}


# --- sequences --------------------------------------------------------------------------------------------------------


def _sequences(folder: Path) -> Iterator[CaseResult]:
    for path in sorted(folder.glob("*/sequence.yaml")):
        case = yaml.safe_load(path.read_text())
        try:
            reason = run_virtual(lambda clock, case=case: _play(clock, case))  # type: ignore[misc]
        except Exception as error:  # a crash is this case's failure
            reason = f"{type(error).__name__}: {error}"
        yield CaseResult(case["id"], "failed" if reason else "passed", reason)


async def _play(clock: Clock, case: Obj) -> str:
    kinds = {"deployment": "Deployment", "daemonset": "DaemonSet", "service": "Service"}
    stage = Stage(clock, kinds[case["kind"]])
    await stage.set_up(case["canary"], [event["update"] for event in case["events"] if "update" in event])
    for place, event in enumerate(case["events"]):
        [(what, value)] = event.items()
        reason = await stage.play(what, value)
        if reason:
            return f"event {place + 1}: {reason}"
    return ""


class Always100:
    async def query(self, text: str, at: datetime) -> float:
        return 100.0


async def _agrees(url: str, body: str, **_: Any) -> str:
    return ""


class Stage:
    """The cluster of one sequence."""

    def __init__(self, clock: Clock, kind: str) -> None:
        self.clock, self.kind = clock, kind
        self.api = EmbeddedApi.in_memory(clock)
        self.informers = Informers(self.api)
        self.controller = CanaryController(self.informers, clock, query=lambda address: Always100(), post=_agrees,
                                           provider="istio")
        self.ready: dict[str, bool] = {}

    async def set_up(self, canary: Obj, updates: list[Obj]) -> None:
        """`updates` name everything that has to be there from the beginning, in a version before."""
        own = [u for u in updates if u["kind"] == self.kind and u["name"] == NAME]
        target = _object(own[0]) if own else _target(self.kind)
        _older(target)
        for obj in [target, _hpa(), *_configs(target, updates)]:
            await self.api.create(obj)
        if self.kind != "Service":
            await self.api.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME, "namespace": NS}, "spec": {
                "selector": {"app": NAME}, "ports": [{"name": "http", "port": 9898}]}})
        for kind, name, spec in (("MetricTemplate", "envoy", {"provider": {"type": "prometheus", "address": "http://prom:9090"},
                                                               "query": "sum(envoy_cluster_upstream_rq)"}),
                                 ("AlertProvider", "slack", {"type": "slack", "address": "http://slack.example.com/"})):
            await self.api.create({"apiVersion": "flagger.app/v1beta1", "kind": kind,
                                   "metadata": {"name": name, "namespace": NS}, "spec": spec})
        await self.api.create(_canary(canary))
        await self.informers.synced()
        await self.settle()

    async def play(self, what: str, value: Any) -> str:
        match what:
            case "tick":
                await self.tick()
            case "ready" | "not_ready":
                self.ready[NAME if value == "canary" else f"{NAME}-primary"] = what == "ready"
                await self._report()
            case "update":
                await self._update(value)
            case "canary":
                spec = _canary(value)["spec"]
                await self.api.patch(CANARIES, NAME, NS, JsonPatch([{"op": "replace", "path": "/spec", "value": spec}]))
            case "set_status":
                await self.api.patch(CANARIES, NAME, NS, MergePatch({"status": value}), subresource="status")
            case "set_routes":
                await self._set_routes(value)
            case "expect":
                return await self._expect(value)
            case "expect_object":
                return await self._expect_object(value)
            case "note":
                pass
            case _:
                return f"an event {what!r} is not understood"
        await self.settle()
        return ""

    async def tick(self) -> None:
        key = Key(NS, NAME)
        await self.controller.tick(key, self.clock.now())
        await self._report()
        while self.kind == "DaemonSet" and status_of(await self.canary()).get("phase") == "Initializing":
            await self.controller.tick(key, self.clock.now())  # a DaemonSet without nodes is ready as soon as it is seen
            await self._report()

    async def canary(self) -> Obj:
        return await self.api.get(CANARIES, NAME, NS)

    async def routes(self) -> dict[str, Any]:
        http = spec_of(await self.api.get(VIRTUAL_SERVICES, NAME, NS))["http"]
        for route in http:
            weights = {to["destination"]["host"]: to.get("weight", 0) for to in route["route"]}
            if f"{NAME}-canary" in weights:
                return {"primary": weights.get(f"{NAME}-primary", 0), "canary": weights[f"{NAME}-canary"],
                        "mirrored": "mirror" in route}
        raise AssertionError(f"no route names both sides: {http}")

    async def settle(self) -> None:
        """Caches follow; every event is a moment of its own."""
        await asyncio.sleep(1.0)

    async def _report(self) -> None:
        """What the Deployment and DaemonSet controllers would say: every generation is seen, and it is ready or not."""
        for resource in (DEPLOYMENTS, DAEMON_SETS):
            for obj in (await self.api.list(resource, NS)).items:
                name = obj["metadata"]["name"]
                status: Obj = {"observedGeneration": obj["metadata"]["generation"]}
                if resource == DEPLOYMENTS and name in self.ready:
                    wished = int(spec_of(obj).get("replicas") or 0) if self.ready[name] else 0
                    status |= dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), wished)
                    status["conditions"] = [{"type": "Progressing", "status": str(self.ready[name]),
                                             "reason": "NewReplicaSetAvailable" if self.ready[name] else
                                             "ProgressDeadlineExceeded"}]
                elif resource == DAEMON_SETS:
                    broken = self.ready.get(name) is False
                    status |= {"desiredNumberScheduled": int(broken), "updatedNumberScheduled": int(broken),
                               "currentNumberScheduled": int(broken), "numberMisscheduled": 0, "numberReady": 0,
                               "numberAvailable": 0}
                await self.api.patch(resource, name, NS, MergePatch({"status": status}), subresource="status")
        await self.settle()

    async def _update(self, update: Obj) -> None:
        resource, obj = RESOURCES[update["kind"]], _object(update)
        try:
            there = await self.api.get(resource, update["name"], NS)
        except NotFound:
            await self.api.create(obj)
            return
        parts = ("data", "type") if update["kind"] in ("ConfigMap", "Secret") else ("spec",)
        if "spec" in obj and update["kind"] in ("Deployment", "DaemonSet"):
            obj["spec"] = {**there["spec"], "template": obj["spec"]["template"]}
        if update["kind"] == "Service":
            obj["spec"] = {**{k: v for k, v in there["spec"].items() if k.startswith("clusterIP")}, **obj["spec"]}
        await self.api.patch(resource, update["name"], NS, JsonPatch([
            {"op": "add", "path": f"/{part}", "value": obj[part]} for part in parts if part in obj and part != "type"]))
        await self._report()

    async def _set_routes(self, value: Obj) -> None:
        spec = spec_of(await self.api.get(VIRTUAL_SERVICES, NAME, NS))
        for route in spec["http"][:1]:
            for to in route["route"]:
                host = to["destination"]["host"]
                to["weight"] = value["canary"] if host.endswith("-canary") else value["primary"]
            route.pop("mirror", None)
            if value.get("mirrored"):
                route["mirror"] = {"host": f"{NAME}-canary"}
        await self.api.patch(VIRTUAL_SERVICES, NAME, NS, JsonPatch([{"op": "replace", "path": "/spec", "value": spec}]))

    async def _expect(self, want: Obj) -> str:
        status = status_of(await self.canary())
        names = {"phase": "phase", "canary_weight": "canaryWeight", "failed_checks": "failedChecks", "iterations": "iterations"}
        routes = await self.routes() if {"primary", "canary", "mirrored"} & want.keys() else {}
        for name, value in want.items():
            if name not in names and name not in routes:
                return f"an expectation {name!r} is not understood"
            got = routes[name] if name in routes else status.get(names[name], 0)
            if got != value:
                return f"{name} is {got}, want {value}"
        return ""

    async def _expect_object(self, want: Obj) -> str:
        obj: Any = await self.api.get(RESOURCES[want["kind"]], want["name"], NS)
        for step in want["path"]:
            while isinstance(obj, list):
                obj = obj[0] if obj else None
            obj = dig(obj, step)
        if want["kind"] == "Secret" and isinstance(obj, str) and want["path"][0] == "data":
            obj = base64.b64decode(obj).decode()
        where = f"{want['name']} {'.'.join(map(str, want['path']))}"
        return "" if obj == want["value"] else f"{where} is {obj}, want {want['value']}"


# --- fixtures ---------------------------------------------------------------------------------------------------------


def _canary(obj: Obj) -> Obj:
    made = {"apiVersion": "flagger.app/v1beta1", "kind": "Canary", **copy.deepcopy(obj)}
    made["metadata"].setdefault("namespace", NS)
    made.pop("status", None)
    return made


def _object(update: Obj) -> Obj:
    made = _inlined(copy.deepcopy(update["object"]))
    assert isinstance(made, dict)
    made |= {"apiVersion": "apps/v1" if update["kind"] in ("Deployment", "DaemonSet") else "v1", "kind": update["kind"]}
    if update["kind"] == "Secret":
        made["data"] = {k: base64.b64encode(str(v).encode()).decode() for k, v in (made.get("data") or {}).items()}
        made["type"] = "Opaque"
    return made


def _inlined(value: Any) -> Any:
    """Go's embedded structs as YAML has them: part of what they stand in."""
    if isinstance(value, list):
        return [_inlined(item) for item in value]
    if not isinstance(value, dict):
        return value
    made: Obj = {}
    for name, inner in value.items():
        if name in ("localObjectReference", "volumeSource", "volumeProjection"):
            made |= _inlined(inner)
        else:
            made[name] = _inlined(inner)
    return made


def _older(target: Obj) -> None:
    """The version before: another image, or for a Service another selector."""
    if target["kind"] == "Service":
        target["spec"]["selector"] = {"app": NAME}
    for container in dig(target, "spec", "template", "spec", "containers", default=[]):
        container["image"] = "quay.io/stefanprodan/podinfo:before"


def _target(kind: str) -> Obj:
    if kind == "Service":
        return {"apiVersion": "v1", "kind": kind, "metadata": {"name": NAME, "namespace": NS}, "spec": {
            "selector": {"app": NAME}, "type": "ClusterIP", "ports": [{"name": "http", "port": 9898}]}}
    template = {"metadata": {"labels": {"app": NAME}}, "spec": {"containers": [{"name": NAME, "image": "podinfo:before"}]}}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": NAME, "namespace": NS},
            "spec": {"selector": {"matchLabels": {"app": NAME}}, "template": template}}


def _hpa() -> Obj:
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": NAME, "namespace": NS},
            "spec": {"minReplicas": 1, "maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment",
                                                                         "name": NAME}}}


def _configs(target: Obj, updates: list[Obj]) -> Iterator[Obj]:
    """Every ConfigMap and Secret that the target, or a later update, names."""
    names = {(u["kind"], u["name"]) for u in updates if u["kind"] in ("ConfigMap", "Secret")}
    names |= set(_named(spec_of(target)))
    for kind, name in sorted(names):
        data = {"key": base64.b64encode(b"before").decode() if kind == "Secret" else "before"}
        yield {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": NS}, "data": data}


def _named(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        for item in value:
            yield from _named(item)
    if not isinstance(value, dict):
        return
    for name, inner in value.items():
        if name in ("configMap", "configMapRef", "configMapKeyRef") and isinstance(inner, dict) and inner.get("name"):
            yield "ConfigMap", inner["name"]
        elif name in ("secret", "secretRef", "secretKeyRef") and isinstance(inner, dict):
            found = inner.get("secretName") or inner.get("name")
            if found:
                yield "Secret", found
        else:
            yield from _named(inner)


