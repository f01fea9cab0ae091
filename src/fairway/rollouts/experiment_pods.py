"""The ReplicaSet and the Service of one template of an Experiment: how many pods there should be now, and how it goes.

An ending experiment keeps its pods for scaleDownDelaySeconds; its Service goes when the last pod has.
Source: argo-rollouts `experiments/experiment.go`, `experiments/replicaset.go`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fairway.kube.api import MergePatch
from fairway.kube.decision import Action, Change, Create, Delete, Reason, earliest
from fairway.kube.objects import Obj, copy_of, dig, meta_of, owner_reference, rfc3339, uid_of
from fairway.kube.resources import REPLICA_SETS, SERVICES
from fairway.kube.template import template_hash
from fairway.rollouts.experiment_spec import ExperimentSpec, ExperimentTemplate, TemplateStatus
from fairway.rollouts.keys import HASH_LABEL, SCALE_DOWN_DEADLINE
from fairway.rollouts.replicasets import ReplicaSet

EXPERIMENT_NAME = "experiment.argoproj.io/name"
TEMPLATE_NAME = "experiment.argoproj.io/template-name"


@dataclass(frozen=True, slots=True)
class TemplatePlan:
    status: TemplateStatus
    actions: tuple[Action, ...] = ()
    wake_at: datetime | None = None
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Stage:
    """What all templates of one experiment share in a pass. `ending`: nothing new is started, everything leaves."""

    experiment: Obj
    spec: ExperimentSpec
    now: datetime
    ending: bool
    passed: bool


def plan_template(stage: Stage, template: ExperimentTemplate, before: TemplateStatus, rs: ReplicaSet | None,
                  service: Obj | None) -> TemplatePlan:
    wanted = 0 if stage.ending else template.replicas
    if rs is None:
        made = () if stage.ending else (Create(_replica_set(stage, template)),)
        status = replace(before, moved_at=stage.now if made else before.moved_at)
        return TemplatePlan(_judged(stage, status, wanted, available=0), made)
    counted = replace(before, replicas=rs.created, ready=rs.ready, available=rs.available, hash=rs.hash)
    if (counted.replicas, counted.ready, counted.available) != (before.replicas, before.ready, before.available):
        counted = replace(counted, moved_at=stage.now)
    scaling, wake, reasons = _scaled(stage, rs, wanted)
    if scaling:
        counted = replace(counted, moved_at=stage.now)
    served, actions = _served(stage, template, rs, service, wanted)
    status = _judged(stage, replace(counted, service=served), wanted, available=rs.available)
    late = _deadline(stage, status) if status.phase == "Progressing" else None
    return TemplatePlan(status, (*actions, *scaling), earliest(wake, late), reasons)


def _scaled(stage: Stage, rs: ReplicaSet, wanted: int) -> tuple[tuple[Action, ...], datetime | None, tuple[Reason, ...]]:
    if wanted == rs.replicas:
        return (), None, ()
    namespace = str(meta_of(stage.experiment).get("namespace", ""))
    if wanted == 0 and stage.spec.scale_down_delay_s > 0:
        if not rs.has_deadline:
            at = stage.now + timedelta(seconds=stage.spec.scale_down_delay_s)
            note = MergePatch({"metadata": {"annotations": {SCALE_DOWN_DEADLINE: rfc3339(at)}}})
            return (Change(REPLICA_SETS, namespace, rs.name, note),), at, ()
        if rs.deadline is not None and rs.deadline > stage.now:
            left = Reason("PodsKept", f"{rs.name} is scaled down at {rfc3339(rs.deadline)} (scaleDownDelaySeconds)")
            return (), rs.deadline, (left,)
    said = Reason("ScalingReplicaSet", f"{rs.name} from {rs.replicas} to {wanted}")
    return (Change(REPLICA_SETS, namespace, rs.name, MergePatch({"spec": {"replicas": wanted}})),), None, (said,)


def _served(stage: Stage, template: ExperimentTemplate, rs: ReplicaSet, service: Obj | None,
            wanted: int) -> tuple[str, tuple[Action, ...]]:
    """The name of the template's Service after this pass, and what makes it so."""
    if template.service is None:
        return "", ()
    if wanted:
        made = _service(stage, template, rs)
        if service is not None or made is None:
            return str(meta_of(service)["name"]) if service else "", ()
        return str(made["metadata"]["name"]), (Create(made),)
    if service is None:
        return "", ()
    name = str(meta_of(service)["name"])
    if rs.replicas or rs.available:
        return name, ()
    return "", (Delete(SERVICES, str(meta_of(service).get("namespace", "")), name, uid_of(service)),)


def _judged(stage: Stage, status: TemplateStatus, wanted: int, *, available: int) -> TemplateStatus:
    """A template that has come to an end stays as it ended."""
    if status.phase in ("Successful", "Failed", "Error"):
        return status
    if available == wanted and not (status.moved_at is None and wanted):
        done = stage.passed or stage.ending
        return replace(status, phase="Successful" if done else "Running", message="")
    deadline = _deadline(stage, status)
    if deadline is not None and stage.now > deadline:
        late = f"Template '{status.name}' exceeded its progressDeadlineSeconds ({stage.spec.progress_deadline_s})"
        return replace(status, phase="Failed", message=late)
    return replace(status, phase="Successful" if stage.ending else "Progressing")


def _deadline(stage: Stage, status: TemplateStatus) -> datetime | None:
    if status.moved_at is None:
        return None
    return status.moved_at + timedelta(seconds=stage.spec.progress_deadline_s)


def _replica_set(stage: Stage, template: ExperimentTemplate) -> Obj:
    """Created without pods, so that a crash between the two leaves nothing behind that nobody counts."""
    meta = meta_of(stage.experiment)
    pod_hash = template_hash({"template": template.template, "name": f"{meta.get('name')}/{template.name}"})
    pods, selector = copy_of(template.template), copy_of(template.selector)
    pod_meta = pods.setdefault("metadata", {})
    pod_meta["labels"] = {**(pod_meta.get("labels") or {}), HASH_LABEL: pod_hash}
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: pod_hash}
    return {
        "apiVersion": REPLICA_SETS.api_version,
        "kind": REPLICA_SETS.kind,
        "metadata": {
            "name": f"{meta.get('name')}-{template.name}",
            "namespace": meta.get("namespace", ""),
            "labels": dict(pod_meta["labels"]),
            "annotations": {EXPERIMENT_NAME: str(meta.get("name")), TEMPLATE_NAME: template.name},
            "ownerReferences": [owner_reference(stage.experiment)],
        },
        "spec": {"replicas": 0, "minReadySeconds": template.min_ready_seconds, "selector": selector, "template": pods},
    }


def _service(stage: Stage, template: ExperimentTemplate, rs: ReplicaSet) -> Obj | None:
    """None where the pods name no port that it could lead to."""
    ports = []
    for container in dig(rs.template, "spec", "containers", default=[]):
        for port in container.get("ports") or ():
            entry: Obj = {"protocol": port.get("protocol", "TCP"), "port": port["containerPort"],
                          "targetPort": port["containerPort"]}
            ports.append({**entry, "name": port["name"]} if port.get("name") else entry)
    if not ports:
        return None
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": template.service or rs.name,
            "namespace": meta_of(stage.experiment).get("namespace", ""),
            "annotations": {EXPERIMENT_NAME: str(meta_of(stage.experiment).get("name")), TEMPLATE_NAME: template.name},
            "ownerReferences": [owner_reference(stage.experiment)],
        },
        "spec": {"selector": dict(dig(rs.template, "metadata", "labels", default={})), "ports": ports},
    }
