"""Help is quick, and costs no command its import."""

from __future__ import annotations

import importlib.util
import resource
import subprocess
import sys

import pytest
from click.testing import CliRunner

from fairway.cli.group import COMMANDS, cli

LISTING = """
import sys
sys.argv = ["fairway", "--help"]
from fairway.cli import main
try:
    main()
except SystemExit:
    pass
print("MODULES", *sys.modules)
"""
WRITTEN = [name for name, (module, _) in COMMANDS.items() if importlib.util.find_spec(module)]


def test_help_imports_no_command_and_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", LISTING], capture_output=True, text=True, check=True)
    shown, _, modules = done.stdout.partition("MODULES")
    loaded = set(modules.split())
    assert not loaded & {"aiohttp", "yaml", "rich", "asyncio", "ssl", "http.client", "msgspec", "cryptography", "numpy"}
    assert not loaded & {module for module, _ in COMMANDS.values()}
    for name in COMMANDS:
        assert f"  {name} " in shown


def test_help_takes_less_than_150_ms() -> None:
    """Of processor time, the best of five: other work on the machine does not count."""

    def cost() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "fairway.cli", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(cost() for _ in range(5)) < 0.15


@pytest.mark.parametrize("name", WRITTEN)
def test_every_command_explains_itself(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"Usage: cli {name}")


def test_a_slip_of_the_finger_is_answered_with_the_nearest_command() -> None:
    result = CliRunner().invoke(cli, ["stauts"])
    assert result.exit_code == 2
    assert "did you mean 'status'?" in result.output
