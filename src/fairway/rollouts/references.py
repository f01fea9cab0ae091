"""What a Rollout refers to must be there and fit: Services, Ingresses, AnalysisTemplates.

Source: argo-rollouts `pkg/apis/rollouts/validation/validation_references.go`.
"""

from __future__ import annotations

from collections.abc import Iterator

from fairway.kube.objects import annotations_of, dig, spec_of
from fairway.rollouts.analysis_templates import TemplateError, gather_templates, run_spec
from fairway.rollouts.args import ArgError, rollout_args
from fairway.rollouts.fields import FieldError
from fairway.rollouts.keys import HASH_LABEL, MANAGED_BY
from fairway.rollouts.nginx import serves
from fairway.rollouts.seen import View
from fairway.rollouts.spec import AnalysisAsk

_AT = "spec.strategy.canary"


def reference_errors(view: View) -> tuple[FieldError, ...]:
    return (*_services(view), *_ingresses(view), *_analyses(view))


def _services(view: View) -> Iterator[FieldError]:
    labels = dig(view.spec.template, "metadata", "labels", default={})
    for kind, name in (("canaryService", view.canary.canary_service), ("stableService", view.canary.stable_service)):
        if not name:
            continue
        at, service = f"{_AT}.{kind}", view.seen.services.get(name)
        if service is None:
            yield FieldError(at, f'service "{name}" not found', name)
            continue
        manager = annotations_of(service).get(MANAGED_BY)
        if manager is not None and manager != view.name:
            yield FieldError(at, f'Service "{name}" is managed by another Rollout', name)
        for key, value in (spec_of(service).get("selector") or {}).items():
            if key != HASH_LABEL and labels.get(key) != value:
                yield FieldError(at, f'Service "{name}" has unmatch label "{key}" in rollout', name)
                break


def _ingresses(view: View) -> Iterator[FieldError]:
    nginx = view.canary.traffic.nginx if view.canary.traffic else None
    if nginx is None:
        return
    for name in nginx.ingresses:
        at = f"{_AT}.trafficRouting.nginx.stableIngress" + ("es" if nginx.stable_ingresses else "")
        ingress = view.seen.ingresses.get(name)
        if ingress is None:
            yield FieldError(at, f'ingress.networking.k8s.io "{name}" not found', name)
        elif not serves(ingress, view.canary.stable_service):
            yield FieldError(at, f"ingress `{name}` has no rules using service {view.canary.stable_service} backend", name)


def _analyses(view: View) -> Iterator[FieldError]:
    asks: list[tuple[str, AnalysisAsk]] = []
    if view.canary.analysis is not None and view.canary.analysis.templates:
        asks.append((f"{_AT}.analysis", view.canary.analysis))
    asks += [(f"{_AT}.steps[{i}].analysis", step.analysis) for i, step in enumerate(view.canary.steps) if step.analysis]
    for at, ask in asks:
        yield from _analysis(view, at, ask)


def _analysis(view: View, at: str, ask: AnalysisAsk) -> Iterator[FieldError]:
    names = ", ".join(ref.name for ref in ask.templates)
    try:
        templates = gather_templates(ask.templates, view.seen.templates)
        args = rollout_args(ask.args, view.rollout, latest=view.hash, stable=view.status.stable_hash)
        spec = run_spec(templates, args, ask.dry_run, ask.measurement_retention)
    except (TemplateError, ArgError) as error:
        yield FieldError(f"{at}.templates", str(error), names)
        return
    if ".steps[" not in at:
        return
    for metric in spec.get("metrics", ()):
        if metric.get("interval") and not metric.get("count"):
            yield FieldError(f"{at}.templates",
                             f"AnalysisTemplate {names} has metric {metric.get('name')} which runs indefinitely. "
                             "Invalid value for count: <nil>", names)
