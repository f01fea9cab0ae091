"""Notifications: what is told, to whom, how often, and what never leaves the house."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from fairway.kube.api import MergePatch
from fairway.kube.cache import Informers
from fairway.kube.clock import Clock, run_virtual
from fairway.kube.decision import Change
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.errors import AlreadyExists
from fairway.kube.objects import Obj, annotations_of, rfc3339, rfc3339_micro
from fairway.kube.resources import APPLICATIONS, PIPELINE_RUNS, RELEASES, ROLLOUTS, Resource
from fairway.notify.controller import ATTEMPTS, NotifyController, Outbox
from fairway.notify.decide import NOTIFIED, Message, decide
from fairway.notify.sinks import ConsoleSink, SinkFailed, WebhookSink
from fairway.notify.spec import TRIGGERS, NotifyMistake, Trigger, Webhook, decode_webhooks

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
AT = rfc3339(NOW - timedelta(minutes=1))


def thing(kind: str, status: Obj, spec: Obj | None = None, told: dict[str, str] | None = None) -> Obj:
    annotations = {NOTIFIED: json.dumps(told)} if told is not None else {}
    return {"kind": kind, "metadata": {"name": "shop", "namespace": "prod", "uid": "u1", "annotations": annotations},
            "spec": spec or {}, "status": status}  # fmt: skip


RELEASE_SPEC = {"application": "shop", "environment": "production", "sha": "0123456789", "digest": "sha256:ab"}
RELEASED = {"outcome": "Promoted", "pushedAt": rfc3339(NOW - timedelta(seconds=100)), "finishedAt": AT}
SYNCED = {"sync": {"status": "Synced", "revision": "abcdef012345"},
          "operationState": {"phase": "Succeeded", "finishedAt": AT, "syncResult": {"revision": "abcdef012345"}}}  # fmt: skip


@pytest.mark.parametrize(
    ("resource", "obj", "text"),
    [
        (RELEASES, thing("Release", RELEASED, RELEASE_SPEC),
         "🟢 shop 0123456 is in production\nDigest: sha256:ab\nFrom push: 40 s"),
        (RELEASES, thing("Release", {**RELEASED, "outcome": "RolledBack", "evidence": "AnalysisRun x: 8 %"}, RELEASE_SPEC),
         "🔴 shop 0123456 was rolled back in production\nDigest: sha256:ab\nEvidence: AnalysisRun x: 8 %\nFrom push: 40 s"),
        (RELEASES, thing("Release", {"outcome": "InProgress"}, RELEASE_SPEC), None),
        (ROLLOUTS, thing("Rollout", {"abort": True, "abortedAt": AT, "message": "metric failed", "stableRS": "abc"}),
         "🔴 rollout prod/shop was aborted; stable keeps serving\nReason: metric failed\nStable: abc"),
        (ROLLOUTS, thing("Rollout", {"phase": "Degraded"}), None),
        (APPLICATIONS, thing("Application", {"health": {"status": "Degraded", "message": "pods crash"}}),
         "🔴 application shop is degraded\nReason: pods crash"),
        (APPLICATIONS, thing("Application", SYNCED), "🟢 application shop is synced\nRevision: abcdef0"),
        (APPLICATIONS, thing("Application", {"operationState": {"phase": "Failed", "finishedAt": AT, "message": "hook"}}),
         "🔴 sync of application shop failed\nMessage: hook"),
        (PIPELINE_RUNS, thing("PipelineRun", {"phase": "Failed", "finishedAt": AT, "jobs": [
            {"name": "test", "phase": "Failed"}, {"name": "lint", "phase": "Succeeded"}],
            "commit": {"message": "add x\n\nbody", "author": "Ada"}},
            {"workflow": "ci.yml", "repository": "a", "sha": "123456789"}),
         "🔴 ci.yml failed for a 1234567\nJobs: test\nCommit: add x\nAuthor: Ada"),
        (PIPELINE_RUNS, thing("PipelineRun", {"phase": "Running"}), None),
    ],
)  # fmt: skip
def test_what_is_told(resource: Resource, obj: Obj, text: str | None) -> None:
    messages = decide(resource, obj, NOW).messages
    assert [message.text for message in messages] == ([] if text is None else [text])


def recorded(resource: Resource, obj: Obj) -> dict[str, str]:
    """What stands in the annotation after the decision."""
    actions = decide(resource, obj, NOW).decision.actions
    if not actions:
        return json.loads(annotations_of(obj).get(NOTIFIED, "{}"))  # type: ignore[no-any-return]
    (action,) = actions
    assert isinstance(action, Change)
    assert isinstance(action.patch, MergePatch)
    written = action.patch.body["metadata"]["annotations"][NOTIFIED]
    return {} if written is None else json.loads(written)


def test_what_was_told_is_not_told_again() -> None:
    told = recorded(APPLICATIONS, thing("Application", SYNCED))
    assert told == {"app-synced": "abcdef012345"}
    again = decide(APPLICATIONS, thing("Application", SYNCED, told=told), NOW)
    assert again.messages == ()
    assert again.decision.actions == ()


def test_the_same_revision_synced_again_is_no_news_and_the_next_one_is() -> None:
    told = {"app-synced": "abcdef012345"}
    drifted = {**SYNCED, "sync": {"status": "OutOfSync"}}
    assert recorded(APPLICATIONS, thing("Application", drifted, told=told)) == told
    after = {"sync": {"status": "Synced"}, "operationState": {"phase": "Succeeded", "syncResult": {"revision": "fff"}}}
    assert len(decide(APPLICATIONS, thing("Application", after, told=told), NOW).messages) == 1


def test_an_application_that_degrades_again_is_told_again() -> None:
    sick, well = {"health": {"status": "Degraded"}}, {"health": {"status": "Healthy"}}
    told = recorded(APPLICATIONS, thing("Application", sick))
    assert decide(APPLICATIONS, thing("Application", sick, told=told), NOW).messages == ()
    told = recorded(APPLICATIONS, thing("Application", well, told=told))
    assert len(decide(APPLICATIONS, thing("Application", sick, told=told), NOW).messages) == 1


def test_old_news_is_recorded_and_not_told() -> None:
    old = thing("Release", {**RELEASED, "finishedAt": rfc3339(NOW - timedelta(days=2))}, RELEASE_SPEC)
    news = decide(RELEASES, old, NOW)
    assert news.messages == ()
    assert [reason.code for reason in news.decision.reasons] == ["OldNews"]
    assert recorded(RELEASES, old) == {"release-promoted": "Promoted"}


def test_a_damaged_record_is_taken_as_none() -> None:
    obj = thing("Release", RELEASED, RELEASE_SPEC)
    obj["metadata"]["annotations"][NOTIFIED] = "{broken"
    assert len(decide(RELEASES, obj, NOW).messages) == 1


# --- through the API, in virtual time ---------------------------------------------------------------------------------


class Recorder:
    """A sink that fails as often as it is told to."""

    triggers: frozenset[Trigger] = frozenset(TRIGGERS)

    def __init__(self, name: str = "recorder", failures: int = 0, *, again: bool = True) -> None:
        self.name, self.failures, self.again = name, failures, again
        self.sent: list[str] = []
        self.tried = 0

    async def send(self, message: Message) -> None:
        self.tried += 1
        if self.tried <= self.failures:
            raise SinkFailed("it answered 503", again=self.again)
        self.sent.append(message.title)

    async def close(self) -> None:
        return None


def in_world(story: Callable[[Clock, EmbeddedApi], Awaitable[None]]) -> None:
    async def main(clock: Clock) -> None:
        await story(clock, EmbeddedApi.in_memory(clock))

    run_virtual(main)


@contextlib.asynccontextmanager
async def notifying(clock: Clock, api: EmbeddedApi, *sinks: Any) -> Any:
    informers = Informers(api)
    controller = NotifyController(informers, clock, sinks)
    task = asyncio.create_task(controller.run())
    try:
        yield controller
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await informers.close()


async def release(api: EmbeddedApi, clock: Clock, name: str, outcome: str) -> None:
    made = {"apiVersion": "fairway.dev/v1alpha1", "kind": "Release", "metadata": {"name": name, "namespace": "default"},
            "spec": {**RELEASE_SPEC, "repository": "shop/app", "revision": "r"}}  # fmt: skip
    with contextlib.suppress(AlreadyExists):
        await api.create(made)
    status = {"outcome": outcome, "finishedAt": rfc3339_micro(clock.now())}
    await api.patch(RELEASES, name, "default", MergePatch({"status": status}), subresource="status")


def test_a_release_is_told_once_even_over_a_restart() -> None:
    async def story(clock: Clock, api: EmbeddedApi) -> None:
        sink = Recorder()
        async with notifying(clock, api, sink):
            await release(api, clock, "r1", "InProgress")
            await asyncio.sleep(1)
            assert sink.sent == []
            await release(api, clock, "r1", "Promoted")
            await asyncio.sleep(1)
            assert sink.sent == ["shop 0123456 is in production"]
        async with notifying(clock, api, sink):
            await asyncio.sleep(5)
            await release(api, clock, "r2", "RolledBack")
            await asyncio.sleep(1)
        assert sink.sent == ["shop 0123456 is in production", "shop 0123456 was rolled back in production"]

    in_world(story)


def test_a_sink_that_fails_is_tried_again_and_does_not_hold_up_the_others() -> None:
    async def story(clock: Clock, api: EmbeddedApi) -> None:
        slow, fine = Recorder("slow", failures=3), Recorder("fine")
        stubborn = Recorder("stubborn", failures=99, again=False)
        async with notifying(clock, api, slow, fine, stubborn):
            await release(api, clock, "r1", "Promoted")
            await asyncio.sleep(0.5)
            assert (len(fine.sent), len(slow.sent)) == (1, 0)
            await asyncio.sleep(10)
            assert len(slow.sent) == 1
            assert slow.tried == 4
            assert stubborn.tried == 1

    in_world(story)


def test_a_sink_that_never_answers_is_given_up() -> None:
    async def story(clock: Clock, api: EmbeddedApi) -> None:
        dead = Recorder(failures=10_000)
        outbox = Outbox([dead])
        outbox.put(message())
        await outbox.settle()
        assert dead.tried == ATTEMPTS

    in_world(story)


# --- over real HTTP ---------------------------------------------------------------------------------------------------


def message() -> Message:
    facts = (("A", "tok-123"),)
    return Message("u/release-failed/1", "release-failed", "Release", "prod", "r", "shop failed with tok-123", facts)


class Masks:
    def mask(self, text: str) -> str:
        return text.replace("tok-123", "***")


def test_a_webhook_gets_text_for_chats_and_an_event_for_programs(caplog: pytest.LogCaptureFixture) -> None:
    got: list[tuple[dict[str, Any], str, str]] = []
    answers = [503, 429, 200]

    async def receive(request: web.Request) -> web.Response:
        got.append((await request.json(), request.headers["X-Team"], request.headers["Idempotency-Key"]))
        return web.Response(status=answers[len(got) - 1])

    async def main() -> None:
        app = web.Application()
        app.router.add_post("/hook/very-secret", receive)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            await web.SockSite(runner, sock).start()
            url = f"http://127.0.0.1:{sock.getsockname()[1]}/hook/very-secret"
            sink = WebhookSink(Webhook("team", url, headers=(("X-Team", "a"),)), Masks().mask)
            for expected in (True, True):
                with pytest.raises(SinkFailed) as failed:
                    await sink.send(message())
                assert failed.value.again is expected
            await sink.send(message())
            await runner.cleanup()
            with pytest.raises(SinkFailed) as failed:
                await sink.send(message())
            assert failed.value.again
            assert "very-secret" not in str(failed.value)
            assert "very-secret" not in repr(Webhook("team", url))
            outbox = Outbox([WebhookSink(Webhook("team", "http://127.0.0.1:9/hook/very-secret"), Masks().mask)])
            with caplog.at_level(logging.DEBUG, "fairway"):
                outbox.put(message())
                await asyncio.sleep(0)
                await outbox.close(grace_s=0.3)
            await sink.close()

    asyncio.run(main())
    body, team, key = got[-1]
    assert (team, key) == ("a", "u/release-failed/1")
    assert body["text"] == "🔴 shop failed with ***\nA: ***"
    assert body["event"]["trigger"] == "release-failed"
    assert "tok-123" not in json.dumps(body)
    assert "very-secret" not in caplog.text


def test_the_console_shows_masked_text() -> None:
    lines: list[str] = []
    asyncio.run(ConsoleSink(lines.append, Masks().mask).send(message()))
    assert lines == ["🔴 shop failed with ***\nA: ***"]


def test_webhooks_are_read_from_a_mapping() -> None:
    (webhook,) = decode_webhooks([{"name": "team", "url": "https://x", "triggers": ["app-degraded"], "headers": {"A": "b"}}])
    assert webhook == Webhook("team", "https://x", frozenset({"app-degraded"}), (("A", "b"),))


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({}, "webhooks: a list is needed"),
        ([{"name": "a"}], "webhooks[0].url: a text is needed"),
        ([{"name": "a", "url": "ftp://x"}], "webhooks[0].url: an http:// or https:// URL is needed"),
        ([{"name": "a", "url": "https://x", "triger": []}], "webhooks[0].triger: unknown field"),
        ([{"name": "a", "url": "https://x", "triggers": ["nope"]}], "webhooks[0].triggers: unknown trigger 'nope'"),
        ([{"name": "a", "url": "https://x"}] * 2, "two webhooks are called 'a'"),
    ],
)
def test_mistakes_are_named_by_their_path(written: object, message: str) -> None:
    with pytest.raises(NotifyMistake) as caught:
        decode_webhooks(written)
    assert message in str(caught.value)
