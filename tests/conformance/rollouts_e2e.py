"""Argo Rollouts' end-to-end scenarios, in virtual time, on the embedded API with the real controllers.

Pods are simulated: ready at once, or after their start hook and initial delay; those with readiness gates wait for
MarkPodsReady, a Job's pod ends as its `sleep N && exit M` says, and an image that does not exist is never pulled. The two web
pages that analyses of upstream's cluster ask are answered here. A verb that is not known fails its scenario; steps marked
`custom` have no data to check and are passed over.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from fairway.kube.api import DeleteOptions, MergePatch
from fairway.kube.cache import Informers
from fairway.kube.clock import Clock, run_virtual
from fairway.kube.durations import parse_duration
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.errors import AlreadyExists, ApiError, NotFound
from fairway.kube.objects import Obj, annotations_of, copy_of, dig, is_deleting, rfc3339, status_of
from fairway.kube.reconcile import Controller, ControllerLoop
from fairway.kube.resources import (
    ANALYSIS_RUNS,
    CORE_EVENTS,
    DEPLOYMENTS,
    EXPERIMENTS,
    PODS,
    REPLICA_SETS,
    ROLLOUTS,
    SERVICES,
    Resource,
)
from fairway.rollouts import commands
from fairway.rollouts.analysis_controller import AnalysisRunController
from fairway.rollouts.controller import RolloutController
from fairway.rollouts.experiment_controller import ExperimentController
from fairway.rollouts.job import JobProvider
from fairway.rollouts.keys import HASH_LABEL, REVISION, SCALE_DOWN_DEADLINE
from fairway.rollouts.tree import phase_shown
from fairway.rollouts.web import WebProvider
from fairway.workloads.controllers import workload_controllers
from tests.conformance.result import CaseResult

NS = "default"
PLUGINS = "step plugins are Go programs that upstream talks to by RPC; Fairway refuses them by name"
UNTOLD = "a step changes something that only Go code describes, and what follows expects the change"
PLAYED = frozenset({"WaitForExperimentCondition", "ExpectRollout"})
"""Verbs whose Go part is said well enough by its description."""
PATIENCE = timedelta(seconds=90)


def suites(root: Path) -> dict[str, Callable[[], Iterable[CaseResult]]]:
    folder = root / "rollouts" / "e2e"
    return {"rollouts/e2e": lambda: _scenarios(folder)} if folder.is_dir() else {}


def _scenarios(folder: Path) -> Iterator[CaseResult]:
    for path in sorted(folder.glob("*/scenario.yaml")):
        scenario = yaml.safe_load(path.read_text())
        untold = [step for step in scenario["steps"] if step.get("custom") and "do" in step and step["do"] not in PLAYED]
        if scenario["suite"] == "step_plugin" or untold:
            yield CaseResult(scenario["id"], "skipped", PLUGINS if not untold else UNTOLD)
            continue
        try:
            run_virtual(lambda clock, scenario=scenario: _play(clock, scenario), limit=timedelta(hours=4))  # type: ignore[misc]
        except (Broken, ApiError, commands.Refused) as error:
            yield CaseResult(scenario["id"], "failed", str(error)[:300])
        except Exception as error:  # a crash is this case's failure
            yield CaseResult(scenario["id"], "failed", f"{type(error).__name__}: {error}"[:300])
        else:
            yield CaseResult(scenario["id"], "passed", "")


class Broken(Exception):
    """An expectation that does not hold, or a verb that is not known."""


async def _play(clock: Clock, scenario: Obj) -> None:
    api = EmbeddedApi.in_memory(clock)
    informers = Informers(api)
    controllers: list[Controller] = [
        *workload_controllers(informers, clock), RolloutController(informers, verify_weights=False),
        ExperimentController(informers),
        AnalysisRunController(informers, clock, {"job": JobProvider(informers.api, clock), "web": Pages(clock)}),
    ]
    work: list[Awaitable[None]] = [ControllerLoop(c, informers, clock).run() for c in controllers]
    tasks = [asyncio.ensure_future(task) for task in (*work, _pods(clock, api))]
    try:
        stage = Stage(clock, api, scenario)
        tasks.append(asyncio.ensure_future(stage.hear()))
        for obj in scenario.get("setup") or ():
            await stage.create(obj)
        for number, step in enumerate(scenario["steps"]):
            verb = step.get("do") or step["expect"]
            if step.get("custom") and verb not in PLAYED:
                continue
            play = getattr(stage, f"v_{verb}", None)
            if play is None:
                raise Broken(f"step {number}: {verb} is not known")
            try:
                await play(*step.get("args", ()))
            except Broken as error:
                raise Broken(f"step {number} {verb}: {error}") from None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await informers.close()


class Pages(WebProvider):
    """The web provider, with pages in place of a network."""

    async def _answer(self, at: Mapping[str, Any], method: str, body: Any) -> Any:
        url = str(at.get("url", ""))
        if url.endswith("/version"):
            return {"major": "1", "minor": "36"}
        if "dns.google" in url:
            return {"Status": 0}
        if url.endswith("/example.json"):
            return {"message": "It worked!"}
        raise ValueError(f"no such page: {url}")


async def _pods(clock: Clock, api: EmbeddedApi) -> None:
    """The node: pods run at once; Job pods end by themselves."""
    async for event in api.watch(PODS, NS):
        pod, name = event.object, event.object["metadata"]["name"]
        if event.type == "MODIFIED" and is_deleting(pod):
            with contextlib.suppress(NotFound):
                await api.delete(PODS, name, NS, DeleteOptions(grace_period_s=0))
        if event.type != "ADDED":
            continue
        container = dig(pod, "spec", "containers", 0, default={})
        if any(word in str(container.get("image")) for word in ("nonexistent", "-argo-error")):
            waits = {"name": container["name"], "ready": False, "state": {"waiting": {"reason": "ErrImagePull"}}}
            await _say(api, name, {"phase": "Pending", "containerStatuses": [waits]})
            continue
        if dig(pod, "spec", "restartPolicy") in ("Never", "OnFailure"):
            said = " ".join(container.get("args") or ())
            slept, code = re.search(r"sleep (\d+)", said), re.search(r"exit (\d+)", said)
            asyncio.get_running_loop().create_task(
                _end(clock, api, name, int(slept[1]) if slept else 0, int(code[1]) if code else 0))
        elif dig(pod, "spec", "readinessGates") or "bad" in " ".join(container.get("command") or ()):
            await mark(clock, api, name, ready=False)
        else:
            asyncio.get_running_loop().create_task(_start(clock, api, name, container))


async def _start(clock: Clock, api: EmbeddedApi, name: str, container: Obj) -> None:
    """Ready after its start hook and its probe's initial delay."""
    hook = dig(container, "lifecycle", "postStart", "exec", "command", default=[])
    waits = int(hook[1]) if hook[:1] == ["sleep"] else 1
    await asyncio.sleep(waits + dig(container, "readinessProbe", "initialDelaySeconds", default=0))
    await mark(clock, api, name, ready=True)


