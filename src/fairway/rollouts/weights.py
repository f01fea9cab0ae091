"""How much traffic the canary should get now: the priority table, first row that holds.

| # | when                                              | canary weight                                              |
|---|---------------------------------------------------|------------------------------------------------------------|
| 1 | aborted or rolled back, dynamicStableScale        | what stable cannot carry yet, never more than it has       |
| 2 | settled, initial, aborted                         | 0                                                          |
| 3 | no canary pod is available                        | 0                                                          |
| 4 | full promotion                                    | as it is (dynamic: what the canary can carry)              |
| 5 | replicas are not yet what the step asks for       | the setWeight before this step                             |
| 6 | steps remain                                      | the setWeight at or before this step                       |
| 7 | all steps are done                                | everything                                                 |

Source: argo-rollouts `rollout/trafficrouting.go`.
"""

from __future__ import annotations

from fairway.rollouts.replicas import at_desired_counts
from fairway.rollouts.seen import View
from fairway.rollouts.situation import Situation
from fairway.rollouts.steps import weight_asked, weight_before


def desired_weight(view: View, situation: Situation) -> int:
    canary, status, top = view.canary, view.status, view.canary.max_weight
    if canary.dynamic_stable_scale and (situation is Situation.ABORTED or rolling_back_dynamically(view, situation)):
        return left_for_canary(view)
    if situation in (Situation.SETTLED, Situation.INITIAL, Situation.ABORTED):
        return 0
    if view.new is None or view.new.available == 0:
        return 0
    if situation is Situation.PROMOTING:
        if canary.dynamic_stable_scale:
            return min(top, top * view.new.available // max(view.spec.replicas, 1))
        return status.weights.canary.weight if status.weights else 0
    index = view.index
    if index is None:
        return top
    if not at_desired_counts(view.spec, canary, status, view.new, view.stable, view.others, None):
        return weight_before(canary, index)
    return weight_asked(canary, status)


def left_for_canary(view: View) -> int:
    """What stable's available pods cannot carry; never more than the canary has now, however stable flaps."""
    top = view.canary.max_weight
    carried = view.stable.available if view.stable else 0
    left = max(0, top - top * carried // max(view.spec.replicas, 1))
    return min(left, view.status.weights.canary.weight) if view.status.weights else left


def rolling_back_dynamically(view: View, situation: Situation) -> bool:
    """Back on the stable template while part of the traffic is still on the version that was given up, and stable is short."""
    weights, new = view.status.weights, view.new
    if situation is not Situation.SETTLED or view.canary.traffic is None or not view.canary.dynamic_stable_scale:
        return False
    if weights is None or new is None or not weights.canary.hash or weights.canary.hash == new.hash:
        return False
    return new.available < view.spec.replicas


def stable_is_short(view: View, weight: int) -> bool:
    """Whether stable cannot carry the rest of the traffic; possible only where its size follows its weight."""
    if not view.canary.dynamic_stable_scale or view.stable is None:
        return False
    needed = (view.canary.max_weight - weight) * view.spec.replicas // view.canary.max_weight
    return view.stable.available < needed
