"""What admission asks others about: one write, as webhooks and policies see it, and whether it concerns them. Pure.

Source: kubernetes `apiserver/pkg/admission/plugin/webhook/{rules,predicates}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from fairway.kube import cel
from fairway.kube.objects import Obj, labels_of
from fairway.kube.resources import Resource
from fairway.kube.selectors import from_label_selector
from fairway.kube.users import User

Operation = Literal["CREATE", "UPDATE", "DELETE"]
NOBODY = User("system:fairway", ("system:masters", "system:authenticated"))
"""Who writes where no user does: Fairway's own controllers."""
_OPTIONS = {"CREATE": "CreateOptions", "UPDATE": "UpdateOptions", "DELETE": "DeleteOptions"}
EXEMPT = "admissionregistration.k8s.io"
"""Nobody is asked about the kinds of this group: else a broken webhook could not be removed."""


@dataclass(frozen=True, slots=True)
class Reviewed:
    """`new` is None for a deletion, `old` for a creation. `space` is the object's Namespace, where it has one."""

    operation: Operation
    resource: Resource
    subresource: str
    name: str
    namespace: str
    user: User
    dry_run: bool
    manager: str
    new: Obj | None
    old: Obj | None
    space: Obj | None

    def of(self, new: Obj) -> Reviewed:
        return replace(self, new=new, name=str(new["metadata"].get("name") or self.name))

    def request(self, uid: str) -> Obj:
        """`request` of an AdmissionReview, and of rules in CEL."""
        row = self.resource
        kind = {"group": row.group, "version": row.version, "kind": row.kind}
        resource = {"group": row.group, "version": row.version, "resource": row.plural}
        options: Obj = {"kind": _OPTIONS[self.operation], "apiVersion": "meta.k8s.io/v1"}
        if self.operation != "DELETE" and self.manager:
            options["fieldManager"] = self.manager
        sub = {"subResource": self.subresource, "requestSubResource": self.subresource} if self.subresource else {}
        space = {"namespace": self.namespace} if self.namespace else {}
        return {"uid": uid, "kind": kind, "resource": resource, **sub, "requestKind": kind, "requestResource": resource,
                "name": self.name, **space, "operation": self.operation, "userInfo": self.user.info(), "object": self.new,
                "oldObject": self.old, "dryRun": self.dry_run, "options": options}


def concerns(hook: Mapping[str, Any], rules: Any, asked: Reviewed) -> bool:
    """Whether the rules and selectors of a webhook, or of a policy's constraints, match."""
    if asked.resource.group == EXEMPT or not any(_fits(rule, asked) for rule in rules or ()):
        return False
    namespaced = asked.space is not None or (asked.resource.group, asked.resource.plural) == ("", "namespaces")
    space = asked.space if asked.space is not None else asked.new or asked.old or {}
    if namespaced and not from_label_selector(hook.get("namespaceSelector") or {}).matches(labels_of(space)):
        return False
    selector = from_label_selector(hook.get("objectSelector") or {})
    return any(obj is not None and selector.matches(labels_of(obj)) for obj in (asked.new, asked.old))


def _fits(rule: Mapping[str, Any], asked: Reviewed) -> bool:
    row = asked.resource

    def has(field: str, value: str) -> bool:
        return bool({"*", value} & set(rule.get(field) or ()))

    scope = rule.get("scope", "*")
    if scope != "*" and (scope == "Namespaced") != row.namespaced:
        return False
    names = rule.get("resourceNames") or ()
    if names and asked.name not in names:
        return False
    return has("operations", asked.operation) and has("apiGroups", row.group) and has("apiVersions", row.version) and any(
        _names(text, row.plural, asked.subresource) for text in rule.get("resources") or ())


def _names(text: str, plural: str, subresource: str) -> bool:
    """`pods`, `pods/status`, `pods/*`, `*/status`, `*` (no subresources), `*/*`."""
    wanted, slash, sub = text.partition("/")
    return wanted in ("*", plural) and (sub in ("*", subresource) if slash else not subresource)


def conditions_hold(conditions: Any, scope: Mapping[str, Any]) -> bool:
    """matchConditions: all of them. Raises `cel.EvaluationError`, or `cel.Unsupported`."""
    return all(cel.compile_rule(row["expression"])(scope) is True for row in conditions or ())


def scope_of(asked: Reviewed, **more: Any) -> dict[str, Any]:
    request = {key: value for key, value in asked.request("").items() if key not in ("object", "oldObject", "uid")}
    return {"object": asked.new, "oldObject": asked.old, "request": request, cel.BUDGET: [cel.COST_LIMIT], **more}
