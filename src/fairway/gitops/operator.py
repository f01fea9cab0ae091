"""Carrying one step of a sync out: apply, prune, hooks, retries. Hands; what to do is `sync_plan`'s."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from fairway.gitops import hooks
from fairway.gitops.compare import MANAGER, Compared
from fairway.gitops.comparison import TRANSIENT, Comparison, validation
from fairway.gitops.delegated import with_delegated
from fairway.gitops.health import Check, health
from fairway.gitops.ignoring import with_live_ignored
from fairway.gitops.operation_state import OperationState, short
from fairway.gitops.revert import is_aborted
from fairway.gitops.settings import Settings
from fairway.gitops.spec import Application, Operation
from fairway.gitops.sync_plan import Result, Step, next_step
from fairway.gitops.taking_over import patch_after
from fairway.gitops.targets import Targets, hook_object, make_tasks
from fairway.gitops.tasks import Task, TaskKey
from fairway.kube.api import ApplyPatch, DeleteOptions, MergePatch, Propagation, WriteOptions
from fairway.kube.cache import Informers
from fairway.kube.decision import Reason
from fairway.kube.errors import ApiError, Invalid, NotFound
from fairway.kube.objects import Obj, meta_of, uid_of
from fairway.kube.resources import ROLLOUTS

_PROPAGATION: dict[str, Propagation] = {"foreground": "Foreground", "background": "Background", "orphan": "Orphan"}


@dataclass(frozen=True, slots=True)
class Circumstances:
    """How health is judged, whether somebody has agreed to deletions that ask for it, and what is another application's."""

    check: Check = health
    confirmed: bool = False
    shared: tuple[Reason, ...] = ()


