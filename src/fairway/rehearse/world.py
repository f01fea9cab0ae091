"""The world of a rehearsal: the real API and controllers, with simulated pods, proxy, users and metrics around them."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from datetime import datetime

import numpy as np

from fairway.kube.cache import Cache, Informers
from fairway.kube.clock import Clock
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.objects import Key, Obj, annotations_of, condition, dig, key_of, labels_of, meta_of, status_of
from fairway.kube.reconcile import Controller, ControllerLoop
from fairway.kube.resources import (
    ANALYSIS_RUNS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    INGRESSES,
    PODS,
    REPLICA_SETS,
    ROLLOUTS,
    SERVICE_MONITORS,
    SERVICES,
)
from fairway.metrics.kube_state import kube_state
from fairway.metrics.series import millis
from fairway.metrics.targets import find_targets
from fairway.node.simulated import Script, SimulatedNode
from fairway.rehearse.aftermath import Aftermath
from fairway.rehearse.answers import Counted, ForEverySeed, Queries
from fairway.rehearse.canary_case import CanaryCase
from fairway.rehearse.case import OLD, Case, RolloutCase
from fairway.rehearse.seeds import Seeds
from fairway.rehearse.series import Exporter, Unit
from fairway.rehearse.spec import PodScript, Scenario
from fairway.rehearse.subject import VERSION, Subject
from fairway.rehearse.timeline import Noted, Timeline
from fairway.rehearse.users import Luck, Served, Users
from fairway.rollouts.measurements import Measurement
from fairway.rollouts.prometheus import Querier
from fairway.rollouts.providers import MetricProvider
from fairway.traffic.controller import TrafficController
from fairway.traffic.model import Backend, Model
from fairway.traffic.port import Address, Applied
from fairway.traffic.simulated import SimulatedDataPlane
from fairway.workloads.controllers import ReplicaSetController
from fairway.workloads.endpoints import EndpointSliceController

DEFAULT_SCRAPE_S = 15.0


class World:
    """`start_outside`, then `start`; the controllers can be killed and started again. `origin` is when the scenario began;
    `out` counts, by kind of fault, how many are in force."""

    def __init__(self, clock: Clock, subject: Subject, scenario: Scenario) -> None:
        self.clock, self.subject, self.scenario = clock, subject, scenario
        self.api = EmbeddedApi.in_memory(clock, owners=False)
        self.timeline = Timeline()
        self.canary_case = CanaryCase(subject, scenario) if subject.is_canary else None
        self.case: Case = self.canary_case or RolloutCase(subject)
        self.judge = self.case.judge
        self.origin: datetime | None = None
        self.notes: list[str] = list(subject.notes)
        self.out: Counter[str] = Counter()
        self.aftermath = Aftermath(subject)
        self.asked = [*self.case.queries(), *self.aftermath.queries()]
        self.users = Users(scenario, clock.now())
        self.seeds = Seeds(Exporter(Luck(self.users, np.random.default_rng(0)), self.users, self.asked))
        self.plane = _Plane(self._rerouted)
        self.queries, self.counted = Queries(self), Counted(self)
        self.unfinished: dict[tuple[str, str], deque[tuple[Measurement, Mapping[int, Measurement]]]] = {}
        """By run and metric: what its status holds of the first seed, and the same of every seed. The last two: a controller
        that is killed may not have written the last one."""
        self.outside: Informers
        self.node: SimulatedNode
        self._tasks: list[asyncio.Task[None]] = []
        self._tested: list[asyncio.Task[None]] = []
        self._informers: Informers | None = None
        self._units: tuple[Unit, ...] = ()
        self._units_dirty = True

    # --- life -----------------------------------------------------------------------------------------------------

    async def start_outside(self) -> None:
        """Everything that stays up when the controllers die."""
        await self._create_objects()
        informers, clock = Informers(self.api, rehearsed=True), self.clock
        self.outside = informers
        for resource in (INGRESSES, self.case.resource, REPLICA_SETS):
            # Writes of one moment are seen resource by resource, in this order: weights before the replicas that follow them.
            informers.of(resource)
        self.node = SimulatedNode(informers, clock, self._script)
        traffic = TrafficController(informers, clock, self.plane, ingress_address="127.0.0.1", ingress_port=8080,
                                    unprivileged_from=0)
        controllers: list[Controller] = [ReplicaSetController(informers, clock), EndpointSliceController(informers),
                                         *self.case.outside(informers, clock)]
        workloads = DEPLOYMENTS if self.subject.is_canary else REPLICA_SETS
        for resource, saw in ((PODS, self._saw_pod), (INGRESSES, self._saw), (self.case.resource, self._saw),
                              (workloads, self._saw), (ANALYSIS_RUNS, self._saw_run)):
            informers.of(resource).on_change(saw)
        for resource in (PODS, SERVICES, ENDPOINT_SLICES, SERVICE_MONITORS):
            informers.of(resource).on_change(self._targets_changed)
        loops = [ControllerLoop(controller, informers, clock).run for controller in controllers]
        for run in (self.node.run, traffic.run, self._scrape, *loops):
            self._run(run)
        await informers.synced()

    async def start(self) -> None:
        """The controllers under rehearsal."""
        informers, clock = Informers(self.api, rehearsed=True), self.clock
        self._informers = informers
        controllers = [*self.case.tested(self, informers), *self.aftermath.controllers(self, informers)]
        loops = [ControllerLoop(Noted(controller, self.timeline), informers, clock) for controller in controllers]
        self._tested = [asyncio.create_task(loop.run()) for loop in loops]
        await informers.synced()

    async def kill(self) -> None:
        """As kill -9: whatever a pass had not written yet is lost."""
        for task in self._tested:
            task.cancel()
        await asyncio.gather(*self._tested, return_exceptions=True)
        if self._informers:
            await self._informers.close()
        self._tested = []

    async def close(self) -> None:
        await self.kill()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.outside.close()

    def _run(self, run: Callable[[], Awaitable[None]]) -> None:
        async def running() -> None:
            await run()

        self._tasks.append(asyncio.create_task(running()))

    # --- what is in it --------------------------------------------------------------------------------------------

    async def _create_objects(self) -> None:
        namespace: Obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.subject.namespace}}
        if self.subject.namespace != "default":
            await self.api.create(namespace)
        for obj in self.subject.others:
            await self.api.create(self.canary_case.marked(obj) if self.canary_case else obj)
        for obj in self.case.objects():
            await self.api.create(obj)

    @property
    def monitoring(self) -> bool:
        return not self.out["monitoring"]

    def rollout(self) -> Obj:
        """The Rollout or Canary as it is."""
        found = self.outside.of(self.case.resource).get(Key(self.subject.namespace, self.subject.name))
        return found if found is not None else {}

    def begin(self, seeds: Sequence[int]) -> None:
        """The new version is applied now. Until then every seed's world is the same."""
        now = self.clock.now()
        self.origin = now
        self.case.begin(self.rollout())
        self.users.begin(now)
        self.seeds.begin(seeds)
        self.timeline.begin(now)

    def queries_by(self, conclusion: Callable[[str, float | Sequence[float]], Hashable]) -> Querier:
        """For somebody who makes no more of an answer than `conclusion`."""
        return Queries(self, conclusion)

    def for_every_seed(self, provider: MetricProvider) -> MetricProvider:
        return ForEverySeed(provider, self)

    def _script(self, pod: Obj) -> Script:
        version = self.scenario.stable if annotations_of(pod).get(VERSION) == OLD else self.scenario.canary
        return _script_of(version.pods)

    # --- what is seen ---------------------------------------------------------------------------------------------

    def _saw(self, old: Obj | None, new: Obj | None) -> None:
        obj = new or old
        if obj is not None:
            self.judge.saw("DELETED" if new is None else "MODIFIED", obj)

    def _saw_run(self, old: Obj | None, new: Obj | None) -> None:
        self._saw(old, new)
        if new is not None:
            self.timeline.measured(self.clock.now(), new)

    def _saw_pod(self, old: Obj | None, new: Obj | None) -> None:
        pod = new or old
        address = str(status_of(pod).get("podIP") or "") if pod else ""
        if address:
            at = self.clock.now().timestamp()
            self.judge.pod(address, ready=new is not None and _is_ready(new), at=at)
            if (old is None or new is None) or _is_running(old) != _is_running(new):
                self._reroute()

    def _targets_changed(self, old: Obj | None, new: Obj | None) -> None:
        self._units_dirty = True

    # --- where requests go ----------------------------------------------------------------------------------------

    def _rerouted(self, model: Model) -> None:
        now = self.clock.now()
        used = model.referenced()
        addresses = {end.address for cluster in model.clusters if cluster.name in used for end in cluster.endpoints}
        self.judge.routed(addresses, now.timestamp())
        before = self.users.weight
        self._reroute()
        if abs(self.users.weight - before) > 1e-9:
            self.timeline.note(now, "proxy", "WeightInForce", f"{self.users.weight:.0%} of the requests go to the new version")

    def _reroute(self) -> None:
        self.users.route(self._served(), self.clock.now())

    def _served(self) -> list[Served]:
        """Each pod behind the entry, with its share."""
        model = self.plane.model
        pods = {str(status_of(pod).get("podIP") or ""): pod for pod in self.outside.of(PODS).list(self.subject.namespace)}
        found: list[Served] = []
        if model is None:
            return found
        clusters = {cluster.name: cluster for cluster in model.clusters}
        backends = entry(model, self.subject, self.case)
        whole = sum(backend.weight for backend in backends if clusters[backend.cluster].endpoints)
        for backend in backends:
            ends = clusters[backend.cluster].endpoints
            for end in ends if whole else ():
                pod = pods.get(end.address)
                unit, version = self.case.unit(pod, backend.cluster.split("|")[1]), self.case.version(pod)
                name = str(meta_of(pod)["name"]) if pod else end.address
                share = backend.weight / whole / len(ends)
                if share:
                    found.append(Served(name, unit, version, share, pod is not None and _is_running(pod)))
        return found

    # --- metrics --------------------------------------------------------------------------------------------------

    async def _scrape(self) -> None:
        while True:
            interval = min((unit.interval_s for unit in self._seen_units()), default=DEFAULT_SCRAPE_S)
            now = self.clock.now()
            await asyncio.sleep(interval - now.timestamp() % interval)
            now = self.clock.now()
            self.users.advance(now)
            if not self.monitoring:
                for exporter in self.seeds.all:
                    exporter.missed(millis(now))
                continue
            extra = list(kube_state((row, self._objects(row)) for row in (PODS, ROLLOUTS))) if self._needs_state else ()
            for exporter in self.seeds.all:
                exporter.scrape(self._seen_units(), millis(now), extra)

    @property
    def _needs_state(self) -> bool:
        return self.seeds.first.needs("kube_") or self.seeds.first.needs("rollout_info")

    def _objects(self, resource: object) -> list[Obj]:
        cache: Cache = self.outside.of(resource)  # type: ignore[arg-type]
        return cache.list()

    def _seen_units(self) -> tuple[Unit, ...]:
        if self._units_dirty:
            self._units_dirty = False
            self._units = tuple(self._find_units())
        return self._units

    def _find_units(self) -> list[Unit]:
        pods = [pod for pod in self.outside.of(PODS).list(self.subject.namespace) if _is_running(pod)]
        found = find_targets(pods, *(self._objects(r) for r in (SERVICES, ENDPOINT_SLICES, SERVICE_MONITORS)))
        units = [Unit(dict(target.labels).get("pod", ""), tuple((n, v) for n, v in target.labels if not n.startswith("__")),
                      interval_s=target.interval_s or DEFAULT_SCRAPE_S) for target in found.targets]
        if not units and pods and self._asks_the_application():
            self.note("no ServiceMonitor and no prometheus.io/scrape annotation among the files: every pod is taken to be "
                       "scraped every 15 s, with its labels")
            units = [_assumed(pod) for pod in pods]
        interval = min((unit.interval_s for unit in units), default=DEFAULT_SCRAPE_S)
        for unit in sorted(self.case.units(pods)):
            units += [Unit(unit, labels, prefix, interval) for prefix, labels in self.case.gateways(unit)
                      if self.seeds.first.needs(prefix)]
        return units

    def _asks_the_application(self) -> bool:
        return any(not metric.startswith(("envoy_cluster_", "istio_", "nginx_ingress_controller_", "kube_"))
                   for metric in self.seeds.first.metrics)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def entry(model: Model, subject: Subject, case: Case) -> Sequence[Backend]:
    """Where the users come in: the Ingress that leads to one of its Services, else the stable Service itself."""
    names = list(case.entries())
    names += [str(meta_of(obj)["name"]) for obj in subject.others if obj["kind"] == "Service"]

    def ours(backends: Sequence[Backend]) -> bool:
        return any(backend.cluster.split("|")[1] in names for backend in backends)

    for host in model.ingress.hosts:
        routes = [route for route in host.routes if not route.headers and not route.cookies and ours(route.backends)]
        if routes:
            return routes[-1].backends
    listeners = sorted((one for one in model.services if one.service in names), key=lambda one: names.index(one.service))
    return listeners[0].backends if listeners else ()


