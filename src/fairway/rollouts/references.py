"""What a Rollout refers to must be there and fit: Services, AnalysisTemplates, Ingresses, VirtualServices, routes.

The order and the words are upstream's; `lint` asks the same of the objects in a file, the controller of those in the API.
Source: argo-rollouts `pkg/apis/rollouts/validation/validation_references.go`, `rollout/controller.go`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fairway.kube.objects import Obj, annotations_of, dig, meta_of, spec_of
from fairway.rollouts.alb import root_service
from fairway.rollouts.analysis_ask import AnalysisAsk
from fairway.rollouts.analysis_templates import TemplateError, TemplateMissing, flatten, gather_templates, run_spec
from fairway.rollouts.args import ArgError, rollout_args, substitute
from fairway.rollouts.fields import FieldError
from fairway.rollouts.gateway_api import divided_rules
from fairway.rollouts.istio import virtual_service_errors
from fairway.rollouts.keys import HASH_LABEL, MANAGED_BY
from fairway.rollouts.nginx import serves
from fairway.rollouts.seen import View
from fairway.rollouts.spec import Canary, Metadata, RolloutSpec
from fairway.rollouts.traffic_spec import Istio, VirtualServiceRef
from fairway.rollouts.validate_canary import named_objects_errors

_AT = "spec.strategy.canary"
_GREEN = "spec.strategy.blueGreen"


def reference_errors(view: View) -> Iterator[FieldError]:
    """The mistakes in upstream's order; whoever needs only the first takes the first."""
    yield from _services(view)
    yield from _analyses(view)
    if view.canary.traffic is not None:
        yield from named_objects_errors(view.canary.traffic)
        yield from _ingresses(view)
        yield from _virtual_services(view)
        yield from _http_routes(view)


# --- Services -----------------------------------------------------------------------------------------------------


def service_roles(spec: RolloutSpec) -> Iterator[tuple[str, str, Metadata | None]]:
    """Path, name and the role's own metadata of every Service that the Rollout names."""
    if spec.blue_green is not None:
        green = spec.blue_green
        yield f"{_GREEN}.previewService", green.preview_service, green.preview_metadata
        yield f"{_GREEN}.activeService", green.active_service, green.active_metadata
    if spec.canary is not None:
        canary = spec.canary
        if canary.ping_pong is not None:
            yield f"{_AT}.pingPong.pingService", canary.ping_pong.ping, None
            yield f"{_AT}.pingPong.pongService", canary.ping_pong.pong, None
        yield f"{_AT}.stableService", canary.stable_service, canary.stable_metadata
        yield f"{_AT}.canaryService", canary.canary_service, canary.canary_metadata


def _services(view: View) -> Iterator[FieldError]:
    for at, name, metadata in service_roles(view.spec):
        if not name:
            continue
        service = view.seen.services.get(name)
        if service is None:
            yield FieldError(at, f'service "{name}" not found', name)
        else:
            yield from service_errors(service, at, metadata, view.spec.template or {}, view.name)


def service_errors(service: Obj, at: str, metadata: Metadata | None, template: Obj, rollout: str) -> Iterator[FieldError]:
    """Its selector must fit the pods (the metadata of its role counts), and no other Rollout may move it."""
    name, labels = str(meta_of(service).get("name", "")), dig(template, "metadata", "labels", default={})
    for key, value in (spec_of(service).get("selector") or {}).items():
        by_role = metadata is not None and metadata.labels.get(key) == value
        if key != HASH_LABEL and labels.get(key) != value and not by_role:
            yield FieldError(at, f'Service "{name}" has unmatch label "{key}" in rollout', name)
    manager = annotations_of(service).get(MANAGED_BY)
    if manager is not None and manager != rollout:
        yield FieldError(at, f'Service "{name}" is managed by another Rollout', name)


# --- Ingresses ----------------------------------------------------------------------------------------------------


def _ingresses(view: View) -> Iterator[FieldError]:
    traffic = view.canary.traffic
    if traffic is None:
        return
    at = f"{_AT}.trafficRouting"
    named: list[tuple[str, str]] = []
    if traffic.nginx is not None:
        many = "stableIngresses" if traffic.nginx.stable_ingresses else "stableIngress"
        named += [(f"{at}.nginx.{many}", name) for name in traffic.nginx.ingresses]
    if traffic.alb is not None:
        many = "ingresses" if traffic.alb.ingresses else "ingress"
        named += [(f"{at}.alb.{many}", name) for name in traffic.alb.all]
    for path, name in named:
        ingress = view.seen.ingresses.get(name)
        if ingress is None:
            yield FieldError(path, f'ingress.networking.k8s.io "{name}" not found', name)
        else:
            yield from ingress_errors(view.canary, ingress)


def ingress_errors(canary: Canary, ingress: Obj) -> Iterator[FieldError]:
    """An Ingress must lead to the Service whose traffic is divided: stable, or the root Service of an ALB."""
    traffic, name = canary.traffic, str(meta_of(ingress).get("name", ""))
    if traffic is None:
        return
    at = f"{_AT}.trafficRouting"
    nginx, alb = traffic.nginx, traffic.alb
    by_alb = alb is not None and (nginx is None or name in alb.all)
    if by_alb and alb is not None:
        listed, service = name in alb.ingresses, root_service(alb, canary.stable_service)
        path, shown = f"{at}.alb.{'ingresses' if listed else 'ingress'}", name if listed else alb.ingress
    elif nginx is not None:
        listed, service = name in nginx.stable_ingresses, canary.stable_service
        path, shown = f"{at}.nginx.{'stableIngresses' if listed else 'stableIngress'}", name if listed else nginx.stable_ingress
    else:
        return
    if not serves(ingress, service):
        yield FieldError(path, f"ingress `{name}` has no rules using service {service} backend", shown)


