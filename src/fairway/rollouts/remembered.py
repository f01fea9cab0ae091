"""Reading the same specification again: an object is looked at at every change of its status, and what it asks for changes
seldom. What is remembered is a pure function's answer; the values are frozen and shared."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from fairway.kube.objects import Obj

T = TypeVar("T")
V = TypeVar("V")

_MOST = 256
_encode, _decode = msgspec.json.encode, msgspec.json.decode


def by_content(read: Callable[[Obj], T]) -> Callable[[Obj], T]:
    """`read` of a JSON object, once for each content. An error is not remembered. The object that `read` gets is its own."""
    known: dict[bytes, T] = {}

    def remembered(obj: Obj) -> T:
        text = _encode(obj)
        found = known.get(text)
        if found is None:
            found = read(_decode(text))
            _room_in(known)
            known[text] = found
        return found

    return remembered


def by_identity(ask: Callable[[V], T]) -> Callable[[V], T]:
    """`ask` of a frozen value, once for each; the value is held, so that no other one can get its identity."""
    known: dict[int, tuple[V, T]] = {}

    def remembered(value: V) -> T:
        found = known.get(id(value))
        if found is None:
            _room_in(known)
            found = known[id(value)] = (value, ask(value))
        return found[1]

    return remembered


def _room_in(known: dict[object, object] | dict[bytes, T] | dict[int, tuple[V, T]]) -> None:
    if len(known) >= _MOST:
        known.clear()
