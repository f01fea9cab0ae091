"""The two built-in checks as PromQL, per provider: upstream's queries, and this platform's own data plane.

Source: flagger `pkg/metrics/observers`. The success rate is a percentage of answers without a 5xx; the duration is the 99th
percentile in milliseconds (ingress-nginx has only a mean).
"""

from __future__ import annotations

from dataclasses import dataclass

SUCCESS, DURATION = "request-success-rate", "request-duration"


@dataclass(frozen=True, slots=True)
class Observer:
    """`duration_ms`: what one of the query's units is in milliseconds."""

    success: str
    duration: str
    duration_ms: float


def _share(metric: str, who: str, bad: str) -> str:
    good = f"sum(rate({metric}{{{who}, {bad}}}[{{{{ interval }}}}]))"
    return f"{good} / sum(rate({metric}{{{who}}}[{{{{ interval }}}}])) * 100"


def _p99(metric: str, who: str) -> str:
    return f"histogram_quantile(0.99, sum(rate({metric}{{{who}}}[{{{{ interval }}}}])) by (le))"


_MESH = ('reporter="destination", destination_workload_namespace="{{ namespace }}", '
         'destination_workload=~"{{ target }}"')
_MESH_SERVICE = ('reporter="source", destination_service_namespace="{{ namespace }}", '
                 'destination_service_name=~"{{ service }}-canary"')
_INGRESS = 'namespace="{{ namespace }}", ingress="{{ ingress }}", canary!=""'
_PODS = 'namespace="{{ namespace }}", pod=~"{{ target }}-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)"'
_OWN = 'namespace="{{ namespace }}", service="{{ service }}-canary"'
_LATENCY = "nginx_ingress_controller_ingress_upstream_latency_seconds"

_OBSERVERS = {
    "own": Observer(_share("envoy_cluster_upstream_rq", _OWN, 'envoy_response_code!~"5.*"'),
                    _p99("envoy_cluster_upstream_rq_time_bucket", _OWN), 1.0),
    "istio": Observer(_share("istio_requests_total", _MESH, 'response_code!~"5.*"'),
                      _p99("istio_request_duration_milliseconds_bucket", _MESH), 1.0),
    "istio:service": Observer(_share("istio_requests_total", _MESH_SERVICE, 'response_code!~"5.*"'),
                              _p99("istio_request_duration_milliseconds_bucket", _MESH_SERVICE), 1.0),
    "nginx": Observer(_share("nginx_ingress_controller_requests", _INGRESS, 'status!~"5.*"'),
                      f"sum(rate({_LATENCY}_sum{{{_INGRESS}}}[{{{{ interval }}}}])) / "
                      f"sum(rate({_LATENCY}_count{{{_INGRESS}}}[{{{{ interval }}}}]))", 1000.0),
    "http": Observer(_share("http_request_duration_seconds_count", _PODS, 'status!~"5.*"'),
                     _p99("http_request_duration_seconds_bucket", _PODS), 1000.0),
}


def observer(provider: str, *, own: bool, service: bool) -> Observer:
    """`own`: the data plane of this platform counts per Service. `service`: the target is a Service."""
    if own:
        return _OBSERVERS["own"]
    name = provider.partition(":")[0]
    if service and f"{name}:service" in _OBSERVERS:
        return _OBSERVERS[f"{name}:service"]
    return _OBSERVERS.get(name, _OBSERVERS["http"])
