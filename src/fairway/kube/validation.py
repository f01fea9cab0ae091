"""What the API refuses in built-in kinds, in its own words: the rules that users meet first.

Pure: an object in, what is wrong out. Source: kubernetes `pkg/apis/*/validation`; rules and message texts only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from fairway.kube import validation_access as access
from fairway.kube.objects import Obj, dig
from fairway.kube.quantity import parse_quantity
from fairway.kube.refusals import FieldError, duplicate, forbidden, invalid_value, required, unsupported

Errors = Iterator[FieldError]

_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
_SUBDOMAIN = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
_SERVICE_NAME = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
_QUALIFIED = re.compile(r"^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$")
_VALUE = re.compile(r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")
_CONFIG_KEY = re.compile(r"^[-._a-zA-Z0-9]+$")
_ENV_NAME = re.compile(r"^[ -<>-~]+$")

_LABEL_WORDS = ("a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and "
                "end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
                "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')")
_SUBDOMAIN_WORDS = ("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and "
                    "must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
                    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')")
_SERVICE_WORDS = ("a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
                  "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for "
                  "validation is '[a-z]([-a-z0-9]*[a-z0-9])?')")
_QUALIFIED_WORDS = ("name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
                    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
                    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')")
_VALUE_WORDS = ("a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
                "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used "
                "for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')")
_CONFIG_KEY_WORDS = ("a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
                     "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')")

_LABEL_NAMES = {("", "Namespace")}
_SERVICE_NAMES = {("", "Service")}
_FREE_NAMES = {("rbac.authorization.k8s.io", kind) for kind in ("Role", "RoleBinding", "ClusterRole",
                                                                "ClusterRoleBinding")}
_LONGEST_NAME, _LONGEST_LABEL = 253, 63


def check_new(group: str, kind: str, obj: Obj) -> list[FieldError]:
    """Everything wrong with an object as it would be stored."""
    errors = [*_metadata(group, kind, obj["metadata"])]
    check = _KINDS.get((group, kind))
    if check is not None:
        errors.extend(check(obj))
    return errors


def check_change(group: str, kind: str, old: Obj, new: Obj) -> list[FieldError]:
    """Everything wrong with `new` as the successor of `old`."""
    errors = check_new(group, kind, new)
    for path in _IMMUTABLE.get((group, kind), ()):
        before, after = dig(old, *path.split(".")), dig(new, *path.split("."))
        if before != after and before is not None:
            errors.append(invalid_value(path, after, "field is immutable"))
    changed = _CHANGES.get((group, kind))
    if changed is not None:
        errors.extend(changed(old, new))
    if (group, kind) == ("", "Pod"):
        errors.extend(_pod_change(old, new))
    fixed = (group, kind) in (("", "ConfigMap"), ("", "Secret")) and old.get("immutable")
    if fixed and any(old.get(name) != new.get(name) for name in ("data", "binaryData", "immutable")):
        errors.append(forbidden("data", "field is immutable when `immutable` is set"))
    if (group, kind) == ("", "Service"):
        before = dig(old, "spec", "clusterIP", default="")
        if before and dig(new, "spec", "clusterIP", default="") != before and dig(new, "spec", "type") != "ExternalName":
            errors.append(invalid_value("spec.clusterIPs[0]", [dig(new, "spec", "clusterIP", default="")],
                                        "may not change once set"))
    return errors


# --- names and labels -------------------------------------------------------------------------------------------------


def _metadata(group: str, kind: str, meta: Mapping[str, Any]) -> Errors:
    name = meta["name"]
    if (group, kind) in _LABEL_NAMES:
        yield from _shaped("metadata.name", name, _LABEL, _LABEL_WORDS, _LONGEST_LABEL)
    elif (group, kind) in _SERVICE_NAMES:
        yield from _shaped("metadata.name", name, _SERVICE_NAME, _SERVICE_WORDS, _LONGEST_LABEL)
    elif (group, kind) in _FREE_NAMES:
        if "/" in name or "%" in name or name in (".", ".."):
            yield invalid_value("metadata.name", name, "may not contain '/'" if "/" in name else "may not be '.'")
    else:
        yield from _shaped("metadata.name", name, _SUBDOMAIN, _SUBDOMAIN_WORDS, _LONGEST_NAME)
    yield from _labels("metadata.labels", meta.get("labels") or {})
    for key in meta.get("annotations") or {}:
        yield from _qualified("metadata.annotations", key.lower())


def _shaped(path: str, value: str, shape: re.Pattern[str], words: str, longest: int) -> Errors:
    if len(value) > longest:
        yield invalid_value(path, value, f"must be no more than {longest} characters")
    if not shape.match(value):
        yield invalid_value(path, value, words)


def _qualified(path: str, key: str) -> Errors:
    prefix, slash, name = key.rpartition("/")
    if slash and not _SUBDOMAIN.match(prefix):
        yield invalid_value(path, key, "prefix part " + _SUBDOMAIN_WORDS)
    if len(name) > _LONGEST_LABEL:
        yield invalid_value(path, key, f"name part must be no more than {_LONGEST_LABEL} characters")
    if not _QUALIFIED.match(name):
        yield invalid_value(path, key, _QUALIFIED_WORDS)


def _labels(path: str, labels: Mapping[str, Any]) -> Errors:
    for key, value in labels.items():
        yield from _qualified(path, key)
        if len(value) > _LONGEST_LABEL:
            yield invalid_value(path, value, f"must be no more than {_LONGEST_LABEL} bytes")
        elif not _VALUE.match(value):
            yield invalid_value(path, value, _VALUE_WORDS)


def _not_negative(path: str, value: Any) -> Errors:
    if isinstance(value, int) and value < 0:
        yield invalid_value(path, value, "must be greater than or equal to 0")


def _one_of(path: str, value: Any, words: Sequence[str]) -> Errors:
    if value not in words:
        yield unsupported(path, value, words)


def _port(path: str, value: Any) -> Errors:
    if not isinstance(value, int) or not 1 <= value <= 65535:
        yield invalid_value(path, value, "must be between 1 and 65535, inclusive")


# --- pods -------------------------------------------------------------------------------------------------------------


def _pod(obj: Obj) -> Errors:
    yield from _pod_spec(obj.get("spec") or {}, "spec")


def _pod_spec(spec: Mapping[str, Any], path: str) -> Errors:
    volumes: set[str] = set()
    for place, volume in enumerate(spec.get("volumes") or ()):
        here = f"{path}.volumes[{place}]"
        yield from _unique_name(volume, here, volumes)
    if not spec.get("containers"):
        yield required(f"{path}.containers")
    names: set[str] = set()
    for field in ("containers", "initContainers"):
        for place, container in enumerate(spec.get(field) or ()):
            yield from _container(container, f"{path}.{field}[{place}]", names, volumes)
    yield from _one_of(f"{path}.restartPolicy", spec.get("restartPolicy"), ("Always", "OnFailure", "Never"))
    yield from _one_of(f"{path}.dnsPolicy", spec.get("dnsPolicy"), ("ClusterFirst", "ClusterFirstWithHostNet", "Default",
                                                                    "None"))
    yield from _not_negative(f"{path}.terminationGracePeriodSeconds", spec.get("terminationGracePeriodSeconds"))


def _unique_name(item: Mapping[str, Any], path: str, seen: set[str]) -> Errors:
    name = item.get("name") or ""
    if not name:
        yield required(f"{path}.name")
        return
    yield from _shaped(f"{path}.name", name, _LABEL, _LABEL_WORDS, _LONGEST_LABEL)
    if name in seen:
        yield duplicate(f"{path}.name", name)
    seen.add(name)


def _container(container: Mapping[str, Any], path: str, names: set[str], volumes: set[str]) -> Errors:
    yield from _unique_name(container, path, names)
    image = container.get("image") or ""
    if not image:
        yield required(f"{path}.image")
    elif image != image.strip():
        yield invalid_value(f"{path}.image", image, "must not have leading or trailing whitespace")
    port_names: set[str] = set()
    for place, port in enumerate(container.get("ports") or ()):
        here = f"{path}.ports[{place}]"
        name = port.get("name")
        if name:
            if name in port_names:
                yield duplicate(f"{here}.name", name)
            port_names.add(name)
        if not port.get("containerPort"):
            yield required(f"{here}.containerPort")
        else:
            yield from _port(f"{here}.containerPort", port["containerPort"])
        yield from _one_of(f"{here}.protocol", port.get("protocol"), ("SCTP", "TCP", "UDP"))
    for place, variable in enumerate(container.get("env") or ()):
        yield from _variable(variable, f"{path}.env[{place}]")
    mounts: set[str] = set()
    for place, mount in enumerate(container.get("volumeMounts") or ()):
        here = f"{path}.volumeMounts[{place}]"
        if not mount.get("name"):
            yield required(f"{here}.name")
        elif mount["name"] not in volumes:
            yield FieldError(f"{here}.name", f'Not found: "{mount["name"]}"', "FieldValueInvalid")
        if not mount.get("mountPath"):
            yield required(f"{here}.mountPath")
        elif mount["mountPath"] in mounts:
            yield invalid_value(f"{here}.mountPath", mount["mountPath"], "must be unique")
        mounts.add(mount.get("mountPath", ""))
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if name in container:
            yield from _probe(container[name], f"{path}.{name}", success_is_one=name != "readinessProbe")
    yield from _one_of(f"{path}.imagePullPolicy", container.get("imagePullPolicy"), ("Always", "IfNotPresent", "Never"))
    yield from _resources(container.get("resources") or {}, f"{path}.resources")


def _variable(variable: Mapping[str, Any], path: str) -> Errors:
    name = variable.get("name") or ""
    if not name:
        yield required(f"{path}.name")
    elif not _ENV_NAME.match(name):
        yield invalid_value(f"{path}.name", name, "a valid environment variable name must consist only of printable ASCII "
                            "characters other than '=' (e.g. 'my-name', regex used for validation is '[ -<>-~]+')")
    source = variable.get("valueFrom")
    if source is None:
        return
    if not source:
        yield invalid_value(f"{path}.valueFrom", "", "must specify one of: `fieldRef`, `resourceFieldRef`, "
                            "`configMapKeyRef` or `secretKeyRef`")
    elif variable.get("value"):
        yield invalid_value(f"{path}.valueFrom", "", "may not be specified when `value` is not empty")
    elif len(source) > 1:
        yield invalid_value(f"{path}.valueFrom", "", "may not have more than one field specified at a time")


def _probe(probe: Mapping[str, Any], path: str, *, success_is_one: bool) -> Errors:
    handlers = [name for name in ("exec", "httpGet", "tcpSocket", "grpc") if name in probe]
    if not handlers:
        yield required(path, "must specify a handler type")
    for name in handlers[1:]:
        yield forbidden(f"{path}.{name}", "may not specify more than 1 handler type")
    for name in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        yield from _not_negative(f"{path}.{name}", probe.get(name))
    if success_is_one and probe.get("successThreshold", 1) != 1:
        yield invalid_value(f"{path}.successThreshold", probe["successThreshold"], "must be 1")
    port = dig(probe, "httpGet", "port")
    if isinstance(port, int):
        yield from _port(f"{path}.httpGet.port", port)


def _resources(resources: Mapping[str, Any], path: str) -> Errors:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for field, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            if parse_quantity(amount) < 0:
                yield invalid_value(f"{path}.{field}[{name}]", amount, "must be greater than or equal to 0")
    for name, amount in requests.items():
        if name in limits and parse_quantity(amount) > parse_quantity(limits[name]):
            yield invalid_value(f"{path}.requests", amount, f"must be less than or equal to {name} limit of {limits[name]}")


def _pod_change(old: Obj, new: Obj) -> Errors:
    """Of a pod's spec only images, the deadline, tolerations and the grace period of a doomed pod may change."""
    if _frozen(old) != _frozen(new):
        yield forbidden("spec", "pod updates may not change fields other than `spec.containers[*].image`,`spec."
                        "initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
                        "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
                        "previously negative)")


