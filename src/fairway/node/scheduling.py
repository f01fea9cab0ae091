"""Whether this node takes a pod that nobody has placed yet: what a scheduler of one node has to say. Pure.

What a pod requests is not weighed against the machine: manifests that were written for large nodes run here, too. Affinity to
other pods and spreading mean nothing where there is one node.
"""

from __future__ import annotations

from dataclasses import dataclass

from fairway.kube.objects import Obj, dig, spec_of
from fairway.kube.placement import selects, tolerates, untolerated

SCHEDULER = "default-scheduler"
_CORDONED = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


@dataclass(frozen=True, slots=True)
class Refused:
    """As the condition PodScheduled says it."""

    reason: str
    message: str


def refusal(pod: Obj, node: Obj | None) -> Refused | None:
    """Why the pod is not bound now; None where it is. `node` None: its object is gone."""
    spec = spec_of(pod)
    if spec.get("schedulingGates"):
        return Refused("SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates")
    if node is None:
        return Refused("Unschedulable", "no nodes available to schedule pods")
    why = _why(spec, node)
    if not why:
        return None
    return Refused("Unschedulable", f"0/1 nodes are available: 1 {why}. preemption: 0/1 nodes are available: "
                                    "1 Preemption is not helpful for scheduling.")


def is_ours(pod: Obj) -> bool:
    """A pod that names another scheduler waits for it."""
    return bool(spec_of(pod).get("schedulerName", SCHEDULER) == SCHEDULER)


def _why(spec: Obj, node: Obj) -> str:
    tolerations = spec.get("tolerations") or ()
    if dig(node, "spec", "unschedulable") and not any(tolerates(one, _CORDONED) for one in tolerations):
        return "node(s) were unschedulable"
    if not selects(spec, node):
        return "node(s) didn't match Pod's node affinity/selector"
    if (taint := untolerated(tolerations, node)) is not None:
        return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value') or ''}}}"
    return ""
