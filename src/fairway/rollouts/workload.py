"""`workloadRef`: a Rollout that takes its pod template from an object that is there already, and takes over its pods.

The template (and the selector, where the Rollout has none) is read anew in every pass. The object's own pods leave as
`scaleDown` says, and only while the Rollout makes its first revision: later it is left alone.
Source: argo-rollouts `utils/.../template_resolver`, `rollout/replicaset.go`, docs "Migrating a Deployment to Rollout".
"""

from __future__ import annotations

from dataclasses import replace

from fairway.kube.api import MergePatch
from fairway.kube.decision import Action, Change, Reason
from fairway.kube.objects import Obj, dig, meta_of
from fairway.kube.resources import DEPLOYMENTS
from fairway.rollouts.fields import FieldError
from fairway.rollouts.spec import RolloutSpec

KINDS = (("apps/v1", "Deployment"), ("apps/v1", "ReplicaSet"))


def resolved(spec: RolloutSpec, workload: Obj | None) -> RolloutSpec | FieldError:
    """`spec` with the template of the object that it refers to, or what is wrong with that."""
    ref = spec.workload_ref
    if ref is None:
        return spec
    if workload is None:
        plural = f"{ref.kind.lower()}s.apps"
        return FieldError("spec.workloadRef.name", f'{plural} "{ref.name}" not found', ref.name)
    template = dig(workload, "spec", "template")
    if not isinstance(template, dict):
        return FieldError("spec.workloadRef.name", f"{ref.kind} has no pod template", ref.name)
    selector = spec.selector or dig(workload, "spec", "selector") or {"matchLabels": dig(template, "metadata", "labels",
                                                                                        default={})}
    return replace(spec, template=template, selector=selector)


def plan_workload(spec: RolloutSpec, workload: Obj | None, *, revision: int, available: int, healthy: bool,
                  failed: bool) -> tuple[tuple[Action, ...], tuple[Reason, ...]]:
    """How many pods the Deployment keeps while the Rollout takes over: `available` are the Rollout's own.

    `progressively` it gives up one for each that is available, and gets them back should the Rollout fail;
    `onsuccess` it gives up all of them at the end.
    """
    ref = spec.workload_ref
    if ref is None or workload is None or ref.kind != "Deployment" or revision != 1:
        return (), ()
    have = dig(workload, "spec", "replicas", default=1)
    match ref.scale_down:
        case "progressively":
            goal = spec.replicas if failed else max(0, spec.replicas - available)
            goal = max(have, goal) if failed and have else goal
        case "onsuccess":
            goal = 0 if healthy else have
        case _:
            return (), ()
    if goal == have:
        return (), ()
    patch = MergePatch({"spec": {"replicas": goal}})
    meta = meta_of(workload)
    said = Reason("ScalingWorkload", f"Deployment {ref.name} from {have} to {goal} (scaleDown: {ref.scale_down})")
    return (Change(DEPLOYMENTS, str(meta.get("namespace", "")), ref.name, patch),), (said,)
