"""ValidatingAdmissionPolicy: rules in CEL over every write that a binding names. Pure, but for the objects that it looks up.

Source: kubernetes `apiserver/pkg/admission/plugin/policy/validating`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fairway.kube import cel
from fairway.kube.errors import ApiError, Forbidden
from fairway.kube.objects import Obj, dig, meta_of, spec_of
from fairway.kube.refusals import qualified_details
from fairway.kube.reviewed import Reviewed, concerns, conditions_hold, scope_of

_CODES = {"Unauthorized": 401, "Forbidden": 403, "Invalid": 422, "RequestEntityTooLarge": 413}
Params = Callable[[str, str, str, Mapping[str, Any]], list[Obj]]
"""(apiVersion, kind, namespace of the request, paramRef) to the parameters that are there."""


def judge(asked: Reviewed, policies: list[Obj], bindings: list[Obj], params: Params) -> list[str]:
    """Warnings. Raises the refusal of the first policy that denies."""
    warnings: list[str] = []
    for policy in policies:
        spec, name = spec_of(policy), meta_of(policy)["name"]
        if not _constrained(dig(spec, "matchConstraints", default={}), asked):
            continue
        for binding in bindings:
            if spec_of(binding).get("policyName") != name:
                continue
            matched = spec_of(binding).get("matchResources")
            if matched is not None and not _constrained(matched, asked):
                continue
            for reason, message in _failures(policy, binding, asked, params):
                _act(policy, binding, asked, reason, message, warnings)
    return warnings


def _constrained(found: Mapping[str, Any], asked: Reviewed) -> bool:
    """A binding without rules of its own narrows by its selectors alone."""
    anything = [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*", "*"]}]
    if not concerns(found, found.get("resourceRules") or anything, asked):
        return False
    return not concerns({}, found.get("excludeResourceRules"), asked)


def _failures(policy: Obj, binding: Obj, asked: Reviewed, params: Params) -> Iterator[tuple[str, str]]:
    """(reason, message) of each expression that does not hold."""
    spec, kind = spec_of(policy), dig(policy, "spec", "paramKind")
    ref = spec_of(binding).get("paramRef") or {}
    given: list[Obj | None] = [None]
    if kind and ref:
        given = [*params(kind.get("apiVersion", ""), kind.get("kind", ""), asked.namespace, ref)]
        if not given and ref.get("parameterNotFoundAction") == "Deny":
            yield "Invalid", ("failed to configure binding: no params found for policy binding with `Deny` "
                              "parameterNotFoundAction")
    for param in given:
        scope = scope_of(asked, params=param, namespaceObject=asked.space)
        scope["variables"] = _Variables(spec.get("variables") or (), scope)
        try:
            if not conditions_hold(spec.get("matchConditions"), scope):
                continue
        except (cel.EvaluationError, cel.Unsupported) as error:
            if spec.get("failurePolicy") != "Ignore":
                yield "Invalid", f"match conditions cannot be judged: {error}"
            continue
        for row in spec.get("validations") or ():
            yield from _failure(row, scope, ignore=spec.get("failurePolicy") == "Ignore")


def _failure(row: Mapping[str, Any], scope: Mapping[str, Any], *, ignore: bool) -> Iterator[tuple[str, str]]:
    text = str(row.get("expression", "")).strip()
    try:
        if cel.compile_rule(text)(scope) is True:
            return
    except (cel.EvaluationError, cel.Unsupported) as error:
        if not ignore:
            yield "Invalid", f"expression '{text}' resulted in error: {error}"
        return
    message = str(row.get("message") or "").strip() or f"failed expression: {text}"
    if row.get("messageExpression"):
        try:
            told = cel.compile_rule(str(row["messageExpression"]))(scope)
            message = told.strip() if isinstance(told, str) and told.strip() else message
        except (cel.EvaluationError, cel.Unsupported):
            pass  # the plain message stands
    yield str(row.get("reason") or "Invalid"), message


def _act(policy: Obj, binding: Obj, asked: Reviewed, reason: str, message: str, warnings: list[str]) -> None:
    names = f"ValidatingAdmissionPolicy '{meta_of(policy)['name']}' with binding '{meta_of(binding)['name']}'"
    actions = spec_of(binding).get("validationActions") or ()
    if "Warn" in actions:
        warnings.append(f"Validation failed for {names}: {message}")
    if "Deny" not in actions:
        return
    said = f"{names} denied request: {message}"
    details = {**qualified_details(asked.resource, asked.name), "causes": [{"message": said}]}
    words = f'{asked.resource.qualified} "{asked.name}" is forbidden: {said}'
    if reason == "Forbidden":
        raise Forbidden(words, details=details)
    raise ApiError(words, details=details, code=_CODES.get(reason, 422), reason=reason)


class _Variables(Mapping[str, Any]):
    """`variables.x`: computed when first asked for; each may use those before it."""

    def __init__(self, rows: Any, scope: Mapping[str, Any]) -> None:
        self._rows = {row["name"]: row["expression"] for row in rows}
        self._scope = scope
        self._known: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._known:
            self._known[name] = cel.compile_rule(self._rows[name])(self._scope)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)
