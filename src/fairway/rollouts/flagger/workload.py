"""The target and its copy: what the primary is made of, what counts as a new version, scaling to nothing and back.

Deployments are scaled by `replicas`; DaemonSets by a node selector that no node has. A target of kind Service has no pods of
its own: its primary is a Service.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from fairway.kube.api import JsonPatch, MergePatch
from fairway.kube.decision import Change
from fairway.kube.objects import Obj, annotations_of, copy_of, dig, labels_of, spec_of
from fairway.kube.resources import DAEMON_SETS, DEPLOYMENTS, SERVICES, Resource
from fairway.rollouts.flagger.configs import Configs, with_primary_names
from fairway.rollouts.flagger.spec import CanarySpec
from fairway.rollouts.flagger.status import Status

KINDS: Mapping[str, Resource] = {"Deployment": DEPLOYMENTS, "DaemonSet": DAEMON_SETS, "Service": SERVICES}
SELECTOR_LABELS = ("app", "name", "app.kubernetes.io/name")
NOWHERE = "flagger.app/scale-to-zero"
ID = "flagger-id"
_NOT_COPIED = ("kubectl.kubernetes.io/", "argocd.argoproj.io/", "deployment.kubernetes.io/", "kustomize.toolkit.fluxcd.io/",
               "helm.toolkit.fluxcd.io/")
"""Annotations by which others recognise what is theirs: on a copy they would let GitOps prune it."""
_SPEC_COPIED = ("progressDeadlineSeconds", "minReadySeconds", "revisionHistoryLimit", "strategy", "updateStrategy")
_SERVICE_OWN = ("clusterIP", "clusterIPs")


class NoTarget(ValueError):
    """The target is not there, or cannot be used as it is."""


def selector_label(target: Obj, spec: CanarySpec) -> tuple[str, str]:
    """The label by which target and primary are told apart, and its value."""
    labels = dig(target, "spec", "selector", "matchLabels", default={})
    for label in SELECTOR_LABELS:
        if label in labels:
            return label, str(labels[label])
    raise NoTarget(f"{spec.target.kind.lower()} {spec.target.name}.{spec.namespace} spec.selector.matchLabels must contain "
                   f"one of [{' '.join(SELECTOR_LABELS)}]")


def revision(target: Obj) -> str:
    """The same for the same version: pod template, or for a Service all but its address."""
    if target["kind"] == "Service":
        what: Obj = {k: v for k, v in spec_of(target).items() if k not in _SERVICE_OWN}
    else:
        what = template_of(target)
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def template_of(target: Obj) -> Obj:
    """The pod template without what scales a DaemonSet to nothing."""
    template = spec_of(target).get("template") or {}
    nodes = dig(template, "spec", "nodeSelector", default={})
    if NOWHERE not in nodes:
        found: Obj = template
        return found
    made = copy_of(template)
    kept = {k: v for k, v in nodes.items() if k != NOWHERE}
    if kept:
        made["spec"]["nodeSelector"] = kept
    else:
        del made["spec"]["nodeSelector"]
    return made


def changed(status: Status, target: Obj) -> bool:
    """A version that is neither the one under way nor the one that was promoted: going back by hand is no new version."""
    now = revision(target)
    return not status.applied or now not in (status.promoted, status.applied)


def configs_changed(status: Status, now: Mapping[str, str]) -> bool:
    return bool(now) if status.tracked is None else dict(status.tracked) != dict(now)


# --- the copy -------------------------------------------------------------------------------------------------------


def new_primary(spec: CanarySpec, target: Obj, configs: Configs, owner: Obj) -> Obj:
    if target["kind"] == "Service":
        return service_copy(target, f"{spec.target.name}-primary", owner)
    label, value = selector_label(target, spec)
    labels = {**labels_of(target), label: f"{value}-primary"} if labels_of(target) else {label: f"{value}-primary"}
    made: Obj = {
        "apiVersion": target["apiVersion"], "kind": target["kind"],
        "metadata": {"name": spec.primary, "namespace": spec.namespace, "labels": labels,
                     "annotations": own_annotations(annotations_of(target)), "ownerReferences": [owner]},
        "spec": {**{k: copy_of({"v": spec_of(target)[k]})["v"] for k in _SPEC_COPIED if k in spec_of(target)},
                 "selector": {"matchLabels": {label: f"{value}-primary"}},
                 "template": primary_template(spec, target, configs)},
    }  # fmt: skip
    if target["kind"] == "Deployment":
        made["spec"]["replicas"] = spec_of(target).get("replicas") or 1
    return made


def primary_template(spec: CanarySpec, target: Obj, configs: Configs) -> Obj:
    """`flagger-id` changes with every promotion, so that new configuration alone rolls the pods too."""
    label, value = selector_label(target, spec)
    made = copy_of(template_of(target))
    meta = made.setdefault("metadata", {})
    meta["labels"] = {**(meta.get("labels") or {}), label: f"{value}-primary"}
    sums = {config.key: obj.get("data") for config, obj in configs.items()}
    mark = hashlib.sha256((revision(target) + json.dumps(sums, sort_keys=True)).encode()).hexdigest()[:16]
    meta["annotations"] = {**(meta.get("annotations") or {}), ID: mark}
    made["spec"] = with_primary_names(made.get("spec") or {}, configs)
    return made


def promotion(spec: CanarySpec, target: Obj, primary: Obj, configs: Configs) -> Change | None:
    """Primary becomes what the target is; None where it is already."""
    if target["kind"] == "Service":
        kept = {k: spec_of(primary)[k] for k in _SERVICE_OWN if k in spec_of(primary)}
        wished = {**{k: v for k, v in spec_of(target).items() if k not in _SERVICE_OWN}, **kept}
        if wished == spec_of(primary):
            return None
        return Change(SERVICES, spec.namespace, spec.primary, JsonPatch([{"op": "replace", "path": "/spec", "value": wished}]))
    template = primary_template(spec, target, configs)
    patch = [{"op": "add", "path": f"/spec/{k}", "value": spec_of(target)[k]} for k in _SPEC_COPIED
             if k in spec_of(target) and spec_of(target)[k] != spec_of(primary).get(k)]
    if template != spec_of(primary).get("template"):
        patch.append({"op": "replace", "path": "/spec/template", "value": template})
    return Change(KINDS[target["kind"]], spec.namespace, spec.primary, JsonPatch(patch)) if patch else None


def service_copy(target: Obj, name: str, owner: Obj) -> Obj:
    spec = {k: v for k, v in spec_of(target).items() if k not in _SERVICE_OWN}
    return {"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": target["metadata"]["namespace"], "labels": dict(labels_of(target)),
                         "annotations": own_annotations(annotations_of(target)), "ownerReferences": [owner]},
            "spec": copy_of(spec)}


def own_annotations(annotations: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in annotations.items() if not k.startswith(_NOT_COPIED)}


# --- scale ----------------------------------------------------------------------------------------------------------


def to_nothing(spec: CanarySpec, target: Obj) -> Change | None:
    if target["kind"] == "Deployment" and spec_of(target).get("replicas") != 0:
        return Change(DEPLOYMENTS, spec.namespace, spec.target.name, MergePatch({"spec": {"replicas": 0}}))
    if target["kind"] == "DaemonSet" and NOWHERE not in dig(target, "spec", "template", "spec", "nodeSelector", default={}):
        return Change(DAEMON_SETS, spec.namespace, spec.target.name, _nodes("true"))
    return None


def from_nothing(spec: CanarySpec, target: Obj, least: int) -> Change | None:
    """`least`: what the autoscaler would have at least, else 1."""
    if target["kind"] == "Deployment" and not spec_of(target).get("replicas"):
        return Change(DEPLOYMENTS, spec.namespace, spec.target.name, MergePatch({"spec": {"replicas": max(least, 1)}}))
    if target["kind"] == "DaemonSet" and NOWHERE in dig(target, "spec", "template", "spec", "nodeSelector", default={}):
        return Change(DAEMON_SETS, spec.namespace, spec.target.name, _nodes(None))
    return None


def _nodes(value: str | None) -> MergePatch:
    return MergePatch({"spec": {"template": {"spec": {"nodeSelector": {NOWHERE: value}}}}})
