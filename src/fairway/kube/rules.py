"""x-kubernetes-validations: rules in CEL at any place of a structural schema, over the new value and the old one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fairway.kube import cel, cel_library
from fairway.kube.cel_library import Optional
from fairway.kube.refusals import Fault, FieldError, shown

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
    if cel_library.has_types(openapi):
        value, old = cel_library.typed(value, openapi), cel_library.typed(old, openapi)
    yield from _check(value, old, openapi, path, [cel.COST_LIMIT])


def _check(value: Any, old: Any, openapi: Mapping[str, Any], path: str, budget: list[int]) -> Iterator[FieldError]:
    for rule in openapi.get("x-kubernetes-validations") or ():
        yield from _judge(rule, value, old, path, budget)
    before = old if isinstance(old, Mapping) else {}
    if isinstance(value, Mapping):
        properties = openapi.get("properties") or {}
        values = openapi.get("additionalProperties")
        for name, inner in value.items():
            part = properties.get(name, values)
            if isinstance(part, Mapping) and inner is not None:
                where = f"{path}[{name}]" if name not in properties else f"{path}.{name}" if path else name
                yield from _check(inner, before.get(name), part, where, budget)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes) and isinstance(openapi.get("items"), Mapping):
        keys = openapi.get("x-kubernetes-list-map-keys") or ()
        for place, item in enumerate(value):
            yield from _check(item, _counterpart(item, old, keys), openapi["items"], f"{path}[{place}]", budget)


def _counterpart(item: Any, old: Any, keys: Sequence[str]) -> Any:
    """The old element with the same keys; elements of other lists have no past."""
    if not keys or not isinstance(old, list) or not isinstance(item, Mapping):
        return None
    return next((o for o in old if isinstance(o, Mapping) and all(o.get(k) == item.get(k) for k in keys)), None)


def _judge(rule: Mapping[str, Any], value: Any, old: Any, path: str, budget: list[int]) -> Iterator[FieldError]:
    text = str(rule.get("rule", ""))
    optional = bool(rule.get("optionalOldSelf"))
    if "oldSelf" in text and old is None and not optional:
        return
    before = (Optional(old is not None, old)) if optional else old
    scope = {"self": value, "oldSelf": before, cel.BUDGET: budget}
    where = path + str(rule.get("fieldPath", "")) or "<nil>"
    fault = _FAULTS.get(str(rule.get("reason", "")), "FieldValueInvalid")
    told = ""
    try:
        if cel.compile_rule(text)(scope) is True:
            return
        told = _told(rule, scope)
        message = told or str(rule.get("message") or f"failed rule: {text.strip()}")
    except cel.Unsupported:
        return  # told when the definition was written
    except cel.EvaluationError as error:
        fault, message = "FieldValueInvalid", f"{error} evaluating rule: {rule.get('message') or text.strip()}"
    yield FieldError(where, _words(fault, None if told else value, message), fault)


def _words(fault: Fault, value: Any, message: str) -> str:
    """A scalar is shown; a structure would bury the message, and a message that was computed names it itself."""
    match fault:
        case "FieldValueForbidden":
            return f"Forbidden: {message}"
        case "FieldValueRequired":
            return f"Required value: {message}"
        case "FieldValueDuplicate":
            return f"Duplicate value: {shown(value)}"
    plain = isinstance(value, str | int | float)
    return f"Invalid value: {shown(value)}: {message}" if plain else f"Invalid value: {message}"


def _told(rule: Mapping[str, Any], scope: cel.Scope) -> str:
    """What the rule's messageExpression says; "" where it says nothing usable."""
    if not rule.get("messageExpression"):
        return ""
    try:
        told = cel.compile_rule(str(rule["messageExpression"]))(scope)
    except (cel.Unsupported, cel.EvaluationError):
        return ""
    return told if isinstance(told, str) and told.strip() and "\n" not in told else ""
