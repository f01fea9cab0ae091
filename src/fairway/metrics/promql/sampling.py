"""`limitk` and `limit_ratio`: some of the series, the same ones each time.

A series' place between 0 and 1 is the xxHash64 of its labels, laid out as Prometheus lays them out: both then choose the
same series, and `limit_ratio(r, x)` with `limit_ratio(r - 1, x)` are all of them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fairway.metrics.promql.aggregation import Groups, check_k
from fairway.metrics.promql.notes import Notes
from fairway.metrics.promql.numbers import format_float
from fairway.metrics.promql.values import QueryError, Vector
from fairway.metrics.series import Floats

_P1, _P2, _P3 = 11400714785074694791, 14029467366897019727, 1609587929392839161
_P4, _P5 = 9650029242287828579, 2870177450012600261
_MASK = (1 << 64) - 1


def first_of(groups: Groups, k: Floats) -> Vector:
    """`limitk`: the first k series of each group at every step."""
    if np.isnan(k).any():
        raise QueryError("Parameter value is NaN")
    check_k(k)
    present = groups.vector.present
    chosen = np.zeros_like(present)
    for rows in groups.members():
        chosen[rows] = present[rows] & (np.cumsum(present[rows], axis=0) <= np.floor(k))
    return groups.vector.masked(chosen).trimmed()


def share_of(vector: Vector, ratio: Floats, notes: Notes) -> Vector:
    """`limit_ratio`: a negative ratio is the complement of the positive one."""
    if np.isnan(ratio).any():
        raise QueryError("Ratio value is NaN")
    for bad in ratio[np.abs(ratio) > 1][:1]:
        shown, cap = format_float(float(bad)), "1" if bad > 0 else "-1"
        notes.warn(f"ratio value should be between -1 and 1, got {shown}, capping to {cap}")
    ratio = np.clip(ratio, -1.0, 1.0)
    places = np.array([_hash(row) / _MASK for row in vector.labels.rows()], np.float64).reshape(-1, 1)
    chosen = np.where(ratio >= 0, places < ratio, places >= 1.0 + ratio)
    return vector.masked(chosen).trimmed()


def _hash(labels: Mapping[str, str]) -> int:
    data = bytearray()
    for name, value in sorted(labels.items()):
        for text in (name, value):
            encoded = text.encode("utf-8", "surrogateescape")
            size = len(encoded)
            data += bytes([size]) if size < 255 else bytes([255, size & 255, size >> 8 & 255, size >> 16 & 255])
            data += encoded
    return xxhash64(bytes(data))


def xxhash64(data: bytes) -> int:
    """With seed 0."""
    size, at = len(data), 0
    if size >= 32:
        lanes = [(_P1 + _P2) & _MASK, _P2, 0, -_P1 & _MASK]
        while at <= size - 32:
            for lane in range(4):
                lanes[lane] = _round(lanes[lane], int.from_bytes(data[at : at + 8], "little"))
                at += 8
        total = sum(_left(lane, turn) for lane, turn in zip(lanes, (1, 7, 12, 18), strict=True)) & _MASK
        for lane in lanes:
            total = ((total ^ _round(0, lane)) * _P1 + _P4) & _MASK
    else:
        total = _P5
    total = (total + size) & _MASK
    while at + 8 <= size:
        total = (_left(total ^ _round(0, int.from_bytes(data[at : at + 8], "little")), 27) * _P1 + _P4) & _MASK
        at += 8
    if at + 4 <= size:
        total = (_left(total ^ (int.from_bytes(data[at : at + 4], "little") * _P1 & _MASK), 23) * _P2 + _P3) & _MASK
        at += 4
    for byte in data[at:]:
        total = _left(total ^ (byte * _P5 & _MASK), 11) * _P1 & _MASK
    total = (total ^ total >> 33) * _P2 & _MASK
    total = (total ^ total >> 29) * _P3 & _MASK
    return total ^ total >> 32


def _left(value: int, turn: int) -> int:
    return (value << turn | value >> 64 - turn) & _MASK


def _round(lane: int, word: int) -> int:
    return _left((lane + word * _P2) & _MASK, 31) * _P1 & _MASK
