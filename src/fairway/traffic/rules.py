"""What a VirtualService, an HTTPRoute or an ALB's Ingress asks for, in one form: hosts, and rules with matches and targets.

Every gateway that such an object names is taken to be the one that is served here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fairway.kube.objects import Key
from fairway.traffic.model import UNCHANGED, UNTREATED, HeaderChanges, HeaderMatch, PathKind, QueryMatch, Treatment


@dataclass(frozen=True, slots=True)
class Match:
    path: str = "/"
    kind: PathKind = "prefix"
    headers: tuple[HeaderMatch, ...] = ()
    queries: tuple[QueryMatch, ...] = ()


@dataclass(frozen=True, slots=True)
class Destination:
    """A Service, or those of its pods that have this pod template hash. `port` None: the only port that it has."""

    service: Key
    port: int | str | None
    weight: int
    subset: str = ""
    changes: HeaderChanges = UNCHANGED


@dataclass(frozen=True, slots=True)
class Rule:
    """The first rule with a match takes the request. `rewrite` and `treatment` as the model's routes
    have them; where something else is done `instead` there are no targets."""

    matches: tuple[Match, ...]
    targets: tuple[Destination, ...]
    mirror: Destination | None = None
    mirror_percent: float = 100.0
    rewrite: str = ""
    treatment: Treatment = UNTREATED


RuleKind = Literal["VirtualService", "HTTPRoute", "Ingress"]


@dataclass(frozen=True, slots=True)
class RuleSet:
    """`ordered`: the rules apply in the order in which they stand; else the most specific match comes first."""

    kind: RuleKind
    key: Key
    generation: str
    hosts: tuple[str, ...]
    rules: tuple[Rule, ...]
    ordered: bool
    services: tuple[Key, ...] = ()
    """Hosts that are Services: whoever calls them from inside is divided too."""
