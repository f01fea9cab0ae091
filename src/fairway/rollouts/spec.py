"""What users write in a Rollout, as frozen values. Types are checked here, meaning in `validation.py`.

A field that upstream knows and Fairway does not act on yet is kept as it is, so that validation can say so by name.
Source: argo-rollouts `pkg/apis/rollouts/v1alpha1/types.go`, `utils/defaults/defaults.go`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from fairway.kube.durations import parse_duration
from fairway.kube.objects import Obj
from fairway.rollouts.fields import FieldError, Fields, SpecError

DEFAULT_DELAY_S = 30
"""scaleDownDelaySeconds and abortScaleDownDelaySeconds where traffic is routed."""
PROVIDERS = ("alb", "ambassador", "apisix", "appMesh", "istio", "nginx", "plugins", "smi", "traefik")


@dataclass(frozen=True, slots=True)
class Pause:
    """`duration` as written ("" for as long as nobody promotes); `length` is None where there is none or it is unreadable."""

    duration: str = ""
    length: timedelta | None = None

    @property
    def forever(self) -> bool:
        return self.duration == ""


@dataclass(frozen=True, slots=True)
class CanaryScale:
    """Exactly one of these is meant: so many replicas, a share of them, or as many as the traffic weight asks for."""

    replicas: int | None = None
    weight: int | None = None
    match_traffic_weight: bool = False


@dataclass(frozen=True, slots=True)
class TemplateRef:
    name: str
    cluster: bool = False


@dataclass(frozen=True, slots=True)
class AnalysisAsk:
    """Analysis as a Rollout asks for it, inline or in the background. `args` and the rules stay JSON: runs carry them."""

    templates: tuple[TemplateRef, ...] = ()
    args: tuple[Obj, ...] = ()
    dry_run: tuple[Obj, ...] = ()
    measurement_retention: tuple[Obj, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    starting_step: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One canary step. Upstream accepts several kinds in one; their order here is the order in which they are looked at."""

    set_weight: int | None = None
    pause: Pause | None = None
    set_canary_scale: CanaryScale | None = None
    analysis: AnalysisAsk | None = None
    experiment: Obj | None = None
    set_header_route: Obj | None = None
    set_mirror_route: Obj | None = None
    plugin: Obj | None = None

    def __str__(self) -> str:
        """As `kubectl argo rollouts` and step events name it."""
        if self.set_weight is not None:
            return f"setWeight: {self.set_weight}"
        if self.pause is not None:
            return f"pause: {self.pause.duration}" if self.pause.duration else "pause"
        if self.experiment is not None:
            return "experiment"
        if self.analysis is not None:
            return "analysis"
        if (scale := self.set_canary_scale) is not None:
            if scale.weight is not None:
                return f"setCanaryScale{{weight: {scale.weight}}}"
            if scale.match_traffic_weight:
                return "setCanaryScale{matchTrafficWeight: true}"
            return f"setCanaryScale{{replicas: {scale.replicas}}}"
        if self.plugin is not None:
            return f"plugin: {self.plugin.get('name', '')}"
        if self.set_header_route is not None or self.set_mirror_route is not None:
            return "setHeaderRoute" if self.set_header_route is not None else "setMirrorRoute"
        return "invalid"


@dataclass(frozen=True, slots=True)
class Nginx:
    stable_ingress: str = ""
    stable_ingresses: tuple[str, ...] = ()
    annotation_prefix: str = "nginx.ingress.kubernetes.io"
    additional_annotations: Mapping[str, str] = field(default_factory=dict)
    canary_annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def ingresses(self) -> tuple[str, ...]:
        return self.stable_ingresses or ((self.stable_ingress,) if self.stable_ingress else ())


