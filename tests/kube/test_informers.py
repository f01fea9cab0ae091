"""What a cache does about an API that ends watches, forgets versions, goes away, or does not know the kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fairway.kube.api import Api, ObjList, WatchEvent
from fairway.kube.cache import Index, Informers
from fairway.kube.clock import Clock, run_virtual
from fairway.kube.embedded import EmbeddedApi, table_of
from fairway.kube.errors import ApiError, Expired, NotFound, Unavailable
from fairway.kube.objects import Key, Obj, labels_of
from fairway.kube.resources import CONFIG_MAPS, Resource
from tests.kube.contract import config


class Flaky:
    """The embedded API for one kind, as an unreliable network shows it. `trouble` is raised by the next requests."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.trouble: list[ApiError] = []
        self.lists: list[float] = []
        self.watched_from: list[str] = []
        self.cut = asyncio.Event()

    async def list(self, resource: Resource, namespace: str = "", **asked: Any) -> ObjList:
        self.lists.append(asyncio.get_running_loop().time())
        if self.trouble:
            raise self.trouble.pop(0)
        return await self._api.list(resource, namespace, **asked)

    async def watch(self, resource: Resource, namespace: str = "", **asked: Any) -> AsyncIterator[WatchEvent]:
        self.watched_from.append(asked["resource_version"])
        if self.trouble:
            raise self.trouble.pop(0)
        self.cut.clear()
        stream = self._api.watch(resource, namespace, **asked)
        while True:
            following, cut = asyncio.ensure_future(anext(stream)), asyncio.ensure_future(self.cut.wait())
            await asyncio.wait((following, cut), return_when=asyncio.FIRST_COMPLETED)
            if self.cut.is_set():
                following.cancel()
                return
            cut.cancel()
            yield following.result()


def story(tell: Any) -> None:
    async def main(clock: Clock) -> None:
        embedded = EmbeddedApi.in_memory(clock)
        flaky = Flaky(embedded)
        informers = Informers(flaky)  # type: ignore[arg-type]  # only these two verbs are used
        try:
            await tell(embedded, flaky, informers)
        finally:
            await informers.close()

    run_virtual(main)


def test_a_watch_that_ends_is_begun_again_where_it_was() -> None:
    async def tell(api: Api, flaky: Flaky, informers: Informers) -> None:
        cache = informers.of(CONFIG_MAPS)
        await informers.synced()
        seen = await api.create(config("default", "a"))
        await asyncio.sleep(0.1)
        flaky.cut.set()
        await api.create(config("default", "meanwhile"))
        await asyncio.sleep(5)
        assert cache.get(Key("default", "meanwhile")) is not None
        assert flaky.watched_from[1] == seen["metadata"]["resourceVersion"]
        assert len(flaky.lists) == 1, "nothing was listed again"

    story(tell)


def test_a_version_that_is_no_longer_held_means_listing_again_at_once() -> None:
    async def tell(api: Api, flaky: Flaky, informers: Informers) -> None:
        cache = informers.of(CONFIG_MAPS)
        await informers.synced()
        await asyncio.sleep(0.1)
        flaky.trouble = [Expired("too old resource version")]
        flaky.cut.set()
        await api.create(config("default", "meanwhile"))
        await asyncio.sleep(1.5)
        assert len(flaky.lists) == 2
        assert cache.get(Key("default", "meanwhile")) is not None

    story(tell)


def test_a_server_that_is_away_is_asked_ever_more_rarely() -> None:
    async def tell(api: Api, flaky: Flaky, informers: Informers) -> None:
        flaky.trouble = [Unavailable("connection refused")] * 8
        informers.of(CONFIG_MAPS)
        await informers.synced()
        waits = [round(after - before) for before, after in zip(flaky.lists, flaky.lists[1:], strict=False)]
        assert waits == [1, 2, 4, 8, 16, 30, 30, 30]

    story(tell)


def test_a_kind_that_nobody_serves_has_no_objects_until_somebody_does() -> None:
    async def tell(api: Api, flaky: Flaky, informers: Informers) -> None:
        flaky.trouble = [NotFound("the server could not find the requested resource")]
        cache = informers.of(CONFIG_MAPS)
        await informers.synced()
        assert cache.list() == []
        await api.create(config("default", "a"))
        await asyncio.sleep(5)
        assert [obj["metadata"]["name"] for obj in cache.list()] == ["a"]

    story(tell)


def in_process(tell: Any) -> None:
    async def main(clock: Clock) -> None:
        embedded = EmbeddedApi.in_memory(clock)
        informers = Informers(embedded)
        try:
            await tell(embedded, informers)
        finally:
            await informers.close()

    run_virtual(main)


def test_a_cache_in_the_process_of_the_api_holds_the_very_object_that_the_api_holds() -> None:
    async def tell(api: EmbeddedApi, informers: Informers) -> None:
        def stored(name: str) -> Obj:
            version = api.store.get(table_of(CONFIG_MAPS), Key("default", name))
            assert version is not None
            return version.obj

        await api.create(config("default", "before"))
        cache = informers.of(CONFIG_MAPS)
        await informers.synced()
        written = await informers.api.create(config("default", "written"))
        await api.create(config("default", "seen"))
        await asyncio.sleep(0.1)
        for name in ("before", "written", "seen"):
            assert cache.get(Key("default", name)) is stored(name)
        assert written is stored("written")

    in_process(tell)


def test_whoever_asks_the_api_itself_may_change_what_it_answers() -> None:
    async def tell(api: EmbeddedApi, informers: Informers) -> None:
        answers = [await api.create(config("default", "a")), await api.get(CONFIG_MAPS, "a", "default"),
                   *(await api.list(CONFIG_MAPS, "default")).items]
        for answer in answers:
            answer["data"] = {"changed": "by hand"}
        assert "changed" not in (await api.get(CONFIG_MAPS, "a", "default")).get("data", {})

    in_process(tell)


def test_an_index_follows_what_is_said_of_each_object() -> None:
    async def tell(api: EmbeddedApi, informers: Informers) -> None:
        def made(name: str, team: str) -> Obj:
            found = config("default", name)
            return {**found, "metadata": {**found["metadata"], "labels": {"team": team} if team else {}}}

        index = Index(informers.of(CONFIG_MAPS), lambda obj: labels_of(obj).get("team"))
        await informers.synced()

        def of(team: str) -> list[str]:
            return [obj["metadata"]["name"] for obj in index.list(team)]

        for name, team in (("b", "web"), ("a", "web"), ("c", "ops"), ("d", "")):
            await informers.api.create(made(name, team))
        assert (of("web"), of("ops"), of("nobody")) == (["a", "b"], ["c"], [])
        await informers.api.replace(made("a", "ops"))
        await informers.api.delete(CONFIG_MAPS, "c", "default")
        await asyncio.sleep(0.1)
        assert (of("web"), of("ops")) == (["b"], ["a"])

    in_process(tell)
