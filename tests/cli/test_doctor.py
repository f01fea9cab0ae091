"""`fairway doctor`: tried without a platform, and nothing is left of it."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from fairway.cli.group import cli


def test_doctor_says_what_this_machine_can_give(tmp_path: Path) -> None:
    state = tmp_path / "state"
    done = CliRunner().invoke(cli, ["--state", str(state), "doctor", "-o", "json"])
    found = {row["check"]: row for row in json.loads(done.stdout)}
    assert set(found) == {"containers", "traffic", "git"}
    assert found["containers"]["state"] in ("ok", "limited") and found["containers"]["message"]
    assert all(row["state"] == "ok" or row["mend"] or row["message"] for row in found.values())
    assert done.exit_code == (1 if any(row["state"] == "missing" for row in found.values()) else 0)
    assert list(tmp_path.iterdir()) == [], "no state folder is made, and the trial's own is removed"
