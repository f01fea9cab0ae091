"""A target of scraping, and how its labels and address are put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from fairway.kube.objects import Obj, key_of, labels_of, status_of
from fairway.metrics.protobuf_exposition import Natives
from fairway.metrics.relabel import Rule

PROTOBUF, TEXT = "PrometheusProto", "PrometheusText0.0.4"
PROTOCOLS = {
    PROTOBUF: "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
    "OpenMetricsText1.0.0": "application/openmetrics-text;version=1.0.0",
    "OpenMetricsText0.0.1": "application/openmetrics-text;version=0.0.1",
    TEXT: "text/plain;version=0.0.4", "PrometheusText1.0.0": "text/plain;version=1.0.0",
}  # fmt: skip
"""The operator's names of formats, and how a target is asked for each."""
LEFT_OUT = Natives()
USUAL = ("OpenMetricsText1.0.0", TEXT)
HASH_LABEL = "rollouts-pod-template-hash"


@dataclass(frozen=True, slots=True)
class Target:
    """`labels` go on every sample; `interval_s` is 0 where nobody asked for one, `timeout_s` likewise. Equal keys are the
    same target. `sample_limit` 0: none. `authorization` is a secret.
    """

    url: str
    labels: tuple[tuple[str, str], ...]
    interval_s: float = 0.0
    honor_labels: bool = False
    sample_rules: tuple[Rule, ...] = ()
    source: str = ""
    timeout_s: float = 0.0
    sample_limit: int = 0
    authorization: str = field(default="", repr=False)
    verify: bool = True
    """Whether the server's certificate is looked at."""
    protocols: tuple[str, ...] = USUAL
    """The formats that it is asked for, the best first."""
    natives: Natives = LEFT_OUT
    discovered: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    """What was known of it before relabelling."""

    @property
    def accept(self) -> str:
        """The request's header: each format a little less wanted than the one before."""
        wanted = [f"{PROTOCOLS[name]};q=0.{9 - place}" for place, name in enumerate(self.protocols)]
        return ",".join((*wanted, "*/*;q=0.1"))

    @property
    def key(self) -> str:
        return f"{self.url} {self.labels}"

    @property
    def namespace(self) -> str:
        return dict(self.labels).get("namespace", "")


def running(pod: Obj) -> bool:
    return bool(status_of(pod).get("podIP")) and status_of(pod).get("phase") == "Running"


def pod_labels(pod: Obj) -> dict[str, str]:
    key = key_of(pod)
    return {
        "namespace": key.namespace,
        "pod": key.name,
        "rollouts_pod_template_hash": labels_of(pod).get(HASH_LABEL, ""),
    }


def plain(name: str) -> str:
    """A Kubernetes key as a label name: everything that may not stand there becomes "_"."""
    return "".join(ch if ch.isascii() and (ch.isalnum() or ch == "_") else "_" for ch in name)


def frozen(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value) for name, value in labels.items() if value))


def url(scheme: str, address: str, path: str, params: Mapping[str, str]) -> str:
    query = f"?{urlencode(params)}" if params else ""
    return f"{scheme}://{address}{path if path.startswith('/') else '/' + path}{query}"
