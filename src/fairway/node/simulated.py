"""The node of a rehearsal: pods that run, get ready, crash and stop by a script, in whatever time the clock tells.

It stands where `NodeController` stands and writes the same objects. Everything follows from the pod and its script, so
a world that is run twice runs alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fairway.kube.api import DeleteOptions, MergePatch, WriteOptions, patch_status
from fairway.kube.cache import Informers
from fairway.kube.clock import Clock
from fairway.kube.decision import Outcome, differs, earliest
from fairway.kube.errors import AlreadyExists, NotFound
from fairway.kube.objects import Key, Obj, annotations_of, is_deleting, key_of, spec_of, status_of, uid_of
from fairway.kube.reconcile import ControllerLoop, Watch, more_than_status, own_key
from fairway.kube.resources import ENDPOINT_SLICES, NODES, PODS
from fairway.node import decide as d
from fairway.node.addresses import NETWORK
from fairway.node.attempt import Attempt
from fairway.node.probes import Health
from fairway.node.spec import PodSpec, decode
from fairway.node.status import pod_status

MANAGER = "fairway-node"
SERVING = "fairway.dev/serving"
HOST_IP = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Script:
    """How one pod behaves. Times are seconds; None means never.

    `start_s`: from bound to running. `ready_s`: from running to ready. `crash_s`: from running to an end with
    `exit_code`, in each of the first `crashes` runs (None: in every run). `end_s`: from running to an end with 0, as a
    Job's pod does. `stop_s`: from SIGTERM to the end. `unready`: spans [from, to) since running in which it is not
    ready. `image_error`: the image cannot be had.
    """

    start_s: float = 0.5
    ready_s: float | None = 1.0
    crash_s: float | None = None
    crashes: int | None = None
    exit_code: int = 1
    end_s: float | None = None
    stop_s: float = 0.2
    unready: tuple[tuple[float, float], ...] = ()
    image_error: str = ""


Behaviour = Callable[[Obj], Script]
"""The script of a pod, asked once when the pod is bound."""


@dataclass(slots=True)
class _Pod:
    uid: str
    script: Script
    address: str
    bound_at: datetime
    attempts: list[Attempt]
    crashes: int = 0
    stop_at: datetime | None = None
    stopping_since: datetime | None = None


class SimulatedNode:
    """Implements `Controller`, and runs itself like `NodeController`: `await run()`."""

    name = "node"
    resource = PODS
    workers = 4

    def __init__(self, informers: Informers, clock: Clock, script: Behaviour | Script | None = None, *,
                 node_name: str = "fairway") -> None:
        self._informers, self._clock, self._node_name = informers, clock, node_name
        self._behaviour: Behaviour = script if callable(script) else _always(script or Script())
        self._cache, self._slices = informers.of(PODS), informers.of(ENDPOINT_SLICES)
        self._pods: dict[Key, _Pod] = {}
        self._loop = ControllerLoop(self, informers, clock)
        self._next_address = int(ipaddress.ip_network(NETWORK).network_address)

    @property
    def loop(self) -> ControllerLoop:
        return self._loop

    def watches(self) -> Sequence[Watch]:
        return [Watch(PODS, own_key, more_than_status), Watch(ENDPOINT_SLICES, self._draining)]

    def _draining(self, slice_: Obj) -> Iterable[Key]:
        namespace = key_of(slice_).namespace
        return [key for key, one in self._pods.items() if key.namespace == namespace and one.stopping_since is not None]

    async def run(self) -> None:
        node: Obj = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self._node_name}, "spec": {}}
        with contextlib.suppress(AlreadyExists):
            await self._informers.api.create(node, WriteOptions(manager=MANAGER))
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "simulated"}
        await patch_status(self._informers.api, NODES, node, {"conditions": [ready]}, manager=MANAGER)
        await self._loop.run()

    async def stop_all(self, grace_s: float = 0.0) -> None:
        """There is nothing that could be left running."""
        await asyncio.sleep(0)

    def crash(self, namespace: str, name: str, exit_code: int = 1) -> None:
        """A fault from outside: the pod's containers end now."""
        one = self._pods.get(Key(namespace, name))
        if one is not None and one.attempts and one.attempts[0].running:
            now = self._clock.now()
            one.attempts[0] = replace(one.attempts[0], finished=now, code=exit_code)
            self._loop.look_again(Key(namespace, name))

    def behave(self, namespace: str, name: str, script: Script) -> None:
        """From now on the pod follows another script."""
        one = self._pods.get(Key(namespace, name))
        if one is not None:
            one.script = script
            self._loop.look_again(Key(namespace, name))

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        pod = self._cache.get(key)
        known = self._pods.get(key)
        if known is not None and (pod is None or uid_of(pod) != known.uid):
            del self._pods[key]
            known = None
        if pod is None or spec_of(pod).get("nodeName") not in (None, "", self._node_name):
            return Outcome()
        if not spec_of(pod).get("nodeName"):
            patch = MergePatch({"spec": {"nodeName": self._node_name}})
            with contextlib.suppress(NotFound):
                await self._informers.api.patch(PODS, key.name, key.namespace, patch, WriteOptions(manager=MANAGER))
            return Outcome()
        if known is None:
            known = self._pods[key] = self._take(pod, now)
        return await self._live(pod, known, now)

    def _take(self, pod: Obj, now: datetime) -> _Pod:
        address = status_of(pod).get("podIP") or ""
        if not address:
            self._next_address += 1
            address = str(ipaddress.ip_address(self._next_address))
        return _Pod(uid_of(pod), self._behaviour(pod), address, now, [])

    async def _live(self, pod: Obj, one: _Pod, now: datetime) -> Outcome:
        if is_deleting(pod) and one.stopping_since is None:
            one.stopping_since = now
        namespace, name = key_of(pod)
        self._advance(one, now)
        spec = decode(pod)
        seen = self._seen(pod, spec, one, now)
        decision = d.decide(seen, now)
        removing = again = False
        for action in decision.actions:
            match action:
                case d.Start(_, attempt):
                    if now >= one.bound_at + timedelta(seconds=one.script.start_s):
                        if one.attempts:
                            one.crashes = d.next_crashes(one.crashes, one.attempts[0])
                        if not one.attempts or one.attempts[0].number < attempt:
                            one.attempts.insert(0, Attempt(attempt, 1, "0", now))
                        again = True
                case d.Stop(_, grace_s):
                    if one.stop_at is None:
                        one.stop_at = now + timedelta(seconds=min(one.script.stop_s, grace_s))
                case d.Remove():
                    removing = True
                case _:
                    pass
        status = pod_status(self._seen(pod, spec, one, now), decision.verdict, HOST_IP, now)
        if differs(status_of(pod), status):
            with contextlib.suppress(NotFound):
                await patch_status(self._informers.api, PODS, pod, status, manager=MANAGER)
        if removing:
            with contextlib.suppress(NotFound):
                at_once = DeleteOptions(grace_period_s=0, uid=one.uid)
                await self._informers.api.delete(PODS, name, namespace, at_once, WriteOptions(manager=MANAGER))
        if again:
            self._loop.look_again(key_of(pod))
        return Outcome(earliest(decision.wake_at, self._next_event(one, now)), decision.reasons)

    def _advance(self, one: _Pod, now: datetime) -> None:
        """Ends that are due by now."""
        if not one.attempts or not one.attempts[0].running:
            return
        for at, code in self._ends(one):
            if now >= at:
                one.attempts[0] = replace(one.attempts[0], finished=at, code=code, signal=15 if code == 143 else 0)
                one.stop_at = None
                return

    def _ends(self, one: _Pod) -> list[tuple[datetime, int]]:
        run, script = one.attempts[0], one.script
        ends: list[tuple[datetime, int]] = []
        if script.crash_s is not None and (script.crashes is None or run.number < script.crashes):
            ends.append((run.started + timedelta(seconds=script.crash_s), script.exit_code))
        if script.end_s is not None:
            ends.append((run.started + timedelta(seconds=script.end_s), 0))
        if one.stop_at is not None:
            ends.append((one.stop_at, 143))
        return sorted(ends)

    def _ready(self, one: _Pod, now: datetime) -> bool:
        age = (now - one.attempts[0].started).total_seconds()
        ready_s = one.script.ready_s
        return ready_s is not None and age >= ready_s and not any(a <= age < b for a, b in one.script.unready)

    def _next_event(self, one: _Pod, now: datetime) -> datetime | None:
        started = one.bound_at + timedelta(seconds=one.script.start_s)
        if not one.attempts:
            return started if started > now else None
        if not one.attempts[0].running:
            return None
        begun = one.attempts[0].started
        moments = [at for at, _ in self._ends(one)]
        if one.script.ready_s is not None:
            moments.append(begun + timedelta(seconds=one.script.ready_s))
        moments += [begun + timedelta(seconds=edge) for span in one.script.unready for edge in span]
        return earliest(*(moment for moment in moments if moment > now))

    def _seen(self, pod: Obj, spec: PodSpec, one: _Pod, now: datetime) -> d.Seen:
        problem = d.Problem("ErrImagePull", one.script.image_error, now + timedelta(seconds=10)) if (
            one.script.image_error) else None
        drained = not any(one.address in annotations_of(slice_).get(SERVING, "").split(",")
                          for slice_ in self._slices.list(key_of(pod).namespace))
        ready = bool(one.attempts) and one.attempts[0].running and self._ready(one, now)
        main = d.Run(
            attempts=tuple(one.attempts[:2]), image="unknown" if problem else "ready", image_id="simulated",
            problem=problem, health=Health(True, ready), crashes=one.crashes, stopping=one.stop_at is not None,
            pre_stop="done")
        done = d.Run(attempts=(Attempt(0, 1, "0", one.bound_at, one.bound_at, 0),), image="ready",
                     image_id="simulated")
        runs = {inner.name: main if not inner.init else main if inner.sidecar else done for inner in spec.all}
        return d.Seen(pod, self._node_name, runs, one.address, drained, one.stopping_since, decoded=spec)


def _always(script: Script) -> Behaviour:
    return lambda pod: script
