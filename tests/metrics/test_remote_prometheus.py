"""A Prometheus elsewhere that does not answer as one: whose fault it is, in words, and never with its password."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from fairway.kube.clock import WallClock
from fairway.metrics.querier import QueryFailed, RemotePrometheus, Result
from tests.metrics.test_scraper import served

HISTOGRAM = {"status": "success", "data": {"resultType": "vector", "result": [
    {"metric": {"job": "a"}, "value": [1, "0.5"]}, {"metric": {"job": "b"}, "histogram": [1, {"count": "3", "sum": "4"}]}]}}


def ask(answer: web.Response | None) -> Result:
    """`answer` None: none comes."""

    async def story() -> Result:
        over = asyncio.Event()

        async def api(request: web.Request) -> web.Response:
            if answer is None:
                await over.wait()
            return answer or web.Response()

        async with served(web.post("/api/v1/query", api)) as address:
            remote = RemotePrometheus(f"http://me:secret@{address}/", timeout_s=0.3)
            try:
                return await remote.query("up", WallClock().now())
            finally:
                over.set()
                await remote.close()

    return asyncio.run(story())


@pytest.mark.parametrize(("answer", "fault", "said"), [
    (None, "server", "no answer within 0.3 s"),
    (web.Response(text="<html>Log in</html>"), "server", "answered 200 with something that is not Prometheus' JSON"),
    (web.Response(text="bad gateway", status=502), "server", "answered 502 with something that is not Prometheus' JSON"),
    (web.json_response({"status": "error", "errorType": "timeout", "error": "query timed out"}, status=503), "server",
     "query timed out"),
    (web.json_response({"status": "error", "errorType": "execution", "error": "found duplicate series"}, status=422), "query",
     "found duplicate series"),
    (web.json_response({"status": "success", "data": {"resultType": "table", "result": []}}), "server", "is not understood"),
])  # fmt: skip
def test_a_failure_says_whose_it_is(answer: web.Response | None, fault: str, said: str) -> None:
    with pytest.raises(QueryFailed) as failed:
        ask(answer)
    assert (failed.value.fault, said in str(failed.value)) == (fault, True), str(failed.value)
    assert "secret" not in str(failed.value)


def test_native_histograms_are_no_numbers_of_a_remote_answer_either() -> None:
    found = ask(web.json_response(HISTOGRAM))
    assert [(sample.labels["job"], sample.value) for sample in found.samples] == [("a", 0.5)]
