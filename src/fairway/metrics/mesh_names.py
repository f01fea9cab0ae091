"""The gateway's counts once more under the names that Istio and ingress-nginx use for theirs.

Queries that a team has written for those (and that Flagger brings) then find what they ask for: requests by response code
and their duration, for each workload and for each ingress. Names, labels and units are those of the originals; the numbers
are the data plane's own. Nothing is made up that it does not know: paths and methods are empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from fairway.kube.objects import Key, Obj, annotations_of, dig, key_of, labels_of, spec_of
from fairway.kube.selectors import from_map
from fairway.metrics.labels import NAME
from fairway.metrics.target import HASH_LABEL

_REQUESTS = "envoy_cluster_upstream_rq"
_TIME = "envoy_cluster_upstream_rq_time_"
_CANARY = "nginx.ingress.kubernetes.io/canary"

Copy = tuple[dict[str, str], float]
"""(labels of a series, by what the original's number is multiplied)."""


@dataclass(frozen=True, slots=True)
class Backing:
    """What stands behind an upstream. `ingress` "": it is not reached by one."""

    workload: str
    ingress: str = ""
    is_canary: bool = False


Find = Callable[[str, str, str], Backing]
"""By namespace, service and template hash ("" where the upstream is a whole service)."""


def copies(labels: Mapping[str, str], find: Find) -> Iterator[Copy]:
    """Istio's and nginx' series for one of ours (as `upstream_labels` names it)."""
    name = labels.get(NAME, "")
    if name != _REQUESTS and not name.startswith(_TIME):
        return
    namespace, service = labels["namespace"], labels["service"]
    version = labels.get(HASH_LABEL.replace("-", "_"), "")
    backing = find(namespace, service, version)
    yield from _istio(labels, name, backing, version)
    if backing.ingress:
        yield from _nginx(labels, name, backing)


def _istio(labels: Mapping[str, str], name: str, backing: Backing, version: str) -> Iterator[Copy]:
    namespace, service = labels["namespace"], labels["service"]
    common = {
        "destination_workload": backing.workload, "destination_workload_namespace": namespace,
        "destination_app": backing.workload, "destination_service_name": service,
        "destination_service_namespace": namespace, "destination_service": f"{service}.{namespace}.svc.cluster.local",
        "destination_version": version, "destination_canonical_service": backing.workload, "request_protocol": "http",
        "response_flags": "-", "namespace": namespace, "rollouts_pod_template_hash": version,
    }  # fmt: skip
    known = {key: text for key, text in common.items() if text}
    for reporter in ("destination", "source"):
        if name == _REQUESTS:
            code = labels.get("envoy_response_code", "")
            yield {**known, NAME: "istio_requests_total", "reporter": reporter, "response_code": code}, 1.0
        else:
            part = name.removeprefix(_TIME)
            bound = {"le": labels["le"]} if "le" in labels else {}
            yield {**known, **bound, NAME: f"istio_request_duration_milliseconds_{part}", "reporter": reporter}, 1.0


def _nginx(labels: Mapping[str, str], name: str, backing: Backing) -> Iterator[Copy]:
    namespace, service = labels["namespace"], labels["service"]
    common = {"namespace": namespace, "exported_namespace": namespace, "ingress": backing.ingress, "service": service,
              "exported_service": service, "controller_class": "k8s.io/ingress-nginx"}  # fmt: skip
    if backing.is_canary:
        common["canary"] = f"{namespace}-{service}-{labels['port']}"
    if name == _REQUESTS:
        yield {**common, NAME: "nginx_ingress_controller_requests", "status": labels.get("envoy_response_code", "")}, 1.0
        return
    part = name.removeprefix(_TIME)
    bound = {"le": _seconds(labels["le"])} if "le" in labels else {}
    factor = 0.001 if part == "sum" else 1.0
    yield {**common, **bound, NAME: f"nginx_ingress_controller_request_duration_seconds_{part}"}, factor


def _seconds(milliseconds: str) -> str:
    return milliseconds if milliseconds == "+Inf" else f"{float(milliseconds) / 1000:g}"


class Backings:
    """`Find` over the objects of the API."""

    def __init__(self, pods: Iterable[Obj], services: Iterable[Obj], ingresses: Iterable[Obj]) -> None:
        self._pods = list(pods)
        self._services = {key_of(service): service for service in services}
        self._ingresses = list(ingresses)

    def __call__(self, namespace: str, service: str, version: str) -> Backing:
        ingress, is_canary = self._ingress(namespace, service)
        return Backing(self._workload(namespace, service, version) or service, ingress, is_canary)

    def _workload(self, namespace: str, service: str, version: str) -> str:
        found = self._services.get(Key(namespace, service))
        selector = dict(spec_of(found).get("selector") or {}) if found is not None else {}
        if version:
            selector = {HASH_LABEL: version}
        if not selector:
            return ""
        for pod in self._pods:
            if key_of(pod).namespace == namespace and from_map(selector).matches(labels_of(pod)):
                owner = str(dig(pod, "metadata", "ownerReferences", 0, "name", default=""))
                own_hash = labels_of(pod).get(HASH_LABEL) or labels_of(pod).get("pod-template-hash", "")
                return owner.removesuffix(f"-{own_hash}") if own_hash else owner
        return ""

    def _ingress(self, namespace: str, service: str) -> tuple[str, bool]:
        """(name of the ingress that leads there, whether as its canary). A canary's counts are its main ingress'."""
        for ingress in self._ingresses:
            if key_of(ingress).namespace != namespace or service not in _services_of(ingress):
                continue
            if annotations_of(ingress).get(_CANARY) != "true":
                return key_of(ingress).name, False
            mains = (one for one in self._ingresses if key_of(one).namespace == namespace and _hosts(one) & _hosts(ingress))
            main = next((one for one in mains if annotations_of(one).get(_CANARY) != "true"), ingress)
            return key_of(main).name, True
        return "", False


def _services_of(ingress: Obj) -> set[str]:
    paths = [path for rule in spec_of(ingress).get("rules") or () for path in dig(rule, "http", "paths", default=()) or ()]
    backends = [spec_of(ingress).get("defaultBackend") or {}, *(path.get("backend") or {} for path in paths)]
    return {str(dig(backend, "service", "name", default="")) for backend in backends}


def _hosts(ingress: Obj) -> set[str]:
    return {str(rule.get("host") or "*") for rule in spec_of(ingress).get("rules") or ()}
