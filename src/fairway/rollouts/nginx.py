"""The canary Ingress by which ingress-nginx (and Fairway's own proxy) splits traffic: one beside each stable Ingress.

Source: argo-rollouts `rollout/trafficrouting/nginx/nginx.go`; annotations: ingress-nginx "Canary".
"""

from __future__ import annotations

from fairway.kube.api import MergePatch
from fairway.kube.decision import Action, Change, Create, differs
from fairway.kube.objects import Obj, annotations_of, copy_of, owner_reference, spec_of
from fairway.kube.resources import INGRESSES
from fairway.rollouts.keys import APPLIED_WEIGHT
from fairway.rollouts.spec import Canary
from fairway.rollouts.traffic_spec import Nginx

_CLASS = "kubernetes.io/ingress.class"


def canary_ingress_name(rollout: str, stable_ingress: str) -> str:
    return f"{rollout}-{stable_ingress}-canary"[:253]


def serves(ingress: Obj, service: str) -> bool:
    """Whether a rule of this Ingress leads to the Service."""
    for rule in spec_of(ingress).get("rules") or ():
        for path in (rule.get("http") or {}).get("paths") or ():
            if ((path.get("backend") or {}).get("service") or {}).get("name") == service:
                return True
    return False


def canary_ingress(rollout: Obj, canary: Canary, nginx: Nginx, stable: Obj, weight: int) -> Obj:
    """The rules of `stable` that lead to the stable Service, leading to the canary Service, for `weight` of the requests."""
    rules = []
    for rule in spec_of(stable).get("rules") or ():
        mine = copy_of(rule)
        hit = False
        for path in (mine.get("http") or {}).get("paths") or ():
            service = (path.get("backend") or {}).get("service") or {}
            if service.get("name") == canary.stable_service:
                service["name"], hit = canary.canary_service, True
        if hit:
            rules.append(mine)
    prefix = nginx.annotation_prefix
    notes = dict(nginx.canary_annotations)
    if _CLASS in annotations_of(stable):
        notes[_CLASS] = annotations_of(stable)[_CLASS]
    for name, value in nginx.additional_annotations.items():
        notes[name if name.startswith(prefix) else f"{prefix}/{name}"] = value
    notes[f"{prefix}/canary"] = "true"
    notes[f"{prefix}/canary-weight"] = str(weight)
    if canary.traffic is not None and canary.traffic.max_weight is not None:
        notes[f"{prefix}/canary-weight-total"] = str(canary.traffic.max_weight)
    spec = {name: copy_of(spec_of(stable)[name]) for name in ("ingressClassName", "tls") if spec_of(stable).get(name)}
    meta = rollout["metadata"]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": canary_ingress_name(meta["name"], stable["metadata"]["name"]),
            "namespace": meta.get("namespace", ""),
            "annotations": notes,
            "ownerReferences": [owner_reference(rollout)],
        },
        "spec": {**spec, "rules": rules},
    }


def move(existing: Obj | None, wished: Obj, prefix: str) -> Action | None:
    """Create or change the canary Ingress so that it is as wished; None where it already is."""
    if existing is None:
        return Create(wished)
    have, want = annotations_of(existing), annotations_of(wished)
    notes: Obj = {name: value for name, value in want.items() if have.get(name) != value}
    notes |= {name: None for name in have if name.startswith(f"{prefix}/") and name not in want}
    patch: Obj = {"metadata": {"annotations": notes}} if notes else {}
    if differs(spec_of(existing), wished["spec"]):
        patch["spec"] = wished["spec"]
    if not patch:
        return None
    meta = wished["metadata"]
    return Change(INGRESSES, meta["namespace"], meta["name"], MergePatch(patch))


def applied_weight(ingress: Obj | None) -> str | None:
    """The weight that the proxy says it serves, None where it has not answered."""
    return annotations_of(ingress).get(APPLIED_WEIGHT) if ingress else None
