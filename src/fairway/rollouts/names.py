"""The names of everything that a Rollout speaks of, read without judging: what the hands have to fetch for a decision, and by
which a change elsewhere finds the Rollouts that it concerns."""

from __future__ import annotations

from dataclasses import dataclass

from fairway.kube.objects import Obj, key_of
from fairway.rollouts.ephemeral import has_role_metadata
from fairway.rollouts.fields import SpecError
from fairway.rollouts.nginx import canary_ingress_name
from fairway.rollouts.spec import RolloutSpec, decode_rollout

Place = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True)
class Names:
    """`pods`: whether its pods themselves matter. `workload`: kind and name of what workloadRef names."""

    namespace: str = ""
    rollout: str = ""
    services: frozenset[str] = frozenset()
    ingresses: tuple[str, ...] = ()
    virtual_services: frozenset[Place] = frozenset()
    destination_rules: frozenset[str] = frozenset()
    http_routes: frozenset[Place] = frozenset()
    workload: tuple[str, str] = ("", "")
    pods: bool = False

    def has_ingress(self, name: str) -> bool:
        """One of the stable Ingresses, or the canary Ingress beside it."""
        return any(name in (stable, canary_ingress_name(self.rollout, stable)) for stable in self.ingresses)


def names_in(rollout: Obj) -> Names:
    """No names of a Rollout that cannot be read: the decision says why."""
    namespace, name = key_of(rollout)
    try:
        spec = decode_rollout(rollout)
    except SpecError:
        return Names(namespace, name)
    traffic = spec.canary.traffic if spec.canary else None
    istio, gateway = (traffic.istio, traffic.gateway) if traffic else (None, None)
    rule = istio.destination_rule if istio else None
    ref = spec.workload_ref
    return Names(
        namespace=namespace,
        rollout=name,
        services=_services(spec),
        ingresses=((*(traffic.nginx.ingresses if traffic.nginx else ()), *(traffic.alb.all if traffic.alb else ()))
                   if traffic else ()),
        virtual_services=frozenset(ref.key(namespace) for ref in istio.services) if istio else frozenset(),
        destination_rules=frozenset({rule.name}) if rule else frozenset(),
        http_routes=frozenset((gateway.namespace or namespace, route) for route in gateway.http_routes)
        if gateway else frozenset(),
        workload=(ref.kind, ref.name) if ref else ("", ""),
        pods=spec.restart_at is not None or has_role_metadata(spec),
    )


def _services(spec: RolloutSpec) -> frozenset[str]:
    canary, green = spec.canary, spec.blue_green
    found: set[str] = set()
    if canary is not None:
        found |= {canary.stable_service, canary.canary_service}
        found |= {canary.ping_pong.ping, canary.ping_pong.pong} if canary.ping_pong else set()
    if green is not None:
        found |= {green.active_service, green.preview_service}
    return frozenset(found - {""})
