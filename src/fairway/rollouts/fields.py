"""Reading the fields of a JSON object strictly: a wrong type is an error that names the path, what was found, what is needed.

The errors read as Kubernetes' own: `spec.replicas: Invalid value: -1: must be greater than or equal to 0`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from fairway.kube.objects import Obj, parse_time

ErrorType = Literal["Invalid value", "Required value", "Forbidden", "Duplicate value", "Internal error"]


@dataclass(frozen=True, slots=True)
class FieldError:
    """One mistake. `str()` gives Kubernetes' wording; Required and Forbidden do not show the value."""

    path: str
    detail: str
    value: Any = None
    type: ErrorType = "Invalid value"

    def __str__(self) -> str:
        if self.type in ("Invalid value", "Duplicate value"):
            return f"{self.path}: {self.type}: {json.dumps(self.value)}: {self.detail}"
        return f"{self.path}: {self.type}: {self.detail}"


class SpecError(ValueError):
    """What a user wrote cannot be read; the user acts next."""

    def __init__(self, error: FieldError) -> None:
        super().__init__(str(error))
        self.error = error


class Fields:
    """One JSON object and where it stands. Absent and null are the same."""

    def __init__(self, value: Any, path: str) -> None:
        if not isinstance(value, Mapping):
            raise SpecError(FieldError(path, f"an object is needed, found {_kind(value)}", value))
        self.raw: Mapping[str, Any] = value
        self.path = path

    def at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def wrong(self, name: str, needed: str) -> SpecError:
        value = self.raw.get(name)
        return SpecError(FieldError(self.at(name), f"{needed} is needed, found {_kind(value)}", value))

    def has(self, name: str) -> bool:
        return self.raw.get(name) is not None

    def text(self, name: str) -> str:
        """"" where absent."""
        value = self.raw.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.wrong(name, "a string")
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self.raw.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false")
        return value

    def number(self, name: str) -> int | None:
        value = self.raw.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(name, "a whole number")
        return value

    def number_or(self, name: str, default: int) -> int:
        value = self.number(name)
        return default if value is None else value

    def number_or_text(self, name: str) -> int | str | None:
        value = self.raw.get(name)
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(name, "a whole number or a string")
        return value

    def moment(self, name: str) -> datetime | None:
        text = self.text(name)
        if not text:
            return None
        try:
            return parse_time(text)
        except ValueError:
            raise self.wrong(name, "a time such as 2030-01-01T00:00:00Z") from None

    def object(self, name: str) -> Obj | None:
        """The object as it is, or None."""
        value = self.raw.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong(name, "an object")
        return value

    def fields(self, name: str) -> Fields | None:
        value = self.raw.get(name)
        return None if value is None else Fields(value, self.at(name))

    def each(self, name: str) -> tuple[Fields, ...]:
        """The objects of a list; empty where absent."""
        value = self.raw.get(name)
        if value is None:
            return ()
        if not isinstance(value, list):
            raise self.wrong(name, "a list")
        return tuple(Fields(entry, f"{self.at(name)}[{i}]") for i, entry in enumerate(value))

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.raw.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise self.wrong(name, "a list of strings")
        return tuple(value)

    def text_map(self, name: str) -> dict[str, str]:
        value = self.object(name) or {}
        if not all(isinstance(v, str) for v in value.values()):
            raise self.wrong(name, "a map of strings")
        return dict(value)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), type(value).__name__)
