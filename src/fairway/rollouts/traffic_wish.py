"""How traffic should be divided now, whoever divides it: one value that every traffic router turns into its own objects."""

from __future__ import annotations

from dataclasses import dataclass

from fairway.kube.objects import Obj
from fairway.rollouts.spec import Canary


@dataclass(frozen=True, slots=True)
class Extra:
    """A Service of a running experiment that gets a share of its own, taken from stable's."""

    service: str
    weight: int
    hash: str = ""


@dataclass(frozen=True, slots=True)
class ManagedRoute:
    """A route that a step adds for a while: requests that match go to the canary, or are copied to it. `spec` as written."""

    name: str
    mirror: bool
    spec: Obj


@dataclass(frozen=True, slots=True)
class Wish:
    """Weights of `total`; what neither the canary nor an experiment gets is stable's. Hashes may be "" (all pods)."""

    canary: int
    total: int
    canary_service: str
    stable_service: str
    canary_hash: str = ""
    stable_hash: str = ""
    extras: tuple[Extra, ...] = ()
    gone: tuple[str, ...] = ()
    """Services of experiments that are over: their shares are taken away."""
    routes: tuple[ManagedRoute, ...] = ()
    """In the order in which they are matched."""

    @property
    def stable(self) -> int:
        return self.total - self.canary - sum(extra.weight for extra in self.extras)


def managed_routes(canary: Canary, index: int | None) -> tuple[ManagedRoute, ...]:
    """The routes that the steps up to `index` have left in place, in the order of `managedRoutes`.

    A later step of the same name replaces the route; one without a match takes it away.
    """
    listed = canary.traffic.managed_routes if canary.traffic else None
    if index is None or not listed:
        return ()
    found: dict[str, ManagedRoute] = {}
    for step in canary.steps[: index + 1]:
        for route, mirror in ((step.set_header_route, False), (step.set_mirror_route, True)):
            if route is None:
                continue
            name = str(route.get("name", ""))
            found.pop(name, None)
            if route.get("match"):
                found[name] = ManagedRoute(name, mirror, route)
    return tuple(found[name] for name in listed if name in found)
