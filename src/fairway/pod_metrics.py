"""What autoscalers ask, answered by the embedded metrics: fills the port `MetricSource` of workloads.

Cpu and memory come from the containers' own series, which the node measures (`container_series`), else from what a process says
of itself (`process_cpu_seconds_total`, `process_resident_memory_bytes`), which every Prometheus client library exports.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from fairway.kube.clock import Clock
from fairway.kube.selectors import parse_labels
from fairway.metrics.querier import Querier, QueryFailed, Sample
from fairway.workloads.metric_source import MetricName, MetricUnavailable, PodMetric

_WINDOW_S = 30
_RESOURCES = {
    "cpu": ("rate(container_cpu_usage_seconds_total{%s}[30s])", "rate(process_cpu_seconds_total{%s}[1m])"),
    "memory": ("container_memory_working_set_bytes{%s}", "process_resident_memory_bytes{%s}"),
}


class PodMetrics:
    """Implements `MetricSource`."""

    def __init__(self, querier: Querier, clock: Clock) -> None:
        self._querier = querier
        self._clock = clock

    async def pod_resource(self, namespace: str, pods: Sequence[str], resource: str, container: str = ""
                           ) -> Mapping[str, PodMetric]:
        forms = _RESOURCES.get(resource)
        if forms is None:
            raise MetricUnavailable(f"unable to fetch metrics from resource metrics API: nobody measures {resource}")
        matchers = _of_pods(namespace, pods) + ([f'container="{container}"'] if container else [])
        text = " or ".join(f"sum by (pod) ({form % ','.join(matchers)})" for form in forms)
        found = self._by_pod(await self._ask(text, "resource"))
        if not found:
            raise MetricUnavailable("no metrics returned from resource metrics API")
        return found

    async def pod_metric(self, namespace: str, pods: Sequence[str], metric: MetricName) -> Mapping[str, PodMetric]:
        matchers = _of_pods(namespace, pods) + _matchers(metric.selector)
        found = self._by_pod(await self._ask(f"sum by (pod) ({_series(metric, matchers)})", "custom"))
        if not found:
            raise MetricUnavailable("no metrics returned from custom metrics API")
        return found

    async def object_metric(self, namespace: str, kind: str, name: str, metric: MetricName) -> float:
        place = [f'namespace="{namespace}"', f'{kind.lower()}="{name}"'] if kind != "Namespace" else [f'namespace="{name}"']
        found = await self._ask(f"sum({_series(metric, place + _matchers(metric.selector))})", "custom")
        if not found:
            raise MetricUnavailable(f"no metric {metric.name} of {kind} {name} returned from custom metrics API")
        return found[0].value

    async def external_metric(self, namespace: str, metric: MetricName) -> Sequence[float]:
        """Of the namespace's own series, or of those that belong to none."""
        matchers = _matchers(metric.selector)
        found = (await self._ask(_series(metric, [f'namespace="{namespace}"', *matchers]), "external")
                 or await self._ask(_series(metric, ['namespace=""', *matchers]), "external"))
        if not found:
            raise MetricUnavailable("no metrics returned from external metrics API")
        return [one.value for one in found]

    async def _ask(self, text: str, api: str) -> Sequence[Sample]:
        try:
            return (await self._querier.query(text, self._clock.now())).samples
        except QueryFailed as error:
            raise MetricUnavailable(f"unable to fetch metrics from {api} metrics API: {error}") from error

    def _by_pod(self, samples: Sequence[Sample]) -> dict[str, PodMetric]:
        now = self._clock.now()
        return {one.labels["pod"]: PodMetric(one.value, now, _WINDOW_S) for one in samples if one.labels.get("pod")}


def _of_pods(namespace: str, pods: Sequence[str]) -> list[str]:
    return [f'namespace="{namespace}"', f'pod=~"{"|".join(re.escape(name).replace(chr(92), chr(92) * 2) for name in pods)}"']


def _series(metric: MetricName, matchers: Sequence[str]) -> str:
    """A metric under its name; a counter also under its name without `_total`, as a rate, as adapters serve it."""
    chosen = ",".join(matchers)
    return f"({metric.name}{{{chosen}}} or rate({metric.name}_total{{{chosen}}}[2m]))"


def _matchers(selector: str) -> list[str]:
    found: list[str] = []
    for one in parse_labels(selector).requirements:
        values = "|".join(re.escape(value).replace("\\", "\\\\") for value in one.values)
        match one.operator:
            case "In":
                found.append(f'{one.key}=~"{values}"')
            case "NotIn":
                found.append(f'{one.key}!~"{values}"')
            case "Exists":
                found.append(f'{one.key}!=""')
            case "DoesNotExist":
                found.append(f'{one.key}=""')
    return found
