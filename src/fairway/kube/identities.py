"""Uids and name suffixes, each from a stream of its own, so that one seed gives one run."""

from __future__ import annotations

import random
import uuid

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels and no look-alikes, as Kubernetes chooses suffixes: no words by accident."""

_SUFFIX_LENGTH = 5
_LONGEST_BASE = 63 - _SUFFIX_LENGTH


class Identities:
    """`seed` None: from the machine's entropy."""

    def __init__(self, seed: int | None) -> None:
        self._uids = random.Random(None if seed is None else f"uid/{seed}")
        self._names = random.Random(None if seed is None else f"name/{seed}")

    def uid(self) -> str:
        return str(uuid.UUID(int=self._uids.getrandbits(128), version=4))

    def name(self, base: str) -> str:
        """`base` (cut to fit a label) and five random characters."""
        return base[:_LONGEST_BASE] + "".join(self._names.choices(_ALPHABET, k=_SUFFIX_LENGTH))

    def state(self) -> tuple[object, ...]:
        """Where both streams stand, for `go_on`."""
        return self._uids.getstate(), self._names.getstate()

    def go_on(self, state: tuple[object, ...]) -> None:
        uids, names = state
        self._uids.setstate(uids)  # type: ignore[arg-type]
        self._names.setstate(names)  # type: ignore[arg-type]
