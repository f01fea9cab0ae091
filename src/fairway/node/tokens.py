"""Tokens of a pod's service account: issued by the API's side of the house, kept here until most of their life is over."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from fairway.kube.objects import Obj
from fairway.kube.tokens import Token

RENEWED_AFTER = 0.8
"""The kubelet's own figure: a program that reads the file once a minute never holds a token that has run out."""


class AccountTokens(Protocol):
    """Implemented by `fairway.kube.accounts.Accounts`."""

    def for_pod(self, pod: Obj, *, audience: str = "", seconds: int = 3600) -> Token:
        """A token bound to this pod. Raises `NotFound` where its account is not there."""
        ...


class PodTokens:
    """One pod's tokens, by audience and life."""

    def __init__(self, source: AccountTokens | None) -> None:
        self._source = source
        self._held: dict[tuple[str, int], tuple[Token, datetime]] = {}

    def text(self, pod: Obj, audience: str, seconds: int, now: datetime) -> str | None:
        """None where nobody issues tokens."""
        if self._source is None:
            return None
        known = self._held.get((audience, seconds))
        if known is None or now >= known[1]:
            token = self._source.for_pod(pod, audience=audience, seconds=seconds)
            known = self._held[audience, seconds] = token, now + (token.expires - now) * RENEWED_AFTER
        return known[0].text

    def is_due(self, now: datetime) -> bool:
        return any(now >= due for _, due in self._held.values())
