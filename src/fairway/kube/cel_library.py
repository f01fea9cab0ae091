"""Values and functions that rules in CEL use beyond arithmetic: optionals, times, quantities, addresses, URLs, sets, strings.

Source: the CEL specification and its extensions, and the libraries that Kubernetes adds (`apiserver/pkg/cel/library`).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from fairway.kube.durations import parse_duration
from fairway.kube.objects import parse_time
from fairway.kube.quantity import parse_quantity
from fairway.kube.re2 import compiled


@dataclass(frozen=True, slots=True)
class Optional:
    """A value that may be absent."""

    present: bool
    held: Any = None

    def value(self) -> Any:
        if not self.present:
            raise ValueError("optional.none() dereference")
        return self.held


NONE = Optional(False)


@dataclass(frozen=True, slots=True, order=True)
class Quantity:
    amount: Fraction

    @staticmethod
    def of(text: str) -> Quantity:
        return Quantity(Fraction(parse_quantity(text)))


def _try(make: Callable[[str], Any]) -> Callable[[str], bool]:
    def good(text: str) -> bool:
        try:
            make(text)
        except (ValueError, TypeError):
            return False
        return True

    return good


def _ip(text: str) -> IPv4Address | IPv6Address:
    if "%" in text:
        raise ValueError(f"IP address {text!r} with zone value is not allowed")
    return ip_address(text)


def _cidr(text: str) -> IPv4Network | IPv6Network:
    if "/" not in text:
        raise ValueError(f"network address parse error: {text}")
    return ip_network(text, strict=False)


def _url(text: str) -> SplitResult:
    parts = urlsplit(text)
    if not parts.scheme and not text.startswith("/"):
        raise ValueError(f"URL parse error during conversion from string: parse {text!r}: invalid URI for request")
    return parts


def _inside(network: Any, other: Any) -> bool:
    """containsIP and containsCIDR, of values or their texts."""
    found = (_cidr(other) if "/" in other else _ip(other)) if isinstance(other, str) else other
    if found.version != network.version:
        return False
    return found.subnet_of(network) if isinstance(found, IPv4Network | IPv6Network) else found in network


def _compare(a: Any, b: Any) -> int:
    return int(a > b) - int(a < b)


def _plus(a: Any, b: Any) -> Any:
    other = b if isinstance(b, Quantity) else Quantity(Fraction(b))
    return Quantity(a.amount + other.amount)


def _minus(a: Any, b: Any) -> Any:
    other = b if isinstance(b, Quantity) else Quantity(Fraction(b))
    return Quantity(a.amount - other.amount)


def _as_integer(quantity: Quantity) -> int:
    if quantity.amount.denominator != 1:
        raise ValueError("cannot convert value to integer")
    return int(quantity.amount)


def _formatted(text: str, values: Sequence[Any]) -> str:
    given = iter(values)

    def put(match: re.Match[str]) -> str:
        value = next(given, None)
        kind = match[2]
        if kind == "s":
            return shown(value)
        precision = match[1] or (".6" if kind == "f" else "")
        return format(value, f"{precision}{kind}")

    return re.sub(r"%(\.\d+)?([sdfexXob])", put, text)


def shown(value: Any) -> str:
    """string(value)"""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
        return f"{int(seconds) if seconds == int(seconds) else seconds}s"
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return "[" + ", ".join(map(shown, value)) + "]"
    return str(value)


def _seconds(part: str) -> Callable[[Any], int]:
    """getHours and its like: of a duration the whole length, of a time the part of the clock."""
    unit = {"hour": 3600, "minute": 60, "second": 1}[part]

    def found(value: Any) -> int:
        return int(value.total_seconds() // unit) if isinstance(value, timedelta) else int(getattr(value, part))

    return found


def _distinct(items: Sequence[Any]) -> list[Any]:
    found: list[Any] = []
    for item in items:
        if item not in found:
            found.append(item)
    return found


def _flat(items: Sequence[Any], depth: int = 1) -> list[Any]:
    found: list[Any] = []
    for item in items:
        if isinstance(item, list):
            found.extend(_flat(item, depth - 1) if depth > 1 else item)
        else:
            found.append(item)
    return found


def _index(text: Any, part: Any, start: int = 0) -> int:
    if isinstance(text, str):
        return text.find(part, start)
    return text.index(part) if part in text else -1


def _last_index(text: Any, part: Any) -> int:
    if isinstance(text, str):
        return text.rfind(part)
    return len(text) - 1 - text[::-1].index(part) if part in text else -1


def _part(text: str, start: int, end: int | None = None) -> str:
    stop = len(text) if end is None else end
    if not 0 <= start <= stop <= len(text):
        raise ValueError(f"invalid substring range. start: {start}, end: {stop}")
    return text[start:stop]


def _found(text: str, pattern: str) -> str:
    match = re.search(pattern, text)
    return match[0] if match else ""


def _duration(value: Any) -> timedelta:
    return value if isinstance(value, timedelta) else parse_duration(value)


def _time(value: Any) -> datetime:
    return value if isinstance(value, datetime) else parse_time(value)


def _whole(value: Any) -> int:
    if isinstance(value, datetime):
        return int(value.timestamp())
    return int(value)


def _nonzero(value: Any) -> Optional:
    return Optional(True, value) if value not in (None, "", 0, False, [], {}) else NONE


METHODS: dict[str, Callable[..., Any]] = {
    "size": len,
    "startsWith": lambda text, part: text.startswith(part),
    "endsWith": lambda text, part: text.endswith(part),
    "contains": lambda text, part: part in text,
    "matches": lambda text, pattern: compiled(pattern).found_in(text),
    "lowerAscii": lambda text: text.lower(),
    "upperAscii": lambda text: text.upper(),
    "trim": lambda text: text.strip(),
    "split": lambda text, mark, most=-1: text.split(mark, most - 1 if most > 0 else -1) if mark else list(text),
    "join": lambda items, mark="": mark.join(items),
    "replace": lambda text, old, new, most=-1: text.replace(old, new, most),
    "indexOf": _index,
    "lastIndexOf": _last_index,
    "substring": _part,
    "charAt": lambda text, place: _part(text, place, min(place + 1, len(text))),
    "find": _found,
    "findAll": lambda text, pattern, most=-1: [m[0] for m in re.finditer(pattern, text)][: most if most >= 0 else None],
    "format": _formatted,
    "reverse": lambda items: items[::-1],
    "isSorted": lambda items: items == sorted(items),
    "sort": sorted,
    "distinct": _distinct,
    "flatten": _flat,
    "slice": lambda items, start, end: items[start:end],
    "first": lambda items: Optional(True, items[0]) if items else NONE,
    "last": lambda items: Optional(True, items[-1]) if items else NONE,
    "sum": sum,
    "min": min,
    "max": max,
    # optionals
    "hasValue": lambda found: found.present,
    "value": lambda found: found.value(),
    "orValue": lambda found, other: found.held if found.present else other,
    "or": lambda found, other: found if found.present else other,
    # times
    "getFullYear": lambda t: t.year, "getMonth": lambda t: t.month - 1, "getDate": lambda t: t.day,
    "getDayOfMonth": lambda t: t.day - 1, "getDayOfWeek": lambda t: t.isoweekday() % 7,
    "getDayOfYear": lambda t: t.timetuple().tm_yday - 1, "getHours": _seconds("hour"), "getMinutes": _seconds("minute"),
    "getSeconds": _seconds("second"),
    # quantities
    "isGreaterThan": lambda a, b: a > b, "isLessThan": lambda a, b: a < b, "compareTo": _compare, "sign":
    lambda q: _compare(q.amount, 0), "add": _plus, "sub": _minus, "asInteger": _as_integer,
    "isInteger": lambda q: q.amount.denominator == 1, "asApproximateFloat": lambda q: float(q.amount),
    # addresses and URLs
    "family": lambda ip: ip.version, "isUnspecified": lambda ip: ip.is_unspecified, "isLoopback": lambda ip: ip.is_loopback,
    "isLinkLocalUnicast": lambda ip: ip.is_link_local, "isLinkLocalMulticast": lambda ip: ip.is_multicast and ip.is_link_local,
    "isGlobalUnicast": lambda ip: not (ip.is_multicast or ip.is_loopback or ip.is_unspecified or ip.is_link_local),
    "containsIP": _inside, "containsCIDR": _inside, "ip": lambda net: net.network_address, "masked": lambda net: net,
    "prefixLength": lambda net: net.prefixlen,
    "getScheme": lambda url: url.scheme, "getHost": lambda url: url.netloc.rpartition("@")[2],
    "getHostname": lambda url: url.hostname or "", "getPort": lambda url: str(url.port or ""),
    "getEscapedPath": lambda url: url.path, "getQuery": lambda url: parse_qs(url.query, keep_blank_values=True),
}  # fmt: skip

_TYPES: dict[type[Any], str] = {
    bool: "bool", int: "int", float: "double", str: "string", bytes: "bytes", list: "list", dict: "map",
    type(None): "null_type",
    datetime: "google.protobuf.Timestamp", timedelta: "google.protobuf.Duration",
}  # fmt: skip
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "size": len,
    "int": _whole,
    "uint": _whole,
    "double": float,
    "bool": lambda value: value if isinstance(value, bool) else {"true": True, "false": False}[value],
    "string": shown,
    "bytes": lambda text: text.encode() if isinstance(text, str) else text,
    "dyn": lambda value: value,
    "matches": METHODS["matches"],
    "type": lambda value: _TYPES.get(type(value), type(value).__name__),
    "timestamp": _time,
    "duration": _duration,
    "quantity": Quantity.of,
    "isQuantity": _try(Quantity.of),
    "ip": _ip,
    "isIP": _try(_ip),
    "ip.isCanonical": lambda text: str(_ip(text)) == text,
    "cidr": _cidr,
    "isCIDR": _try(_cidr),
    "url": _url,
    "isURL": _try(_url),
    "optional.of": lambda value: Optional(True, value),
    "optional.none": lambda: NONE,
    "optional.ofNonZeroValue": _nonzero,
    "math.greatest": lambda *values: max(values[0] if len(values) == 1 and isinstance(values[0], list) else values),
    "math.least": lambda *values: min(values[0] if len(values) == 1 and isinstance(values[0], list) else values),
    "math.abs": abs,
    "sets.contains": lambda items, part: all(item in items for item in part),
    "sets.equivalent": lambda a, b: all(item in b for item in a) and all(item in a for item in b),
    "sets.intersects": lambda a, b: any(item in b for item in a),
    "lists.range": lambda count: list(range(count)),
    "strings.quote": lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"',
    "base64.encode": lambda data: base64.b64encode(data).decode(),
    "base64.decode": base64.b64decode,
}


def typed(value: Any, openapi: Mapping[str, Any]) -> Any:
    """A value as its schema means it: times and durations that are written as strings. Others are left as they are."""
    if isinstance(value, str):
        try:
            match openapi.get("format"):
                case "date-time":
                    return parse_time(value).astimezone(UTC)
                case "duration":
                    return parse_duration(value)
                case "byte":
                    return base64.b64decode(value)
        except ValueError:
            return value
    if isinstance(value, dict):
        parts, rest = openapi.get("properties") or {}, openapi.get("additionalProperties")
        return {key: typed(inner, part) if isinstance(part := parts.get(key, rest), Mapping) else inner
                for key, inner in value.items()}
    if isinstance(value, list) and isinstance(items := openapi.get("items"), Mapping):
        return [typed(item, items) for item in value]
    return value


def has_types(openapi: Any) -> bool:
    """Whether `typed` would change anything."""
    if isinstance(openapi, Mapping):
        return openapi.get("format") in ("date-time", "duration", "byte") or any(map(has_types, openapi.values()))
    return isinstance(openapi, list) and any(map(has_types, openapi))
