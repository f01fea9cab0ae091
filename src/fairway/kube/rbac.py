"""May this user do this? Role-based access control as Kubernetes decides it. Pure.

Roles hold rules, bindings give roles to users, groups and service accounts; whoever is given nothing may do nothing. There are
no denials: the first rule that allows decides. A ClusterRole with an aggregation rule has the rules of all ClusterRoles that
its selectors choose. A rule also says what may be granted onwards: nobody may write a role with more than they hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Protocol

from fairway.kube.objects import Obj, dig
from fairway.kube.selectors import from_label_selector
from fairway.kube.users import ACCOUNT_PREFIX, User

GROUP = "rbac.authorization.k8s.io"
_ALL = "*"


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is asked: a verb on a resource, or on a `path` that is none (then `resource` is "")."""

    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def combined(self) -> str:
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


@dataclass(frozen=True, slots=True)
class Rule:
    verbs: tuple[str, ...]
    groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()

    @staticmethod
    def of(spec: Mapping[str, Any]) -> Rule:
        def words(name: str) -> tuple[str, ...]:
            return tuple(spec.get(name) or ())

        return Rule(words("verbs"), words("apiGroups"), words("resources"), words("resourceNames"), words("nonResourceURLs"))

    def spec(self) -> Obj:
        named = {"verbs": self.verbs, "apiGroups": self.groups, "resources": self.resources, "resourceNames": self.names,
                 "nonResourceURLs": self.paths}  # fmt: skip
        return {name: list(values) for name, values in named.items() if values or name == "verbs"}

    def __str__(self) -> str:
        """As refusals show it: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`."""
        named = {"APIGroups": self.groups, "Resources": self.resources, "NonResourceURLs": self.paths,
                 "ResourceNames": self.names, "Verbs": self.verbs}  # fmt: skip
        parts = [f"{name}:{quoted(values)}" for name, values in named.items() if values]
        return "{" + ", ".join(parts) + "}"

    def allows(self, asked: Attributes) -> bool:
        if not _has(self.verbs, asked.verb):
            return False
        if not asked.resource:
            return any(_path_matches(path, asked.path) for path in self.paths)
        return (_has(self.groups, asked.group) and _resource_matches(self.resources, asked)
                and (not self.names or asked.name in self.names))

    def pieces(self) -> Iterator[Rule]:
        """The same permission as rules with one word in each place."""
        for group, resource, verb in product(self.groups, self.resources, self.verbs):
            if self.names:
                yield from (Rule((verb,), (group,), (resource,), (name,)) for name in self.names)
            else:
                yield Rule((verb,), (group,), (resource,))
        for path, verb in product(self.paths, self.verbs):
            yield Rule((verb,), paths=(path,))

    def covers(self, piece: Rule) -> bool:
        """Whether this rule allows all that `piece` does."""
        if not _has(self.verbs, piece.verbs[0]):
            return False
        if piece.paths:
            return any(_path_matches(path, piece.paths[0]) for path in self.paths)
        sub = piece.resources[0].partition("/")[2]
        held = set(self.resources)
        known = bool(held & {_ALL, piece.resources[0]}) or bool(sub and f"*/{sub}" in held)
        named = not self.names or (bool(piece.names) and piece.names[0] in self.names)
        return known and _has(self.groups, piece.groups[0]) and named


def quoted(words: Iterable[str]) -> str:
    """A list of words as Go's %q shows it."""
    return "[" + " ".join(f'"{word}"' for word in words) + "]"


def _has(words: Sequence[str], word: str) -> bool:
    return _ALL in words or word in words


def _resource_matches(resources: Sequence[str], asked: Attributes) -> bool:
    return _has(resources, asked.combined) or bool(asked.subresource and f"*/{asked.subresource}" in resources)


def _path_matches(rule: str, path: str) -> bool:
    return rule in (_ALL, path) or (rule.endswith(_ALL) and path.startswith(rule[:-1]))


# --- who holds which rules --------------------------------------------------------------------------------------------


class Roles(Protocol):
    """Where roles and bindings are read, as they are at this moment. Objects are not changed."""

    def role(self, namespace: str, name: str) -> Obj | None: ...

    def cluster_role(self, name: str) -> Obj | None: ...

    def cluster_roles(self) -> Iterable[Obj]: ...

    def bindings(self, namespace: str) -> Iterable[Obj]: ...

    def cluster_bindings(self) -> Iterable[Obj]: ...


@dataclass(frozen=True, slots=True)
class Grant:
    """Rules that a user holds, and by which binding. `missing`: the binding names a role that is not there."""

    rules: tuple[Rule, ...]
    reason: str
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """`reason`: why it is allowed; for a refusal, what is amiss with the roles, or ""."""

    allowed: bool
    reason: str = ""


