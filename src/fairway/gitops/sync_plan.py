"""The sync plan: one step of a sync, from what was done and what is live to what is done next.

A sync is a re-entrant machine over stored results. Nothing is remembered in the process: a step reads the results that
the Application's operationState holds, looks at the live objects, and answers

    refresh     what is running has become healthy, has failed, is gone, or has taken too long
    wait        something runs that the next group has to wait for
    fail        something failed: SyncFail hooks run, hooks with the policy HookFailed go
    succeed     nothing is left: hooks with the policy HookSucceeded go
    run         the first (phase, wave) that has no result yet; leftovers of hooks are deleted before

so that a process that is killed between any two writes goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from fairway.gitops.health import Check, Health, health
from fairway.gitops.tasks import Task, TaskKey, is_multi_step
from fairway.kube.objects import annotations_of, is_deleting, meta_of, parse_time, spec_of

OPERATION = "fairway.dev/operation"
"""Annotation on a hook: the operation that made it. One with our own id is ours although its result was not written."""

_LAST_WORDS = timedelta(minutes=1)  # a Job past its deadline stops its pods first: 30 s of grace, and as much again

ResultStatus = Literal["Synced", "SyncFailed", "Pruned", "PruneSkipped"]
HookPhase = Literal["Running", "Succeeded", "Failed", "Error"]
OperationPhase = Literal["Running", "Terminating", "Failed", "Error", "Succeeded"]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a task: what the API said (`status`), and how the object got on since (`phase`)."""

    status: ResultStatus
    message: str
    phase: HookPhase
    hook_type: str = ""
    version: str = ""

    @property
    def failed(self) -> bool:
        return self.status == "SyncFailed" or self.phase in ("Failed", "Error")


Results = Mapping[TaskKey, Result]


@dataclass(frozen=True, slots=True)
class Step:
    """What to do now. `run` is in order; `last`: when all of it succeeds, so has the sync."""

    phase: OperationPhase
    message: str
    results: dict[TaskKey, Result]
    delete: tuple[Task, ...] = ()
    run: tuple[Task, ...] = ()
    last: bool = False
    wake_at: datetime | None = None


def next_step(tasks: Sequence[Task], results: Results, *, operation: str, now: datetime, hook_limit: timedelta,
              check: Check = health, confirmed: bool = False) -> Step:
    """The next step of the sync with the id `operation`. `tasks` are in order (`fairway.gitops.tasks.order`).

    `confirmed`: somebody has agreed to delete what asks for that (`Prune=confirm`).
    """
    by_key = {task.key: task for task in tasks}
    seen = _adopted(tasks, results, operation)
    seen = {key: _refreshed(by_key.get(key), result, now, hook_limit, check) for key, result in seen.items()}
    main = [task for task in tasks if task.phase != "SyncFail"]
    running = [by_key[key] for key, result in seen.items() if result.phase == "Running" and key in by_key]
    waiting_for = running if is_multi_step(main) else [task for task in running if task.is_hook]
    if waiting_for:
        return Step("Running", _waiting(waiting_for, check), seen, wake_at=_deadline(waiting_for, hook_limit))
    if any(result.failed for key, result in seen.items() if key.phase != "SyncFail"):
        return _fail(tasks, seen, operation)
    pending = [task for task in main if task.key not in seen]
    if not pending:
        return Step("Succeeded", "successfully synced (all tasks run)", seen, delete=_finished_hooks(tasks, seen))
    group = [task for task in pending if (task.phase, task.wave) == (pending[0].phase, pending[0].wave)]
    unconfirmed = [] if confirmed else [task for task in group if task.is_prune and task.confirm]
    if unconfirmed:
        names = ", ".join(str(task.key) for task in unconfirmed)
        return Step("Running", f"waiting for pruning confirmation of {names}; confirm with: fairway app confirm-deletion", seen)
    rest = [task for task in pending if task not in group]
    return _run(group, seen, operation, last=not rest and not any(task.is_hook for task in group))


def _run(group: Sequence[Task], seen: dict[TaskKey, Result], operation: str, *, last: bool) -> Step:
    """Run a group, when no leftover of an earlier sync stands in its way."""
    leftovers = [task for task in group if task.live is not None and task.is_hook and task.deleted_before_creation()]
    if leftovers:
        names = ", ".join(str(task.key) for task in leftovers)
        gone = tuple(task for task in leftovers if not is_deleting(task.live or {}))
        return Step("Running", f"waiting for deletion of hook {names} of an earlier sync", seen, delete=gone)
    return Step("Running", f"running {group[0].phase} wave {group[0].wave}", seen, run=tuple(group), last=last)


