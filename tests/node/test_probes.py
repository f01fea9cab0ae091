"""Thresholds of probes, and what the node decides from them; processes are known by pid and start time."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fairway.kube.objects import Obj
from fairway.node import decide as d
from fairway.node.addresses import Addresses
from fairway.node.attempt import Attempt
from fairway.node.folder import lives, start_time
from fairway.node.probes import Health, Tally, health, step
from fairway.node.spec import Probe, TcpHandler

PROBE = Probe(TcpHandler(80, ""), 0, 1, 10, success_threshold=2, failure_threshold=3, grace_s=None)
NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("results", "verdict"), [
    ("+", "unknown"), ("++", "passed"), ("+-+", "unknown"), ("++-", "passed"), ("++---", "failed"), ("---", "failed"),
    ("--+--", "unknown"), ("---+", "failed"), ("---++", "passed"),
    ("eeeeee", "unknown"), ("--e", "unknown"), ("++eeee", "passed"),
])
def test_thresholds(results: str, verdict: str) -> None:
    """`+` and `-` are results, `e` is an early look that failed."""
    tally = Tally()
    for result in results:
        tally = step(tally, PROBE, result == "+", "no", counts=result != "e")
    assert tally.verdict == verdict


def test_health_follows_the_order_hook_startup_readiness() -> None:
    passed, unknown, failed = Tally("passed"), Tally(), Tally("failed", message="boom")
    assert health(None, None, None, hook_done=False) == Health(False, False)
    assert health(None, None, None, hook_done=True) == Health(True, True)
    assert health((PROBE, unknown), None, (PROBE, passed), hook_done=True) == Health(False, False)
    assert health((PROBE, passed), None, (PROBE, passed), hook_done=True) == Health(True, True)
    assert health(None, (PROBE, failed), None, hook_done=True).unhealthy == "Liveness probe failed: boom"


def _pod(**spec: object) -> Obj:
    containers = [{"name": "main", "image": "x"}]
    sidecar = {"name": "proxy", "image": "x", "restartPolicy": "Always"}
    return {"metadata": {"name": "p", "namespace": "default"}, "status": {},
            "spec": {"nodeName": "fairway", "containers": containers, "initContainers": [sidecar], **spec}}


def _running(number: int = 0) -> d.Run:
    return d.Run((Attempt(number, 1, "1", NOW),), "ready", health=Health(True, True))


def test_a_deleted_pod_stops_its_sidecars_last() -> None:
    pod = _pod()
    pod["metadata"] |= {"deletionTimestamp": "2030-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30}
    seen = d.Seen(pod, "fairway", {"main": _running(), "proxy": _running()}, stopping_since=NOW)
    assert d.decide(seen, NOW).actions == (d.Stop("main", 30.0, "Deleted"),)
    ended = replace(_running(), attempts=(Attempt(0, 1, "1", NOW, NOW, 0),))
    seen = d.Seen(pod, "fairway", {"main": ended, "proxy": _running()}, stopping_since=NOW)
    assert d.decide(seen, NOW).actions == (d.Stop("proxy", 30.0, "Deleted"),)
    seen = d.Seen(pod, "fairway", {"main": ended, "proxy": ended}, stopping_since=NOW)
    assert d.decide(seen, NOW).actions == (d.EndShim(), d.Remove())


def test_draining_ends_after_its_limit() -> None:
    pod = _pod(initContainers=[])
    pod["metadata"] |= {"deletionTimestamp": "2030-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30}
    seen = d.Seen(pod, "fairway", {"main": _running()}, drained=False, stopping_since=NOW)
    waiting = d.decide(seen, NOW + timedelta(seconds=9))
    assert (waiting.actions, waiting.wake_at) == ((), NOW + timedelta(seconds=10))
    assert waiting.reasons[0].code == "Draining"
    assert d.decide(seen, NOW + timedelta(seconds=10)).actions == (d.Stop("main", 30.0, "Deleted"),)


@pytest.mark.parametrize(("crashes", "pause_s"), [(0, 0), (1, 10), (2, 20), (3, 40), (5, 160), (6, 300), (60, 300)])
def test_the_pause_after_a_crash_doubles_up_to_five_minutes(crashes: int, pause_s: int) -> None:
    last = Attempt(crashes, 1, "1", NOW, NOW, 1)
    run = d.Run((last,), "ready", crashes=crashes)
    seen = d.Seen(_pod(initContainers=[]), "fairway", {"main": run})
    decision = d.decide(seen, NOW + timedelta(seconds=pause_s) - timedelta(milliseconds=1))
    if pause_s:
        assert (decision.actions, decision.wake_at) == ((), NOW + timedelta(seconds=pause_s))
    assert d.decide(seen, NOW + timedelta(seconds=pause_s)).actions == (d.Start("main", crashes + 1),)


def test_a_long_run_forgives_earlier_crashes() -> None:
    long = Attempt(4, 1, "1", NOW, NOW + timedelta(minutes=10), 1)
    short = Attempt(4, 1, "1", NOW, NOW + timedelta(minutes=9), 1)
    assert (d.next_crashes(4, long), d.next_crashes(4, short)) == (1, 5)


def test_a_process_is_known_by_pid_and_start_time() -> None:
    start = start_time(os.getpid())
    assert start is not None
    assert lives(os.getpid(), start)
    assert not lives(os.getpid(), str(int(start) + 1))


def test_addresses_go_on_after_a_restart_and_skip_what_is_used(tmp_path: Path) -> None:
    file = tmp_path / "next"
    first = Addresses(file).take()
    second = Addresses(file).take()
    assert first != second and second.startswith("127.")
    third = Addresses(tmp_path / "next").take()
    assert len({first, second, third}) == 3
    file.write_text("0")
    assert Addresses(file).take(frozenset({"127.64.0.1"})) == "127.64.0.2"
