"""What a canary strategy must satisfy, in upstream's words and order; the rules differ by traffic router.

Source: argo-rollouts `pkg/apis/rollouts/validation/validation.go` ValidateRolloutStrategyCanary.
"""

from __future__ import annotations

from collections.abc import Iterator

from fairway.rollouts.anti_affinity import anti_affinity_errors
from fairway.rollouts.fields import FieldError
from fairway.rollouts.spec import Canary
from fairway.rollouts.traffic_spec import TrafficRouting
from fairway.rollouts.validate_steps import step_errors

ROUTED = "Canary service and Stable service must to be set to use Traffic Routing"
SAME_SERVICE = ("This rollout uses the same service for the stable and canary services, but two different services are "
                "required.")
PING_PONG_ROUTERS = "Ping-pong feature works with the ALB, Istio, and plugin-based traffic routers only"
PING_PONG_BOTH = "Ping service and Pong service must to be set to use Ping-Pong feature"
PING_PONG_SAME = ("This rollout uses the same service for the ping and pong services, but two different services are "
                  "required.")
PING_PONG_ROOT = "Root service field is required for the configuration with ALB and ping-pong feature enabled"
BY_SERVICE = frozenset({"smi", "apisix", "ambassador", "nginx", "appMesh", "traefik"})
"""Routers that always route by Service; ALB does without ping-pong, Istio without subsets."""


def canary_errors(canary: Canary, at: str) -> Iterator[FieldError]:
    yield from surge_errors(canary, f"{at}.maxSurge")
    if canary.canary_service and canary.canary_service == canary.stable_service:
        yield FieldError(f"{at}.stableService", SAME_SERVICE, canary.stable_service)
    yield from _ping_pong(canary, at)
    if _needs_services(canary):
        if not canary.stable_service:
            yield FieldError(f"{at}.stableService", ROUTED, "")
        if not canary.canary_service:
            yield FieldError(f"{at}.canaryService", ROUTED, "")
    yield from _delays(canary, at)
    for i, step in enumerate(canary.steps):
        yield from step_errors(canary, step, at, f"{at}.steps[{i}]")
    yield from anti_affinity_errors(canary.anti_affinity, f"{at}.antiAffinity")


def surge_errors(canary: Canary, at: str) -> Iterator[FieldError]:
    for value in (canary.max_surge, canary.max_unavailable):
        if isinstance(value, str) and not value.removesuffix("%").isdigit():
            yield FieldError(at, "must be an integer or percentage (e.g '5%')", value)
            return
    if _amount(canary.max_surge) == 0 and _amount(canary.max_unavailable) == 0:
        yield FieldError(at, "MaxSurge and MaxUnavailable both can not be zero", canary.max_surge)


def _amount(value: int | str) -> int:
    return value if isinstance(value, int) else int(value.removesuffix("%"))


def _ping_pong(canary: Canary, at: str) -> Iterator[FieldError]:
    pair, traffic = canary.ping_pong, canary.traffic
    if pair is None:
        return
    if traffic is not None and not {"alb", "istio", "plugins"} & traffic.providers.keys():
        yield FieldError(f"{at}.trafficRouting.alb", PING_PONG_ROUTERS, None)
    if not pair.ping:
        yield FieldError(f"{at}.pingPong.pingService", PING_PONG_BOTH, "")
    if not pair.pong:
        yield FieldError(f"{at}.pingPong.pongService", PING_PONG_BOTH, "")
    if pair.ping == pair.pong:
        yield FieldError(f"{at}.pingPong.pingService", PING_PONG_SAME, pair.ping)
    if traffic is not None and traffic.alb is not None and not traffic.alb.root_service:
        yield FieldError(f"{at}.trafficRouting.alb.rootService", PING_PONG_ROOT, "")


def _needs_services(canary: Canary) -> bool:
    traffic = canary.traffic
    if traffic is None:
        return False
    if traffic.alb is not None and canary.ping_pong is None:
        return True
    if traffic.istio is not None and traffic.istio.destination_rule is None and canary.ping_pong is None:
        return True
    return bool(BY_SERVICE & traffic.providers.keys())


def _delays(canary: Canary, at: str) -> Iterator[FieldError]:
    traffic, delay = canary.traffic, canary.scale_down_delay_s
    if traffic is None:
        if delay is not None:
            yield FieldError(f"{at}.scaleDownDelaySeconds",
                             "Canary scaleDownDelaySeconds can only be used with traffic routing", delay)
        if canary.dynamic_stable_scale:
            yield FieldError(f"{at}.dynamicStableScale",
                             "Canary dynamicStableScale can only be used with traffic routing", True)
        return
    if delay is not None and canary.dynamic_stable_scale:
        yield FieldError(f"{at}.dynamicStableScale",
                         "Canary dynamicStableScale cannot be used with scaleDownDelaySeconds", True)
    if traffic.max_weight is not None and not {"nginx", "plugins"} & traffic.providers.keys():
        yield FieldError(f"{at}.trafficRouting.maxTrafficWeight",
                         "Canary maxTrafficWeight in traffic routing only supported in Nginx and Plugins", traffic.max_weight)


# --- either one object or a list of them, never both or none -------------------------------------------------------------


def named_objects_errors(traffic: TrafficRouting, at: str = "spec.strategy.canary.trafficRouting") -> Iterator[FieldError]:
    """Upstream finds these when it looks the objects up, with the strategy's name in the path."""
    if traffic.nginx is not None:
        yield from _one_of(f"{at}.nginx", "StableIngress", "StableIngresses", traffic.nginx.stable_ingress,
                           traffic.nginx.stable_ingresses)
    if traffic.alb is not None:
        yield from _one_of(f"{at}.alb", "Ingress", "Ingresses", traffic.alb.ingress, traffic.alb.ingresses)
    if traffic.istio is not None and bool(traffic.istio.virtual_service) == bool(traffic.istio.virtual_services):
        yield FieldError(f"{at}.istio", "either VirtualService or VirtualServices must be configured", None, "Internal error")


def _one_of(at: str, one: str, many: str, single: str, listed: tuple[str, ...]) -> Iterator[FieldError]:
    if bool(single) == bool(listed):
        found = "Both" if single else "Neither"
        yield FieldError(at, f"Either {one} or {many} must be configured. {found} are configured.", None, "Internal error")