@dataclass(frozen=True, slots=True)
class TrafficRouting:
    """`providers` holds every provider that is named, as written."""

    providers: Mapping[str, Any] = field(default_factory=dict)
    nginx: Nginx | None = None
    max_weight: int | None = None
    managed_routes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Canary:
    steps: tuple[Step, ...] = ()
    stable_service: str = ""
    canary_service: str = ""
    traffic: TrafficRouting | None = None
    analysis: AnalysisAsk | None = None
    max_surge: int | str = "25"
    max_unavailable: int | str = "25"
    scale_down_delay_s: int | None = None
    scale_down_delay_revision_limit: int | None = None
    abort_scale_down_delay_s: int | None = None
    dynamic_stable_scale: bool = False
    min_pods_per_replica_set: int | None = None
    threshold: Obj | None = None
    canary_metadata: Obj | None = None
    stable_metadata: Obj | None = None
    anti_affinity: Obj | None = None
    ping_pong: Obj | None = None

    @property
    def max_weight(self) -> int:
        """What all weights add up to: 100 unless the traffic router says otherwise."""
        return self.traffic.max_weight or 100 if self.traffic else 100

    @property
    def scale_down_delay(self) -> timedelta:
        """How long the old stable stays up after a promotion; nothing without a traffic router."""
        if self.traffic is None:
            return timedelta(0)
        return timedelta(seconds=DEFAULT_DELAY_S if self.scale_down_delay_s is None else self.scale_down_delay_s)

    @property
    def abort_scale_down_delay(self) -> timedelta | None:
        """How long the canary stays up after an abort. None: for ever, which an explicit 0 asks for."""
        if self.traffic is None:
            return timedelta(0)
        if self.abort_scale_down_delay_s is None:
            return timedelta(seconds=DEFAULT_DELAY_S)
        return timedelta(seconds=self.abort_scale_down_delay_s) if self.abort_scale_down_delay_s else None


@dataclass(frozen=True, slots=True)
class RolloutSpec:
    replicas: int = 1
    selector: Obj | None = None
    template: Obj | None = None
    workload_ref: Obj | None = None
    min_ready_seconds: int = 0
    revision_history_limit: int = 10
    progress_deadline_s: int = 600
    progress_deadline_abort: bool = False
    paused: bool = False
    restart_at: datetime | None = None
    rollback_window: int = 0
    successful_runs: int = 5
    unsuccessful_runs: int = 5
    canary: Canary | None = None
    blue_green: Obj | None = None


def decode_rollout(rollout: Mapping[str, Any]) -> RolloutSpec:
    """`SpecError` with the path of the first field that has the wrong type."""
    spec = Fields(rollout.get("spec") or {}, "spec")
    strategy = spec.fields("strategy")
    canary = strategy.fields("canary") if strategy else None
    window, history = spec.fields("rollbackWindow"), spec.fields("analysis")
    return RolloutSpec(
        replicas=spec.number_or("replicas", 1),
        selector=spec.object("selector"),
        template=spec.object("template"),
        workload_ref=spec.object("workloadRef"),
        min_ready_seconds=spec.number_or("minReadySeconds", 0),
        revision_history_limit=spec.number_or("revisionHistoryLimit", 10),
        progress_deadline_s=spec.number_or("progressDeadlineSeconds", 600),
        progress_deadline_abort=spec.flag("progressDeadlineAbort"),
        paused=spec.flag("paused"),
        restart_at=spec.moment("restartAt"),
        rollback_window=window.number_or("revisions", 0) if window else 0,
        successful_runs=history.number_or("successfulRunHistoryLimit", 5) if history else 5,
        unsuccessful_runs=history.number_or("unsuccessfulRunHistoryLimit", 5) if history else 5,
        canary=_canary(canary) if canary else None,
        blue_green=strategy.object("blueGreen") if strategy else None,
    )


