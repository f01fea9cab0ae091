"""The graph of `needs`: names that exist, no cycle, somewhere to start. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from fairway.ci.reading import Reader
from fairway.ci.spec import Job
from fairway.ci.yaml_tree import Map, Node, Seq


def check_needs(read: Reader, node: Map, jobs: Mapping[str, Job]) -> None:
    """Mistakes of the graph, each at the name that makes it."""
    if not any(not job.needs for job in jobs.values()):
        first = node.pairs[0][0] if node.pairs else node
        read.refuse(first, "The workflow must contain at least one job with no dependencies.")
        return
    by_name = {name.upper(): name for name in jobs}
    edges = {name: {by_name[need.upper()] for need in job.needs if need.upper() in by_name}
             for name, job in jobs.items()}
    for key, value in node.pairs:
        job = jobs[key.text]
        for need, place in zip(job.needs, _places(value), strict=False):
            other = by_name.get(need.upper())
            if other is None:
                read.refuse(place, f"Job '{job.id}' depends on unknown job '{need}'.")
            elif reaches(edges, other, job.id):
                read.refuse(place, f"Job '{job.id}' depends on job '{need}' which creates a cycle in the dependency "
                            "graph.")


def reaches(edges: Mapping[str, set[str]], start: str, goal: str) -> bool:
    """Whether `goal` is `start` or something that it needs, near or far."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name == goal:
            return True
        if name not in seen:
            seen.add(name)
            waiting.extend(edges[name])
    return False


def _places(job: Node) -> tuple[Node, ...]:
    needs = job.get("needs") if isinstance(job, Map) else None
    if needs is None:
        return ()
    return needs.items if isinstance(needs, Seq) else (needs,)
