"""What a CronJob does next: the Job of the last time that was missed, if it may still start.

A Job is named after its minute, so that a pass that is repeated makes no second one. Source: kubernetes
`pkg/controller/cronjob` (cronjob_controllerv2.go, utils.go).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from fairway.kube.cron_schedule import Every, Schedule, parse_schedule
from fairway.kube.decision import Action, Create, Decision, Delete, Reason
from fairway.kube.objects import (
    Obj,
    is_controlled_by,
    is_deleting,
    key_of,
    meta_of,
    owner_reference,
    parse_time,
    rfc3339,
    spec_of,
    status_of,
    uid_of,
)
from fairway.kube.resources import JOBS
from fairway.workloads.job_status import finished
from fairway.workloads.remarks import Remark

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
_MANY_MISSED = 100


@dataclass(frozen=True, slots=True)
class Seen:
    """`jobs`: those that the CronJob controls."""

    cron_job: Obj
    jobs: Sequence[Obj]


@dataclass(frozen=True, slots=True)
class Result:
    decision: Decision
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True)
class _Start:
    """`at`: the time that is due, where a Job is started for it."""

    actions: tuple[Action, ...] = ()
    remarks: tuple[Remark, ...] = ()
    at: datetime | None = None
    wake_at: datetime | None = None
    reasons: tuple[Reason, ...] = ()


def decide(seen: Seen, now: datetime) -> Result:
    owner = seen.cron_job
    jobs = [job for job in seen.jobs if is_controlled_by(job, owner)]
    if is_deleting(owner):
        return Result(Decision())
    active = [job for job in jobs if finished(job) is None and not is_deleting(job)]
    ended = [job for job in jobs if finished(job) is not None]
    start = _start(owner, jobs, active, now)
    status: Obj = {"active": [_reference(job) for job in active] or None}
    if start.at is not None:
        status["lastScheduleTime"] = rfc3339(start.at)
    successes = [str(status_of(job).get("completionTime") or "") for job in ended]
    if latest := max([*successes, str(status_of(owner).get("lastSuccessfulTime") or "")]):
        status["lastSuccessfulTime"] = latest
    decision = Decision((*_clean(owner, ended), *start.actions), status, start.wake_at, start.reasons)
    return Result(decision, (*_completed(owner, ended), *start.remarks))


def _start(owner: Obj, jobs: Sequence[Obj], active: Sequence[Obj], now: datetime) -> _Start:
    spec = spec_of(owner)
    if spec.get("suspend"):
        return _Start(reasons=(Reason("Suspended", "the CronJob is suspended"),))
    zone = str(spec.get("timeZone") or "")
    try:
        schedule = parse_schedule(str(spec.get("schedule", "")), zone)
    except KeyError:
        words = f"invalid timeZone: unknown time zone {zone}"
        return _Start(remarks=(Remark("Warning", "UnknownTimeZone", words),), reasons=(Reason("UnknownTimeZone", words),))
    except ValueError as error:
        words = f"unparseable schedule: {spec.get('schedule')} : {error}"
        return _Start(remarks=(Remark("Warning", "UnparseableSchedule", words),),
                      reasons=(Reason("UnparseableSchedule", words),))
    due, missed = _due(owner, schedule, now)
    wake_at = _next(schedule, due or _last(owner), now)
    remarks: tuple[Remark, ...] = ()
    if missed:
        remarks = (Remark("Warning", "TooManyMissedTimes", "too many missed start times. Set or decrease "
                          ".spec.startingDeadlineSeconds or check clock skew"),)
    if due is None:
        return _Start((), remarks, None, wake_at, (Reason("Waiting", f"the next run is due at {_said(wake_at)}"),))
    name = f"{meta_of(owner)['name']}-{int(due.timestamp()) // 60}"
    if any(meta_of(job)["name"] == name for job in jobs):
        return _Start((), remarks, due, wake_at)
    policy = spec.get("concurrencyPolicy", "Allow")
    if policy == "Forbid" and active:
        words = "Not starting job because prior execution is running and concurrency policy is Forbid"
        return _Start((), (*remarks, Remark("Normal", "JobAlreadyActive", words)), None, wake_at,
                      (Reason("JobAlreadyActive", f"{meta_of(active[0])['name']} runs"),))
    replaced = active if policy == "Replace" else []
    actions: list[Action] = [Delete(JOBS, *key_of(job), uid=uid_of(job)) for job in replaced]
    remarks += tuple(Remark("Normal", "SuccessfulDelete", f"Deleted job {meta_of(job)['name']}") for job in replaced)
    actions.append(Create(_job(owner, name, due, zone)))
    remarks += (Remark("Normal", "SuccessfulCreate", f"Created job {name}"),)
    return _Start(tuple(actions), remarks, due, wake_at, (Reason("Started", name),))


def _due(owner: Obj, schedule: Schedule, now: datetime) -> tuple[datetime | None, bool]:
    """The last time that has come and is neither started nor too late; whether too many were missed."""
    earliest = _last(owner)
    deadline = spec_of(owner).get("startingDeadlineSeconds")
    if deadline is not None:
        earliest = max(earliest, now - timedelta(seconds=int(deadline)))
    due = schedule.latest(earliest, now)
    count, moment = 0, schedule.next(earliest) if due is not None else None
    while moment is not None and moment < now and count <= _MANY_MISSED:
        count, moment = count + 1, schedule.next(moment)
    return due, count > _MANY_MISSED


def _last(owner: Obj) -> datetime:
    return parse_time(status_of(owner).get("lastScheduleTime") or meta_of(owner)["creationTimestamp"])


def _next(schedule: Schedule, since: datetime, now: datetime) -> datetime | None:
    """`@every` counts from the last time, a clock's schedule from now."""
    if isinstance(schedule, Every):
        return (schedule.latest(since, now) or since) + schedule.step
    return schedule.next(now)


