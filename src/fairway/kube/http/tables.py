"""Objects as a Table, the form in which `kubectl get` prints them. Pure: ages are counted to a given now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

from fairway.kube.http import jsonpath
from fairway.kube.http.ages import age
from fairway.kube.http.columns import NAME, Column, Layout
from fairway.kube.http.columns_rest import LAYOUTS
from fairway.kube.objects import Obj, meta_of
from fairway.kube.resources import Resource

Include = Literal["Metadata", "None", "Object"]


def layout_of(resource: Resource, crd: Mapping[str, Any] | None) -> Layout:
    """The columns of a built-in kind, of a CRD's version, or name and age."""
    known = LAYOUTS.get(resource.group_kind)
    if known is not None:
        return known
    for version in (crd or {}).get("spec", {}).get("versions") or ():
        if version["name"] == resource.version and version.get("additionalPrinterColumns"):
            return _custom(version["additionalPrinterColumns"])
    return _custom([{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}])


def _custom(rows: Iterable[Mapping[str, Any]]) -> Layout:
    specs = list(rows)
    columns = [
        Column(row["name"], row["type"], row.get("priority", 0), row.get("format", ""),
               row.get("description") or f"Custom resource definition column (in JSONPath format): {row['jsonPath']}")
        for row in specs
    ]

    def cells(obj: Obj, now: datetime) -> list[Any]:
        return [meta_of(obj).get("name", ""), *(_custom_cell(obj, row, now) for row in specs)]

    return Layout((NAME, *columns), cells)


def _custom_cell(obj: Obj, row: Mapping[str, Any], now: datetime) -> Any:
    try:
        found = jsonpath.find(obj, row["jsonPath"])
    except ValueError:
        return None
    if not found or found[0] is None:
        return None
    value = found[0] if len(found) == 1 else ",".join(str(part) for part in found)
    match row["type"]:
        case "date":
            return age(str(value), now)
        case "integer" | "number" | "boolean":
            return value if isinstance(value, int | float) else None
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else _shown(value)


def _shown(value: Any) -> str:
    import json

    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def table(layout: Layout, items: Iterable[Obj], *, now: datetime, metadata: Obj, include: Include = "Metadata",
          headed: bool = True) -> Obj:
    """A `Table`. `headed` is false for every event of a watch but its first."""
    rows = [{"cells": layout.cells(obj, now), "object": _included(obj, include)} for obj in items]
    definitions = [column.definition() for column in layout.columns] if headed else None
    return {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": definitions,
            "rows": rows}


def _included(obj: Obj, include: Include) -> Obj | None:
    match include:
        case "None":
            return None
        case "Object":
            return obj
    return partial(obj)


def partial(obj: Obj) -> Obj:
    """`PartialObjectMetadata`: what of an object is the same for every kind."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": meta_of(obj)}
