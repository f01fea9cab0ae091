"""axe-core's results, of one page or of several: violated rules by impact. Source: axe-core's API, "Results object"."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fairway.gates.forms.report import NOT_AS_EXPECTED, Finding, Findings, Unreadable, loaded, misread

_LEVEL = re.compile(r"^wcag2\d?(a{1,3})$")


def read_axe(text: str) -> Findings:
    body = loaded(text)
    pages = body if isinstance(body, list) else [body]
    if not pages or not all(isinstance(page, dict) and isinstance(page.get("violations"), list) for page in pages):
        raise Unreadable("`violations` is missing: these are not axe-core's results")
    try:
        return Findings(tuple(
            Finding(one["id"], frozenset({str(one.get("impact") or "unknown"), *_standard(one.get("tags") or ())}),
                    str(page.get("url", "")))
            for page in pages for one in page["violations"]
        ))  # fmt: skip
    except NOT_AS_EXPECTED as error:
        raise misread("axe", error) from None


def _standard(tags: Iterable[str]) -> list[str]:
    """The conformance level of the rule, as `a`, `aa` or `aaa` of any WCAG version."""
    return [m[1] for tag in tags if (m := _LEVEL.match(tag))]
