"""Which setting makes a Canary slow to stop, or blind: read from the files alone.

Failed checks add up over the whole analysis and the weight waits meanwhile, so every Canary stops a version that always fails:
`threshold` ticks after the first check, and one more, because the count is looked at in the next tick.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from fairway.rehearse.explain import NICE, Finding, written
from fairway.rehearse.subject import Subject
from fairway.rollouts.fields import SpecError
from fairway.rollouts.flagger.builtin_metrics import DURATION, SUCCESS
from fairway.rollouts.flagger.spec import SHORTEST_INTERVAL, Analysis, decode_canary
from fairway.rollouts.flagger.weights import Routes, advanced, highest, next_step

MOST_STEPS = 1000


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


def _length(checks: Analysis) -> timedelta:
    """From the first request to the promotion, all checks passed."""
    if checks.iterations:
        return (checks.iterations + 1) * checks.interval
    routes, steps = Routes(), 0
    while routes.canary < highest(checks) and steps < MOST_STEPS:
        routes, steps = advanced(checks, routes), steps + 1
    return steps * checks.interval
