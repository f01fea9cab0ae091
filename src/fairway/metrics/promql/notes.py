"""What a reader of an answer should know: warnings, and lesser infos. Each is said once."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Notes:
    """The texts begin with "PromQL warning: " and "PromQL info: ", as Prometheus writes them."""

    warnings: list[str] = field(default_factory=list)
    infos: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        if (full := f"PromQL warning: {text}") not in self.warnings:
            self.warnings.append(full)

    def inform(self, text: str) -> None:
        if (full := f"PromQL info: {text}") not in self.infos:
            self.infos.append(full)

    # --- what several parts of the evaluation say -------------------------------------------------------------------

    def mixed(self, name: str) -> None:
        self.warn(f'encountered a mix of histograms and floats for metric name "{name}"')

    def mixed_buckets(self, name: str) -> None:
        self.warn("vector contains a mix of histograms with exponential and custom buckets schemas for metric name "
                  f'"{name}"')  # fmt: skip

    def reconciled(self, doing: str) -> None:
        self.inform(f"mismatched custom buckets were reconciled during {doing}")

    def collided(self, doing: str) -> None:
        self.warn(f"conflicting counter resets during histogram {doing}")

    def not_counter(self, name: str) -> None:
        self.warn(f'this native histogram metric is not a counter: "{name}"')

    def not_gauge(self, name: str) -> None:
        self.warn(f'this native histogram metric is not a gauge: "{name}"')

    def ignored_histograms(self, name: str) -> None:
        self.inform(f'ignored histograms in a range containing both floats and histograms for metric name "{name}"')
