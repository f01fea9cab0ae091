"""What users write in a Canary, read strictly. Defaults are upstream's; names are those of the YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from fairway.kube.durations import parse_duration
from fairway.kube.objects import Obj, meta_of
from fairway.rollouts.fields import FieldError, Fields, SpecError

DEFAULT_INTERVAL, SHORTEST_INTERVAL = timedelta(seconds=60), timedelta(seconds=10)
TOTAL = 100
HookType = Literal["confirm-rollout", "pre-rollout", "rollout", "confirm-traffic-increase", "confirm-promotion", "post-rollout",
                   "rollback", "event"]
HOOK_TYPES: tuple[HookType, ...] = ("confirm-rollout", "pre-rollout", "rollout", "confirm-traffic-increase",
                                    "confirm-promotion", "post-rollout", "rollback", "event")
Strategy = Literal["canary", "blue-green", "ab-testing"]


@dataclass(frozen=True, slots=True)
class Ref:
    """Another object. `namespace` "" is the Canary's own."""

    name: str = ""
    kind: str = ""
    api_version: str = ""
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Range:
    min: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True)
class Metric:
    """`threshold` is the old way: a least success rate, a longest duration in ms, a largest value."""

    name: str
    interval: str = "1m"
    threshold: float = 0.0
    range: Range | None = None
    query: str = ""
    template: Ref | None = None
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Webhook:
    name: str
    url: str
    type: HookType = "rollout"
    timeout: timedelta = timedelta(seconds=10)
    metadata: Mapping[str, str] = field(default_factory=dict)
    retries: int = 0
    mute_alert: bool = False
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class Alert:
    """`severity`: the least that is told."""

    name: str
    provider: Ref
    severity: str = "info"


@dataclass(frozen=True, slots=True)
class Affinity:
    cookie: str = ""
    max_age: int = 86400
    primary_cookie: str = ""


@dataclass(frozen=True, slots=True)
class Analysis:
    interval: timedelta = DEFAULT_INTERVAL
    threshold: int = 1
    max_weight: int = 0
    step_weight: int = 0
    step_weights: tuple[int, ...] = ()
    step_weight_promotion: int = 0
    iterations: int = 0
    mirror: bool = False
    mirror_weight: int = 100
    match: tuple[Obj, ...] = ()
    metrics: tuple[Metric, ...] = ()
    webhooks: tuple[Webhook, ...] = ()
    alerts: tuple[Alert, ...] = ()
    affinity: Affinity | None = None
    primary_ready: int = 100
    canary_ready: int = 100

    @property
    def strategy(self) -> Strategy:
        if self.iterations > 0:
            return "ab-testing" if self.match else "blue-green"
        return "canary"


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """`raw` holds what is only passed on to the routes (timeout, retries, rewrite, headers, corsPolicy, …)."""

    port: int = 80
    name: str = ""
    port_name: str = "http"
    target_port: int | str | None = None
    app_protocol: str = ""
    port_discovery: bool = False
    hosts: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    gateway_refs: tuple[Obj, ...] = ()
    delegation: bool = False
    raw: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CanarySpec:
    """`analysis` None: the Canary has none, and every new version is promoted at once."""

    name: str
    namespace: str
    target: Ref
    service: ServiceSpec = ServiceSpec()
    provider: str = ""
    metrics_server: str = ""
    autoscaler: Ref | None = None
    scaler: Mapping[str, Any] = field(default_factory=dict)
    ingress: Ref | None = None
    upstream: Ref | None = None
    analysis: Analysis | None = None
    skip: bool = False
    suspend: bool = False
    revert_on_deletion: bool = False
    progress_deadline: timedelta = timedelta(seconds=600)

    @property
    def checks(self) -> Analysis:
        return self.analysis or Analysis()

    @property
    def skips_analysis(self) -> bool:
        return self.skip or self.analysis is None

    @property
    def apex(self) -> str:
        return self.service.name or self.target.name

    @property
    def primary_service(self) -> str:
        return f"{self.apex}-primary"

    @property
    def canary_service(self) -> str:
        return f"{self.apex}-canary"

    @property
    def primary(self) -> str:
        """Name of the workload that serves."""
        return f"{self.target.name}-primary"


def decode_canary(obj: Obj) -> CanarySpec:
    """Raises `SpecError` with the path of the mistake."""
    meta = meta_of(obj)
    at = Fields(obj.get("spec") or {}, "spec")
    deadline = at.number("progressDeadlineSeconds")
    return CanarySpec(
        name=str(meta.get("name", "")),
        namespace=str(meta.get("namespace", "")),
        target=_ref(at.fields("targetRef")) or Ref(),
        service=_service(at.fields("service")),
        provider=at.text("provider"),
        metrics_server=at.text("metricsServer"),
        autoscaler=_ref(at.fields("autoscalerRef")),
        scaler=at.object("autoscalerRef") or {},
        ingress=_ref(at.fields("ingressRef")),
        upstream=_ref(at.fields("upstreamRef")),
        analysis=_analysis(at.fields("analysis") or at.fields("canaryAnalysis")),
        skip=at.flag("skipAnalysis"),
        suspend=at.flag("suspend"),
        revert_on_deletion=at.flag("revertOnDeletion"),
        progress_deadline=timedelta(seconds=deadline if deadline is not None else 600),
    )


def _ref(at: Fields | None) -> Ref | None:
    if at is None:
        return None
    return Ref(at.text("name"), at.text("kind"), at.text("apiVersion"), at.text("namespace"))


