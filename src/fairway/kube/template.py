"""What Deployments and Rollouts share about pod templates: the hash that names a ReplicaSet, and int-or-percent fields.

Source: kubernetes `pkg/controller/controller_utils.go` ComputeHash and `rand.SafeEncodeString`. The hash need not equal
upstream's (they hash Go structs): controllers find an existing ReplicaSet by equal template first.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import msgspec

from fairway.kube.objects import Obj

_SAFE = "bcdfghjklmnpqrstvwxz2456789"


@lru_cache(maxsize=1024)
def fnv32a(data: bytes) -> int:
    value = 0x811C9DC5
    for byte in data:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def template_hash(template: Obj, collision_count: int = 0) -> str:
    """A short, label-safe hash of a pod template; the same template gives the same hash on every machine."""
    data = msgspec.json.encode(template, order="sorted")
    if collision_count:
        data += collision_count.to_bytes(8, "little")
    return "".join(_SAFE[ord(digit) % len(_SAFE)] for digit in str(fnv32a(data)))


def without_label(template: Obj, label: str) -> Obj:
    """The template with one label removed from its metadata, for comparing a ReplicaSet's with its owner's."""
    meta = dict(template.get("metadata") or {})
    labels = {k: v for k, v in (meta.get("labels") or {}).items() if k != label}
    meta["labels"] = labels
    return {**template, "metadata": meta}


def int_or_percent(value: Any, total: int, *, round_up: bool) -> int:
    """An absolute number, or "25%" of `total`. ValueError on anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = str(value)
    if text.endswith("%") and text[:-1].isdigit():
        share = int(text[:-1]) * total / 100
        return math.ceil(share) if round_up else math.floor(share)
    raise ValueError(f"invalid value {value!r}: a number or a percentage such as 25% is needed")
