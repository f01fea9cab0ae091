"""An action that somebody wants done to one object of an Application: the annotation `fairway.dev/run-action`. Pure.

The platform does it where the object is, with the rights that it has there, and takes the annotation away; what came of it is
the annotation `fairway.dev/action-result`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from fairway.gitops.compare import ObjectKey

REQUEST, RESULT = "fairway.dev/run-action", "fairway.dev/action-result"


@dataclass(frozen=True, slots=True)
class ActionRequest:
    """`id` tells one request from the next, in its result."""

    action: str
    group: str
    kind: str
    namespace: str
    name: str
    id: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> ObjectKey:
        return ObjectKey(self.group, self.kind, self.namespace, self.name)

    def text(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class ActionResult:
    id: str
    done: bool
    message: str

    def text(self) -> str:
        return json.dumps(asdict(self))


def read_request(text: str) -> ActionRequest | None:
    """None for what is no request."""
    said = _mapping(text)
    action, group, kind, namespace, name, identity = (
        str(said.get(key) or "") for key in ("action", "group", "kind", "namespace", "name", "id"))
    if not (action and kind and name):
        return None
    parameters = said.get("parameters")
    given = {str(k): str(v) for k, v in parameters.items()} if isinstance(parameters, dict) else {}
    return ActionRequest(action, group, kind, namespace, name, identity, given)


def read_result(text: str) -> ActionResult | None:
    said = _mapping(text)
    return ActionResult(str(said["id"]), bool(said.get("done")), str(said.get("message"))) if "id" in said else None


def _mapping(text: str) -> Mapping[str, object]:
    try:
        said = json.loads(text)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
