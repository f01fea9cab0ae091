"""The environment and the command line of a container, as Kubernetes defines them.

Source: kubernetes `pkg/kubelet/kubelet_pods.go` (makeEnvironmentVariables) and `third_party/forked/golang/expansion`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fairway.kube.objects import Obj, annotations_of, dig, labels_of, meta_of, spec_of

_IDENTIFIER = re.compile(r"[^A-Z0-9]")
PORTS_ANNOTATION = "fairway.dev/ports"
_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['(.+)'\]$")
_QUANTITY = re.compile(r"^([+-]?[0-9.]+)([eE][+-]?\d+|[numkKMGTPE]i?|)$")
_FACTORS = {"": 1.0, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
            "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60}


class ConfigProblem(Exception):
    """A container cannot be started as it is configured. `reason` is the waiting reason that clients match on."""

    def __init__(self, message: str, reason: str = "CreateContainerConfigError") -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Facts:
    """What a container's environment is made from. `config_map` and `secret` answer None for one that is absent."""

    pod: Obj
    pod_ip: str
    node_name: str
    host_ip: str
    config_map: Callable[[str], Obj | None]
    secret: Callable[[str], Mapping[str, bytes] | None]
    services: Mapping[str, str]
    token: Callable[[str, int], str | None] = lambda audience, seconds: None
    """(audience, seconds) to a token of the pod's service account; None where nobody issues any."""
    allocatable: Mapping[str, float] = field(default_factory=dict)
    """What the node has of each resource: the limit of a container that names none."""


def variables(container: Obj, facts: Facts, image_env: Mapping[str, str]) -> dict[str, str]:
    """Later wins: image, services, envFrom, env. Each `env` value may name earlier ones as `$(NAME)`."""
    env: dict[str, str] = {**image_env, **facts.services}
    for source in container.get("envFrom") or ():
        env.update(_from_source(source, facts))
    for entry in container.get("env") or ():
        name = entry["name"]
        if entry.get("valueFrom"):
            value = _value_from(entry["valueFrom"], container, facts)
            if value is not None:
                env[name] = value
        else:
            env[name] = expand(str(entry.get("value") or ""), env)
    return env


def command_line(container: Obj, entrypoint: Sequence[str], cmd: Sequence[str], env: Mapping[str, str]) -> list[str]:
    """`command` replaces entrypoint and cmd, `args` replaces cmd."""
    command, args = container.get("command") or (), container.get("args") or ()
    if command:
        words = [*command, *args]
    elif args:
        words = [*entrypoint, *args]
    else:
        return [*entrypoint, *cmd]
    return [expand(str(word), env) for word in words]


def expand(text: str, env: Mapping[str, str]) -> str:
    """`$(NAME)` where NAME is known, `$$` for a dollar sign; everything else stays as it is."""

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return env.get(match[1], match[0])

    return re.sub(r"\$\$|\$\(([^()]*)\)", replace, text)


def _from_source(source: Obj, facts: Facts) -> dict[str, str]:
    prefix = source.get("prefix") or ""
    if ref := source.get("configMapRef"):
        found = facts.config_map(ref["name"])
        if found is None:
            return _absent(ref, f'configmap "{ref["name"]}" not found')
        return {prefix + name: str(value) for name, value in (found.get("data") or {}).items()}
    if ref := source.get("secretRef"):
        secret = facts.secret(ref["name"])
        if secret is None:
            return _absent(ref, f'secret "{ref["name"]}" not found')
        return {prefix + name: value.decode("utf-8", "replace") for name, value in secret.items()}
    return {}


def _absent(ref: Obj, message: str) -> dict[str, str]:
    if ref.get("optional"):
        return {}
    raise ConfigProblem(message)


def _value_from(source: Obj, container: Obj, facts: Facts) -> str | None:
    """None: an optional source that is absent, so the variable is not set."""
    namespace = meta_of(facts.pod).get("namespace", "")
    if ref := source.get("configMapKeyRef"):
        found = facts.config_map(ref["name"])
        if found is None:
            return _nothing(ref, f'configmap "{ref["name"]}" not found')
        value = (found.get("data") or {}).get(ref["key"])
        if value is None:
            return _nothing(ref, f"couldn't find key {ref['key']} in ConfigMap {namespace}/{ref['name']}")
        return str(value)
    if ref := source.get("secretKeyRef"):
        secret = facts.secret(ref["name"])
        if secret is None:
            return _nothing(ref, f'secret "{ref["name"]}" not found')
        if ref["key"] not in secret:
            return _nothing(ref, f"couldn't find key {ref['key']} in Secret {namespace}/{ref['name']}")
        return secret[ref["key"]].decode("utf-8", "replace")
    if ref := source.get("fieldRef"):
        return field_value(facts, ref["fieldPath"])
    if ref := source.get("resourceFieldRef"):
        return resource_value(facts, ref, container)
    return None


