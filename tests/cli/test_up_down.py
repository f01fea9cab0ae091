"""Starting and stopping a real daemon."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fairway.cli.client import Addresses, is_alive
from fairway.cli.group import cli
from fairway.cli.platform_process import leftovers, stop_platform
from fairway.state import StateDir


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
