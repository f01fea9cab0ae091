"""The objects that a job becomes: a Secret with its order, and a Job of one pod. Pure.

The pod: a container that lays out what the runner needs, the job's services as sidecars, the job's container. The order holds
every secret of the job, so the job's container does not have the Secret: it gets a copy in memory, which the runner removes
before the first step.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairway.ci.pods.settings import JobSettings
from fairway.ci.services.wish import DEFAULT_PORTS, ServiceError, ServiceWish, port_maps
from fairway.kube.objects import Obj

RUN, JOB, ATTEMPT = "fairway.dev/run", "fairway.dev/job", "fairway.dev/attempt"
CONTAINER = "job"
SECRET, ORDER, ROOT, RUNNER = "/fairway/secret", "/fairway/order", "/fairway/job", "/fairway/runner"
ORDER_FILE = "order.json"
_DEADLINE_MORE_S = 600  # for the pod to start, and for what is kept to be sent


class NoImage(Exception):
    """No image for this job; the message names the mend."""


@dataclass(frozen=True)
class Wanted:
    """`image` is the job's own, "" for the runner's; `minutes` its time limit."""

    run: str
    job: str
    attempt: int
    labels: tuple[str, ...]
    minutes: float
    image: str = ""
    services: tuple[ServiceWish, ...] = ()


def name_of(run: str, job: str, attempt: int) -> str:
    """The same for the same attempt: who looks for it again finds it."""
    words = re.sub(r"[^a-z0-9]+", "-", f"{run[:26]}-{job[-20:]}".lower()).strip("-")
    digest = hashlib.sha256(f"{run}\0{job}\0{attempt}".encode()).hexdigest()[:8]
    return f"{words}-{digest}"


def run_label(run: str) -> str:
    """Names of runs may be longer than the value of a label."""
    return hashlib.sha256(run.encode()).hexdigest()[:20]


def secret(wanted: Wanted, order: bytes, settings: JobSettings) -> Obj:
    data = {ORDER_FILE: order, **{key: value.encode() for key, value in _service_values(wanted).items()}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": _metadata(wanted, settings), "type": "Opaque", "immutable": True,
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()}}


def job(wanted: Wanted, settings: JobSettings) -> Obj:
    """Raises `NoImage`, `ServiceError`."""
    runner = settings.image_for(list(wanted.labels))
    if runner is None:
        raise NoImage(f"no image for runs-on {', '.join(wanted.labels) or '(nothing)'}: name one below `images` of jobs.yaml, "
                      'or one for all others as "*"')
    sidecars = wanted.services if settings.services == "sidecars" else ()
    pod: Obj = {
        "restartPolicy": "Never", "enableServiceLinks": False, "terminationGracePeriodSeconds": settings.grace_s,
        "automountServiceAccountToken": bool(settings.service_account),
        "initContainers": [_layout(wanted, runner, settings),
                           *(_sidecar(number, wish, wanted, settings) for number, wish in enumerate(sidecars))],
        "containers": [_container(wanted, runner, settings)],
        "volumes": [{"name": "secret", "secret": {"secretName": name_of(wanted.run, wanted.job, wanted.attempt),
                                                  "items": [{"key": ORDER_FILE, "path": ORDER_FILE}], "defaultMode": 0o444}},
                    {"name": "order", "emptyDir": {"medium": "Memory", "sizeLimit": "4Mi"}}, {"name": "job", "emptyDir": {}},
                    *([{"name": "runner", "emptyDir": {}}] if wanted.image else [])],
    }
    optional = {
        "serviceAccountName": settings.service_account, "nodeSelector": dict(settings.node_selector),
        "tolerations": [dict(entry) for entry in settings.tolerations],
        "imagePullSecrets": [{"name": name} for name in settings.pull_secrets],
        "hostAliases": [{"ip": "127.0.0.1", "hostnames": names}] if (names := _host_names(sidecars)) else [],
    }
    pod |= {key: value for key, value in optional.items() if value}
    for container in (*pod["initContainers"], *pod["containers"]):
        container |= dict(settings.container)
    pod |= dict(settings.pod)
    meta = _metadata(wanted, settings)
    return {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": meta,
        "spec": {
            "backoffLimit": 0, "ttlSecondsAfterFinished": settings.keep_s,
            "activeDeadlineSeconds": int(wanted.minutes * 60) + _DEADLINE_MORE_S + settings.grace_s,
            "template": {"metadata": {"labels": meta["labels"], "annotations": meta["annotations"]}, "spec": pod},
        },
    }  # fmt: skip


def _metadata(wanted: Wanted, settings: JobSettings) -> Obj:
    return {
        "name": name_of(wanted.run, wanted.job, wanted.attempt), "namespace": settings.namespace,
        "labels": {"app.kubernetes.io/managed-by": "fairway", RUN: run_label(wanted.run)},
        "annotations": {RUN: wanted.run, JOB: wanted.job, ATTEMPT: str(wanted.attempt)},
    }  # fmt: skip


def _container(wanted: Wanted, runner: str, settings: JobSettings) -> Obj:
    command = list(settings.command)
    mounts: list[Obj] = [{"name": "order", "mountPath": ORDER}, {"name": "job", "mountPath": ROOT}]
    if wanted.image:
        command = [f"{RUNNER}/bin/python3", *command[1:]]
        mounts.append({"name": "runner", "mountPath": RUNNER, "readOnly": True})
    found: Obj = {
        "name": CONTAINER, "image": wanted.image or runner, "command": [*command, f"{ORDER}/{ORDER_FILE}", ROOT],
        "env": [{"name": "FAIRWAY_POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                *({"name": name, "value": value} for name, value in settings.environment.items())],
        "volumeMounts": mounts, "terminationMessagePolicy": "File",
    }  # fmt: skip
    return {**found, "resources": dict(settings.resources)} if settings.resources else found


def _layout(wanted: Wanted, runner: str, settings: JobSettings) -> Obj:
    words = f"cat {SECRET}/{ORDER_FILE} > {ORDER}/{ORDER_FILE}"
    mounts: list[Obj] = [{"name": "secret", "mountPath": SECRET, "readOnly": True}, {"name": "order", "mountPath": ORDER}]
    if wanted.image and not settings.portable:
        raise NoImage(f"the job asks for the image {wanted.image}, in which there is no Fairway: set `portable` in jobs.yaml "
                      "to the folder of the runner's image that holds a Python which runs in other images, or leave out the "
                      "job's image")
    if wanted.image:
        words += f" && cp -a {shlex.quote(settings.portable.rstrip('/'))}/. {RUNNER}/"
        mounts.append({"name": "runner", "mountPath": RUNNER})
    return {"name": "layout", "image": runner, "command": ["sh", "-c", words], "volumeMounts": mounts}


# --- services -------------------------------------------------------------------------------------------------------


def _sidecar(number: int, wish: ServiceWish, wanted: Wanted, settings: JobSettings) -> Obj:
    name = re.sub(r"[^a-z0-9]+", "-", wish.names[0].lower()).strip("-")[:40]
    keys = {"secretKeyRef": {"name": name_of(wanted.run, wanted.job, wanted.attempt)}}
    found: Obj = {
        "name": f"service-{name or number}", "image": wish.image, "restartPolicy": "Always",
        "env": [{"name": variable, "valueFrom": {"secretKeyRef": {**keys["secretKeyRef"], "key": _key(number, variable)}}}
                for variable in wish.env],
    }  # fmt: skip
    command, arguments = list(wish.entrypoint), list(wish.command)
    found |= {key: value for key, value in (("command", command), ("args", arguments)) if value}
    if probe := _probe(wish):
        tries = max(settings.start_s, 60)
        found["startupProbe"] = {**probe, "periodSeconds": 1, "failureThreshold": tries, "timeoutSeconds": 5}
    if settings.resources:
        found["resources"] = dict(settings.resources)
    return found


def _probe(wish: ServiceWish) -> Obj:
    """`--health-cmd` of the options, else the first port: the job starts once the service answers."""
    try:
        words = shlex.split(wish.options)
    except ValueError:
        raise ServiceError(f"service {wish.image}: options {wish.options!r}: a quote is not closed") from None
    for at, word in enumerate(words):
        name, _, value = word.partition("=")
        if name == "--health-cmd":
            said = value or (words[at + 1] if at + 1 < len(words) else "")
            return {"exec": {"command": ["sh", "-c", said]}} if said else {}
    maps = port_maps(wish, DEFAULT_PORTS[wish.kind] if wish.kind else 0)
    return {"tcpSocket": {"port": maps[0].container}} if maps else {}


def _service_values(wanted: Wanted) -> dict[str, str]:
    """What services have in their environment is in the Secret: it may be secret."""
    return {_key(number, variable): value for number, wish in enumerate(wanted.services)
            for variable, value in wish.env.items()}


def _key(number: int, variable: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", f"service-{number}.{variable}")


def _host_names(services: Sequence[ServiceWish]) -> list[str]:
    return sorted({name.lower() for wish in services for name in wish.names
                   if re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", name.lower())} - {"localhost"})


# --- what became of it ----------------------------------------------------------------------------------------------


def not_started(pod: Mapping[str, Any]) -> str:
    """Why the pod's containers do not run yet, in Kubernetes' words; "" where nothing is said."""
    status = pod.get("status") or {}
    for entry in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        waiting = (entry.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return f"{entry['name']}: {waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
    for entry in status.get("conditions") or ():
        if entry.get("type") == "PodScheduled" and entry.get("status") == "False":
            return f"{entry.get('reason', '')}: {entry.get('message', '')}".strip(": ")
    return ""


def has_started(pod: Mapping[str, Any]) -> bool:
    return any(entry["name"] == CONTAINER and ({"running", "terminated"} & set(entry.get("state") or {}))
               for entry in (pod.get("status") or {}).get("containerStatuses") or ())


def terminated(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """How the job's container ended: `exitCode`, `reason`, `message`."""
    for entry in (pod.get("status") or {}).get("containerStatuses") or ():
        if entry["name"] == CONTAINER and (found := (entry.get("state") or {}).get("terminated")):
            return dict(found)
    return None


def is_over(pod: Mapping[str, Any]) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def gone_wrong(job_object: Mapping[str, Any]) -> str:
    """Why the Job itself has failed; "" while it has not."""
    for entry in (job_object.get("status") or {}).get("conditions") or ():
        if entry.get("type") == "Failed" and entry.get("status") == "True":
            return f"{entry.get('reason', '')}: {entry.get('message', '')}".strip(": ")
    return ""
