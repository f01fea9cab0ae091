"""How many replicas the canary and the stable ReplicaSet should have now.

Without a traffic router the replica counts *are* the weights: they are moved in small amounts, so that there are never more
pods than replicas + maxSurge and never fewer available than replicas - maxUnavailable. With one, stable stays whole (or
follows its weight, with dynamicStableScale) and the canary gets what its weight needs.

Rounding is part of the contract. Source: argo-rollouts `utils/replicaset/canary.go`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fairway.rollouts.replicasets import ReplicaSet, asked_for, available_in
from fairway.rollouts.spec import Canary, RolloutSpec
from fairway.rollouts.status import Status, Weights
from fairway.rollouts.steps import scale_asked, weight_asked


@dataclass(frozen=True, slots=True)
class Counts:
    canary: int
    stable: int


def share_of(value: int | str, total: int, *, round_up: bool) -> int:
    """A number, or a percentage of `total`; a string of digits alone is a percentage too, as upstream reads it."""
    if isinstance(value, int):
        return value
    share = int(value.removesuffix("%")) * total / 100
    return math.ceil(share) if round_up else math.floor(share)


def max_surge(spec: RolloutSpec, canary: Canary) -> int:
    if spec.blue_green is not None:
        return 0
    return share_of(canary.max_surge, spec.replicas, round_up=True)


def max_unavailable(spec: RolloutSpec, canary: Canary) -> int:
    """Never 0 together with a surge of 0 (nothing could move), never more than there are replicas; none in blue-green."""
    if spec.blue_green is not None:
        return 0
    unavailable = share_of(canary.max_unavailable, spec.replicas, round_up=False)
    if unavailable == 0 and max_surge(spec, canary) == 0:
        unavailable = 1
    return min(unavailable, spec.replicas)


def has_own_stable(new: ReplicaSet | None, stable: ReplicaSet | None) -> bool:
    """Whether there is a stable ReplicaSet besides the new one."""
    return stable is not None and (new is None or new.name != stable.name)


def replicas_or_weight(canary: Canary, status: Status) -> tuple[int | None, int]:
    """A fixed number of canary replicas, or the weight that they should carry."""
    if status.promote_full or not status.stable_hash or status.promoted:
        return None, canary.max_weight
    scale = scale_asked(canary, status)
    if scale is not None and scale.replicas is not None:
        return scale.replicas, 0
    if scale is not None and scale.weight is not None:
        return None, scale.weight
    return None, weight_asked(canary, status)


# --- without a traffic router -------------------------------------------------------------------------------------


def basic_counts(spec: RolloutSpec, canary: Canary, status: Status, new: ReplicaSet | None, stable: ReplicaSet | None,
                 older: Sequence[ReplicaSet]) -> Counts:
    """The next step towards the wished-for counts within maxSurge and maxUnavailable."""
    _, weight = replicas_or_weight(canary, status)
    goal = approximate(spec.replicas, weight, canary.max_weight, max_surge(spec, canary))
    own_stable = stable if has_own_stable(new, stable) else None
    if own_stable is None:
        goal = Counts(spec.replicas, 0)
    ceiling = spec.replicas + max_surge(spec, canary)
    floor = spec.replicas - max_unavailable(spec, canary)
    counts = _scaled_up(goal, new, own_stable, ceiling - asked_for((*older, new, own_stable)))
    if asked_for(older) > 0:
        return counts  # drain older revisions first
    growing = new is None or goal.canary >= new.replicas
    spare = _drainable(new, ignore_availability=not growing) + _drainable(stable, ignore_availability=growing) - floor
    if spare <= 0:
        return counts
    if not growing:
        drained = _scaled_down(new, goal.canary, spare, counts.canary)
        return Counts(*_within(new, stable, drained, counts.stable, ceiling, floor))
    if own_stable is not None:
        drained = _scaled_down(own_stable, goal.stable, spare, counts.stable)
        at_stable, at_canary = _within(own_stable, new, drained, counts.canary, ceiling, floor)
        return Counts(at_canary, at_stable)
    return counts


def approximate(replicas: int, weight: int, max_weight: int, surge: int) -> Counts:
    """The counts whose ratio comes nearest to `weight`; a tie goes to the larger canary.

    With a surge one pod more may be used. Between 0 and everything neither side gets 0, unless a single pod leaves no choice.
    """
    if replicas == 0:
        return Counts(0, 0)
    up, down = math.ceil(replicas * weight / max_weight), math.floor(replicas * weight / max_weight)
    zero_allowed = weight in (0, max_weight) or (replicas == 1 and surge == 0)
    options: list[tuple[int, int]] = []
    if up < replicas or zero_allowed:
        options.append((up, replicas))
    if not _tied(weight, max_weight, replicas) and (down != 0 or zero_allowed):
        options.append((down, replicas))
    if surge > 0:
        options.append((up, replicas + 1))
        if not _tied(weight, max_weight, replicas + 1) and (down != 0 or zero_allowed):
            options.append((down, replicas + 1))
    if not options:
        return Counts(0, replicas)
    pods, total = min(options, key=lambda option: abs(option[0] * max_weight / option[1] - weight))
    return Counts(pods, total - pods)


def _tied(weight: int, max_weight: int, total: int) -> bool:
    """Whether rounding up and down are equally far from the weight."""
    return (2 * total * weight) % (2 * max_weight) == max_weight


def _scaled_up(goal: Counts, new: ReplicaSet | None, stable: ReplicaSet | None, room: int) -> Counts:
    """Stable first, then the canary, as far as there is room."""
    at_stable = stable.replicas if stable else 0
    at_canary = new.replicas if new else 0
    if stable is not None and at_stable < goal.stable and room > 0:
        more = min(room, goal.stable - at_stable)
        at_stable, room = at_stable + more, room - more
    if new is not None and at_canary < goal.canary and room > 0:
        at_canary += min(room, goal.canary - at_canary)
    return Counts(at_canary, at_stable)


def _drainable(rs: ReplicaSet | None, *, ignore_availability: bool) -> int:
    """Pods of `rs` that count when it is asked how many may go. What is being scaled down already does not count twice."""
    if rs is None:
        return 0
    if rs.replicas < rs.available or ignore_availability:
        return rs.replicas
    return rs.available


def _scaled_down(rs: ReplicaSet | None, goal: int, spare: int, now: int) -> int:
    return max(goal, rs.replicas - spare) if rs is not None and rs.replicas > goal else now


def _within(drained: ReplicaSet | None, other: ReplicaSet | None, at_drained: int, at_other: int, ceiling: int,
            floor: int) -> tuple[int, int]:
    """Both counts again within the ceiling, without taking availability away from below the floor."""
    over = max(0, at_other + at_drained - ceiling)
    available = min(drained.available, at_drained) if drained else 0
    if other is not None:
        at_other -= over
        available += min(other.available, at_other)
        lost = max(0, other.available - at_other)
        at_other += min(lost, max(0, floor - available))
        at_drained -= max(0, at_other + at_drained - ceiling)
    return at_drained, at_other


# --- with a traffic router ----------------------------------------------------------------------------------------


def weight_to_replicas(replicas: int, weight: int, max_weight: int) -> int:
    return math.ceil(weight * replicas / max_weight)


def routed_counts(spec: RolloutSpec, canary: Canary, status: Status, weights: Weights | None,
                  stable: ReplicaSet | None = None) -> Counts:
    """`weights` is the traffic as it is now; with dynamicStableScale neither side shrinks below what it serves.

    After an abort stable then grows by the steps that the update had taken, one after the other, in reverse.
    """
    fixed, weight = replicas_or_weight(canary, status)
    if status.abort and canary.dynamic_stable_scale and stable is not None and not status.promoted:
        weight = step_below(spec, canary, stable)
    if fixed is not None:
        at_canary = fixed
    else:
        at_canary = _at_least_min(spec, canary, weight_to_replicas(spec.replicas, weight, canary.max_weight))
    if not canary.dynamic_stable_scale:
        return Counts(at_canary, spec.replicas)
    at_stable = weight_to_replicas(spec.replicas, canary.max_weight - weight, canary.max_weight)
    if weights is not None:
        at_stable = max(at_stable, weight_to_replicas(spec.replicas, weights.stable.weight, canary.max_weight))
        if status.abort:
            at_canary = max(at_canary, weight_to_replicas(spec.replicas, weights.canary.weight, canary.max_weight))
    return Counts(_at_least_min(spec, canary, at_canary), _at_least_min(spec, canary, at_stable))


def step_below(spec: RolloutSpec, canary: Canary, stable: ReplicaSet) -> int:
    """The largest setWeight below what stable's available pods leave to the canary."""
    carried = canary.max_weight * stable.available // max(spec.replicas, 1)
    below = [step.set_weight for step in canary.steps if step.set_weight is not None]
    return max((weight for weight in below if weight < canary.max_weight - carried), default=0)


