"""What a request asks permission for, by its method, path and query. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from fairway.kube.errors import BadRequest
from fairway.kube.http.paths import ApiPath, ObjectPath
from fairway.kube.rbac import Attributes
from fairway.kube.selectors import parse_fields

_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_TRUE = {"1", "t", "true"}


def attributes(method: str, raw_path: str, path: ApiPath | None, query: Mapping[str, str]) -> Attributes:
    """`path` is what `raw_path` means; a path that is no object's is asked for as such, with the method as its verb."""
    if not isinstance(path, ObjectPath):
        return Attributes(method.lower(), path=raw_path.rstrip("/") or "/")
    verb, name = _VERBS.get(method, method.lower()), path.name
    if not name:
        if method in ("GET", "HEAD"):
            verb = "watch" if path.watching or query.get("watch", "").lower() in _TRUE else "list"
            name = _only_name(query.get("fieldSelector", ""))
        elif method == "DELETE":
            verb = "deletecollection"
    elif path.watching and method == "GET":
        verb = "watch"
    # A Namespace is inside of itself: a role there may allow to read it.
    namespace = path.name if (path.group, path.plural) == ("", "namespaces") else path.namespace
    return Attributes(verb, path.group, path.version, path.plural, path.subresource, namespace, name)


def _only_name(selector: str) -> str:
    """The one name that a field selector leaves: who may see that object may list it."""
    if not selector:
        return ""
    try:
        terms = parse_fields(selector)
    except BadRequest:
        return ""  # told later, by whoever selects
    return next((term.value for term in terms if term.path == "metadata.name" and not term.negated), "")
