"""Server-side apply: who owns which field, and what an apply therefore changes.

An applier says the fields it wants. They are merged into the live object by the schema; fields that it said last time and
does not say now go, unless somebody else owns them; a field that another manager owns with another value is a conflict.
Plain writes are tracked too: what a write changes, its manager owns.

Source: structured-merge-diff, `merge` and `typed`; apimachinery `managedfields`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec

from fairway.kube.objects import Obj
from fairway.kube.patches import fieldsets
from fairway.kube.patches.fieldsets import Fields
from fairway.kube.schema import ANY, Schema

Operation = Literal["Apply", "Update"]

_NEVER_OWNED = (
    ("f:apiVersion",), ("f:kind",), ("f:metadata", "f:name"), ("f:metadata", "f:namespace"),
    ("f:metadata", "f:creationTimestamp"), ("f:metadata", "f:selfLink"), ("f:metadata", "f:uid"),
    ("f:metadata", "f:generation"), ("f:metadata", "f:managedFields"), ("f:metadata", "f:resourceVersion"),
    ("f:metadata", "f:deletionTimestamp"), ("f:metadata", "f:deletionGracePeriodSeconds"),
    ("f:metadata", "f:generateName"),
)  # fmt: skip
_BEFORE_FIRST_APPLY = "before-first-apply"
_MOST_UPDATERS = 10
_ANCIENT = "ancient-changes"


@dataclass(frozen=True, slots=True)
class Owner:
    """One entry of managedFields."""

    manager: str
    operation: Operation
    api_version: str
    subresource: str
    time: str
    fields: Fields

    @property
    def identity(self) -> tuple[str, str, str, str]:
        return self.manager, self.operation, self.api_version, self.subresource


@dataclass(frozen=True, slots=True)
class Ownership:
    """`manager` and how it writes now. `time` is RFC 3339."""

    manager: str
    api_version: str
    time: str
    subresource: str = ""


class Conflicts(ValueError):
    """Fields that other managers own. `fields` are (words about the manager, path of the field)."""

    def __init__(self, fields: Sequence[tuple[str, str]]) -> None:
        super().__init__(f"{len(fields)} conflicts")
        self.fields = fields


# --- managedFields as they travel -------------------------------------------------------------------------------------


def load_owners(obj: Obj) -> list[Owner]:
    """ValueError where an entry is not one."""
    owners = []
    for entry in obj["metadata"].get("managedFields") or ():
        operation = entry.get("operation")
        if operation not in ("Apply", "Update") or entry.get("fieldsType", "FieldsV1") != "FieldsV1":
            raise ValueError(f"invalid managedFields entry of manager {entry.get('manager')!r}")
        owners.append(Owner(str(entry.get("manager", "")), operation, str(entry.get("apiVersion", "")),
                            str(entry.get("subresource", "")), str(entry.get("time", "")),
                            fieldsets.load(entry.get("fieldsV1") or {})))
    return owners


def dump_owners(owners: Iterable[Owner]) -> list[Obj]:
    """In the order of servers: appliers first, then by time."""
    entries = []
    for owner in sorted(owners, key=lambda o: (o.operation, o.time, o.manager, o.api_version, o.subresource)):
        entry: Obj = {"manager": owner.manager, "operation": owner.operation, "apiVersion": owner.api_version,
                      "fieldsType": "FieldsV1", "fieldsV1": fieldsets.dump(owner.fields)}
        if owner.time:
            entry["time"] = owner.time
        if owner.subresource:
            entry["subresource"] = owner.subresource
        entries.append(entry)
    return entries


# --- what changed between two objects -----------------------------------------------------------------------------------


@dataclass(slots=True)
class Comparison:
    removed: Fields
    written: Fields
    """Added or modified."""


def compare(old: Any, new: Any, schema: Schema) -> Comparison:
    removed, written = _compare(old, new, schema)
    return Comparison(removed, written)


_ABSENT: Any = object()


def _compare(old: Any, new: Any, schema: Schema) -> tuple[Fields, Fields]:
    if old is new or (isinstance(old, dict | list) and _same(old, new)):
        return {}, {}
    if _whole(old, new, schema):
        if old is _ABSENT:
            return {}, fieldsets.member()
        if new is _ABSENT:
            return fieldsets.member(), {}
        return ({}, {}) if old == new and type(old) is type(new) else ({}, fieldsets.member())
    removed: Fields = {}
    written: Fields = {}
    if isinstance(old, dict) or isinstance(new, dict):
        before, after = _map(old), _map(new)
        for name in {**before, **after}:
            gone, made = _compare(before.get(name, _ABSENT), after.get(name, _ABSENT), schema.child(name) or ANY)
            _put(removed, "f:" + name, gone)
            _put(written, "f:" + name, made)
    else:
        items = schema.items or ANY
        first, second = _by_element(old, schema), _by_element(new, schema)
        for step in {**first, **second}:
            gone, made = _compare(first.get(step, _ABSENT), second.get(step, _ABSENT), items)
            _put(removed, step, gone)
            _put(written, step, made)
    if old is _ABSENT:
        written["."] = {}
    elif new is _ABSENT:
        removed["."] = {}
    return removed, written


def _same(old: Any, new: Any) -> bool:
    """Equal down to the types of numbers (1, 1.0 and true are not the same JSON). Most of an object is, at most writes."""
    return old == new and msgspec.json.encode(old) == msgspec.json.encode(new)


def _put(fields: Fields, step: str, node: Fields) -> None:
    if node:
        fields[step] = node


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _by_element(value: Any, schema: Schema) -> dict[str, Any]:
    return {fieldsets.element(item, schema): item for item in value} if isinstance(value, list) else {}


def _whole(old: Any, new: Any, schema: Schema) -> bool:
    """Compared as one value: leaves, values of different shapes, and where neither side holds anything."""
    sides = [side for side in (old, new) if side is not _ABSENT and side is not None]
    if not sides or all(side in ({}, []) for side in sides):
        return True
    if len(sides) == 2 and type(sides[0]) is not type(sides[1]):
        return True
    return fieldsets.is_leaf(sides[0], schema)


# --- the merge of what an applier says into what is there ---------------------------------------------------------------


def merge(live: Any, said: Any, schema: Schema) -> Any:
    """`live` with everything that `said` says; atomic values are replaced."""
    if fieldsets.is_leaf(said, schema) or type(live) is not type(said):
        return said
    if isinstance(said, dict):
        result = dict(live)
        for name, value in said.items():
            result[name] = merge(live[name], value, schema.child(name) or ANY) if name in live else value
        return result
    return _merge_lists(live, said, schema)


def _merge_lists(live: list[Any], said: list[Any], schema: Schema) -> list[Any]:
    """Both orders are kept where they agree; where they do not, the order of `said` wins."""
    items = schema.items or ANY
    left, right = _by_element(live, schema), _by_element(said, schema)
    left_order, right_order = list(left), list(right)
    shared = [step for step in right_order if step in left]
    done: set[str] = set()
    result: list[Any] = []
    li = ri = 0

    def take(step: str) -> None:
        done.add(step)
        result.append(merge(left[step], right[step], items) if step in left else right[step])
        if shared and shared[0] == step:
            shared.pop(0)

    while li < len(left_order) or ri < len(right_order):
        if li < len(left_order) and ri < len(right_order):
            step = left_order[li]
            if step == right_order[ri]:
                take(step)
                li, ri = li + 1, ri + 1
                continue
            if step in right and shared and shared[0] != step:
                li += 1
                continue
        if li < len(left_order):
            step = left_order[li]
            if step not in right:
                result.append(left[step])
                li += 1
                continue
            if step in done:
                li += 1
                continue
        if ri < len(right_order):
            take(right_order[ri])
            ri += 1
    return result


# --- apply and update ---------------------------------------------------------------------------------------------------


def applied(live: Obj, said: Obj, schema: Schema, owners: list[Owner], who: Ownership, *,
            force: bool) -> tuple[Obj, list[Owner]]:
    """The object after `who` applied `said` to `live`, and who owns what then. `Conflicts` unless `force`.

    An empty `live` is an object that is not there yet. managedFields are in `owners` alone, not in the objects.
    """
    if not owners and live:
        owners = [Owner(_BEFORE_FIRST_APPLY, "Update", who.api_version, "", who.time,
                        _ownable(fieldsets.of_value(live, schema), who))]
    identity = (who.manager, "Apply", who.api_version, who.subresource)
    last = next((owner for owner in owners if owner.identity == identity), None)
    now = Owner(who.manager, "Apply", who.api_version, who.subresource, who.time,
                _ownable(fieldsets.of_value(said, schema), who))
    others = [owner for owner in owners if owner.identity != identity]
    merged: Obj = merge(live, said, schema) if live else said
    if last is not None:
        merged = _prune(merged, schema, last.fields, [*others, now])
    others = _settle(compare(live, merged, schema), others, force=force)
    if last is not None and last.fields == now.fields:
        now = last
    return merged, [*others, now] if now.fields else others


def updated(live: Obj, new: Obj, schema: Schema, owners: list[Owner], who: Ownership) -> list[Owner]:
    """Who owns what after `who` wrote `new` over `live` by a plain write."""
    difference = compare(live, new, schema)
    difference.written = _ownable(difference.written, who)
    identity = (who.manager, "Update", who.api_version, who.subresource)
    own = next((owner for owner in owners if owner.identity == identity), None)
    others = _settle(difference, [owner for owner in owners if owner.identity != identity], force=True)
    before = own.fields if own is not None else {}
    fields = fieldsets.union(fieldsets.difference(before, difference.removed), difference.written)
    if own is not None and fields == before:
        return [*others, own]
    if not fields:
        return others
    return _cap([*others, Owner(who.manager, "Update", who.api_version, who.subresource, who.time, fields)])


def _ownable(fields: Fields, who: Ownership) -> Fields:
    """What nobody owns is left out: identity, and the half of the object that this way of writing does not reach."""
    if who.subresource == "status":
        return {step: node for step, node in fields.items() if step == "f:status"}
    for path in _NEVER_OWNED:
        fields = fieldsets.without(fields, *path)
    return fieldsets.without_member(fields, "f:metadata")


def _prune(merged: Obj, schema: Schema, last: Fields, managers: list[Owner]) -> Obj:
    """Remove what the applier said last time, and nobody says now."""
    owned: Fields = {}
    for owner in managers:
        owned = fieldsets.union(owned, fieldsets.with_named_fields(owner.fields, schema))
    dropped = fieldsets.difference(fieldsets.with_named_fields(last, schema), owned)
    pruned: Obj = fieldsets.remove(merged, schema, dropped) if dropped else merged
    return pruned


def _settle(difference: Comparison, others: list[Owner], *, force: bool) -> list[Owner]:
    """The other managers after a change: they lose what was removed, and what was written if that is forced."""
    conflicts: list[tuple[str, str]] = []
    kept = []
    for owner in others:
        fields = fieldsets.intersection(owner.fields, difference.written)
        if fields and not force:
            conflicts.extend((_words(owner), text) for text in fieldsets.texts(fields))
        left = fieldsets.difference(fieldsets.difference(owner.fields, fields), difference.removed)
        if left:
            kept.append(owner if left == owner.fields else replace(owner, fields=left))
    if conflicts:
        raise Conflicts(conflicts)
    return kept


def _words(owner: Owner) -> str:
    words = f'conflict with "{owner.manager}"'
    if owner.subresource:
        words += f' with subresource "{owner.subresource}"'
    return words + f" using {owner.api_version}" if owner.operation == "Update" else words


def _cap(owners: list[Owner]) -> list[Owner]:
    """At most ten updaters: the oldest ones are put together."""
    updaters = sorted((o for o in owners if o.operation == "Update"), key=lambda o: (o.time, o.manager))
    if len(updaters) <= _MOST_UPDATERS:
        return owners
    spare = updaters[: len(updaters) - _MOST_UPDATERS + 1]
    fields: Fields = {}
    for owner in spare:
        fields = fieldsets.union(fields, owner.fields)
    rest = [owner for owner in owners if owner not in spare]
    return [*rest, Owner(_ANCIENT, "Update", spare[-1].api_version, "", spare[-1].time, fields)]
