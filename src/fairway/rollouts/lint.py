"""`fairway rollout lint`: the Rollouts of a file, and what the same file holds of the objects that they name.

Source: argo-rollouts `pkg/kubectl-argo-rollouts/cmd/lint`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fairway.kube.objects import Obj, dig, meta_of, spec_of
from fairway.rollouts.fields import FieldError, SpecError
from fairway.rollouts.references import service_errors, service_roles, virtual_service_mistakes
from fairway.rollouts.spec import RolloutSpec, decode_rollout
from fairway.rollouts.validation import spec_errors


def lint(objects: Sequence[Obj]) -> list[tuple[Obj, FieldError]]:
    """Every mistake with the Rollout that has it, in order; a Rollout that cannot be read is one mistake."""
    found: list[tuple[Obj, FieldError]] = []
    for rollout in objects:
        if rollout.get("kind") != "Rollout":
            continue
        try:
            spec = decode_rollout(rollout)
        except SpecError as error:
            found.append((rollout, error.error))
            continue
        found += [(rollout, mistake) for mistake in (*spec_errors(spec), *_references(rollout, spec, objects))]
    return found


def _references(rollout: Obj, spec: RolloutSpec, objects: Sequence[Obj]) -> Iterator[FieldError]:
    named = {(str(obj.get("kind")), str(meta_of(obj).get("name", ""))): obj for obj in objects}
    name = str(meta_of(rollout).get("name", ""))
    roles = {service: (at, metadata) for at, service, metadata in service_roles(spec) if service}
    for obj in objects:
        role = roles.get(str(meta_of(obj).get("name", ""))) if obj.get("kind") == "Service" else None
        if role is not None:
            yield from service_errors(obj, *role, spec.template or {}, name)
    traffic = spec.canary.traffic if spec.canary else None
    if spec.canary is None or traffic is None:
        return
    for ref in traffic.istio.services if traffic.istio else ():
        virtual = named.get(("VirtualService", ref.key("")[1]))
        if virtual is not None and traffic.istio is not None:
            services = (spec.canary.stable_service, spec.canary.canary_service)
            yield from virtual_service_mistakes(spec.canary, traffic.istio, ref, virtual, services)
    for mapping in dig(traffic.providers, "ambassador", "mappings", default=[]):
        found = named.get(("Mapping", str(mapping)))
        if found is not None:
            yield from mapping_errors(found)
    router = dig(traffic.providers, "appMesh", "virtualService", "name")
    for kind in ("VirtualRouter", "VirtualService"):
        if router is not None and (kind, str(router)) in named:
            yield from app_mesh_errors(named[kind, str(router)])


def mapping_errors(mapping: Obj) -> Iterator[FieldError]:
    """An Ambassador Mapping that has a weight already cannot be divided once more."""
    name = str(meta_of(mapping).get("name", ""))
    if spec_of(mapping).get("weight"):
        yield FieldError("spec.weight", f'Ambassador mapping "{name}" can not define weight', name)


def app_mesh_errors(obj: Obj) -> Iterator[FieldError]:
    """A VirtualRouter whose routes each divide between two targets; the first mistake only."""
    name, kind = str(meta_of(obj).get("name", "")), str(obj.get("kind", ""))
    if kind != "VirtualRouter":
        yield FieldError("kind", f"Expected object kind to be VirtualRouter but is {kind}", kind)
        return
    routes = spec_of(obj).get("routes") or []
    if not routes:
        yield FieldError("spec.routes", f"No routes defined for AppMesh virtual-router {name}", name)
        return
    for i, route in enumerate(routes):
        at, label = f"spec.routes[{i}]", route.get("name")
        rule = next((key for key in ("grpcRoute", "http2Route", "httpRoute", "tcpRoute") if route.get(key)), None)
        if rule is None:
            yield FieldError(at, f"Error getting route details for AppMesh virtual-router {name} and route {label}. "
                             "Error: None of the route types (http, http2, grpc, tcp) are defined", name)
            return
        targets = dig(route, rule, "action", "weightedTargets")
        at = f"{at}.{rule}.action.weightedTargets"
        if targets is None:
            yield FieldError(at, f"Invalid route action found for AppMesh virtual-router {name} and route {label}", name)
            return
        if len(targets) != 2:
            yield FieldError(at, f"Invalid number of weightedTargets ({len(targets)}) for AppMesh virtual-router {name} and "
                             f"route {label}, expected 2", name)
            return
