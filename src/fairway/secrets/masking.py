"""Secrets do not appear in what people read: every value is printed as ***, in every form in which tools usually print it.

A form that is derived from a value (base64, URL-encoded, JSON-escaped, …) is masked only where it is long enough not to be
ordinary text. A base64 text that contains a secret among other bytes shows it in one of three alignments; of each, the
letters that depend on the secret alone are masked.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

MASK = "***"
_SHORTEST_DERIVED = 4
_IN_XML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&apos;", '"': "&quot;"})


class Masker:
    """Knows secrets and cleans texts of them. Costs nothing while it knows none."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._first: frozenset[str] = frozenset()
        self._longest = 0
        for secret in secrets:
            self.add(secret)

    def add(self, value: str) -> None:
        """Mask `value` from now on, each of its lines too, as `::add-mask::` asks. Blank values are no secrets."""
        before = len(self._forms)
        for part in {value, value.strip("\r\n"), *value.splitlines()}:
            if part.strip():
                self._forms.add(part)
                self._forms.update(form for form in derived(part) if len(form) >= _SHORTEST_DERIVED)
        if len(self._forms) > before:
            ordered = sorted(self._forms, key=lambda form: (-len(form), form))
            self._pattern = re.compile("|".join(map(re.escape, ordered)))
            self._first = frozenset(form[0] for form in ordered)
            self._longest = len(ordered[0])

    def mask(self, text: str) -> str:
        return text if self._pattern is None else self._pattern.sub(MASK, text)

    def stream(self) -> MaskedStream:
        """For text that comes in pieces, of which a secret may be in two."""
        return MaskedStream(self)

    def split(self, text: str) -> tuple[str, str]:
        """(what can be shown, masked; the end that may be the beginning of a secret and has to wait)."""
        if self._pattern is None:
            return text, ""
        shown: list[str] = []
        position, wait = 0, self._may_begin(text, 0)
        for match in self._pattern.finditer(text):
            if match.start() >= wait:
                break
            shown += (text[position : match.start()], MASK)
            position = match.end()
            if position > wait:
                wait = self._may_begin(text, position)
        return "".join([*shown, text[position:wait]]), text[wait:]

    def _may_begin(self, text: str, start: int) -> int:
        """The first place from `start` on whose rest of the text is the beginning of a longer form; else the end."""
        for place in range(max(start, len(text) - self._longest + 1), len(text)):
            if text[place] in self._first:
                rest = text[place:]
                if any(len(form) > len(rest) and form.startswith(rest) for form in self._forms):
                    return place
        return len(text)


class MaskedStream:
    """Text in pieces. What might be the beginning of a secret is held back until the next piece or `close`."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._waiting = ""

    def feed(self, piece: str) -> str:
        shown, self._waiting = self._masker.split(self._waiting + piece)
        return shown

    def close(self) -> str:
        rest, self._waiting = self._masker.mask(self._waiting), ""
        return rest


def derived(secret: str) -> set[str]:
    """The forms in which tools print a secret, apart from itself."""
    raw = secret.encode()
    forms = {
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        secret.translate(_IN_XML),
        shlex.quote(secret).removeprefix("'").removesuffix("'"),
        secret.replace("'", "''"),
        secret.replace("\\", "\\\\"),
        secret.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A"),
        secret.strip("\"'"),
        raw.hex(),
    }
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        forms.add(encode(raw).decode())
        for shift in range(3):
            # six bits a letter: the first and the last letter may depend on the neighbours
            letters = encode(b"\0" * shift + raw).decode().rstrip("=")
            forms.add(letters[-(-8 * shift // 6) : 8 * (shift + len(raw)) // 6])
    return forms - {secret, ""}
