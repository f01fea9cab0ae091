"""The kubelet of embedded mode: the hands that bind pods to this machine and keep them as they are asked to be."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from fairway.kube.api import DeleteOptions, MergePatch, WriteOptions, patch_status
from fairway.kube.cache import Informers
from fairway.kube.clock import Clock
from fairway.kube.decision import Outcome, Reason, differs
from fairway.kube.errors import AlreadyExists, NotFound
from fairway.kube.events import EventRecorder
from fairway.kube.objects import (
    Key,
    Obj,
    annotations_of,
    condition,
    is_deleting,
    key_of,
    labels_of,
    rfc3339,
    spec_of,
    status_of,
    uid_of,
    with_condition,
)
from fairway.kube.reconcile import ControllerLoop, Watch
from fairway.kube.resources import CONFIG_MAPS, ENDPOINT_SLICES, NODES, PODS, SECRETS, SERVICES
from fairway.node import decide as d
from fairway.node import groups, machine
from fairway.node.addresses import Addresses
from fairway.node.folder import PodFolder
from fairway.node.halting import halt_all, pod_folders, stop_folder
from fairway.node.hosts import HostsFiles
from fairway.node.images import ImageSource
from fairway.node.isolation import Isolation, probe
from fairway.node.lookups import HOST_IP, Lookups
from fairway.node.memory import LOOK_S
from fairway.node.pod import NodePod
from fairway.node.preparing import prepare
from fairway.node.remarks import remarks, troubles
from fairway.node.scheduling import SCHEDULER, Refused, is_ours, refusal
from fairway.node.security import unenforced
from fairway.node.settings import NodeSettings
from fairway.node.shims import ShimError
from fairway.node.status import pod_status
from fairway.node.tokens import AccountTokens, PodTokens
from fairway.node.usage import LOOK_EVERY_S, UsageMeter

log = logging.getLogger("fairway.node")

SERVING = "fairway.dev/serving"
MANAGER = "fairway-node"
ISOLATION = "fairway.dev/isolation"
"""Annotation of the Node: `own-root` or `paths`."""


class NodeController:
    """Implements `Controller`, but runs itself: `await run()` adopts what is there and then never returns.

    Cancelling `run` stops no pod. `stop_all` stops every pod and leaves the API objects as they are.
    """

    name = "node"
    resource = PODS
    workers = 16

    def __init__(self, informers: Informers, clock: Clock, settings: NodeSettings, images: ImageSource,
                 tokens: AccountTokens | None = None) -> None:
        self._informers, self._clock, self._settings, self._images = informers, clock, settings, images
        self._cache, self._slices = informers.of(PODS), informers.of(ENDPOINT_SLICES)
        self._lookups = Lookups(informers, settings.node_name, (settings.api_host, settings.api_port))
        self._hosts = HostsFiles(informers, settings.hosts)
        self._addresses = Addresses(settings.addresses, settings.network)
        self._pods: dict[Key, NodePod] = {}
        self._loop = ControllerLoop(self, informers, clock)
        self._events = EventRecorder(informers.api, clock, "kubelet")
        self._scheduling = EventRecorder(informers.api, clock, SCHEDULER)
        self._nodes, self._node_shape = informers.of(NODES), ""
        self._program = Path()
        self._isolation, self._tokens = Isolation(), tokens
        self.usage = UsageMeter(settings.node_name)
        self._halting = False

    @property
    def loop(self) -> ControllerLoop:
        """Its `reasons` say why a pod is where it is."""
        return self._loop

    def pod(self, key: Key) -> NodePod | None:
        """The pod as this node runs it."""
        return self._pods.get(key)

    def watches(self) -> Sequence[Watch]:
        configuration = [Watch(row, self._configured) for row in (CONFIG_MAPS, SECRETS, SERVICES)]
        return [Watch(ENDPOINT_SLICES, self._draining), Watch(NODES, self._shape_changed), *configuration]

    def _shape_changed(self, node: Obj) -> Iterable[Key]:
        """Pods that wait for a place look again when the node's labels or taints change."""
        shape = repr((labels_of(node), spec_of(node)))
        if key_of(node).name == self._settings.node_name and shape != self._node_shape:
            self._node_shape = shape
            yield from (key_of(pod) for pod in self._cache.list() if not spec_of(pod).get("nodeName"))

    def _draining(self, slice_: Obj) -> Iterable[Key]:
        namespace = key_of(slice_).namespace
        return [key for key, one in self._pods.items() if key.namespace == namespace and one.stopping_since is not None]

    def _configured(self, source: Obj) -> Iterable[Key]:
        """Pods that show this object in a volume, or that could not start for want of something."""
        namespace, name = key_of(source)
        for key, one in self._pods.items():
            if key.namespace == namespace and one.concerns(source["kind"], name):
                one.stale = True
                yield key

    async def run(self) -> None:
        self._program = prepare(self._settings)
        found, _ = await asyncio.gather(probe(self._settings, self._program), self._informers.synced())
        self._isolation = replace(found, groups=await asyncio.to_thread(groups.find, self._settings.folder.absolute()))
        await self._register()
        await self._stop_strangers()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._loop.run())
                tasks.create_task(self._watch_memory())
                tasks.create_task(self._watch_usage())
                tasks.create_task(self._hosts.run())
        finally:
            pods, self._pods = self._pods, {}
            await asyncio.gather(*(one.close() for one in pods.values()), return_exceptions=True)

    async def _watch_memory(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            now = self._clock.now()
            for one in list(self._pods.values()):
                one.end_oversized()
                if one.tokens.is_due(now):
                    one.stale = True
                    self._loop.look_again(one.key)

    async def _watch_usage(self) -> None:
        while True:
            self.usage.look(self._pods.values(), self._clock.now())
            for one in list(self._pods.values()):
                await one.look_at_disk()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _register(self) -> None:
        """The Node object, Ready."""
        api, name = self._informers.api, self._settings.node_name
        node: Obj = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {}}
        with contextlib.suppress(AlreadyExists):
            await api.create(node, WriteOptions(manager=MANAGER))
        meta = {"labels": machine.labels(name), "annotations": {ISOLATION: self._isolation.level}}
        await api.patch(NODES, name, "", MergePatch({"metadata": meta}), WriteOptions(manager=MANAGER))
        status = machine.status(name, self._isolation, self._settings.folder, self._clock.now())
        await patch_status(api, NODES, node, status, manager=MANAGER)
        found = self._isolation
        log.log(logging.WARNING if found.mend else logging.INFO, "%s%s", found.message, found.mend and f"; {found.mend}")

    async def _stop_strangers(self) -> None:
        """Shims whose pod is gone from the API."""
        uids = {uid_of(pod) for pod in self._cache.list()}
        strangers = [folder for folder in pod_folders(self._settings.pods) if folder.path.name not in uids]
        await asyncio.gather(*(stop_folder(folder, 0.0) for folder in strangers))
        for folder in strangers:
            folder.remove()

    async def stop_all(self, grace_s: float = 5.0) -> None:
        """Stop every pod's processes, for `fairway down`. They start again with the next `run` of a new controller."""
        self._halting = True
        for one in self._pods.values():
            await one.close()
        await halt_all(self._settings.pods, grace_s)

    # --- a pass -------------------------------------------------------------------------------------------------

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        if self._halting:
            return Outcome()
        pod, known = self._cache.get(key), self._pods.get(key)
        if known is not None and (pod is None or uid_of(pod) != known.uid):
            await self._forget(known)
            known = None
        if pod is None or spec_of(pod).get("nodeName") not in (None, "", self._settings.node_name):
            return Outcome()
        if not spec_of(pod).get("nodeName"):
            return await self._bind(pod)
        if known is None:
            known = await self._take(pod, now)
            if known is None:
                return Outcome()
        known.pod = pod
        if is_deleting(pod) and known.stopping_since is None:
            known.stopping_since = now
        await known.refresh(now)
        decision = d.decide(self._seen(known), now)
        for news in known.take_news():
            await self._events.event(pod, *news)
        for trouble in troubles(pod, known.spec, known.runs(), known.reported):
            await self._events.event(pod, *trouble)
        removing = False
        for action in decision.actions:
            if isinstance(action, d.Remove):
                removing = True
            else:
                await known.carry_out(action, now)
                await self._tell_unenforced(known, action)
                for remark in remarks(action, known.runs(), known.spec, known.fresh):
                    await self._events.event(pod, *remark)
                if isinstance(action, d.Start):
                    known.fresh.discard(action.container)
        if decision.verdict is not None:
            await self._events.event(pod, "Warning" if known.evicted else "Normal", *decision.verdict[1:])
        await self._report(known, decision.verdict, now)
        if removing:
            await self._remove(known)
        elif any(isinstance(action, d.Start | d.Stop) for action in decision.actions):
            self._loop.look_again(key)
        return Outcome(decision.wake_at, decision.reasons)

    async def _tell_unenforced(self, one: NodePod, action: d.Action) -> None:
        """Once per pod, when its first container starts."""
        if not isinstance(action, d.Start) or action.attempt or one.told_unenforced:
            return
        one.told_unenforced = True
        fields = unenforced(one.pod, own_root=self._isolation.own_root, root=os.geteuid() == 0)
        if fields:
            await self._events.event(one.pod, "Normal", "SecurityContextNotEnforced",
                                     f"This node does not enforce these fields of the securityContext: {', '.join(fields)}")

    def _seen(self, one: NodePod) -> d.Seen:
        return d.Seen(one.pod, self._settings.node_name, one.runs(), one.address, self._is_drained(one),
                      one.stopping_since, one.evicted, one.spec)

    def _is_drained(self, one: NodePod) -> bool:
        return not any(one.address in annotations_of(slice_).get(SERVING, "").split(",")
                       for slice_ in self._slices.list(one.key.namespace))

    async def _bind(self, pod: Obj) -> Outcome:
        """The scheduler's part: the pod becomes this node's, or is told why not."""
        if is_deleting(pod) or not is_ours(pod):
            return Outcome()
        namespace, name = key_of(pod)
        node = self._nodes.get(Key("", self._settings.node_name))
        if node is None:  # it may be younger than the cache
            with contextlib.suppress(NotFound):
                node = await self._informers.api.get(NODES, self._settings.node_name)
        refused = refusal(pod, node)
        if refused is not None:
            await self._tell_unscheduled(pod, refused)
            return Outcome(reasons=(Reason(refused.reason, refused.message),))
        patch = MergePatch({"metadata": {"uid": uid_of(pod)}, "spec": {"nodeName": self._settings.node_name}})
        with contextlib.suppress(NotFound):
            await self._informers.api.patch(PODS, name, namespace, patch, WriteOptions(manager=MANAGER))
            await self._scheduling.event(pod, "Normal", "Scheduled",
                                         f"Successfully assigned {namespace}/{name} to {self._settings.node_name}")
        return Outcome()

    async def _tell_unscheduled(self, pod: Obj, refused: Refused) -> None:
        present = condition(pod, "PodScheduled") or {}
        entry = {"type": "PodScheduled", "status": "False", "reason": refused.reason, "message": refused.message}
        if any(present.get(name) != value for name, value in entry.items()):
            entry["lastTransitionTime"] = rfc3339(self._clock.now())
            conditions = with_condition(status_of(pod).get("conditions") or (), entry)
            with contextlib.suppress(NotFound):
                await patch_status(self._informers.api, PODS, pod, {"conditions": conditions}, manager=MANAGER)
            if refused.reason == "Unschedulable":
                await self._scheduling.event(pod, "Warning", "FailedScheduling", refused.message)

    async def _take(self, pod: Obj, now: datetime) -> NodePod | None:
        """Begin with a pod, or go on with one of an earlier daemon. None: it has ended, and nothing of it is left."""
        folder = PodFolder(self._settings.pods / uid_of(pod))
        about = folder.about()
        over = status_of(pod).get("phase") in ("Succeeded", "Failed")
        address = (about or {}).get("address") or status_of(pod).get("podIP") or ""
        if about is None and over and not is_deleting(pod):
            return None
        if not address and not over:
            used = frozenset(str(status_of(other).get("podIP")) for other in self._cache.list())
            address = self._addresses.take(used)
        one = NodePod(pod, self._settings, self._images, self._lookups, self._program, address, self._isolation,
                      PodTokens(self._tokens), self._clock.now, self._loop.look_again)
        if about is None and not is_deleting(pod):
            folder.create(*key_of(pod), uid_of(pod), address)
        if not over:
            self._hosts.begin(pod, folder.path)
        self._pods[key_of(pod)] = one
        try:
            await one.adopt(now)
        except (ShimError, OSError, TimeoutError) as error:
            log.warning("%s: %s", one.key, error)
        return one

    async def _report(self, one: NodePod, verdict: tuple[str, str, str] | None, now: datetime) -> None:
        status = pod_status(self._seen(one), verdict, HOST_IP, now)
        if differs(status_of(one.pod), status):
            with contextlib.suppress(NotFound):
                one.pod = await patch_status(self._informers.api, PODS, one.pod, status, manager=MANAGER)

    async def _remove(self, one: NodePod) -> None:
        with contextlib.suppress(NotFound):
            now = DeleteOptions(grace_period_s=0, uid=one.uid)
            await self._informers.api.delete(PODS, one.key.name, one.key.namespace, now, WriteOptions(manager=MANAGER))

    async def _forget(self, one: NodePod) -> None:
        """The object is gone: nothing of the pod may stay."""
        self._pods.pop(one.key, None)
        self._hosts.forget(one.pod, one.folder.path)
        await one.end()
        await one.close()
        await asyncio.to_thread(one.folder.remove)
        if self._isolation.groups is not None:
            groups.remove(self._isolation.groups, one.uid)
