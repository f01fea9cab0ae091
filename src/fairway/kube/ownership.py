"""Who wrote which field, kept in `metadata.managedFields` on every write.

The glue between the verbs of the API and `patches.apply`: what a new object is compared with, when ownership is reset, and
how conflicts are said.
"""

from __future__ import annotations

from typing import Any

from fairway.kube.errors import BadRequest, Conflict
from fairway.kube.objects import Obj
from fairway.kube.patches import apply
from fairway.kube.patches.apply import Owner, Ownership
from fairway.kube.resources import Resource
from fairway.kube.schema import Schema

_STRUCTS = frozenset({"metadata", "spec", "status", "strategy", "updateStrategy", "template"})
"""Fields that Go always writes, empty or not: for an object that is created, they are there already."""


def skeleton(schema: Schema) -> Obj:
    """What a built-in object is before anybody says anything: its always-present fields, empty."""
    result: Obj = {}
    for name, below in schema.fields.items():
        if name in schema.required or name in _STRUCTS:
            result[name] = skeleton(below) if below.kind == "object" and not below.atomic else None
    return result


def bare(obj: Obj) -> Obj:
    """The object without its managedFields, sharing everything else."""
    if "managedFields" not in obj["metadata"]:
        return obj
    return {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k != "managedFields"}}


def _owners(resource: Resource, obj: Obj) -> list[Owner]:
    try:
        return apply.load_owners(obj)
    except (ValueError, AttributeError, TypeError) as error:
        raise BadRequest(f"metadata.managedFields of {resource.qualified}: {error}") from error


def track(resource: Resource, schema: Schema, old: Obj | None, new: Obj, who: Ownership, *, built_in: bool) -> None:
    """Set the managedFields of `new`, which is written over `old` by a plain write. Changes `new`.

    managedFields that the client sent replace those of `old`; one empty entry clears them.
    """
    sent = new["metadata"].get("managedFields")
    if sent == [{}]:
        del new["metadata"]["managedFields"]
        return
    owners = _owners(resource, new) if sent else _owners(resource, old) if old is not None else []
    live: Any = bare(old) if old is not None else skeleton(schema) if built_in else {}
    if built_in and old is not None and "status" not in live:
        live = {**live, "status": {}}
    _put(new, apply.updated(live, bare(new), schema, owners, who))


def apply_said(resource: Resource, schema: Schema, old: Obj | None, said: Obj, who: Ownership, *,
               force: bool) -> tuple[Obj, list[Owner]]:
    """The object after `who` applied `said`, and its owners. `Conflict` names every field that others hold."""
    owners = _owners(resource, old) if old is not None else []
    try:
        return apply.applied(bare(old) if old is not None else {}, said, schema, owners, who, force=force)
    except apply.Conflicts as conflicts:
        raise _conflict(conflicts) from conflicts


def put_owners(obj: Obj, owners: list[Owner]) -> None:
    _put(obj, owners)


def _put(obj: Obj, owners: list[Owner]) -> None:
    if owners:
        obj["metadata"]["managedFields"] = apply.dump_owners(owners)
    else:
        obj["metadata"].pop("managedFields", None)


def _conflict(conflicts: apply.Conflicts) -> Conflict:
    fields = conflicts.fields
    causes = [{"reason": "FieldManagerConflict", "message": words, "field": path} for words, path in fields]
    if len(fields) == 1:
        text = f"1 conflict: {fields[0][0]}: {fields[0][1]}"
    else:
        by_manager: dict[str, list[str]] = {}
        for words, path in fields:
            by_manager.setdefault(words, []).append(f"- {path}")
        text = f"{len(fields)} conflicts: " + "\n".join(
            "\n".join((f"{words.replace('conflict', 'conflicts', 1)}:", *paths)) for words, paths in by_manager.items())
    return Conflict(f"Apply failed with {text}", details={"causes": causes})
