"""Labels and annotations of alerts: Go templates with Prometheus' functions.

Source: Prometheus `template/template.go` (behaviour).
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, quote_plus

from fairway.manifests.go_format import go_float, printf
from fairway.manifests.go_template import Language, check, render
from fairway.metrics.matchers import pattern
from fairway.metrics.promql.lexer import duration_seconds

Sample = Mapping[str, Any]
"""`{"Labels": {…}, "Value": number}`: one element of a query's answer."""
Query = Callable[[str], Sequence[Sample]]

_LARGE = ("k", "M", "G", "T", "P", "E", "Z", "Y")
_SMALL = ("m", "u", "n", "p", "f", "a", "z", "y")


def expanded(text: str, labels: Mapping[str, str], value: float, query: Query, *, url: str = "") -> str:
    """`text` with `$labels`, `$value`, `$externalLabels` and `$externalURL`. Raises `TemplateError`."""
    if "{{" not in text:
        return text
    dot = {"Labels": dict(labels), "Value": value, "ExternalLabels": {}, "ExternalURL": url}
    names = {"$labels": dot["Labels"], "$value": value, "$externalLabels": {}, "$externalURL": url}
    return render(text, dot, Language({**FUNCTIONS, "query": query}, show, missing=""), names=names)


def check_template(text: str) -> None:
    """`TemplateError` where it cannot be read."""
    if "{{" in text:
        check(text, Language({**FUNCTIONS, "query": lambda _: []}, show, missing=""))


def show(value: Any) -> str:
    """As Go prints it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return go_float(value)
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{show(inner)}" for key, inner in sorted(value.items())) + "]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(map(show, value)) + "]"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S") + (f".{value.microsecond:06d}".rstrip("0") if value.microsecond else
                                                       "") + " +0000 UTC"  # fmt: skip
    return "<no value>" if value is None else str(value)


# --- numbers for people -----------------------------------------------------------------------------------------------


def _number(value: Any) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def _scaled(value: float, factor: float, prefixes: Sequence[str]) -> tuple[float, str]:
    prefix = ""
    for one in prefixes:
        if (abs(value) < factor) if factor > 1 else (abs(value) >= 1):
            break
        prefix, value = one, value / factor
    return value, prefix


def humanize(given: Any) -> str:
    value = _number(given)
    if value == 0 or not math.isfinite(value):
        return _four(value)
    value, prefix = _scaled(value, 1000, _LARGE) if abs(value) >= 1 else _scaled(value, 0.001, _SMALL)
    return f"{value:.4g}{prefix}"


def humanize_1024(given: Any) -> str:
    value = _number(given)
    if abs(value) <= 1 or not math.isfinite(value):
        return _four(value)
    value, prefix = _scaled(value, 1024, [f"{p.lower() if p == 'k' else p}i" for p in _LARGE])
    return f"{value:.4g}{prefix}"


def humanize_duration(given: Any) -> str:
    value = _number(given)
    if not math.isfinite(value):
        return _four(value)
    if value == 0:
        return "0s"
    if abs(value) < 1:
        value, prefix = _scaled(value, 0.001, _SMALL)
        return f"{value:.4g}{prefix}s"
    sign, whole = ("-" if value < 0 else ""), int(abs(value))
    days, hours, minutes, seconds = whole // 86400, whole // 3600 % 24, whole // 60 % 60, whole % 60
    if days:
        return f"{sign}{days}d {hours}h {minutes}m {seconds}s"
    if hours:
        return f"{sign}{hours}h {minutes}m {seconds}s"
    return f"{sign}{minutes}m {seconds}s" if minutes else f"{sign}{abs(value):.4g}s"


def humanize_percentage(given: Any) -> str:
    return f"{_number(given) * 100:.4g}%"


def humanize_timestamp(given: Any) -> str:
    value = _number(given)
    return show(datetime.fromtimestamp(value, UTC)) if math.isfinite(value) else _four(value)


def _four(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else go_float(value)


# --- everything else --------------------------------------------------------------------------------------------------


def _first(samples: Sequence[Sample]) -> Sample:
    if not samples:
        raise ValueError("first() called on vector with no elements")
    return samples[0]


def _index(value: Any, *steps: Any) -> Any:
    for step in steps:
        value = value.get(step, "") if isinstance(value, Mapping) else value[step]
    return value


def _replaced(regex: str, replacement: str, text: str) -> str:
    return pattern(regex).sub(re.sub(r"\$\{?(\w+)\}?", r"\\g<\1>", replacement), text)


def _parsed_duration(text: str) -> float:
    found = duration_seconds(text)
    if found is None:
        raise ValueError(f"not a valid duration string: {text!r}")
    return found


def _graph(tab: int) -> Callable[[str], str]:
    return lambda expr: f"/graph?g0.expr={quote_plus(expr)}&g0.tab={tab}"


def _stripped_domain(host: str) -> str:
    name, colon, port = host.partition(":")
    return name if re.fullmatch(r"[\d.]+", name) else f"{name.partition('.')[0]}{colon}{port}"


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "index": _index, "len": len, "print": lambda *v: "".join(map(show, v)), "println": lambda *v: " ".join(map(show, v)) + "\n",
    "printf": lambda form, *v: printf(form, v, show), "eq": lambda a, *rest: a in rest, "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b, "le": lambda a, b: a <= b, "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b,
    "not": lambda v: not v, "or": lambda *v: next((one for one in v if one), v[-1]),
    "and": lambda *v: next((one for one in v if not one), v[-1]), "html": lambda v: html.escape(show(v)),
    "urlquery": lambda v: quote_plus(show(v)), "slice": lambda v, a=0, b=None: v[a:b],
    "first": _first, "label": lambda name, sample: sample["Labels"].get(name, ""), "value": lambda sample: sample["Value"],
    "strvalue": lambda sample: sample["Labels"].get("__value__", ""),
    "sortByLabel": lambda name, samples: sorted(samples, key=lambda one: one["Labels"].get(name, "")),
    "args": lambda *v: {f"arg{i}": one for i, one in enumerate(v)}, "safeHtml": lambda v: v,
    "title": lambda v: re.sub(r"\b\w", lambda m: m[0].upper(), v), "toUpper": str.upper, "toLower": str.lower,
    "match": lambda regex, text: pattern(regex).search(text) is not None, "reReplaceAll": _replaced,
    "graphLink": _graph(0), "tableLink": _graph(1), "stripPort": lambda v: re.sub(r":\d+$", "", v).strip("[]"),
    "stripDomain": _stripped_domain, "humanize": humanize, "humanize1024": humanize_1024,
    "humanizeDuration": humanize_duration, "humanizePercentage": humanize_percentage,
    "humanizeTimestamp": humanize_timestamp, "toTime": lambda v: datetime.fromtimestamp(_number(v), UTC),
    "pathPrefix": lambda: "", "externalURL": lambda: "", "parseDuration": _parsed_duration,
    "urlQueryEscape": lambda v: quote(v, safe=""),
}  # fmt: skip
