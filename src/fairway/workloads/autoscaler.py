"""The hands of HorizontalPodAutoscalers: read the scale and the metrics, decide, set the scale.

Any kind with a scale subresource is scaled alike: Deployments, StatefulSets, Rollouts, custom kinds.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from fairway.kube.api import MergePatch, WriteOptions
from fairway.kube.cache import Informers
from fairway.kube.clock import Clock
from fairway.kube.decision import Outcome, carry_out_decision
from fairway.kube.errors import ApiError
from fairway.kube.events import EventRecorder
from fairway.kube.objects import Key, Obj, dig, is_deleting, meta_of, spec_of
from fairway.kube.reconcile import Watch
from fairway.kube.resources import HORIZONTAL_POD_AUTOSCALERS, PODS
from fairway.kube.selectors import parse_labels
from fairway.workloads import decide_autoscaler
from fairway.workloads.autoscaler_behavior import Memory
from fairway.workloads.decide_autoscaler import Reading, metric_name
from fairway.workloads.metric_source import MetricSource, MetricUnavailable, NoMetrics


class AutoscalerController:
    """Implements `Controller`. What it recommended lives in memory alone: after a restart the windows begin anew."""

    name = "horizontal-pod-autoscaler"
    resource = HORIZONTAL_POD_AUTOSCALERS
    workers = 2

    def __init__(self, informers: Informers, clock: Clock, metrics: MetricSource | None = None) -> None:
        self._informers = informers
        self._metrics = metrics or NoMetrics()
        self._events = EventRecorder(informers.api, clock, self.name)
        self._autoscalers, self._pods = informers.of(HORIZONTAL_POD_AUTOSCALERS), informers.of(PODS)
        self._memories: dict[Key, Memory] = {}
        self._looked: dict[Key, tuple[str, datetime]] = {}

    def watches(self) -> Sequence[Watch]:
        return ()

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        one = self._autoscalers.get(key)
        if one is None or is_deleting(one):
            self._memories.pop(key, None)
            self._looked.pop(key, None)
            return Outcome()
        said = repr(spec_of(one))
        before = self._looked.get(key)
        if before is not None and before[0] == said and now < before[1]:
            return Outcome(wake_at=before[1])  # our own status came back: the metrics are looked at once a period
        self._looked[key] = said, now + decide_autoscaler.EVERY
        scale = await self._scale(one)
        pods: list[Obj] = []
        if isinstance(scale, dict) and (selector := dig(scale, "status", "selector")):
            pods = self._pods.list(key.namespace, parse_labels(selector))
        readings = [await self._read(key.namespace, metric, pods) for metric in spec_of(one).get("metrics") or ()]
        seen = decide_autoscaler.Seen(one, scale, pods, readings, self._memories.get(key, Memory()))
        result = decide_autoscaler.decide(seen, now)
        if result.scale_to is not None:
            result = await self._rescale(one, result, now, int(dig(scale, "spec", "replicas", default=0)))
        self._memories[key] = result.memory
        outcome = await carry_out_decision(self._informers.api, result.decision, self.resource, one, manager=self.name)
        for remark in result.remarks:
            await self._events.event(one, remark.kind, remark.reason, remark.message)
        return outcome

    async def _scale(self, one: Obj) -> Obj | str:
        """The port has no read of a scale; a change of nothing that is not kept answers with it."""
        target = spec_of(one).get("scaleTargetRef") or {}
        api = self._informers.api
        try:
            resource = api.resources.of_kind(target.get("apiVersion", ""), target.get("kind", ""))
            return await api.patch(resource, target.get("name", ""), meta_of(one)["namespace"], MergePatch({}),
                                   WriteOptions(manager=self.name, dry_run=True), subresource="scale")
        except ApiError as error:
            return error.message

    async def _read(self, namespace: str, metric: Obj, pods: Sequence[Obj]) -> Reading:
        names = [meta_of(pod)["name"] for pod in pods]
        try:
            match metric["type"]:
                case "Resource":
                    return await self._metrics.pod_resource(namespace, names, metric["resource"]["name"])
                case "ContainerResource":
                    said = metric["containerResource"]
                    return await self._metrics.pod_resource(namespace, names, said["name"], said["container"])
                case "Pods":
                    return await self._metrics.pod_metric(namespace, names, metric_name(metric))
                case "Object":
                    about = metric["object"]["describedObject"]
                    found = await self._metrics.object_metric(namespace, about["kind"], about["name"], metric_name(metric))
                    return [found]
                case _:
                    return await self._metrics.external_metric(namespace, metric_name(metric))
        except MetricUnavailable as unknown:
            return unknown

    async def _rescale(self, one: Obj, result: decide_autoscaler.Result, now: datetime, before: int
                       ) -> decide_autoscaler.Result:
        target = spec_of(one)["scaleTargetRef"]
        api = self._informers.api
        resource = api.resources.of_kind(target["apiVersion"], target["kind"])
        try:
            await api.patch(resource, target["name"], meta_of(one)["namespace"],
                            MergePatch({"spec": {"replicas": result.scale_to}}), WriteOptions(manager=self.name),
                            subresource="scale")
        except ApiError as error:
            return decide_autoscaler.not_scaled(result, now, error.message)
        return decide_autoscaler.scaled(result, now, before)
