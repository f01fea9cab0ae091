"""Objects that `kubectl apply`, or Argo CD, applied from the client before. Pure.

Such an object carries what was said last in an annotation, and its fields belong to a manager that says nothing any more. A
server-side apply alone would never remove a field that git has dropped: the old manager still has it. So what was said then,
is no longer said, and belongs to nobody else is taken out with the apply, and the annotation is kept up to date, as clients
keep it. What another manager has as well (an autoscaler its replicas) stays.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

from fairway.gitops import hooks
from fairway.gitops.compare import MANAGER
from fairway.gitops.explain import owns
from fairway.gitops.spec import Application
from fairway.gitops.strategies import LAST_APPLIED, bare, last_applied, schema_of
from fairway.kube.objects import Obj, annotations_of
from fairway.kube.patches import apply
from fairway.kube.patches.merge_patch import difference
from fairway.kube.schema import ANY, Schema

_CLIENT = "kubectl-client-side-apply"
_OTHER_CLIENT = "argocd.argoproj.io/client-side-apply-migration-manager"
_LONGEST = 262_144  # bytes of all annotations of an object, as the API takes them
Steps = tuple[str, ...]


def taken_over(app: Application, target: Obj, result: Obj) -> Obj:
    """`result`, which is what applying `target` comes to, without what is left over from a client-side apply."""
    said = last_applied(result)
    if said is None or app.has("ClientSideApplyMigration=false"):
        return result
    schema = schema_of(target) or ANY
    if hooks.compares_by_hand(app.compare_options, target):
        return cast(Obj, _without(bare(said), target, result, schema, (), lambda steps: True))
    try:
        owners = apply.load_owners(result)
    except ValueError:
        owners = []
    clients = {MANAGER, _CLIENT, annotations_of(target).get(_OTHER_CLIENT, _CLIENT)}
    others = [owner.fields for owner in owners if owner.manager not in clients]
    return cast(Obj, _without(bare(said), target, result, schema, (),
                              lambda steps: not any(owns(fields, steps, result, schema) for fields in others)))


def patch_after(app: Application, target: Obj, result: Obj) -> Obj:
    """The merge patch to send after the apply; {} where nothing is left over and the annotation is right, or absent."""
    if LAST_APPLIED not in annotations_of(result):
        return {}
    after = taken_over(app, target, result)
    text = json.dumps(bare(target), separators=(",", ":")) + "\n"
    notes: Obj = {**annotations_of(after), LAST_APPLIED: text}
    if sum(len(name) + len(value) for name, value in notes.items()) > _LONGEST:
        del notes[LAST_APPLIED]
    return difference(result, {**after, "metadata": {**after["metadata"], "annotations": notes}})


def _without(before: Any, wanted: Any, value: Any, schema: Schema, steps: Steps, ours: Callable[[Steps], bool]) -> Any:
    if isinstance(before, dict) and isinstance(wanted, dict) and isinstance(value, dict):
        found = {}
        for key, inner in value.items():
            here = (*steps, key)
            if key in wanted or key == "status":
                found[key] = _without(before.get(key), wanted.get(key), inner, schema.child(key) or ANY, here, ours)
            elif key not in before or not ours(here):
                found[key] = inner
        return found
    if isinstance(before, list) and isinstance(wanted, list) and isinstance(value, list) and schema.kind == "list":
        return _items(before, wanted, value, schema, steps, ours)
    return value


def _items(before: list[Any], wanted: list[Any], value: list[Any], schema: Schema, steps: Steps,
           ours: Callable[[Steps], bool]) -> list[Any]:
    """Elements of a list go by their key, or by themselves; a list that is one value is the apply's."""
    def name(item: Any) -> Any:
        if schema.merge_key:
            return item.get(schema.merge_key) if isinstance(item, dict) else None
        return item if schema.list_type == "set" and not isinstance(item, dict | list) else None

    old, now = {name(item): item for item in before}, {name(item): item for item in wanted}
    found = []
    for n, item in enumerate(value):
        here, own = (*steps, str(n)), name(item)
        if own is None or (own not in now and (own not in old or not ours(here))):
            found.append(item)
        elif own in now:
            found.append(_without(old.get(own), now[own], item, schema.items or ANY, here, ours))
    return found
