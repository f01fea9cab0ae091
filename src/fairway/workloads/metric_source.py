"""The port through which the autoscaler asks for metrics. The platform puts the metrics room behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PodMetric:
    """What one pod shows, in cores, bytes or the metric's own unit. `at` ends the `window_s` that it was measured over."""

    value: float
    at: datetime
    window_s: float = 0.0


class MetricUnavailable(Exception):
    """There is no answer now: unknown is neither zero nor plenty."""


@dataclass(frozen=True, slots=True)
class MetricName:
    """A metric and the label selector that narrows it ("" for none), as kubectl writes it."""

    name: str
    selector: str = ""


class MetricSource(Protocol):
    """Every question raises `MetricUnavailable` where it has no answer; a pod without a sample is left out."""

    async def pod_resource(self, namespace: str, pods: Sequence[str], resource: str, container: str = ""
                           ) -> Mapping[str, PodMetric]:
        """Use of `cpu` (cores) or `memory` (bytes) by pod name; of one container where it is named."""
        ...

    async def pod_metric(self, namespace: str, pods: Sequence[str], metric: MetricName) -> Mapping[str, PodMetric]: ...

    async def object_metric(self, namespace: str, kind: str, name: str, metric: MetricName) -> float: ...

    async def external_metric(self, namespace: str, metric: MetricName) -> Sequence[float]:
        """One value per series."""
        ...


class NoMetrics:
    """Where nobody measures. Implements `MetricSource`."""

    async def pod_resource(self, namespace: str, pods: Sequence[str], resource: str, container: str = ""
                           ) -> Mapping[str, PodMetric]:
        raise MetricUnavailable("unable to fetch metrics from resource metrics API: nobody measures here")

    async def pod_metric(self, namespace: str, pods: Sequence[str], metric: MetricName) -> Mapping[str, PodMetric]:
        raise MetricUnavailable("unable to fetch metrics from custom metrics API: nobody measures here")

    async def object_metric(self, namespace: str, kind: str, name: str, metric: MetricName) -> float:
        raise MetricUnavailable("unable to fetch metrics from custom metrics API: nobody measures here")

    async def external_metric(self, namespace: str, metric: MetricName) -> Sequence[float]:
        raise MetricUnavailable("unable to fetch metrics from external metrics API: nobody measures here")
