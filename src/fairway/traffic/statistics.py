"""What the slow proxy counts, in the words and text that Envoy uses, so that metrics need not know who served."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from fairway.traffic.envoy_config import HISTOGRAM_MS


@dataclass(slots=True)
class ClusterStats:
    by_code: dict[int, int] = field(default_factory=dict)
    total: int = 0
    retries: int = 0
    connect_failures: int = 0
    active: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(HISTOGRAM_MS) + 1))
    time_sum_ms: float = 0.0

    def answered(self, code: int, milliseconds: float) -> None:
        self.by_code[code] = self.by_code.get(code, 0) + 1
        self.buckets[bisect_left(HISTOGRAM_MS, milliseconds)] += 1
        self.time_sum_ms += milliseconds


_PLAIN = (
    ("upstream_rq_total", "counter", "total"),
    ("upstream_rq_retry", "counter", "retries"),
    ("upstream_cx_connect_fail", "counter", "connect_failures"),
    ("upstream_rq_active", "gauge", "active"),
)


def prometheus_text(clusters: dict[str, ClusterStats]) -> str:
    """Exposition format. Clusters that never saw a request are left out, as with Envoy's `usedonly`."""
    used = [(name, stats) for name, stats in sorted(clusters.items()) if stats.total]
    lines: list[str] = []
    for metric, kind, field_name in _PLAIN:
        lines.append(f"# TYPE envoy_cluster_{metric} {kind}")
        lines += [f'envoy_cluster_{metric}{{envoy_cluster_name="{name}"}} {getattr(stats, field_name)}'
                  for name, stats in used]
    lines.append("# TYPE envoy_cluster_upstream_rq counter")
    for name, stats in used:
        lines += [f'envoy_cluster_upstream_rq{{envoy_response_code="{code}",envoy_cluster_name="{name}"}} {count}'
                  for code, count in sorted(stats.by_code.items())]
    lines.append("# TYPE envoy_cluster_upstream_rq_xx counter")
    for name, stats in used:
        classes: dict[int, int] = {}
        for code, count in stats.by_code.items():
            classes[code // 100] = classes.get(code // 100, 0) + count
        lines += [f'envoy_cluster_upstream_rq_xx{{envoy_response_code_class="{digit}",envoy_cluster_name="{name}"}} {n}'
                  for digit, n in sorted(classes.items())]
    lines.append("# TYPE envoy_cluster_upstream_rq_time histogram")
    for name, stats in used:
        lines += _histogram(name, stats)
    return "\n".join(lines) + "\n"


def _histogram(name: str, stats: ClusterStats) -> list[str]:
    lines, below = [], 0
    label = f'envoy_cluster_name="{name}"'
    for bound, count in zip((*HISTOGRAM_MS, "+Inf"), stats.buckets, strict=True):
        below += count
        lines.append(f'envoy_cluster_upstream_rq_time_bucket{{{label},le="{bound}"}} {below}')
    lines.append(f"envoy_cluster_upstream_rq_time_sum{{{label}}} {stats.time_sum_ms:g}")
    lines.append(f"envoy_cluster_upstream_rq_time_count{{{label}}} {below}")
    return lines
