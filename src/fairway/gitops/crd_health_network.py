"""Health of kinds that move traffic: Gateway API, Contour, Gloo, Istio, OpenShift routes, and of certificates. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from fairway.gitops.crd_health_rules import (
    Answer,
    Check,
    Conditions,
    On,
    condition_of,
    conditions_of,
    is_true,
    message_of,
    of_group,
    ready,
)
from fairway.kube.objects import Obj, dig, meta_of, status_of

# --- Gateway API ------------------------------------------------------------------------------------------------------------


def _of_type(conditions: Iterable[Obj], kind: str) -> Obj | None:
    return next((entry for entry in conditions if entry.get("type") == kind), None)


def _refused(conditions: list[Obj], kind: str) -> str | None:
    """The message of a condition of this type that is False."""
    found = next((entry for entry in conditions if entry.get("type") == kind and entry.get("status") == "False"), None)
    return None if found is None else message_of(found, f"Failed condition: {kind}")


def _attached(conditions: list[Obj], noun: str) -> Answer | None:
    """What an attachment's conditions say against it: refused, or not programmed yet. None where nothing does."""
    for kind in ("ResolvedRefs", "Accepted"):
        message = _refused(conditions, kind)
        if message is not None:
            return "Degraded", message
    waiting = next((e for e in conditions if e.get("type") == "Programmed" and not is_true(e)), None)
    return None if waiting is None else ("Progressing", message_of(waiting, f"{noun} is still being programmed"))


def _entries(holder: Obj, key: str) -> list[Obj]:
    found = holder.get(key)
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _gateway(obj: Obj) -> Answer:
    status = status_of(obj)
    said = _attached(conditions_of(obj), "Gateway")
    if said is not None:
        return said
    listeners = _entries(status, "listeners")
    for listener in listeners:
        said = _attached(conditions_of(listener, "conditions"), "Listener")
        if said is not None:
            return said[0], f"Listener: {said[1]}"
    if status.get("conditions") is not None or listeners:
        return "Healthy", "Gateway is healthy"
    return "Progressing", "Waiting for Gateway status"


def _listener_set(obj: Obj) -> Answer:
    waiting: Answer = ("Progressing", "Waiting for ListenerSet status")
    if any(_is_old(obj, entry) for entry in conditions_of(obj)):
        return waiting
    said = _attached([e for e in conditions_of(obj) if e.get("type") != "ResolvedRefs"], "ListenerSet")
    if said is not None:
        return said
    listeners = _entries(status_of(obj), "listeners")
    for listener in listeners:
        found = conditions_of(listener, "conditions")
        conflicted = _of_type(found, "Conflicted")
        if conflicted is not None and is_true(conflicted):
            return "Degraded", f"Listener: {message_of(conflicted, 'Listener is conflicted')}"
        said = _attached(found, "Listener")
        if said is not None:
            return said[0], f"Listener: {said[1]}"
    return ("Healthy", "ListenerSet is healthy") if listeners else waiting


def _is_old(obj: Obj, condition: Obj) -> bool:
    seen, now = condition.get("observedGeneration"), meta_of(obj).get("generation")
    return seen is not None and now is not None and seen != now


def _gateway_class(obj: Obj) -> Answer:
    accepted = next((e for e in conditions_of(obj) if e.get("type") == "Accepted" and not _is_old(obj, e)), None)
    match accepted and accepted.get("status"):
        case None:
            return "Progressing", "Waiting for GatewayClass status"
        case "True":
            return "Healthy", message_of(accepted or {}, "GatewayClass is accepted")
        case "False":
            return "Degraded", message_of(accepted or {}, "GatewayClass is not accepted")
    return "Progressing", message_of(accepted or {}, "Waiting for GatewayClass status")


def _parent(parent: Obj) -> str:
    return f"Parent {dig(parent, 'parentRef', 'name', default='')}"


def _route(obj: Obj) -> Answer:
    """HTTPRoute and GRPCRoute: parents whose conditions are all of an older generation say nothing."""
    now = meta_of(obj).get("generation")
    parents = [(parent, conditions_of(parent, "conditions")) for parent in _entries(status_of(obj), "parents")]
    current = [(parent, found) for parent, found in parents
               if found and (now is None or any(e.get("observedGeneration") == now for e in found))]  # fmt: skip
    if obj.get("kind") == "GRPCRoute":  # its conditions are taken as they are, whatever their generation
        current = [(parent, found) for parent, found in parents if found]
    for parent, found in current:
        said = _attached(found, "Route")
        if said is not None:
            return said[0], f"{_parent(parent)}: {said[1]}"
    return ("Healthy", f"{obj.get('kind')} is healthy") if current else ("Progressing", f"Waiting for {obj.get('kind')} status")


