"""The job provider: a Kubernetes Job is the measurement; its success or failure is the outcome.

Source: argo-rollouts `metricproviders/job/job.go`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from fairway.kube.api import Api, DeleteOptions, WriteOptions
from fairway.kube.clock import Clock
from fairway.kube.errors import ApiError, NotFound
from fairway.kube.objects import Obj, copy_of, meta_of, owner_reference, status_of
from fairway.kube.resources import JOBS, PODS
from fairway.rollouts.analysis_spec import Metric
from fairway.rollouts.keys import MANAGER
from fairway.rollouts.measurements import Measurement, read_tallies
from fairway.rollouts.providers import Ask, failed_to_measure

JOB_NAME, JOB_NAMESPACE = "job-name", "job-namespace"
IMAGE_TROUBLE = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName"})
LOOK_AGAIN = timedelta(seconds=1)
"""How soon an unfinished Job is looked at for the first time; later ever less often, as √(2·elapsed)."""


class JobProvider:
    def __init__(self, api: Api, clock: Clock) -> None:
        self._api, self._clock = api, clock

    async def measure(self, ask: Ask, now: datetime) -> Measurement:
        job = _job(ask)
        try:
            await self._api.create(job, WriteOptions(manager=MANAGER))
        except ApiError as error:
            if error.reason != "AlreadyExists":
                return failed_to_measure(now, self._clock.now(), error.message)
        names = {JOB_NAME: str(job["metadata"]["name"]), JOB_NAMESPACE: str(job["metadata"]["namespace"])}
        return Measurement("Running", started_at=now, resume_at=now + LOOK_AGAIN, metadata=names)

    async def resume(self, ask: Ask, unfinished: Measurement, now: datetime) -> Measurement:
        try:
            job = await self._api.get(JOBS, unfinished.metadata.get(JOB_NAME, ""), unfinished.metadata.get(JOB_NAMESPACE, ""))
        except ApiError as error:
            return replace(unfinished, phase="Error", message=error.message, finished_at=now, resume_at=None)
        for condition in status_of(job).get("conditions") or ():
            if condition.get("status") != "True":
                continue
            if condition.get("type") == "Complete":
                return replace(unfinished, phase="Successful", finished_at=now, resume_at=None)
            if condition.get("type") == "Failed":
                return replace(unfinished, phase="Failed", message=str(condition.get("message") or ""), finished_at=now,
                               resume_at=None)
        stuck = await self._unpullable(job)
        if stuck:
            return replace(unfinished, phase="Inconclusive", message=stuck, finished_at=now, resume_at=None)
        elapsed = (now - unfinished.started_at).total_seconds() if unfinished.started_at else 0.0
        wait = max(LOOK_AGAIN, timedelta(seconds=math.sqrt(2 * max(elapsed, 0.0))))
        return replace(unfinished, resume_at=now + wait)

    async def _unpullable(self, job: Obj) -> str:
        """Why a pod of the Job cannot start however long one waits, "" where it can: nothing was measured then."""
        meta = meta_of(job)
        pods = await self._api.list(PODS, str(meta.get("namespace", "")), labels=f"job-name={meta.get('name')}")
        for pod in pods.items:
            for status in status_of(pod).get("containerStatuses") or ():
                waiting = (status.get("state") or {}).get("waiting") or {}
                if waiting.get("reason") in IMAGE_TROUBLE:
                    return f"Job pod {meta_of(pod).get('name')}: {waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
        return ""

    async def end(self, ask: Ask, unfinished: Measurement, now: datetime) -> Measurement:
        name, namespace = unfinished.metadata.get(JOB_NAME, ""), unfinished.metadata.get(JOB_NAMESPACE, "")
        try:
            await self._api.delete(JOBS, name, namespace, DeleteOptions(propagation="Foreground"))
        except NotFound:
            pass
        except ApiError as error:
            return replace(unfinished, phase="Error", message=error.message, finished_at=now, resume_at=None)
        return replace(unfinished, phase="Inconclusive", message="the Job was ended before it had an outcome", finished_at=now,
                       resume_at=None)

    def about(self, metric: Metric) -> Mapping[str, str]:
        return {}


def _job(ask: Ask) -> Obj:
    """Named by run, metric and number of the measurement, so that a restart finds the one it had started."""
    settings: Mapping[str, Any] = ask.settings
    meta, written = meta_of(ask.run), settings.get("metadata") or {}
    tally = next((t for t in read_tallies(status_of(ask.run)) if t.name == ask.metric.name), None)
    number = (tally.count + tally.error if tally else 0) + 1
    name = f"{str(meta.get('uid', ''))[:8] or meta['name']}.{ask.metric.name}.{number}".lower()[:63]
    return {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        "metadata": {
            "name": name,
            "namespace": meta.get("namespace", ""),
            "labels": {**(written.get("labels") or {}), "analysisrun.argoproj.io/uid": str(meta.get("uid", ""))},
            "annotations": {**(written.get("annotations") or {}), "analysisrun.argoproj.io/name": str(meta.get("name", "")),
                            "analysisrun.argoproj.io/metric-name": ask.metric.name},
            "ownerReferences": [owner_reference(ask.run)],
        },
        "spec": copy_of(dict(settings.get("spec") or {})),
    }
