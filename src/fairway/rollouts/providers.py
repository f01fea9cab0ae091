"""The port to whatever measures: one `MetricProvider` per kind of provider that a metric may name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from fairway.kube.objects import Obj
from fairway.rollouts.analysis_spec import Metric
from fairway.rollouts.judge import judge
from fairway.rollouts.measurements import Measurement


@dataclass(frozen=True, slots=True)
class Ask:
    """One measurement that is to be taken: for which run, of which metric (arguments filled in)."""

    run: Obj
    metric: Metric

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the metric says to its provider."""
        return next((value for value in self.metric.provider.values() if isinstance(value, Mapping)), {})


class MetricProvider(Protocol):
    """Never raises: what goes wrong is a measurement of phase Error with a message.

    A measurement that takes long comes back as Running with `resume_at`, and `resume` is asked then.
    """

    async def measure(self, ask: Ask, now: datetime) -> Measurement: ...

    async def resume(self, ask: Ask, unfinished: Measurement, now: datetime) -> Measurement: ...

    async def end(self, ask: Ask, unfinished: Measurement, now: datetime) -> Measurement:
        """The run terminates: stop measuring."""
        ...

    def about(self, metric: Metric) -> Mapping[str, str]:
        """Metadata for the metric's result, such as the query as it was asked."""
        ...


class Instant:
    """What providers that answer at once have in common: nothing is ever unfinished."""

    async def resume(self, ask: Ask, unfinished: Measurement, now: datetime) -> Measurement:
        return unfinished

    async def end(self, ask: Ask, unfinished: Measurement, now: datetime) -> Measurement:
        return unfinished


def failed_to_measure(started: datetime, finished: datetime, message: str) -> Measurement:
    return Measurement("Error", "", message, started, finished)


def measured(metric: Metric, value: Any, text: str, started: datetime, finished: datetime) -> Measurement:
    """The value judged by the metric's conditions."""
    judged = judge(metric, value)
    return replace(Measurement(judged.phase, text, judged.message), started_at=started, finished_at=finished)
