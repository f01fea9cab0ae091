"""What the ConfigMap `argocd-cm` says for all Applications: health checks, ignored fields, excluded kinds. Pure.

The keys are Argo CD's own, so that the ConfigMap moves here unchanged:

    resource.customizations.health.<group>_<kind>                a Lua script
    resource.customizations.ignoreDifferences.<group>_<kind>     jsonPointers, jqPathExpressions, managedFieldsManagers
    resource.customizations.ignoreDifferences.all
    resource.customizations.useOpenLibs.<group>_<kind>           "true"
    resource.customizations.actions.<group>_<kind>               Lua scripts: see `lua_actions`
    resource.customizations                                      the older form: one map by "<group>/<kind>"
    resource.exclusions, resource.inclusions                     lists of {apiGroups, kinds, clusters}
    resource.compareoptions                                      ignoreAggregatedRoles, ignoreResourceStatusField
    application.resourceTrackingMethod                           annotation, label or annotation+label
    application.instanceLabelKey, installationID                 which label; which installation
    cluster.inClusterEnabled                                     "false": nothing is delivered to the cluster of Fairway
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fairway.gitops.actions import Action, MoreActions, actions_of, none_more
from fairway.gitops.compare import DEFAULT, CompareOptions
from fairway.gitops.health import Health, health, own_health
from fairway.gitops.ignoring import BadExpression, IgnoreRule, check_expression
from fairway.gitops.lua_actions import LuaActions, decode_actions
from fairway.gitops.lua_health import LuaHealth
from fairway.gitops.spec import HERE
from fairway.gitops.tracking import BY_ANNOTATION, Tracking, decode_tracking
from fairway.kube.decision import Reason
from fairway.kube.objects import Obj, group_of
from fairway.manifests import ManifestError, yaml

CONFIG_MAP = "argocd-cm"
_PREFIX = "resource.customizations."


@dataclass(frozen=True, slots=True)
class KindPattern:
    """`apiGroups`, `kinds` and `clusters` (servers) of an exclusion: patterns, all of them where none is given."""

    groups: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()

    def fits(self, group: str, kind: str, server: str) -> bool:
        return _any(self.groups, group) and _any(self.kinds, kind) and _any(self.clusters, server)


def _any(patterns: tuple[str, ...], text: str) -> bool:
    return not patterns or any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class Customizations:
    checks: Mapping[tuple[str, str], LuaHealth] = field(default_factory=dict)
    ignore: tuple[IgnoreRule, ...] = ()
    actions: Mapping[tuple[str, str], LuaActions] = field(default_factory=dict)
    exclusions: tuple[KindPattern, ...] = ()
    inclusions: tuple[KindPattern, ...] = ()
    mistakes: tuple[Reason, ...] = ()
    tracking: Tracking = BY_ANNOTATION
    comparison: CompareOptions = DEFAULT
    in_cluster: bool = True
    """Whether Applications may be delivered to the cluster that Fairway serves (`cluster.inClusterEnabled`)."""

    def health(self, obj: Obj) -> Health | None:
        """The user's check of the kind, then of a pattern that fits it, then the built-in one."""
        found = self._check(group_of(str(obj.get("apiVersion") or "")), str(obj.get("kind") or ""))
        return own_health(obj, found) if found is not None else health(obj)

    def _check(self, group: str, kind: str) -> LuaHealth | None:
        exact = self.checks.get((group, kind))
        if exact is not None or not self.checks:
            return exact
        return next((check for (g, k), check in self.checks.items() if ("*" in g or "*" in k)
                     and fnmatch.fnmatchcase(group, g) and fnmatch.fnmatchcase(kind, k)), None)

    def actions_of(self, obj: Obj, more: MoreActions = none_more) -> dict[str, Action]:
        """The user's own actions, in the place of the built-in ones or beside them."""
        own = self.actions.get((group_of(str(obj.get("apiVersion") or "")), str(obj.get("kind") or "")))
        if own is None:
            return actions_of(obj, more)
        found = actions_of(obj, more) if own.with_built_in else {}
        return {**found, **{action.name: action for action in own.of(obj)}}

    def excluded(self, obj: Obj, server: str = HERE) -> bool:
        """Whether objects of this kind are left alone altogether, in this cluster."""
        group, kind = group_of(str(obj.get("apiVersion") or "")), str(obj.get("kind") or "")
        if any(pattern.fits(group, kind, server) for pattern in self.exclusions):
            return True
        return bool(self.inclusions) and not any(pattern.fits(group, kind, server) for pattern in self.inclusions)


NONE = Customizations()