async def _say(api: EmbeddedApi, name: str, status: Obj) -> None:
    with contextlib.suppress(NotFound):
        await api.patch(PODS, name, NS, MergePatch({"status": status}), subresource="status")


async def mark(clock: Clock, api: EmbeddedApi, name: str, *, ready: bool) -> None:
    at, answer = rfc3339(clock.now()), "True" if ready else "False"
    rows = [{"type": kind, "status": answer, "lastTransitionTime": at} for kind in ("ContainersReady", "Ready")]
    await _say(api, name, {"phase": "Running", "conditions": rows})


async def _end(clock: Clock, api: EmbeddedApi, name: str, seconds: int, code: int) -> None:
    await asyncio.sleep(seconds + 0.5)
    await _say(api, name, {"phase": "Failed" if code else "Succeeded"})


def _name_of(obj: Obj) -> str:
    return f"{obj['kind']}/{obj['metadata']['name']}"


def _parts(manifests: list[Obj], times: int) -> list[list[Obj]]:
    """A scenario that applies its manifests several times applies as many parts, one after the other."""
    if times < 2 or len(manifests) % times:
        return [manifests, *([[]] * (times - 1))]
    size = len(manifests) // times
    return [manifests[i * size:(i + 1) * size] for i in range(times)]


def _by_name(present: list[Obj], changed: list[Obj]) -> list[Obj]:
    found = {container["name"]: dict(container) for container in present}
    for container in changed:
        merged = {**found.get(container["name"], {}), **container}
        found[container["name"]] = {key: value for key, value in merged.items() if value is not None}
    return list(found.values())


