"""ESLint's JSON: messages by level. A file that it could not parse is a `fatal` message, which counts as an error."""

from __future__ import annotations

from fairway.gates.forms.report import NOT_AS_EXPECTED, Finding, Findings, Unreadable, loaded, misread


def read_eslint(text: str) -> Findings:
    body = loaded(text)
    if not isinstance(body, list):
        raise Unreadable("not a list of files: this is not ESLint's JSON (--format json)")
    if not body:
        raise Unreadable("no file was linted")
    try:
        return Findings(tuple(
            Finding(one.get("ruleId") or "parsing", frozenset({"error" if one["severity"] == 2 else "warning"}),
                    f"{file['filePath']}:{one.get('line', 1)}", "fix" in one)
            for file in body for one in file["messages"]
        ))  # fmt: skip
    except NOT_AS_EXPECTED as error:
        raise misread("ESLint", error) from None
