"""Secrets in a diff: equal values get the same run of plus signs, different ones another length. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from fairway.gitops.strategies import LAST_APPLIED, last_applied, prepared
from fairway.kube.objects import Obj, annotations_of, meta_of

_SHORTEST, _STEP = 8, 4


def masked(target: Obj | None, live: Obj | None, annotations: Iterable[str] = ()) -> tuple[Obj | None, Obj | None]:
    """Both sides of a Secret without its values; `annotations` are hidden in the same way."""
    target, live = (prepared(side) if side is not None else None for side in (target, live))
    said = last_applied(live) if live is not None else None
    said = prepared(said) if said is not None else None
    hidden = tuple(annotations)
    names: dict[str, list[tuple[str, Any]]] = {}
    for place, side in (("target", target), ("live", live), ("said", said)):
        for name, value in ((side or {}).get("data") or {}).items():
            names.setdefault(f"data/{name}", []).append((place, value))
        for name in hidden:
            if side is not None and name in annotations_of(side):
                names.setdefault(f"annotations/{name}", []).append((place, annotations_of(side)[name]))
    runs = {name: _runs(values) for name, values in names.items()}
    target, live, said = (_with_runs(side, place, runs) for place, side in (("target", target), ("live", live), ("said", said)))
    if live is not None and said is not None:
        notes = {**annotations_of(live), LAST_APPLIED: json.dumps(said, sort_keys=True)}
        live = {**live, "metadata": {**meta_of(live), "annotations": notes}}
    return target, live


def _runs(values: list[tuple[str, Any]]) -> dict[str, str]:
    """The mask of each place: as many different lengths as there are different values."""
    seen: list[Any] = []
    for _, value in values:
        if value not in seen:
            seen.append(value)
    return {place: "+" * (_SHORTEST + _STEP * seen.index(value)) for place, value in values}


def _with_runs(side: Obj | None, place: str, runs: dict[str, dict[str, str]]) -> Obj | None:
    if side is None:
        return None
    found = dict(side)
    if isinstance(side.get("data"), dict):
        found["data"] = {name: runs[f"data/{name}"][place] for name in side["data"]}
    notes = annotations_of(side)
    hidden = {name: runs[f"annotations/{name}"][place] for name in notes if place in runs.get(f"annotations/{name}", {})}
    return {**found, "metadata": {**meta_of(side), "annotations": {**notes, **hidden}}} if hidden else found
