"""What users write in a Rollout, as frozen values. Types are checked here, meaning in `validation.py`.

A field that upstream knows and Fairway does not act on yet is kept as it is, so that validation can say so by name.
Source: argo-rollouts `pkg/apis/rollouts/v1alpha1/types.go`, `utils/defaults/defaults.go`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fairway.kube.durations import parse_duration
from fairway.kube.objects import Obj
from fairway.rollouts.analysis_ask import AnalysisAsk, read_analysis
from fairway.rollouts.fields import Fields
from fairway.rollouts.remembered import by_content
from fairway.rollouts.traffic_spec import TrafficRouting, read_traffic

DEFAULT_DELAY_S = 30
"""scaleDownDelaySeconds and abortScaleDownDelaySeconds where traffic is routed."""


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
class Metadata:
    """Labels and annotations that the pods of one role carry while they have it."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PingPong:
    """Two Services that take turns: one leads to stable, the other to the canary, and a promotion swaps their roles."""

    ping: str = ""
    pong: str = ""


@dataclass(frozen=True, slots=True)
class Threshold:
    """How many available pods are "all of them" for a step: so many percent, or so many pods."""

    kind: str
    value: int


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
    threshold: Threshold | None = None
    canary_metadata: Metadata | None = None
    stable_metadata: Metadata | None = None
    anti_affinity: Obj | None = None
    ping_pong: PingPong | None = None

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
class BlueGreen:
    active_service: str = ""
    preview_service: str = ""
    preview_replicas: int | None = None
    auto_promotion: bool = True
    auto_promotion_s: int = 0
    scale_down_delay_s: int | None = None
    scale_down_delay_revision_limit: int | None = None
    abort_scale_down_delay_s: int | None = None
    max_unavailable: int | str = "25"
    before: AnalysisAsk | None = None
    after: AnalysisAsk | None = None
    active_metadata: Metadata | None = None
    preview_metadata: Metadata | None = None
    anti_affinity: Obj | None = None

    @property
    def pauses(self) -> bool:
        """Whether the switch waits for a person, or for its time."""
        return not self.auto_promotion or self.auto_promotion_s > 0

    @property
    def scale_down_delay(self) -> timedelta:
        return timedelta(seconds=DEFAULT_DELAY_S if self.scale_down_delay_s is None else self.scale_down_delay_s)

    @property
    def abort_scale_down_delay(self) -> timedelta | None:
        """How long the new version stays up after an abort. None: for ever, which an explicit 0 asks for."""
        if self.abort_scale_down_delay_s is None:
            return timedelta(seconds=DEFAULT_DELAY_S)
        return timedelta(seconds=self.abort_scale_down_delay_s) if self.abort_scale_down_delay_s else None


@dataclass(frozen=True, slots=True)
class WorkloadRef:
    """Where the pod template comes from, and what becomes of that object's own pods."""

    api_version: str
    kind: str
    name: str
    scale_down: str = "never"


@dataclass(frozen=True, slots=True)
class RolloutSpec:
    replicas: int = 1
    selector: Obj | None = None
    template: Obj | None = None
    workload_ref: WorkloadRef | None = None
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
    blue_green: BlueGreen | None = None


def decode_rollout(rollout: Mapping[str, Any]) -> RolloutSpec:
    """`SpecError` with the path of the first field that has the wrong type."""
    return _decoded(rollout.get("spec") or {})


@by_content
def _decoded(raw: Obj) -> RolloutSpec:
    spec = Fields(raw, "spec")
    strategy = spec.fields("strategy")
    canary = strategy.fields("canary") if strategy else None
    blue_green = strategy.fields("blueGreen") if strategy else None
    workload = spec.fields("workloadRef")
    window, history = spec.fields("rollbackWindow"), spec.fields("analysis")
    return RolloutSpec(
        replicas=spec.number_or("replicas", 1),
        selector=spec.object("selector"),
        template=spec.object("template"),
        workload_ref=_workload(workload) if workload else None,
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
        blue_green=_blue_green(blue_green) if blue_green else None,
    )


def _canary(at: Fields) -> Canary:
    surge, unavailable = at.number_or_text("maxSurge"), at.number_or_text("maxUnavailable")
    traffic, analysis, threshold = at.fields("trafficRouting"), at.fields("analysis"), at.fields("replicaProgressThreshold")
    ping_pong = at.fields("pingPong")
    return Canary(
        steps=tuple(_step(step) for step in at.each("steps")),
        stable_service=at.text("stableService"),
        canary_service=at.text("canaryService"),
        traffic=read_traffic(traffic) if traffic else None,
        analysis=read_analysis(analysis) if analysis else None,
        max_surge="25" if surge is None else surge,
        max_unavailable="25" if unavailable is None else unavailable,
        scale_down_delay_s=at.number("scaleDownDelaySeconds"),
        scale_down_delay_revision_limit=at.number("scaleDownDelayRevisionLimit"),
        abort_scale_down_delay_s=at.number("abortScaleDownDelaySeconds"),
        dynamic_stable_scale=at.flag("dynamicStableScale"),
        min_pods_per_replica_set=at.number("minPodsPerReplicaSet"),
        threshold=Threshold(threshold.text("type"), threshold.number_or("value", 0)) if threshold else None,
        canary_metadata=_metadata(at.fields("canaryMetadata")),
        stable_metadata=_metadata(at.fields("stableMetadata")),
        anti_affinity=at.object("antiAffinity"),
        ping_pong=PingPong(ping_pong.text("pingService"), ping_pong.text("pongService")) if ping_pong else None,
    )


def _step(at: Fields) -> Step:
    pause, scale, analysis = at.fields("pause"), at.fields("setCanaryScale"), at.fields("analysis")
    return Step(
        set_weight=at.number("setWeight"),
        pause=_pause(pause) if pause else None,
        set_canary_scale=CanaryScale(scale.number("replicas"), scale.number("weight"), scale.flag("matchTrafficWeight"))
        if scale else None,
        analysis=read_analysis(analysis) if analysis else None,
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
    text = str(written)
    try:
        return parse_duration(f"{text}s" if text.lstrip("-").isdigit() else text)
    except ValueError:
        return None


def _metadata(at: Fields | None) -> Metadata | None:
    return Metadata(at.text_map("labels"), at.text_map("annotations")) if at else None


def _workload(at: Fields) -> WorkloadRef:
    return WorkloadRef(at.text("apiVersion"), at.text("kind"), at.text("name"), at.text("scaleDown") or "never")


def _blue_green(at: Fields) -> BlueGreen:
    before, after = at.fields("prePromotionAnalysis"), at.fields("postPromotionAnalysis")
    unavailable = at.number_or_text("maxUnavailable")
    return BlueGreen(
        active_service=at.text("activeService"),
        preview_service=at.text("previewService"),
        preview_replicas=at.number("previewReplicaCount"),
        auto_promotion=at.flag("autoPromotionEnabled", default=True),
        auto_promotion_s=at.number_or("autoPromotionSeconds", 0),
        scale_down_delay_s=at.number("scaleDownDelaySeconds"),
        scale_down_delay_revision_limit=at.number("scaleDownDelayRevisionLimit"),
        abort_scale_down_delay_s=at.number("abortScaleDownDelaySeconds"),
        max_unavailable="25" if unavailable is None else unavailable,
        before=read_analysis(before) if before else None,
        after=read_analysis(after) if after else None,
        active_metadata=_metadata(at.fields("activeMetadata")),
        preview_metadata=_metadata(at.fields("previewMetadata")),
        anti_affinity=at.object("antiAffinity"),
    )
