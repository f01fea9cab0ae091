"""What a rule does to requests and answers beside choosing who serves them, checked word by word.

One value that the data plane refuses would hold back every other change too, so everything here is checked first; what
cannot be carried makes the rule `Unusable`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from fairway.kube.durations import parse_duration
from fairway.kube.objects import Obj
from fairway.traffic.model import HeaderChange, HeaderChanges
from fairway.traffic.read import TOKEN, Unusable

_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110: what may stand in a header's value
REDIRECTS = frozenset({301, 302, 303, 307, 308})


def header_changes(how: str, headers: Mapping[str, Any] | Iterable[tuple[str, Any]], where: str) -> Iterable[HeaderChange]:
    """`how` is set, add or remove."""
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        if not TOKEN.fullmatch(name):
            raise Unusable("HeaderInvalid", f"{where}: {name!r} is not a header's name")
        if name.lower() == "host":
            raise Unusable("HeaderInvalid", f"{where}: the host is not changed as a header; use rewrite.authority, or the "
                           "hostname of an URLRewrite")
        if not _VALUE.fullmatch(text := str(value)):
            raise Unusable("HeaderInvalid", f"{where}: the value of {name} has characters that no header may have")
        yield HeaderChange(how, name, text)  # type: ignore[arg-type]


def joined(*several: HeaderChanges) -> HeaderChanges:
    """One after the other."""
    return HeaderChanges(tuple(change for each in several for change in each.request),
                         tuple(change for each in several for change in each.response))


def seconds(text: Any, where: str) -> float:
    """0 where nothing is said."""
    try:
        found = parse_duration(str(text or "0")).total_seconds()
    except ValueError as error:
        raise Unusable("DurationInvalid", f"{where}: {error}") from error
    if found < 0:
        raise Unusable("DurationInvalid", f"{where}: {text} is below zero")
    return found


def percent(obj: Obj | None, where: str) -> float:
    """`{"value": 12.5}`; 0 where nothing is said."""
    value = (obj or {}).get("value", 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        raise Unusable("PercentInvalid", f"{where}: {value!r} is not a percentage from 0 to 100")
    return float(value)


def status(value: Any, where: str, allowed: Iterable[int] = range(200, 600)) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
        raise Unusable("StatusInvalid", f"{where}: {value!r} is not a status that can be answered here")
    return value
