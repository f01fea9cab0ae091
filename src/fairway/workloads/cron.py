"""The hands of CronJobs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from fairway.kube.cache import Informers
from fairway.kube.clock import Clock
from fairway.kube.decision import Outcome, carry_out_decision
from fairway.kube.errors import ApiError, Conflict
from fairway.kube.events import EventRecorder
from fairway.kube.objects import Key, uid_of
from fairway.kube.reconcile import Watch, owner_keys
from fairway.kube.resources import CRON_JOBS, JOBS
from fairway.workloads import decide_cron


class CronJobController:
    """Implements `Controller`."""

    name = "cronjob-controller"
    resource = CRON_JOBS
    workers = 2

    def __init__(self, informers: Informers, clock: Clock) -> None:
        self._informers = informers
        self._events = EventRecorder(informers.api, clock, self.name)
        self._cron_jobs, self._jobs = informers.of(CRON_JOBS), informers.of(JOBS)

    def watches(self) -> Sequence[Watch]:
        return [Watch(JOBS, owner_keys("CronJob"))]

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        one = self._cron_jobs.get(key)
        if one is None:
            return Outcome()
        result = decide_cron.decide(decide_cron.Seen(one, self._jobs.owned_by(uid_of(one))), now)
        try:
            outcome = await carry_out_decision(self._informers.api, result.decision, CRON_JOBS, one, manager=self.name)
        except Conflict:
            raise
        except ApiError as refusal:
            await self._events.event(one, "Warning", "FailedCreate", f"Error creating job: {refusal.message}")
            raise
        for remark in result.remarks:
            await self._events.event(one, remark.kind, remark.reason, remark.message)
        return outcome
