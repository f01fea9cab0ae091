"""jscpd's JSON: the share of duplicated lines, in percent."""

from __future__ import annotations

from fairway.gates.forms.report import NOT_AS_EXPECTED, Measured, Unreadable, loaded, misread


def read_jscpd(text: str) -> Measured:
    body = loaded(text)
    try:
        total = body["statistics"]["total"]
        if not total["lines"]:
            raise Unreadable("no line was looked at")
        clones = body.get("duplicates") or ()
        first = clones[0]["firstFile"] if clones else None
        detail = f"first {first['name']}:{first['start']}" if first else ""
        return Measured({"duplication": float(total["percentage"])}, {"duplication": detail})
    except NOT_AS_EXPECTED as error:
        raise misread("jscpd", error) from None
