"""The JSONPath that printer columns of CRDs use: fields, indexes, wildcards and equality filters. Pure.

    .spec.size    .status.conditions[?(@.type=="Ready")].status    .spec.ports[*].name    .metadata.labels.a\\.b/c
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from fairway.kube.objects import dig

_STEP = re.compile(
    r"""\.?(?P<name>(?:[^.\[\]\\]|\\.)+)          # .field, with \. for a dot in its name
      | \[\s*(?P<index>-?\d+)\s*\]                # [0]
      | (?P<all>\[\s*\*\s*\]|\.\*)                # [*]
      | \[\s*(?P<quote>['"])(?P<quoted>.*?)(?P=quote)\s*\]                                  # ['field']
      | \[\?\(\s*@\.?(?P<left>[^=!<>\s]*)\s*(?P<op>==|!=)\s*(?P<right>"[^"]*"|'[^']*'|[^)\s]+)\s*\)\]   # [?(@.a=="b")]
      | \.                                         # the object itself
    """,
    re.VERBOSE,
)
Step = tuple[str, Any]


@lru_cache(maxsize=1024)
def parse(path: str) -> tuple[Step, ...]:
    """Steps of a path; ValueError where it is not understood."""
    steps: list[Step] = []
    text, at = path.strip().removeprefix("$").strip("{}"), 0
    while at < len(text):
        m = _STEP.match(text, at)
        if m is None or m.end() == at:
            raise ValueError(f"JSONPath {path!r} is not understood at {text[at:]!r}")
        at = m.end()
        if m["name"] is not None:
            steps.append(("all", None) if m["name"] == "*" else ("field", re.sub(r"\\(.)", r"\1", m["name"])))
        elif m["index"] is not None:
            steps.append(("index", int(m["index"])))
        elif m["all"] is not None:
            steps.append(("all", None))
        elif m["quoted"] is not None:
            steps.append(("field", m["quoted"]))
        elif m["op"] is not None:
            steps.append(("filter", (tuple(filter(None, m["left"].split("."))), m["op"], m["right"].strip("\"'"))))
    return tuple(steps)


def find(obj: Any, path: str) -> list[Any]:
    """Every value that the path names; [] where there is none."""
    found = [obj]
    for kind, what in parse(path):
        found = [value for parent in found for value in _step(parent, kind, what)]
    return found


def _step(parent: Any, kind: str, what: Any) -> list[Any]:
    match kind:
        case "field":
            return [parent[what]] if isinstance(parent, dict) and what in parent else []
        case "index":
            return [parent[what]] if isinstance(parent, list) and -len(parent) <= what < len(parent) else []
        case "all":
            if isinstance(parent, dict):
                return list(parent.values())
            return list(parent) if isinstance(parent, list) else []
    left, operator, right = what
    entries = parent if isinstance(parent, list) else []
    return [entry for entry in entries if (_text(dig(entry, *left)) == right) == (operator == "==")]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
