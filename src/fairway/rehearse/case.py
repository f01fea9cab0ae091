"""What is different about rehearsing a Rollout and a Canary: who decides, which pods are new, and what counts as the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from fairway.kube.api import MergePatch
from fairway.kube.cache import Informers
from fairway.kube.clock import Clock
from fairway.kube.objects import Obj, copy_of, dig, labels_of, status_of
from fairway.kube.reconcile import Controller
from fairway.kube.resources import ROLLOUTS, Resource
from fairway.rehearse.aftermath import NEW_IMAGE
from fairway.rehearse.judge import Judge
from fairway.rehearse.spec import Deed, Outcome
from fairway.rehearse.subject import VERSION, Subject
from fairway.rollouts import commands
from fairway.rollouts.analysis_controller import AnalysisRunController
from fairway.rollouts.controller import RolloutController
from fairway.rollouts.experiment_controller import ExperimentController
from fairway.rollouts.gate_provider import GateProvider
from fairway.rollouts.job import JobProvider
from fairway.rollouts.keys import HASH_LABEL
from fairway.rollouts.prometheus import PrometheusProvider, Queriers
from fairway.workloads.controllers import JobController

if TYPE_CHECKING:
    from fairway.rehearse.world import World

OLD, NEW = "stable", "canary"
Gateway = tuple[str, tuple[tuple[str, str], ...]]
"""A prefix of metric names, and the labels that this gateway gives to a version's requests."""


class SecondJudge(Protocol):
    """`broken` is what it found; it sees every change, every pod, and where the proxy sends requests."""

    broken: list[str]

    @property
    def runs(self) -> list[Obj]: ...

    def saw(self, event: str, obj: Obj) -> None: ...

    def pod(self, address: str, *, ready: bool, at: float) -> None: ...

    def routed(self, addresses: Iterable[str], at: float) -> None: ...

    def person_promotes(self) -> None: ...


class Case(Protocol):
    """`obj` is the Rollout or Canary as it stands now."""

    resource: Resource
    judge: SecondJudge

    def objects(self) -> list[Obj]:
        """With pods of the old version."""
        ...

    def queries(self) -> list[str]: ...

    def outside(self, informers: Informers, clock: Clock) -> list[Controller]:
        """Controllers that stay up, besides ReplicaSets and EndpointSlices."""
        ...

    def tested(self, world: World, informers: Informers) -> list[Controller]: ...

    def serves(self, obj: Obj) -> bool:
        """The old version is up."""
        ...

    def invalid(self, obj: Obj) -> bool: ...

    def begin(self, obj: Obj) -> None:
        """What `obj` says now is about the old version."""
        ...

    async def new_version(self, world: World) -> None: ...

    def version(self, pod: Obj | None) -> str: ...

    def unit(self, pod: Obj | None, service: str) -> str:
        """Under which name the gateway counts the requests of this pod behind this Service; "" for none."""
        ...

    def units(self, pods: Sequence[Obj]) -> set[str]:
        """Everything that a gateway counts while these pods run."""
        ...

    def gateways(self, unit: str) -> list[Gateway]: ...

    def entries(self) -> list[str]:
        """Services by which users come in."""
        ...

    def verdict(self, obj: Obj, weight: float, *, expecting: bool) -> tuple[Outcome, str] | None: ...

    def standing(self, obj: Obj) -> str: ...

    def stopping(self, obj: Obj) -> bool: ...

    def deed(self, obj: Obj, does: Deed, world: World) -> tuple[tuple[Resource, str, Mapping[str, Any], bool], ...]:
        """Merge patches that a person's deed comes to: resource, name, body, whether of the status. Raises `Refused`."""
        ...


_RUNS = (("canary", "currentBackgroundAnalysisRunStatus"), ("canary", "currentStepAnalysisRunStatus"),
         ("blueGreen", "prePromotionAnalysisRunStatus"), ("blueGreen", "postPromotionAnalysisRunStatus"))
"""Where the status of a Rollout names its analysis."""


