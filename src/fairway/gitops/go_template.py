"""The functions of ApplicationSets' Go templates: sprig's commonest, and Argo CD's own. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from fairway.gitops.sprig import SPRIG, shown
from fairway.manifests import go_template, yaml
from fairway.manifests.go_format import printf
from fairway.manifests.go_template import Language, TemplateError, truth

__all__ = ["TemplateError", "normalised", "render", "shown", "slug"]


def render(text: str, params: Mapping[str, Any], *, strict: bool = False) -> str:
    """`text` with the parameters filled in. `strict` (missingkey=error): an absent field is an error."""
    return go_template.render(text, params, Language(FUNCTIONS, shown, strict=strict))


# --- functions --------------------------------------------------------------------------------------------------------------


def _index(value: Any, *steps: Any) -> Any:
    for step in steps:
        value = value.get(step) if isinstance(value, Mapping) else value[step]
    return value


def _printf(form: str, *values: Any) -> str:
    return printf(form, values, shown)


def normalised(text: Any, longest: int = 253) -> str:
    """A name that the API takes: lower case, letters, digits, `-` and `.`."""
    plain = re.sub(r"[^-a-z0-9.]", "-", str(text).lower())[:longest]
    return re.sub(r"^[^a-z0-9]+|[^a-z0-9]+$", "", plain)


def slug(*values: Any) -> str:
    """`slugify [length] [smart truncation] text`: letters, digits and `-`, at most 50 long unless said otherwise."""
    *options, text = values
    longest = int(options[0]) if options else 50
    plain = re.sub(r"-{2,}", "-", re.sub(r"[^a-z0-9]+", "-", str(text).lower())).strip("-")
    return plain[:longest].strip("-")


def _default(fallback: Any, value: Any = None) -> Any:
    return value if truth(value) else fallback


def _compare(check: Callable[[Any, Any], bool]) -> Callable[..., bool]:
    return lambda a, *others: any(check(a, b) for b in others)


def _first_true(*values: Any) -> Any:
    return next((value for value in values if truth(value)), values[-1] if values else None)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **SPRIG,
    "index": _index, "printf": _printf, "print": lambda *v: "".join(map(shown, v)), "len": len,
    "eq": _compare(lambda a, b: a == b), "ne": lambda a, b: a != b, "lt": lambda a, b: a < b, "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b, "not": lambda v: not truth(v), "or": _first_true,
    "and": lambda *v: next((value for value in v if not truth(value)), v[-1]),
    "default": _default, "empty": lambda v: not truth(v), "coalesce": _first_true,
    "ternary": lambda yes, no, test: yes if test else no, "lower": lambda v: str(v).lower(), "upper": lambda v: str(v).upper(),
    "title": lambda v: str(v).title(), "trim": lambda v: str(v).strip(), "nospace": lambda v: re.sub(r"\s", "", str(v)),
    "trimPrefix": lambda p, v: str(v).removeprefix(p), "trimSuffix": lambda s, v: str(v).removesuffix(s),
    "trimAll": lambda c, v: str(v).strip(c), "replace": lambda a, b, v: str(v).replace(a, b),
    "contains": lambda part, v: part in str(v), "hasPrefix": lambda p, v: str(v).startswith(p),
    "hasSuffix": lambda s, v: str(v).endswith(s), "quote": lambda *v: " ".join(json.dumps(shown(i)) for i in v),
    "squote": lambda *v: " ".join(f"'{shown(i)}'" for i in v), "cat": lambda *v: " ".join(map(shown, v)),
    "trunc": lambda n, v: str(v)[:n] if n >= 0 else str(v)[n:], "substr": lambda a, b, v: str(v)[a:b if b >= 0 else None],
    "splitList": lambda s, v: str(v).split(s), "join": lambda s, v: s.join(map(shown, v)), "first": lambda v: v[0],
    "last": lambda v: v[-1], "has": lambda item, v: item in v, "list": lambda *v: list(v), "keys": lambda v: sorted(v),
    "dict": lambda *v: dict(zip(v[::2], v[1::2], strict=True)), "get": lambda m, k: m.get(k, ""),
    "hasKey": lambda m, k: k in m, "toString": shown, "toJson": lambda v: json.dumps(v, separators=(",", ":")),
    "toYaml": lambda v: yaml.dump(v).rstrip("\n"), "int": lambda v: int(float(v)), "add": lambda *v: sum(int(i) for i in v),
    "sub": lambda a, b: int(a) - int(b), "mul": lambda a, b: int(a) * int(b), "b64enc": lambda v: base64.b64encode(
        str(v).encode()).decode(), "b64dec": lambda v: base64.b64decode(v).decode(), "sha256sum": lambda v: hashlib.sha256(
        str(v).encode()).hexdigest(), "indent": lambda n, v: "\n".join(" " * n + line for line in str(v).split("\n")),
    "nindent": lambda n, v: "\n" + "\n".join(" " * n + line for line in str(v).split("\n")),
    "normalize": normalised, "slugify": slug, "base": lambda v: str(v).rpartition("/")[2],
    "dir": lambda v: str(v).rpartition("/")[0] or ".",
}  # fmt: skip