def _said(moment: datetime | None) -> str:
    return rfc3339(moment) if moment is not None else "no time"


def _job(owner: Obj, name: str, due: datetime, zone: str) -> Obj:
    template = spec_of(owner).get("jobTemplate") or {}
    meta = meta_of(template)
    local = due.astimezone(ZoneInfo(zone)).isoformat(timespec="seconds") if zone else rfc3339(due)
    return {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        "metadata": {
            "name": name,
            "namespace": meta_of(owner)["namespace"],
            "labels": dict(meta.get("labels") or {}),
            "annotations": {**(meta.get("annotations") or {}), SCHEDULED: local},
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": dict(template.get("spec") or {}),
    }


def _reference(job: Obj) -> Obj:
    namespace, name = key_of(job)
    return {"apiVersion": JOBS.api_version, "kind": JOBS.kind, "namespace": namespace, "name": name, "uid": uid_of(job)}


def _clean(owner: Obj, ended: Sequence[Obj]) -> list[Action]:
    """Ended Jobs beyond the history limits, oldest first."""
    actions: list[Action] = []
    for kind, field, usual in (("Complete", "successfulJobsHistoryLimit", 3), ("Failed", "failedJobsHistoryLimit", 1)):
        alike = [job for job in ended if (entry := finished(job)) is not None and entry["type"] == kind]
        alike.sort(key=lambda job: (str(status_of(job).get("startTime") or ""), meta_of(job)["name"]))
        surplus = alike[:max(len(alike) - int(spec_of(owner).get(field, usual)), 0)]
        actions += [Delete(JOBS, *key_of(job), uid=uid_of(job)) for job in surplus if not is_deleting(job)]
    return actions


def _completed(owner: Obj, ended: Sequence[Obj]) -> list[Remark]:
    """Jobs that were active when this was last looked at, and have ended."""
    before = {ref.get("uid") for ref in status_of(owner).get("active") or ()}
    return [Remark("Normal", "SawCompletedJob", f"Saw completed job: {meta_of(job)['name']}, condition: {entry['type']}")
            for job in ended if uid_of(job) in before and (entry := finished(job)) is not None]
