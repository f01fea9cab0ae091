"""Autoscalers: the primary gets a copy of the target's; KEDA's are paused while the target has nothing to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fairway.kube.api import JsonPatch, MergePatch
from fairway.kube.decision import Action, Change, Create
from fairway.kube.objects import Obj, annotations_of, copy_of, dig, labels_of, spec_of
from fairway.kube.resources import HORIZONTAL_POD_AUTOSCALERS, SCALED_OBJECTS, Resource
from fairway.rollouts.flagger.spec import CanarySpec
from fairway.rollouts.flagger.workload import own_annotations

KINDS: Mapping[str, Resource] = {"HorizontalPodAutoscaler": HORIZONTAL_POD_AUTOSCALERS, "ScaledObject": SCALED_OBJECTS}
PAUSED = "autoscaling.keda.sh/paused-replicas"


class NoScaler(ValueError):
    """The autoscaler that the Canary names is not there, or of a kind that is not carried."""


def primary_scaler(spec: CanarySpec, seen: Mapping[str, Obj], owner: Obj, *, init: bool) -> Iterator[Action]:
    """Its copy, created once and (not `init`) brought up to date."""
    if spec.autoscaler is None:
        return
    if spec.autoscaler.kind not in KINDS:
        raise NoScaler(f"cd.Spec.AutoscalerRef.Kind is invalid: {spec.autoscaler.kind}")
    source = seen.get(spec.autoscaler.name)
    if source is None:
        raise NoScaler(f"{spec.autoscaler.kind} {spec.autoscaler.name}.{spec.namespace} get query error: it is not there")
    name = f"{spec.autoscaler.name}-primary"
    wished, there = _copy(spec, source), seen.get(name)
    if there is None:
        yield Create({"apiVersion": source["apiVersion"], "kind": source["kind"],
                      "metadata": {"name": name, "namespace": spec.namespace, "labels": dict(labels_of(source)),
                                   "annotations": {k: v for k, v in own_annotations(annotations_of(source)).items()
                                                   if k != PAUSED},
                                   "ownerReferences": [owner]}, "spec": wished})
    elif not init and spec_of(there) != wished:
        yield Change(KINDS[source["kind"]], spec.namespace, name,
                     JsonPatch([{"op": "replace", "path": "/spec", "value": wished}]))


def _copy(spec: CanarySpec, source: Obj) -> Obj:
    made = copy_of(spec_of(source))
    made["scaleTargetRef"] = {**(made.get("scaleTargetRef") or {}), "name": spec.primary}
    replicas = spec.scaler.get("primaryScalerReplicas") or {}
    names = ("minReplicas", "maxReplicas") if source["kind"] == "HorizontalPodAutoscaler" else (
        "minReplicaCount", "maxReplicaCount")
    for name, given in zip(names, ("minReplicas", "maxReplicas"), strict=True):
        if replicas.get(given) is not None:
            made[name] = replicas[given]
    queries = spec.scaler.get("primaryScalerQueries") or {}
    for trigger in made.get("triggers") or ():
        query = queries.get(trigger.get("name"))
        if query:
            trigger["metadata"]["query"] = query
        elif "query" in (trigger.get("metadata") or {}):
            trigger["metadata"]["query"] = trigger["metadata"]["query"].replace(spec.target.name, spec.primary)
    return made


def pause(spec: CanarySpec, seen: Mapping[str, Obj]) -> Iterator[Action]:
    """A HorizontalPodAutoscaler rests by itself where there are no replicas."""
    yield from _paused(spec, seen, "0")


def resume(spec: CanarySpec, seen: Mapping[str, Obj]) -> Iterator[Action]:
    yield from _paused(spec, seen, None)


def _paused(spec: CanarySpec, seen: Mapping[str, Obj], value: str | None) -> Iterator[Action]:
    if spec.autoscaler is None or spec.autoscaler.kind != "ScaledObject":
        return
    there = seen.get(spec.autoscaler.name)
    if there is not None and annotations_of(there).get(PAUSED) != value:
        yield Change(SCALED_OBJECTS, spec.namespace, spec.autoscaler.name, MergePatch({"metadata": {"annotations": {
            PAUSED: value}}}))


def least_replicas(spec: CanarySpec, seen: Mapping[str, Obj]) -> int:
    source = seen.get(spec.autoscaler.name) if spec.autoscaler is not None else None
    return int(dig(source, "spec", "minReplicas", default=0) or 1) if source is not None else 1