def _strict_route(obj: Obj) -> Answer:
    """TLSRoute (and TCPRoute): healthy where one parent has accepted it and resolved its references."""
    kind, healthy = str(obj.get("kind")), False
    programming = waiting = ""
    for parent in _entries(status_of(obj), "parents"):
        found = conditions_of(parent, "conditions")
        if not found or any(_is_old(obj, entry) for entry in found):
            continue
        said = _attached(found, "Route")
        if said is not None and said[0] == "Degraded":
            return "Degraded", f"{_parent(parent)}: {said[1]}"
        accepted, resolved = (_of_type(found, name) or {} for name in ("Accepted", "ResolvedRefs"))
        if said is not None:
            programming = programming or f"{_parent(parent)}: {said[1]}"
        elif is_true(accepted) and is_true(resolved):
            healthy = True
        else:
            waiting = waiting or f"{_parent(parent)}: Waiting for {kind} conditions"
    if programming:
        return "Progressing", programming
    return ("Healthy", f"{kind} is healthy") if healthy else ("Progressing", waiting or f"Waiting for {kind} status")


def _backend_policy(obj: Obj) -> Answer:
    return _ancestors(obj, strict=False)


def _ancestors(obj: Obj, *, strict: bool) -> Answer:
    """A policy, by what each ancestor says. `strict`: a condition without a generation is old, each ancestor must accept."""
    kind = str(obj.get("kind") or "Policy")
    found = _entries(status_of(obj), "ancestors")
    for ancestor in found if meta_of(obj).get("generation") is not None else ():
        name = dig(ancestor, "ancestorRef", "name", default="")
        for entry in conditions_of(ancestor, "conditions"):
            if _is_old(obj, entry) or (strict and entry.get("observedGeneration") is None):
                return "Progressing", f"Waiting for Ancestor {name} to update {kind} status"
    answer: Answer = ("Progressing", f"Waiting for {kind} status")
    for ancestor in found:
        name, accepted = dig(ancestor, "ancestorRef", "name", default=""), False
        for entry in conditions_of(ancestor, "conditions"):
            if entry.get("type") in ("Accepted", "ResolvedRefs") and not is_true(entry):
                return "Degraded", f"Ancestor {name}: {message_of(entry)}"
            if entry.get("type") == "Accepted":
                answer, accepted = ("Healthy", f"{kind} is healthy"), True
        if strict and not accepted:
            answer = "Degraded", f"Ancestor {name}: {kind} is not accepted"
    return answer


def _airlock(obj: Obj) -> Answer:
    kind = str(obj.get("kind") or "")
    return _ancestors(obj, strict=True) if kind.endswith("Policy") else ("Healthy", f"{kind} is healthy")


# --- ingress controllers and meshes -----------------------------------------------------------------------------------------

_GLOO: dict[str, Answer] = {
    "Accepted": ("Healthy", "The resource has been validated"), "1": ("Healthy", "The resource has been validated"),
    "Warning": ("Degraded", ""), "3": ("Degraded", ""), "Rejected": ("Degraded", ""), "2": ("Degraded", ""),
    "Pending": ("Suspended", "The resource has not yet been validated"),
    "0": ("Suspended", "The resource has not yet been validated"),
}  # fmt: skip


def _gloo(obj: Obj) -> Answer:
    """One status for each namespace that Gloo watches from; older versions have a single one."""
    status = status_of(obj)
    several = status.get("statuses")
    for entry in [*(several.values() if isinstance(several, dict) else ()), status]:
        found = _GLOO.get(str(entry.get("state"))) if isinstance(entry, dict) else None
        if found is not None:
            return found[0], found[1] or str(entry.get("reason") or "")
    return "Progressing", "Update in progress"


_CONTOUR = ready("Waiting for status", "Valid")


def _contour(text_of_status: bool) -> Check:
    """Contour's single condition, believed only for the current generation; HTTPProxy words it in `status.description`."""

    def check(obj: Obj) -> Answer:
        now, description = meta_of(obj).get("generation"), str(status_of(obj).get("description") or "")
        if status_of(obj).get("conditions") is None:
            known = text_of_status and status_of(obj).get("currentStatus") is not None
            return "Progressing", description if known else "Waiting for status"
        current = [e for e in conditions_of(obj) if e.get("observedGeneration") == now]
        health, message = _CONTOUR({"status": {"conditions": current}})
        return health, description if text_of_status and health != "Progressing" else message

    return check


def _istio_operator(obj: Obj) -> Answer:
    match status_of(obj).get("status"):
        case 0 | "NONE":
            return "Unknown", "Component is not present."
        case 1 | "UPDATING":
            return "Progressing", "Component is being updated to a different version."
        case 2 | "RECONCILING":
            return "Progressing", "Controller has started but not yet completed reconciliation loop for the component."
        case 3 | "HEALTHY":
            return "Healthy", "Component is healthy."
        case 4 | "ERROR":
            return "Degraded", "Component is in an error state."
    return "Progressing", "Waiting for Istio Control Plane"


def _openshift_route(obj: Obj) -> Answer:
    ingress = status_of(obj).get("ingress")
    if not isinstance(ingress, list):
        return "Progressing", "Route is still getting admitted"
    states = [e.get("status") for router in ingress for e in conditions_of(router, "conditions") if e.get("type") == "Admitted"]
    if states.count("True") >= len(ingress):
        return "Healthy", "Route is healthy"
    return ("Degraded", "Route is degraded") if "False" in states else ("Progressing", "Route is still getting admitted")