# --- VirtualServices and routes -------------------------------------------------------------------------------------


def _virtual_services(view: View) -> Iterator[FieldError]:
    istio = view.canary.traffic.istio if view.canary.traffic else None
    if istio is None:
        return
    for ref in istio.services:
        obj = view.seen.virtual_services.get(ref.key(view.namespace))
        if obj is None:
            many = "virtualServices" if istio.virtual_services else "virtualService"
            yield FieldError(f"{_AT}.trafficRouting.istio.{many}.name",
                             f'virtualservices.networking.istio.io "{ref.key("")[1]}" not found', ref.name)
            continue
        yield from virtual_service_mistakes(view.canary, istio, ref, obj, view.service_names)
    rule = istio.destination_rule
    if rule is not None and rule.name not in view.seen.destination_rules:
        yield FieldError(f"{_AT}.trafficRouting.istio.destinationRule.name",
                         f'destinationrules.networking.istio.io "{rule.name}" not found', rule.name)


def virtual_service_mistakes(canary: Canary, istio: Istio, ref: VirtualServiceRef, obj: Obj,
                             services: tuple[str, str]) -> Iterator[FieldError]:
    """`services`: stable's and the canary's."""
    many = "virtualServices" if istio.virtual_services else "virtualService"
    managed = (canary.traffic.managed_routes if canary.traffic else None) or ()
    for said in virtual_service_errors(obj, ref, istio.destination_rule, stable=services[0], canary=services[1],
                                       managed=managed):
        yield FieldError(f"{_AT}.trafficRouting.istio.{many}.name", said, ref.key("")[1])


def _http_routes(view: View) -> Iterator[FieldError]:
    gateway = view.canary.traffic.gateway if view.canary.traffic else None
    if gateway is None:
        return
    at = f"{_AT}.trafficRouting.plugins[argoproj-labs/gatewayAPI].httpRoute"
    if not gateway.http_routes:
        yield FieldError(at, "an httpRoute, or a list of httpRoutes with their names, is needed", None, "Required value")
    for name in gateway.http_routes:
        obj = view.seen.http_routes.get((gateway.namespace or view.namespace, name))
        if obj is None:
            yield FieldError(at, f'httproutes.gateway.networking.k8s.io "{name}" not found', name)
            continue
        stable, canary = view.service_names
        if not divided_rules(obj, canary, stable):
            yield FieldError(at, f"HTTPRoute `{name}` has no rule with both backends {stable} and {canary}", name)


# --- analysis -----------------------------------------------------------------------------------------------------


def analysis_asks(spec: RolloutSpec) -> Iterator[tuple[str, AnalysisAsk, bool]]:
    """Path of the templates, what is asked, and whether a run may go on for ever (only in the background)."""
    if spec.blue_green is not None:
        for name, ask in (("prePromotionAnalysis", spec.blue_green.before), ("postPromotionAnalysis", spec.blue_green.after)):
            if ask is not None:
                yield f"{_GREEN}.{name}.templates", ask, False
    if spec.canary is not None:
        for i, step in enumerate(spec.canary.steps):
            if step.analysis is not None:
                yield f"{_AT}.steps[{i}].analysis.templates", step.analysis, False
        if spec.canary.analysis is not None and spec.canary.analysis.templates:
            yield f"{_AT}.analysis.templates", spec.canary.analysis, True


def _analyses(view: View) -> Iterator[FieldError]:
    for at, ask, endless in analysis_asks(view.spec):
        try:
            templates = gather_templates(ask.templates, view.seen.templates)
        except TemplateMissing as missing:
            yield FieldError(at, str(missing), missing.name)
            continue
        yield from template_errors(at, templates, ask, view.rollout, endless=endless)


def template_errors(at: str, templates: Sequence[Obj], ask: AnalysisAsk, rollout: Obj, *,
                    endless: bool) -> Iterator[FieldError]:
    """Templates must go together, every argument must have a value, and an inline run must come to an end."""
    names = [str(meta_of(template).get("name", "")) for template in templates]
    try:
        args = rollout_args(ask.args, rollout, latest="dummy-new-hash", stable="dummy-stable-hash")
        run_spec(templates, args, ask.dry_run, ask.measurement_retention)
    except (TemplateError, ArgError) as error:
        yield FieldError(at, str(error), _listed(names))
        return
    for name, template in zip(names, templates, strict=True):
        if not endless:
            yield from _endless_metrics(at, name, template)


def _listed(names: Sequence[str]) -> str:
    return f"templateNames: [{' '.join(names)}]"


def _endless_metrics(at: str, name: str, template: Obj) -> Iterator[FieldError]:
    try:
        metrics = resolved_metrics(flatten([template])["metrics"], spec_of(template).get("args") or ())
    except (ArgError, TemplateError) as error:
        yield FieldError(at, f"AnalysisTemplate {name}: {error}", name)
        return
    for metric in metrics:
        count = str(metric.get("count") or "")
        if not metric.get("interval") or (count.lstrip("-").isdigit() and int(count)):
            continue
        yield FieldError(at, f"AnalysisTemplate {name} has metric {metric.get('name')} which runs indefinitely. "
                         "Invalid value for count: <nil>", name)


def resolved_metrics(metrics: Sequence[Obj], args: Sequence[Obj]) -> list[Obj]:
    """Metrics with the template's own arguments filled in, and a stand-in for those without a value yet."""
    values = {str(arg.get("name")): "dummy-value" if arg.get("value") is None else str(arg["value"]) for arg in args}
    for arg in args:
        if arg.get("value") is not None and arg.get("valueFrom") is not None:
            raise ArgError(f"arg '{arg.get('name')}' has both Value and ValueFrom fields")
    return [substitute(metric, values) for metric in metrics]
