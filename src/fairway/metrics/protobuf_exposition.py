"""Prometheus' protobuf exposition: messages `io.prometheus.client.MetricFamily`, each after its length. It is the only
format that carries native histograms.

A classic histogram or a summary becomes the same series as in the text format (`_bucket`, `_sum`, `_count`, `quantile`). A
histogram that is native is one sample of its own name; its classic buckets are left out unless somebody asks for both.

Source: prometheus/client_model `metrics.proto` (field numbers), prometheus `model/textparse/protobufparse.go` (behaviour).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from fairway.kube.protobuf import Unreadable, Wire, wire
from fairway.metrics.exposition import BadExposition, Family, Labels, Metadata, Sample
from fairway.metrics.histogram import CUSTOM, HIGHEST_SCHEMA, LOWEST_SCHEMA, Histogram, exponential_bound
from fairway.metrics.labels import NAME

CONTENT_TYPE = "application/vnd.google.protobuf"
_KINDS = ("counter", "gauge", "summary", "unknown", "histogram", "gaugehistogram")
_DOUBLE = struct.Struct("<d")



@dataclass(frozen=True, slots=True)
class Natives:
    """What is done with native histograms. `classic`: buckets in the classic form are kept beside them. More buckets than
    `bucket_limit` (0: any number), or finer ones than `least_factor` apart, are joined.
    """

    wanted: bool = False
    classic: bool = False
    bucket_limit: int = 0
    least_factor: float = 0.0


def families(body: bytes, natives: Natives) -> Iterator[Family]:
    """Raises `BadExposition`."""
    at = 0
    try:
        while at < len(body):
            length, at = _varint(body, at)
            if at + length > len(body):
                raise BadExposition(f"a message of {length} bytes is cut off")
            yield _family(body[at : at + length], natives)
            at += length
    except (Unreadable, UnicodeDecodeError, struct.error) as error:
        raise BadExposition(f"not a delimited MetricFamily: {error}") from None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        value, at, shift = value | (byte & 0x7F) << shift, at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise BadExposition("the length of a message cannot be read")


def _family(data: bytes, natives: Natives) -> Family:
    name, about, unit, kind, metrics = "", "", "", 0, list[bytes]()
    for number, value in wire(data):
        match number:
            case 1:
                name = _text(value)
            case 2:
                about = _text(value)
            case 3:
                kind = _integer(value)
            case 4:
                metrics.append(_bytes(value))
            case 5:
                unit = _text(value)
    if not name:
        raise BadExposition("a metric family without a name")
    shown = _KINDS[kind] if kind < len(_KINDS) else "unknown"
    samples = tuple(sample for metric in metrics for sample in _metric(name, metric, natives, gauge=kind == 5))
    return Family(name, Metadata(shown, about, unit), samples)


def _metric(name: str, data: bytes, natives: Natives, *, gauge: bool) -> Iterator[Sample]:
    labels: Labels = {}
    parts: list[tuple[int, bytes]] = []
    for number, value in wire(data):
        if number == 1:
            pair = {n: _text(v) for n, v in wire(_bytes(value))}
            if pair.get(2):
                labels[pair.get(1, "")] = pair[2]
        elif number in (2, 3, 4, 5, 7):
            parts.append((number, _bytes(value)))
    for number, part in parts:
        match number:
            case 2 | 3 | 5:  # gauge, counter, untyped: their value is the first field of each
                yield {NAME: name, **labels}, next((_double(v) for n, v in wire(part) if n == 1), 0.0)
            case 4:
                yield from _summary(name, labels, part)
            case 7:
                yield from _histogram(name, labels, part, natives, gauge=gauge)


def _summary(name: str, labels: Labels, data: bytes) -> Iterator[Sample]:
    count, total = 0.0, 0.0
    for number, value in wire(data):
        if number == 1:
            count = float(_integer(value))
        elif number == 2:
            total = _double(value)
        elif number == 3:
            found = {n: _double(v) for n, v in wire(_bytes(value))}
            yield {NAME: name, **labels, "quantile": _bound(found.get(1, 0.0))}, found.get(2, 0.0)
    yield {NAME: f"{name}_sum", **labels}, total
    yield {NAME: f"{name}_count", **labels}, count


@dataclass(slots=True)
class _Read:
    """A histogram's message as it is read: of each pair the negative side first. Whole counts and fractional ones are different
    fields; the fractional win."""

    count: float = 0.0
    total: float = 0.0
    schema: int = 0
    threshold: float = 0.0
    zero: float = 0.0
    classic: tuple[tuple[float, float], ...] = ()
    spans: tuple[list[tuple[int, int]], list[tuple[int, int]]] = field(default_factory=lambda: ([], []))
    deltas: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    counts: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))


def _histogram(name: str, labels: Labels, data: bytes, natives: Natives, *, gauge: bool) -> Iterator[Sample]:
    read = _read(data)
    native = _native(read, gauge=gauge) if natives.wanted else None
    if native is not None:
        yield {NAME: name, **labels}, fitted(native, natives)
    if native is None or natives.classic:
        bounds = [bound for bound, _ in read.classic]
        for bound, count in (*read.classic, *([] if bounds and bounds[-1] == float("inf") else [(float("inf"), read.count)])):
            yield {NAME: f"{name}_bucket", **labels, "le": _bound(bound)}, count
        yield {NAME: f"{name}_sum", **labels}, read.total
        yield {NAME: f"{name}_count", **labels}, read.count


def _read(data: bytes) -> _Read:
    read = _Read()
    classic: list[tuple[float, float]] = []
    fractional: dict[int, float] = {}
    for number, value in wire(data):
        match number:
            case 1:
                read.count = float(_integer(value))
            case 2:
                read.total = _double(value)
            case 3:
                classic.append(_bucket(_bytes(value)))
            case 4 | 8:
                fractional[number] = _double(value)
            case 5:
                read.schema = _zigzag(_integer(value))
            case 6:
                read.threshold = _double(value)
            case 7:
                read.zero = float(_integer(value))
            case 9 | 12:
                span = {n: _integer(v) for n, v in wire(_bytes(value))}
                read.spans[number == 12].append((_zigzag(span.get(1, 0)), span.get(2, 0)))
            case 10 | 13:
                read.deltas[number == 13].extend(float(_zigzag(one)) for one in _packed(value))
            case 11 | 14:
                read.counts[number == 14].extend(one for (one,) in _DOUBLE.iter_unpack(_bytes(value)))
    read.count, read.zero = fractional.get(4) or read.count, fractional.get(8) or read.zero
    read.classic = tuple(classic)
    return read


def _bucket(data: bytes) -> tuple[float, float]:
    """(upper bound, cumulative count)."""
    bound = count = fraction = 0.0
    for number, value in wire(data):
        if number == 1:
            count = float(_integer(value))
        elif number == 2:
            bound = _double(value)
        elif number == 4:
            fraction = _double(value)
    return bound, fraction or count


def _native(read: _Read, *, gauge: bool) -> Histogram | None:
    """None where the message has no native buckets; an empty span says that it has, and that nothing was observed."""
    if not (any(read.spans) or read.threshold > 0 or read.zero > 0):
        return None
    if not LOWEST_SCHEMA <= read.schema <= HIGHEST_SCHEMA:
        what = "custom buckets" if read.schema == CUSTOM else f"schema {read.schema}"
        raise BadExposition(f"a native histogram with {what}, which the exposition format does not have")
    negative, positive = (_buckets(read.spans[side], read.deltas[side], read.counts[side]) for side in (0, 1))
    return Histogram(read.schema, read.threshold, read.zero, read.count, read.total, positive, negative,
                     reset="gauge" if gauge else "unknown")


def _buckets(spans: list[tuple[int, int]], deltas: list[float], counts: list[float]) -> dict[int, float]:
    """By index. Offsets of spans are gaps: the first from 0, each other from the end of the one before."""
    if not counts:
        total = 0.0
        for delta in deltas:
            total += delta
            counts.append(total)
    if sum(length for _, length in spans) != len(counts):
        raise BadExposition(f"spans name {sum(length for _, length in spans)} native buckets, and {len(counts)} are there")
    found: dict[int, float] = {}
    index, place = 0, 0
    for offset, length in spans:
        index += offset
        for n in counts[place : place + length]:
            if n:
                found[index] = n
            index += 1
        place += length
    return found


def fitted(histogram: Histogram, natives: Natives) -> Histogram:
    """At a resolution that is allowed. Raises `BadExposition` where even the coarsest has too many buckets."""
    found = histogram
    while found.schema > LOWEST_SCHEMA and 1 < exponential_bound(found.schema, 1) < natives.least_factor:
        found = found.to_schema(found.schema - 1)
    while 0 < natives.bucket_limit < len(found.positive) + len(found.negative):
        if found.schema == LOWEST_SCHEMA:
            raise BadExposition(f"bucket limit exceeded: {natives.bucket_limit} buckets are allowed in a native histogram")
        found = found.to_schema(found.schema - 1)
    return found


# --- values ---------------------------------------------------------------------------------------------------------------


def _bytes(value: Wire) -> bytes:
    if isinstance(value, int):
        raise Unreadable("a number where a message is expected")
    return value


def _text(value: Wire) -> str:
    return _bytes(value).decode()


def _integer(value: Wire) -> int:
    if not isinstance(value, int):
        raise Unreadable("a message where a number is expected")
    return value


def _double(value: Wire) -> float:
    found: float = _DOUBLE.unpack(_bytes(value))[0]
    return found


def _zigzag(value: int) -> int:
    return (value >> 1) ^ -(value & 1)


def _packed(value: Wire) -> Iterator[int]:
    """Repeated integers, packed into one field or one by one."""
    if isinstance(value, int):
        yield value
        return
    at = 0
    while at < len(value):
        one, at = _varint(value, at)
        yield one


def _bound(value: float) -> str:
    """As Prometheus writes `le` and `quantile`."""
    return "+Inf" if value == float("inf") else "-Inf" if value == float("-inf") else repr(value)
