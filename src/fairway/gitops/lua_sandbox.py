"""Users' own Lua, run in a sandbox.

A script gets the language itself, `table`, and of `os` the three functions about time; `string` and `math` where that is
asked for. Nothing else is in reach: no files, no processes, no loading of code, no way to Python. A script that runs too long
or takes too much memory ends with an error. Every run has a state of its own, so that no script sees what another one left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

INSTRUCTIONS = 5_000_000
"""About half a second of LuaJIT's interpreter; the longest script of the public catalogue needs a few thousand."""
MEMORY = 64 * 1024 * 1024
"""Bytes. The largest object that the API takes is 1.5 MB of JSON, some 15 MB as tables."""
_STEP = 10_000  # instructions between two looks at the budget
_DEEPEST = 100

_PRELUDE = """
local sethook, budget, step = debug.sethook, ...
if jit then jit.off() end
local function exhausted()
  budget = budget - step
  if budget < 0 then error("the script ran for too many instructions", 0) end
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


class LuaFailure(ValueError):
    """What the script, or the sandbox, said."""


def run(script: str, given: Mapping[str, Any], *, open_libs: bool = False) -> Any:
    """What the script returns, as Lua has it; `given` are its globals. Raises `LuaFailure`."""
    from lupa import luajit21 as lua

    try:
        runtime = lua.LuaRuntime(unpack_returned_tuples=True, register_eval=False, register_builtins=False,
                                 attribute_filter=_nothing, max_memory=MEMORY)
        made = {name: _to_lua(runtime, value) for name, value in given.items()}
        runtime.globals().OPEN_LIBS = open_libs
        runtime.execute(_PRELUDE, INSTRUCTIONS, _STEP)
        for name, value in made.items():
            runtime.globals()[name] = value
        return runtime.execute(script)
    except (lua.LuaError, lua.LuaMemoryError, MemoryError) as error:
        raise LuaFailure(str(error)) from error


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


def to_python(value: Any, like: Any = None) -> Any:
    """A value that a script returned. An empty table is what stood there before (`like`), else a list; `LuaFailure` for what is
    no data, and for tables without end."""
    return _to_python(value, like, 0)


def _to_python(value: Any, like: Any, depth: int) -> Any:
    from lupa.luajit21 import lua_type

    if lua_type(value) is None:
        return value
    if lua_type(value) != "table" or depth > _DEEPEST:
        raise LuaFailure(f"a {lua_type(value)} is no data" if depth <= _DEEPEST else "a table is nested too deep")
    keys = list(value)
    if not keys:
        return {} if isinstance(like, dict) else []
    if keys == list(range(1, len(keys) + 1)):
        before = like if isinstance(like, list) else []
        return [_to_python(value[n], before[n - 1] if n <= len(before) else None, depth + 1) for n in keys]
    inner = like if isinstance(like, dict) else {}
    return {str(key): _to_python(value[key], inner.get(str(key)), depth + 1) for key in keys}