def decide(roles: Roles, user: User, asked: Attributes) -> Decision:
    if user.unrestricted:
        return Decision(True)
    missing = []
    for grant in grants(roles, user, asked.namespace):
        if any(rule.allows(asked) for rule in grant.rules):
            return Decision(True, grant.reason)
        if grant.missing and grant.missing not in missing:
            missing.append(grant.missing)
    if not missing:
        return Decision(False)
    words = missing[0] if len(missing) == 1 else f"[{', '.join(missing)}]"
    return Decision(False, f"RBAC: {words}")


def grants(roles: Roles, user: User, namespace: str) -> Iterator[Grant]:
    """What `user` holds everywhere and, where one is given, in `namespace`."""
    for binding in roles.cluster_bindings():
        yield from _granted(roles, binding, user, "", "ClusterRoleBinding")
    if namespace:
        for binding in roles.bindings(namespace):
            yield from _granted(roles, binding, user, namespace, "RoleBinding")


def _granted(roles: Roles, binding: Obj, user: User, namespace: str, kind: str) -> Iterator[Grant]:
    subject = next((s for s in binding.get("subjects") or () if _is_meant(s, user, namespace)), None)
    if subject is None:
        return
    name, ref = binding["metadata"]["name"], binding["roleRef"]
    where = f"{name}/{namespace}" if namespace else name
    found = rules_of_ref(roles, ref, namespace)
    if found is None:
        yield Grant((), "", f'{ref["kind"].lower()}.{GROUP} "{ref["name"]}" not found')
        return
    to = f'{subject["kind"]} "{subject["name"]}'
    to += f'/{subject["namespace"]}"' if subject["kind"] == "ServiceAccount" else '"'
    yield Grant(found, f'RBAC: allowed by {kind} "{where}" of {ref["kind"]} "{ref["name"]}" to {to}')


def _is_meant(subject: Mapping[str, Any], user: User, namespace: str) -> bool:
    match subject.get("kind"):
        case "User":
            return subject.get("name") == user.name
        case "Group":
            return subject.get("name") in user.groups
        case "ServiceAccount":
            where = subject.get("namespace") or namespace
            return bool(where) and user.name == f"{ACCOUNT_PREFIX}{where}:{subject.get('name')}"
    return False


def rules_of_ref(roles: Roles, ref: Mapping[str, Any], namespace: str) -> tuple[Rule, ...] | None:
    """The rules of the role that a binding names; None where it is not there."""
    if ref["kind"] == "Role":
        role = roles.role(namespace, ref["name"])
        return None if role is None else _rules(role)
    role = roles.cluster_role(ref["name"])
    return None if role is None else tuple(Rule.of(spec) for spec in effective_rules(role, roles.cluster_roles()))


def _rules(role: Obj) -> tuple[Rule, ...]:
    return tuple(Rule.of(spec) for spec in role.get("rules") or ())


def effective_rules(role: Obj, others: Iterable[Obj]) -> list[Obj]:
    """The rules of a ClusterRole: its own, or those of the roles that its aggregation rule chooses, by name, each once."""
    selectors = dig(role, "aggregationRule", "clusterRoleSelectors")
    if not selectors:
        return list(role.get("rules") or ())
    chosen: dict[str, Obj] = {}
    for other in others:
        meta = other["metadata"]
        if meta["name"] != role["metadata"]["name"] and any(
                from_label_selector(selector).matches(meta.get("labels") or {}) for selector in selectors):
            chosen[meta["name"]] = other
    found: list[Obj] = []
    for name in sorted(chosen):
        found += [rule for rule in chosen[name].get("rules") or () if rule not in found]
    return found


# --- granting onwards -------------------------------------------------------------------------------------------------


def not_held(held: Iterable[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    """What of `wanted` goes beyond `held`; verbs of the same place are told together."""
    own = list(held)
    found: dict[Rule, list[str]] = {}
    for rule in wanted:
        for piece in rule.pieces():
            if not any(mine.covers(piece) for mine in own):
                verbs = found.setdefault(replace(piece, verbs=()), [])
                if piece.verbs[0] not in verbs:
                    verbs.append(piece.verbs[0])
    return [replace(place, verbs=tuple(verbs)) for place, verbs in found.items()]


def escalation(user: User, missing: Iterable[Rule]) -> str:
    """Why a role may not be written, in the server's words."""
    lines = sorted({str(rule) for rule in missing})
    return (f'user "{user.name}" (groups={quoted(user.groups)}) is attempting to grant RBAC permissions not currently held:\n'
            + "\n".join(lines))


def refusal(user: User, asked: Attributes) -> str:
    """What `user` is told, without the part that names the object."""
    if not asked.resource:
        return f'User "{user.name}" cannot {asked.verb} path "{asked.path}"'
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    return f'User "{user.name}" cannot {asked.verb} resource "{asked.combined}" in API group "{asked.group}" {where}'
