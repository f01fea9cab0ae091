"""Everything that one tick looks at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fairway.kube.objects import Key, Obj, owner_reference
from fairway.rollouts.flagger.configs import Configs
from fairway.rollouts.flagger.spec import CanarySpec


@dataclass(frozen=True, slots=True)
class Seen:
    """Objects of the Canary's namespace by name. `routes`: VirtualServices, DestinationRules, HTTPRoutes and Ingresses by
    (kind, name). `templates`: MetricTemplates of any namespace. `provider`: who routes where the Canary does not say; "" is
    whoever leads to its Service now.

    `own_metrics`: built-in checks ask this platform's data plane; else the series that the provider's own proxy exports.
    `verify_weights`: a canary Ingress says which weight is in force."""

    canary: Obj
    target: Obj | None = None
    primary: Obj | None = None
    services: Mapping[str, Obj] = field(default_factory=dict)
    configs: Configs = field(default_factory=dict)
    scalers: Mapping[str, Obj] = field(default_factory=dict)
    routes: Mapping[tuple[str, str], Obj] = field(default_factory=dict)
    templates: Mapping[Key, Obj] = field(default_factory=dict)
    provider: str = ""
    own_metrics: bool = False
    verify_weights: bool = False
    cross_namespace: bool = True


@dataclass(frozen=True, slots=True)
class View:
    """`Seen`, with what the target says about itself. `label`, `value`: what tells target and primary apart ("" for a
    Service, which has no pods)."""

    seen: Seen
    spec: CanarySpec
    target: Obj
    label: str
    value: str
    now: datetime

    @property
    def owner(self) -> Obj:
        return owner_reference(self.seen.canary)
