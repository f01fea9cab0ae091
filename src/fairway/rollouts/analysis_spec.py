"""What users write in an AnalysisTemplate or AnalysisRun, as frozen values, and what a set of metrics must satisfy.

Numbers may be strings here (`count: "{{args.count}}"`), so they are read after arguments were filled in.
Source: argo-rollouts `pkg/apis/rollouts/v1alpha1/analysis_types.go`, `utils/analysis/factory.go`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from fairway.kube.durations import parse_duration
from fairway.kube.objects import Obj, spec_of
from fairway.rollouts.fields import FieldError, Fields, SpecError

PROVIDERS = ("prometheus", "job", "web", "wavefront", "kayenta", "datadog", "newRelic", "cloudWatch", "graphite", "influxdb",
             "skywalking", "plugin", "fairway")  # fmt: skip
DEFAULT_CONSECUTIVE_ERRORS = 4
DEFAULT_RETENTION = 10
DEFAULT_FAILURE_LIMIT = 0


@dataclass(frozen=True, slots=True)
class Metric:
    """`interval` and `initial_delay` as written; None limits were not given."""

    name: str = ""
    interval: str = ""
    initial_delay: str = ""
    count: int | None = None
    success_condition: str = ""
    failure_condition: str = ""
    failure_limit: int | None = None
    inconclusive_limit: int | None = None
    consecutive_error_limit: int | None = None
    consecutive_success_limit: int | None = None
    provider: Mapping[str, Any] = field(default_factory=dict)

    @property
    def wanted(self) -> int | None:
        """How many measurements are wanted: one without an interval, endlessly many (None) with one and no count."""
        if self.count:
            return self.count
        return None if self.interval else 1

    @property
    def every(self) -> timedelta | None:
        return _length(self.interval)

    @property
    def delay(self) -> timedelta | None:
        return _length(self.initial_delay)


@dataclass(frozen=True, slots=True)
class RunSpec:
    """`metrics` are raw: their arguments are filled in per measurement, because secrets are read then."""

    metrics: tuple[Obj, ...] = ()
    args: tuple[Obj, ...] = ()
    dry_run: tuple[str, ...] = ()
    retention: tuple[tuple[str, int], ...] = ()
    terminate: bool = False
    ttl: Mapping[str, int] = field(default_factory=dict)


def _length(text: str) -> timedelta | None:
    try:
        return parse_duration(text) if text else None
    except ValueError:
        return None


def decode_run(run: Mapping[str, Any]) -> RunSpec:
    spec = Fields(spec_of(run), "spec")
    ttl = spec.fields("ttlStrategy")
    names = ("secondsAfterCompletion", "secondsAfterFailure", "secondsAfterSuccess")
    return RunSpec(
        metrics=tuple(dict(metric.raw) for metric in spec.each("metrics")),
        args=tuple(dict(arg.raw) for arg in spec.each("args")),
        dry_run=tuple(rule.text("metricName") for rule in spec.each("dryRun")),
        retention=tuple((rule.text("metricName"), rule.number_or("limit", 0)) for rule in spec.each("measurementRetention")),
        terminate=spec.flag("terminate"),
        ttl={name: seconds for name in names if ttl and (seconds := ttl.number(name)) is not None},
    )


def decode_metric(raw: Mapping[str, Any], path: str = "") -> Metric:
    at = Fields(raw, path)
    provider = at.object("provider") or {}
    return Metric(
        name=at.text("name"),
        interval=at.text("interval"),
        initial_delay=at.text("initialDelay"),
        count=_number(at, "count"),
        success_condition=at.text("successCondition"),
        failure_condition=at.text("failureCondition"),
        failure_limit=_number(at, "failureLimit"),
        inconclusive_limit=_number(at, "inconclusiveLimit"),
        consecutive_error_limit=_number(at, "consecutiveErrorLimit"),
        consecutive_success_limit=_number(at, "consecutiveSuccessLimit"),
        provider=provider,
    )


def _number(at: Fields, name: str) -> int | None:
    value = at.number_or_text(name)
    if value is None or isinstance(value, int):
        return value
    try:
        return int(value)
    except ValueError:
        raise SpecError(FieldError(at.at(name), "a whole number is needed", value)) from None


# --- what must hold -----------------------------------------------------------------------------------------------


def metrics_error(metrics: Sequence[Metric]) -> str:
    """The first mistake in upstream's words, "" where there is none."""
    if not metrics:
        return "no metrics specified"
    names: set[str] = set()
    for i, metric in enumerate(metrics):
        if metric.name in names:
            return f"metrics[{i}]: duplicate name '{metric.name}'"
        names.add(metric.name)
        if mistake := metric_error(metric):
            return f"metrics[{i}]: {mistake}"
    return ""


def metric_error(metric: Metric) -> str:
    count, failures = metric.count or 0, metric.failure_limit or 0
    inconclusive, successes = metric.inconclusive_limit or 0, metric.consecutive_success_limit or 0
    counted = max(failures, 0)
    rules = (
        (count > 0 and count < counted + successes,
         "count must be >= failureLimit + consecutiveSuccessLimit" if successes else "count must be >= failureLimit"),
        (count > 0 and count < inconclusive, "count must be >= inconclusiveLimit"),
        (count > 1 and not metric.interval, "interval must be specified when count > 1"),
        (bool(metric.interval) and metric.every is None,
         f'invalid interval string: time: invalid duration "{metric.interval}"'),
        (bool(metric.initial_delay) and metric.delay is None,
         f'invalid startDelay string: time: invalid duration "{metric.initial_delay}"'),
        (failures < -1, "failureLimit must be >= -1"),
        (inconclusive < 0, "inconclusiveLimit must be >= 0"),
        ((metric.consecutive_error_limit or 0) < 0, "consecutiveErrorLimit must be >= 0"),
        (successes < 0, "consecutiveSuccessLimit must be >= 0"),
        (failures == -1 and successes == 0, "failureLimit and consecutiveSuccessLimit cannot both be disabled"),
    )  # fmt: skip
    for broken, message in rules:
        if broken:
            return message
    named = sum(1 for name in PROVIDERS if metric.provider.get(name) is not None)
    plugins = metric.provider.get("plugin")
    named += len(plugins) - 1 if isinstance(plugins, Mapping) and plugins else 0
    if named == 0:
        return "no provider specified"
    return "multiple providers specified" if named > 1 else ""


def matched(rules: Sequence[str], metrics: Iterable[Metric], kind: str) -> tuple[dict[str, int], str]:
    """Metric name to the index of the last rule that matches it, and what is wrong with a rule that matches nothing.

    A rule is a regular expression; one that cannot be read matches nothing, as upstream has it.
    """
    names = [metric.name for metric in metrics]
    found: dict[str, int] = {}
    for index, rule in enumerate(rules):
        try:
            pattern = re.compile(rule)
        except re.error:
            return found, f"{kind}[{index}]: Rule didn't match any metric name(s)"
        hits = [name for name in names if pattern.search(name)]
        if not hits:
            return found, f"{kind}[{index}]: Rule didn't match any metric name(s)"
        found |= dict.fromkeys(hits, index)
    return found, ""
