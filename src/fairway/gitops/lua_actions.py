"""Users' own actions in Lua: `resource.customizations.actions.<group>_<kind>` of argocd-cm.

    discovery.lua: |            a script that returns a table: name to {disabled = ..., params = {{name = ...}}}
    definitions:
    - name: restart
      action.lua: |             a script that returns `obj` as it shall be, or a list of {operation = "create" or "patch",
                                resource = ...}; the global `actionParams` has the parameters
    mergeBuiltinActions: true   beside the built-in ones instead of in their place

The scripts run in the sandbox of the health checks, with `string` and `math`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fairway.gitops.actions import Action, Change, Make, Parameters, Refused
from fairway.gitops.lua_sandbox import LuaFailure, run, to_python
from fairway.kube.objects import Obj, meta_of
from fairway.kube.patches.merge_patch import difference


@dataclass(frozen=True, slots=True)
class LuaActions:
    discovery: str
    scripts: Mapping[str, str]
    with_built_in: bool = False

    def of(self, obj: Obj) -> list[Action]:
        """What the discovery script finds; nothing where it fails."""
        try:
            found = to_python(run(self.discovery, {"obj": obj}, open_libs=True), {})
        except LuaFailure:
            return []
        if not isinstance(found, dict):
            return []
        details = {name: said if isinstance(said, dict) else {} for name, said in found.items() if name in self.scripts}
        return [Action(name, _make(self.scripts[name], name), bool(said.get("disabled")), _parameters(said))
                for name, said in sorted(details.items())]


def decode_actions(value: Mapping[str, Any]) -> LuaActions:
    """`ValueError` for what is no definition."""
    definitions, scripts = value.get("definitions") or [], {}
    for one in definitions if isinstance(definitions, list) else [None]:
        if not isinstance(one, dict) or not one.get("name") or not one.get("action.lua"):
            raise ValueError("definitions: a list of {name, action.lua} is needed")
        scripts[str(one["name"])] = str(one["action.lua"])
    return LuaActions(str(value.get("discovery.lua") or "return {}"), scripts, bool(value.get("mergeBuiltinActions")))


def _parameters(said: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(one["name"]) for one in said.get("params") or () if isinstance(one, dict) and one.get("name"))


def _make(script: str, name: str) -> Make:
    def make(obj: Obj, now: datetime, given: Parameters) -> Change:
        try:
            found = to_python(run(script, {"obj": obj, "actionParams": dict(given)}, open_libs=True), obj)
        except LuaFailure as error:
            raise Refused(f"the script of the action {name} failed: {error}") from error
        if isinstance(found, dict):
            return _patched(obj, found)
        change = Change()
        for one in found if isinstance(found, list) else [None]:
            if not isinstance(one, dict) or not isinstance(one.get("resource"), dict):
                raise Refused(f"the script of the action {name} returned neither the object nor a list of operations")
            if one.get("operation") == "create":
                change = Change(change.patch, change.status, (*change.create, one["resource"]))
            elif one.get("operation") == "patch" and _same(one["resource"], obj):
                patched = _patched(obj, one["resource"])
                change = Change(patched.patch, patched.status, change.create)
            else:
                raise Refused(f"the action {name} may create objects and patch its own, nothing else")
        return change

    return make


def _same(a: Obj, b: Obj) -> bool:
    return a.get("kind") == b.get("kind") and all(
        (meta_of(a).get(key) or "") == (meta_of(b).get(key) or "") for key in ("name", "namespace"))


def _patched(old: Obj, new: Obj) -> Change:
    if not _same(old, new):
        raise Refused("an action may not make another object of the one that it is for")
    patch = difference(old, new)
    status = patch.pop("status", None)
    return Change(patch or None, {"status": status} if status is not None else None)
