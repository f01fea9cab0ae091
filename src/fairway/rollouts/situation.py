"""In which situation a Rollout is. One table; the first row that holds is the answer.

Everything else (weights, replicas, analysis, steps) is decided per situation, so this is the state machine: transitions
happen because the facts in the second column change, never by being told.

| situation | holds when                                         | canary traffic      | what ends it                         |
|-----------|----------------------------------------------------|---------------------|--------------------------------------|
| CHANGED   | template or steps are not those of the status      | as it is            | the status says step 0               |
| SCALED    | spec.replicas changed since a ReplicaSet was sized | as it is            | every ReplicaSet has its new size    |
| INITIAL   | nothing was ever promoted                          | none                | at once: there is nothing to protect |
| SETTLED   | the wished-for template is the stable one          | none                | a new template                       |
| PROMOTING | promoteFull, or going back within the window       | as it is            | the new ReplicaSet is available      |
| ABORTED   | status.abort                                       | none, before all    | retry, or a new template             |
| STEPPING  | steps remain                                       | the last setWeight  | the last step is done                |
| FINISHING | no steps remain                                    | everything          | the new ReplicaSet is available      |

A blue-green Rollout has no steps: all of its update is FINISHING, and its active Service is the traffic.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from fairway.rollouts.seen import View


class Situation(StrEnum):
    CHANGED = "Changed"
    SCALED = "Scaled"
    INITIAL = "Initial"
    SETTLED = "Settled"
    PROMOTING = "Promoting"
    ABORTED = "Aborted"
    STEPPING = "Stepping"
    FINISHING = "Finishing"


def changed(view: View) -> bool:
    status = view.status
    return status.current_hash != view.hash or status.step_hash != view.steps_hash


def scaled(view: View) -> bool:
    """A ReplicaSet that runs pods was sized for another number of replicas."""
    return any(rs.replicas > 0 and rs.desired is not None and rs.desired != view.spec.replicas for rs in view.all)


def within_rollback_window(view: View) -> bool:
    """The wished-for ReplicaSet is older than stable, with fewer revisions between them than the window allows."""
    new, stable, window = view.new, view.stable, view.spec.rollback_window
    if new is None or stable is None or window <= 0 or new.created_at is None or stable.created_at is None:
        return False
    born, limit = new.created_at, stable.created_at
    if not born < limit:
        return False
    return sum(1 for rs in view.all if rs.created_at is not None and born < rs.created_at < limit) < window


_TABLE: tuple[tuple[Situation, Callable[[View], bool]], ...] = (
    (Situation.CHANGED, changed),
    (Situation.SCALED, scaled),
    (Situation.INITIAL, lambda view: view.stable is None),
    (Situation.SETTLED, lambda view: view.status.promoted),
    (Situation.PROMOTING, lambda view: view.status.promote_full or within_rollback_window(view)),
    (Situation.ABORTED, lambda view: view.status.abort),
    (Situation.STEPPING, lambda view: view.step is not None),
    (Situation.FINISHING, lambda view: True),
)


def situation_of(view: View) -> Situation:
    return next(situation for situation, holds in _TABLE if holds(view))
