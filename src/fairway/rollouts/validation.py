"""What a Rollout's spec must satisfy, in upstream's words, first mistake first; and what Fairway does not do yet.

Source: argo-rollouts `pkg/apis/rollouts/validation/validation.go`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from fairway.kube.objects import Obj, dig
from fairway.kube.selectors import from_label_selector
from fairway.rollouts.fields import FieldError
from fairway.rollouts.spec import Canary, RolloutSpec, Step, TrafficRouting

ROUTED = "Canary service and Stable service must to be set to use Traffic Routing"
STEP_KINDS = "Step must have one of the following set: experiment, setWeight, setCanaryScale, plugin or pause"
HEADER_ROUTE = "SetHeaderRoute requires TrafficRouting, supports Istio, ALB, Apisix and Plugins"
MIRROR_ROUTE = "SetMirrorRoute requires TrafficRouting, supports Istio and Plugins only"
NO_MATCH = "StringMatch value missed, match value must have one of the following: exact, regex, prefix"
UNLISTED_ROUTE = "Steps define a route that does not exist in spec.strategy.canary.trafficRouting.managedRoutes"


def spec_errors(spec: RolloutSpec) -> tuple[FieldError, ...]:
    """Upstream's mistakes first; only a spec without any is asked whether Fairway can run it."""
    found = tuple(_spec(spec))
    return found or tuple(_not_yet(spec))


def _spec(spec: RolloutSpec) -> Iterator[FieldError]:
    yield from _not_negative("spec.replicas", spec.replicas)
    if spec.workload_ref is None:
        yield from _selector(spec.selector)
        yield from _template(spec)
    elif spec.template:
        yield FieldError("spec.template", "template must be empty for workload reference rollout", None, "Internal error")
    yield from _not_negative("spec.minReadySeconds", spec.min_ready_seconds)
    yield from _not_negative("spec.revisionHistoryLimit", spec.revision_history_limit)
    yield from _not_negative("spec.progressDeadlineSeconds", spec.progress_deadline_s)
    if spec.progress_deadline_s <= spec.min_ready_seconds:
        yield FieldError("spec.progressDeadlineSeconds", "must be greater than minReadySeconds", spec.progress_deadline_s)
    if spec.canary is None and spec.blue_green is None:
        missing = "Rollout has missing field '.spec.strategy.canary or .spec.strategy.blueGreen'"
        yield FieldError("spec.strategy.strategy", missing, None, "Required value")
    elif spec.canary is not None and spec.blue_green is not None:
        yield FieldError("spec.strategy.strategy", "Multiple Strategies can not be listed", "blueGreen: true canary: true")
    elif spec.canary is not None:
        yield from canary_errors(spec.canary, "spec.strategy.canary")


def _selector(selector: Obj | None) -> Iterator[FieldError]:
    if selector is None:
        yield FieldError("spec.selector", "Rollout has missing field '.spec.selector'", None, "Required value")
    elif not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield FieldError("spec.selector", "empty selector is invalid for deployment", selector)


def _template(spec: RolloutSpec) -> Iterator[FieldError]:
    template, selector = spec.template or {}, spec.selector
    labels = dig(template, "metadata", "labels", default={})
    if selector and not from_label_selector(selector).matches(labels):
        yield FieldError("spec.template.metadata.labels", "`selector` does not match template `labels`", labels)
    containers = dig(template, "spec", "containers", default=[])
    if not containers:
        yield FieldError("spec.template.spec.containers", "", None, "Required value")
    for i, container in enumerate(containers):
        for name in ("name", "image"):
            if not container.get(name):
                yield FieldError(f"spec.template.spec.containers[{i}].{name}", "", None, "Required value")
    restart = dig(template, "spec", "restartPolicy", default="Always")
    if restart != "Always":
        yield FieldError("spec.template.spec.restartPolicy", 'supported values: "Always"', restart)


def _not_negative(path: str, value: int) -> Iterator[FieldError]:
    if value < 0:
        yield FieldError(path, "must be greater than or equal to 0", value)


# --- canary -------------------------------------------------------------------------------------------------------