def decode_customizations(data: Mapping[str, str]) -> Customizations:
    """From the ConfigMap's data. An entry that cannot be read is left out and named in `mistakes`."""
    checks: dict[tuple[str, str], LuaHealth] = {}
    actions: dict[tuple[str, str], LuaActions] = {}
    ignore: list[IgnoreRule] = []
    mistakes: list[Reason] = []
    opened = {key.removeprefix(_PREFIX + "useOpenLibs.") for key, value in data.items()
              if key.startswith(_PREFIX + "useOpenLibs.") and value.strip() == "true"}
    for key, value in sorted(data.items()):
        try:
            if key.startswith(_PREFIX + "health."):
                name = key.removeprefix(_PREFIX + "health.")
                checks[_group_kind(name)] = LuaHealth(value, open_libs=name in opened)
            elif key.startswith(_PREFIX + "ignoreDifferences."):
                ignore.append(_ignore(_group_kind(key.removeprefix(_PREFIX + "ignoreDifferences.")), _map(value, key)))
            elif key.startswith(_PREFIX + "actions."):
                actions[_group_kind(key.removeprefix(_PREFIX + "actions."))] = decode_actions(_map(value, key))
            elif key == "resource.customizations":
                for name, one in _map(value, key).items():
                    _older_form(name, one, checks, ignore, key)
                    if isinstance(one, dict) and one.get("actions"):
                        said = one["actions"]
                        group, _, kind = name.rpartition("/")
                        actions[group, kind] = decode_actions(said if isinstance(said, dict) else _map(str(said), key))
        except (ManifestError, BadExpression, ValueError) as error:
            mistakes.append(Reason("InvalidSpecError", f"ConfigMap {CONFIG_MAP}, {key}: {error}"))
    try:
        tracking = decode_tracking(data)
    except ValueError as error:
        tracking = BY_ANNOTATION
        mistakes.append(Reason("InvalidSpecError", f"ConfigMap {CONFIG_MAP}, application.resourceTrackingMethod: {error}"))
    return Customizations(checks, tuple(ignore), actions, _kinds(data, "resource.exclusions", mistakes),
                          _kinds(data, "resource.inclusions", mistakes), tuple(mistakes), tracking,
                          _compare_options(data, mistakes), data.get("cluster.inClusterEnabled") != "false")


def _compare_options(data: Mapping[str, str], mistakes: list[Reason]) -> CompareOptions:
    """`resource.compareoptions`. `ignoreDifferencesOnResourceUpdates` has no part here: an event never causes a comparison
    of what it did not change."""
    try:
        said = yaml.load(data.get("resource.compareoptions") or "{}", "resource.compareoptions") or {}
        status = str(said.get("ignoreResourceStatusField") or "all")
        if status not in ("all", "crd", "none", "off", "False", "false"):
            raise ValueError(f"ignoreResourceStatusField: {status!r} is none of all, crd, none")
    except (ManifestError, ValueError, AttributeError) as error:
        mistakes.append(Reason("InvalidSpecError", f"ConfigMap {CONFIG_MAP}, resource.compareoptions: {error}"))
        return DEFAULT
    return CompareOptions("crd" if status == "crd" else "all" if status == "all" else "none",
                          bool(said.get("ignoreAggregatedRoles")))


def _group_kind(name: str) -> tuple[str, str]:
    if name == "all":
        return "*", "*"
    group, underscore, kind = name.rpartition("_")
    return (group if underscore else "", kind)


def _map(text: str, key: str) -> Mapping[str, Any]:
    found = yaml.load(text, key)
    if not isinstance(found, dict):
        raise ValueError("a mapping is needed")
    return found


def _older_form(name: str, one: Any, checks: dict[tuple[str, str], LuaHealth], ignore: list[IgnoreRule], key: str) -> None:
    group, slash, kind = name.rpartition("/")
    group_kind = (group if slash else "", kind)
    if not isinstance(one, dict):
        raise ValueError(f"{name}: a mapping is needed")
    if one.get("health.lua"):
        checks[group_kind] = LuaHealth(str(one["health.lua"]), open_libs=bool(one.get("health.lua.useOpenLibs")))
    if one.get("ignoreDifferences"):
        value = one["ignoreDifferences"]
        ignore.append(_ignore(group_kind, value if isinstance(value, dict) else _map(str(value), key)))


def _ignore(group_kind: tuple[str, str], value: Mapping[str, Any]) -> IgnoreRule:
    expressions = _texts(value.get("jqPathExpressions"))
    for text in expressions:
        check_expression(text)
    return IgnoreRule(group_kind[1], group_kind[0], json_pointers=_texts(value.get("jsonPointers")), jq_paths=expressions,
                      managers=_texts(value.get("managedFieldsManagers")))


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, Iterable) and not isinstance(value, str) else ()


def _kinds(data: Mapping[str, str], key: str, mistakes: list[Reason]) -> tuple[KindPattern, ...]:
    if not data.get(key):
        return ()
    try:
        found = yaml.load(data[key], key)
    except ManifestError as error:
        mistakes.append(Reason("InvalidSpecError", f"ConfigMap {CONFIG_MAP}, {key}: {error}"))
        return ()
    return tuple(KindPattern(_texts(entry.get("apiGroups")), _texts(entry.get("kinds")), _texts(entry.get("clusters")))
                 for entry in found or () if isinstance(entry, dict))