def _script_of(pods: PodScript) -> Script:
    return Script(
        start_s=pods.start.total_seconds(), ready_s=pods.ready.total_seconds() if pods.ready is not None else None,
        crash_s=pods.crash.total_seconds() if pods.crash is not None else None, crashes=pods.crashes,
    )  # fmt: skip


def _is_ready(pod: Obj) -> bool:
    return (condition(pod, "Ready") or {}).get("status") == "True"


def _is_running(pod: Obj | None) -> bool:
    """All containers run now: a pod between two crashes does not answer."""
    statuses = status_of(pod).get("containerStatuses") or () if pod else ()
    return bool(statuses) and all("running" in (status.get("state") or {}) for status in statuses)


def _assumed(pod: Obj) -> Unit:
    labels = {name.translate(_PLAIN): value for name, value in labels_of(pod).items()}
    key = key_of(pod)
    labels |= {"namespace": key.namespace, "pod": key.name, "instance": f"{status_of(pod).get('podIP')}:8080",
               "container": str(dig(pod, "spec", "containers", 0, "name", default=""))}
    labels.setdefault("job", labels.get("app") or labels.get("app_kubernetes_io_name") or key.name)
    return Unit(key.name, tuple(sorted(labels.items())), interval_s=DEFAULT_SCRAPE_S)


_PLAIN = str.maketrans(dict.fromkeys("-./", "_"))


class _Plane:
    """The simulated data plane, whose users hear at once what is in force. Implements `DataPlane`."""

    def __init__(self, in_force: Callable[[Model], None]) -> None:
        self._plane = SimulatedDataPlane()
        self._in_force = in_force

    @property
    def model(self) -> Model | None:
        return self._plane.model

    @property
    def description(self) -> str:
        return self._plane.description

    def refuse(self, why: str) -> None:
        self._plane.refusing = why

    async def start(self, ingress: Address | None = None) -> bool:
        return await self._plane.start(ingress)

    async def apply(self, model: Model) -> Applied:
        applied = await self._plane.apply(model)
        self._in_force(model)
        return applied

    async def stop(self) -> None:
        await self._plane.stop()

    async def detach(self) -> None:
        await self._plane.detach()

    async def stats(self) -> str:
        return await self._plane.stats()
