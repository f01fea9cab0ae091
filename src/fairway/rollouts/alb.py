"""Traffic through an AWS load balancer: the forward action that the load balancer controller reads from an Ingress.

Source: argo-rollouts `rollout/trafficrouting/alb/alb.go`, `utils/ingress/ingress.go`; AWS load balancer controller, Ingress
annotations.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from fairway.kube.api import MergePatch
from fairway.kube.decision import Action, Change
from fairway.kube.objects import Obj, annotations_of, copy_of, meta_of, spec_of
from fairway.kube.resources import INGRESSES
from fairway.rollouts.traffic_spec import Alb
from fairway.rollouts.traffic_wish import ManagedRoute, Wish

MANAGED_ACTIONS = "rollouts.argoproj.io/managed-alb-actions"
MANAGED_ANNOTATIONS = "rollouts.argoproj.io/managed-alb-annotations"
_BY_ANNOTATION = "use-annotation"
"""The port by which an Ingress says that an annotation has the backend."""


def root_service(alb: Alb, stable_service: str) -> str:
    """The Service that the Ingress's rules name, and with it the action."""
    return alb.root_service or stable_service


def move_alb(obj: Obj, alb: Alb, rollout: str, root: str, wish: Wish) -> Action | None:
    """The change that divides the traffic as wished; None where the Ingress says so already."""
    have = annotations_of(obj)
    notes = {_action_key(alb, root): _forward(alb, _shares(wish))}
    for route in wish.routes:
        if not route.mirror:
            notes[_action_key(alb, route.name)] = _forward(alb, [(wish.canary_service, 100)])
            notes[f"{alb.annotation_prefix}/conditions.{route.name}"] = _conditions(route)
    ours = sorted(notes.keys() - {_action_key(alb, root)})
    before = _managed(have, rollout)
    changed: Obj = {key: value for key, value in notes.items() if have.get(key) != value}
    changed |= {key: None for key in before if key not in notes and key in have}
    for name, text in ((MANAGED_ACTIONS, f"{rollout}:{_action_key(alb, root)}"),
                       (MANAGED_ANNOTATIONS, json.dumps({rollout: ours}) if ours else None)):
        if have.get(name) != text:
            changed[name] = text
    patch: Obj = {"metadata": {"annotations": changed}} if changed else {}
    rules = _rules(obj, root, [route.name for route in wish.routes if not route.mirror], _former(before, alb))
    if rules != (spec_of(obj).get("rules") or []):
        patch["spec"] = {"rules": rules}
    meta = meta_of(obj)
    return Change(INGRESSES, str(meta.get("namespace", "")), str(meta["name"]), MergePatch(patch)) if patch else None


def _action_key(alb: Alb, name: str) -> str:
    return f"{alb.annotation_prefix}/actions.{name}"


def _shares(wish: Wish) -> list[tuple[str, int]]:
    return [(wish.canary_service, wish.canary), *((e.service, e.weight) for e in wish.extras),
            (wish.stable_service, wish.stable)]


def _forward(alb: Alb, shares: Iterable[tuple[str, int]]) -> str:
    groups = [{"ServiceName": service, "ServicePort": str(alb.service_port), "Weight": weight} for service, weight in shares]
    config: Obj = {"TargetGroups": groups}
    if alb.sticky and alb.sticky.get("enabled"):
        config["TargetGroupStickinessConfig"] = {"Enabled": True, "DurationSeconds": alb.sticky.get("durationSeconds", 0)}
    return json.dumps({"Type": "forward", "ForwardConfig": config}, separators=(",", ":"))


def _conditions(route: ManagedRoute) -> str:
    found = [{"Field": "http-header", "HttpHeaderConfig": {
        "HttpHeaderName": match.get("headerName", ""), "Values": [(match.get("headerValue") or {}).get("exact", "")]}}
        for match in route.spec.get("match") or ()]
    return json.dumps(found, separators=(",", ":"))


def _managed(notes: dict[str, str], rollout: str) -> list[str]:
    """Annotations that earlier header routes of this Rollout left."""
    try:
        found = json.loads(notes.get(MANAGED_ANNOTATIONS) or "{}").get(rollout) or []
    except (ValueError, AttributeError):
        return []  # somebody else wrote something else there: nothing of it is ours to take away
    return [str(key) for key in found] if isinstance(found, list) else []


def _former(keys: Iterable[str], alb: Alb) -> set[str]:
    prefix = f"{alb.annotation_prefix}/actions."
    return {key.removeprefix(prefix) for key in keys if key.startswith(prefix)}


def _rules(obj: Obj, root: str, names: list[str], former: set[str]) -> list[Obj]:
    """Rules in which a path for each header route stands before the one for everybody."""
    rules: list[Obj] = [copy_of(rule) for rule in spec_of(obj).get("rules") or ()]
    for rule in rules:
        http = rule.get("http") or {}
        paths = [path for path in http.get("paths") or () if _service(path) not in former | set(names)]
        main = next((path for path in paths if _service(path) == root), None)
        if main is None:
            continue
        added = []
        for name in names:
            path = copy_of(main)
            path["backend"] = {"service": {"name": name, "port": {"name": _BY_ANNOTATION}}}
            added.append(path)
        http["paths"] = [*added, *paths]
    return rules


def _service(path: Obj) -> str:
    return str(((path.get("backend") or {}).get("service") or {}).get("name", ""))