def _service_instance(obj: Obj) -> Answer:
    adopted, advertised, discovered = (condition_of(obj, kind) for kind in ("Adopted", "Advertised", "Discoverable"))
    if adopted.get("status") == "False":
        return "Degraded", message_of(adopted)
    if advertised.get("reason") in ("AdvertiseError", "UnadvertiseError"):
        return "Degraded", message_of(advertised)
    if discovered.get("reason") == "DiscoveryError":
        return "Unknown", message_of(discovered)
    return "Healthy" if is_true(discovered) else "Progressing", message_of(discovered)


def _network_policy(obj: Obj) -> Answer:
    """nmstate: the one condition that is True; its reason, and its message where it has one."""
    found: dict[str, Answer] = {"Available": ("Healthy", ""), "Degraded": ("Degraded", ""),
                                "Progressing": ("Progressing", ""), "Ignored": ("Suspended", "")}  # fmt: skip
    for entry in conditions_of(obj):
        if is_true(entry) and entry.get("type") in found:
            said = ": ".join(filter(None, (str(entry.get("reason") or ""), message_of(entry))))
            return found[str(entry["type"])][0], said
    return "Progressing", "Waiting for policy to be applied"


# --- certificates ---------------------------------------------------------------------------------------------------------


def _acme(name: str, *, reason_while_waiting: bool) -> Check:
    def check(obj: Obj) -> Answer:
        state, reason = status_of(obj).get("state"), status_of(obj).get("reason")
        said = f"{name} is {state}"
        if not state:
            return "Progressing", f"Waiting for {name.lower()}"
        if state == "valid":
            return "Healthy", said
        if state in ("invalid", "expired", "errored"):
            return "Degraded", said if reason is None else str(reason)
        return "Progressing", said if reason is None or not reason_while_waiting else str(reason)

    return check


# --- the tables -----------------------------------------------------------------------------------------------------------

_GATEWAY_API = "gateway.networking.k8s.io"

CHECKS: dict[tuple[str, str], Check] = {
    (_GATEWAY_API, "Gateway"): _gateway,
    (_GATEWAY_API, "GatewayClass"): _gateway_class,
    (_GATEWAY_API, "ListenerSet"): _listener_set,
    **of_group(_GATEWAY_API, ("HTTPRoute", "GRPCRoute"), _route),
    **of_group(_GATEWAY_API, ("TLSRoute", "TCPRoute"), _strict_route),
    (_GATEWAY_API, "BackendTLSPolicy"): _backend_policy,
    ("projectcontour.io", "HTTPProxy"): _contour(True),
    ("projectcontour.io", "ExtensionService"): _contour(False),
    **of_group("gateway.solo.io", (
        "Gateway", "MatchableHttpGateway", "RouteOption", "RouteTable", "VirtualHostOption", "VirtualService"), _gloo),
    **of_group("gloo.solo.io", ("Proxy", "Settings", "Upstream", "UpstreamGroup"), _gloo),
    ("install.istio.io", "IstioOperator"): _istio_operator,
    ("kiali.io", "Kiali"): Conditions("Waiting for Kiali", (
        On("Successful", "True", "Healthy"), On("Failure", "True", "Degraded"),
        On("Running", "*", "Progressing", reasons=("Running",)))),
    ("route.openshift.io", "Route"): _openshift_route,
    ("operator.openshift.io", "IngressController"): Conditions("Status of IngressController is not known yet", (
        On("Degraded", "True", "Degraded"), On("DeploymentReplicasAllAvailable", "False", "Progressing"),
        On("Progressing", "True", "Progressing", "{reason}"),
        On("Available", "True", "Healthy", "IngressController is available"))),
    ("proclaim.dogmatiq.io", "DNSSDServiceInstance"): _service_instance,
    ("nmstate.io", "NodeNetworkConfigurationPolicy"): _network_policy,
    ("cert-manager.io", "Certificate"): Conditions("Waiting for certificate", (
        On("Issuing", "True", "Progressing"), On("Ready", "False", "Degraded"), On("Ready", "True", "Healthy")), ranked=True),
    ("certmanager.k8s.io", "Certificate"): ready("Waiting for certificate"),
    **of_group("cert-manager.io", ("Issuer",), ready("Initializing issuer")),
    **of_group("certmanager.k8s.io", ("Issuer",), ready("Initializing issuer")),
    ("cert-manager.io", "ClusterIssuer"): ready("Initializing ClusterIssuer"),
    ("acme.cert-manager.io", "Challenge"): _acme("Challenge", reason_while_waiting=True),
    ("acme.cert-manager.io", "Order"): _acme("Order", reason_while_waiting=False),
}  # fmt: skip

GROUPS: dict[str, Check] = {"microgateway.airlock.com": _airlock}
