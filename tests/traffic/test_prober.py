"""The load generator: keeps its pace, counts from when a request was due, and loses nothing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from fairway.traffic.prober import Answer, Counts, Prober, Target, windows
from tests.traffic.backends import Backend, free_port, own_address, until


async def backend(**more: float) -> Backend:
    address = own_address()
    return await Backend("1.0.0", address, free_port(address), **more).start()  # type: ignore[arg-type]


def test_latency_counts_from_when_it_was_due() -> None:
    async def story() -> None:
        slow = await backend(delay_s=0.05)
        answers: list[Answer] = []
        await Prober(Target.of(f"http://{slow.address}:{slow.port}/"), 200, answers.append).run(count=40)
        assert [answer.status for answer in answers] == [200] * 40
        assert all(answer.ms >= 50 for answer in answers)
        due = sorted(answer.at for answer in answers)
        assert abs((due[-1] - due[0]) - 39 / 200) < 0.001
        slow.kill()

    asyncio.run(story())


def test_no_answer_is_status_0_with_a_reason() -> None:
    async def story() -> None:
        answers: list[Answer] = []
        address = own_address()
        await Prober(Target.of(f"http://{address}:{free_port(address)}/"), 100, answers.append).run(count=3)
        assert [answer.status for answer in answers] == [0, 0, 0]
        assert all("Connect call failed" in answer.error for answer in answers)

    asyncio.run(story())


def test_connections_are_kept() -> None:
    async def story() -> None:
        server = await backend()
        answers: list[Answer] = []
        await Prober(Target.of(f"http://{server.address}:{server.port}/"), 200, answers.append).run(count=50)
        assert server.requests == 50
        assert len({answer.version for answer in answers}) == 1
        server.kill()

    asyncio.run(story())


def test_windows_count_versions_and_failures() -> None:
    answers = [Answer(10.1, 200, "a", 1), Answer(10.2, 500, "b", 7), Answer(11.5, 0, "", 3), Answer(11.6, 200, "a", 2)]
    found = dict(windows(answers, 1.0))
    assert list(found) == [10.0, 11.0]
    assert (found[10.0].total, found[10.0].failed, found[10.0].share("b"), found[10.0].slowest_ms) == (2, 1, 0.5, 7)
    assert (found[11.0].failed, found[11.0].share("a")) == (1, 1.0)
    assert Counts().share("a") == 0.0


def test_as_a_process_it_writes_lines_and_ends_on_sigterm(tmp_path: Path) -> None:
    async def story() -> None:
        server = await backend()
        out = tmp_path / "answers.jsonl"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "fairway.traffic.prober", f"http://{server.address}:{server.port}/api", "--host",
            "shop.example.com", "--rate", "400", "--out", str(out), stdout=subprocess.DEVNULL)
        await until(lambda: _has_seen(server, 400), 20)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 5) == 0
        lines = [json.loads(line) for line in out.read_text().splitlines()]
        assert len(lines) == server.requests
        assert {(line["status"], line["version"]) for line in lines} == {(200, "1.0.0")}
        assert abs(lines[0]["at"] - time.time()) < 30
        assert "host: shop.example.com" in server.last_head.lower()
        assert "get /api http/1.1" in server.last_head.lower()
        server.kill()

    asyncio.run(story())


async def _has_seen(server: Backend, requests: int) -> bool:
    return server.requests >= requests


def test_importing_it_is_cheap() -> None:
    """It runs beside what it measures."""
    code = "import sys, fairway.traffic.prober; print(sorted(m for m in sys.modules if m.startswith('fairway.kube')))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ})
    assert said.stdout.strip() == "[]"
