"""x-kubernetes-validations: rules in CEL at any place of a structural schema, over the new value and the old one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fairway.kube import cel
from fairway.kube.refusals import Fault, FieldError

_FAULTS: Mapping[str, Fault] = {"FieldValueInvalid": "FieldValueInvalid", "FieldValueForbidden": "FieldValueForbidden",
                                "FieldValueRequired": "FieldValueRequired", "FieldValueDuplicate": "FieldValueDuplicate"}


def rules_in(openapi: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """(path in the schema, rule) of every rule."""
    if isinstance(openapi, Mapping):
        for rule in openapi.get("x-kubernetes-validations") or ():
            yield path, str(rule.get("rule", ""))
        for name, part in (openapi.get("properties") or {}).items():
            yield from rules_in(part, f"{path}.{name}" if path else name)
        for name in ("items", "additionalProperties"):
            yield from rules_in(openapi.get(name), f"{path}[*]")


def unsupported_in(openapi: Any) -> list[tuple[str, str]]:
    """(path, why) of the rules that are kept but cannot be evaluated."""
    found = []
    for path, rule in rules_in(openapi):
        try:
            cel.compile_rule(rule)
        except cel.Unsupported as error:
            found.append((path, str(error)))
    return found


def check(value: Any, old: Any, openapi: Mapping[str, Any], path: str = "") -> Iterator[FieldError]:
    """What the rules refuse. `old` None: there is nothing to compare with, and rules about change do not apply."""
    for rule in openapi.get("x-kubernetes-validations") or ():
        yield from _judge(rule, value, old, path)
    before = old if isinstance(old, Mapping) else {}
    if isinstance(value, Mapping):
        properties = openapi.get("properties") or {}
        values = openapi.get("additionalProperties")
        for name, inner in value.items():
            part = properties.get(name, values)
            if isinstance(part, Mapping) and inner is not None:
                yield from check(inner, before.get(name), part, f"{path}.{name}" if path else name)
    elif isinstance(value, Sequence) and not isinstance(value, str) and isinstance(openapi.get("items"), Mapping):
        keys = openapi.get("x-kubernetes-list-map-keys") or ()
        for place, item in enumerate(value):
            yield from check(item, _counterpart(item, old, keys), openapi["items"], f"{path}[{place}]")


def _counterpart(item: Any, old: Any, keys: Sequence[str]) -> Any:
    """The old element with the same keys; elements of other lists have no past."""
    if not keys or not isinstance(old, list) or not isinstance(item, Mapping):
        return None
    return next((o for o in old if isinstance(o, Mapping) and all(o.get(k) == item.get(k) for k in keys)), None)


def _judge(rule: Mapping[str, Any], value: Any, old: Any, path: str) -> Iterator[FieldError]:
    text = str(rule.get("rule", ""))
    if "oldSelf" in text and old is None and not rule.get("optionalOldSelf"):
        return
    scope = {"self": value, "oldSelf": old}
    where = path + str(rule.get("fieldPath", "")) or "<nil>"
    fault = _FAULTS.get(str(rule.get("reason", "")), "FieldValueInvalid")
    try:
        if cel.compile_rule(text)(scope) is True:
            return
        message = _message(rule, scope)
    except cel.Unsupported:
        return  # told when the definition was written
    except cel.EvaluationError as error:
        message = f"evaluation error: {error}: rule: {text}"
    words = {"FieldValueForbidden": "Forbidden", "FieldValueRequired": "Required value",
             "FieldValueDuplicate": "Duplicate value"}.get(fault, "Invalid value")
    yield FieldError(where, f"{words}: {message}", fault)


def _message(rule: Mapping[str, Any], scope: cel.Scope) -> str:
    if rule.get("messageExpression"):
        try:
            told = cel.compile_rule(str(rule["messageExpression"]))(scope)
        except (cel.Unsupported, cel.EvaluationError):
            told = None
        if isinstance(told, str) and told:
            return told
    return str(rule.get("message") or f"failed rule: {rule.get('rule')}")
