"""What a HorizontalPodAutoscaler does next: the largest number that any of its metrics asks for, as fast as it may.

A metric that cannot be read never shrinks the target: unknown is not zero. Source: kubernetes
`pkg/controller/podautoscaler/horizontal.go`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fairway.kube.decision import Decision, Reason
from fairway.kube.objects import Obj, dig, meta_of, rfc3339, spec_of, status_of, with_condition
from fairway.kube.quantity import parse_quantity
from fairway.kube.selectors import from_label_selector, to_text
from fairway.workloads.autoscaler_behavior import Memory, behavior_of, limited
from fairway.workloads.autoscaler_replicas import (
    Proposal,
    Target,
    by_average,
    by_share,
    by_utilization,
    by_value,
)
from fairway.workloads.metric_source import MetricName, MetricUnavailable, PodMetric
from fairway.workloads.remarks import Remark

EVERY = timedelta(seconds=15)
Reading = Mapping[str, PodMetric] | Sequence[float] | MetricUnavailable
"""By pod, or one value per series, or why there is none."""


@dataclass(frozen=True, slots=True)
class Seen:
    """`scale`: of the target, or why it cannot be had. `readings`: one per metric of the spec."""

    autoscaler: Obj
    scale: Obj | str
    pods: Sequence[Obj]
    readings: Sequence[Reading]
    memory: Memory


@dataclass(frozen=True, slots=True)
class Result:
    """`scale_to`: what the target's scale is set to. The hands say `scaled` or `not_scaled` of it afterwards."""

    decision: Decision
    memory: Memory
    scale_to: int | None = None
    why: str = ""
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True)
class _Conclusion:
    """What the metrics say together."""

    replicas: int
    cause: str
    active: tuple[bool, str, str]
    current: tuple[Obj, ...]
    remarks: tuple[Remark, ...] = ()
    failed: bool = False


def decide(seen: Seen, now: datetime) -> Result:
    spec, conditions = spec_of(seen.autoscaler), list(status_of(seen.autoscaler).get("conditions") or ())
    if isinstance(seen.scale, str):
        words = f"the HPA controller was unable to get the target's current scale: {seen.scale}"
        entry = _entry(now, "AbleToScale", False, "FailedGetScale", words)
        failed: Obj = {"conditions": with_condition(conditions, entry)}
        return Result(Decision((), failed, now + EVERY, (Reason("FailedGetScale", seen.scale),)), seen.memory,
                      remarks=(Remark("Warning", "FailedGetScale", seen.scale),))
    current = int(dig(seen.scale, "spec", "replicas", default=0))
    able = ("SucceededGetScale", "the HPA controller was able to get the target's current scale")
    least, most = int(spec.get("minReplicas", 1)), int(spec["maxReplicas"])
    status: Obj = {"currentReplicas": int(dig(seen.scale, "status", "replicas", default=0)), "desiredReplicas": current}
    if generation := meta_of(seen.autoscaler).get("generation"):
        status["observedGeneration"] = generation
    if current == 0 and least != 0:
        entries = [_entry(now, "AbleToScale", True, *able), _entry(now, "ScalingActive", False, "ScalingDisabled",
                   "scaling is disabled since the replica count of the target is zero")]  # fmt: skip
        return _result(seen, status, conditions, entries, now, Reason("ScalingDisabled", "the target has no replicas"))
    if current > most or current < least:
        desired = most if current > most else least
        why = f"Current number of replicas {'above Spec.MaxReplicas' if current > most else 'below Spec.MinReplicas'}"
        found = _result(seen, status, conditions, [_entry(now, "AbleToScale", True, *able)], now, Reason("OutOfRange", why))
        return replace(found, scale_to=desired, why=why)
    behavior = behavior_of(spec)
    said = _conclude(seen.autoscaler, Target(current, seen.pods, now, behavior.tolerances), seen.readings)
    status["currentMetrics"] = list(said.current) or None
    entries = [_entry(now, "AbleToScale", True, *able), _entry(now, "ScalingActive", *said.active)]
    if said.failed:
        found = _result(seen, status, conditions, entries, now, Reason(said.active[1], said.active[2]))
        return replace(found, remarks=said.remarks)
    memory = seen.memory if seen.memory.recommendations else seen.memory.recommended(now, current)
    memory = memory.recommended(now, said.replicas)
    limit = limited(behavior, memory, now, current, said.replicas, least, most)
    entries += [_entry(now, "AbleToScale", True, *limit.able), _entry(now, "ScalingLimited", *limit.limit)]
    status["desiredReplicas"] = limit.replicas
    reason = Reason(limit.limit[1], f"{current} to {limit.replicas}, the metrics ask for {said.replicas}")
    found = replace(_result(seen, status, conditions, entries, now, reason), memory=memory, remarks=said.remarks)
    if limit.replicas == current:
        return found
    why = f"{said.cause} above target" if limit.replicas > current else "All metrics below target"
    return replace(found, scale_to=limit.replicas, why=why)


