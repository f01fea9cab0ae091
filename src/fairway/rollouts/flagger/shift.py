"""Moving traffic: up by steps or iterations, over to the new primary, back after a failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fairway.kube.api import JsonPatch, MergePatch
from fairway.kube.decision import Action, Change, Create
from fairway.kube.objects import annotations_of, spec_of
from fairway.kube.resources import CANARIES, CONFIG_MAPS, SECRETS
from fairway.rollouts.flagger import ingress, scalers
from fairway.rollouts.flagger.checks import analysed
from fairway.rollouts.flagger.configs import Config, primary_copy, tracked
from fairway.rollouts.flagger.gates import may_increase, prepared
from fairway.rollouts.flagger.questions import After
from fairway.rollouts.flagger.routers import Router
from fairway.rollouts.flagger.seen import View
from fairway.rollouts.flagger.spec import TOTAL, Analysis
from fairway.rollouts.flagger.tick import Tick, call_of
from fairway.rollouts.flagger.weights import Routes, advanced, highest, next_step, withdrawn
from fairway.rollouts.flagger.workload import KINDS, promotion, to_nothing
from fairway.rollouts.rollback.note import ask_to_take_back, images, owned_by_git

FAILED_CHECK = "fairway.dev/failed-check"
"""Annotation of a Canary: what its newest failed check said."""
BLUE_GREEN_WITHOUT_ROUTES = 10
"""Iterations where the provider knows no weights and the Canary names none."""


def advance(tick: Tick, view: View, router: Router, routes: Routes, provider: str, may_promote: Callable[[], bool]) -> None:
    """Check, then one step."""
    analysis = _without_routes(tick, view.spec.checks, provider)
    if provider.partition(":")[0] == "nginx":
        waits = ingress.unconfirmed(view, routes)
        if waits:  # what is not in force cannot be judged
            tick.stop("WeightNotConfirmed", waits)
    first = routes.canary == 0 and tick.status.iterations == 0 and not (analysis.mirror and routes.mirrored)
    if first:
        tick.say("Starting", f"Starting canary analysis for {tick.spec.target.name}.{tick.spec.namespace}")
    if not (prepared(tick) if first else analysed(tick, view, provider)):
        tick.set(view, failed=tick.status.failed_checks + 1)
        tick.act([_remembered(tick, view)])
        return
    if analysis.strategy == "ab-testing":
        _ab_testing(tick, view, router, analysis, may_promote)
    elif analysis.strategy == "blue-green":
        _blue_green(tick, view, router, routes, analysis, provider, may_promote)
    elif next_step(analysis, routes.canary) > 0:
        if not routes.mirrored and tick.status.phase != "WaitingPromotion" and not may_increase(tick):
            return
        if routes.canary < highest(analysis):
            there = advanced(analysis, routes)
            tick.route(view, router, there)
            tick.set(view, weight=there.canary)
            tick.say("Advanced", f"Advance {tick.spec.name}.{tick.spec.namespace} canary weight {there.canary}")
        elif may_promote():
            _copy_to_primary(tick, view)
    else:
        tick.stop("Invalid", "spec.analysis names no stepWeight, stepWeights or iterations: there is no next step")


def _without_routes(tick: Tick, analysis: Analysis, provider: str) -> Analysis:
    if provider != "kubernetes":
        return analysis
    if analysis.match:
        tick.warn("NotSupported", "A/B testing is not supported when using the kubernetes provider")
        analysis = replace(analysis, match=())
    if analysis.iterations < 1:
        tick.warn("NotSupported", "Progressive traffic is not supported when using the kubernetes provider")
        tick.warn("NotSupported", f"Setting canaryAnalysis.iterations: {BLUE_GREEN_WITHOUT_ROUTES}")
        analysis = replace(analysis, iterations=BLUE_GREEN_WITHOUT_ROUTES)
    return analysis


def _ab_testing(tick: Tick, view: View, router: Router, analysis: Analysis, may_promote: Callable[[], bool]) -> None:
    """All that match go to the canary, for so many ticks."""
    if tick.status.iterations < analysis.iterations:
        tick.route(view, router, Routes(0, TOTAL))
        _iterate(tick, view, analysis)
    elif may_promote():
        _copy_to_primary(tick, view)


def _blue_green(tick: Tick, view: View, router: Router, routes: Routes, analysis: Analysis, provider: str,
                may_promote: Callable[[], bool]) -> None:
    """Ticks without users (with `mirror` a copy of them), then one with all, then the promotion."""
    done = tick.status.iterations
    if done < analysis.iterations:
        if provider != "kubernetes" and analysis.mirror and not routes.mirrored:
            tick.route(view, router, Routes(TOTAL, 0, mirrored=True))
        _iterate(tick, view, analysis)
        return
    if not may_promote():
        return
    if done > analysis.iterations:
        _copy_to_primary(tick, view)
        return
    if provider != "kubernetes":
        tick.say("Advanced", "Stop traffic mirroring and route all traffic to canary" if analysis.mirror
                 else "Routing all traffic to canary")
        tick.route(view, router, Routes(0, TOTAL))
    tick.set(view, iterations=done + 1)


def _iterate(tick: Tick, view: View, analysis: Analysis) -> None:
    tick.set(view, iterations=tick.status.iterations + 1)
    tick.say("Advanced", f"Advance {tick.spec.name}.{tick.spec.namespace} canary iteration {tick.status.iterations}/"
             f"{analysis.iterations}")


# --- the new version becomes the primary ------------------------------------------------------------------------------


def _copy_to_primary(tick: Tick, view: View) -> None:
    spec = tick.spec
    tick.say("Promoting", f"Copying {spec.target.name}.{spec.namespace} template spec to {spec.primary}.{spec.namespace}")
    _promote(tick, view)
    tick.move(view, "Promoting")


def _promote(tick: Tick, view: View) -> None:
    primary = view.seen.primary
    if primary is None:
        tick.stop("NotReady", f"{view.spec.primary}.{view.spec.namespace} is gone; it is made again first")
    configs = tracked(view.target, view.seen.configs) if view.label else {}
    for config, obj in configs.items():
        tick.act([_synced(view, config, primary_copy(config, obj, view.owner))])
    tick.act([promotion(view.spec, view.target, primary, configs)])


def _synced(view: View, config: Config, wished: dict[str, object]) -> Action | None:
    name = f"{config.name}-primary"
    there = view.seen.configs.get(Config(config.kind, name))
    if there is None:
        return Create(wished)
    patch = [{"op": "add", "path": f"/{k}", "value": wished[k]} for k in ("data", "binaryData")
             if k in wished and there.get(k) != wished[k]]
    patch += [{"op": "remove", "path": f"/{k}"} for k in ("data", "binaryData") if k not in wished and there.get(k)]
    resource = SECRETS if config.kind == "Secret" else CONFIG_MAPS
    return Change(resource, view.spec.namespace, name, JsonPatch(patch)) if patch else None


def withdraw(tick: Tick, view: View, router: Router, routes: Routes, provider: str) -> None:
    """Users go back to primary, which rolls to the new version meanwhile."""
    if provider == "kubernetes":
        tick.move(view, "Finalising")
        return
    there = withdrawn(view.spec.checks, routes)
    tick.route(view, router, there)
    if view.spec.checks.step_weight_promotion:
        tick.say("Advanced", f"Advance {tick.spec.name}.{tick.spec.namespace} primary weight {there.primary}")
    else:
        tick.say("Advanced", "Routing all traffic to primary")
    if there.canary:
        tick.set(view, weight=there.canary)
    else:
        tick.move(view, "Finalising")


def promoted(tick: Tick, view: View, router: Router, *, skipped: bool) -> None:
    """The end: the target is scaled to nothing. `skipped`: without an analysis, all at once."""
    spec, scaled = tick.spec, view.seen.scalers
    if skipped:
        tick.route(view, router, Routes())
        tick.say("Promoting", f"Copying {spec.target.name}.{spec.namespace} template spec to {spec.primary}.{spec.namespace}")
        _promote(tick, view)
        tick.act(scalers.primary_scaler(spec, scaled, view.owner, init=False))
    tick.act(scalers.pause(spec, scaled))
    tick.act([to_nothing(spec, view.target)])
    tick.move(view, "Succeeded")
    if skipped:
        tick.say("Promoted", f"Promotion completed! Canary analysis was skipped for {spec.target.name}.{spec.namespace}")
        tick.tell("Canary analysis was skipped, promotion finished.", "info")
        return
    _afterwards(tick)
    tick.say("Promoted", f"Promotion completed! Scaling down {spec.target.name}.{spec.namespace}")
    tick.tell("Canary analysis completed successfully, promotion finished.", "info")


def rolled_back(tick: Tick, view: View, router: Router) -> None:
    """Users go back first. A primary that breaks while it is given the new version leaves the canary to serve: it passed."""
    spec = tick.spec
    if tick.status.failed_checks >= spec.checks.threshold:
        tick.warn("RollingBack", f"Rolling back {spec.name}.{spec.namespace} failed checks threshold reached "
                  f"{tick.status.failed_checks}")
        tick.tell(f"Failed checks threshold reached {tick.status.failed_checks}", "error")
    canary_serves = tick.status.phase in ("Promoting", "Finalising")
    tick.route(view, router, Routes(0, TOTAL) if canary_serves else Routes())
    if canary_serves:
        tick.warn("Failed", f"Canary failed! {spec.primary}.{spec.namespace} does not come up; "
                  f"{spec.name}.{spec.namespace} serves all requests")
    else:
        tick.warn("Failed", f"Canary failed! Scaling down {spec.name}.{spec.namespace}")
        tick.act(scalers.pause(spec, view.seen.scalers))
        tick.act([to_nothing(spec, view.target), _for_git(tick, view)])
    tick.move(view, "Failed")
    tick.status = replace(tick.status, weight=TOTAL if canary_serves else 0, failed_checks=0)
    _afterwards(tick)


def _remembered(tick: Tick, view: View) -> Action | None:
    """What the failed check said, for the commit that takes the version back: that is made ticks later."""
    said = next((said.reason.message for said in tick.said if said.kind == "Warning"), "")
    if not said or not owned_by_git(view.target):
        return None
    halted = f"Halt {tick.spec.name}.{tick.spec.namespace} advancement "
    note = {"metadata": {"annotations": {FAILED_CHECK: said.removeprefix(halted)}}}
    return Change(CANARIES, tick.spec.namespace, tick.spec.name, MergePatch(note))


def _for_git(tick: Tick, view: View) -> Action | None:
    """Git still describes the refused version: whoever owns it is asked to name the primary's images again."""
    if view.seen.primary is None or not view.label or not owned_by_git(view.target):
        return None
    bad, good = (images(spec_of(obj).get("template") or {}) for obj in (view.target, view.seen.primary))
    if bad == good:
        return None
    why = next((said.reason.message for said in tick.said if said.kind == "Warning"), "it failed")
    last = annotations_of(view.seen.canary).get(FAILED_CHECK)
    if last and tick.status.failed_checks >= tick.spec.checks.threshold:
        why = f"{why}: {last}"
    return ask_to_take_back(KINDS[view.target["kind"]], view.target, bad, good,
                            evidence=f"Canary {tick.spec.namespace}/{tick.spec.name}: {why}",
                            story=f"Canary {tick.spec.namespace}/{tick.spec.name} refused the version: {why}.")


def _afterwards(tick: Tick) -> None:
    """post-rollout: told of the end, whatever it answers."""
    tick.after += [After(call_of(tick.spec, tick.status, hook, tick.status.phase), hook) for hook in tick.hooks("post-rollout")]