def check_pod_door(subresource: str, old: Obj, new: Obj) -> list[FieldError]:
    """A change through `ephemeralcontainers` or `resize`."""
    if subresource == "resize":
        return [*_pod(new)]
    errors: list[FieldError] = []
    spec = new["spec"]
    taken = {c["name"] for field in ("containers", "initContainers") for c in spec.get(field) or ()}
    volumes = {v["name"] for v in spec.get("volumes") or ()}
    for place, container in enumerate(spec.get("ephemeralContainers") or ()):
        path = f"spec.ephemeralContainers[{place}]"
        errors += _container(container, path, taken, volumes)
        for name in ("ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resources"):
            if container.get(name):
                errors.append(forbidden(f"{path}.{name}", "cannot be set for an Ephemeral Container"))
    said = {c["name"]: c for c in spec.get("ephemeralContainers") or () if c.get("name")}
    for container in old["spec"].get("ephemeralContainers") or ():
        what = f'existing ephemeral containers "{container["name"]}" may not be'
        if container["name"] not in said:
            errors.append(forbidden("spec.ephemeralContainers", f"{what} removed\n"))
        elif said[container["name"]] != container:
            errors.append(forbidden("spec.ephemeralContainers", f"{what} changed\n"))
    return errors


def _frozen(pod: Obj) -> dict[str, Any]:
    spec = {k: v for k, v in (pod.get("spec") or {}).items() if k not in (
        "activeDeadlineSeconds", "tolerations", "nodeName", "schedulingGates", "nodeSelector", "affinity")}
    for field in ("containers", "initContainers"):
        spec[field] = [{k: v for k, v in c.items() if k != "image"} for c in spec.get(field) or ()]
    return spec


