"""Label and field selectors: parsed once, then asked of many objects.

Both syntaxes are kubectl's; `matches` answers for label maps. Source: apimachinery `labels.Parse` and
`metav1.LabelSelector`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from fairway.kube.errors import BadRequest
from fairway.kube.objects import dig

Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]


@dataclass(frozen=True, slots=True)
class Requirement:
    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        match self.operator:
            case "In":
                return self.key in labels and labels[self.key] in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values if self.key in labels else True
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels


@dataclass(frozen=True, slots=True)
class Selector:
    """A conjunction. No requirements: everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(r.matches(labels) for r in self.requirements)


EVERYTHING = Selector()
_SET = re.compile(r"^([^\s!=(),]+)\s+(in|notin)\s*\(([^()]*)\)$")
_EQUAL = re.compile(r"^([^\s!=(),]+)\s*(==|!=|=)\s*([^\s!=(),]*)$")
_EXISTS = re.compile(r"^(!?)\s*([^\s!=(),]+)$")


def _split(text: str) -> list[str]:
    """Split at commas that are not inside parentheses."""
    parts, depth, start = [], 0, 0
    for i, ch in enumerate(text):
        depth += (ch == "(") - (ch == ")")
        if ch == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [*parts, text[start:]]


@lru_cache(maxsize=4096)
def parse_labels(text: str) -> Selector:
    """`app=shop,tier in (a,b),!old` to a Selector; `BadRequest` with the part that is wrong."""
    if not text.strip():
        return EVERYTHING
    found: list[Requirement] = []
    for raw in _split(text):
        part = raw.strip()
        if m := _SET.match(part):
            values = tuple(sorted(v.strip() for v in m[3].split(",")))
            found.append(Requirement(m[1], "In" if m[2] == "in" else "NotIn", values))
        elif m := _EQUAL.match(part):
            found.append(Requirement(m[1], "NotIn" if m[2] == "!=" else "In", (m[3],)))
        elif m := _EXISTS.match(part):
            found.append(Requirement(m[2], "DoesNotExist" if m[1] else "Exists"))
        elif re.match(r"^\S+\s+(in|notin)\b", part):
            found_text = part.split(None, 2)[2:]
            raise BadRequest(f"unable to parse requirement: found '{''.join(found_text)}' expected: '('")
        else:
            raise BadRequest(f"unable to parse requirement: {part!r} in label selector {text!r}")
    return Selector(tuple(found))


def from_label_selector(selector: Mapping[str, Any] | None) -> Selector:
    """A `metav1.LabelSelector` (matchLabels, matchExpressions). None selects nothing, {} everything."""
    if selector is None:
        return Selector((Requirement("", "Exists"),))
    found = [Requirement(k, "In", (v,)) for k, v in sorted((selector.get("matchLabels") or {}).items())]
    for expression in selector.get("matchExpressions") or ():
        found.append(Requirement(expression["key"], expression["operator"], tuple(expression.get("values") or ())))
    return Selector(tuple(found))


def from_map(labels: Mapping[str, str]) -> Selector:
    """A Service-style selector: every pair must be there."""
    return Selector(tuple(Requirement(k, "In", (v,)) for k, v in sorted(labels.items())))


def to_text(selector: Selector) -> str:
    """As kubectl writes it; `parse_labels(to_text(s)) == s`."""
    parts = []
    for r in selector.requirements:
        match r.operator:
            case "Exists":
                parts.append(r.key)
            case "DoesNotExist":
                parts.append(f"!{r.key}")
            case "In" if len(r.values) == 1:
                parts.append(f"{r.key}={r.values[0]}")
            case "NotIn" if len(r.values) == 1:
                parts.append(f"{r.key}!={r.values[0]}")
            case "In" | "NotIn":
                parts.append(f"{r.key} {r.operator.lower()} ({','.join(r.values)})")
    return ",".join(parts)


@dataclass(frozen=True, slots=True)
class FieldTerm:
    path: str
    value: str
    negated: bool


@lru_cache(maxsize=4096)
def parse_fields(text: str) -> tuple[FieldTerm, ...]:
    """`metadata.name=x,status.phase!=Running`; `BadRequest` where a term has no operator."""
    terms = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        m = re.match(r"^([\w.\-\[\]/]+)\s*(==|!=|=)\s*(.*)$", part)
        if not m:
            raise BadRequest(f"invalid field selector {text!r}: {part!r} has no '=', '==' or '!='")
        terms.append(FieldTerm(m[1], m[3], m[2] == "!="))
    return tuple(terms)


def fields_match(terms: tuple[FieldTerm, ...], obj: Mapping[str, Any]) -> bool:
    """Absent fields compare as "". Booleans compare as true/false."""
    for term in terms:
        value = dig(obj, *term.path.split("."), default="")
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if (text == term.value) == term.negated:
            return False
    return True
