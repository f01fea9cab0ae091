"""What the node says in events about a pod, in the kubelet's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from fairway.node import decide as d

Said = tuple[Literal["Normal", "Warning"], str, str]
"""(type, reason, message)"""


def remarks(action: d.Action, runs: Mapping[str, d.Run]) -> list[Said]:
    """About an action that has been carried out. A start that failed is told by `troubles`."""
    match action:
        case d.Start(container, attempt):
            last = runs[container].last
            if last is None or last.number != attempt:
                return []
            if last.reason == "StartError":
                return [("Warning", "Failed", f"Error: {last.message}")]
            return [("Normal", "Started", f"Started container {container}")]
        case d.Stop(container, _, why):
            told: list[Said] = [("Normal", "Killing", f"Stopping container {container}")]
            return [("Warning", "Unhealthy", why), *told] if "probe failed" in why else told
        case _:
            return []


def troubles(runs: Mapping[str, d.Run], reported: dict[str, str]) -> list[Said]:
    """What keeps containers from running; each once, for as long as it is the same. `reported` is brought up to date."""
    found: list[Said] = []
    for name, run in runs.items():
        text = ""
        if run.problem is not None and run.problem.reason != "ContainerCreating":
            text = run.problem.message
            found_now: Said = ("Warning", "Failed", f"Error: {run.problem.reason}: {text}")
        elif run.last is not None and not run.running and run.crashes > 0 and run.last.code:
            text = f"Back-off restarting failed container {name}: run {run.last.number}"
            found_now = ("Warning", "BackOff", f"Back-off restarting failed container {name}")
        if not text:
            reported.pop(name, None)
        elif reported.get(name) != text:
            reported[name] = text
            found.append(found_now)
    return found
