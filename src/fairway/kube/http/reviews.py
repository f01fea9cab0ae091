"""Questions that are answered and not kept: may I, may they, what may I, who am I, whose token is this."""

from __future__ import annotations

from typing import Any

from fairway.kube.access import Access
from fairway.kube.errors import BadRequest
from fairway.kube.guards import Guard
from fairway.kube.http.identity import Authenticator
from fairway.kube.objects import Obj
from fairway.kube.rbac import Attributes, Decision
from fairway.kube.refusals import FieldError, invalid, invalid_value
from fairway.kube.resources import Resource
from fairway.kube.tokens import Untrusted
from fairway.kube.users import User


class Reviews:
    """`access` None: an API that decides for itself; then whoever is unrestricted may do everything here."""

    def __init__(self, access: Access | None, authenticator: Authenticator, guard: Guard | None = None) -> None:
        self._access = access
        self._guard = guard
        self._authenticator = authenticator

    def answer(self, review: Resource, body: Obj, user: User, namespace: str = "") -> Obj:
        """The review with its answer. `Invalid` for a question that is none."""
        answered: Obj = {"kind": review.kind, "apiVersion": review.api_version, "metadata": body.get("metadata") or {}}
        spec: Obj = body.get("spec") or {}
        if "spec" in body:
            answered["spec"] = spec
        return {**answered, "status": self._status(review, spec, user, namespace)}

    def _status(self, review: Resource, spec: Obj, user: User, namespace: str) -> Obj:
        match review.kind:
            case "SelfSubjectReview":
                return {"userInfo": user.info()}
            case "TokenReview":
                return self._holder(spec)
            case "SelfSubjectRulesReview":
                return self._rules(spec, user)
            case "SelfSubjectAccessReview":
                asked, errors = _asked(spec, "")
            case _:
                asked, errors = _asked(spec, namespace)
                user = _supposed(spec)
                if not user.name and not user.groups:
                    errors.insert(0, invalid_value("spec.user", "", "at least one of user or group must be specified"))
        if errors:
            raise invalid(review, "", errors)
        decision = self._decide(user, asked)
        return {"allowed": decision.allowed, **({"reason": decision.reason} if decision.reason else {})}

    def _decide(self, user: User, asked: Attributes) -> Decision:
        decided = Decision(user.unrestricted) if self._access is None else self._access.decide(user, asked)
        if not decided.allowed and self._guard is not None and self._guard.may_ask(user, asked):
            return Decision(True, "allowed by the policies of the objects themselves")
        return decided

    def _rules(self, spec: Obj, user: User) -> Obj:
        if not spec.get("namespace"):
            raise BadRequest("no namespace on request")
        everything = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, {"verbs": ["*"], "nonResourceURLs": ["*"]}]
        rules = everything if self._access is None else [r.spec() for r in self._access.rules_of(user, spec["namespace"])]
        of_paths = [rule for rule in rules if "nonResourceURLs" in rule]
        return {"resourceRules": [rule for rule in rules if "nonResourceURLs" not in rule], "nonResourceRules": of_paths,
                "incomplete": False}

    def _holder(self, spec: Obj) -> Obj:
        if not spec.get("token"):
            raise BadRequest("token is required for TokenReview in authentication")
        try:
            user, audiences = self._authenticator.holder(spec["token"], spec.get("audiences") or ())
        except Untrusted as why:
            return {"user": {}, "error": f"[invalid bearer token, {why}]"}
        return {"authenticated": True, "user": user.info(), "audiences": audiences}


def _supposed(spec: Obj) -> User:
    """The user that a review is about, groups exactly as given."""
    extra: dict[str, Any] = spec.get("extra") or {}
    return User(spec.get("user") or "", tuple(spec.get("groups") or ()), spec.get("uid") or "",
                {name: tuple(values or ()) for name, values in extra.items()})


def _asked(spec: Obj, namespace: str) -> tuple[Attributes, list[FieldError]]:
    """`namespace` is that of the path, for the review that lies in one."""
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (resource is None) == (path is None):
        why = ("cannot be specified in combination with resourceAttributes" if path is not None else
               "exactly one of nonResourceAttributes or resourceAttributes must be specified")
        field = "spec.nonResourceAttributes" if path is not None else "spec.resourceAttributes"
        return Attributes(""), [invalid_value(field, path, why)]
    if path is not None:
        errors = [invalid_value("spec.nonResourceAttributes", path, "disallowed on this kind of request")] if namespace else []
        return Attributes(path.get("verb") or "", path=path.get("path") or ""), errors
    asked = Attributes(*((resource or {}).get(name) or "" for name in ("verb", "group", "version", "resource", "subresource",
                                                               "namespace", "name")))
    if namespace and asked.namespace != namespace:
        return asked, [invalid_value("spec.resourceAttributes.namespace", asked.namespace,
                                     "must match metadata.namespace")]
    return asked, []
