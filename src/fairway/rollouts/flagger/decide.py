"""The decision about a Canary: one tick, from what is seen and was answered to what happens next.

The order is upstream's (`pkg/controller/scheduler.go` advanceCanary), with two rules of this house on top: a rollback takes the
traffic away before anything else is written, and a primary that never came up takes nothing down with it.

`tick` either decides, or names the question that has to be answered first; asked again with the answer it goes on. The same
answers give the same decision, so that a process that dies in between has lost nothing but the asking.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from fairway.kube.decision import Create
from fairway.kube.objects import spec_of
from fairway.rollouts.fields import SpecError
from fairway.rollouts.flagger import scalers
from fairway.rollouts.flagger.affinity import release_cookie
from fairway.rollouts.flagger.configs import checksums, primary_copy, tracked
from fairway.rollouts.flagger.gates import may_promote, may_start, wants_rollback
from fairway.rollouts.flagger.ingress import leads_to
from fairway.rollouts.flagger.istio import NoRoutes
from fairway.rollouts.flagger.questions import Answers, Question, Unanswered
from fairway.rollouts.flagger.ready import READY, Readiness, readiness
from fairway.rollouts.flagger.routers import CARRIED, Router, router_of
from fairway.rollouts.flagger.seen import Seen, View
from fairway.rollouts.flagger.services import apex_service, route_services
from fairway.rollouts.flagger.shift import advance, promoted, rolled_back, withdraw
from fairway.rollouts.flagger.spec import CanarySpec, Ref, decode_canary, verify
from fairway.rollouts.flagger.status import STARTING, Status, moved, read_status
from fairway.rollouts.flagger.tick import Stop, Tick, Ticked
from fairway.rollouts.flagger.weights import Routes
from fairway.rollouts.flagger.workload import (
    KINDS,
    NoTarget,
    changed,
    configs_changed,
    from_nothing,
    new_primary,
    revision,
    selector_label,
    to_nothing,
)
from fairway.rollouts.rollback.note import withdraw_done

FALLBACK = "istio"
"""Upstream's usual provider."""


def decide(seen: Seen, answers: Answers, now: datetime) -> Ticked | Question:
    """One tick, or what has to be asked before it."""
    status = read_status(seen.canary)
    try:
        spec = with_ingress(decode_canary(seen.canary), seen)
    except SpecError as mistake:
        named = seen.canary["metadata"]
        spec = CanarySpec(str(named.get("name")), str(named.get("namespace")), Ref())
        tick = Tick(spec, answers, status)
        tick.warn("Invalid", str(mistake))
        return tick.done()
    tick = Tick(spec, answers, status)
    try:
        _run(tick, seen, now)
    except Stop:
        pass
    except Unanswered as needed:
        return needed.question
    except (NoTarget, NoRoutes, scalers.NoScaler) as error:
        tick.warn("Invalid", str(error))
    return tick.done()


def _run(tick: Tick, seen: Seen, now: datetime) -> None:
    spec = tick.spec
    if spec.suspend:
        tick.say("Suspended", "skipping canary run as object is suspended")
        raise Stop
    view, router = _look(tick, seen, now)
    if spec.target.kind in ("Deployment", "DaemonSet"):
        tick.act([withdraw_done(KINDS[spec.target.kind], view.target)])
    starting = tick.status.phase in STARTING
    _prepare(tick, view, router)
    if starting or not _should_advance(tick, view):
        return
    if not spec.skips_analysis:
        _require(tick, view, router, _primary_ready(view))
    routes = router.read(view)
    if tick.status.phase in ("", "Initialized", "Succeeded", "Failed", "Waiting"):
        _start(tick, view)
        return
    if tick.status.phase in ("Progressing", "WaitingPromotion") and _revision_changed(tick, view):
        _start_again(tick, view, router)
        return
    ready = readiness(view.target, spec, spec.checks.canary_ready, tick.status.moved, now)
    if ready.waits:
        kind = spec.target.kind.lower()
        ready = replace(ready, waits=f"canary {kind} {spec.target.name}.{spec.namespace} not ready: {ready.waits}")
    _require(tick, view, router, ready)
    if spec.skips_analysis:
        promoted(tick, view, router, skipped=True)
    elif tick.status.phase in ("Progressing", "WaitingPromotion") and wants_rollback(tick):
        tick.warn("RollingBack", f"Rolling back {spec.name}.{spec.namespace} manual webhook invoked")
        tick.tell("Rolling back manual webhook invoked", "warn")
        rolled_back(tick, view, router)
    elif tick.status.phase == "Promoting":
        tick.act(scalers.primary_scaler(spec, seen.scalers, view.owner, init=False))
        withdraw(tick, view, router, routes, _provider(spec, seen))
    elif tick.status.phase == "Finalising":
        promoted(tick, view, router, skipped=False)
    elif tick.status.failed_checks >= spec.checks.threshold:
        rolled_back(tick, view, router)
    else:
        advance(tick, view, router, routes, _provider(spec, seen), lambda: may_promote(tick, view))


