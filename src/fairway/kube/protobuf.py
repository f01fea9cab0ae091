"""Protobuf bodies of built-in kinds, read into the JSON form of the same object. Nothing is ever written as protobuf.

A body is the four bytes `k8s\\0` and a message `Unknown`: apiVersion and kind, and the object's own message. Messages name
their fields by number, so a table of numbers is all that reading needs: `data/protobuf.json.gz`, written by
`tools/proto_facts.py`. It says for each type its fields as `[number, name, type, form]`:

- type: `s` string, `y` bytes, `b` bool, `i` integer, `d` double, or the name of another type (`core.v1.Container`);
- form: letters. `r` repeated, `m` map of strings to the type, `e` embedded (its fields are the object's own), `z` written even
  where nobody set it. Go writes plain values always and pointers only where they are set: that is how `replicas: 0` and no
  replicas are told apart.

Types whose JSON is no object of their fields (quantities, times, raw JSON, ...) are read by `_SPECIAL`.
"""

from __future__ import annotations

import gzip
import struct
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

import msgspec

from fairway.kube.facts import facts
from fairway.kube.objects import Obj, rfc3339, rfc3339_micro

MAGIC = b"k8s\x00"
_DEEPEST = 100  # JSON's readers stop near there too; the deepest object of Kubernetes has some twenty levels

Wire = int | bytes
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Unreadable(ValueError):
    """No protobuf of a kind that is known; the message says why."""


class UnknownKind(Unreadable):
    """A kind whose protobuf form is not known: custom kinds have none."""


class Field(NamedTuple):
    name: str
    type: str
    form: str


Message = dict[int, Field]


class Table:
    """Field numbers by type."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.version: str = document["version"]
        self._types: Mapping[str, list[list[Any]]] = document["types"]
        self._read: dict[str, Message] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._types

    def __iter__(self) -> Iterator[str]:
        return iter(self._types)

    def message(self, name: str) -> Message:
        found = self._read.get(name)
        if found is None:
            found = self._read[name] = {number: Field(*rest) for number, *rest in self._types[name]}
        return found


@lru_cache(maxsize=1)
def table() -> Table:
    data = (files("fairway.kube") / "data" / "protobuf.json.gz").read_bytes()
    return Table(msgspec.json.decode(gzip.decompress(data)))


def decode(data: bytes) -> Obj:
    """The object in an envelope, with its apiVersion and kind. `Unreadable` for anything else."""
    if not data.startswith(MAGIC):
        raise Unreadable("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    api_version, kind, raw = "", "", b""
    for number, value in wire(data[len(MAGIC) :]):
        if not isinstance(value, bytes):
            continue
        if number == 1:
            named = {n: v.decode() for n, v in wire(value) if isinstance(v, bytes)}
            api_version, kind = named.get(1, ""), named.get(2, "")
        elif number == 2:
            raw = value
    name = type_of(api_version, kind)
    if name is None:
        raise UnknownKind(f'no kind "{kind}" is registered for version "{api_version}" in protobuf; send it as JSON')
    return {"apiVersion": api_version, "kind": kind, **_object(raw, name, 0)}


def type_of(api_version: str, kind: str) -> str | None:
    """`core.v1.Pod` of ("v1", "Pod"); None for kinds whose protobuf form is not known."""
    if kind == "DeleteOptions":  # every group has it, and it is one and the same
        return "meta.v1.DeleteOptions"
    if facts().of_kind(api_version, kind) is None:
        return None
    group, _, version = api_version.rpartition("/")
    name = f"{group.partition('.')[0] or 'core'}.{version}.{kind}"
    return name if name in table() else None


# --- the wire ---------------------------------------------------------------------------------------------------------


def wire(data: bytes) -> Iterator[tuple[int, Wire]]:
    """The fields of one message in their order: number and value, integers as they lie there."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        value: Wire
        if kind == _VARINT:
            value, at = _varint(data, at)
        elif kind == _BYTES:
            length, at = _varint(data, at)
            value, at = data[at : at + length], at + length
        elif kind in (_FIXED64, _FIXED32):
            width = 8 if kind == _FIXED64 else 4
            value, at = data[at : at + width], at + width
        else:
            raise Unreadable(f"proto: illegal wireType {kind}")
        if number == 0 or at > end:
            raise Unreadable("unexpected EOF")
        yield number, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    try:
        while True:
            byte = data[at]
            at += 1
            result |= (byte & 0x7F) << shift
            if byte < 0x80:
                return result & 0xFFFFFFFFFFFFFFFF, at
            shift += 7
            if shift > 63:
                raise Unreadable("proto: integer overflow")
    except IndexError:
        raise Unreadable("unexpected EOF") from None


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


# --- objects ----------------------------------------------------------------------------------------------------------


