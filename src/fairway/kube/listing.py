"""Pages, selections and the field selectors that each kind knows."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

import msgspec

from fairway.kube.errors import BadRequest, Expired
from fairway.kube.objects import Key
from fairway.kube.resources import Resource
from fairway.kube.selectors import EVERYTHING, FieldTerm, parse_fields, parse_labels
from fairway.kube.watching import Selection

_ALWAYS = ("metadata.name", "metadata.namespace")
_BY_KIND: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "Pod"): ("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
                  "spec.hostNetwork", "status.phase", "status.podIP", "status.podIPs", "status.nominatedNodeName"),
    ("", "Event"): ("involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
                    "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",
                    "reason", "reportingComponent", "source", "type"),
    ("", "Namespace"): ("status.phase",),
    ("", "Node"): ("spec.unschedulable",),
    ("", "Secret"): ("type",),
    ("", "Service"): ("spec.clusterIP", "spec.type"),
    ("", "ReplicationController"): ("status.replicas",),
    ("apps", "ReplicaSet"): ("status.replicas",),
    ("certificates.k8s.io", "CertificateSigningRequest"): ("spec.signerName",),
    ("resource.k8s.io", "ResourceSlice"): ("spec.nodeName", "spec.driver"),
    ("batch", "Job"): ("status.successful",),
}  # fmt: skip


_WORDS = {
    ("batch", "Job"): 'field label "{}" not supported for Job',
    ("apps", "StatefulSet"): "field label not supported for appsv1.StatefulSet: {}",
}
"""Kinds that refuse a field in words of their own."""


def selection(resource: Resource, namespace: str, labels: str, fields: str, *,
              selectable: tuple[str, ...] = ()) -> Selection:
    """What is asked of `resource`; `selectable` are the fields that a CRD adds. `BadRequest` for an unknown field."""
    terms = _known(resource, parse_fields(fields), selectable) if fields else ()
    return Selection(namespace if resource.namespaced else "", parse_labels(labels) if labels else EVERYTHING, terms)


def _known(resource: Resource, terms: tuple[FieldTerm, ...], selectable: tuple[str, ...]) -> tuple[FieldTerm, ...]:
    specific = _BY_KIND.get(resource.group_kind)
    for term in terms:
        if term.path in _ALWAYS or term.path in selectable or (specific and term.path in specific):
            continue
        if resource.group_kind in _WORDS:
            raise BadRequest(_WORDS[resource.group_kind].format(term.path))
        if specific is not None:
            raise BadRequest(f"field label not supported: {term.path}")
        known = ", ".join(f'"{name}"' for name in (*_ALWAYS, *selectable))
        raise BadRequest(f'"{term.path}" is not a known field selector: only {known}')
    return terms


@dataclass(frozen=True, slots=True)
class Continue:
    """Where the next page begins: after `key`, of the list as it was at `revision`."""

    revision: int
    key: Key

    def token(self) -> str:
        data = msgspec.json.encode({"v": "meta.k8s.io/v1", "rv": self.revision, "start": list(self.key)})
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    @staticmethod
    def parse(token: str, *, oldest: int) -> Continue:
        raw = b""
        try:
            raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
            data = msgspec.json.decode(raw)
            found = Continue(int(data["rv"]), Key(*data["start"]))
        except (binascii.Error, msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            why = f"invalid character '{chr(raw[0])}' looking for beginning of value" if raw else "illegal base64 data"
            raise BadRequest(f"invalid continue token: continue key is not valid: {why}") from error
        if found.revision < oldest:
            raise Expired("The provided continue parameter is too old to display a consistent list result. You can "
                          "start a new list without the continue parameter.")
        return found
