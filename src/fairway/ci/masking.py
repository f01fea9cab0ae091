"""Secrets do not appear in logs, not in any form in which tools usually print them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from typing import Protocol
from urllib.parse import quote
from xml.sax.saxutils import escape as xml_escape

MASK = "***"
_SHORTEST_FORM = 4  # shorter derived forms are ordinary text too often


class Masker(Protocol):
    """Where secrets are made known and texts are cleaned of them."""

    def add(self, secret: str) -> None: ...

    def mask(self, text: str) -> str: ...


class SecretMasker:
    """Masks each secret, each of its lines, and its base64, JSON, URI, XML and command forms."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        before = len(self._forms)
        for part in {secret, *secret.splitlines()}:
            if part.strip():
                self._forms.add(part)
                self._forms.update(form for form in _derived(part) if len(form) >= _SHORTEST_FORM)
        if len(self._forms) != before:
            longest_first = sorted(self._forms, key=lambda form: (-len(form), form))
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def mask(self, text: str) -> str:
        return self._pattern.sub(MASK, text) if self._pattern is not None else text


def _derived(secret: str) -> set[str]:
    raw = secret.encode()
    forms = {
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(secret, safe=""),
        quote(secret),
        xml_escape(secret, {"'": "&apos;", '"': "&quot;"}),
        secret.replace("'", "''"),
        secret.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A"),
        secret.strip("\"'"),
    }
    for shift in range(3):
        # At another alignment the first and last letters depend on the neighbours: what lies between is the secret's.
        encoded = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        start = -(-8 * shift // 6)
        end = (8 * (shift + len(raw))) // 6
        forms.add(encoded[start:end])
    forms.add(base64.b64encode(raw).decode())
    return {form for form in forms if form != secret}