def canary_errors(canary: Canary, at: str) -> Iterator[FieldError]:
    yield from _surge(canary, f"{at}.maxSurge")
    if canary.canary_service and canary.canary_service == canary.stable_service:
        yield FieldError(f"{at}.stableService", "This rollout uses the same service for the stable and canary services, "
                         "but two different services are required.", canary.stable_service)
    yield from _services(canary, at)
    yield from _delays(canary, at)
    traffic = canary.traffic
    if traffic is not None and traffic.max_weight is not None and not {"nginx", "plugins"} & traffic.providers.keys():
        yield FieldError(f"{at}.trafficRouting.maxTrafficWeight",
                         "MaxTrafficWeight is only supported for Nginx and Plugins", traffic.max_weight)
    for i, step in enumerate(canary.steps):
        yield from _step(canary, step, at, f"{at}.steps[{i}]")
    yield from _affinity(canary.anti_affinity, f"{at}.antiAffinity")
    if traffic is not None and traffic.nginx is not None:
        yield from nginx_errors(traffic, at)


def nginx_errors(traffic: TrafficRouting, at: str) -> Iterator[FieldError]:
    nginx, path = traffic.nginx, f"{at}.trafficRouting.nginx"
    if nginx is None:
        return
    if nginx.stable_ingress and nginx.stable_ingresses:
        yield FieldError(path, "Either StableIngress or StableIngresses must be configured. Both are configured.", None,
                         "Internal error")
    if not nginx.ingresses:
        yield FieldError(path, "Either StableIngress or StableIngresses must be configured. Neither are configured.", None,
                         "Internal error")


def _surge(canary: Canary, at: str) -> Iterator[FieldError]:
    for value in (canary.max_surge, canary.max_unavailable):
        if isinstance(value, str) and not value.removesuffix("%").isdigit():
            yield FieldError(at, "must be an integer or percentage (e.g '5%')", value)
            return
    if _amount(canary.max_surge) == 0 and _amount(canary.max_unavailable) == 0:
        yield FieldError(at, "MaxSurge and MaxUnavailable both can not be zero", canary.max_surge)


def _amount(value: int | str) -> int:
    return value if isinstance(value, int) else int(value.removesuffix("%"))


def _services(canary: Canary, at: str) -> Iterator[FieldError]:
    """Every provider that routes by Service needs both; those that route by subset or ping-pong do not."""
    if canary.traffic is None or canary.ping_pong is not None:
        return
    providers = canary.traffic.providers
    if "plugins" in providers or dig(providers, "istio", "destinationRule"):
        return
    if not canary.stable_service:
        yield FieldError(f"{at}.stableService", ROUTED, "")
    if not canary.canary_service:
        yield FieldError(f"{at}.canaryService", ROUTED, "")


def _delays(canary: Canary, at: str) -> Iterator[FieldError]:
    if canary.traffic is None:
        if canary.scale_down_delay_s is not None:
            yield FieldError(f"{at}.scaleDownDelaySeconds",
                             "Canary scaleDownDelaySeconds can only be used with traffic routing", canary.scale_down_delay_s)
        if canary.dynamic_stable_scale:
            yield FieldError(f"{at}.dynamicStableScale",
                             "Canary dynamicStableScale can only be used with traffic routing", True)
    elif canary.scale_down_delay_s is not None and canary.dynamic_stable_scale:
        yield FieldError(f"{at}.dynamicStableScale",
                         "Canary dynamicStableScale cannot be used with scaleDownDelaySeconds", True)


def _affinity(affinity: Obj | None, at: str) -> Iterator[FieldError]:
    if affinity is None:
        return
    preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution")
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if (preferred is None) == (required is None):
        yield FieldError(at, "AntiAffinity must have exactly one strategy listed", affinity)
    if preferred is not None and not 1 <= int(preferred.get("weight") or 0) <= 100:
        yield FieldError(f"{at}.weight", "AntiAffinity weight must be between 1-100", preferred.get("weight"))


# --- steps --------------------------------------------------------------------------------------------------------


