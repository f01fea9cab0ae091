"""Users' own health checks in Lua.

A script sees the global `obj` and returns `{status = ..., message = ...}`. A check that fails, runs too long or takes too much
memory is Unknown, and says so.
"""

from __future__ import annotations

from typing import Any, cast, get_args

from fairway.gitops.health import Health, HealthStatus
from fairway.gitops.lua_sandbox import LuaFailure, run
from fairway.kube.objects import Obj


class LuaHealth:
    """One script; `open_libs` gives it `string` and `math` (`resource.customizations.useOpenLibs`)."""

    def __init__(self, script: str, *, open_libs: bool = False) -> None:
        self.script = script
        self.open_libs = open_libs

    def __call__(self, obj: Obj) -> Health | None:
        """None where the script returns nothing; Unknown with the reason where it fails."""
        try:
            return _answer(run(self.script, {"obj": obj}, open_libs=self.open_libs))
        except LuaFailure as error:
            return Health("Unknown", f"the Lua health check failed: {error}")


def _answer(answer: Any) -> Health | None:
    if answer is None:
        return None
    try:
        status, message = answer["status"], answer["message"]
    except (TypeError, KeyError, AttributeError, IndexError):
        return Health("Unknown", "the Lua health check did not return a table with status and message")
    if status is None:
        return None
    if status not in get_args(HealthStatus):
        return Health("Unknown", f"Lua returned an invalid health status: {status}")
    return Health(cast(HealthStatus, status), str(message or ""))
