"""Autoscalers: how many replicas a metric asks for, and how fast they come, with scripted metrics in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fairway.kube.objects import Obj, condition, meta_of, rfc3339, status_of
from fairway.kube.resources import CORE_EVENTS, DEPLOYMENTS, HORIZONTAL_POD_AUTOSCALERS
from fairway.workloads.autoscaler_behavior import Memory, behavior_of, limited
from fairway.workloads.autoscaler_replicas import Target, by_average, by_share, by_utilization, by_value
from fairway.workloads.metric_source import MetricName, MetricUnavailable, PodMetric
from tests.workloads.world import World, deployment, play, said

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def _pod(n: int, *, ready: bool = True, age_s: int = 3600, phase: str = "Running", request: str = "1") -> Obj:
    begun = rfc3339(NOW - timedelta(seconds=age_s))
    return {"metadata": {"name": f"web-{n}", "namespace": "default"},
            "spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": request}}}]},
            "status": {"phase": phase, "startTime": begun, "conditions": [
                {"type": "Ready", "status": str(ready), "lastTransitionTime": begun}]}}


def _use(*values: float | None) -> Mapping[str, PodMetric]:
    return {f"web-{n}": PodMetric(value, NOW, 60) for n, value in enumerate(values) if value is not None}


@pytest.mark.parametrize(("pods", "use", "replicas"), [
    ([_pod(0), _pod(1)], _use(0.9, 0.9), 4),                                # 90 % of 50 %: 1.8 times two
    ([_pod(0), _pod(1)], _use(0.54, 0.54), 2),                              # within the tolerance
    ([_pod(0), _pod(1), _pod(2), _pod(3)], _use(0.1, 0.1, 0.1, 0.1), 1),
    ([_pod(0), _pod(1), _pod(2)], _use(0.9, 0.9, None), 4),                 # the unmeasured one counts as idle
    ([_pod(0), _pod(1), _pod(2)], _use(0.2, 0.2, None), 3),                 # or as full, when the others would shrink
    ([_pod(0), _pod(1, ready=False, age_s=20)], _use(1.0, 1.0), 2),         # cpu of a start does not count
    ([_pod(0), _pod(1, phase="Pending")], _use(2.0, None), 4),
    ([_pod(0), _pod(1, phase="Failed")], _use(1.0, 5.0), 2),
])  # fmt: skip
def test_replicas_for_a_share_of_the_requested_cpu(pods: list[Obj], use: Mapping[str, PodMetric], replicas: int) -> None:
    assert by_utilization(Target(len(pods), pods, NOW), use, "cpu", 50).replicas == replicas


def test_a_pod_without_a_request_is_named() -> None:
    pod = _pod(0)
    pod["spec"]["containers"][0]["resources"] = {}
    with pytest.raises(MetricUnavailable, match="missing request for cpu in container app of Pod web-0"):
        by_utilization(Target(1, [pod], NOW), _use(1.0), "cpu", 50)


def test_no_metric_at_all_is_no_answer() -> None:
    with pytest.raises(MetricUnavailable, match="did not receive metrics for targeted pods"):
        by_average(Target(1, [_pod(0)], NOW), {}, 10.0)


def test_totals_are_held_or_shared() -> None:
    target = Target(2, [_pod(0), _pod(1, ready=False)], NOW)
    assert by_value(target, 300.0, 100.0).replicas == 3, "only the pod that serves carries the load"
    assert by_share(target, [40.0, 30.0], 10.0).replicas == 7
    assert by_share(target, [21.0], 10.0).replicas == 2


@pytest.mark.parametrize(("behavior", "current", "wished", "got", "reason"), [
    ({}, 1, 50, 5, "ScaleUpLimit"), ({}, 10, 50, 20, "ScaleUpLimit"), ({}, 10, 11, 11, "DesiredWithinRange"),
    ({}, 10, 200, 20, "ScaleUpLimit"), ({}, 60, 200, 100, "TooManyReplicas"), ({}, 10, 1, 2, "TooFewReplicas"),
    ({"scaleUp": {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]}}, 10, 50, 12, "ScaleUpLimit"),
    ({"scaleUp": {"selectPolicy": "Min"}}, 2, 50, 4, "ScaleUpLimit"),
    ({"scaleDown": {"selectPolicy": "Disabled"}}, 10, 3, 10, "ScaleDownLimit"),
    ({"scaleDown": {"policies": [{"type": "Percent", "value": 10, "periodSeconds": 60}]}}, 50, 10, 45, "ScaleDownLimit"),
])  # fmt: skip
def test_rates_bound_the_change(behavior: Obj, current: int, wished: int, got: int, reason: str) -> None:
    found = limited(behavior_of({"behavior": behavior}), Memory(), NOW, current, wished, 2, 100)
    assert (found.replicas, found.limit[1]) == (got, reason)


# --- in virtual time --------------------------------------------------------------------------------------------------


class Scripted:
    """Implements `MetricSource`: `load` is shared by the pods that are asked for."""

    def __init__(self, world_clock: list[Any]) -> None:
        self.load: float | None = 0.1
        self.clock = world_clock

    def _all(self) -> float:
        if self.load is None:
            raise MetricUnavailable("the metrics are away")
        return self.load

    async def pod_resource(self, namespace: str, pods: Sequence[str], resource: str, container: str = ""
                           ) -> Mapping[str, PodMetric]:
        return {name: PodMetric(self._all() / len(pods), self.clock[0].now(), 0) for name in pods}

    async def pod_metric(self, namespace: str, pods: Sequence[str], metric: MetricName) -> Mapping[str, PodMetric]:
        return await self.pod_resource(namespace, pods, "")

    async def object_metric(self, namespace: str, kind: str, name: str, metric: MetricName) -> float:
        return self._all()

    async def external_metric(self, namespace: str, metric: MetricName) -> Sequence[float]:
        return [self._all()]


CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}


def autoscaler(*metrics: Obj, **spec: Any) -> Obj:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 10, "metrics": list(metrics or (CPU,)), **spec}}


def _scaled_by(story: Any) -> None:
    clock: list[Any] = []
    source = Scripted(clock)

    async def main(world: World) -> None:
        clock.append(world.clock)
        made = deployment(replicas=1)
        made["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1"}}
        await world.api.create(made)
        await world.until(lambda: world.rolled_out("web"))
        await story(world, source)

    play(main, metrics=source)


async def _replicas(world: World) -> int:
    return int((await world.get(DEPLOYMENTS, "web"))["spec"]["replicas"])


async def _events(world: World) -> dict[str, str]:
    return {one["reason"]: one["message"] for one in await world.list(CORE_EVENTS)
            if one["involvedObject"]["kind"] == "HorizontalPodAutoscaler"}


def test_load_brings_pods_at_once_and_calm_takes_them_after_five_minutes() -> None:
    async def story(world: World, source: Scripted) -> None:
        await world.api.create(autoscaler())
        source.load = 2.0
        await asyncio.sleep(31)
        assert await _replicas(world) == 4
        found = await world.get(HORIZONTAL_POD_AUTOSCALERS, "web")
        assert said(found, "AbleToScale")[0] == "True"
        assert said(found, "ScalingActive") == ("True", "ValidMetricFound")
        shown = status_of(found)["currentMetrics"][0]["resource"]
        assert shown["name"] == "cpu" and shown["current"]["averageUtilization"] in (50, 200)
        assert (await _events(world))["SuccessfulRescale"] == (
            "New size: 4; reason: cpu resource utilization (percentage of request) above target")
        source.load = 0.5
        await asyncio.sleep(240)
        assert await _replicas(world) == 4
        assert said(await world.get(HORIZONTAL_POD_AUTOSCALERS, "web"), "AbleToScale") == ("True", "ScaleDownStabilized")
        await asyncio.sleep(120)
        assert await _replicas(world) == 1

    _scaled_by(story)


def test_metrics_that_are_away_move_nothing_and_it_is_said() -> None:
    async def story(world: World, source: Scripted) -> None:
        source.load = None
        await world.api.create(autoscaler())
        await asyncio.sleep(40)
        found = await world.get(HORIZONTAL_POD_AUTOSCALERS, "web")
        assert said(found, "ScalingActive") == ("False", "FailedGetResourceMetric")
        words = (condition(found, "ScalingActive") or {})["message"]
        assert words == ("the HPA was unable to compute the replica count: failed to get cpu utilization: "
                         "unable to get metrics for resource cpu: the metrics are away")
        assert {"FailedGetResourceMetric", "FailedComputeMetricsReplicas"} <= set(await _events(world))
        assert await _replicas(world) == 1

    _scaled_by(story)


def test_the_largest_of_several_metrics_counts() -> None:
    pods = {"type": "Pods", "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "1"}}}
    about = {"kind": "Service", "name": "web", "apiVersion": "v1"}
    of_object = {"type": "Object", "object": {"describedObject": about, "metric": {"name": "queue"},
                                              "target": {"type": "Value", "value": "10"}}}
    external = {"type": "External", "external": {"metric": {"name": "jobs", "selector": {"matchLabels": {"q": "a"}}},
                                                 "target": {"type": "AverageValue", "averageValue": "500m"}}}

    async def story(world: World, source: Scripted) -> None:
        source.load = 2.4
        await world.api.create(autoscaler(pods, of_object, external))
        await asyncio.sleep(45)
        assert await _replicas(world) == 5
        found = status_of(await world.get(HORIZONTAL_POD_AUTOSCALERS, "web"))
        assert [one["type"] for one in found["currentMetrics"]] == ["Pods", "Object", "External"]
        assert "external metric jobs(q=a) above target" in (await _events(world))["SuccessfulRescale"]

    _scaled_by(story)


def test_the_bounds_hold_whatever_the_metrics_say_and_zero_switches_off() -> None:
    async def story(world: World, source: Scripted) -> None:
        await world.api.create(autoscaler(minReplicas=3))
        await asyncio.sleep(20)
        assert await _replicas(world) == 3
        assert (await _events(world))["SuccessfulRescale"] == (
            "New size: 3; reason: Current number of replicas below Spec.MinReplicas")
        await world.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 0}})
        await asyncio.sleep(40)
        assert await _replicas(world) == 0
        found = await world.get(HORIZONTAL_POD_AUTOSCALERS, "web")
        assert said(found, "ScalingActive") == ("False", "ScalingDisabled")

    _scaled_by(story)


def test_a_target_that_is_not_there_is_said() -> None:
    async def story(world: World, source: Scripted) -> None:
        await world.api.create(autoscaler(scaleTargetRef={"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "none"}))
        await asyncio.sleep(20)
        found = await world.get(HORIZONTAL_POD_AUTOSCALERS, "web")
        assert said(found, "AbleToScale") == ("False", "FailedGetScale")

    _scaled_by(story)


def test_a_rollout_is_scaled_like_everything_else() -> None:
    async def story(world: World, source: Scripted) -> None:
        rollout = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "api", "namespace": "default"},
                   "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "strategy": {"canary": {}},
                            "template": deployment()["spec"]["template"]}}
        made = await world.api.create(rollout)
        made["status"] = {"selector": "app=web"}
        await world.api.replace(made, subresource="status")
        await world.api.create(autoscaler(scaleTargetRef={
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": meta_of(rollout)["name"]}))
        source.load = 2.0
        await asyncio.sleep(31)
        from fairway.kube.resources import ROLLOUTS

        assert (await world.get(ROLLOUTS, "api"))["spec"]["replicas"] > 1

    _scaled_by(story)
