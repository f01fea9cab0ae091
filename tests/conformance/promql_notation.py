"""How Prometheus' test language writes samples: numbers, gaps, native histograms, and series of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

from fairway.metrics.histogram import CUSTOM, Histogram, added, spread

Sample = float | str | Histogram
Samples = list[Sample]
"""A number, "_" (nothing), "stale", or a native histogram."""

_REPEAT = re.compile(r"^(?P<base>.+?)(?:(?P<sign>[+-])(?P<delta>[\d.eE]+(?:[eE][+-]?\d+)?))?x(?P<times>\d+)$")
_HISTOGRAM = re.compile(r"\{\{(.*?)\}\}(?:([+-])\{\{(.*?)\}\})?(?:x(\d+))?")
_FIELD = re.compile(r"(\w+)\s*:\s*(\[[^\]]*\]|[^\s\]]+)")
_RESETS = {"unknown": "unknown", "reset": "reset", "not_reset": "not_reset", "gauge": "gauge"}


def samples_of(text: str) -> Samples:
    found: Samples = []
    for word in re.findall(r"\{\{.*?\}\}(?:[+-]\{\{.*?\}\})?(?:x\d+)?|\S+", text):
        if match := _HISTOGRAM.fullmatch(word):
            base, times = histogram(match[1]), int(match[4] or 0)
            found.append(base)
            for _ in range(times):
                if match[2]:
                    step = histogram(match[3])
                    base = added(base, step if match[2] == "+" else replace(step.scaled(-1), reset=step.reset)).histogram
                found.append(base)
        elif match := _REPEAT.match(word):
            times = int(match["times"])
            if match["base"] in ("_", "stale"):
                found += [match["base"]] * times
            else:
                delta = float(match["delta"] or 0) * (-1 if match["sign"] == "-" else 1)
                found += [float(match["base"]) + delta * i for i in range(times + 1)]
        else:
            found.append(word if word in ("_", "stale") else float(word))
    return found


def histogram(text: str) -> Histogram:
    """What stands between `{{` and `}}`."""
    fields: dict[str, str] = dict(_FIELD.findall(text))
    schema = int(fields.get("schema", 0))
    return Histogram(
        schema, float(fields.get("z_bucket_w", 0)), float(fields.get("z_bucket", 0)), float(fields.get("count", 0)),
        float(fields.get("sum", 0)), _buckets(fields, ""), _buckets(fields, "n_"),
        tuple(_numbers(fields.get("custom_values", "[]"))) if schema == CUSTOM else (),
        _RESETS[fields.get("counter_reset_hint", "unknown")],  # type: ignore[arg-type]
    )  # fmt: skip


def _buckets(fields: Mapping[str, str], prefix: str) -> dict[int, float]:
    counts = _numbers(fields.get(f"{prefix}buckets", "[]"))
    return dict(spread(int(fields.get(f"{prefix}offset", 0)), counts))


def _numbers(text: str) -> list[float]:
    return [float(word) for word in text.strip("[]").replace(",", " ").split()]


_START = re.compile(r"([+-]?[\dhms.]+)(?:([+-])([\dhms.]+))?(?:x(\d+))?")


def starts_of(text: str, millis: object) -> list[float | None]:
    """Start times relative to their samples, in milliseconds; None where there is none. `millis` reads a duration."""
    assert callable(millis)
    found: list[float | None] = []
    for word in text.split():
        match = _START.fullmatch(word)
        if match is None or word.startswith("_"):
            found += [None] * (int(word[2:]) if word.startswith("_x") else 1)
            continue
        base = float(millis(match[1].lstrip("+")))
        step = float(millis(match[3])) * (-1 if match[2] == "-" else 1) if match[2] else 0.0
        found += [base + step * i for i in range(int(match[4] or 0) + 1)]
    return found


def converted(series: Mapping[tuple[tuple[str, str], ...], Samples]) -> dict[tuple[tuple[str, str], ...], Samples]:
    """Classic histograms as native ones with custom buckets, under the metric's own name (`load_with_nhcb`)."""
    groups: dict[tuple[tuple[str, str], ...], dict[str, Samples]] = {}
    for key, samples in series.items():
        labels = dict(key)
        base, _, part = labels.get("__name__", "").rpartition("_")
        if part not in ("bucket", "count", "sum") or (part == "bucket" and "le" not in labels):
            continue
        le = labels.pop("le", part) if part == "bucket" else part
        labels["__name__"] = base
        groups.setdefault(tuple(sorted(labels.items())), {})[le] = samples
    found = {}
    for key, parts in groups.items():
        bounds = sorted((float(le), le) for le in parts if le not in ("count", "sum"))
        if bounds:
            length = max(len(samples) for samples in parts.values())
            found[key] = [_converted(parts, bounds, i) for i in range(length)]
    return found


def _converted(parts: Mapping[str, Samples], bounds: list[tuple[float, str]], i: int) -> Sample:
    at = {le: samples[i] for le, samples in parts.items() if i < len(samples) and isinstance(samples[i], float)}
    here = [(bound, float(at[le])) for bound, le in bounds if le in at]  # type: ignore[arg-type]
    if not here:
        return "_"
    counts = [count for _, count in here]
    if any(b < a for a, b in pairwise(counts)):
        return "_"
    total = float(at.get("count", counts[-1]))  # type: ignore[arg-type]
    custom = tuple(bound for bound, _ in here if bound != float("inf"))
    steps = [b - a for a, b in zip([0.0, *counts], counts, strict=False)]
    if len(custom) == len(here):
        steps.append(total - counts[-1])
    return Histogram(CUSTOM, count=total, sum=float(at.get("sum", 0)), positive=dict(spread(0, steps)), custom=custom)  # type: ignore[arg-type]
