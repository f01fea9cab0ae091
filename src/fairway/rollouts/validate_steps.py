"""What one canary step must satisfy, in upstream's words and order.

Source: argo-rollouts `pkg/apis/rollouts/validation/validation.go` ValidateRolloutStrategyCanary.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from fairway.kube.objects import Obj, dig
from fairway.rollouts.fields import FieldError
from fairway.rollouts.spec import Canary, Step

STEP_KINDS = "Step must have one of the following set: experiment, setWeight, setCanaryScale, plugin or pause"
HEADER_ROUTE = "SetHeaderRoute requires TrafficRouting, supports Istio and ALB and Apisix"
MIRROR_ROUTE = "SetMirrorRoute requires TrafficRouting, supports Istio and Plugins"
NO_MATCH = "StringMatch value missed, match value must have one of the following: exact, regex, prefix"
MANY_MATCHES = "StringMatch match value must have exactly one of the following: exact, regex, prefix"
EXACT_ONLY = "SetHeaderRoute match value invalid. ALB supports 'exact' value only"
UNLISTED_ROUTE = "Steps define a route that does not exist in spec.strategy.canary.trafficRouting.managedRoutes"
METADATA_ONLY = "Analyses arguments must refer to valid object metadata supported by downwardAPI"
WEIGHT_UNROUTED = "Experiment template weight cannot be set unless TrafficRouting is enabled"
WEIGHT_ROUTERS = "Experiment template weight is only available for TrafficRouting with SMI, ALB, Istio and Plugins at this time"
_METADATA = re.compile(r"metadata\.(name|namespace|uid|labels|annotations|(labels|annotations)\['[^']*'\])")


def step_errors(canary: Canary, step: Step, at: str, path: str) -> Iterator[FieldError]:
    """`at` is the strategy's path, `path` the step's."""
    yield from kind_errors(step, path)
    top = canary.max_weight
    if step.set_weight is not None and not 0 <= step.set_weight <= top:
        yield FieldError(f"{path}.setWeight", f"SetWeight needs to be between 0 and {top}", step.set_weight)
    if step.pause is not None and not step.pause.forever and (
            step.pause.length is None or step.pause.length < timedelta(0)):
        yield FieldError(f"{path}.pause.duration", "Duration needs to be greater than 0", step.pause.duration)
    if step.set_canary_scale is not None and canary.traffic is None:
        yield FieldError(f"{at}.trafficRouting", "SetCanaryScale requires TrafficRouting to be set", None, "Required value")
    yield from _header_route(canary, step, path)
    yield from _mirror_route(canary, step, path)
    yield from _managed(canary, step, at, path)
    yield from _experiment(canary, step, path)
    yield from _args(step, path)


def kind_errors(step: Step, path: str) -> Iterator[FieldError]:
    """Exactly one of four kinds, or none of them and one of the rest."""
    exclusive = {"Experiment": step.experiment, "Pause": step.pause, "SetWeight": step.set_weight, "Analysis": step.analysis}
    named = [kind for kind in exclusive.values() if kind is not None]
    others = (step.set_canary_scale, step.set_header_route, step.set_mirror_route, step.plugin)
    if len(named) > 1 or (not named and all(kind is None for kind in others)):
        listed = " ".join(f"step.{name}: {str(kind is not None).lower()}" for name, kind in exclusive.items())
        yield FieldError(path, STEP_KINDS, listed)


def _header_route(canary: Canary, step: Step, path: str) -> Iterator[FieldError]:
    route, routers = step.set_header_route, _routers(canary)
    if route is None:
        return
    if not routers & {"istio", "alb", "apisix", "plugins"}:
        yield FieldError(f"{path}.setHeaderRoute", HEADER_ROUTE, route)
        return
    for i, match in enumerate(route.get("match") or ()):
        yield from _string_match(match.get("headerValue"), f"{path}.setHeaderRoute.match[{i}]", exact_only="alb" in routers)


def _mirror_route(canary: Canary, step: Step, path: str) -> Iterator[FieldError]:
    route = step.set_mirror_route
    if route is None:
        return
    if not _routers(canary) & {"istio", "plugins"}:
        yield FieldError(f"{path}.setMirrorRoute", MIRROR_ROUTE, route)
    for i, match in enumerate(route.get("match") or ()):
        for part in ("method", "path"):
            if match.get(part) is not None:
                yield from _string_match(match[part], f"{path}.setMirrorRoute.match[{i}]", exact_only=False)


def _managed(canary: Canary, step: Step, at: str, path: str) -> Iterator[FieldError]:
    """Routes that a step adds have to be declared, so that they can be ordered and taken away again."""
    if canary.traffic is None:
        return
    for name, route in (("setHeaderRoute", step.set_header_route), ("setMirrorRoute", step.set_mirror_route)):
        if route is None:
            continue
        if canary.traffic.managed_routes is None:
            missing = "Rollout has missing field 'spec.strategy.canary.trafficRouting.managedRoutes'"
            yield FieldError(f"{at}.trafficRouting.managedRoutes", missing, None, "Required value")
        elif route.get("name", "") not in canary.traffic.managed_routes:
            yield FieldError(f"{path}.{name}", UNLISTED_ROUTE, route.get("name", ""))


def _experiment(canary: Canary, step: Step, path: str) -> Iterator[FieldError]:
    for i, template in enumerate((step.experiment or {}).get("templates") or ()):
        if template.get("weight") is None:
            continue
        at = f"{path}.experiment.templates[{i}].weight"
        if canary.traffic is None:
            yield FieldError(at, WEIGHT_UNROUTED, template["weight"])
        elif not _routers(canary) & {"smi", "alb", "istio", "plugins"}:
            yield FieldError(at, WEIGHT_ROUTERS, template["weight"])


def _args(step: Step, path: str) -> Iterator[FieldError]:
    analyses = (step.experiment or {}).get("analyses") or ()
    asked: list[Obj] = [arg for analysis in analyses for arg in analysis.get("args") or ()]
    asked += step.analysis.args if step.analysis else ()
    for source in _field_paths(asked):
        if source.startswith("metadata") and not _METADATA.fullmatch(source):
            yield FieldError(f"{path}.analyses", METADATA_ONLY, asked)


def _field_paths(args: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for arg in args:
        found = dig(arg, "valueFrom", "fieldRef", "fieldPath")
        if found is not None:
            yield str(found)


def _routers(canary: Canary) -> set[str]:
    return set(canary.traffic.providers) if canary.traffic else set()


def _string_match(match: Any, path: str, *, exact_only: bool) -> Iterator[FieldError]:
    kinds = [kind for kind in ("exact", "regex", "prefix") if match and match.get(kind)]
    if match is None:
        yield FieldError(path, NO_MATCH, match)
    elif exact_only:
        if kinds != ["exact"]:
            yield FieldError(path, EXACT_ONLY, match)
    elif len(kinds) > 1:
        yield FieldError(path, MANY_MATCHES, match)
    elif not kinds:
        yield FieldError(path, NO_MATCH, match)