def scaled(result: Result, now: datetime, before: int) -> Result:
    """After the target took its new size."""
    assert result.scale_to is not None and result.decision.status is not None
    words = f"the HPA controller was able to update the target scale to {result.scale_to}"
    entry = _entry(now, "AbleToScale", True, "SucceededRescale", words)
    status = {**result.decision.status, "desiredReplicas": result.scale_to, "lastScaleTime": rfc3339(now),
              "conditions": with_condition(result.decision.status["conditions"], entry)}
    remark = Remark("Normal", "SuccessfulRescale", f"New size: {result.scale_to}; reason: {result.why}")
    return replace(result, decision=replace(result.decision, status=status), remarks=(*result.remarks, remark),
                   memory=result.memory.scaled(now, before, result.scale_to))


def not_scaled(result: Result, now: datetime, error: str) -> Result:
    assert result.decision.status is not None
    words = f"the HPA controller was unable to update the target scale: {error}"
    entry = _entry(now, "AbleToScale", False, "FailedUpdateScale", words)
    status = {**result.decision.status, "conditions": with_condition(result.decision.status["conditions"], entry)}
    remark = Remark("Warning", "FailedRescale", f"New size: {result.scale_to}; reason: {result.why}; error: {error}")
    return replace(result, decision=replace(result.decision, status=status), remarks=(*result.remarks, remark))


def _result(seen: Seen, status: Obj, conditions: list[Obj], entries: Sequence[Obj], now: datetime, reason: Reason) -> Result:
    for entry in entries:
        conditions = with_condition(conditions, entry)
    return Result(Decision((), {**status, "conditions": conditions}, now + EVERY, (reason,)), seen.memory)


def _entry(now: datetime, kind: str, holds: bool, reason: str, message: str) -> Obj:
    return {"type": kind, "status": "True" if holds else "False", "lastTransitionTime": rfc3339(now), "reason": reason,
            "message": message}


# --- metrics ----------------------------------------------------------------------------------------------------------

_FIELDS = {"Resource": "resource", "ContainerResource": "containerResource", "Pods": "pods", "Object": "object",
           "External": "external"}


def metric_name(metric: Obj) -> MetricName:
    """Of a Pods, Object or External metric."""
    said = dig(metric, _FIELDS[metric["type"]], "metric", default={})
    selector = to_text(from_label_selector(said["selector"])) if said.get("selector") else ""
    return MetricName(said.get("name", ""), selector)


def _conclude(autoscaler: Obj, target: Target, readings: Sequence[Reading]) -> _Conclusion:
    spec, namespace = spec_of(autoscaler), str(meta_of(autoscaler).get("namespace", ""))
    best: tuple[int, str] | None = None
    current: list[Obj] = []
    failures: list[tuple[str, str, str]] = []
    for metric, reading in zip(spec.get("metrics") or (), readings, strict=True):
        try:
            proposal = _proposal(metric, target, reading)
        except MetricUnavailable as error:
            why = _unread(metric, namespace, error) if error is reading else str(error)
            failures.append((f"FailedGet{metric['type']}Metric", *_failed(metric, why)))
            continue
        current.append(_shown(metric, proposal.current))
        if best is None or proposal.replicas > best[0]:
            best = proposal.replicas, _called(metric)
    remarks = tuple(Remark("Warning", reason, words) for reason, words, _ in failures)
    if best is None or (failures and best[0] < target.replicas):
        reason, words, whole = failures[0] if failures else ("InvalidMetricSourceType", *["no metric is given"] * 2)
        active = (False, reason, f"the HPA was unable to compute the replica count: {words}")
        invalid = f"invalid metrics ({len(failures)} invalid out of {len(readings)}), first error is: {whole}"
        remarks = (*remarks, Remark("Warning", "FailedComputeMetricsReplicas", invalid))
        return _Conclusion(target.replicas, "", active, tuple(current), remarks, failed=True)
    active = (True, "ValidMetricFound", f"the HPA was able to successfully calculate a replica count from {best[1]}")
    return _Conclusion(best[0], best[1], active, tuple(current), remarks)


