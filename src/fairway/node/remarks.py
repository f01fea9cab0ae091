"""What the node says in events about a pod, in the kubelet's words."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Literal

from fairway.kube.objects import Obj, meta_of, uid_of
from fairway.node import decide as d
from fairway.node.spec import Container, PodSpec

Said = tuple[Literal["Normal", "Warning"], str, str]
"""(type, reason, message)"""


def remarks(action: d.Action, runs: Mapping[str, d.Run], spec: PodSpec, fresh: AbstractSet[str] = frozenset()) -> list[Said]:
    """About an action that has been carried out. A start that failed is told by `troubles`. Of the images of `fresh`
    containers it has been told how they came."""
    match action:
        case d.Start(container, attempt):
            last = runs[container].last
            if last is None or last.number != attempt:
                return []
            there: Said = ("Normal", "Pulled", f'Container image "{spec.named(container).image}" already present on machine')
            here: list[Said] = [*([] if container in fresh else [there]),
                                ("Normal", "Created", f"Created container: {container}")]
            if last.reason == "StartError":
                return [*here, ("Warning", "Failed", f"Error: {last.message}")]
            return [*here, ("Normal", "Started", f"Started container {container}")]
        case d.Stop(container, _, why):
            return [("Normal", "Killing", _killing(container, why))]
        case _:
            return []


def _killing(container: str, why: str) -> str:
    for probe in ("liveness", "startup"):
        if why.startswith(f"{probe.title()} probe failed"):
            return f"Container {container} failed {probe} probe, will be restarted"
    return f"Stopping container {container}"


def troubles(pod: Obj, spec: PodSpec, runs: Mapping[str, d.Run], reported: dict[str, str]) -> list[Said]:
    """What keeps containers from running or serving; each once, for as long as it is the same. `reported` is brought up to
    date."""
    now: dict[str, list[Said]] = {}
    for name, run in runs.items():
        now[name] = _of_start(pod, spec.named(name), run)
        now[f"{name} probes"] = [("Warning", "Unhealthy", words) for words in (run.health.failing if run.health else ())]
    found: list[Said] = []
    for key, said in now.items():
        text = repr((said, runs[key].last)) if key in runs and said and said[0][1] == "BackOff" else repr(said)
        if not said:
            reported.pop(key, None)
        elif reported.get(key) != text:
            reported[key] = text
            found += said
    return found


def _of_start(pod: Obj, one: Container, run: d.Run) -> list[Said]:
    problem = run.problem
    if problem is None:
        if run.last is None or run.running or not run.crashes or not run.last.code:
            return []
        where = f"{meta_of(pod)['name']}_{meta_of(pod).get('namespace', '')}({uid_of(pod)})"
        return [("Warning", "BackOff", f"Back-off restarting failed container {one.name} in pod {where}")]
    match problem.reason:
        case "ContainerCreating":
            mounting = problem.message.startswith("MountVolume")
            return [("Warning", "FailedMount", problem.message)] if mounting else []
        case "ErrImagePull":
            return [("Warning", "Failed", f'Failed to pull image "{one.image}": {problem.message}'),
                    ("Warning", "Failed", "Error: ErrImagePull")]
        case "ImagePullBackOff":
            return [("Normal", "BackOff", problem.message), ("Warning", "Failed", "Error: ImagePullBackOff")]
        case "InvalidImageName":
            return [("Warning", "InspectFailed", problem.message), ("Warning", "Failed", "Error: InvalidImageName")]
        case "ErrImageNeverPull":
            return [("Warning", "ErrImageNeverPull", problem.message), ("Warning", "Failed", "Error: ErrImageNeverPull")]
        case _:
            return [("Warning", "Failed", f"Error: {problem.message}")]