def _nothing(ref: Obj, message: str) -> str | None:
    if ref.get("optional"):
        return None
    raise ConfigProblem(message)


def field_value(facts: Facts, path: str) -> str:
    """The downward API's fields of a pod."""
    pod, meta = facts.pod, meta_of(facts.pod)
    if match := _SUBSCRIPT.match(path):
        source = labels_of(pod) if match[1] == "labels" else annotations_of(pod)
        return source.get(match[2], "")
    plain = {
        "metadata.name": meta.get("name", ""),
        "metadata.namespace": meta.get("namespace", ""),
        "metadata.uid": meta.get("uid", ""),
        "metadata.labels": _as_lines(labels_of(pod)),
        "metadata.annotations": _as_lines(annotations_of(pod)),
        "spec.nodeName": facts.node_name,
        "spec.serviceAccountName": spec_of(pod).get("serviceAccountName") or "default",
        "status.podIP": facts.pod_ip,
        "status.podIPs": facts.pod_ip,
        "status.hostIP": facts.host_ip,
        "status.hostIPs": facts.host_ip,
    }
    if path not in plain:
        raise ConfigProblem(f"unsupported fieldPath: {path}")
    return str(plain[path])


def _as_lines(pairs: Mapping[str, str]) -> str:
    return "\n".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in sorted(pairs.items()))


def resource_value(facts: Facts, ref: Obj, container: Obj) -> str:
    """`limits.cpu` and its like, in units of `divisor`, rounded up. A limit that the container does not name is the node's."""
    pod = facts.pod
    if ref.get("containerName"):
        every = [*(spec_of(pod).get("containers") or ()), *(spec_of(pod).get("initContainers") or ())]
        container = next((one for one in every if one["name"] == ref["containerName"]), container)
    kind, _, name = ref["resource"].partition(".")
    amount = dig(container, "resources", kind, name)
    if amount is None and kind == "requests":
        amount = dig(container, "resources", "limits", name)
    divisor = quantity(str(ref.get("divisor") or "0")) or 1.0
    held = quantity(str(amount)) if amount is not None else facts.allocatable.get(name, 0.0) if kind == "limits" else 0.0
    return str(math.ceil(held / divisor))


def quantity(text: str) -> float:
    """A Kubernetes quantity such as 500m, 128Mi, 1e3. ValueError on anything else."""
    match = _QUANTITY.match(text.strip())
    if match is None:
        raise ValueError(f"invalid quantity {text!r}: a number with a suffix such as 500m or 128Mi is needed")
    suffix = match[2]
    if suffix[:1] in ("e", "E") and suffix[1:]:
        return float(match[1] + suffix)
    return float(match[1]) * _FACTORS[suffix]


def service_variables(services: Sequence[Obj]) -> dict[str, str]:
    """`<SVC>_SERVICE_HOST`, `_SERVICE_PORT[_<NAME>]` and the Docker-style ones, for every Service with an address."""
    env: dict[str, str] = {}
    for service in services:
        address, ports = spec_of(service).get("clusterIP"), spec_of(service).get("ports") or ()
        if not address or address == "None" or not ports:
            continue
        name, moved = _IDENTIFIER.sub("_", meta_of(service)["name"].upper()), _moved_ports(service)
        env[f"{name}_SERVICE_HOST"] = address
        env[f"{name}_SERVICE_PORT"] = moved.get(str(ports[0]["port"]), str(ports[0]["port"]))
        for i, port in enumerate(ports):
            number, protocol = moved.get(str(port["port"]), str(port["port"])), (port.get("protocol") or "TCP")
            if port.get("name"):
                env[f"{name}_SERVICE_PORT_{_IDENTIFIER.sub('_', port['name'].upper())}"] = number
            url = f"{protocol.lower()}://{address}:{number}"
            if i == 0:
                env[f"{name}_PORT"] = url
            base = f"{name}_PORT_{port['port']}_{protocol}"
            env.update({base: url, f"{base}_PROTO": protocol.lower(), f"{base}_PORT": number, f"{base}_ADDR": address})
    return env


def _moved_ports(service: Obj) -> dict[str, str]:
    """`fairway.dev/ports: "80=20080"`: where a port answers that only root may open; written by traffic."""
    written = annotations_of(service).get(PORTS_ANNOTATION, "")
    return dict(pair.split("=", 1) for pair in written.split(",") if "=" in pair)
