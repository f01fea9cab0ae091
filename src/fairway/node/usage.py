"""What containers and the machine use, looked at every few seconds: for `kubectl top`, autoscalers and the metrics.

A container's CPU seconds only ever grow here, although a process that nobody waited for takes its own along: what is added is
what was seen to grow. Rates are over the last two looks that lie `WINDOW_S` apart, as metrics-server counts them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from fairway.kube.objects import Key, Obj, key_of, labels_of, rfc3339
from fairway.node.attempt import Attempt
from fairway.node.pod import NodePod
from fairway.node.processes import Held, held

LOOK_EVERY_S = 5.0
WINDOW_S = 15.0

Track = deque[tuple[datetime, float]]
"""(when, CPU seconds until then), oldest first; it reaches back about a window."""


@dataclass(frozen=True, slots=True)
class ContainerUsage:
    """`cpu_s` since the container's first run. `pod` is as the node knows it now."""

    pod: Obj
    container: str
    image: str
    run_id: str
    started: datetime
    memory_limit: int
    cpu_limit: float
    cpu_s: float
    now: Held


@dataclass(slots=True)
class _Followed:
    """`before`: what the newest run had used when it was last looked at."""

    attempt: tuple[int, int] = (-1, 0)
    before: float = 0.0
    total: float = 0.0
    track: Track = field(default_factory=deque)


class UsageMeter:
    """`look` is called every `LOOK_EVERY_S`; the rest tells what it saw. `measure` is what a process tree holds."""

    def __init__(self, node_name: str, measure: Callable[[int], Held] = held) -> None:
        self.node_name, self._measure = node_name, measure
        self._listeners: list[Callable[[datetime], None]] = []
        self._followed: dict[tuple[str, str], _Followed] = {}
        self._seen: list[ContainerUsage] = []
        self._machine: Track = deque()

    @property
    def containers(self) -> list[ContainerUsage]:
        """Those that run, as they were at the last look."""
        return self._seen

    def on_look(self, listener: Callable[[datetime], None]) -> None:
        """Called after every look, with its time."""
        self._listeners.append(listener)

    def look(self, pods: Iterable[NodePod], now: datetime) -> None:
        followed: dict[tuple[str, str], _Followed] = {}
        self._seen = []
        for pod in pods:
            for container, attempt in pod.running():
                key = pod.uid, container.name
                one = followed[key] = self._followed.get(key) or _Followed()
                found = self._measure(attempt.pid)
                _grow(one, attempt, found.cpu_s, now)
                self._seen.append(ContainerUsage(
                    pod.pod, container.name, container.image, f"fairway://{pod.uid}/{container.name}/{attempt.number}",
                    attempt.started, container.memory_limit, container.cpu_limit, one.total, found))  # fmt: skip
        self._followed = followed
        _keep(self._machine, now, _machine_cpu_s())
        for listener in self._listeners:
            listener(now)

    def pods(self) -> list[Obj]:
        """PodMetrics of `metrics.k8s.io`, of pods all of whose running containers were followed for a while."""
        found: dict[Key, Obj] = {}
        unknown: set[Key] = set()
        for one in self._seen:
            key = key_of(one.pod)
            track = self._followed[one.pod["metadata"]["uid"], one.container].track
            if len(track) < 2:
                unknown.add(key)
                continue
            shown = found.setdefault(key, _metrics("PodMetrics", {
                "name": key.name, "namespace": key.namespace, "labels": dict(labels_of(one.pod))}, track))
            shown.setdefault("containers", []).append({"name": one.container, "usage": _usage(track, one.now.working)})
        return [shown for key, shown in found.items() if key not in unknown]

    def nodes(self) -> list[Obj]:
        """NodeMetrics: what the whole machine uses, whoever it is."""
        if len(self._machine) < 2:
            return []
        name = self.node_name
        shown = _metrics("NodeMetrics", {"name": name, "labels": {"kubernetes.io/hostname": name}}, self._machine)
        return [{**shown, "usage": _usage(self._machine, _machine_memory())}]


def _grow(one: _Followed, attempt: Attempt, cpu_s: float, now: datetime) -> None:
    run = attempt.number, attempt.pid
    if one.attempt != run:
        one.attempt, one.before = run, 0.0
        one.track.clear()
    one.total += max(cpu_s - one.before, 0.0)
    one.before = cpu_s
    _keep(one.track, now, one.total)


def _keep(track: Track, now: datetime, value: float) -> None:
    """The newest entry, and of the old ones those back to the first that is a window old."""
    track.append((now, value))
    while len(track) > 2 and (now - track[1][0]).total_seconds() >= WINDOW_S:
        track.popleft()


def _metrics(kind: str, meta: Obj, track: Track) -> Obj:
    at, span = track[-1][0], (track[-1][0] - track[0][0]).total_seconds()
    return {"apiVersion": "metrics.k8s.io/v1beta1", "kind": kind, "metadata": {**meta, "creationTimestamp": rfc3339(at)},
            "timestamp": rfc3339(at), "window": f"{span:.3f}".rstrip("0").rstrip(".") + "s"}


def _usage(track: Track, memory: int) -> Obj:
    (begin, before), (end, after) = track[0], track[-1]
    cores = max(after - before, 0.0) / max((end - begin).total_seconds(), 1e-9)
    return {"cpu": f"{round(cores * 1e9)}n", "memory": f"{memory // 1024}Ki"}


def _machine_cpu_s() -> float:
    """Seconds that all cores together were not idle; 0 where there is no /proc."""
    try:
        fields = [int(text) for text in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return 0.0
    return (sum(fields) - fields[3] - fields[4]) / 100  # USER_HZ is 100 everywhere; all but idle and iowait


def _machine_memory() -> int:
    try:
        rows = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return (int(rows["MemTotal"].split()[0]) - int(rows["MemAvailable"].split()[0])) * 1024
    except (OSError, ValueError, KeyError):
        return 0
