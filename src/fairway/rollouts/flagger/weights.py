"""How the weight goes up: `stepWeight` to `maxWeight`, or the list `stepWeights`, and back by `stepWeightPromotion`."""

from __future__ import annotations

from dataclasses import dataclass

from fairway.rollouts.flagger.spec import TOTAL, Analysis


@dataclass(frozen=True, slots=True)
class Routes:
    """Where requests go, in percent. `mirrored`: primary answers, the canary gets a copy."""

    primary: int = TOTAL
    canary: int = 0
    mirrored: bool = False


def highest(analysis: Analysis) -> int:
    """The weight at which the canary is promoted."""
    if analysis.step_weights:
        return min(TOTAL, analysis.step_weights[-1])
    return analysis.max_weight or TOTAL


def next_step(analysis: Analysis, weight: int) -> int:
    """What is added to `weight`; 0 where the Canary names no steps at all."""
    if analysis.step_weight or not analysis.step_weights:
        return analysis.step_weight
    left = TOTAL - weight
    if left == 0:
        return 1  # there: anything above 0 lets it be promoted
    if weight == 0:
        return min(left, analysis.step_weights[0])
    for here, there in zip(analysis.step_weights, analysis.step_weights[1:], strict=False):
        if here == weight:
            return min(left, there - weight)
    return left


def advanced(analysis: Analysis, now: Routes) -> Routes:
    """One step up. With `mirror` the first step copies requests instead."""
    if analysis.mirror and now.canary == 0 and not now.mirrored:
        return Routes(TOTAL, 0, mirrored=True)
    step = next_step(analysis, now.canary)
    if analysis.mirror and now.canary == 0:
        return Routes(TOTAL - step, step)
    return Routes(max(now.primary - step, 0), min(now.canary + step, TOTAL))


def withdrawn(analysis: Analysis, now: Routes) -> Routes:
    """One step back to primary, which has the new version by now."""
    step = analysis.step_weight_promotion
    if step == 0:
        return Routes()
    return Routes(min(now.primary + step, TOTAL), max(now.canary - step, 0))
