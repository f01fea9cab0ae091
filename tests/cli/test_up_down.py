"""Starting and stopping a real daemon."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fairway.cli.client import Addresses, is_alive
from fairway.cli.group import cli
from fairway.cli.platform_process import leftovers, start_platform, stop_platform
from fairway.state import StateDir
from fairway.traffic.envoy import find_binary


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateDir]:
    found = StateDir(tmp_path / "state")
    yield found
    if Addresses.read(found) is not None:
        stop_platform(found)
    for process in leftovers(found):
        os.kill(process.pid, signal.SIGKILL)


def fairway(state: StateDir, *arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, ["--state", str(state.root), *arguments])
    assert result.exit_code == code, result.output
    return result


def test_up_again_down_again(state: StateDir) -> None:
    first = json.loads(fairway(state, "up", "-o", "json").stdout)
    assert is_alive(first["pid"])
    assert os.getsid(first["pid"]) != os.getsid(0)
    assert Path(first["kubeconfig"]).stat().st_mode & 0o777 == 0o600
    assert "The platform already runs." in fairway(state, "up").stdout
    assert "0 of 0 pods ready" in fairway(state, "status").stdout
    assert "nothing of it runs any more" in fairway(state, "down").stdout
    assert not is_alive(first["pid"])
    assert leftovers(state) == []
    assert "nothing is left to stop" in fairway(state, "down", code=3).stderr
    second = json.loads(fairway(state, "up", "-o", "json").stdout)
    ports = ("api_url", "web_url", "ingress_url")
    assert [second[name] for name in ports] == [first[name] for name in ports]


def test_two_that_start_it_at_once_get_the_same_one(state: StateDir) -> None:
    with ThreadPoolExecutor(2) as both:
        first, second = both.map(lambda _: start_platform(state), range(2))
    assert first == second
    assert leftovers_named(state, "fairway.daemon") == [first.pid]


def test_somebody_who_reads_the_log_is_no_part_of_it(state: StateDir) -> None:
    fairway(state, "up")
    reader = subprocess.Popen(["tail", "-f", str(state.logs / "daemon.log")], stdout=subprocess.DEVNULL)
    try:
        assert any("envoy" in process.command for process in leftovers(state)) or find_binary() is None
        assert "nothing of it runs any more" in fairway(state, "down").stdout
    finally:
        reader.kill()
        reader.wait()


def leftovers_named(state: StateDir, name: str) -> list[int]:
    return [process.pid for process in leftovers(state) if name in process.command]


def test_the_pid_of_a_dead_daemon_that_somebody_else_has_now_is_no_platform(state: StateDir) -> None:
    """After a restart of the machine, say: nobody may be told to stop for us."""
    fairway(state, "up")
    facts = json.loads(state.daemon.read_text())
    fairway(state, "down")
    state.daemon.write_text(json.dumps({**facts, "pid": os.getppid()}))
    assert Addresses.read(state) is None
    assert "no platform is running" in fairway(state, "down", code=3).stderr


def test_it_stops_soon_after_it_has_started_and_when_told_in_the_middle_of_it(state: StateDir) -> None:
    for _ in range(3):
        pid = json.loads(fairway(state, "up", "-o", "json").stdout)["pid"]
        begun = time.monotonic()
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
        assert time.monotonic() - begun < 8, "no part waited to be told twice"
    assert "does not stop" not in (state.logs / "daemon.log").read_text()


def test_a_mistake_in_the_notifications_is_said_without_the_url(state: StateDir) -> None:
    state.root.mkdir()
    state.notifications.write_text("webhooks:\n- {name: team, url: ftp://example.com/very-secret}\n")
    refused = fairway(state, "up", code=1).stderr
    assert "notify.yaml: webhooks[0].url: an http:// or https:// URL is needed" in refused
    state.notifications.write_text("webhooks: [\nurl: https://example.com/very-secret: {")
    broken = fairway(state, "up", code=1).stderr
    assert "notify.yaml: it is no YAML at line 2" in broken and "secret" not in refused + broken


def test_a_platform_that_was_killed_is_found_and_adopted(state: StateDir) -> None:
    first = json.loads(fairway(state, "up", "-o", "json").stdout)
    os.kill(first["pid"], signal.SIGKILL)
    os.waitpid(first["pid"], 0)
    left = leftovers(state)
    refused = fairway(state, "down", code=3).stderr
    assert ("still serve" in refused) == bool(left)
    second = json.loads(fairway(state, "up", "-o", "json").stdout)
    assert second["pid"] != first["pid"]
    assert {process.pid for process in left} <= {process.pid for process in leftovers(state)}
    fairway(state, "down")
    assert leftovers(state) == []


def test_a_port_that_is_taken_is_said_with_the_mend(state: StateDir) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = fairway(state, "up", "--api-port", str(port), code=1).stderr
    assert f"port {port} for the api is taken" in refused
    assert "--api-port" in refused
    assert Addresses.read(state) is None
