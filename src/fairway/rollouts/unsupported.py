"""What upstream accepts and Fairway does not run, by name, with what to use instead. Asked only of a spec without mistakes."""

from __future__ import annotations

from collections.abc import Iterator

from fairway.rollouts.fields import FieldError
from fairway.rollouts.spec import Canary, RolloutSpec
from fairway.rollouts.traffic_spec import GATEWAY_API
from fairway.rollouts.workload import KINDS

_MOVES = "use nginx, istio, alb or plugins[argoproj-labs/gatewayAPI]"
_AT = "spec.strategy.canary"


def unsupported(spec: RolloutSpec) -> Iterator[FieldError]:
    ref = spec.workload_ref
    if ref is not None and (ref.api_version, ref.kind) not in KINDS:
        known = ", ".join(kind for _, kind in KINDS)
        yield FieldError("spec.workloadRef.kind", f"Fairway reads a pod template from {known}", ref.kind, "Forbidden")
    if spec.canary is not None:
        yield from _traffic(spec.canary)
        for i, step in enumerate(spec.canary.steps):
            if step.plugin is not None:
                name = str(step.plugin.get("name", ""))
                yield FieldError(f"{_AT}.steps[{i}].plugin", f"Fairway does not run step plugins, this one is {name!r}: "
                                 "use an analysis step with a job metric", None, "Forbidden")


def _traffic(canary: Canary) -> Iterator[FieldError]:
    traffic = canary.traffic
    for name in traffic.providers if traffic else ():
        if name in ("nginx", "istio", "alb"):
            continue
        if name != "plugins":
            yield FieldError(f"{_AT}.trafficRouting.{name}", f"Fairway does not move traffic through {name}: {_MOVES}", None,
                             "Forbidden")
            continue
        for plugin in traffic.providers["plugins"] if traffic else ():
            if plugin != GATEWAY_API:
                yield FieldError(f"{_AT}.trafficRouting.plugins", f"Fairway has no traffic router plugin {plugin!r}: {_MOVES}",
                                 None, "Forbidden")