def _step(canary: Canary, step: Step, at: str, path: str) -> Iterator[FieldError]:
    exclusive = (step.set_weight, step.pause, step.experiment, step.analysis)
    named = [kind for kind in exclusive if kind is not None]
    others = (step.set_canary_scale, step.set_header_route, step.set_mirror_route, step.plugin)
    if len(named) > 1 or (not named and all(kind is None for kind in others)):
        yield FieldError(path, STEP_KINDS, str(step))
    top = canary.max_weight
    if step.set_weight is not None and not 0 <= step.set_weight <= top:
        yield FieldError(f"{path}.setWeight", f"SetWeight needs to be between 0 and {top}", step.set_weight)
    if step.pause is not None and not step.pause.forever and (
            step.pause.length is None or step.pause.length < timedelta(0)):
        yield FieldError(f"{path}.pause.duration", "Duration needs to be greater than 0", step.pause.duration)
    if step.set_canary_scale is not None and canary.traffic is None:
        yield FieldError(f"{at}.trafficRouting", "SetCanaryScale requires TrafficRouting to be set", None, "Required value")
    yield from _routes(canary, step, at, path)


def _routes(canary: Canary, step: Step, at: str, path: str) -> Iterator[FieldError]:
    traffic = canary.traffic
    providers = set(traffic.providers) if traffic else set()
    if step.set_header_route is not None:
        if not providers & {"istio", "alb", "apisix", "plugins"}:
            yield FieldError(f"{path}.setHeaderRoute", HEADER_ROUTE, step.set_header_route)
        else:
            for i, match in enumerate(step.set_header_route.get("match") or ()):
                yield from _string_match(match.get("headerValue"), f"{path}.setHeaderRoute.match[{i}]",
                                         exact_only="alb" in providers)
    if step.set_mirror_route is not None:
        if not providers & {"istio", "plugins"}:
            yield FieldError(f"{path}.setMirrorRoute", MIRROR_ROUTE, step.set_mirror_route)
        for i, match in enumerate(step.set_mirror_route.get("match") or ()):
            for part in ("method", "path"):
                if match.get(part) is not None:
                    yield from _string_match(match[part], f"{path}.setMirrorRoute.match[{i}]", exact_only=False)
    if traffic is None:
        return
    for name, route in (("setHeaderRoute", step.set_header_route), ("setMirrorRoute", step.set_mirror_route)):
        if route is None:
            continue
        if not traffic.managed_routes:
            missing = "Rollout has missing field 'spec.strategy.canary.trafficRouting.managedRoutes'"
            yield FieldError(f"{at}.trafficRouting.managedRoutes", missing, None, "Required value")
        elif route.get("name") not in traffic.managed_routes:
            yield FieldError(f"{path}.{name}", UNLISTED_ROUTE, route.get("name"))


def _string_match(match: Any, path: str, *, exact_only: bool) -> Iterator[FieldError]:
    kinds = [kind for kind in ("exact", "regex", "prefix") if match and match.get(kind)]
    if not match:
        yield FieldError(path, NO_MATCH, match)
    elif exact_only:
        if kinds != ["exact"]:
            yield FieldError(path, "SetHeaderRoute match value invalid. ALB supports 'exact' value only", match)
    elif len(kinds) > 1:
        yield FieldError(path, "StringMatch match value must have exactly one of the following: exact, regex, prefix", match)
    elif not kinds:
        yield FieldError(path, NO_MATCH, match)


# --- what Fairway does not run yet ----------------------------------------------------------------------------------


def _not_yet(spec: RolloutSpec) -> Iterator[FieldError]:
    if spec.workload_ref is not None:
        yield FieldError("spec.workloadRef", "Fairway does not run workloadRef yet: put the pod template into spec.template",
                         None, "Forbidden")
    if spec.blue_green is not None:
        yield FieldError("spec.strategy.blueGreen", "Fairway does not run blueGreen yet: use canary", None, "Forbidden")
    canary = spec.canary
    if canary is None:
        return
    if canary.ping_pong is not None:
        yield FieldError("spec.strategy.canary.pingPong", "Fairway does not run pingPong yet: name stableService and "
                         "canaryService", None, "Forbidden")
    for name in canary.traffic.providers if canary.traffic else ():
        if name != "nginx":
            yield FieldError(f"spec.strategy.canary.trafficRouting.{name}",
                             f"Fairway does not move traffic through {name} yet: use nginx", None, "Forbidden")
    for i, step in enumerate(canary.steps):
        for kind, value in (("experiment", step.experiment), ("plugin", step.plugin)):
            if value is not None:
                yield FieldError(f"spec.strategy.canary.steps[{i}].{kind}", f"Fairway does not run {kind} steps yet", None,
                                 "Forbidden")
