"""Who moves the traffic of a canary: the traffic routers that a Rollout may name, as frozen values.

Fairway moves traffic through nginx Ingresses, Istio, ALB Ingresses and Gateway API routes (upstream's plugin of that name);
every other router is kept as written, so that validation can say so by name.
Source: argo-rollouts `pkg/apis/rollouts/v1alpha1/types.go` RolloutTrafficRouting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fairway.kube.objects import Obj
from fairway.rollouts.fields import FieldError, Fields, SpecError

PROVIDERS = ("alb", "ambassador", "apisix", "appMesh", "istio", "nginx", "plugins", "smi", "traefik")
GATEWAY_API = "argoproj-labs/gatewayAPI"
"""The name under `plugins` by which upstream reaches Gateway API objects."""


@dataclass(frozen=True, slots=True)
class Nginx:
    stable_ingress: str = ""
    stable_ingresses: tuple[str, ...] = ()
    annotation_prefix: str = "nginx.ingress.kubernetes.io"
    additional_annotations: Mapping[str, str] = field(default_factory=dict)
    canary_annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def ingresses(self) -> tuple[str, ...]:
        return self.stable_ingresses or ((self.stable_ingress,) if self.stable_ingress else ())


@dataclass(frozen=True, slots=True)
class Alb:
    """`root_service` is what the Ingress routes to; without it that is the stable Service."""

    ingress: str = ""
    ingresses: tuple[str, ...] = ()
    service_port: int = 80
    root_service: str = ""
    annotation_prefix: str = "alb.ingress.kubernetes.io"
    sticky: Obj | None = None

    @property
    def all(self) -> tuple[str, ...]:
        return self.ingresses or ((self.ingress,) if self.ingress else ())


@dataclass(frozen=True, slots=True)
class VirtualServiceRef:
    """`routes` by name; TLS routes by port and SNI hosts, TCP routes by port (JSON, as written)."""

    name: str
    routes: tuple[str, ...] = ()
    tls_routes: tuple[Obj, ...] = ()
    tcp_routes: tuple[Obj, ...] = ()

    def key(self, namespace: str) -> tuple[str, str]:
        """Namespace and name; "name.namespace" reaches into another namespace."""
        name, _, elsewhere = self.name.partition(".")
        return (elsewhere or namespace, name)


@dataclass(frozen=True, slots=True)
class DestinationRuleRef:
    name: str
    canary_subset: str = ""
    stable_subset: str = ""


@dataclass(frozen=True, slots=True)
class Istio:
    """Both ways of naming VirtualServices are kept apart, because exactly one is allowed."""

    virtual_service: VirtualServiceRef | None = None
    virtual_services: tuple[VirtualServiceRef, ...] = ()
    destination_rule: DestinationRuleRef | None = None

    @property
    def services(self) -> tuple[VirtualServiceRef, ...]:
        return self.virtual_services or ((self.virtual_service,) if self.virtual_service else ())


@dataclass(frozen=True, slots=True)
class GatewayApi:
    """HTTPRoutes by name, and the namespace that they are in ("": the Rollout's)."""

    http_routes: tuple[str, ...] = ()
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class TrafficRouting:
    """`providers` holds every router that is named, as written."""

    providers: Mapping[str, Any] = field(default_factory=dict)
    nginx: Nginx | None = None
    alb: Alb | None = None
    istio: Istio | None = None
    gateway: GatewayApi | None = None
    max_weight: int | None = None
    managed_routes: tuple[str, ...] | None = None


def read_traffic(at: Fields) -> TrafficRouting:
    nginx, alb, istio, plugins = (at.fields(name) for name in ("nginx", "alb", "istio", "plugins"))
    for name in at.raw:
        if name not in (*PROVIDERS, "maxTrafficWeight", "managedRoutes"):
            raise SpecError(FieldError(at.at(name), "unknown field", at.raw[name], "Forbidden"))
    gateway = plugins.raw.get(GATEWAY_API) if plugins else None
    return TrafficRouting(
        providers={name: at.raw[name] for name in PROVIDERS if at.has(name)},
        nginx=_nginx(nginx) if nginx else None,
        alb=_alb(alb) if alb else None,
        istio=_istio(istio) if istio else None,
        gateway=_gateway(Fields(gateway, f"{at.at('plugins')}.{GATEWAY_API}")) if gateway is not None else None,
        max_weight=at.number("maxTrafficWeight"),
        managed_routes=tuple(route.text("name") for route in at.each("managedRoutes")) if at.has("managedRoutes") else None,
    )


def _nginx(at: Fields) -> Nginx:
    return Nginx(
        stable_ingress=at.text("stableIngress"),
        stable_ingresses=at.texts("stableIngresses"),
        annotation_prefix=at.text("annotationPrefix") or "nginx.ingress.kubernetes.io",
        additional_annotations=at.text_map("additionalIngressAnnotations"),
        canary_annotations=at.text_map("canaryIngressAnnotations"),
    )


def _alb(at: Fields) -> Alb:
    return Alb(
        ingress=at.text("ingress"),
        ingresses=at.texts("ingresses"),
        service_port=at.number_or("servicePort", 80),
        root_service=at.text("rootService"),
        annotation_prefix=at.text("annotationPrefix") or "alb.ingress.kubernetes.io",
        sticky=at.object("stickinessConfig"),
    )


def _istio(at: Fields) -> Istio:
    one, rule = at.fields("virtualService"), at.fields("destinationRule")
    return Istio(
        virtual_service=_virtual_service(one) if one else None,
        virtual_services=tuple(_virtual_service(each) for each in at.each("virtualServices")),
        destination_rule=DestinationRuleRef(rule.text("name"), rule.text("canarySubsetName"), rule.text("stableSubsetName"))
        if rule else None,
    )


def _virtual_service(at: Fields) -> VirtualServiceRef:
    return VirtualServiceRef(at.text("name"), at.texts("routes"), tuple(dict(r.raw) for r in at.each("tlsRoutes")),
                             tuple(dict(r.raw) for r in at.each("tcpRoutes")))


def _gateway(at: Fields) -> GatewayApi:
    listed = tuple(route.text("name") for route in at.each("httpRoutes"))
    single = at.text("httpRoute")
    return GatewayApi(listed or ((single,) if single else ()), at.text("namespace"))
