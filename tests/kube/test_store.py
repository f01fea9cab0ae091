"""The log: order, durability, history."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fairway.kube.api import MergePatch
from fairway.kube.clock import Clock, WallClock, run_virtual
from fairway.kube.embedded import EmbeddedApi, table_of
from fairway.kube.errors import Expired, Timeout, Unavailable
from fairway.kube.identities import Identities
from fairway.kube.journal import LARGEST_BATCH, SqliteJournal
from fairway.kube.objects import Key
from fairway.kube.resources import CONFIG_MAPS
from fairway.kube.store import Change, Store
from tests.kube.contract import config, next_events
from tests.kube.kills import Known, content, judge

_WRITER = """
import asyncio, sys
from pathlib import Path
from typing import Any
from fairway.kube.clock import WallClock
from fairway.kube.embedded import EmbeddedApi

async def write(api, writer):
    number = 0
    while True:
        name = f"c{writer}-{number}"
        await api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}})
        sys.stdout.write(name + "\\n")
        sys.stdout.flush()
        number += 1

async def main():
    api = await EmbeddedApi.open(Path(sys.argv[1]), WallClock())
    await asyncio.gather(*(write(api, n) for n in range(4)))

asyncio.run(main())
"""


def test_an_acknowledged_write_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    process = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = [process.stdout.readline().strip() for _ in range(300)]
    os.kill(process.pid, signal.SIGKILL)
    told += [line.strip() for line in process.stdout if line.endswith("\n")]
    process.wait()
    process.stdout.close()

    async def present() -> set[str]:
        api = await EmbeddedApi.open(path, WallClock())
        listed = await api.list(CONFIG_MAPS, "default")
        await api.close()
        return {obj["metadata"]["name"] for obj in listed.items}

    names = asyncio.run(present())
    assert len(told) >= 300
    assert set(told) <= names
    assert len(names) <= len(told) + 4  # at most one unacknowledged write per writer


def test_fifty_kills_under_load_take_back_nothing(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "tests.kube.kills", str(tmp_path / "state.db"), "7", "50"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 500  # acknowledged writes


def test_the_judge_of_kills_sees_what_is_lost_torn_or_older() -> None:
    torn = config("default", "w1-0", **{**content(2), "last": "1"})
    torn["metadata"]["resourceVersion"] = "12"
    known = Known(objects={"w0-0": 3, "w1-0": 2}, steps=[4, 3, 0, 0, 0, 0], revision=20)
    assert judge({"w1-0": torn}, 10, known)[1] == [
        "revision 20 was acknowledged, now it is 10", "w0-0: acknowledged step 3, found None", "w1-0: torn"]


def test_revisions_go_on_after_a_restart_and_versions_are_kept(tmp_path: Path) -> None:
    async def main() -> None:
        api = await EmbeddedApi.open(tmp_path / "s.db", WallClock())
        await api.create(config("default", "a", k="1"))
        changed = await api.patch(CONFIG_MAPS, "a", "default", MergePatch({"data": {"k": "2"}}))
        await api.create(config("default", "gone"))
        await api.delete(CONFIG_MAPS, "gone", "default")
        last = api.store.revision
        await api.close()

        again = await EmbeddedApi.open(tmp_path / "s.db", WallClock())
        assert again.store.revision == last  # a restart writes nothing
        assert await again.get(CONFIG_MAPS, "a", "default") == changed
        assert len((await again.list(CONFIG_MAPS, "default")).items) == 1
        with pytest.raises(Expired):
            again.watch(CONFIG_MAPS, resource_version="1")
        made = await again.create(config("default", "b"))
        assert int(made["metadata"]["resourceVersion"]) == last + 1
        await again.close()

    asyncio.run(main())


def test_superseded_rows_leave_the_disk(tmp_path: Path) -> None:
    async def main() -> None:
        api = await EmbeddedApi.open(tmp_path / "s.db", WallClock(), fast_storage=True)
        await api.create(config("default", "a"))
        for number in range(2100):
            await api.patch(CONFIG_MAPS, "a", "default", MergePatch({"data": {"k": str(number)}}))
        await api.close()
        rows, _ = SqliteJournal(tmp_path / "s.db").load()
        assert len([row for row in rows if row[1] == table_of(CONFIG_MAPS)]) == 1

    asyncio.run(main())


def test_one_process_owns_the_state(tmp_path: Path) -> None:
    async def main() -> None:
        api = await EmbeddedApi.open(tmp_path / "s.db", WallClock())
        with pytest.raises(Unavailable, match="in use by another process"):
            await EmbeddedApi.open(tmp_path / "s.db", WallClock())
        await api.close()

    asyncio.run(main())


class SlowJournal:
    """Says that changes are durable when the test lets it."""

    def __init__(self) -> None:
        self.appended: list[Change] = []

    def append(self, change: Change) -> None:
        self.appended.append(change)

    async def close(self) -> None:
        pass


def _slow_world() -> tuple[EmbeddedApi, Store, SlowJournal]:
    journal = SlowJournal()
    store = Store(journal)
    api = EmbeddedApi(store, WallClock(), Identities(0))
    api._found()
    store.settle(journal.appended[-1].revision)
    return api, store, journal


def test_a_write_is_seen_only_when_it_is_durable() -> None:
    async def main() -> None:
        api, store, journal = _slow_world()
        stream = api.watch(CONFIG_MAPS, resource_version=str(store.revision))
        writing = asyncio.create_task(api.create(config("default", "a", k="1")))
        await asyncio.sleep(0)
        assert journal.appended[-1].key == Key("default", "a")
        assert (await api.list(CONFIG_MAPS)).items == []
        assert not writing.done()
        # A second write is decided against the first, though nobody has seen it yet.
        second = asyncio.create_task(api.patch(CONFIG_MAPS, "a", "default", MergePatch({"data": {"k": "2"}})))
        await asyncio.sleep(0)
        store.settle(journal.appended[-2].revision)
        assert (await writing)["data"] == {"k": "1"}
        assert (await api.get(CONFIG_MAPS, "a", "default"))["data"] == {"k": "1"}
        store.settle(journal.appended[-1].revision)
        assert (await second)["data"] == {"k": "2"}
        assert await next_events(stream, 2) == [("ADDED", "a"), ("MODIFIED", "a")]

    asyncio.run(main())


def test_a_disk_that_fails_acknowledges_nothing() -> None:
    async def main() -> None:
        api, store, _ = _slow_world()
        writing = asyncio.create_task(api.create(config("default", "a")))
        await asyncio.sleep(0)
        store.fail(Unavailable("the state cannot be written: disk full"))
        with pytest.raises(Unavailable, match="disk full"):
            await writing
        with pytest.raises(Unavailable):
            await api.create(config("default", "b"))
        assert (await api.list(CONFIG_MAPS)).items == []

    asyncio.run(main())


def test_writers_side_by_side_share_commits_and_keep_their_order(tmp_path: Path) -> None:
    async def main() -> list[int]:
        api = await EmbeddedApi.open(tmp_path / "s.db", WallClock())
        listed = await api.list(CONFIG_MAPS)
        stream = api.watch(CONFIG_MAPS, resource_version=listed.resource_version)
        count = LARGEST_BATCH + 44
        await asyncio.gather(*(api.create(config("default", f"c{n}")) for n in range(count)))
        revisions = [int((await anext(stream)).object["metadata"]["resourceVersion"]) for _ in range(count)]
        await api.close()
        return revisions

    revisions = asyncio.run(main())
    assert revisions == list(range(revisions[0], revisions[0] + len(revisions)))


def test_history_is_bounded_and_says_so() -> None:
    async def main(clock: Clock) -> None:
        store = Store(history=100)
        api = EmbeddedApi(store, clock, Identities(0))
        api._found()
        start = store.revision
        for number in range(150):
            await api.create(config("default", f"c{number}"))
        with pytest.raises(Expired, match="too old resource version"):
            api.watch(CONFIG_MAPS, resource_version=str(start))
        assert len(await next_events(api.watch(CONFIG_MAPS, resource_version=str(start + 60)), 90)) == 90
        with pytest.raises(Timeout, match="Too large resource version"):
            api.watch(CONFIG_MAPS, resource_version="999999")

    run_virtual(main)


def test_a_dropped_watch_costs_nothing_any_more() -> None:
    async def main(clock: Clock) -> None:
        api = EmbeddedApi.in_memory(clock)
        stream = api.watch(CONFIG_MAPS)
        listeners = api.store._listeners[table_of(CONFIG_MAPS)]
        assert len(listeners) == 1
        del stream
        assert not listeners

    run_virtual(main)


def test_one_seed_is_one_world() -> None:
    async def main(clock: Clock) -> list[str]:
        api = EmbeddedApi.in_memory(clock, seed=7)
        nameless = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x-", "namespace": "default"}}
        made = [await api.create(nameless) for _ in range(5)]
        return [obj["metadata"]["uid"] + obj["metadata"]["name"] for obj in made]

    assert run_virtual(main) == run_virtual(main)


def test_what_stored_objects_have_alike_is_held_once(tmp_path: Path) -> None:
    async def made(api: EmbeddedApi) -> list[Any]:
        versions = [api.store.get(table_of(CONFIG_MAPS), Key("default", name)) for name in ("a", "b")]
        return [version.obj["metadata"] for version in versions if version is not None]

    async def story() -> None:
        api = await EmbeddedApi.open(tmp_path / "state.db", WallClock())
        texts = [(await api.create({**config("default", name), "data": {"x": "1"}}))["metadata"]["managedFields"]
                 for name in ("a", "b")]
        a, b = await made(api)
        assert a["managedFields"][0]["fieldsV1"] is b["managedFields"][0]["fieldsV1"]
        assert a["namespace"] is b["namespace"]
        texts[0][0]["fieldsV1"].clear()  # an answer is one's own
        assert (await api.get(CONFIG_MAPS, "a", "default"))["metadata"]["managedFields"] == texts[1]
        await api.close()
        again = await EmbeddedApi.open(tmp_path / "state.db", WallClock())
        a, b = await made(again)
        assert a["managedFields"][0]["fieldsV1"] is b["managedFields"][0]["fieldsV1"]
        await again.close()

    asyncio.run(story())
