"""The series of kube-state-metrics about pods and their containers.

Source: kube-state-metrics `docs/metrics/workload/pod-metrics.md`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fairway.kube.objects import Obj, condition, controller_of, dig, key_of, labels_of, meta_of, parse_time, spec_of, status_of
from fairway.metrics.kube_state_samples import Sample, about, amounts, moment, one_of, owner, sample, words

RESTARTS = "kube_pod_container_status_restarts_total"
COUNTERS = frozenset({RESTARTS, "kube_pod_init_container_status_restarts_total"})
_PHASES = ("Pending", "Running", "Succeeded", "Failed", "Unknown")
_MOMENTS = {"Initialized": "initialized", "Ready": "ready", "ContainersReady": "container_ready", "PodScheduled": "scheduled"}


def pod(obj: Obj) -> Iterator[Sample]:
    key, status, spec, meta = key_of(obj), status_of(obj), spec_of(obj), meta_of(obj)
    labels = {"namespace": key.namespace, "pod": key.name, "uid": str(meta.get("uid", "")),
              "rollouts_pod_template_hash": labels_of(obj).get("rollouts-pod-template-hash", "")}  # fmt: skip
    ref = controller_of(obj) or {}
    yield sample("kube_pod_info", {
        **labels, "host_ip": status.get("hostIP", ""), "pod_ip": status.get("podIP", ""), "node": spec.get("nodeName", ""),
        "created_by_kind": ref.get("kind", ""), "created_by_name": ref.get("name", ""),
        "priority_class": spec.get("priorityClassName", ""), "host_network": str(bool(spec.get("hostNetwork"))).lower(),
    }, 1)  # fmt: skip
    yield from about("pod", obj, labels)
    yield from owner("pod", obj, labels)
    yield from moment("kube_pod_start_time", labels, status.get("startTime"))
    yield from moment("kube_pod_deletion_timestamp", labels, meta.get("deletionTimestamp"))
    yield sample("kube_pod_restart_policy", {**labels, "type": spec.get("restartPolicy", "Always")}, 1)
    yield sample("kube_pod_service_account", {**labels, "service_account": spec.get("serviceAccountName", "")}, 1)
    yield from _status(obj, labels)
    for kind, prefix in (("containers", "kube_pod_container"), ("initContainers", "kube_pod_init_container")):
        node = {**labels, "node": spec.get("nodeName", "")}
        for container in spec.get(kind) or ():
            of = {**node, "container": container["name"]}
            for field in ("requests", "limits"):
                yield from amounts(f"{prefix}_resource_{field}", of, dig(container, "resources", field))
    for kind, prefix in (("containerStatuses", "kube_pod_container"), ("initContainerStatuses", "kube_pod_init_container")):
        for row in status.get(kind) or ():
            yield from _container(prefix, row, {**labels, "container": row["name"]})
    for volume in spec.get("volumes") or ():
        if claim := volume.get("persistentVolumeClaim"):
            of = {**labels, "volume": volume["name"], "persistentvolumeclaim": claim["claimName"]}
            yield sample("kube_pod_spec_volumes_persistentvolumeclaims_info", of, 1)
            yield sample("kube_pod_spec_volumes_persistentvolumeclaims_readonly", of, float(bool(claim.get("readOnly"))))


def _status(obj: Obj, labels: Mapping[str, str]) -> Iterator[Sample]:
    status = status_of(obj)
    yield from one_of("kube_pod_status_phase", labels, "phase", _PHASES, status.get("phase", "Unknown"))
    for name, label, said in (("reason", "reason", status.get("reason")), ("qos_class", "qos_class", status.get("qosClass"))):
        if said:  # the words that it is not are left out: there are many pods
            yield sample(f"kube_pod_status_{name}", {**labels, label: said}, 1)
    for kind, name in (("Ready", "ready"), ("PodScheduled", "scheduled")):
        said = (condition(obj, kind) or {}).get("status", "False")
        yield from words(f"kube_pod_status_{name}", labels, "condition", said)
    for kind, name in _MOMENTS.items():
        entry = condition(obj, kind) or {}
        if entry.get("status") == "True":
            yield from moment(f"kube_pod_status_{name}_time", labels, entry.get("lastTransitionTime"))
    scheduled = condition(obj, "PodScheduled") or {}
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        yield sample("kube_pod_status_unschedulable", labels, 1)
    ends = [dig(row, "state", "terminated", "finishedAt") for row in status.get("containerStatuses") or ()]
    if status.get("phase") in ("Succeeded", "Failed") and ends and all(ends):
        yield sample("kube_pod_completion_time", labels, max(parse_time(end).timestamp() for end in ends))


def _container(prefix: str, row: Obj, labels: Mapping[str, str]) -> Iterator[Sample]:
    yield sample(f"{prefix}_info", {**labels, "image": row.get("image", ""), "image_id": row.get("imageID", ""),
                                    "image_spec": row.get("image", ""), "container_id": row.get("containerID", ""),
                                    }, 1)  # fmt: skip
    yield sample(f"{prefix}_status_restarts_total", labels, float(row.get("restartCount", 0)))
    yield sample(f"{prefix}_status_ready", labels, float(bool(row.get("ready"))))
    state = row.get("state") or {}
    for kind in ("running", "waiting", "terminated"):
        yield sample(f"{prefix}_status_{kind}", labels, float(kind in state))
    yield from moment(f"{prefix}_state_started", labels, dig(state, "running", "startedAt"))
    for kind in ("waiting", "terminated"):
        if reason := dig(state, kind, "reason"):
            yield sample(f"{prefix}_status_{kind}_reason", {**labels, "reason": str(reason)}, 1)
    if last := dig(row, "lastState", "terminated"):
        yield sample(f"{prefix}_status_last_terminated_reason", {**labels, "reason": str(last.get("reason", ""))}, 1)
        yield sample(f"{prefix}_status_last_terminated_exitcode", labels, float(last.get("exitCode", 0)))
        yield from moment(f"{prefix}_status_last_terminated_timestamp", labels, last.get("finishedAt"))