class Operator:
    def __init__(self, informers: Informers, comparison: Comparison, settings: Settings) -> None:
        self._informers = informers
        self._comparison = comparison
        self._settings = settings

    async def advance(self, app: Application, state: OperationState, operation: Operation, targets: Targets,
                      compared: Sequence[Compared], now: datetime,
                      around: Circumstances) -> tuple[OperationState, datetime | None]:
        """The operation one step further, and when to look again."""
        app = replace(app, sync_options=operation.sync_options)
        if not state.results and (denied := {_key(entry): _denied(entry) for entry in compared if entry.denied}):
            text = "one or more synchronization tasks are not valid: " + "; ".join(r.message for r in denied.values())
            return replace(state.ended("Failed", text, now), results=denied), None
        if not state.results and around.shared and "FailOnSharedResource=true" in operation.sync_options:
            text = "Shared resource found: " + "; ".join(reason.message for reason in around.shared)
            return state.ended("Failed", text, now), None
        if operation.dry_run:
            refused = {_key(entry): _refused(entry) for entry in compared if entry.error}
            ended = state.ended("Failed" if refused else "Succeeded", _dry_run_message(compared), now)
            return replace(ended, results=refused), None
        if not state.results and not operation.force and (
                refused := {_key(entry): _refused(entry) for entry in compared if entry.error}):
            message = "one or more objects failed to apply (dry run), nothing was changed: " + "; ".join(
                f"{key}: {result.message}" for key, result in list(refused.items())[:3])
            return self._failed(replace(state, results=refused), operation, message, now)
        tasks = await self._tasks(app, state, operation, targets, compared)
        step = next_step(tasks, state.results, operation=state.id, now=now, hook_limit=self._settings.hook_limit,
                         check=around.check, confirmed=around.confirmed)
        return await self._carry_out(app, replace(state, results=step.results, message=step.message), operation, step, now)

    async def terminate(self, app: Application, state: OperationState, targets: Targets, now: datetime) -> OperationState:
        """Stop: running hooks are deleted, nothing else is touched."""
        for task in await self._hook_tasks(app, state, targets):
            result = state.results.get(task.key)
            if result is not None and result.phase == "Running" and task.live is not None:
                await self._delete(task.live, "Background")
        return state.ended("Failed", "Operation terminated", now)

    async def _tasks(self, app: Application, state: OperationState, operation: Operation, targets: Targets,
                     compared: Sequence[Compared]) -> list[Task]:
        missing = self._comparison.namespace_missing(app.destination_namespace)
        hook_tasks = await self._hook_tasks(app, state, targets)
        return make_tasks(app, state, operation, compared, hook_tasks, namespace_missing=missing)

    async def _hook_tasks(self, app: Application, state: OperationState, targets: Targets) -> list[Task]:
        found = []
        for obj in targets.hooks:
            for phase in hooks.phases_of(obj):
                target = hook_object(obj, phase, app, state)
                found.append(Task(phase, target, await self._comparison.live(target)))
        return found

    async def _carry_out(self, app: Application, state: OperationState, operation: Operation, step: Step,
                         now: datetime) -> tuple[OperationState, datetime | None]:
        for task in step.delete:
            if task.live is not None:
                await self._delete(task.live, "Background")
        if step.phase == "Succeeded":
            return state.ended("Succeeded", step.message, now), None
        if step.phase == "Failed":
            return self._failed(state, operation, step.message, now)
        if not step.run:
            return state, step.wake_at
        results = dict(step.results)
        for task in step.run:
            results[task.key] = await self._run(app, task, operation)
        state = replace(state, results=results)
        failed = any(results[task.key].status == "SyncFailed" for task in step.run)
        if step.last and not failed:
            return state.ended("Succeeded", "successfully synced (all tasks run)", now), None
        return state, now

    def _failed(self, state: OperationState, operation: Operation, message: str,
                now: datetime) -> tuple[OperationState, datetime | None]:
        """Over, or to be tried again: then the phase stays Running and `finishedAt` says since when it waits."""
        if not operation.retry.allows(state.retry_count) or self._was_aborted(state):
            return state.ended("Failed", message, now), None
        due = now + operation.retry.wait(state.retry_count)
        text = f"{message}. Retrying attempt #{state.retry_count + 1} at {due:%H:%M:%S}"
        return replace(state, message=text, finished_at=now), due

    def _was_aborted(self, state: OperationState) -> bool:
        """Whether a Rollout of this sync was aborted: the same revision again would change nothing."""
        rollouts = self._informers.known(ROLLOUTS)
        for obj in rollouts.list() if rollouts is not None else ():
            meta = meta_of(obj)
            key = TaskKey("Sync", "argoproj.io", "Rollout", str(meta.get("namespace") or ""), str(meta.get("name")))
            if key in state.results and is_aborted(obj):
                return True
        return False

    def retry_due(self, state: OperationState, operation: Operation) -> datetime:
        assert state.finished_at is not None
        return state.finished_at + operation.retry.wait(state.retry_count)

    def retried(self, state: OperationState) -> OperationState:
        return replace(state, finished_at=None, retry_count=state.retry_count + 1, results={},
                       message=f"syncing to {short(state.revision)}, attempt #{state.retry_count + 1}")

    # --- one task -----------------------------------------------------------------------------------------------------

    async def _run(self, app: Application, task: Task, operation: Operation) -> Result:
        version = str(task.obj.get("apiVersion") or "").rpartition("/")[2]
        try:
            if task.is_prune:
                assert task.live is not None
                await self._delete(task.live, propagation_of(operation))
                return Result("Pruned", "pruned", "Running", version=version)
            message = await self._apply(app, task, force=operation.force)
            return Result("Synced", message, "Running", task.hook_type, version)
        except TRANSIENT:
            raise  # the pass is made again; what it has done so far is found as it is
        except ApiError as error:
            return Result("SyncFailed", error.message, "Failed", task.hook_type, version)

    async def _apply(self, app: Application, task: Task, *, force: bool) -> str:
        assert task.target is not None
        api, target, live = self._informers.api, task.target, task.live
        resource = api.resources.of(target)
        meta = meta_of(target)
        name, namespace = str(meta["name"]), str(meta.get("namespace") or "")
        if live is not None and app.has("RespectIgnoreDifferences=true"):
            target = with_live_ignored(target, live, app.ignore)
        target = with_delegated(target, live)
        options = WriteOptions(manager=MANAGER, validation=validation(app, target))
        own, of_live = hooks.options_of(target), hooks.options_of(live)
        if hooks.has_option("Force=true", own) and live is not None:
            await self._delete(live, "Foreground")
            await api.create(target, options)
            return f"{resource.qualified}/{name} deleted and created again"
        replacing = hooks.has_option("Replace=true", app.sync_options, own, of_live)
        if replacing and resource.kind not in ("Namespace", "CustomResourceDefinition"):
            await (api.replace(target, options) if live is not None else api.create(target, options))
            return f"{resource.qualified}/{name} replaced"
        try:
            applied = await api.patch(resource, name, namespace, ApplyPatch(target, force=True), options)
        except Invalid:
            if not force or live is None:
                raise
            await self._delete(live, "Background")
            await api.create(target, options)
            return f"{resource.qualified}/{name} deleted and created again"
        if live is None:
            return f"{resource.qualified}/{name} created"
        if after := patch_after(app, target, applied):
            applied = await api.patch(resource, name, namespace, MergePatch(after), WriteOptions(manager=MANAGER))
        same = meta_of(applied).get("resourceVersion") == meta_of(live).get("resourceVersion")
        return f"{resource.qualified}/{name} " + ("unchanged" if same else "configured")

    async def _delete(self, obj: Obj, propagation: Propagation) -> None:
        api, meta = self._informers.api, meta_of(obj)
        with suppress(NotFound):
            await api.delete(api.resources.of(obj), str(meta["name"]), str(meta.get("namespace") or ""),
                             DeleteOptions(propagation=propagation, uid=uid_of(obj)), WriteOptions(manager=MANAGER))


def propagation_of(operation: Operation) -> Propagation:
    for option in operation.sync_options:
        key, _, value = option.partition("=")
        if key == "PrunePropagationPolicy":
            return _PROPAGATION.get(value, "Foreground")
    return "Foreground"


def _key(entry: Compared) -> TaskKey:
    return TaskKey("Sync", *entry.key)


def _refused(entry: Compared) -> Result:
    version = str((entry.target or {}).get("apiVersion") or "").rpartition("/")[2]
    return Result("SyncFailed", entry.error, "Failed", version=version)


def _denied(entry: Compared) -> Result:
    version = str((entry.target or {}).get("apiVersion") or "").rpartition("/")[2]
    return Result("SyncFailed", entry.denied, "Failed", version=version)


def _dry_run_message(compared: Sequence[Compared]) -> str:
    changed = [entry for entry in compared if entry.status != "Synced"]
    return f"dry run: {len(changed)} of {len(compared)} objects would change"
