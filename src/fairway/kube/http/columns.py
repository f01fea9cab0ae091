"""Which columns each built-in kind has in a table, and what stands in them. Pure.

The order, names and priorities (1: only with `-o wide`) are Kubernetes' own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fairway.kube.http.ages import age, human
from fairway.kube.http.pod_state import pod_state
from fairway.kube.objects import Obj, annotations_of, condition, dig, labels_of, meta_of, parse_time, spec_of, status_of
from fairway.kube.quantity import canonical, parse_quantity
from fairway.kube.selectors import from_label_selector, to_text

NONE, UNSET, UNKNOWN = "<none>", "<unset>", "<unknown>"
Cells = Callable[[Obj, datetime], list[Any]]


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str = "string"
    priority: int = 0
    format: str = ""
    description: str = ""

    def definition(self) -> Obj:
        return {"name": self.name, "type": self.type, "format": self.format, "description": self.description,
                "priority": self.priority}


@dataclass(frozen=True, slots=True)
class Layout:
    """`cells` gives one cell for each column; the name is first, except for Events, where it says nothing."""

    columns: tuple[Column, ...]
    cells: Cells


NAME = Column("Name", format="name", description="Name of the object, unique in its namespace.")
LAYOUTS: dict[tuple[str, str], Layout] = {}


def _columns(text: str) -> tuple[Column, ...]:
    """`Ready,Restarts:integer,IP+` as columns: `:type` or the format `:name`, and `+` for those of `-o wide`."""
    found = []
    for part in text.split(","):
        name, _, kind = part.replace("+", "").partition(":")
        form = "name" if kind == "name" else ""
        found.append(Column(name, kind if kind and not form else "string", int("+" in part), form, _DESCRIPTIONS.get(name, "")))
    return tuple(found)


_DESCRIPTIONS = {"Age": "Time since the object was created."}


def layout(group: str, kind: str, columns: str, *, name_first: bool = True) -> Callable[[Cells], Cells]:
    """Register the cells of a kind; `columns` as `_columns` reads them, without the name."""
    def register(cells: Cells) -> Cells:
        def named(obj: Obj, now: datetime) -> list[Any]:
            return [_name(kind, obj), *cells(obj, now)]

        LAYOUTS[group, kind] = (
            Layout((NAME, *_columns(columns)), named) if name_first else Layout(_columns(columns), cells))
        return cells

    return register


_DEFAULTS = {
    "StorageClass": ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"),
    "VolumeAttributesClass": ("volumeattributesclass.alpha.kubernetes.io/is-default-class",),
}


def _name(kind: str, obj: Obj) -> str:
    name = str(meta_of(obj).get("name", ""))
    marks = (annotations_of(obj).get(key) for key in _DEFAULTS.get(kind, ()))
    return f"{name} (default)" if "true" in marks else name


def age_of(obj: Obj, now: datetime) -> str:
    return age(meta_of(obj).get("creationTimestamp"), now)


def joined(values: Iterable[Any], empty: str = NONE) -> str:
    return ",".join(str(value) for value in values) or empty


def selected(selector: Mapping[str, Any] | None) -> str:
    """A label selector as text."""
    return (to_text(from_label_selector(selector)) or NONE) if selector is not None else NONE


def pairs(labels: Mapping[str, str] | None) -> str:
    return joined(f"{key}={value}" for key, value in sorted((labels or {}).items()))


def containers_of(template: Any) -> tuple[str, str]:
    """Names and images of a pod template, comma-separated."""
    rows = dig(template, "spec", "containers", default=[])
    return ",".join(row.get("name", "") for row in rows), ",".join(row.get("image", "") for row in rows)


# --- core ---------------------------------------------------------------------------------------------------------


@layout("", "Pod", "Ready,Status,Restarts,Age,IP+,Node+,Nominated Node+,Readiness Gates+")
def _pod(obj: Obj, now: datetime) -> list[Any]:
    state, status = pod_state(obj, now), status_of(obj)
    gates = dig(obj, "spec", "readinessGates", default=[])
    true = sum((condition(obj, gate["conditionType"]) or {}).get("status") == "True" for gate in gates)
    return [
        f"{state.ready}/{state.total}", state.reason, state.restarts, age_of(obj, now), status.get("podIP") or NONE,
        spec_of(obj).get("nodeName") or NONE, status.get("nominatedNodeName") or NONE,
        f"{true}/{len(gates)}" if gates else NONE,
    ]  # fmt: skip


@layout("", "Namespace", "Status,Age")
def _namespace(obj: Obj, now: datetime) -> list[Any]:
    return [status_of(obj).get("phase", ""), age_of(obj, now)]


@layout("", "Node", "Status,Roles,Age,Version,Internal-IP+,External-IP+,OS-Image+,Kernel-Version+,Container-Runtime+")
def _node(obj: Obj, now: datetime) -> list[Any]:
    ready = condition(obj, "Ready")
    states = ["Ready" if ready["status"] == "True" else "NotReady"] if ready else ["Unknown"]
    if spec_of(obj).get("unschedulable"):
        states.append("SchedulingDisabled")
    prefix = "node-role.kubernetes.io/"
    roles = sorted(key.removeprefix(prefix) for key in labels_of(obj) if key.startswith(prefix))
    info = status_of(obj).get("nodeInfo") or {}
    addresses = {row["type"]: row["address"] for row in status_of(obj).get("addresses") or ()}
    return [
        ",".join(states), joined(roles), age_of(obj, now), info.get("kubeletVersion", ""),
        addresses.get("InternalIP", NONE), addresses.get("ExternalIP", NONE), info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN, info.get("containerRuntimeVersion") or UNKNOWN,
    ]  # fmt: skip


@layout("", "Service", "Type,Cluster-IP,External-IP,Port(s),Age,Selector+")
def _service(obj: Obj, now: datetime) -> list[Any]:
    spec = spec_of(obj)
    ports = [f"{p['port']}:{p['nodePort']}/{p.get('protocol', 'TCP')}" if p.get("nodePort") else
             f"{p['port']}/{p.get('protocol', 'TCP')}" for p in spec.get("ports") or ()]
    kind = spec.get("type", "ClusterIP")
    external = list(spec.get("externalIPs") or ())
    if kind == "LoadBalancer":
        external = [row.get("ip") or row.get("hostname", "") for row in
                    dig(obj, "status", "loadBalancer", "ingress", default=[])] + external or ["<pending>"]
    elif kind == "ExternalName":
        external = [spec.get("externalName", "")]
    return [kind, spec.get("clusterIP") or NONE, joined(external), joined(ports), age_of(obj, now),
            pairs(spec.get("selector"))]


@layout("", "Endpoints", "Endpoints,Age")
def _endpoints(obj: Obj, now: datetime) -> list[Any]:
    found = [
        f"{address['ip']}:{port['port']}" if port else address["ip"]
        for subset in obj.get("subsets") or ()
        for port in subset.get("ports") or [None]
        for address in subset.get("addresses") or ()
    ]
    return [_more(found, 3), age_of(obj, now)]


def _more(values: list[str], most: int, empty: str = NONE) -> str:
    if len(values) <= most:
        return joined(values, empty)
    return f"{','.join(values[:most])} + {len(values) - most} more..."


@layout("", "ConfigMap", "Data,Age")
def _config_map(obj: Obj, now: datetime) -> list[Any]:
    return [len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), age_of(obj, now)]


@layout("", "Secret", "Type,Data,Age")
def _secret(obj: Obj, now: datetime) -> list[Any]:
    return [obj.get("type", "Opaque"), len(obj.get("data") or ()), age_of(obj, now)]


@layout("", "ServiceAccount", "Age")
def _service_account(obj: Obj, now: datetime) -> list[Any]:
    return [age_of(obj, now)]


@layout("", "PersistentVolume", "Capacity,Access Modes,Reclaim Policy,Status,Claim,StorageClass,VolumeAttributesClass,"
         "Reason,Age,VolumeMode+")
def _volume(obj: Obj, now: datetime) -> list[Any]:
    spec, status = spec_of(obj), status_of(obj)
    claim = spec.get("claimRef") or {}
    return [
        dig(spec, "capacity", "storage", default=""), _modes(spec), spec.get("persistentVolumeReclaimPolicy", ""),
        "Terminating" if "deletionTimestamp" in meta_of(obj) else status.get("phase", ""),
        f"{claim.get('namespace', '')}/{claim['name']}" if claim else "", spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or UNSET, status.get("reason", ""), age_of(obj, now),
        spec.get("volumeMode") or UNSET,
    ]  # fmt: skip


@layout("", "PersistentVolumeClaim", "Status,Volume,Capacity,Access Modes,StorageClass,VolumeAttributesClass,Age,"
         "VolumeMode+")
def _claim(obj: Obj, now: datetime) -> list[Any]:
    spec, status = spec_of(obj), status_of(obj)
    bound = bool(spec.get("volumeName"))
    return [
        "Terminating" if "deletionTimestamp" in meta_of(obj) else status.get("phase", ""), spec.get("volumeName", ""),
        dig(status, "capacity", "storage", default="") if bound else "", _modes(status) if bound else "",
        spec.get("storageClassName", ""), spec.get("volumeAttributesClassName") or UNSET, age_of(obj, now),
        spec.get("volumeMode") or UNSET,
    ]  # fmt: skip


def _modes(holder: Mapping[str, Any]) -> str:
    short = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
    return ",".join(short.get(mode, mode) for mode in holder.get("accessModes") or ())


@layout("", "ResourceQuota", "Request,Limit,Age")
def _quota(obj: Obj, now: datetime) -> list[Any]:
    used = dig(obj, "status", "used", default={})
    rows = [(name, f"{name}: {used.get(name, 0)}/{hard}") for name, hard in
            sorted(dig(obj, "status", "hard", default={}).items())]
    requests = ", ".join(text for name, text in rows if not name.startswith("limits"))
    return [requests, ", ".join(text for name, text in rows if name.startswith("limits")), age_of(obj, now)]


@layout("", "Event", "Last Seen,Type,Reason,Object,Subobject+,Source+,Message,First Seen+,Count+,Name+:name",
         name_first=False)
def _event(obj: Obj, now: datetime) -> list[Any]:
    about = obj.get("involvedObject") or obj.get("regarding") or {}
    series, source = obj.get("series") or {}, obj.get("source") or {}
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    last = series.get("lastObservedTime") or obj.get("lastTimestamp") or first
    component = source.get("component") or obj.get("reportingComponent") or ""
    host = source.get("host") or obj.get("reportingInstance")
    subject = f"{about.get('kind', '').lower()}/{about.get('name', '')}"
    return [
        age(last, now), obj.get("type", ""), obj.get("reason", ""), subject,
        about.get("fieldPath", ""), f"{component}, {host}" if host else component,
        str(obj.get("message", obj.get("note", ""))).strip(), age(first, now),
        series.get("count") or obj.get("count") or 1, meta_of(obj).get("name", ""),
    ]  # fmt: skip


# --- workloads ----------------------------------------------------------------------------------------------------


@layout("apps", "Deployment", "Ready,Up-to-date,Available,Age,Containers+,Images+,Selector+")
def _deployment(obj: Obj, now: datetime) -> list[Any]:
    spec, status = spec_of(obj), status_of(obj)
    return [
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 1)}", status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0), age_of(obj, now), *containers_of(spec.get("template")),
        selected(spec.get("selector")),
    ]  # fmt: skip


@layout("apps", "ReplicaSet", "Desired:integer,Current:integer,Ready:integer,Age,Containers+,Images+,Selector+")
def _replica_set(obj: Obj, now: datetime) -> list[Any]:
    spec, status = spec_of(obj), status_of(obj)
    return [spec.get("replicas", 1), status.get("replicas", 0), status.get("readyReplicas", 0), age_of(obj, now),
            *containers_of(spec.get("template")), selected(spec.get("selector"))]


@layout("apps", "StatefulSet", "Ready,Age,Containers+,Images+")
def _stateful_set(obj: Obj, now: datetime) -> list[Any]:
    spec = spec_of(obj)
    return [f"{status_of(obj).get('readyReplicas', 0)}/{spec.get('replicas', 1)}", age_of(obj, now),
            *containers_of(spec.get("template"))]


@layout("apps", "DaemonSet", "Desired:integer,Current:integer,Ready:integer,Up-to-date:integer,Available:integer,"
         "Node Selector,Age,Containers+,Images+,Selector+")
def _daemon_set(obj: Obj, now: datetime) -> list[Any]:
    spec, status = spec_of(obj), status_of(obj)
    names = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled",
             "numberAvailable")
    return [*(status.get(name, 0) for name in names), pairs(dig(spec, "template", "spec", "nodeSelector")),
            age_of(obj, now), *containers_of(spec.get("template")), selected(spec.get("selector"))]


@layout("apps", "ControllerRevision", "Controller,Revision,Age")
def _revision(obj: Obj, now: datetime) -> list[Any]:
    owner = next((ref for ref in meta_of(obj).get("ownerReferences") or () if ref.get("controller")), None)
    words = NONE
    if owner:
        group = str(owner["apiVersion"]).rpartition("/")[0]
        words = f"{owner['kind'].lower()}{'.' + group if group else ''}/{owner['name']}"
    return [words, obj.get("revision", 0), age_of(obj, now)]


@layout("batch", "Job", "Status,Completions,Duration,Age,Containers+,Images+,Selector+")
def _job(obj: Obj, now: datetime) -> list[Any]:
    spec, status = spec_of(obj), status_of(obj)
    wanted = spec.get("completions")
    parallel = spec.get("parallelism", 1)
    goal = str(wanted) if wanted is not None else f"1 of {parallel}" if parallel > 1 else "1"
    took = ""
    if start := status.get("startTime"):
        end = status.get("completionTime")
        took = human((parse_time(end) if end else now) - parse_time(start))
    return [_job_state(obj), f"{status.get('succeeded', 0)}/{goal}", took, age_of(obj, now),
            *containers_of(spec.get("template")), selected(spec.get("selector"))]


def _job_state(obj: Obj) -> str:
    for kind, word in (("Complete", "Complete"), ("Failed", "Failed")):
        if (condition(obj, kind) or {}).get("status") == "True":
            return word
    if "deletionTimestamp" in meta_of(obj):
        return "Terminating"
    for kind, word in (("Suspended", "Suspended"), ("FailureTarget", "FailureTarget"),
                       ("SuccessCriteriaMet", "SuccessCriteriaMet")):
        if (condition(obj, kind) or {}).get("status") == "True":
            return word
    return "Running"


@layout("batch", "CronJob", "Schedule,Timezone,Suspend:boolean,Active:integer,Last Schedule,Age,Containers+,Images+,Selector+")
def _cron_job(obj: Obj, now: datetime) -> list[Any]:
    spec, status = spec_of(obj), status_of(obj)
    last = status.get("lastScheduleTime")
    template = dig(spec, "jobTemplate", "spec", default={})
    return [spec.get("schedule", ""), spec.get("timeZone") or NONE, "True" if spec.get("suspend") else "False",
            len(status.get("active") or ()), age(last, now) if last else NONE, age_of(obj, now),
            *containers_of(template.get("template")), selected(template.get("selector"))]


@layout("autoscaling", "HorizontalPodAutoscaler", "Reference,Targets,MinPods,MaxPods,Replicas,Age")
def _autoscaler(obj: Obj, now: datetime) -> list[Any]:
    spec, status = spec_of(obj), status_of(obj)
    target = spec.get("scaleTargetRef") or {}
    current = status.get("currentMetrics") or []
    metrics = spec.get("metrics") or []
    shown = [_metric(metric, current[i] if i < len(current) else {}) for i, metric in enumerate(metrics)]
    least = str(spec.get("minReplicas") or UNSET)
    more = f" + {len(shown) - 2} more..." if len(shown) > 2 else ""
    reference, targets = f"{target.get('kind', '')}/{target.get('name', '')}", ", ".join(shown[:2]) + more
    return [reference, targets or NONE, least, spec.get("maxReplicas", 0),
            status.get("currentReplicas", 0), age_of(obj, now)]


def _metric(metric: Mapping[str, Any], current: Mapping[str, Any]) -> str:
    kind = str(metric.get("type", ""))
    field = kind[:1].lower() + kind[1:]
    wanted, seen = dig(metric, field, "target", default={}), dig(current, field, "current", default={})
    name = dig(metric, field, "name", default="") if kind in ("Resource", "ContainerResource") else ""
    prefix = f"{name}: " if name else ""
    if "averageUtilization" in wanted:
        now = f"{seen['averageUtilization']}%" if "averageUtilization" in seen else UNKNOWN
        return f"{prefix}{now}/{wanted['averageUtilization']}%"
    if name and "averageValue" not in wanted:
        return f"{prefix}{UNKNOWN}/<auto>"
    if "averageValue" in wanted:
        return f"{prefix}{seen.get('averageValue', UNKNOWN)}/{wanted['averageValue']}" + _average(kind)
    return f"{prefix}{seen.get('value', UNKNOWN)}/{wanted.get('value', UNKNOWN)}"


def _average(kind: str) -> str:
    return " (avg)" if kind in ("External", "Object") else ""


@layout("policy", "PodDisruptionBudget", "Min Available,Max Unavailable,Allowed Disruptions:integer,Age")
def _budget(obj: Obj, now: datetime) -> list[Any]:
    spec = spec_of(obj)
    return [str(spec.get("minAvailable", "N/A")), str(spec.get("maxUnavailable", "N/A")),
            status_of(obj).get("disruptionsAllowed", 0), age_of(obj, now)]


# --- networking, discovery ----------------------------------------------------------------------------------------


@layout("networking.k8s.io", "Ingress", "Class,Hosts,Address,Ports,Age")
def _ingress(obj: Obj, now: datetime) -> list[Any]:
    spec = spec_of(obj)
    hosts = [rule["host"] for rule in spec.get("rules") or () if rule.get("host")]
    address = [row.get("ip") or row.get("hostname", "") for row in
               dig(obj, "status", "loadBalancer", "ingress", default=[])]
    return [spec.get("ingressClassName") or NONE, _more(hosts, 3, "*"), ",".join(address),
            "80, 443" if spec.get("tls") else "80", age_of(obj, now)]


@layout("networking.k8s.io", "IngressClass", "Controller,Parameters,Age")
def _ingress_class(obj: Obj, now: datetime) -> list[Any]:
    parameters = spec_of(obj).get("parameters") or {}
    group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") else ""
    shown = f"{parameters['kind']}{group}/{parameters['name']}" if parameters else NONE
    return [spec_of(obj).get("controller", ""), shown, age_of(obj, now)]


@layout("networking.k8s.io", "NetworkPolicy", "Pod-Selector,Age")
def _network_policy(obj: Obj, now: datetime) -> list[Any]:
    return [selected(spec_of(obj).get("podSelector")), age_of(obj, now)]


@layout("discovery.k8s.io", "EndpointSlice", "AddressType,Ports,Endpoints,Age")
def _endpoint_slice(obj: Obj, now: datetime) -> list[Any]:
    ports = [str(port.get("port", "*")) for port in obj.get("ports") or ()]
    addresses = [address for endpoint in obj.get("endpoints") or () for address in endpoint.get("addresses") or ()]
    return [obj.get("addressType", ""), _more(ports, 3, UNSET), _more(addresses, 3, UNSET), age_of(obj, now)]


# --- the rest -----------------------------------------------------------------------------------------------------


def _created_at(obj: Obj, _now: datetime) -> list[Any]:
    return [meta_of(obj).get("creationTimestamp")]


for _group, _kind in (("", "LimitRange"), ("rbac.authorization.k8s.io", "Role"),
                      ("rbac.authorization.k8s.io", "ClusterRole"),
                      ("apiextensions.k8s.io", "CustomResourceDefinition")):
    layout(_group, _kind, "Created At:date")(_created_at)


def _binding(obj: Obj, now: datetime) -> list[Any]:
    role = obj.get("roleRef") or {}
    who: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for subject in obj.get("subjects") or ():
        kind, name = subject["kind"], subject["name"]
        who.setdefault(kind, []).append(f"{subject.get('namespace', '')}/{name}" if kind == "ServiceAccount" else name)
    return [f"{role.get('kind', '')}/{role.get('name', '')}", age_of(obj, now),
            *(", ".join(who[kind]) for kind in ("User", "Group", "ServiceAccount"))]


for _kind in ("RoleBinding", "ClusterRoleBinding"):
    layout("rbac.authorization.k8s.io", _kind, "Role,Age,Users+,Groups+,ServiceAccounts+")(_binding)


@layout("coordination.k8s.io", "Lease", "Holder,Age")
def _lease(obj: Obj, now: datetime) -> list[Any]:
    return [spec_of(obj).get("holderIdentity", ""), age_of(obj, now)]


@layout("scheduling.k8s.io", "PriorityClass", "Value:integer,Global-Default:boolean,Age,PreemptionPolicy")
def _priority_class(obj: Obj, now: datetime) -> list[Any]:
    return [obj.get("value", 0), bool(obj.get("globalDefault")), age_of(obj, now), obj.get("preemptionPolicy") or ""]


@layout("storage.k8s.io", "StorageClass", "Provisioner,ReclaimPolicy,VolumeBindingMode,AllowVolumeExpansion,Age")
def _storage_class(obj: Obj, now: datetime) -> list[Any]:
    return [obj.get("provisioner", ""), obj.get("reclaimPolicy", "Delete"), obj.get("volumeBindingMode") or "Immediate",
            bool(obj.get("allowVolumeExpansion")), age_of(obj, now)]


# --- metrics.k8s.io ---------------------------------------------------------------------------------------------------


@layout("metrics.k8s.io", "PodMetrics", "Cpu,Memory,Window")
def _pod_metrics(obj: Obj, now: datetime) -> list[Any]:
    used = [one["usage"] for one in obj.get("containers") or ()]
    return [*(canonical(str(sum(parse_quantity(one[name]) for one in used))) for name in ("cpu", "memory")), obj["window"]]


@layout("metrics.k8s.io", "NodeMetrics", "Cpu,Memory,Window")
def _node_metrics(obj: Obj, now: datetime) -> list[Any]:
    return [obj["usage"]["cpu"], obj["usage"]["memory"], obj["window"]]