def _at_least_min(spec: RolloutSpec, canary: Canary, count: int) -> int:
    """minPodsPerReplicaSet is a lower bound for what is not zero, up to the number of replicas."""
    if count == 0 or canary.min_pods_per_replica_set is None or canary.traffic is None:
        return count
    return max(count, min(canary.min_pods_per_replica_set, spec.replicas))


# --- both ---------------------------------------------------------------------------------------------------------


def desired_counts(spec: RolloutSpec, canary: Canary, status: Status, new: ReplicaSet | None, stable: ReplicaSet | None,
                   older: Sequence[ReplicaSet], weights: Weights | None) -> Counts:
    if canary.traffic is None:
        return basic_counts(spec, canary, status, new, stable, older)
    return routed_counts(spec, canary, status, weights, stable)


def at_desired_counts(spec: RolloutSpec, canary: Canary, status: Status, new: ReplicaSet | None,
                      stable: ReplicaSet | None, older: Iterable[ReplicaSet], weights: Weights | None) -> bool:
    """Whether the canary is available, and stable has the size, that the current step asks for."""
    older = tuple(older)
    goal = desired_counts(spec, canary, status, new, stable, older, weights)
    if new is None or new.replicas != goal.canary or new.available < _enough(canary, goal.canary):
        return False
    if new.available > goal.canary:
        return False
    follows_weight = canary.traffic is not None and canary.dynamic_stable_scale
    if not follows_weight and (stable is None or stable.replicas != goal.stable or stable.created != goal.stable):
        return False
    return canary.traffic is not None or available_in(older) == 0


def _enough(canary: Canary, goal: int) -> int:
    """Available pods that count as "all": fewer with replicaProgressThreshold."""
    threshold = canary.threshold
    if threshold is None:
        return goal
    if threshold.kind == "Percent":
        return min(goal, math.ceil(goal * threshold.value / 100))
    return min(goal, threshold.value)