def _look(tick: Tick, seen: Seen, now: datetime) -> tuple[View, Router]:
    spec = tick.spec
    refused = verify(spec, cross_namespace=seen.cross_namespace)
    if refused:
        tick.stop("Invalid", refused)
    provider = _provider(spec, seen)
    router = router_of(provider)
    if router is None:
        tick.stop("ProviderNotCarried", f"provider {provider} is not carried here; carried are {', '.join(CARRIED)}")
    if spec.target.kind not in KINDS:
        tick.stop("Invalid", f"spec.targetRef.kind: {spec.target.kind!r} is not one of {', '.join(KINDS)}")
    if seen.target is None:
        kind = spec.target.kind.lower()
        tick.stop("TargetMissing", f'{kind} {spec.target.name}.{spec.namespace} get query error: {kind}s.apps '
                  f'"{spec.target.name}" not found')
    label, value = ("", "") if spec.target.kind == "Service" else selector_label(seen.target, spec)
    return View(seen, spec, seen.target, label, value, now), router


def _provider(spec: CanarySpec, seen: Seen) -> str:
    """What the Canary points at says who routes, where it does not say so itself."""
    if spec.provider:
        return spec.provider
    if spec.ingress is not None:
        return "nginx"
    return "gatewayapi" if spec.service.gateway_refs else seen.provider or FALLBACK


def with_ingress(spec: CanarySpec, seen: Seen) -> CanarySpec:
    """A Canary that names no provider where none is the usual one: an Ingress that leads to its Service is meant."""
    if seen.provider or spec.provider or spec.ingress is not None or spec.service.gateway_refs:
        return spec
    found = sorted(name for (kind, name), obj in seen.routes.items() if kind == "Ingress" and leads_to(obj, spec.apex))
    return replace(spec, ingress=Ref(found[0], "Ingress")) if found else spec


# --- before anything may move -----------------------------------------------------------------------------------------


def _prepare(tick: Tick, view: View, router: Router) -> None:
    """Services, the primary and its autoscaler, and routes, as they have to be; the first time all of it in this order."""
    spec, seen = tick.spec, view.seen
    starting = tick.status.phase in STARTING
    if starting and tick.status.phase == "":
        tick.move(view, "Initializing")
    if view.label:
        tick.act(route_services(spec, view.target, view.label, view.value, seen.services, seen.canary, view.owner))
    if seen.primary is None:
        configs = tracked(view.target, seen.configs) if view.label else {}
        tick.act(Create(primary_copy(config, obj, view.owner)) for config, obj in configs.items())
        tick.act([Create(new_primary(spec, view.target, configs, view.owner))])
    if starting and not spec.skips_analysis:
        ready = _primary_ready(view)
        if ready.waits:
            tick.stop("NotReady", ready.waits)  # and nothing else is touched: the target still serves
    tick.act(scalers.primary_scaler(spec, seen.scalers, view.owner, init=True))
    if view.label:
        aside = {view.label: view.value}
        there = seen.services.get(spec.apex)
        at_canary = not starting and there is not None and spec_of(there).get("selector") == aside
        tick.act(() if at_canary else apex_service(spec, view.target, view.label, view.value, seen.services, seen.canary,
                                                   view.owner))
    if not starting:
        tick.route(view, router, router.read(view)) if _provider(spec, seen) != "kubernetes" else None
        return
    tick.route(view, router, Routes())  # before the target goes: where there is no route, it stays
    tick.act(scalers.pause(spec, seen.scalers))
    tick.act([to_nothing(spec, view.target)])
    tick.status = _synced(tick.status, view)
    tick.move(view, "Initialized")
    tick.say("Initialized", f"Initialization done! {spec.name}.{spec.namespace}")
    tick.tell(f"New {spec.target.kind} detected, initialization completed.", "info", facts=True)


