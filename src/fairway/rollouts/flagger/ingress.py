"""Weights by a canary Ingress beside the one that `ingressRef` names: `<ingress>-canary`, as ingress-nginx reads it.

Source of the shape: flagger `pkg/router/ingress.go`. A/B tests by header or cookie; no mirroring.
"""

from __future__ import annotations

from collections.abc import Iterator

from fairway.kube.api import JsonPatch
from fairway.kube.decision import Action, Change, Create
from fairway.kube.objects import Obj, annotations_of, copy_of, labels_of, spec_of
from fairway.kube.resources import INGRESSES
from fairway.rollouts.flagger.istio import NoRoutes
from fairway.rollouts.flagger.seen import View
from fairway.rollouts.flagger.weights import Routes
from fairway.rollouts.flagger.workload import own_annotations
from fairway.rollouts.keys import APPLIED_WEIGHT

PREFIX = "nginx.ingress.kubernetes.io/"
_CANARY = f"{PREFIX}canary"


def canary_name(view: View) -> str:
    return f"{view.spec.ingress.name}-canary" if view.spec.ingress else ""


def leads_to(ingress: Obj, service: str) -> bool:
    """Whether a rule of it, and no canary's, has this Service behind it."""
    if annotations_of(ingress).get(_CANARY) == "true":
        return False
    return any(((path.get("backend") or {}).get("service") or {}).get("name") == service
               for rule in spec_of(ingress).get("rules") or () for path in (rule.get("http") or {}).get("paths") or ())


def reconcile(view: View, routes: Routes, cookie: str) -> Iterator[Action]:
    stable = view.seen.routes.get(("Ingress", view.spec.ingress.name)) if view.spec.ingress else None
    if view.spec.ingress is None or not view.spec.ingress.name:
        raise NoRoutes("ingress selector is empty")
    if stable is None:
        raise NoRoutes(f"ingress {view.spec.ingress.name}.{view.spec.namespace} get query error: it is not there")
    rules = _rules(view, stable)
    wished = {**{k: copy_of({"v": v})["v"] for k, v in spec_of(stable).items() if k != "rules"}, "rules": rules}
    notes = _annotations(view, stable, routes)
    name = canary_name(view)
    there = view.seen.routes.get(("Ingress", name))
    if there is None:
        yield Create({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {
            "name": name, "namespace": view.spec.namespace, "labels": dict(labels_of(stable)), "annotations": notes,
            "ownerReferences": [view.owner]}, "spec": wished})
        return
    if APPLIED_WEIGHT in annotations_of(there):
        notes[APPLIED_WEIGHT] = annotations_of(there)[APPLIED_WEIGHT]
    patch = []
    if annotations_of(there) != notes:
        patch.append({"op": "add", "path": "/metadata/annotations", "value": notes})
    if spec_of(there) != wished:
        patch.append({"op": "add", "path": "/spec", "value": wished})
    if patch:
        yield Change(INGRESSES, view.spec.namespace, name, JsonPatch(patch))


def read(view: View) -> Routes:
    notes = annotations_of(view.seen.routes.get(("Ingress", canary_name(view)), {}))
    if view.spec.checks.match and (f"{_CANARY}-by-header" in notes or f"{_CANARY}-by-cookie" in notes):
        return Routes(0, 100)
    text = notes.get(f"{_CANARY}-weight", "0")
    weight = int(text) if text.isdigit() else 0
    return Routes(100 - weight, weight)


def unconfirmed(view: View, routes: Routes) -> str:
    """What the proxy has not yet put in force; "" where it has, or where nobody confirms."""
    if not view.seen.verify_weights:
        return ""
    notes = annotations_of(view.seen.routes.get(("Ingress", canary_name(view)), {}))
    weight = notes.get(f"{_CANARY}-weight", "0")
    return "" if notes.get(APPLIED_WEIGHT) == weight else f"the proxy has not confirmed {weight} % for the canary yet"


def _rules(view: View, stable: Obj) -> list[Obj]:
    rules, hit = [], False
    for rule in spec_of(stable).get("rules") or ():
        mine = copy_of(rule)
        for path in (mine.get("http") or {}).get("paths") or ():
            service = (path.get("backend") or {}).get("service") or {}
            if service.get("name") == view.spec.apex:
                service["name"], hit = view.spec.canary_service, True
        rules.append(mine)
    if not hit:
        raise NoRoutes(f"backend {view.spec.apex} not found in ingress {view.spec.ingress.name if view.spec.ingress else ''}")
    return rules


def _annotations(view: View, stable: Obj, routes: Routes) -> dict[str, str]:
    kept = {k: v for k, v in own_annotations(annotations_of(stable)).items() if not k.startswith(_CANARY)}
    notes = {**kept, _CANARY: "true", f"{_CANARY}-weight": "0"}
    if not (view.spec.checks.match and view.spec.checks.iterations):
        notes[f"{_CANARY}-weight"] = str(routes.canary)
        return notes
    if routes.canary == 0:
        return notes
    for match in view.spec.checks.match:
        for name, value in (match.get("headers") or {}).items():
            if name.lower() == "cookie":
                notes[f"{_CANARY}-by-cookie"] = str(value.get("exact") or "")
                continue
            notes[f"{_CANARY}-by-header"] = name
            if value.get("regex"):
                notes[f"{_CANARY}-by-header-pattern"] = str(value["regex"])
            elif value.get("exact"):
                notes[f"{_CANARY}-by-header-value"] = str(value["exact"])
    return notes
