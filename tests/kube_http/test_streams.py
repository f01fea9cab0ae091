"""Watches and logs over the wire, and how they end."""

from __future__ import annotations

import json
import socket
import ssl
from pathlib import Path
from typing import Any

from fairway.kube.resources import CONFIG_MAPS
from tests.kube_http.serving import DEADLINE_S, Served, serving

CM = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def event(response: Any) -> tuple[str, Any]:
    found = json.loads(response.readline())
    return found["type"], found["object"]


def version(served: Served) -> str:
    return str(served.ask("GET", f"{CM}?limit=1")[1]["metadata"]["resourceVersion"])


def test_changes_are_told_as_they_happen(served: Served) -> None:
    with served.open("GET", f"{CM}?watch=true&fieldSelector=metadata.name%3Dseen&resourceVersion={version(served)}") as watch:
        served.create(CM, "unseen")
        served.create(CM, "seen", data={"a": "1"})
        assert event(watch)[0] == "ADDED"
        served.ask("PATCH", f"{CM}/seen", {"data": {"a": "2"}}, Content_Type="application/merge-patch+json")
        kind, obj = event(watch)
        assert (kind, obj["data"]) == ("MODIFIED", {"a": "2"})
        served.ask("DELETE", f"{CM}/seen")
        assert event(watch)[0] == "DELETED"


def test_without_a_version_what_is_there_comes_first_and_time_ends_it(served: Served) -> None:
    served.create(CM, "present", metadata={"labels": {"p": "1"}})
    for query in ("watch=True", "watch=1&resourceVersion=0"):
        with served.open("GET", f"{CM}?{query}&labelSelector=p&timeoutSeconds=1") as watch:
            lines = watch.read().splitlines()
        assert [json.loads(line)["object"]["metadata"]["name"] for line in lines] == ["present"]


def test_a_watch_list_ends_its_beginning_with_a_bookmark(served: Served) -> None:
    served.create(CM, "initial", metadata={"labels": {"i": "1"}})
    query = ("watch=1&labelSelector=i&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true")
    with served.open("GET", f"{CM}?{query}") as watch:
        assert event(watch)[0] == "ADDED"
        kind, mark = event(watch)
        assert (kind, mark["metadata"]["annotations"]) == ("BOOKMARK", {"k8s.io/initial-events-end": "true"})
        assert mark["kind"] == "ConfigMap"


def test_the_old_watch_path(served: Served) -> None:
    served.create(CM, "old-path")
    with served.open("GET", "/api/v1/watch/namespaces/default/configmaps/old-path?timeoutSeconds=1") as watch:
        assert event(watch)[1]["metadata"]["name"] == "old-path"


def test_a_table_has_its_columns_in_the_first_event_only(served: Served) -> None:
    served.create(CM, "row-1", metadata={"labels": {"r": "1"}})
    with served.open("GET", f"{CM}?watch=1&labelSelector=r", Accept=TABLE) as watch:
        kind, first = event(watch)
        assert (kind, first["kind"], len(first["columnDefinitions"])) == ("ADDED", "Table", 3)
        served.create(CM, "row-2", metadata={"labels": {"r": "1"}})
        kind, second = event(watch)
        assert (kind, second["columnDefinitions"]) == ("ADDED", None)
        assert second["rows"][0]["cells"][0] == "row-2"


def test_a_version_that_is_forgotten_is_an_error_event(tmp_path: Path) -> None:
    with serving(tmp_path, tls=False) as served:
        served.create(CM, "x")
        served.api.store.oldest = served.api.store.revision
        with served.open("GET", f"{CM}?watch=1&resourceVersion=1") as watch:
            assert watch.status == 200
            kind, status = event(watch)
            assert (kind, status["code"], status["reason"]) == ("ERROR", 410, "Expired")
            assert watch.read() == b""


def listeners(served: Served) -> int:
    async def count() -> int:
        return sum(len(found) for found in served.api.store._listeners.values())

    return served.run(count())


def test_a_watch_ends_when_its_client_leaves(served: Served) -> None:
    before = listeners(served)
    raw = socket.create_connection(("127.0.0.1", served.server.port), timeout=DEADLINE_S)
    context = ssl.create_default_context(cafile=str(served.pki.ca_file))
    with context.wrap_socket(raw, server_hostname="127.0.0.1") as client:
        lines = [f"GET {CM}?watch=1&labelSelector=nobody HTTP/1.1", "Host: x", f"Authorization: Bearer {served.pki.token}"]
        client.sendall("\r\n".join([*lines, "", ""]).encode())
        assert client.recv(12) == b"HTTP/1.1 200"
        assert listeners(served) == before + 1

    async def gone() -> None:
        import asyncio

        async with asyncio.timeout(DEADLINE_S):
            while sum(map(len, served.api.store._listeners.values())) > before:  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0.01)

    served.run(gone())


def test_a_watch_ends_when_the_server_stops(tmp_path: Path) -> None:
    with serving(tmp_path, tls=False) as served:
        watch = served.open("GET", f"{CM}?watch=1")
        served.run(served.api.create({"apiVersion": "v1", "kind": CONFIG_MAPS.kind,
                                      "metadata": {"name": "last", "namespace": "default"}}))
        assert event(watch)[1]["metadata"]["name"] == "last"
        served.run(served.server.stop())
        assert watch.read() == b""  # a clean end of the chunks, or this raises IncompleteRead


def pod(served: Served, name: str) -> None:
    served.create(PODS, name, spec={"containers": [{"name": "main", "image": "i"}]})


def test_logs_and_their_options(served: Served) -> None:
    pod(served, "talks")
    status, text = served.ask("GET", f"{PODS}/talks/log?tailLines=2&sinceSeconds=60&timestamps=true&limitBytes=99")
    assert (status, text) == (200, "line 1\nline 2\n")
    assert served.logs.asked == {
        "namespace": "default", "name": "talks", "container": "main", "follow": False, "previous": False, "tail_lines": 2,
        "since_s": 60.0, "limit_bytes": 99, "timestamps": True,
    }  # fmt: skip
    pod(served, "silent")
    assert served.ask("GET", f"{PODS}/silent/log") == (204, "")


def test_a_followed_log_goes_on_until_the_container_ends(served: Served) -> None:
    pod(served, "followed")
    with served.open("GET", f"{PODS}/followed/log?follow=true") as log:
        assert [log.readline() for _ in range(3)] == [b"line 0\n", b"line 1\n", b"line 2\n"]
        served.tell_log(b"more\n")
        assert log.readline() == b"more\n"
        served.tell_log(None)
        assert log.read() == b""


def test_logs_that_cannot_be_read_say_why(served: Served) -> None:
    containers = [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]
    served.create(PODS, "two", spec={"containers": containers})
    for query, words in (("", "choose one of: [a b]"), ("?container=c", "container c is not valid for pod two")):
        status, body = served.ask("GET", f"{PODS}/two/log{query}")
        assert (status, body["reason"]) == (400, "BadRequest")
        assert words in body["message"]
    assert served.ask("GET", f"{PODS}/nobody/log")[0] == 404
    waiting = {"name": "a", "image": "i", "imageID": "", "ready": False, "restartCount": 0,
               "state": {"waiting": {"reason": "ContainerCreating"}}}
    merge = {"Content_Type": "application/merge-patch+json"}
    served.ask("PATCH", f"{PODS}/two/status", {"status": {"containerStatuses": [waiting]}}, **merge)
    _, body = served.ask("GET", f"{PODS}/two/log?container=a")
    assert body["message"] == 'container "a" in pod "two" is waiting to start: ContainerCreating'
