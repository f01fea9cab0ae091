"""From what git describes to what shall be applied: namespaces filled in, repetitions settled, tracking stamped. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from fairway.gitops import hooks
from fairway.gitops.compare import Compared, object_key, unique
from fairway.gitops.hooks import Phase
from fairway.gitops.operation_state import OperationState
from fairway.gitops.spec import Application, Operation
from fairway.gitops.sync_plan import OPERATION
from fairway.gitops.tasks import Task, order, prune_waves, pull_forward
from fairway.gitops.tracking import tracked_app
from fairway.kube.decision import Reason
from fairway.kube.errors import NotFound
from fairway.kube.objects import Obj, group_of, meta_of
from fairway.kube.resources import CRDS, ResourceMap


@dataclass(frozen=True, slots=True)
class Targets:
    """`objects` are compared and applied, `hooks` only run during a sync."""

    objects: tuple[Obj, ...]
    hooks: tuple[Obj, ...]
    warnings: tuple[Reason, ...] = ()
    denied: tuple[tuple[Obj, str], ...] = ()
    """Objects that the project does not permit, and why."""


Refuse = Callable[[Obj], str]
"""Why an object may not be applied; "" where it may."""


def prepare(app: Application, rendered: Iterable[Obj], resources: ResourceMap, *, excluded: Callable[[Obj], bool] | None = None,
            refuse: Refuse | None = None) -> Targets:
    objects: list[Obj] = []
    hook_objects: list[Obj] = []
    denied: list[tuple[Obj, str]] = []
    left_out: list[Reason] = []
    rendered = list(rendered)
    coming = coming_scopes(rendered)
    placed = [with_namespace(obj, app.destination_namespace, resources, coming) for obj in rendered]
    single, repeated = unique(placed)
    for obj in single:
        if hooks.is_skipped(obj):
            continue
        if excluded is not None and excluded(obj):
            left_out.append(Reason("ExcludedResourceWarning", f"Resource {object_key(obj)} is excluded in the settings"))
            continue
        if refuse is not None and (why := refuse(obj)):
            denied.append((obj, why))
        elif hooks.is_hook(obj):
            hook_objects.append(obj)
        else:
            objects.append(app.tracking.mark(tracked_app(app.namespace, app.name), obj))
    warnings = tuple(Reason("RepeatedResourceWarning", f"{key} appears several times; the last one counts")
                     for key in repeated)
    return Targets(tuple(objects), tuple(hook_objects), (*warnings, *left_out), tuple(denied))


def coming_scopes(rendered: Iterable[Obj]) -> Mapping[tuple[str, str], bool]:
    """The kinds that are defined by what was rendered, and whether their objects have a namespace."""
    found = {}
    for spec in (obj.get("spec") or {} for obj in rendered if obj.get("kind") == CRDS.kind):
        found[str(spec.get("group")), str((spec.get("names") or {}).get("kind"))] = spec.get("scope") != "Cluster"
    return found


def with_namespace(obj: Obj, namespace: str, resources: ResourceMap, coming: Mapping[tuple[str, str], bool]) -> Obj:
    """Namespaced objects without a namespace get the destination's; cluster-scoped ones have none."""
    meta = meta_of(obj)
    try:
        namespaced = resources.of(obj).namespaced
    except NotFound:
        namespaced = coming.get((group_of(str(obj.get("apiVersion") or "")), str(obj.get("kind"))), True)
    if not namespaced:
        return {**obj, "metadata": {k: v for k, v in meta.items() if k != "namespace"}} if "namespace" in meta else obj
    if meta.get("namespace") or not namespace:
        return obj
    return {**obj, "metadata": {**meta, "namespace": namespace}}


def unserved(objects: Iterable[Obj], resources: ResourceMap) -> list[Obj]:
    """Those of a kind that nobody serves now."""
    return [obj for obj in objects if not _is_served(obj, resources)]


def _is_served(obj: Obj, resources: ResourceMap) -> bool:
    try:
        resources.of(obj)
    except NotFound:
        return False
    return True


def namespace_object(app: Application) -> Obj:
    """The destination namespace as CreateNamespace=true makes it."""
    meta: Obj = {"name": app.destination_namespace}
    for key in ("labels", "annotations"):
        if app.namespace_metadata.get(key):
            meta[key] = dict(app.namespace_metadata[key])
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}


def make_tasks(app: Application, state: OperationState, operation: Operation, compared: Sequence[Compared],
               hook_tasks: Sequence[Task], *, namespace_missing: bool) -> list[Task]:
    """Everything that this operation is to do, in order."""
    tasks = [task for entry in compared if (task := _task(entry, operation, state)) is not None]
    if not operation.partial and not operation.skip_hooks:
        tasks += hook_tasks
    if "CreateNamespace=true" in operation.sync_options and app.destination_namespace and namespace_missing and not any(
            task.kind == "Namespace" and task.key.name == app.destination_namespace for task in tasks):
        tasks.append(Task("Sync", namespace_object(app), None))
    tasks = prune_waves(tasks, prune_last="PruneLast=true" in operation.sync_options)
    return pull_forward(order(tasks))


def _task(entry: Compared, operation: Operation, state: OperationState) -> Task | None:
    chosen = operation.resources
    if entry.denied:
        return None
    if chosen and (entry.key.group, entry.key.kind, entry.key.namespace, entry.key.name) not in chosen:
        return None
    if entry.requires_pruning:
        if not operation.prune or prune_forbidden(entry, operation):
            return None
        return Task("Sync", None, entry.live, confirm=prune_option(entry, operation) == "confirm")
    out_of_sync_only = hooks.has_option("ApplyOutOfSyncOnly=true", operation.sync_options)
    task = Task("Sync", entry.target, entry.live)
    if out_of_sync_only and entry.status == "Synced" and task.key not in state.results:
        return None
    return task


def prune_forbidden(entry: Compared, operation: Operation) -> bool:
    return prune_option(entry, operation) == "false"


def prune_option(entry: Compared, operation: Operation) -> str:
    """`false`, `confirm` or `true`: the object's annotation, else the Application's option."""
    return hooks.option_value("Prune", hooks.options_of(entry.live), operation.sync_options) or "true"


def hook_object(obj: Obj, phase: Phase, app: Application, state: OperationState) -> Obj:
    """A hook as this operation makes it: named, tracked to the app, and marked with the operation."""
    meta = dict(meta_of(obj))
    if not meta.get("name"):
        started = int(state.started_at.timestamp())
        meta["name"] = f"{meta.pop('generateName', 'hook-')}{state.revision[:7]}-{phase.lower()}-{started}"
    annotations = {**(meta.get("annotations") or {}), OPERATION: f"{state.id}-{phase}"}
    marked = {**obj, "metadata": {**meta, "annotations": annotations}}
    return app.tracking.mark(tracked_app(app.namespace, app.name), marked)