class RolloutCase:
    """Implements `Case`."""

    resource = ROLLOUTS

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self.judge: SecondJudge = Judge()
        self._stable_hash = ""

    def objects(self) -> list[Obj]:
        rollout = copy_of(self._subject.rollout)
        mark(rollout, OLD)
        return [rollout]

    def queries(self) -> list[str]:
        return [metric.query for metric in self._subject.metrics()]

    def outside(self, informers: Informers, clock: Clock) -> list[Controller]:
        jobs = any("job" in metric.raw.get("provider", {}) for metric in self._subject.metrics())
        return [JobController(informers, clock)] if jobs else []

    def tested(self, world: World, informers: Informers) -> list[Controller]:
        clock = world.clock
        return [
            RolloutController(informers, verify_weights=True), ExperimentController(informers),
            AnalysisRunController(informers, clock, {
                "prometheus": world.for_every_seed(
                    PrometheusProvider(Queriers(world.queries, lambda server: world.queries), clock)),
                "job": JobProvider(informers.api, clock),
                "fairway": world.for_every_seed(GateProvider(world.counted, clock)),
            }),
        ]  # fmt: skip

    def serves(self, obj: Obj) -> bool:
        return status_of(obj).get("phase") == "Healthy" and bool(status_of(obj).get("stableRS"))

    def invalid(self, obj: Obj) -> bool:
        return any(c.get("type") == "InvalidSpec" and c.get("status") == "True"
                   for c in status_of(obj).get("conditions") or ())

    def begin(self, obj: Obj) -> None:
        self._stable_hash = str(dig(obj, "status", "stableRS", default=""))

    async def new_version(self, world: World) -> None:
        template: Obj = {"metadata": {"annotations": {VERSION: NEW}}}
        if self._subject.policies:
            containers = dig(world.rollout(), "spec", "template", "spec", "containers", default=[])
            template["spec"] = {"containers": [{**one, "image": f"{one.get('image')}{NEW_IMAGE}"} for one in containers]}
        body = {"spec": {"template": template}}
        await world.api.patch(ROLLOUTS, self._subject.name, self._subject.namespace, MergePatch(body))

    def version(self, pod: Obj | None) -> str:
        pod_hash = labels_of(pod).get(HASH_LABEL, "") if pod else ""
        return OLD if not self._stable_hash or pod_hash == self._stable_hash else NEW

    def unit(self, pod: Obj | None, service: str) -> str:
        return labels_of(pod).get(HASH_LABEL, "") if pod else ""

    def units(self, pods: Sequence[Obj]) -> set[str]:
        return {labels_of(pod).get(HASH_LABEL, "") for pod in pods} - {""}

    def gateways(self, unit: str) -> list[Gateway]:
        subject, new = self._subject, bool(self._stable_hash) and unit != self._stable_hash
        canary, ns = subject.canary, subject.namespace
        service = str(canary.get("canaryService" if new else "stableService") or subject.name)
        ingress = str(dig(canary, "trafficRouting", "nginx", "stableIngress", default=subject.name))
        istio = {"reporter": "destination", "destination_workload": subject.name, "destination_workload_namespace": ns,
                 "destination_service": f"{service}.{ns}.svc.cluster.local", "destination_service_name": service,
                 "destination_service_namespace": ns, "rollouts_pod_template_hash": unit}
        nginx = {"namespace": ns, "exported_namespace": ns, "ingress": ingress, "service": service,
                 "exported_service": service, "canary": f"{ns}-{service}-80" if new else ""}
        envoy = {"envoy_cluster_name": f"{ns}|{service}|80|{unit}"}
        return labelled(envoy, istio, nginx)

    def entries(self) -> list[str]:
        return [str(self._subject.canary.get(name) or "") for name in ("stableService", "canaryService")]

    def verdict(self, obj: Obj, weight: float, *, expecting: bool) -> tuple[Outcome, str] | None:
        status = status_of(obj)
        if str(status.get("observedGeneration")) != str(dig(obj, "metadata", "generation")):
            return None
        if self.invalid(obj):
            return "held", str(status.get("message"))
        current = status.get("currentPodHash")
        if current == self._stable_hash:
            return None  # the new version has not been seen yet
        if status.get("phase") == "Healthy" and status.get("stableRS") == current:
            return "promoted", "all steps are done"
        if expecting:
            return None
        if status.get("abort") and weight == 0:
            return "aborted", str(status.get("message") or "")
        if _waits_for_a_person(obj) or (status.get("phase") == "Degraded" and not status.get("abort")):
            return "held", self.standing(obj)
        return None

    def standing(self, obj: Obj) -> str:
        status = status_of(obj)
        for pause in status.get("pauseConditions") or ():
            if pause.get("reason") == "InconclusiveAnalysisRun":
                runs = [dig(status, *where, default={}) for where in _RUNS]
                undecided = (run.get("message") for run in runs if run.get("status") == "Inconclusive")
                said = next((f": {message}" for message in undecided if message), "")
                return f"Paused: InconclusiveAnalysisRun{said}; a person has to promote or abort"
        return f"{status.get('phase')}: {status.get('message') or ''}".rstrip(": ")

    def stopping(self, obj: Obj) -> bool:
        return bool(status_of(obj).get("abort"))

    def deed(self, obj: Obj, does: Deed, world: World) -> tuple[tuple[Resource, str, Mapping[str, Any], bool], ...]:
        match does:
            case "promote" | "promote-full":
                patches = commands.promote(obj, full=does == "promote-full")
            case "abort":
                patches = commands.abort(obj)
            case "retry":
                patches = commands.retry(obj)
            case "pause":
                patches = commands.pause(obj)
            case "resume":
                patches = commands.Patches({"spec": {"paused": False}})
        if does.startswith("promote"):
            self.judge.person_promotes()
        name = self._subject.name
        return tuple((ROLLOUTS, name, body, of_status) for body, of_status in ((patches.spec, False), (patches.status, True))
                     if body is not None)


def _waits_for_a_person(rollout: Obj) -> bool:
    status = status_of(rollout)
    if dig(rollout, "spec", "paused"):
        return True
    for pause in status.get("pauseConditions") or ():
        if pause.get("reason") == "InconclusiveAnalysisRun":
            return True
        steps = dig(rollout, "spec", "strategy", "canary", "steps", default=[])
        index = int(status.get("currentStepIndex") or 0)
        step = steps[index] if index < len(steps) else {}
        if pause.get("reason") == "CanaryPauseStep" and "pause" in step and not (step["pause"] or {}).get("duration"):
            return True
    return False


def labelled(envoy: Mapping[str, str], istio: Mapping[str, str], nginx: Mapping[str, str]) -> list[Gateway]:
    found = (("envoy_cluster_", envoy), ("istio_", istio), ("nginx_ingress_controller_", nginx))
    return [(prefix, tuple(sorted((n, v) for n, v in labels.items() if v))) for prefix, labels in found]


def mark(workload: Obj, version: str) -> None:
    template = workload["spec"].setdefault("template", {})
    template.setdefault("metadata", {}).setdefault("annotations", {})[VERSION] = version

