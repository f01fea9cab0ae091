"""Users' own health checks in Lua, run in a sandbox.

A script sees the global `obj` and returns `{status = ..., message = ...}`. It gets the language itself, `table`, and of `os`
the three functions about time; `string` and `math` where the user opened them. Nothing else is in reach: no files, no
processes, no loading of code, no way to Python. A check that runs too long or takes too much memory is Unknown, and says so.
Every check has a state of its own, so that no script sees what another one left.
"""

from __future__ import annotations

from typing import Any, cast, get_args

from fairway.gitops.health import Health, HealthStatus
from fairway.kube.objects import Obj

INSTRUCTIONS = 5_000_000
"""About half a second of LuaJIT's interpreter; the longest script of the public catalogue needs a few thousand."""
MEMORY = 64 * 1024 * 1024
"""Bytes. The largest object that the API takes is 1.5 MB of JSON, some 15 MB as tables."""
_STEP = 10_000  # instructions between two looks at the budget

_PRELUDE = """
local sethook, budget, step = debug.sethook, ...
if jit then jit.off() end
local function exhausted()
  budget = budget - step
  if budget < 0 then error("the check ran for too many instructions", 0) end
end
local date, now, difftime = os.date, os.time, os.difftime
local open = OPEN_LIBS
OPEN_LIBS = nil
local rep = string.rep
string.rep = function(s, n, sep)
  if n * (#s + #(sep or "")) > 1000000 then error("the text is too long", 0) end
  return rep(s, n, sep)
end
string.dump = nil
for _, name in ipairs({"io", "package", "require", "dofile", "loadfile", "load", "loadstring", "debug", "jit", "ffi", "bit",
                       "collectgarbage", "module", "newproxy", "setfenv", "getfenv", "python", "coroutine", "print"}) do
  _G[name] = nil
end
getmetatable("").__metatable = false
os = {date = date, time = now, difftime = difftime}
local raise, caught, raw = error, pcall, select
pcall = function(f, ...)
  local found = {caught(f, ...)}
  if not found[1] and budget < 0 then raise(found[2], 0) end
  return unpack(found)
end
xpcall = nil
if not open then
  string = nil
  math = nil
end
sethook(exhausted, "", step)
"""


class LuaHealth:
    """One script; `open_libs` gives it `string` and `math` (`resource.customizations.useOpenLibs`)."""

    def __init__(self, script: str, *, open_libs: bool = False) -> None:
        self.script = script
        self.open_libs = open_libs

    def __call__(self, obj: Obj) -> Health | None:
        """None where the script returns nothing; Unknown with the reason where it fails."""
        from lupa import luajit21 as lua

        try:
            runtime = lua.LuaRuntime(unpack_returned_tuples=True, register_eval=False, register_builtins=False,
                                     attribute_filter=_nothing, max_memory=MEMORY)
            table = _to_lua(runtime, obj)
            runtime.globals().OPEN_LIBS = self.open_libs
            runtime.execute(_PRELUDE, INSTRUCTIONS, _STEP)
            runtime.globals().obj = table
            answer = runtime.execute(self.script)
        except (lua.LuaError, lua.LuaMemoryError, MemoryError) as error:
            return Health("Unknown", f"the Lua health check failed: {error}")
        return _answer(answer)


def _nothing(obj: Any, name: Any, setting: bool) -> Any:
    raise AttributeError("not in reach")


def _to_lua(runtime: Any, value: Any) -> Any:
    if isinstance(value, dict):
        table = runtime.table()
        for key, inner in value.items():
            if inner is not None:
                table[key] = _to_lua(runtime, inner)
        return table
    if isinstance(value, list):
        return runtime.table(*(_to_lua(runtime, inner) for inner in value))
    return value


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