def _object(data: bytes, name: str, depth: int) -> Obj:
    if depth > _DEEPEST:
        raise Unreadable(f"{name} is nested deeper than {_DEEPEST} levels")
    message = table().message(name)
    result: Obj = {}
    for number, value in wire(data):
        field = message.get(number)
        if field is None:
            continue  # of a later version: pruned, as every unknown field of a protobuf body is
        if "m" in field.form:
            key, found = _entry(value, field.type, depth)
            result.setdefault(field.name, {})[key] = found
            continue
        read = _value(value, field.type, depth)
        if "r" in field.form:
            result.setdefault(field.name, []).append(read)
        elif "e" in field.form:
            result.update(read or {})
        elif read is not None and not ("z" in field.form and read in ("", 0, False)):
            result[field.name] = read
    return result


def _entry(value: Wire, kind: str, depth: int) -> tuple[str, Any]:
    key, found = "", _EMPTY.get(kind)
    for number, part in wire(_bytes(value)):
        if number == 1:
            key = _bytes(part).decode()
        elif number == 2:
            found = _value(part, kind, depth)
    return key, {} if found is None else found


_EMPTY: dict[str, Any] = {"s": "", "y": "", "i": 0, "b": False, "d": 0.0, "resource.Quantity": "0"}


def _value(value: Wire, kind: str, depth: int) -> Any:
    match kind:
        case "s":
            try:
                return _bytes(value).decode()
            except UnicodeDecodeError:
                raise Unreadable("a string is not UTF-8") from None
        case "y":
            return b64encode(_bytes(value)).decode()
        case "i":
            return _signed(_integer(value))
        case "b":
            return bool(_integer(value))
        case "d":
            return struct.unpack("<d", _bytes(value))[0]
    special = _SPECIAL.get(kind)
    if special is not None:
        return special(_bytes(value))
    return _object(_bytes(value), kind, depth + 1)


def _bytes(value: Wire) -> bytes:
    if not isinstance(value, bytes):
        raise Unreadable("proto: wrong wireType for a field")
    return value


def _integer(value: Wire) -> int:
    if isinstance(value, bytes):
        raise Unreadable("proto: wrong wireType for a field")
    return value


# --- types with a JSON form of their own ------------------------------------------------------------------------------


def _parts(data: bytes) -> dict[int, Wire]:
    return dict(wire(data))


def _quantity(data: bytes) -> str:
    return _bytes(_parts(data).get(1, b"0")).decode()


def _int_or_string(data: bytes) -> int | str:
    parts = _parts(data)
    if parts.get(1, 0) == 1:
        return _bytes(parts.get(3, b"")).decode()
    return _signed(_integer(parts.get(2, 0)))


def _moment(data: bytes) -> datetime | None:
    """None for the zero time, which Go writes as nothing."""
    if not data:
        return None
    parts = _parts(data)
    seconds, nanos = _signed(_integer(parts.get(1, 0))), _signed(_integer(parts.get(2, 0)))
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds, microseconds=nanos // 1000)
    except OverflowError:
        raise Unreadable(f"time out of range: {seconds} seconds") from None


def _time(data: bytes) -> str | None:
    moment = _moment(data)
    return rfc3339(moment) if moment else None


def _micro_time(data: bytes) -> str | None:
    moment = _moment(data)
    return rfc3339_micro(moment) if moment else None


def _raw(data: bytes) -> Any:
    raw = _bytes(_parts(data).get(1, b""))
    if not raw:
        return None
    if raw.startswith(MAGIC):
        return decode(raw)
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        raise Unreadable(f"raw JSON inside of the message: {error}") from None


def _duration(data: bytes) -> str:
    """As Go writes durations: `1h0m0s`, `1.5s`, `250ms`."""
    nanos = _signed(_integer(_parts(data).get(1, 0)))
    sign, nanos = ("-", -nanos) if nanos < 0 else ("", nanos)
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if nanos < size * 1000 and nanos < 1_000_000_000 and nanos:
            return f"{sign}{nanos / size:.9f}".rstrip("0").rstrip(".") + unit
    minutes, rest = divmod(nanos, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest / 1e9:.9f}".rstrip("0").rstrip(".")
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}s"
    return f"{sign}{minutes}m{seconds}s" if minutes else f"{sign}{seconds}s"


def _items(data: bytes) -> list[str]:
    return [_bytes(value).decode() for number, value in wire(data) if number == 1]


_SPECIAL: dict[str, Callable[[bytes], Any]] = {
    "resource.Quantity": _quantity,
    "intstr.IntOrString": _int_or_string,
    "meta.v1.Time": _time,
    "meta.v1.MicroTime": _micro_time,
    "meta.v1.Duration": _duration,
    "meta.v1.FieldsV1": _raw,
    "runtime.RawExtension": _raw,
    "authentication.v1.ExtraValue": _items,
    "authorization.v1.ExtraValue": _items,
    "certificates.v1.ExtraValue": _items,
}