class Stage:
    """One verb of the scenarios per method `v_…`."""

    def __init__(self, clock: Clock, api: EmbeddedApi, scenario: Obj) -> None:
        self.clock, self.api = clock, api
        self.name = next((m["metadata"]["name"] for m in scenario["manifests"] if m["kind"] == "Rollout"), "")
        times = sum(1 for step in scenario["steps"] if step.get("do") == "ApplyManifests" and not step.get("args"))
        self.parts = _parts(scenario["manifests"], times)
        self.seen: set[str] = set()
        self.said: list[str] = []

    async def create(self, obj: Obj) -> None:
        obj = copy_of(obj)
        if self.api.resources.of(obj).namespaced:
            obj["metadata"].setdefault("namespace", NS)
        await self.api.create(obj)

    async def rollout(self) -> Obj:
        return await self.api.get(ROLLOUTS, self.name, NS)

    async def until(self, holds: Callable[[], Awaitable[bool]], what: str, timeout: str = "") -> None:
        end = self.clock.now() + (parse_duration(timeout) if timeout else PATIENCE)
        while not await holds():
            if self.clock.now() >= end:
                raise Broken(f"{what} not reached: {phase_shown(await self.rollout())}")
            await asyncio.sleep(0.1)

    async def change(self, patches: commands.Patches) -> None:
        for body, sub in ((patches.spec, ""), (patches.status, "status")):
            if body is not None:
                await self.api.patch(ROLLOUTS, self.name, NS, MergePatch(body), subresource=sub)  # type: ignore[arg-type]

    async def sets(self) -> list[Obj]:
        uid = (await self.rollout())["metadata"]["uid"]
        listed = (await self.api.list(REPLICA_SETS, NS)).items
        return [rs for rs in listed if any(ref["uid"] == uid for ref in rs["metadata"].get("ownerReferences", ()))]

    async def of_revision(self, revision: str) -> Obj:
        found = [rs for rs in await self.sets() if annotations_of(rs).get(REVISION) == str(revision)]
        if not found:
            raise Broken(f"no ReplicaSet of revision {revision}")
        return found[0]

    async def pods(self, revision: str) -> list[Obj]:
        pod_hash = (await self.of_revision(revision))["metadata"]["labels"][HASH_LABEL]
        listed = (await self.api.list(PODS, NS, labels=f"{HASH_LABEL}={pod_hash}")).items
        return [pod for pod in listed if not is_deleting(pod)]

    # --- doing ----------------------------------------------------------------------------------------------------

    async def v_ApplyManifests(self, given: Any = None, *_: str) -> None:
        if given is not None:
            for obj in given:
                await self.apply(obj)
            await asyncio.sleep(0.1)
            return
        part = self.parts.pop(0) if self.parts else []
        if any(_name_of(obj) in self.seen for obj in part):  # the same scenario once more, from the start
            for obj in part:
                with contextlib.suppress(NotFound):
                    await self.api.delete(self.api.resources.of(obj), obj["metadata"]["name"], NS)
            await asyncio.sleep(5)
        for obj in part:
            self.seen.add(_name_of(obj))
            with contextlib.suppress(AlreadyExists):
                await self.create(obj)
        await asyncio.sleep(0.1)

    async def apply(self, obj: Obj) -> None:
        """What is there takes over the fields that are given, as `kubectl apply` does."""
        resource = self.api.resources.of(obj)
        try:
            present = await self.api.get(resource, obj["metadata"]["name"], NS)
        except NotFound:
            await self.create(obj)
            return
        patch = copy_of(obj)
        for group in ("workloadRef",):  # fields that the new manifest no longer has
            if obj["kind"] == "Rollout" and group in present["spec"] and group not in obj["spec"]:
                patch["spec"][group] = None
        for kind, other in (("canary", "blueGreen"), ("blueGreen", "canary")):
            if kind in dig(obj, "spec", "strategy", default={}) and other in dig(present, "spec", "strategy", default={}):
                patch["spec"]["strategy"][other] = None
        await self.api.patch(resource, obj["metadata"]["name"], NS, MergePatch(patch))

    async def v_UpdateSpec(self, body: Any = None) -> None:
        stamp = {"spec": {"template": {"metadata": {"annotations": {"update": rfc3339(self.clock.now())}}}}}
        await asyncio.sleep(1)
        patch = copy_of(yaml.safe_load(body) if isinstance(body, str) else body or stamp)
        changed = dig(patch, "spec", "template", "spec", "containers")
        if changed and not all("image" in container for container in changed):  # parts of containers: merged by name
            present = dig(await self.rollout(), "spec", "template", "spec", "containers", default=[])
            patch["spec"]["template"]["spec"]["containers"] = _by_name(present, changed)
        await self.change(commands.Patches(patch))

    v_PatchSpec = v_UpdateSpec

    async def v_UpdateVersion(self, version: str) -> None:
        await self.v_UpdateSpec({"spec": {"template": {"metadata": {"annotations": {"version": str(version)}}}}})

    async def v_PromoteRollout(self) -> None:
        await self.change(commands.promote(await self.rollout()))

    async def v_PromoteRolloutFull(self) -> None:
        await self.change(commands.promote(await self.rollout(), full=True))

    async def v_AbortRollout(self) -> None:
        await self.change(commands.abort(await self.rollout()))

    async def v_RetryRollout(self) -> None:
        await self.change(commands.retry(await self.rollout()))

    async def v_RestartRollout(self) -> None:
        await self.change(commands.restart(await self.rollout(), self.clock.now()))

    async def v_UndoRollout(self, revision: int = 0) -> None:
        await self.change(commands.undo(await self.rollout(), await self.sets(), int(revision)))

    async def v_ScaleRollout(self, replicas: int) -> None:
        await self.change(commands.Patches({"spec": {"replicas": replicas}}))

    async def v_Sleep(self, length: Any) -> None:
        await asyncio.sleep(parse_duration(length).total_seconds() if isinstance(length, str) else length)

    async def v_MarkPodsReady(self, revision: str, count: int) -> None:
        await asyncio.sleep(2)
        waiting = [pod for pod in await self.pods(revision)
                   if not any(c["type"] == "Ready" and c["status"] == "True" for c in status_of(pod).get("conditions", ()))]
        if len(waiting) < count:
            raise Broken(f"{len(waiting)} pods wait, wanted {count}")
        for pod in waiting[:count]:
            await mark(self.clock, self.api, pod["metadata"]["name"], ready=True)

    # --- waiting and expecting ------------------------------------------------------------------------------------

    async def v_WaitForRolloutStatus(self, phase: str, timeout: str = "") -> None:
        async def holds() -> bool:
            return phase_shown(await self.rollout())[0] == phase

        await self.until(holds, phase, timeout)

    v_WatchRolloutStatus = v_WaitForRolloutStatus

    async def _wait_field(self, name: str, value: Any, timeout: str = "") -> None:
        async def holds() -> bool:
            return bool(status_of(await self.rollout()).get(name, 0 if isinstance(value, int) else "") == value)

        await self.until(holds, f"{name} {value}", timeout)

    async def v_WaitForRolloutCanaryStepIndex(self, index: int, timeout: str = "") -> None:
        await self._wait_field("currentStepIndex", index, timeout)

    async def v_WaitForRolloutReplicas(self, count: int, timeout: str = "") -> None:
        await self._wait_field("replicas", count, timeout)

    async def v_WaitForRolloutAvailableReplicas(self, count: int, timeout: str = "") -> None:
        await self._wait_field("availableReplicas", count, timeout)

    async def v_WaitForRolloutMessage(self, message: str, timeout: str = "") -> None:
        await self._wait_field("message", message, timeout)

    async def v_WaitForRevisionPodCount(self, revision: str, count: int, timeout: str = "") -> None:
        async def holds() -> bool:
            return len(await self.pods(revision)) == count

        await self.until(holds, f"{count} pods of revision {revision}", timeout)

    async def _run_phase(self, kind: str) -> str:
        """Of the newest run of this kind for the wished-for template."""
        pod_hash = status_of(await self.rollout()).get("currentPodHash", "")
        listed = (await self.api.list(ANALYSIS_RUNS, NS, labels=f"rollout-type={kind},{HASH_LABEL}={pod_hash}")).items
        newest = max(listed, key=lambda run: (run["metadata"]["creationTimestamp"], run["metadata"]["name"]), default={})
        return str(dig(newest, "status", "phase", default=""))

    async def v_WaitForInlineAnalysisRunPhase(self, phase: str, timeout: str = "") -> None:
        async def holds() -> bool:
            return await self._run_phase("Step") == phase

        await self.until(holds, f"inline run {phase}", timeout)

    async def v_WaitForBackgroundAnalysisRunPhase(self, phase: str, timeout: str = "") -> None:
        async def holds() -> bool:
            return await self._run_phase("Background") == phase

        await self.until(holds, f"background run {phase}", timeout)

    def _equal(self, got: Any, want: Any) -> None:
        if got != want:
            raise Broken(f"got {got!r}, wanted {want!r}")

    async def v_ExpectInlineAnalysisRunPhase(self, phase: str) -> None:
        self._equal(await self._run_phase("Step"), phase)

    async def v_ExpectBackgroundAnalysisRunPhase(self, phase: str) -> None:
        self._equal(await self._run_phase("Background"), phase)

    async def v_ExpectRolloutStatus(self, phase: str) -> None:
        self._equal(phase_shown(await self.rollout())[0], phase)

    async def v_ExpectRolloutMessage(self, message: str) -> None:
        self._equal(phase_shown(await self.rollout())[1], message)

    async def v_ExpectAnalysisRunCount(self, count: int) -> None:
        self._equal(len((await self.api.list(ANALYSIS_RUNS, NS)).items), count)

    async def v_ExpectRevisionPodCount(self, revision: str, count: int) -> None:
        self._equal(len(await self.pods(revision)), count)

    async def v_ExpectCanaryStablePodCount(self, canary: int, stable: int) -> None:
        status = status_of(await self.rollout())
        by_hash = {rs["metadata"]["labels"][HASH_LABEL]: status_of(rs).get("replicas", 0) for rs in await self.sets()}
        self._equal((by_hash.get(status["currentPodHash"], 0), by_hash.get(status["stableRS"], 0)), (canary, stable))

    async def v_ExpectReplicaCounts(self, *wanted: Any) -> None:
        found, status = await self.rollout(), status_of(await self.rollout())
        have = [dig(found, "spec", "replicas", default=1), *(status.get(name, 0) for name in (
            "replicas", "updatedReplicas", "readyReplicas", "availableReplicas"))]
        self._equal([h for h, w in zip(have, wanted, strict=True) if w != "*"], [w for w in wanted if w != "*"])

    async def v_ExpectStableRevision(self, revision: str) -> None:
        stable = status_of(await self.rollout())["stableRS"]
        self._equal((await self.of_revision(revision))["metadata"]["labels"][HASH_LABEL], stable)

    async def v_ExpectRevisionScaleDown(self, revision: str, expected: bool) -> None:
        self._equal(SCALE_DOWN_DEADLINE in annotations_of(await self.of_revision(revision)), expected)

    async def v_ExpectServiceSelector(self, name: str, selector: Obj, hashed: bool) -> None:
        """Hashes are not upstream's: which labels are selected is compared, and all values but the hash."""
        found = dict(dig(await self.api.get(SERVICES, name, NS), "spec", "selector", default={}))
        wanted = dict(selector)
        if HASH_LABEL in found and (hashed or HASH_LABEL in wanted):
            wanted[HASH_LABEL] = found[HASH_LABEL]
        elif hashed:
            raise Broken(f"{name} selects no pod template hash")
        self._equal(found, wanted)

    # --- blue-green, workloadRef, experiments ---------------------------------------------------------------------------

    async def v_ScaleRolloutWithWorkloadRef(self, replicas: int) -> None:
        await self.v_ScaleRollout(replicas)

    async def v_UpdateWorkloadRef(self, name: str) -> None:
        await asyncio.sleep(1)
        stamp = {"spec": {"template": {"metadata": {"annotations": {"update": rfc3339(self.clock.now())}}}}}
        await self.api.patch(DEPLOYMENTS, name, NS, MergePatch(stamp))
        await asyncio.sleep(0.1)

    async def v_Wait(self, length: str) -> None:
        await self.v_Sleep(length)

    async def _selects_revision(self, service: str, revision: str) -> bool:
        name = dig(await self.rollout(), "spec", "strategy", "blueGreen", service, default="")
        selector = dig(await self.api.get(SERVICES, name, NS), "spec", "selector", default={})
        sets = [rs for rs in await self.sets() if annotations_of(rs).get(REVISION) == str(revision)]
        return any(rs["metadata"]["labels"][HASH_LABEL] == selector.get(HASH_LABEL) for rs in sets)

    async def v_ExpectActiveRevision(self, revision: str) -> None:
        self._equal(await self._selects_revision("activeService", revision), True)

    async def v_ExpectPreviewRevision(self, revision: str) -> None:
        self._equal(await self._selects_revision("previewService", revision), True)

    async def v_WaitForActiveRevision(self, revision: str, timeout: str = "") -> None:
        async def holds() -> bool:
            return await self._selects_revision("activeService", revision)

        await self.until(holds, f"active revision {revision}", timeout)

    async def v_ExpectDeploymentReplicasCount(self, _: str, name: str, count: int) -> None:
        self._equal(dig(await self.api.get(DEPLOYMENTS, name, NS), "spec", "replicas"), count)

    async def _experiments(self) -> list[Obj]:
        uid = (await self.rollout())["metadata"]["uid"]
        listed = (await self.api.list(EXPERIMENTS, NS)).items
        return [e for e in listed if any(ref["uid"] == uid for ref in e["metadata"].get("ownerReferences", ()))]

    async def v_ExpectExperimentCount(self, count: int) -> None:
        self._equal(len(await self._experiments()), count)

    async def v_ExpectExperimentByRevisionPhase(self, revision: str, phase: str) -> None:
        found = [e for e in await self._experiments() if annotations_of(e).get(REVISION) == str(revision)]
        self._equal([dig(e, "status", "phase") for e in found], [phase])

    async def v_WaitForExperimentPhase(self, name: str, phase: str, timeout: str = "") -> None:
        async def holds() -> bool:
            return bool(dig(await self.api.get(EXPERIMENTS, name, NS), "status", "phase") == phase)

        await self.until(holds, f"experiment {phase}", timeout)

    async def v_WaitForExperimentCondition(self, name: str, what: str, *_: Any) -> None:
        """ "number-of-rs-pods-meet": every ReplicaSet has as many available pods as it asks for; after its end, none."""

        async def holds() -> bool:
            over = dig(await self.api.get(EXPERIMENTS, name, NS), "status", "phase") == "Successful"
            return all(status_of(rs).get("availableReplicas", 0) == (0 if over else dig(rs, "spec", "replicas"))
                       for rs in await self._owned_by_experiment(REPLICA_SETS, name))

        await self.until(holds, what)
        await asyncio.sleep(1)

    async def _owned_by_experiment(self, resource: Resource, name: str) -> list[Obj]:
        uid = (await self.api.get(EXPERIMENTS, name, NS))["metadata"]["uid"]
        return [obj for obj in (await self.api.list(resource, NS)).items
                if any(ref["uid"] == uid for ref in obj["metadata"].get("ownerReferences", ()))]

    async def v_ExpectExperimentTemplateReplicaSetNumReplicas(self, name: str, template: str, count: int) -> None:
        sets = [rs for rs in await self._owned_by_experiment(REPLICA_SETS, name)
                if rs["metadata"]["name"] == f"{name}-{template}"]
        self._equal([status_of(rs).get("replicas", 0) for rs in sets], [count])

    async def v_ExpectExperimentServiceCount(self, name: str, count: int) -> None:
        self._equal(len(await self._owned_by_experiment(SERVICES, name)), count)

    async def v_ExpectExperimentDryRunSummary(self, count: int, failed: int, successful: int, name: str) -> None:
        run = (await self._owned_by_experiment(ANALYSIS_RUNS, name))[0]
        found = dig(run, "status", "dryRunSummary", default={})
        self._equal([found.get(key, 0) for key in ("count", "failed", "successful")], [count, failed, successful])

    async def v_ExpectExperimentMeasurementsLength(self, index: int, count: int, name: str) -> None:
        run = (await self._owned_by_experiment(ANALYSIS_RUNS, name))[0]
        self._equal(len(dig(run, "status", "metricResults", index, "measurements", default=[])), count)

    async def hear(self) -> None:
        """Everything that is said about the Rollout, each time that it is said."""
        async for event in self.api.watch(CORE_EVENTS, NS):
            if event.object["involvedObject"].get("name") == self.name and event.type != "DELETED":
                self.said.append(event.object["reason"])

    async def v_ExpectRolloutEvents(self, wanted: list[str]) -> None:
        self._equal(self.said, wanted)

    async def v_ExpectRollout(self, what: str, *_: str) -> None:
        """`Condition=Value` is waited for, as kubectl does; every other description is passed over."""
        kind, _, answer = what.partition("=")
        if not answer or not kind.isalpha():
            return

        async def holds() -> bool:
            status = status_of(await self.rollout())
            if kind == "Abort":
                return bool(status.get("abort")) == (answer == "True")
            return any(c["type"] == kind and c["status"] == answer for c in status.get("conditions", ()))

        await self.until(holds, what)

    # --- verbs of upstream's that need no more than the ones above -----------------------------------------------------

    async def v_PauseRollout(self) -> None:
        await self.change(commands.pause(await self.rollout()))

    async def v_DeleteRollout(self) -> None:
        await self.api.delete(ROLLOUTS, self.name, NS)
        await asyncio.sleep(1)

    async def v_ExpectRolloutReplicas(self, count: int) -> None:
        self._equal(status_of(await self.rollout()).get("replicas", 0), count)

    async def _wait_run(self, kind: str, phase: str, timeout: str) -> None:
        async def holds() -> bool:
            return await self._run_phase(kind) == phase

        await self.until(holds, f"{kind} run {phase}", timeout)

    async def v_WaitForPrePromotionAnalysisRunPhase(self, phase: str, timeout: str = "") -> None:
        await self._wait_run("PrePromotion", phase, timeout)

    async def v_WaitForPostPromotionAnalysisRunPhase(self, phase: str, timeout: str = "") -> None:
        await self._wait_run("PostPromotion", phase, timeout)

    async def v_ExpectPrePromotionAnalysisRunPhase(self, phase: str) -> None:
        self._equal(await self._run_phase("PrePromotion"), phase)

    async def v_ExpectPostPromotionAnalysisRunPhase(self, phase: str) -> None:
        self._equal(await self._run_phase("PostPromotion"), phase)
