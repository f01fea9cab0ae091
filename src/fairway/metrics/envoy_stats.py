"""Envoy's upstream statistics as metrics of Services and ReplicaSets, so that a canary has metrics even if its app
has none.

Envoy knows clusters only. Ours are named `<namespace>|<service>|<port>|<hash or ->`; that name is taken apart into
labels. It also stays as `envoy_cluster_name`, by which queries written for other Envoy installations match.
"""

from __future__ import annotations

from collections.abc import Mapping

from fairway.metrics.labels import NAME

_PREFIX = "envoy_cluster_"
_EXTERNAL = "envoy_cluster_external_"  # the same numbers a second time


def upstream_labels(labels: Mapping[str, str]) -> dict[str, str] | None:
    """Labels of an Envoy sample as Fairway exposes it; None for one that is about none of our upstreams."""
    name = labels.get(NAME, "")
    if not name.startswith(_PREFIX) or name.startswith(_EXTERNAL):
        return None
    parts = labels.get("envoy_cluster_name", "").split("|")
    if len(parts) != 4:
        return None
    namespace, service, port, template_hash = parts
    found = {**labels, "namespace": namespace, "service": service, "port": port, "job": "envoy"}
    if template_hash not in ("-", ""):
        found["rollouts_pod_template_hash"] = template_hash
    return found
