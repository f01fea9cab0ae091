"""Which setting makes a Canary slow to stop, or blind: read from the files alone.

Failed checks add up over the whole analysis and the weight waits meanwhile, so every Canary stops a version that always fails:
`threshold` ticks after the first check, and one more, because the count is looked at in the next tick.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from fairway.rehearse.explain import NICE, Finding, written
from fairway.rehearse.subject import Subject
from fairway.rollouts.fields import SpecError
from fairway.rollouts.flagger.builtin_metrics import DURATION, SUCCESS
from fairway.rollouts.flagger.spec import SHORTEST_INTERVAL, Analysis, Metric, decode_canary
from fairway.rollouts.flagger.weights import Routes, advanced, highest, next_step

MOST_STEPS = 1000
TOLERABLE = (0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)


def canary_findings(subject: Subject, *, stopped: bool) -> Iterable[Finding]:
    """`stopped`: a bad version was stopped in the rehearsal, so that a quicker setting can be tried."""
    try:
        spec = decode_canary(subject.rollout)
    except SpecError:
        return
    if spec.skips_analysis:
        yield Finding("NoAnalysis", "skipAnalysis: true" if spec.skip else "no analysis",
                      "every version that becomes ready is promoted: nothing can stop it")
        return
    checks = spec.checks
    for metric in checks.metrics:
        if metric.name not in (SUCCESS, DURATION) and not metric.query and metric.template is None:
            yield Finding("NeverMeasured", f"metrics: {metric.name}", f"{metric.name} is no built-in check and names neither "
                          "templateRef nor query: it is never measured")
    if not checks.metrics and not any(hook.type == "rollout" for hook in checks.webhooks):
        yield Finding("NoAnalysis", "no metrics", "nothing is measured: only pods that do not become ready stop a version")
        return
    if checks.strategy == "canary" and next_step(checks, 0) == 0:
        yield Finding("NoSteps", "no stepWeight, stepWeights or iterations", "the weight never rises: no version is promoted")
        return
    ticks = checks.threshold + 1
    setting = f"threshold: {checks.threshold} × interval: {written(checks.interval)}"
    better = next((nice for nice in NICE if nice * 2 <= checks.interval and nice >= SHORTEST_INTERVAL), None)
    if stopped and better is not None:
        yield Finding("Slow", setting, f"a version that always fails is stopped {written(ticks * checks.interval)} after its "
                      f"first request (threshold + 1 ticks); the whole analysis takes {written(_length(checks))}", None,
                      {"interval": written(better)})


@dataclass(frozen=True, slots=True)
class Promoted:
    """A bad version that was promoted all the same: shares of requests that failed, and when.

    Failed checks hold the weight, so every check that was made has passed.
    """

    stable: float
    worst: float
    turned_bad: timedelta
    promoted: timedelta


def why_promoted(subject: Subject, what: Promoted) -> Iterable[Finding]:
    """The setting that let it pass."""
    try:
        checks = decode_canary(subject.rollout).checks
    except SpecError:
        return
    if what.turned_bad >= what.promoted:
        yield Finding("EndsTooEarly", f"{_road(checks)} × interval: {written(checks.interval)}", "is over after "
                      f"{written(_length(checks))}: the version turned bad {written(what.turned_bad)} after it was applied, "
                      "when everybody used it already. A RollbackPolicy watches on")
        return
    found = next((metric for metric in checks.metrics if metric.name == SUCCESS), None)
    if found is None:
        return
    tolerated = 1 - _least(found) / 100
    if what.worst <= tolerated:
        better = next((share for share in TOLERABLE if 2 * what.stable < share <= what.worst / 2), None)
        changes = {"min": round(100 * (1 - better), 3)} if better is not None else {}
        says = f"lets a version pass that fails up to {tolerated:.2%} of its requests; this one failed {what.worst:.2%} of them"
        yield Finding("Tolerates", f"thresholdRange: {{min: {_least(found):g}}}", says, changes=changes, where=SUCCESS)


def _least(metric: Metric) -> float:
    """The success rate that is asked for, in per cent."""
    return (metric.range.min or 0.0) if metric.range is not None else metric.threshold


def _road(checks: Analysis) -> str:
    if checks.iterations:
        return f"iterations: {checks.iterations}"
    if checks.step_weights:
        return f"stepWeights: {list(checks.step_weights)}"
    return f"stepWeight: {checks.step_weight} up to {highest(checks)}"


def _length(checks: Analysis) -> timedelta:
    """From the first request to the promotion, all checks passed."""
    if checks.iterations:
        return (checks.iterations + 1) * checks.interval
    routes, steps = Routes(), 0
    while routes.canary < highest(checks) and steps < MOST_STEPS:
        routes, steps = advanced(checks, routes), steps + 1
    return steps * checks.interval
