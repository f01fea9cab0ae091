"""Eviction: a deletion of a pod that asks its PodDisruptionBudget first. `POST .../pods/NAME/eviction`.

The budget's status is written by its controller and counted down here, under the optimistic lock, so that two evictions at the
same moment never take the same place. Source: kubernetes `pkg/registry/core/pod/storage/eviction.go`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fairway.kube.api import Api, DeleteOptions, MergePatch, WriteOptions
from fairway.kube.errors import ApiError, BadRequest, Conflict, TooManyRequests
from fairway.kube.http import asked
from fairway.kube.objects import Key, Obj, dig, is_deleting, is_true, key_of, labels_of, meta_of, rfc3339, spec_of, status_of
from fairway.kube.resources import POD_DISRUPTION_BUDGETS, PODS
from fairway.kube.selectors import from_label_selector

MANAGER = "kube-apiserver"
EVICTED: Obj = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
_VIOLATES = "Cannot evict pod as it would violate the pod's disruption budget."
_TRIES = 5
_RETRY_AFTER_S = 10


@dataclass(frozen=True, slots=True)
class Allowed:
    """The pod may go. `budget`: the one that is charged for it, with its next status."""

    budget: Obj | None = None
    status: Obj | None = None


def decide(pod: Obj, budgets: Sequence[Obj], now: datetime) -> Allowed:
    """`budgets`: of the pod's namespace. Raises the refusal."""
    mine = [one for one in budgets if from_label_selector(spec_of(one).get("selector")).matches(labels_of(pod))]
    if not mine or is_deleting(pod) or status_of(pod).get("phase") in ("Pending", "Succeeded", "Failed"):
        return Allowed()
    if len(mine) > 1:
        raise ApiError("This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.")
    budget, status = mine[0], status_of(mine[0])
    needed, healthy = int(status.get("desiredHealthy") or 0), int(status.get("currentHealthy") or 0)
    if not is_true(pod, "Ready"):
        policy = spec_of(budget).get("unhealthyPodEvictionPolicy", "IfHealthyBudget")
        if policy == "AlwaysAllow" or (healthy >= needed > 0):
            return Allowed()
    name = meta_of(budget)["name"]
    if int(status.get("observedGeneration") or 0) < int(meta_of(budget).get("generation") or 0):
        raise _refused(f"The disruption budget {name} is still being processed by the server.", retry=True)
    allowed = int(status.get("disruptionsAllowed") or 0)
    if allowed <= 0:
        raise _refused(f"The disruption budget {name} needs {needed} healthy pods and has {healthy} currently")
    noted = {**(status.get("disruptedPods") or {}), meta_of(pod)["name"]: rfc3339(now)}
    return Allowed(budget, {"disruptionsAllowed": allowed - 1, "disruptedPods": noted})


def _refused(why: str, *, retry: bool = False) -> TooManyRequests:
    details: Obj = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    if retry:
        details["retryAfterSeconds"] = _RETRY_AFTER_S
    return TooManyRequests(_VIOLATES, details=details)


async def evict(api: Api, key: Key, eviction: Obj, now: datetime) -> Obj:
    """The answer to a client. Raises the refusal."""
    if (named := meta_of(eviction).get("name")) not in (None, "", key.name):
        raise BadRequest(f"name in URL does not match name in Eviction object: {key.name} is not {named}")
    wanted, options = asked.delete_asked({}, {**(eviction.get("deleteOptions") or {}), "kind": "DeleteOptions"})
    pod = await api.get(PODS, key.name, key.namespace)
    await _charge(api, pod, now, dry_run=options.dry_run)
    await api.delete(PODS, key.name, key.namespace, _unless_replaced(wanted, pod), options)
    return EVICTED


def _unless_replaced(wanted: DeleteOptions, pod: Obj) -> DeleteOptions:
    """What the budget allowed is this pod, not another one of its name."""
    return DeleteOptions(wanted.propagation, wanted.grace_period_s, wanted.uid or str(dig(pod, "metadata", "uid")),
                         wanted.resource_version)


async def _charge(api: Api, pod: Obj, now: datetime, *, dry_run: bool) -> None:
    for attempt in range(_TRIES):
        listed = await api.list(POD_DISRUPTION_BUDGETS, key_of(pod).namespace)
        allowed = decide(pod, listed.items, now)
        if allowed.budget is None:
            return
        namespace, name = key_of(allowed.budget)
        body = {"metadata": {"resourceVersion": meta_of(allowed.budget)["resourceVersion"]}, "status": allowed.status}
        try:
            await api.patch(POD_DISRUPTION_BUDGETS, name, namespace, MergePatch(body),
                            WriteOptions(manager=MANAGER, dry_run=dry_run), subresource="status")
            return
        except Conflict:
            if attempt == _TRIES - 1:
                raise _refused(f"The disruption budget {name} is changing; try again.", retry=True) from None