def _service(at: Fields | None) -> ServiceSpec:
    if at is None:
        return ServiceSpec()
    return ServiceSpec(
        port=at.number_or("port", 80), name=at.text("name"), port_name=at.text("portName") or "http",
        target_port=at.number_or_text("targetPort"), app_protocol=at.text("appProtocol"),
        port_discovery=at.flag("portDiscovery"), hosts=at.texts("hosts"), gateways=at.texts("gateways"),
        gateway_refs=tuple(dict(ref.raw) for ref in at.each("gatewayRefs")), delegation=at.flag("delegation"), raw=at.raw,
    )


def _analysis(at: Fields | None) -> Analysis | None:
    if at is None:
        return None
    threshold = at.number_or("threshold", 1)
    return Analysis(
        interval=max(_duration(at, "interval", DEFAULT_INTERVAL), SHORTEST_INTERVAL),
        threshold=threshold if threshold > 0 else 1,
        max_weight=_weight(at, "maxWeight"),
        step_weight=_weight(at, "stepWeight"),
        step_weights=_weights(at),
        step_weight_promotion=_weight(at, "stepWeightPromotion"),
        iterations=at.number_or("iterations", 0),
        mirror=at.flag("mirror"),
        mirror_weight=at.number_or("mirrorWeight", 0) or 100,
        match=tuple(dict(match.raw) for match in at.each("match")),
        metrics=tuple(_metric(metric) for metric in at.each("metrics")),
        webhooks=tuple(_webhook(hook) for hook in at.each("webhooks")),
        alerts=tuple(_alert(alert) for alert in at.each("alerts")),
        affinity=_affinity(at.fields("sessionAffinity")),
        primary_ready=at.number_or("primaryReadyThreshold", 100),
        canary_ready=at.number_or("canaryReadyThreshold", 100),
    )


def _weight(at: Fields, name: str) -> int:
    value = at.number_or(name, 0)
    if value < 0:
        raise SpecError(FieldError(at.at(name), "must be 0 or more", value))
    return value


def _weights(at: Fields) -> tuple[int, ...]:
    found = at.raw.get("stepWeights") or ()
    if not isinstance(found, (list, tuple)) or not all(isinstance(v, int) and not isinstance(v, bool) for v in found):
        raise at.wrong("stepWeights", "a list of whole numbers")
    return tuple(found)


def _duration(at: Fields, name: str, default: timedelta) -> timedelta:
    text = at.text(name)
    if not text:
        return default
    try:
        return parse_duration(text)
    except ValueError as error:
        raise SpecError(FieldError(at.at(name), str(error), text)) from None


def _metric(at: Fields) -> Metric:
    limits = at.fields("thresholdRange")
    _duration(at, "interval", DEFAULT_INTERVAL)  # only to refuse a wrong one: queries want the text
    return Metric(
        name=at.text("name"), interval=at.text("interval") or "1m", threshold=_float(at, "threshold") or 0.0,
        range=Range(_float(limits, "min"), _float(limits, "max")) if limits else None, query=at.text("query"),
        template=_ref(at.fields("templateRef")), variables=at.text_map("templateVariables"),
    )


def _float(at: Fields, name: str) -> float | None:
    value = at.raw.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise at.wrong(name, "a number")
    return float(value)


def _webhook(at: Fields) -> Webhook:
    kind = at.text("type") or "rollout"
    if kind not in HOOK_TYPES:
        raise SpecError(FieldError(at.at("type"), f"must be one of {', '.join(HOOK_TYPES)}", kind))
    hook: HookType = next(t for t in HOOK_TYPES if t == kind)
    return Webhook(at.text("name"), at.text("url"), hook, _duration(at, "timeout", timedelta(seconds=10)),
                   at.text_map("metadata"), at.number_or("retries", 0), at.flag("muteAlert"), at.flag("disableTLS"))


def _alert(at: Fields) -> Alert:
    severity = at.text("severity") or "info"
    if severity not in ("info", "warn", "error"):
        raise SpecError(FieldError(at.at("severity"), "must be info, warn or error", severity))
    return Alert(at.text("name"), _ref(at.fields("providerRef")) or Ref(), severity)


def _affinity(at: Fields | None) -> Affinity | None:
    if at is None:
        return None
    return Affinity(at.text("cookieName"), at.number_or("maxAge", 0) or 86400, at.text("primaryCookieName"))


def verify(spec: CanarySpec, *, cross_namespace: bool = True) -> str:
    """What upstream refuses before it looks at anything else; "" where there is nothing.

    `cross_namespace`: references to other namespaces are allowed (upstream's flag `-no-cross-namespace-refs` forbids them).
    """
    if not cross_namespace:
        for what, ref in (("upstream", spec.upstream), *(("alert provider", alert.provider) for alert in spec.checks.alerts),
                          *(("metric template", m.template) for m in spec.checks.metrics)):
            if ref is not None and ref.namespace not in ("", spec.namespace):
                return f"can't access {what} {ref.name}.{ref.namespace}, cross-namespace references are blocked"
    knative = spec.provider == "knative"
    serves = spec.target.api_version == "serving.knative.dev/v1" and spec.target.kind == "Service"
    if knative != serves and (knative or serves):
        return "knative provider can only be used with targetRef kind Service and apiVersion serving.knative.dev/v1"
    if knative and spec.autoscaler is not None:
        return "can't use autoscalerRef with the knative provider"
    affinity = spec.checks.affinity
    if affinity is not None and affinity.cookie and affinity.cookie == affinity.primary_cookie:
        return "can't use the same cookie name for both primary and canary cookie name; please update them to be different"
    return ""
