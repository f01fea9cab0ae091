"""A target of scraping, and how its labels and address are put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from fairway.kube.objects import Obj, key_of, labels_of, status_of
from fairway.metrics.relabel import Rule

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
    discovered: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    """What was known of it before relabelling."""

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