def _unread(metric: Obj, namespace: str, error: MetricUnavailable) -> str:
    """Upstream's words for a metric that the metrics API did not answer with."""
    said = metric[_FIELDS[metric["type"]]]
    match metric["type"]:
        case "Resource" | "ContainerResource":
            return f"unable to get metrics for resource {said['name']}: {error}"
        case "Pods":
            return f"unable to get metric {said['metric']['name']}: {error}"
        case "Object":
            about = said["describedObject"]
            return f"unable to get metric {said['metric']['name']}: {about['kind']} on {namespace} {about['name']}/{error}"
        case _:
            name = metric_name(metric)
            return f"unable to get external metric {namespace}/{name.name}/{name.selector or '<none>'}: {error}"


def _failed(metric: Obj, why: str) -> tuple[str, str]:
    """What the condition says of a metric that failed, and what the event about all metrics does."""
    kind, said = metric["type"], metric[_FIELDS[metric["type"]]]
    if kind in ("Resource", "ContainerResource"):
        share = dig(said, "target", "averageUtilization") is not None
        why = f"failed to get {said['name']} {'utilization' if share else 'usage'}: {why}"
        named = f"{said['name']} resource" if kind == "Resource" else f"{said['container']} container"
        return why, f"failed to get {named} metric value: {why}"
    named = f"{metric_name(metric).name} external" if kind == "External" else kind.lower()
    return why, f"failed to get {named} metric value: {why}"


def _proposal(metric: Obj, target: Target, reading: Reading) -> Proposal:
    if isinstance(reading, MetricUnavailable):
        raise reading
    said, kind = metric[_FIELDS[metric["type"]]], metric["type"]
    wanted = said.get("target") or {}
    if isinstance(reading, Mapping):
        if kind in ("Resource", "ContainerResource") and wanted.get("averageUtilization") is not None:
            return by_utilization(target, reading, said["name"], int(wanted["averageUtilization"]), said.get("container", ""))
        resource = said["name"] if kind in ("Resource", "ContainerResource") else ""
        return by_average(target, reading, _number(wanted, "averageValue"), resource)
    if wanted.get("averageValue") is not None:
        return by_share(target, reading, _number(wanted, "averageValue"))
    return by_value(target, sum(reading), _number(wanted, "value"))


def _number(wanted: Obj, name: str) -> float:
    value = float(parse_quantity(wanted[name])) if wanted.get(name) is not None else 0.0
    if value <= 0:
        raise MetricUnavailable(f"target.{name} must be a quantity above 0")
    return value


def _called(metric: Obj) -> str:
    """In the words of upstream's messages."""
    kind, said = metric["type"], metric[_FIELDS[metric["type"]]]
    share = dig(said, "target", "averageUtilization") is not None
    match kind:
        case "Resource":
            return f"{said['name']} resource utilization (percentage of request)" if share else f"{said['name']} resource"
        case "ContainerResource":
            return (f"{said['name']} container resource utilization (percentage of request)" if share
                    else f"{said['name']} container resource")
        case "Pods":
            return f"pods metric {said['metric']['name']}"
        case "Object":
            return f"{said['describedObject']['kind']} metric {said['metric']['name']}"
        case _:
            name = metric_name(metric)
            return f"external metric {name.name}({name.selector or 'nil'})"


def _shown(metric: Obj, current: Obj) -> Obj:
    field = _FIELDS[metric["type"]]
    kept = {name: value for name, value in metric[field].items() if name != "target"}
    return {"type": metric["type"], field: {**kept, "current": current}}


__all__ = ["EVERY", "Reading", "Result", "Seen", "decide", "metric_name", "not_scaled", "scaled"]