def _canary(at: Fields) -> Canary:
    surge, unavailable = at.number_or_text("maxSurge"), at.number_or_text("maxUnavailable")
    traffic, analysis = at.fields("trafficRouting"), at.fields("analysis")
    return Canary(
        steps=tuple(_step(step) for step in at.each("steps")),
        stable_service=at.text("stableService"),
        canary_service=at.text("canaryService"),
        traffic=_traffic(traffic) if traffic else None,
        analysis=_analysis(analysis) if analysis else None,
        max_surge="25" if surge is None else surge,
        max_unavailable="25" if unavailable is None else unavailable,
        scale_down_delay_s=at.number("scaleDownDelaySeconds"),
        scale_down_delay_revision_limit=at.number("scaleDownDelayRevisionLimit"),
        abort_scale_down_delay_s=at.number("abortScaleDownDelaySeconds"),
        dynamic_stable_scale=at.flag("dynamicStableScale"),
        min_pods_per_replica_set=at.number("minPodsPerReplicaSet"),
        threshold=at.object("replicaProgressThreshold"),
        canary_metadata=at.object("canaryMetadata"),
        stable_metadata=at.object("stableMetadata"),
        anti_affinity=at.object("antiAffinity"),
        ping_pong=at.object("pingPong"),
    )


def _step(at: Fields) -> Step:
    pause, scale, analysis = at.fields("pause"), at.fields("setCanaryScale"), at.fields("analysis")
    return Step(
        set_weight=at.number("setWeight"),
        pause=_pause(pause) if pause else None,
        set_canary_scale=CanaryScale(scale.number("replicas"), scale.number("weight"), scale.flag("matchTrafficWeight"))
        if scale else None,
        analysis=_analysis(analysis) if analysis else None,
        experiment=at.object("experiment"),
        set_header_route=at.object("setHeaderRoute"),
        set_mirror_route=at.object("setMirrorRoute"),
        plugin=at.object("plugin"),
    )


def _pause(at: Fields) -> Pause:
    written = at.number_or_text("duration")
    if written is None:
        return Pause()
    return Pause(str(written), read_seconds(written))


def read_seconds(written: int | str) -> timedelta | None:
    """Seconds as a number or digits, or a Go duration ("10m"); None where it is neither."""
    if isinstance(written, int):
        return timedelta(seconds=written)
    if written.lstrip("-").isdigit():
        return timedelta(seconds=int(written))
    try:
        return parse_duration(written)
    except ValueError:
        return None


def _analysis(at: Fields) -> AnalysisAsk:
    meta = at.fields("analysisRunMetadata")
    starting = at.number("startingStep")
    return AnalysisAsk(
        templates=tuple(TemplateRef(t.text("templateName"), t.flag("clusterScope")) for t in at.each("templates")),
        args=tuple(dict(a.raw) for a in at.each("args")),
        dry_run=tuple(dict(d.raw) for d in at.each("dryRun")),
        measurement_retention=tuple(dict(m.raw) for m in at.each("measurementRetention")),
        labels=meta.text_map("labels") if meta else {},
        annotations=meta.text_map("annotations") if meta else {},
        starting_step=starting,
    )


def _traffic(at: Fields) -> TrafficRouting:
    nginx = at.fields("nginx")
    for name in at.raw:
        if name not in (*PROVIDERS, "maxTrafficWeight", "managedRoutes"):
            raise SpecError(FieldError(at.at(name), "unknown field", at.raw[name], "Forbidden"))
    return TrafficRouting(
        providers={name: at.raw[name] for name in PROVIDERS if at.has(name)},
        nginx=_nginx(nginx) if nginx else None,
        max_weight=at.number("maxTrafficWeight"),
        managed_routes=tuple(route.text("name") for route in at.each("managedRoutes")),
    )


def _nginx(at: Fields) -> Nginx:
    return Nginx(
        stable_ingress=at.text("stableIngress"),
        stable_ingresses=at.texts("stableIngresses"),
        annotation_prefix=at.text("annotationPrefix") or "nginx.ingress.kubernetes.io",
        additional_annotations=at.text_map("additionalIngressAnnotations"),
        canary_annotations=at.text_map("canaryIngressAnnotations"),
    )