# --- workloads --------------------------------------------------------------------------------------------------------


def _template(spec: Mapping[str, Any], policies: Sequence[str]) -> Errors:
    """Selector, then template: pods made from it must be those that the selector selects."""
    selector = spec.get("selector")
    if not selector:
        yield required("spec.selector")
    template = spec.get("template") or {}
    labels = dig(template, "metadata", "labels", default={})
    wanted = (selector or {}).get("matchLabels") or {}
    empty = not wanted and not (selector or {}).get("matchExpressions")
    if empty and selector is not None and selector != {}:
        yield invalid_value("spec.selector", selector, "empty selector is invalid for deployment")
    if selector is None or any(labels.get(key) != value for key, value in wanted.items()):
        yield invalid_value("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    yield from _labels("spec.template.metadata.labels", labels)
    pod = template.get("spec") or {}
    yield from _pod_spec(pod, "spec.template.spec")
    if pod.get("restartPolicy") in ("Always", "OnFailure", "Never") and pod["restartPolicy"] not in policies:
        yield unsupported("spec.template.spec.restartPolicy", pod["restartPolicy"], policies)


def _deployment(obj: Obj) -> Errors:
    spec = obj["spec"]
    yield from _not_negative("spec.replicas", spec.get("replicas"))
    yield from _template(spec, ("Always",))
    yield from _not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    yield from _not_negative("spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))
    strategy = spec.get("strategy") or {}
    yield from _one_of("spec.strategy.type", strategy.get("type"), ("Recreate", "RollingUpdate"))
    rolling = strategy.get("rollingUpdate")
    if strategy.get("type") == "Recreate" and rolling is not None:
        yield forbidden("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")
    elif rolling is not None:
        yield from _rolling(rolling)
    deadline, ready = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds") or 0
    if isinstance(deadline, int) and deadline <= ready:
        yield invalid_value("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")


def _rolling(rolling: Mapping[str, Any]) -> Errors:
    path = "spec.strategy.rollingUpdate"
    for name in ("maxUnavailable", "maxSurge"):
        value = rolling.get(name)
        if isinstance(value, str) and not re.match(r"^[0-9]+%$", value):
            yield invalid_value(f"{path}.{name}", value, "a valid percent string must be a numeric string followed by an "
                                "ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')")
        yield from _not_negative(f"{path}.{name}", value)
    if rolling.get("maxUnavailable") in (0, "0%") and rolling.get("maxSurge") in (0, "0%"):
        yield invalid_value(f"{path}.maxUnavailable", rolling["maxUnavailable"], "may not be 0 when `maxSurge` is 0")


def _replica_set(obj: Obj) -> Errors:
    yield from _not_negative("spec.replicas", obj["spec"].get("replicas"))
    yield from _template(obj["spec"], ("Always",))


def _job(obj: Obj) -> Errors:
    spec = obj["spec"]
    for name in ("parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"):
        yield from _not_negative(f"spec.{name}", spec.get(name))
    yield from _job_template(spec, "spec")


def _job_template(spec: Mapping[str, Any], path: str) -> Errors:
    pod = dig(spec, "template", "spec", default={})
    yield from _pod_spec(pod, f"{path}.template.spec")
    if pod.get("restartPolicy") == "Always":
        yield required(f"{path}.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"')


def _cron_job(obj: Obj) -> Errors:
    spec = obj["spec"]
    schedule = spec.get("schedule") or ""
    fields = schedule.split()
    if not schedule:
        yield required("spec.schedule")
    elif not schedule.startswith("@") and len(fields) != 5:
        yield invalid_value("spec.schedule", schedule,
                            f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
    yield from _one_of("spec.concurrencyPolicy", spec.get("concurrencyPolicy"), ("Allow", "Forbid", "Replace"))
    yield from _job_template(dig(spec, "jobTemplate", "spec", default={}), "spec.jobTemplate.spec")


def _autoscaler(obj: Obj) -> Errors:
    spec = obj["spec"]
    most, least = spec.get("maxReplicas") or 0, spec.get("minReplicas")
    if least is not None and least < 1:
        yield invalid_value("spec.minReplicas", least, "must be greater than or equal to 1")
    if most < 1:
        yield required("spec.maxReplicas", "must be set and greater than 0")
    if least is not None and most < least:
        yield invalid_value("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    target = spec.get("scaleTargetRef") or {}
    for name in ("kind", "name"):
        if not target.get(name):
            yield required(f"spec.scaleTargetRef.{name}")
    if "/" not in (target.get("apiVersion") or "") and target.get("apiVersion") != "v1":
        yield invalid_value("spec.scaleTargetRef.apiVersion", target.get("apiVersion", ""),
                            "apiVersion must specify API group")


# --- network and configuration ------------------------------------------------------------------------------------------


def _service(obj: Obj) -> Errors:
    spec = obj["spec"]
    kinds = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
    kind, ports = spec.get("type"), spec.get("ports") or ()
    if not ports and kind != "ExternalName" and spec.get("clusterIP") != "None":
        yield required("spec.ports")
    yield from _one_of("spec.type", kind, kinds)
    if kind == "ExternalName" and not spec.get("externalName"):
        yield required("spec.externalName")
    names: set[str] = set()
    numbers: set[tuple[Any, Any]] = set()
    for place, port in enumerate(ports):
        path = f"spec.ports[{place}]"
        name = port.get("name") or ""
        if not name and len(ports) > 1:
            yield required(f"{path}.name")
        elif name:
            yield from _shaped(f"{path}.name", name, _LABEL, _LABEL_WORDS, _LONGEST_LABEL)
            if name in names:
                yield duplicate(f"{path}.name", name)
            names.add(name)
        yield from _port(f"{path}.port", port.get("port", 0))
        yield from _one_of(f"{path}.protocol", port.get("protocol"), ("SCTP", "TCP", "UDP"))
        if isinstance(port.get("targetPort"), int):
            yield from _port(f"{path}.targetPort", port["targetPort"])
        identity = (port.get("port"), port.get("protocol"))
        if identity in numbers:
            yield duplicate(path, {"port": identity[0], "protocol": identity[1]})
        numbers.add(identity)
    yield from _labels("spec.selector", spec.get("selector") or {})


def _ingress(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    if not spec.get("rules") and not spec.get("defaultBackend"):
        yield invalid_value("spec", [], "either `defaultBackend` or `rules` must be specified")
    if spec.get("defaultBackend"):
        yield from _backend(spec["defaultBackend"], "spec.defaultBackend")
    for place, rule in enumerate(spec.get("rules") or ()):
        paths = dig(rule, "http", "paths")
        if "http" in rule and not paths:
            yield required(f"spec.rules[{place}].http.paths")
        for number, entry in enumerate(paths or ()):
            yield from _ingress_path(entry, f"spec.rules[{place}].http.paths[{number}]")


def _ingress_path(entry: Mapping[str, Any], path: str) -> Errors:
    kind = entry.get("pathType")
    if kind is None:
        yield required(f"{path}.pathType", "pathType must be specified")
    elif kind not in ("Exact", "ImplementationSpecific", "Prefix"):
        yield unsupported(f"{path}.pathType", kind, ("Exact", "ImplementationSpecific", "Prefix"))
    elif kind != "ImplementationSpecific" and not (entry.get("path") or "").startswith("/"):
        yield invalid_value(f"{path}.path", entry.get("path", ""), "must be an absolute path")
    yield from _backend(entry.get("backend") or {}, f"{path}.backend")


def _backend(backend: Mapping[str, Any], path: str) -> Errors:
    service, other = backend.get("service"), backend.get("resource")
    if service is None and other is None:
        yield required(path, "a service or resource backend is required")
    if service is None:
        return
    if not service.get("name"):
        yield required(f"{path}.service.name")
    port = service.get("port") or {}
    if port.get("name") and port.get("number"):
        yield invalid_value(f"{path}", "", "cannot set both port name & port number")
    elif not port.get("name") and not port.get("number"):
        yield required(f"{path}.service.port", "port name or number is required")
    elif port.get("number"):
        yield from _port(f"{path}.service.port.number", port["number"])


def _config(obj: Obj) -> Errors:
    for field in ("data", "binaryData"):
        for key in obj.get(field) or {}:
            if len(key) > _LONGEST_NAME or not _CONFIG_KEY.match(key) or key in (".", ".."):
                yield invalid_value(f"{field}[{key}]", key, _CONFIG_KEY_WORDS)


def _endpoint_slice(obj: Obj) -> Errors:
    kind = obj.get("addressType")
    if not kind:
        yield required("addressType")
    else:
        yield from _one_of("addressType", kind, ("FQDN", "IPv4", "IPv6"))
    for place, endpoint in enumerate(obj.get("endpoints") or ()):
        if not endpoint.get("addresses"):
            yield required(f"endpoints[{place}].addresses", "must contain at least 1 address")


_KINDS: dict[tuple[str, str], Callable[[Obj], Errors]] = {
    ("", "Pod"): _pod,
    ("", "Service"): _service,
    ("", "ConfigMap"): _config,
    ("", "Secret"): _config,
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("apps", "StatefulSet"): _replica_set,
    ("apps", "DaemonSet"): lambda obj: _template(obj["spec"], ("Always",)),
    ("batch", "Job"): _job,
    ("batch", "CronJob"): _cron_job,
    ("autoscaling", "HorizontalPodAutoscaler"): _autoscaler,
    ("networking.k8s.io", "Ingress"): _ingress,
    ("discovery.k8s.io", "EndpointSlice"): _endpoint_slice,
    ("", "ResourceQuota"): access.quota,
    ("", "LimitRange"): access.limit_range,
    ("scheduling.k8s.io", "PriorityClass"): access.priority_class,
    ("rbac.authorization.k8s.io", "Role"): access.role,
    ("rbac.authorization.k8s.io", "ClusterRole"): access.cluster_role,
    ("rbac.authorization.k8s.io", "RoleBinding"): access.role_binding,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): access.cluster_role_binding,
}

_CHANGES: dict[tuple[str, str], Callable[[Obj, Obj], Errors]] = {
    ("rbac.authorization.k8s.io", "RoleBinding"): access.role_ref_kept,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): access.role_ref_kept,
    ("scheduling.k8s.io", "PriorityClass"): access.priority_kept,
}

_IMMUTABLE: dict[tuple[str, str], tuple[str, ...]] = {
    ("apps", "Deployment"): ("spec.selector",),
    ("apps", "ReplicaSet"): ("spec.selector",),
    ("apps", "DaemonSet"): ("spec.selector",),
    ("apps", "StatefulSet"): ("spec.selector", "spec.serviceName", "spec.podManagementPolicy", "spec.volumeClaimTemplates"),
    ("batch", "Job"): ("spec.selector", "spec.template", "spec.completions", "spec.completionMode"),
    ("discovery.k8s.io", "EndpointSlice"): ("addressType",),
    ("", "Secret"): ("type",),
    ("storage.k8s.io", "StorageClass"): ("provisioner", "reclaimPolicy", "volumeBindingMode", "parameters"),
}  # fmt: skip
