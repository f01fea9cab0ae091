"""Argo Rollouts' end-to-end scenarios for canaries, in virtual time, on the embedded API with the real controllers.

Pods are simulated: ready at once, or after their start hook and initial delay; those with readiness gates wait for
MarkPodsReady, and a Job's pod ends as its `sleep N && exit M` says. A verb that is not known fails its scenario; steps marked
`custom` have no data to check and are passed over.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
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
from fairway.kube.resources import ANALYSIS_RUNS, PODS, REPLICA_SETS, ROLLOUTS, SERVICES
from fairway.rollouts import commands
from fairway.rollouts.analysis_controller import AnalysisRunController
from fairway.rollouts.controller import RolloutController
from fairway.rollouts.job import JobProvider
from fairway.rollouts.keys import HASH_LABEL, REVISION, SCALE_DOWN_DEADLINE
from fairway.rollouts.tree import phase_shown
from fairway.workloads.controllers import workload_controllers
from tests.conformance.result import CaseResult

NS = "default"
SUITES = frozenset({"canary", "functional", "analysis", "rollback_window", "duration"})
PATIENCE = timedelta(seconds=90)


def suites(root: Path) -> dict[str, Callable[[], Iterable[CaseResult]]]:
    folder = root / "rollouts" / "e2e"
    return {"rollouts/e2e": lambda: _scenarios(folder)} if folder.is_dir() else {}


def _scenarios(folder: Path) -> Iterator[CaseResult]:
    for path in sorted(folder.glob("*/scenario.yaml")):
        scenario = yaml.safe_load(path.read_text())
        rollouts = [m for m in scenario["manifests"] if m["kind"] == "Rollout"]
        if scenario["suite"] not in SUITES or not rollouts or "canary" not in rollouts[0]["spec"]["strategy"]:
            yield CaseResult(scenario["id"], "failed", "not a canary: blue-green and experiments are not there yet")
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
        AnalysisRunController(informers, clock, {"job": JobProvider(informers.api, clock)}),
    ]
    work: list[Awaitable[None]] = [ControllerLoop(c, informers, clock).run() for c in controllers]
    tasks = [asyncio.ensure_future(task) for task in (*work, _pods(clock, api))]
    try:
        stage = Stage(clock, api, scenario)
        for obj in scenario.get("setup") or ():
            await stage.create(obj)
        for number, step in enumerate(scenario["steps"]):
            verb = step.get("do") or step["expect"]
            if step.get("custom"):
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
        if dig(pod, "spec", "restartPolicy") in ("Never", "OnFailure"):
            found = re.search(r"sleep (\d+).*?exit (\d+)", " ".join(container.get("args") or ()))
            asyncio.get_running_loop().create_task(_end(clock, api, name, *(map(int, found.groups()) if found else (0, 0))))
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


async def mark(clock: Clock, api: EmbeddedApi, name: str, *, ready: bool) -> None:
    at, answer = rfc3339(clock.now()), "True" if ready else "False"
    rows = [{"type": kind, "status": answer, "lastTransitionTime": at} for kind in ("ContainersReady", "Ready")]
    with contextlib.suppress(NotFound):
        await api.patch(PODS, name, NS, MergePatch({"status": {"phase": "Running", "conditions": rows}}), subresource="status")


async def _end(clock: Clock, api: EmbeddedApi, name: str, seconds: int, code: int) -> None:
    await asyncio.sleep(seconds + 0.5)
    done = {"phase": "Failed" if code else "Succeeded"}
    with contextlib.suppress(NotFound):
        await api.patch(PODS, name, NS, MergePatch({"status": done}), subresource="status")


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
        self.manifests = scenario["manifests"]
        self.name = next(m["metadata"]["name"] for m in self.manifests if m["kind"] == "Rollout")

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

    async def v_ApplyManifests(self, *_: str) -> None:
        for obj in self.manifests:
            with contextlib.suppress(AlreadyExists):  # a later version of the Rollout, for a step of its own
                await self.create(obj)
        await asyncio.sleep(0.1)

    async def v_UpdateSpec(self, body: Any = None) -> None:
        stamp = {"spec": {"template": {"metadata": {"annotations": {"update": rfc3339(self.clock.now())}}}}}
        await asyncio.sleep(1)
        patch = copy_of(yaml.safe_load(body) if isinstance(body, str) else body or stamp)
        changed = dig(patch, "spec", "template", "spec", "containers")
        if changed:  # containers are merged by name
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
        have = [dig(found, "spec", "replicas"), *(status.get(name, 0) for name in (
            "replicas", "updatedReplicas", "readyReplicas", "availableReplicas"))]
        self._equal([h for h, w in zip(have, wanted, strict=True) if w != "*"], [w for w in wanted if w != "*"])

    async def v_ExpectStableRevision(self, revision: str) -> None:
        stable = status_of(await self.rollout())["stableRS"]
        self._equal((await self.of_revision(revision))["metadata"]["labels"][HASH_LABEL], stable)

    async def v_ExpectRevisionScaleDown(self, revision: str, expected: bool) -> None:
        self._equal(SCALE_DOWN_DEADLINE in annotations_of(await self.of_revision(revision)), expected)

    async def v_ExpectServiceSelector(self, name: str, selector: Obj, _: bool) -> None:
        """Hashes are not upstream's: which labels are selected is compared, and all values but the hash."""
        found = dict(dig(await self.api.get(SERVICES, name, NS), "spec", "selector", default={}))
        wanted = {**selector, **({HASH_LABEL: found[HASH_LABEL]} if HASH_LABEL in selector and HASH_LABEL in found else {})}
        self._equal(found, wanted)
