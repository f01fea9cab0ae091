"""The parts of a platform, and which of them are switched off: `fairway up --without gitops,rollouts`.

A part is left to somebody else: gitops to a real Argo CD, rollouts to a real Argo Rollouts, canaries to a real Flagger, CI to
a hosted one. Its kinds stay served and its objects stay as they are. Small, because `fairway up --help` imports it.
"""

from __future__ import annotations

EMBEDDED = {
    "workloads": "Deployments, Jobs and all other built-in controllers",
    "node": "pods as processes of this machine",
    "traffic": "Envoy, Service addresses and the ingress port",
}
"""What a cluster has of its own: never run against one."""
DELIVERY = {
    "gitops": "Applications and ApplicationSets",
    "rollouts": "Rollouts, Experiments and AnalysisRuns",
    "canaries": "Flagger's Canaries",
    "rollback": "RollbackPolicies",
    "metrics": "scraping",
    "ci": "pipelines",
    "releases": "Releases, and with them delivery metrics",
    "notify": "notifications",
}


EVERYWHERE = frozenset({"metrics"})
"""Each process scrapes for itself: nothing is done twice in the cluster."""


def leading(without: frozenset[str]) -> list[str]:
    """The parts that one process alone may run against a cluster, in the order of their names."""
    return sorted(DELIVERY.keys() - without - EVERYWHERE)


class UnknownPart(ValueError):
    """The message names the part and those that there are."""


def parse_without(text: str) -> frozenset[str]:
    """`gitops,rollouts` to the names of parts. `UnknownPart` where there is no such part."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in EMBEDDED | DELIVERY:
            raise UnknownPart(f"there is no part {name!r}; the parts are {', '.join(EMBEDDED | DELIVERY)}")
    return frozenset(names)
