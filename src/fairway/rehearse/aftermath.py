"""What comes after the promotion, where a RollbackPolicy watches: the rehearsal goes on until the watch is over.

The version goes back as it would where nobody owns the files. Where GitOps owns them, a commit and its sync come in between.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from fairway.kube.cache import Informers
from fairway.kube.objects import Key, Obj, meta_of
from fairway.kube.reconcile import Controller
from fairway.kube.resources import ROLLBACK_POLICIES
from fairway.rehearse.spec import Outcome
from fairway.rehearse.subject import Subject
from fairway.rollouts.fields import SpecError
from fairway.rollouts.rollback.controller import RollbackController
from fairway.rollouts.rollback.spec import Policy, decode_policy
from fairway.rollouts.rollback.status import read_status

if TYPE_CHECKING:
    from fairway.rehearse.world import World

NEW_IMAGE = "-new"
"""At the end of the new version's images: by them a policy tells versions apart."""


class Aftermath:
    """`promoted_at` is when the new version came to serve everybody."""

    def __init__(self, subject: Subject) -> None:
        self._keys = [Key(subject.namespace, str(meta_of(obj)["name"])) for obj in subject.policies]
        self._policies = [policy for obj in subject.policies if (policy := _read(obj)) is not None]
        self.promoted_at: datetime | None = None

    def queries(self) -> list[str]:
        return [criterion.query for policy in self._policies for criterion in policy.criteria]

    def controllers(self, world: World, informers: Informers) -> list[Controller]:
        return [RollbackController(informers, world.clock, world.queries_by(self._conclusion))] if self._keys else []

    def _conclusion(self, text: str, answer: float | Sequence[float]) -> Hashable:
        """All that a policy makes of an answer: how many series, and which criteria are violated."""
        values = [answer] if isinstance(answer, (int, float)) else answer
        criteria = [c for policy in self._policies for c in policy.criteria if c.query == text]
        return tuple((math.isnan(value), *(criterion.violated(value) for criterion in criteria)) for value in values)

    def verdict(self, found: tuple[Outcome, str] | None, world: World) -> tuple[Outcome, str] | None:
        """`found` is the rollout's own. A promotion is the end only where nobody watches."""
        if self.promoted_at is None:
            if not self._keys or found is None or found[0] != "promoted":
                return found
            self.promoted_at = world.clock.now()
        watches = [read_status(policy) for key in self._keys if (policy := world.outside.of(ROLLBACK_POLICIES).get(key))]
        phases = {watch.phase for watch in watches}
        if "RolledBack" in phases:
            evidence = "; ".join(watch.evidence for watch in watches if watch.phase == "RolledBack")
            return ("rolled back", evidence) if world.users.weight == 0 else None
        if phases & {"AwaitingApproval", "Failed"}:
            return "held", "; ".join(f"{watch.phase}: {watch.message}" for watch in watches if watch.phase != "Passed")
        if phases & {"Watching", "Suspect", "RollingBack", "Idle"}:
            return None
        return "promoted", "; ".join(watch.message for watch in watches)


def _read(policy: Obj) -> Policy | None:
    try:
        return decode_policy(policy)
    except SpecError:  # the controller will say what is wrong
        return None
