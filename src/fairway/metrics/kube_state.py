"""The state of objects as metrics, under the names that kube-state-metrics made common.

Computed from the API's caches, so that rules and analyses written for a cluster (restarts, readiness, replicas) work
here too. Labels of objects are all shown (`kube_pod_labels` and its like), where kube-state-metrics shows those it is told to.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from fairway.kube import resources
from fairway.kube.objects import Obj, meta_of
from fairway.kube.resources import Resource
from fairway.metrics import kube_state_cluster, kube_state_objects, kube_state_pods
from fairway.metrics.kube_state_samples import Sample
from fairway.metrics.labels import NAME
from fairway.metrics.store import TargetBlock

SERIES: Mapping[Resource, Callable[[Obj], Iterator[Sample]]] = {
    resources.PODS: kube_state_pods.pod, **kube_state_objects.SERIES, **kube_state_cluster.SERIES}  # fmt: skip


def kube_state(objects: Iterable[tuple[Resource, Iterable[Obj]]]) -> Iterator[Sample]:
    for resource, found in objects:
        for obj in found:
            yield from SERIES[resource](obj)


@dataclass(frozen=True, slots=True)
class _Shown:
    """What an object shows for as long as it is this one."""

    version: str
    rows: array[int]
    values: array[float]


class StateRecorder:
    """Rows of a block for objects. What has not changed is not computed again: most objects have not."""

    def __init__(self, block: TargetBlock) -> None:
        self._block, self._generation = block, block.generation
        self._shown: dict[tuple[str, str], _Shown] = {}

    def rows(self, objects: Iterable[tuple[Resource, Iterable[Obj]]]) -> tuple[list[int], list[float]]:
        """(rows, values) of all series of these objects."""
        if self._generation != self._block.generation:
            self._generation = self._block.generation
            self._shown.clear()
        shown: dict[tuple[str, str], _Shown] = {}
        rows: list[int] = []
        values: list[float] = []
        for resource, found in objects:
            for obj in found:
                key, version = (resource.qualified, str(meta_of(obj).get("uid", ""))), str(meta_of(obj).get("resourceVersion"))
                one = self._shown.get(key)
                if one is None or one.version != version:
                    one = self._show(resource, obj, version)
                shown[key] = one
                rows += one.rows
                values += one.values
        self._shown = shown
        return rows, values

    def _show(self, resource: Resource, obj: Obj, version: str) -> _Shown:
        rows, values = array("l"), array("d")
        for labels, value in SERIES[resource](obj):
            row = self._block.row(labels, counter=labels[NAME] in kube_state_pods.COUNTERS)
            if row >= 0:
                rows.append(row)
                values.append(value)
        return _Shown(version, rows, values)