def _primary_ready(view: View) -> Readiness:
    spec, primary = view.spec, view.seen.primary
    if primary is None:
        if view.target["kind"] == "Service":
            return READY
        return Readiness(f"{spec.primary}.{spec.namespace} not ready: it has just been created")
    found = readiness(primary, spec, spec.checks.primary_ready, None, view.now)
    if found.waits:
        return replace(found, waits=f"{spec.primary}.{spec.namespace} not ready: {found.waits}")
    if primary["kind"] == "Deployment" and spec_of(primary).get("replicas") == 0:
        return Readiness(f"halt {spec.name}.{spec.namespace} advancement: primary deployment is scaled to zero")
    return READY


def _require(tick: Tick, view: View, router: Router, ready: Readiness) -> None:
    if not ready.waits:
        return
    tick.warn("NotReady", ready.waits)
    if ready.hopeless:
        tick.warn("RollingBack", f"Rolling back {tick.spec.name}.{tick.spec.namespace} progress deadline exceeded "
                  f"{ready.waits}")
        tick.tell(f"Progress deadline exceeded {ready.waits}", "error")
        rolled_back(tick, view, router)
    raise Stop


# --- a new version ----------------------------------------------------------------------------------------------------


def _synced(status: Status, view: View) -> Status:
    """The version that is looked at from now on."""
    now = checksums(tracked(view.target, view.seen.configs)) if view.label else {}
    return replace(status, applied=revision(view.target), tracked=now or None)


def _revision_changed(tick: Tick, view: View) -> bool:
    now = checksums(tracked(view.target, view.seen.configs)) if view.label else {}
    return changed(tick.status, view.target) or configs_changed(tick.status, now)


def _should_advance(tick: Tick, view: View) -> bool:
    if tick.status.phase not in ("Initialized", "Succeeded", "Failed"):
        return True
    if _revision_changed(tick, view):
        return True
    if tick.status.phase == "Failed":  # so that the refused version counts as new after another one stood here
        tick.status = replace(tick.status, applied=revision(view.target))
    return False


def _start(tick: Tick, view: View) -> None:
    """A new version is seen: asked for approval, scaled up. Checks begin with the next tick."""
    spec = tick.spec
    waited = tick.status.phase == "Waiting"
    tick.status = replace(_synced(tick.status, view), weight=0, failed_checks=0, iterations=0,
                          cookie=release_cookie(spec.checks, revision(view.target)))
    if not may_start(tick, view, waited=waited):
        return
    tick.move(view, "Progressing")
    tick.say("NewRevision", f"New revision detected! Scaling up {spec.target.name}.{spec.namespace}")
    tick.tell("New revision detected, progressing canary analysis.", "info", facts=True)
    tick.act(scalers.resume(spec, view.seen.scalers))
    tick.act([from_nothing(spec, view.target, scalers.least_replicas(spec, view.seen.scalers))])


def _start_again(tick: Tick, view: View, router: Router) -> None:
    """The version under way was replaced by another: nothing that was learnt counts for it."""
    spec = tick.spec
    tick.route(view, router, Routes())
    tick.status = replace(_synced(tick.status, view), weight=0, failed_checks=0, iterations=0,
                          cookie=release_cookie(spec.checks, revision(view.target)))
    tick.status = moved(replace(tick.status, phase="Progressing"), view.now, spec.target.kind)
    tick.say("NewRevision", f"New revision detected! Restarting analysis for {spec.target.name}.{spec.namespace}")
