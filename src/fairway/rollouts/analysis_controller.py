"""The hands of AnalysisRuns: ask what is due, measure it (side by side), and write what it means."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from fairway.kube.api import MergePatch, WriteOptions
from fairway.kube.cache import Informers
from fairway.kube.clock import Clock
from fairway.kube.decision import Delete, Outcome, Reason, carry_out, differs
from fairway.kube.errors import NotFound
from fairway.kube.events import EventKind, EventRecorder
from fairway.kube.objects import Key, Obj, dig, is_deleting, status_of, uid_of
from fairway.kube.reconcile import Watch, owner_keys
from fairway.kube.resources import ANALYSIS_RUNS, JOBS, SECRETS
from fairway.rollouts.analysis import Task
from fairway.rollouts.analysis_spec import decode_metric
from fairway.rollouts.args import ArgError, substitute
from fairway.rollouts.decide_analysis import Finished, Refused, Round, begin, conclude
from fairway.rollouts.keys import MANAGER
from fairway.rollouts.measurements import COMPLETED, Measurement
from fairway.rollouts.providers import Ask, MetricProvider, failed_to_measure

_REDACTED = "*****"


class AnalysisRunController:
    """`providers` by the name under `provider:` in a metric ("prometheus", "web", "job")."""

    name = "analysis"
    resource = ANALYSIS_RUNS
    workers = 8

    def __init__(self, informers: Informers, clock: Clock, providers: Mapping[str, MetricProvider]) -> None:
        self._api, self._clock, self._providers = informers.api, clock, dict(providers)
        self._events = EventRecorder(informers.api, clock, self.name)
        self._runs = informers.of(ANALYSIS_RUNS)
        informers.of(JOBS)

    def watches(self) -> Sequence[Watch]:
        return (Watch(JOBS, owner_keys(ANALYSIS_RUNS.kind)),)

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        run = self._runs.get(key)
        if run is None or is_deleting(run):
            return Outcome()
        match begin(run, now):
            case Finished(delete_at):
                if delete_at is not None and delete_at <= now:
                    await carry_out(self._api, [Delete(ANALYSIS_RUNS, key.namespace, key.name, uid_of(run))], manager=MANAGER)
                    return Outcome()
                return Outcome(delete_at)
            case Refused(status):
                await self._write(run, key, status)
                return Outcome(reasons=(Reason("AnalysisError", str(status["message"])),))
            case Round() as this:
                return await self._round(run, key, this)

    async def _round(self, run: Obj, key: Key, this: Round) -> Outcome:
        try:
            secrets = await self._secrets(this.spec.args, key.namespace)
        except ArgError as error:
            message = f"Unable to resolve metric arguments: {error}"
            await self._write(run, key, {"phase": "Error", "message": message, "metricResults": []})
            return Outcome(reasons=(Reason("AnalysisError", message),))
        taken = await asyncio.gather(*(self._take(run, this, task, secrets) for task in this.tasks))
        end = conclude(run, this, taken, self._clock.now())
        await self._write(run, key, end.status)
        said = end.message or f"measures {', '.join(metric.name for metric in this.metrics)}"
        return Outcome(end.wake_at, (Reason(f"Analysis{end.phase}", said),))

    async def _take(self, run: Obj, this: Round, task: Task,
                    secrets: Mapping[str, str]) -> tuple[Task, Measurement, Mapping[str, str]]:
        now = self._clock.now()
        values = {str(arg.get("name")): str(arg.get("value")) for arg in this.spec.args if arg.get("value") is not None}
        metric = decode_metric(substitute(this.spec.metrics[task.index], {**values, **secrets}))
        name = next((name for name, settings in metric.provider.items() if settings is not None), "")
        provider = self._providers.get(name)
        if provider is None:
            known = ", ".join(sorted(self._providers))
            return task, failed_to_measure(now, now, f"no provider {name!r} here, only {known}"), {}
        ask = Ask(run, metric)
        if task.unfinished is None:
            found = await provider.measure(ask, now)
        elif this.terminating:
            found = await provider.end(ask, task.unfinished, now)
            found = replace(found, message="Metric Terminated") if found.phase == "Successful" else found
        else:
            found = await provider.resume(ask, task.unfinished, now)
        shown = provider.about(task.metric)
        return task, replace(found, message=_without(found.message, secrets), value=_without(found.value, secrets)), shown

    async def _secrets(self, args: Sequence[Obj], namespace: str) -> dict[str, str]:
        found = {}
        for arg in args:
            ref = dig(arg, "valueFrom", "secretKeyRef")
            if ref is None:
                continue
            try:
                secret = await self._api.get(SECRETS, str(ref.get("name")), namespace)
            except NotFound as error:
                raise ArgError(error.message) from None
            data = secret.get("data") or {}
            if ref.get("key") not in data:
                raise ArgError(f"key '{ref.get('key')}' does not exist in secret '{ref.get('name')}'")
            found[str(arg["name"])] = base64.b64decode(data[ref["key"]]).decode(errors="replace")
        return found

    async def _write(self, run: Obj, key: Key, status: Obj) -> None:
        """AnalysisRuns have no status subresource."""
        if not differs(status_of(run), status):
            return
        try:
            await self._api.patch(ANALYSIS_RUNS, key.name, key.namespace, MergePatch({"status": status}),
                                  WriteOptions(manager=MANAGER))
        except NotFound:
            return
        for kind, reason, message in completions(status_of(run), status):
            await self._events.event(run, kind, reason, message)


def completions(before: Obj, after: Obj) -> Iterator[tuple[EventKind, str, str]]:
    """Type, reason and message for every metric, and for the run, that is complete now and was not before."""
    phases = {result.get("name"): result.get("phase") for result in before.get("metricResults") or ()}
    for result in after.get("metricResults") or ():
        name, phase = result.get("name"), result.get("phase")
        if phase in COMPLETED and phases.get(name) != phase:
            yield _kind(phase), f"Metric{phase}", f"Metric '{name}' Completed. Result: {phase}"
    phase = after.get("phase")
    if phase in COMPLETED and before.get("phase") != phase:
        yield _kind(phase), f"AnalysisRun{phase}", f"Analysis Completed. Result: {phase}"


def _kind(phase: str) -> EventKind:
    return "Warning" if phase in ("Failed", "Error") else "Normal"


def _without(text: str, secrets: Mapping[str, str]) -> str:
    for secret in filter(None, secrets.values()):
        text = text.replace(secret, _REDACTED)
    return text
