"""Events: counted, addressed, never in the way."""

from __future__ import annotations

import asyncio

from fairway.kube.clock import Clock, run_virtual
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.events import EventRecorder
from fairway.kube.resources import CORE_EVENTS
from tests.kube.contract import config


def test_the_same_remark_is_one_event_with_a_count() -> None:
    async def main(clock: Clock) -> None:
        api = EmbeddedApi.in_memory(clock)
        recorder = EventRecorder(api, clock, "rollouts")
        obj = await api.create(config("default", "a"))
        for _ in range(3):
            await recorder.event(obj, "Warning", "StepFailed", "metric is missing")
            await asyncio.sleep(60)
        await recorder.event(obj, "Normal", "StepDone", "weight is 20")
        listed = await api.list(CORE_EVENTS, "default", fields=f"involvedObject.uid={obj['metadata']['uid']}")
        events = {event["reason"]: event for event in listed.items}
        assert events["StepFailed"]["count"] == 3
        assert events["StepFailed"]["firstTimestamp"] == "2030-01-01T00:00:00Z"
        assert events["StepFailed"]["lastTimestamp"] == "2030-01-01T00:02:00Z"
        assert events["StepDone"]["count"] == 1
        assert events["StepDone"]["source"] == {"component": "rollouts"}
        # A new process says it again: still one event.
        await EventRecorder(api, clock, "rollouts").event(obj, "Warning", "StepFailed", "metric is missing")
        listed = await api.list(CORE_EVENTS, "default", fields="reason=StepFailed")
        assert [event["count"] for event in listed.items] == [4]

    run_virtual(main)


def test_a_refused_event_is_nobodys_problem() -> None:
    async def main(clock: Clock) -> None:
        api = EmbeddedApi.in_memory(clock)
        gone = config("no-such-namespace", "a")
        await EventRecorder(api, clock, "rollouts").event(gone, "Normal", "Said", "to nobody")
        assert (await api.list(CORE_EVENTS)).items == []

    run_virtual(main)


def test_events_go_an_hour_after_they_were_last_said() -> None:
    async def main(clock: Clock) -> None:
        api = EmbeddedApi.in_memory(clock)
        recorder = EventRecorder(api, clock, "rollouts")
        obj = await api.create(config("default", "a"))

        async def reasons() -> list[str]:
            return sorted(event["reason"] for event in (await api.list(CORE_EVENTS)).items)

        await recorder.event(obj, "Normal", "Once", "said once")
        await recorder.event(obj, "Normal", "Often", "said often")
        await asyncio.sleep(1800)
        await recorder.event(obj, "Normal", "Often", "said often")
        await asyncio.sleep(1801)
        await recorder.event(obj, "Normal", "Later", "makes room")
        assert await reasons() == ["Later", "Often"]
        await asyncio.sleep(1800)
        await recorder.event(obj, "Normal", "Last", "makes room")
        assert await reasons() == ["Last", "Later"]

    run_virtual(main)