def _fail(tasks: Sequence[Task], seen: dict[TaskKey, Result], operation: str) -> Step:
    """Something failed. SyncFail hooks run once; then the sync is over."""
    failed = {key: result for key, result in seen.items() if result.failed and key.phase != "SyncFail"}
    undone = [task for task in tasks if task.phase == "SyncFail" and task.key not in seen]
    if undone:
        return _run(undone, seen, operation, last=False)
    applied = [(k, r) for k, r in failed.items() if r.status == "SyncFailed"]
    reasons = "; ".join(f"{key}: {result.message}" for key, result in (applied or list(failed.items()))[:3])
    what = "one or more objects failed to apply" if applied else "one or more synchronization tasks completed unsuccessfully"
    return Step("Failed", f"{what}, reason: {reasons}", seen, delete=_finished_hooks(tasks, seen, failed=True))


def _adopted(tasks: Iterable[Task], results: Results, operation: str) -> dict[TaskKey, Result]:
    """The results, and one for each live hook that this very operation made before it could say so."""
    found = dict(results)
    for task in tasks:
        if task.is_hook and task.live is not None and task.key not in found and is_made_by(task, operation):
            found[task.key] = Result("Synced", "created", "Running", task.hook_type)
    return found


def is_made_by(task: Task, operation: str) -> bool:
    return annotations_of(task.live or {}).get(OPERATION) == f"{operation}-{task.phase}"


def _refreshed(task: Task | None, result: Result, now: datetime, hook_limit: timedelta, check: Check) -> Result:
    if result.phase != "Running":
        return result
    if task is None:  # no longer in the plan: a pruned object that is gone
        return replace(result, phase="Succeeded")
    if task.is_prune:
        return result if task.live is not None else replace(result, phase="Succeeded", message="pruned")
    if task.live is None:
        return replace(result, phase="Error", message="the object has disappeared while it was waited for")
    found = check(task.live)
    if task.is_hook:
        return _hook_result(task, result, found, now, hook_limit)
    if found is None or found.status == "Healthy":
        return replace(result, phase="Succeeded", message=result.message)
    if found.status == "Degraded":
        return replace(result, phase="Failed", message=found.message or "the object is degraded")
    return result


def _hook_result(task: Task, result: Result, found: Health | None, now: datetime, limit: timedelta) -> Result:
    if found is None or found.status == "Healthy":
        return replace(result, phase="Succeeded", message=found.message if found and found.message else result.message)
    if found.status in ("Degraded", "Unknown"):
        return replace(result, phase="Failed", message=found.message or f"the hook is {found.status}")
    deadline = _hook_deadline(task, limit)
    if deadline is not None and now >= deadline:
        return replace(result, phase="Failed",
                       message=f"the hook did not finish within {deadline - _created(task)}; see its log, or set "
                               "activeDeadlineSeconds")
    return replace(result, message=found.message) if found.message else result


def _created(task: Task) -> datetime:
    return parse_time(meta_of(task.live or {})["creationTimestamp"])


def _hook_deadline(task: Task, limit: timedelta) -> datetime | None:
    """When a hook has taken too long. A Job with a deadline of its own has that, and a minute to come to its end."""
    created = meta_of(task.live or {}).get("creationTimestamp")
    own = spec_of(task.obj).get("activeDeadlineSeconds")
    if not created:
        return None
    return parse_time(created) + (timedelta(seconds=own) + _LAST_WORDS if isinstance(own, int) else limit)


def _deadline(tasks: Iterable[Task], limit: timedelta) -> datetime | None:
    return min((d for task in tasks if task.is_hook and (d := _hook_deadline(task, limit)) is not None), default=None)


def _finished_hooks(tasks: Iterable[Task], seen: Results, *, failed: bool = False) -> tuple[Task, ...]:
    """Hooks of this sync that are to be deleted now that it has ended."""
    return tuple(task for task in tasks if task.is_hook and task.key in seen and task.deleted_when(not failed)
                 and not is_deleting(task.live or {}))


def _waiting(tasks: Sequence[Task], check: Check) -> str:
    of_hook = any(task.is_hook for task in tasks)
    what = "waiting for completion of hook" if of_hook else "waiting for healthy state of"
    first = next((task for task in tasks if task.is_hook), tasks[0])
    others = len(tasks) - 1
    text = f"{what} {first.key}" + (f" and {others} more {'hooks' if of_hook else 'resources'}" if others else "")
    found = check(first.live or {})
    return f"{text}: {found.message}" if found is not None and found.message else text
