"""Questions about oneself: may I, what may I, who am I. Pure. Whoever is known may do everything."""

from __future__ import annotations

from fairway.kube.http.identity import User
from fairway.kube.objects import Obj
from fairway.kube.resources import Resource


def reviewed(review: Resource, body: Obj, user: User) -> Obj:
    """The review with its answer."""
    answered: Obj = {"kind": review.kind, "apiVersion": review.api_version, "metadata": body.get("metadata") or {}}
    if "spec" in body:
        answered["spec"] = body["spec"]
    return {**answered, "status": _status(review, user)}


def _status(review: Resource, user: User) -> Obj:
    match review.kind:
        case "SelfSubjectAccessReview":
            return {"allowed": True, "reason": f"{user.name} is an administrator of this platform"}
        case "SelfSubjectReview":
            return {"userInfo": {"username": user.name, "groups": list(user.groups)}}
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    return {"resourceRules": [everything], "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": False}
