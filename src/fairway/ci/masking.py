"""The port to masking: secrets do not appear in logs, in no form in which tools usually print them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol


class Masker(Protocol):
    """Where secrets are made known and texts are cleaned of them."""

    def add(self, secret: str, /) -> None: ...

    def mask(self, text: str) -> str: ...


MakeMasker = Callable[[Iterable[str]], Masker]
"""A masker that knows these secrets from the start: one per job."""
