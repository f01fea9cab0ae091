"""What the series of kube-state-metrics have in common: names, labels, times, owners, conditions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from fairway.kube.objects import Obj, controller_of, dig, key_of, labels_of, meta_of, parse_time, spec_of, status_of
from fairway.kube.quantity import parse_quantity
from fairway.metrics.labels import NAME

Sample = tuple[dict[str, str], float]
Labels = Mapping[str, str]
_NO_LABEL = re.compile(r"[^a-zA-Z0-9_]")
_UNITS = {"cpu": "core", "memory": "byte", "storage": "byte", "ephemeral-storage": "byte"}
_NO_RESOURCE = re.compile(r"[^a-zA-Z0-9]+")


def sample(name: str, labels: Labels, value: float) -> Sample:
    """Labels without a value are left out."""
    return {NAME: name, "job": "kube-state-metrics", **{k: v for k, v in labels.items() if v}}, value


def named(kind: str, obj: Obj, label: str = "") -> dict[str, str]:
    key = key_of(obj)
    return {"namespace": key.namespace, label or kind: key.name}


def number(obj: Obj, path: str, default: float = 0) -> float:
    """The number at a dotted path; `default` where there is none."""
    found = dig(obj, *path.split("."))
    return float(default if found is None else found)


def moment(name: str, labels: Labels, text: str | None) -> Iterator[Sample]:
    if text:
        yield sample(name, labels, parse_time(text).timestamp())


def about(kind: str, obj: Obj, labels: Labels) -> Iterator[Sample]:
    """When it was made, and its labels; every kind has these."""
    yield from moment(f"kube_{kind}_created", labels, meta_of(obj).get("creationTimestamp"))
    own = {f"label_{_NO_LABEL.sub('_', name)}": value for name, value in labels_of(obj).items()}
    if own:
        yield sample(f"kube_{kind}_labels", {**labels, **own}, 1)


def owner(kind: str, obj: Obj, labels: Labels) -> Iterator[Sample]:
    ref = controller_of(obj) or {}
    yield sample(f"kube_{kind}_owner", {**labels, "owner_kind": ref.get("kind", ""), "owner_name": ref.get("name", ""),
                                        "owner_is_controller": "true" if ref else ""}, 1)  # fmt: skip


def conditions(kind: str, obj: Obj, labels: Labels) -> Iterator[Sample]:
    for entry in status_of(obj).get("conditions") or ():
        yield from words(f"kube_{kind}_status_condition", {**labels, "condition": entry["type"]}, "status", entry.get("status"))


def words(name: str, labels: Labels, label: str, said: object) -> Iterator[Sample]:
    """`true`, `false` and `unknown`, of which one is 1."""
    for word in ("true", "false", "unknown"):
        yield sample(name, {**labels, label: word}, float(str(said or "").lower() == word))


def one_of(name: str, labels: Labels, label: str, every: Iterable[str], said: object) -> Iterator[Sample]:
    for word in every:
        yield sample(name, {**labels, label: word}, float(said == word))


def amounts(name: str, labels: Labels, found: Mapping[str, object] | None) -> Iterator[Sample]:
    """Quantities by resource, each with its unit."""
    for resource, amount in (found or {}).items():
        unit = _UNITS.get(resource, "byte" if resource.startswith("hugepages-") else "integer")
        shown = {**labels, "resource": _NO_RESOURCE.sub("_", resource), "unit": unit}
        yield sample(name, shown, float(parse_quantity(str(amount))))


def spec_numbers(prefix: str, obj: Obj, labels: Labels, fields: Mapping[str, str]) -> Iterator[Sample]:
    """Numbers that are shown only where the spec says them."""
    for name, field in fields.items():
        if (value := spec_of(obj).get(field)) is not None:
            yield sample(f"{prefix}_{name}", labels, float(value))
