"""The words in which the API refuses: one constructor per kind of refusal, as clients know them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from fairway.kube.errors import AlreadyExists, Conflict, Invalid, NotFound
from fairway.kube.resources import Resource

Fault = Literal["FieldValueRequired", "FieldValueInvalid", "FieldValueForbidden", "FieldValueNotSupported",
                "FieldValueDuplicate", "FieldValueTypeInvalid", "FieldValueTooLong", "FieldValueTooMany",
                "FieldValueNotFound", "FieldManagerConflict"]


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field. `message` is the text after the path, such as `Required value`."""

    path: str
    message: str
    fault: Fault

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"

    def cause(self) -> dict[str, str]:
        return {"reason": self.fault, "message": self.message, "field": self.path}


def shown(value: Any, *, ordered: bool = False) -> str:
    """A value as it stands in an error message: Go's JSON of it. `ordered`: of a structure, whose fields have an order."""
    return msgspec.json.encode(value, order=None if ordered else "sorted").decode()


def required(path: str, why: str = "") -> FieldError:
    return FieldError(path, f"Required value: {why}" if why else "Required value", "FieldValueRequired")


def invalid_value(path: str, value: Any, why: str, *, ordered: bool = False) -> FieldError:
    return FieldError(path, f"Invalid value: {shown(value, ordered=ordered)}: {why}", "FieldValueInvalid")


def not_found_value(path: str, value: Any) -> FieldError:
    return FieldError(path, f"Not found: {shown(value)}", "FieldValueNotFound")


def too_long(path: str, most: int) -> FieldError:
    return FieldError(path, f"Too long: may not be more than {most} bytes", "FieldValueTooLong")


def forbidden(path: str, why: str) -> FieldError:
    return FieldError(path, f"Forbidden: {why}", "FieldValueForbidden")


def duplicate(path: str, value: Any, *, ordered: bool = False) -> FieldError:
    return FieldError(path, f"Duplicate value: {shown(value, ordered=ordered)}", "FieldValueDuplicate")


def unsupported(path: str, value: Any, supported: Sequence[str]) -> FieldError:
    words = ", ".join(f'"{word}"' for word in supported)
    return FieldError(path, f"Unsupported value: {shown(value)}: supported values: {words}", "FieldValueNotSupported")


def _details(resource: Resource, name: str, *, kind: str = "") -> dict[str, Any]:
    details: dict[str, Any] = {}
    if name:
        details["name"] = name
    if resource.group:
        details["group"] = resource.group
    details["kind"] = kind or resource.plural
    return details


def qualified_details(resource: Resource, name: str) -> dict[str, Any]:
    """`details` of a refusal about one object."""
    return _details(resource, name)


def qualified_kind(resource: Resource) -> str:
    """`Deployment.apps`, `ConfigMap`: how errors about an object name its kind."""
    return f"{resource.kind}.{resource.group}" if resource.group else resource.kind


def invalid(resource: Resource, name: str, errors: Iterable[FieldError]) -> Invalid:
    """422 with one cause per field. Equal errors are said once in the message and counted in the causes."""
    found = list(errors)
    said = list(dict.fromkeys(str(error) for error in found))
    text = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    details = _details(resource, name, kind=resource.kind)
    details["causes"] = [error.cause() for error in found]
    return Invalid(f'{qualified_kind(resource)} "{name}" is invalid: {text}', details=details)


def not_found(resource: Resource, name: str) -> NotFound:
    return NotFound(f'{resource.qualified} "{name}" not found', details=_details(resource, name))


def already_exists(resource: Resource, name: str) -> AlreadyExists:
    return AlreadyExists(f'{resource.qualified} "{name}" already exists', details=_details(resource, name))


def modified(resource: Resource, name: str) -> Conflict:
    """The optimistic lock was lost."""
    return Conflict(
        f'Operation cannot be fulfilled on {resource.qualified} "{name}": the object has been modified; '
        "please apply your changes to the latest version and try again",
        details=_details(resource, name),
    )


def precondition_failed(resource: Resource, name: str, why: str) -> Conflict:
    return Conflict(f'Operation cannot be fulfilled on {qualified_kind(resource)} "{name}": {why}',
                    details=_details(resource, name, kind=resource.kind))
