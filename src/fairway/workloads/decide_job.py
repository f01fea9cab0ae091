"""What a Job does next: pods until enough of them succeeded, or until one of its limits is reached.

Each pod is counted exactly once, even if somebody deletes it: it carries a finalizer, its uid is first written to
`status.uncountedTerminatedPods`, then the finalizer is taken off, then the uid becomes a count. A crash between any
two of these steps repeats the step and nothing else.

Source: kubernetes `pkg/controller/job`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fairway.kube.api import MergePatch
from fairway.kube.decision import Action, Change, Create, Decision, Delete, Reason, earliest
from fairway.kube.objects import (
    Obj,
    dig,
    is_controlled_by,
    is_deleting,
    key_of,
    meta_of,
    parse_time,
    rfc3339,
    spec_of,
    status_of,
    uid_of,
)
from fairway.kube.resources import JOBS, PODS
from fairway.workloads.job_indexes import (
    FAILURES,
    INDEX,
    failed_indexes,
    failures_of,
    format_indexes,
    index_of,
    is_indexed,
    limit_per_index,
    parse_indexes,
    ready_at,
)
from fairway.workloads.job_policy import failed_by, judge, success
from fairway.workloads.job_status import (
    BACKOFF,
    COMPLETE,
    DEADLINE,
    FAILED_INDEXES,
    TOO_MANY_INDEXES,
    Verdict,
    decided,
    finished,
    with_entry,
)
from fairway.workloads.pods import (
    base_name,
    deletion_order,
    is_active,
    is_finished,
    is_ready,
    phase,
    pod_from_template,
    restarts,
    safe_suffix,
)

TRACKING = "batch.kubernetes.io/job-tracking"
OURS = "kubernetes.io/job-controller"
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 10, 600
"""Upstream: 10 s, doubled per failure in a row, at most 10 min."""


@dataclass(frozen=True, slots=True)
class Seen:
    """`pods`: those that the Job controls."""

    job: Obj
    pods: Sequence[Obj]


@dataclass(frozen=True, slots=True)
class _Tally:
    """Pods that ended. Limits are judged by `succeeded` and `failed`; the status may say `counted_…`."""

    succeeded: int
    failed: int
    uncounted: Obj
    counted_succeeded: int
    counted_failed: int
    done_indexes: frozenset[int]
    failed_indexes: frozenset[int]
    untrack: tuple[Obj, ...]
    broken: Verdict | None
    """A pod failed in a way that ends the Job."""


def decide(seen: Seen, now: datetime) -> Decision:
    job = seen.job
    pods = [pod for pod in seen.pods if is_controlled_by(pod, job)]
    if spec_of(job).get("managedBy", OURS) != OURS:
        return Decision(reasons=(Reason("ManagedByOther", f"{spec_of(job)['managedBy']} looks after this Job"),))
    if is_deleting(job):
        return Decision(tuple(untrack(pod) for pod in pods if _is_tracked(pod) and is_finished(pod)))
    tally = _count(job, pods)
    if finished(job) is not None:
        return _after_the_end(job, pods, tally, now)
    active = [pod for pod in pods if is_active(pod)]
    verdict = decided(job) or _verdict(job, active, tally, now)
    actions: list[Action] = [untrack(pod) for pod in tally.untrack]
    status = _status(job, active, pods, tally, now)
    wake_at: datetime | None = None
    reasons: tuple[Reason, ...]
    if verdict is not None:
        actions += [_delete(pod) for pod in active]
        _conclude(job, status, verdict, pods, tally, now)
        reasons = (Reason(verdict.reason, verdict.message),)
    elif spec_of(job).get("suspend"):
        actions += [action for pod in active for action in _unwanted(pod)]
        status["startTime"] = None
        status["active"] = 0
        status["conditions"] = with_entry(status["conditions"], now, "Suspended", "True", "JobSuspended",
                                          "Job suspended")
        reasons = (Reason("JobSuspended", "the Job is suspended"),)
    else:
        if any(entry["type"] == "Suspended" and entry["status"] == "True" for entry in status["conditions"]):
            status["conditions"] = with_entry(status["conditions"], now, "Suspended", "False", "JobResumed",
                                              "Job resumed")
        more, wake_at, reasons = _run(job, active, pods, tally, now)
        actions += more
        wake_at = earliest(wake_at, _deadline(job, status["startTime"]))
    return Decision(tuple(actions), status, wake_at, reasons)


# --- counting -----------------------------------------------------------------------------------------------------


def _is_tracked(pod: Obj) -> bool:
    return TRACKING in (meta_of(pod).get("finalizers") or ())


def untrack(pod: Obj) -> Action:
    kept = [name for name in meta_of(pod).get("finalizers") or () if name != TRACKING]
    namespace, name = key_of(pod)
    body = {"metadata": {"uid": uid_of(pod), "resourceVersion": meta_of(pod).get("resourceVersion"),
                         "finalizers": kept or None}}
    return Change(PODS, namespace, name, MergePatch(body))


def _count(job: Obj, pods: Sequence[Obj]) -> _Tally:
    tracked = {uid_of(pod): pod for pod in pods if _is_tracked(pod)}
    noted = status_of(job).get("uncountedTerminatedPods") or {}
    counts = {"succeeded": int(status_of(job).get("succeeded") or 0), "failed": int(status_of(job).get("failed") or 0)}
    uncounted: dict[str, list[str]] = {"succeeded": [], "failed": []}
    off: list[Obj] = []
    done = set(parse_indexes(str(status_of(job).get("completedIndexes") or "")))
    broken: Verdict | None = None
    for kind, uids in uncounted.items():
        for uid in noted.get(kind) or ():
            if uid in tracked:
                uids.append(uid)
                off.append(tracked[uid])
            else:
                counts[kind] += 1
    known = {*uncounted["succeeded"], *uncounted["failed"]}
    for uid, pod in tracked.items():
        if uid in known or not (is_finished(pod) or is_deleting(pod)):
            continue
        if is_deleting(pod) and not is_finished(pod) and _may_still_end(pod):
            continue
        if phase(pod) == "Failed":
            judged = judge(job, pod)
            if judged.action == "FailJob":
                broken = broken or failed_by(judged)
            elif judged.action == "Ignore":
                off.append(pod)
                continue
        uncounted["succeeded" if phase(pod) == "Succeeded" else "failed"].append(uid)
    for pod in pods:
        if phase(pod) == "Succeeded" and (index := index_of(pod)) is not None:
            done.add(index)
    indexed = is_indexed(job)
    return _Tally(
        succeeded=len(done) if indexed else counts["succeeded"] + len(uncounted["succeeded"]),
        failed=counts["failed"] + len(uncounted["failed"]),
        uncounted=dict(uncounted),
        counted_succeeded=len(done) if indexed else counts["succeeded"],
        counted_failed=counts["failed"],
        done_indexes=frozenset(done),
        failed_indexes=failed_indexes(job, pods) - done,
        untrack=tuple(off),
        broken=broken,
    )


def _may_still_end(pod: Obj) -> bool:
    """A pod that was deleted while it runs: the node reports its end; one that no node took never ran."""
    return bool(spec_of(pod).get("nodeName"))


# --- limits -------------------------------------------------------------------------------------------------------


def _verdict(job: Obj, active: Sequence[Obj], tally: _Tally, now: datetime) -> Verdict | None:
    spec = spec_of(job)
    if tally.broken is not None:
        return tally.broken
    limit = int(spec.get("backoffLimit", 6))
    again = sum(restarts(pod) for pod in active) if _restarts_in_place(job) else 0
    if tally.failed > limit or (again > 0 and tally.failed + again > limit):
        return BACKOFF
    deadline = None if spec.get("suspend") else _deadline(job, status_of(job).get("startTime"))
    if deadline is not None and now >= deadline:
        return DEADLINE
    completions = spec.get("completions")
    if completions is None:
        return COMPLETE if tally.succeeded > 0 and not active else None
    if is_indexed(job) and (met := success(job, tally.done_indexes, parse_indexes)) is not None:
        return met
    most = spec.get("maxFailedIndexes")
    if most is not None and len(tally.failed_indexes) > int(most):
        return TOO_MANY_INDEXES
    if tally.failed_indexes and tally.succeeded + len(tally.failed_indexes) >= int(completions):
        return FAILED_INDEXES if not active else None
    return COMPLETE if tally.succeeded >= int(completions) else None


def _restarts_in_place(job: Obj) -> bool:
    return bool(dig(job, "spec", "template", "spec", "restartPolicy") == "OnFailure")


def _deadline(job: Obj, started: str | None) -> datetime | None:
    limit = spec_of(job).get("activeDeadlineSeconds")
    return parse_time(started) + timedelta(seconds=int(limit)) if limit is not None and started else None


def _backoff(pods: Sequence[Obj], now: datetime) -> datetime | None:
    """When the next pod may start after failures in a row; None where it may start now."""
    ended = sorted((at, phase(pod) == "Failed") for pod in pods if is_finished(pod) and (at := _ended_at(pod)))
    in_a_row = 0
    for _, failed in ended:
        in_a_row = in_a_row + 1 if failed else 0
    if in_a_row == 0:
        return None
    ready_at = ended[-1][0] + timedelta(seconds=min(FIRST_BACKOFF_S * 2 ** (in_a_row - 1), LONGEST_BACKOFF_S))
    return ready_at if ready_at > now else None


def _ended_at(pod: Obj) -> datetime | None:
    times = [dig(entry, "state", "terminated", "finishedAt") for entry in status_of(pod).get("containerStatuses") or ()]
    known = [parse_time(at) for at in times if at]
    if known:
        return max(known)
    created = meta_of(pod).get("creationTimestamp")
    return parse_time(created) if created else None


# --- running ------------------------------------------------------------------------------------------------------


def _run(job: Obj, active: Sequence[Obj], pods: Sequence[Obj], tally: _Tally, now: datetime
         ) -> tuple[list[Action], datetime | None, tuple[Reason, ...]]:
    spec = spec_of(job)
    parallelism = int(spec.get("parallelism", 1))
    completions = spec.get("completions")
    if completions is None:
        wanted = len(active) if tally.succeeded > 0 else parallelism
    else:
        wanted = min(parallelism, int(completions) - tally.succeeded - len(tally.failed_indexes))
    surplus = len(active) - wanted
    if surplus > 0:
        return [action for pod in deletion_order(active)[:surplus] for action in _unwanted(pod)], None, ()
    if surplus == 0:
        return [], None, (Reason("PodsRunning", f"{len(active)} pods run, {tally.succeeded} succeeded"),)
    ending = _ending(job, pods)
    if ending and (surplus := surplus + ending) >= 0:
        return [], None, (Reason("WaitingForTermination", f"{ending} pods are ending"),)
    if is_indexed(job) and limit_per_index(job) is not None:
        return _retry_indexes(job, pods, active, tally, -surplus, now)
    if (due := _backoff(pods, now)) is not None:
        return [], due, (Reason("BackoffLimited", f"the next pod starts at {rfc3339(due)} after a failure"),)
    return _create(job, pods, active, tally, -surplus), None, (Reason("Creating", f"{-surplus} pods"),)


def _ending(job: Obj, pods: Sequence[Obj]) -> int:
    """With podReplacementPolicy Failed, a pod that is deleted is replaced when it has ended, not before."""
    if spec_of(job).get("podReplacementPolicy") != "Failed":
        return 0
    return sum(is_deleting(pod) and not is_finished(pod) for pod in pods)


def _create(job: Obj, pods: Sequence[Obj], active: Sequence[Obj], tally: _Tally, count: int) -> list[Action]:
    taken = {meta_of(pod)["name"] for pod in pods}
    seed = (uid_of(job), tally.succeeded, tally.failed, len(active))
    if is_indexed(job):
        return [Create(_indexed_pod(job, i, safe_suffix(*seed, i))) for i in _free(job, active, tally)[:count]]
    made: list[Action] = []
    turn = 0
    while len(made) < count:
        name = base_name(job) + safe_suffix(*seed, turn)
        turn += 1
        if name not in taken:
            made.append(Create(_pod(job, name)))
    return made


def _pod(job: Obj, name: str) -> Obj:
    pod = pod_from_template(job, spec_of(job)["template"], name)
    job_name, uid = meta_of(job)["name"], uid_of(job)
    pod["metadata"]["labels"].update({
        "batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": job_name,
        "controller-uid": uid, "job-name": job_name,
    })  # fmt: skip
    pod["metadata"].setdefault("finalizers", []).append(TRACKING)
    return pod


# --- indexed jobs -------------------------------------------------------------------------------------------------


def _free(job: Obj, active: Sequence[Obj], tally: _Tally) -> list[int]:
    taken = {*(index_of(pod) for pod in active), *tally.done_indexes, *tally.failed_indexes}
    return [i for i in range(int(spec_of(job)["completions"])) if i not in taken]


def _retry_indexes(job: Obj, pods: Sequence[Obj], active: Sequence[Obj], tally: _Tally, count: int, now: datetime
                   ) -> tuple[list[Action], datetime | None, tuple[Reason, ...]]:
    """Each index has a backoff of its own: one that fails holds no other back."""
    failures = failures_of(job, pods)
    ended: dict[int, datetime] = {}
    for pod in pods:
        index, at = index_of(pod), _ended_at(pod)
        if index is not None and at is not None and is_finished(pod):
            ended[index] = max(at, ended.get(index, at))
    made: list[Action] = []
    waits: list[datetime] = []
    for i in _free(job, active, tally):
        due = ready_at(i, failures.get(i, 0), ended, FIRST_BACKOFF_S, LONGEST_BACKOFF_S)
        if due is not None and due > now:
            waits.append(due)
        elif len(made) < count:
            pod = _indexed_pod(job, i, safe_suffix(uid_of(job), i, failures.get(i, 0)))
            pod["metadata"]["annotations"][FAILURES] = str(failures.get(i, 0))
            made.append(Create(pod))
    reason = Reason("Creating", f"{len(made)} pods, {len(waits)} indexes wait after a failure")
    return made, earliest(*waits), (reason,)


def _indexed_pod(job: Obj, index: int, suffix: str) -> Obj:
    pod = _pod(job, f"{base_name(job)[:50].rstrip('-')}-{index}-{suffix}")
    meta, spec = pod["metadata"], pod["spec"]
    meta["labels"][INDEX] = str(index)
    meta["annotations"] = {**(meta.get("annotations") or {}), INDEX: str(index)}
    spec["hostname"] = f"{meta_of(job)['name']}-{index}"
    variable = {"name": "JOB_COMPLETION_INDEX",
                "valueFrom": {"fieldRef": {"fieldPath": f"metadata.annotations['{INDEX}']"}}}
    for kind in ("initContainers", "containers"):
        if spec.get(kind):
            spec[kind] = [{**one, "env": [*(one.get("env") or ()), variable]} for one in spec[kind]]
    return pod


# --- status -------------------------------------------------------------------------------------------------------


def _status(job: Obj, active: Sequence[Obj], pods: Sequence[Obj], tally: _Tally, now: datetime) -> Obj:
    status: Obj = {
        "startTime": status_of(job).get("startTime") or rfc3339(now),
        "active": len(active),
        "ready": sum(is_ready(pod) for pod in active),
        "terminating": sum(is_deleting(pod) and not is_finished(pod) for pod in pods),
        "succeeded": tally.counted_succeeded,
        "failed": tally.counted_failed,
        "uncountedTerminatedPods": tally.uncounted,
        "conditions": list(status_of(job).get("conditions") or ()),
    }
    if is_indexed(job):
        status["completedIndexes"] = format_indexes(tally.done_indexes)
    if limit_per_index(job) is not None:
        status["failedIndexes"] = format_indexes(tally.failed_indexes)
    return status


def _conclude(job: Obj, status: Obj, verdict: Verdict, pods: Sequence[Obj], tally: _Tally, now: datetime) -> None:
    """The interim condition now; the final one when every pod has ended and has been counted."""
    status["conditions"] = with_entry(status["conditions"], now, verdict.interim, "True", verdict.reason,
                                      verdict.message)
    status["active"] = 0
    if any(not is_finished(pod) for pod in pods) or any(tally.uncounted.values()):
        return
    status["conditions"] = with_entry(status["conditions"], now, verdict.final, "True", verdict.reason,
                                      verdict.message)
    status["ready"] = 0
    if verdict.final == "Complete":
        status["completionTime"] = rfc3339(now)


def _after_the_end(job: Obj, pods: Sequence[Obj], tally: _Tally, now: datetime) -> Decision:
    actions: list[Action] = [untrack(pod) for pod in pods if _is_tracked(pod)]
    actions += [_delete(pod) for pod in pods if is_active(pod)]
    ttl, end = spec_of(job).get("ttlSecondsAfterFinished"), finished(job)
    if ttl is None or end is None:
        return Decision(tuple(actions))
    due = parse_time(end["lastTransitionTime"]) + timedelta(seconds=int(ttl))
    if now < due:
        return Decision(tuple(actions), wake_at=due, reasons=(Reason("KeptForTTL", f"until {rfc3339(due)}"),))
    namespace, name = key_of(job)
    return Decision((*actions, Delete(JOBS, namespace, name, uid=uid_of(job))))


def _unwanted(pod: Obj) -> list[Action]:
    """It goes because it is not wanted now, which is no failure of it: first it no longer counts."""
    return [untrack(pod), _delete(pod)] if _is_tracked(pod) else [_delete(pod)]


def _delete(pod: Obj) -> Action:
    namespace, name = key_of(pod)
    return Delete(PODS, namespace, name, uid=uid_of(pod))
