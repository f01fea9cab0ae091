"""What the node measures of its containers, as series under the names that cAdvisor made common.

`job` and `metrics_path` are those under which a kubelet is usually scraped, so that rules written for a cluster find them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from fairway.kube.objects import dig, key_of, labels_of, spec_of
from fairway.metrics.labels import NAME
from fairway.metrics.series import millis
from fairway.metrics.store import Store
from fairway.node.usage import ContainerUsage, UsageMeter

_SCRAPED = {"job": "kubelet", "metrics_path": "/metrics/cadvisor"}
_KUBELET = {"job": "kubelet", "metrics_path": "/metrics"}
_COUNTERS = frozenset({"container_cpu_usage_seconds_total"})
_HASH = "rollouts_pod_template_hash"
_PERIOD_US = 100_000  # in which the kernel counts a quota of CPU time

Sample = tuple[str, Mapping[str, str], float]


class ContainerSeries:
    """`record` is for the meter to call at each of its looks. `disk`: where claims lie."""

    def __init__(self, store: Store, meter: UsageMeter, disk: Path) -> None:
        self._block, self._meter, self._disk = store.block("containers"), meter, disk

    def record(self, now: datetime) -> None:
        rows, values = [], []
        found = (*((one, _SCRAPED) for one in samples(self._meter)),
                 *((one, _KUBELET) for one in claim_samples(self._meter, self._disk)))
        for (name, labels, value), scraped in found:
            row = self._block.row({NAME: name, **scraped, **{k: v for k, v in labels.items() if v}}, counter=name in _COUNTERS)
            if row >= 0:
                rows.append(row)
                values.append(value)
        self._block.append(millis(now), rows, values)


def samples(meter: UsageMeter) -> Iterator[Sample]:
    """(name, labels, value)."""
    for one in meter.containers:
        yield from _container(one)
    node = {"node": meter.node_name, "instance": meter.node_name}
    yield "machine_cpu_cores", node, float(os.cpu_count() or 1)
    yield "machine_memory_bytes", node, float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def claim_samples(meter: UsageMeter, disk: Path) -> Iterator[Sample]:
    """Of each claim that a pod uses: a claim is a folder, and has the room that the disk has."""
    claims = {(key_of(one.pod).namespace, name) for one in meter.containers for volume in spec_of(one.pod).get("volumes") or ()
              if (name := dig(volume, "persistentVolumeClaim", "claimName"))}
    if not claims or not disk.is_dir():
        return
    room = os.statvfs(disk)
    values = {"capacity_bytes": room.f_blocks * room.f_frsize, "available_bytes": room.f_bavail * room.f_frsize,
              "used_bytes": (room.f_blocks - room.f_bfree) * room.f_frsize, "inodes": room.f_files,
              "inodes_free": room.f_favail, "inodes_used": room.f_files - room.f_ffree}  # fmt: skip
    for namespace, claim in sorted(claims):
        labels = {"namespace": namespace, "persistentvolumeclaim": claim, "node": meter.node_name, "instance": meter.node_name}
        for name, value in values.items():
            yield f"kubelet_volume_stats_{name}", labels, float(value)


def _container(one: ContainerUsage) -> Iterator[Sample]:
    (namespace, pod), node = key_of(one.pod), str(spec_of(one.pod).get("nodeName", ""))
    labels = {"namespace": namespace, "pod": pod, "container": one.container, "image": one.image, "id": one.run_id,
              "name": one.run_id.rpartition("//")[2].replace("/", "-"), "node": node, "instance": node,
              _HASH: labels_of(one.pod).get("rollouts-pod-template-hash", "")}  # fmt: skip
    yield "container_cpu_usage_seconds_total", {**labels, "cpu": "total"}, one.cpu_s
    yield "container_memory_working_set_bytes", labels, float(one.now.working)
    yield "container_memory_usage_bytes", labels, float(one.now.working)
    yield "container_memory_rss", labels, float(one.now.own)
    yield "container_processes", labels, float(one.now.processes)
    yield "container_threads", labels, float(one.now.threads)
    yield "container_start_time_seconds", labels, one.started.timestamp()
    yield "container_spec_memory_limit_bytes", labels, float(one.memory_limit)
    if one.cpu_limit:
        yield "container_spec_cpu_quota", labels, one.cpu_limit * _PERIOD_US
        yield "container_spec_cpu_period", labels, float(_PERIOD_US)
