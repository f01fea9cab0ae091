"""RBAC over the API of this process: reads roles where they are stored, founds the default ones, keeps aggregated ones told.

Decisions read what is stored at that moment, so a new binding counts for the next request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from fairway.kube.api import ApplyPatch, MergePatch, WriteOptions
from fairway.kube.default_roles import AUTO_UPDATE, default_roles
from fairway.kube.embedded import EmbeddedApi, table_of
from fairway.kube.errors import ApiError, Forbidden, NotFound
from fairway.kube.objects import Key, Obj, dig
from fairway.kube.rbac import (
    GROUP,
    Attributes,
    Decision,
    Rule,
    decide,
    effective_rules,
    escalation,
    grants,
    not_held,
    refusal,
    rules_of_ref,
)
from fairway.kube.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES, Resource
from fairway.kube.store import Change
from fairway.kube.users import User

_EVERYTHING = (Rule(("*",), ("*",), ("*",)), Rule(("*",), paths=("*",)))
_CHECKED: dict[tuple[str, str], tuple[str, ...]] = {
    ROLES.group_kind: ("rules", "aggregationRule"),
    CLUSTER_ROLES.group_kind: ("rules", "aggregationRule"),
    ROLE_BINDINGS.group_kind: ("subjects", "roleRef"),
    CLUSTER_ROLE_BINDINGS.group_kind: ("subjects", "roleRef"),
}
"""Kinds that give permissions, and the fields that do."""


class StoredRoles:
    """`Roles` as they are stored now. The objects are shared."""

    def __init__(self, api: EmbeddedApi) -> None:
        self._store = api.store

    def _one(self, resource: Resource, key: Key) -> Obj | None:
        found = self._store.get(table_of(resource), key)
        return None if found is None else found.obj

    def _all(self, resource: Resource, namespace: str = "") -> Iterable[Obj]:
        rows = self._store.rows(table_of(resource))
        return [version.obj for key, version in sorted(rows.items()) if key.namespace == namespace]

    def role(self, namespace: str, name: str) -> Obj | None:
        return self._one(ROLES, Key(namespace, name))

    def cluster_role(self, name: str) -> Obj | None:
        return self._one(CLUSTER_ROLES, Key("", name))

    def cluster_roles(self) -> Iterable[Obj]:
        return self._all(CLUSTER_ROLES)

    def bindings(self, namespace: str) -> Iterable[Obj]:
        return self._all(ROLE_BINDINGS, namespace)

    def cluster_bindings(self) -> Iterable[Obj]:
        return self._all(CLUSTER_ROLE_BINDINGS)


class Access:
    """Who may do what over this API. `start` before the first request, `stop` after the last."""

    def __init__(self, api: EmbeddedApi) -> None:
        self._api = api
        self.roles = StoredRoles(api)
        self._listening: int | None = None
        self._telling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Found the default roles where they are absent or Fairway's own to update."""
        if self._listening is not None:
            return
        await asyncio.gather(*(self._found(role) for role in default_roles()))
        await self._tell()
        self._listening = self._api.store.listen(table_of(CLUSTER_ROLES), self._changed)

    async def _found(self, role: Obj) -> None:
        resource = CLUSTER_ROLES if role["kind"] == "ClusterRole" else CLUSTER_ROLE_BINDINGS
        present = self._api.store.get(table_of(resource), Key("", role["metadata"]["name"]))
        if present is not None and "aggregationRule" in role:
            return  # its rules are told from the others
        if present is None or dig(present.obj, "metadata", "annotations", AUTO_UPDATE) != "false":
            await self._api.patch(resource, role["metadata"]["name"], "", ApplyPatch(role, force=True),
                                  WriteOptions(manager="fairway"))

    async def stop(self) -> None:
        if self._listening is not None:
            self._api.store.forget(table_of(CLUSTER_ROLES), self._listening)
            self._listening = None
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)

    # --- aggregation --------------------------------------------------------------------------------------------------

    def _changed(self, change: Change) -> None:
        if self._telling is None or self._telling.done():
            self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        """Write into aggregated roles what they hold, until nothing changes: some are chosen by others."""
        for _ in range(10):  # each round reaches one level further; nobody nests ten
            stale = [(role, rules) for role in self.roles.cluster_roles() if role.get("aggregationRule")
                     and (rules := effective_rules(role, self.roles.cluster_roles())) != (role.get("rules") or [])]
            for role, rules in stale:
                options = WriteOptions(manager="clusterrole-aggregation-controller")
                try:
                    await self._api.patch(CLUSTER_ROLES, role["metadata"]["name"], "", MergePatch({"rules": rules}), options)
                except NotFound:
                    continue
            if not stale:
                return

    # --- decisions ----------------------------------------------------------------------------------------------------

    def decide(self, user: User, asked: Attributes) -> Decision:
        return decide(self.roles, user, asked)

    def require(self, user: User, asked: Attributes) -> None:
        """`Forbidden` in the server's words."""
        decision = self.decide(user, asked)
        if not decision.allowed:
            raise forbidden(user, asked, decision.reason)

    def rules_of(self, user: User, namespace: str) -> list[Rule]:
        if user.unrestricted:
            return list(_EVERYTHING)
        return [rule for grant in grants(self.roles, user, namespace) for rule in grant.rules]

    def check_granting(self, user: User, resource: Resource, new: Obj, old: Obj | None) -> None:
        """Nobody writes a role, or binds one, that says more than they hold; `escalate` and `bind` lift that."""
        if user.unrestricted or resource.group_kind not in _CHECKED:
            return
        parts = _CHECKED[resource.group_kind]
        if old is not None and all(old.get(part) == new.get(part) for part in parts):
            return
        meta: dict[str, Any] = new.get("metadata") or {}
        namespace, name = meta.get("namespace") or "", meta.get("name") or ""
        if "roleRef" in parts:
            wanted = self._bound(user, new.get("roleRef") or {}, namespace)
        elif self.decide(user, Attributes("escalate", GROUP, "v1", resource.plural, "", namespace, name)).allowed:
            return
        else:  # what an aggregation rule will choose is not known: it takes everything
            wanted = _EVERYTHING if new.get("aggregationRule") else tuple(Rule.of(spec) for spec in new.get("rules") or ())
        missing = not_held(self.rules_of(user, namespace), wanted)
        if missing:
            raise Forbidden(f'{resource.qualified} "{name}" is forbidden: {escalation(user, missing)}',
                            details={"name": name, "group": GROUP, "kind": resource.plural})

    def _bound(self, user: User, ref: Mapping[str, Any], namespace: str) -> tuple[Rule, ...]:
        """What a binding gives; nothing that matters where `user` may bind this role anyway."""
        kind, name = str(ref.get("kind", "")), str(ref.get("name", ""))
        plural = "roles" if kind == "Role" else "clusterroles"
        if self.decide(user, Attributes("bind", GROUP, "v1", plural, "", namespace, name)).allowed:
            return ()
        found = rules_of_ref(self.roles, {"kind": kind, "name": name}, namespace)
        if found is None:
            raise NotFound(f'{plural}.{GROUP} "{name}" not found', details={"name": name, "group": GROUP, "kind": plural})
        return found


def forbidden(user: User, asked: Attributes, reason: str = "") -> ApiError:
    """403 about one request."""
    words = refusal(user, asked) + (f": {reason}" if reason else "")
    if not asked.resource:
        return Forbidden(f"forbidden: {words}")
    qualified = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
    named = f'{qualified} "{asked.name}"' if asked.name else qualified
    details = {"name": asked.name, "group": asked.group, "kind": asked.resource}
    return Forbidden(f"{named} is forbidden: {words}", details={key: value for key, value in details.items() if value})
