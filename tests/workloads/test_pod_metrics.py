"""What autoscalers ask of the embedded metrics."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fairway.kube.clock import Clock, run_virtual
from fairway.metrics.querier import EmbeddedQuerier
from fairway.metrics.series import millis
from fairway.metrics.store import Store
from fairway.pod_metrics import PodMetrics
from fairway.workloads.metric_source import MetricName, MetricUnavailable

START = datetime(2029, 12, 31, 23, 58, tzinfo=UTC)  # two minutes before the virtual clock begins


def _filled() -> Store:
    store = Store()
    block = store.block("test")
    pods = [("web-0", 0.5), ("web-1", 0.25)]
    for step in range(25):
        rows, values = [], []
        for pod, rate in pods:
            labels = {"namespace": "shop", "pod": pod, "job": "app"}
            rows.append(block.row({"__name__": "process_cpu_seconds_total", **labels}, counter=True))
            values.append(rate * step * 5)
            rows.append(block.row({"__name__": "requests_total", **labels}, counter=True))
            values.append(10.0 * step * 5)
        rows.append(block.row({"__name__": "queue_length", "namespace": "shop", "queue": "a.b"}, counter=False))
        values.append(7.0)
        rows.append(block.row({"__name__": "hits", "namespace": "shop", "service": "web"}, counter=False))
        values.append(3.0)
        block.append(millis(START) + step * 5000, rows, values)
    return store


def test_use_counters_queues_and_objects_are_found() -> None:
    async def story(clock: Clock) -> None:
        source = PodMetrics(EmbeddedQuerier(_filled()), clock)
        cpu = await source.pod_resource("shop", ["web-0", "web-1"], "cpu")
        assert {name: round(one.value, 2) for name, one in cpu.items()} == {"web-0": 0.5, "web-1": 0.25}
        requests = await source.pod_metric("shop", ["web-0"], MetricName("requests"))
        assert {name: round(one.value) for name, one in requests.items()} == {"web-0": 10}
        assert await source.external_metric("shop", MetricName("queue_length", "queue=a.b")) == [7.0]
        assert await source.object_metric("shop", "Service", "web", MetricName("hits")) == 3.0
        with pytest.raises(MetricUnavailable, match="no metrics returned from external metrics API"):
            await source.external_metric("shop", MetricName("queue_length", "queue in (c)"))
        with pytest.raises(MetricUnavailable, match="nobody measures nvidia"):
            await source.pod_resource("shop", ["web-0"], "nvidia.com/gpu")

    run_virtual(story)
