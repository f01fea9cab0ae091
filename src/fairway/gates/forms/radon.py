"""radon's JSON: `radon cc -j` (cyclomatic complexity of each function) and `radon mi -j` (maintainability of each file)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fairway.gates.forms.report import NOT_AS_EXPECTED, Measured, Unreadable, loaded, misread


def read_radon(text: str) -> Measured:
    body = loaded(text)
    if not isinstance(body, dict):
        raise Unreadable("not a mapping of files: this is not radon's JSON (-j)")
    if not body:
        raise Unreadable("no file was measured")
    broken = [name for name, one in body.items() if isinstance(one, dict) and "error" in one]
    if broken:
        raise Unreadable(f"radon could not read {', '.join(broken[:5])}")
    try:
        if all(isinstance(one, dict) for one in body.values()):
            worst = min(body, key=lambda name: float(body[name]["mi"]))
            return Measured({"maintainability": float(body[worst]["mi"])}, {"maintainability": worst})
        blocks = [(float(block["complexity"]), f"{block['name']} at {name}:{block['lineno']}")
                  for name, listed in body.items() for block in _functions(listed)]  # fmt: skip
    except NOT_AS_EXPECTED as error:
        raise misread("radon", error) from None
    if not blocks:
        raise Unreadable("no function was measured")
    highest, where = max(blocks)
    return Measured({"complexity": highest, "average": sum(value for value, _ in blocks) / len(blocks)}, {"complexity": where})


def _functions(blocks: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Functions and methods; a class's own number is an average of its methods, which would count twice."""
    for block in blocks:
        if block.get("type") != "class":
            yield block
        yield from _functions(block.get("closures") or ())
