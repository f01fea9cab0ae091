"""Argo CD's access policies: casbin CSV lines, evaluated with compiled patterns. Pure.

    p, <subject>, <resource>, <action>, <object>, <allow|deny>
    g, <user or group>, <role>

A request is allowed where some line allows it and none denies it. Subjects inherit the lines of the roles that they are
in, through any number of roles. A project's role is the subject `proj:<project>:<role>`; lines of project roles come as
the runtime policy and hold for their own project's objects only.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from fairway.gitops.globs import matches as glob_matches

MatchMode = Literal["glob", "regex"]

READ_ONLY = ("applications", "applicationsets", "certificates", "clusters", "repositories", "write-repositories", "projects",
             "accounts", "gpgkeys", "logs")
_PER_PROJECT = frozenset(("applications", "applicationsets", "logs", "exec"))
_ADMIN = {
    "applications": ("create", "update", "update/*", "delete", "delete/*", "sync", "rollback", "override", "action/*"),
    "applicationsets": ("get", "create", "update", "delete"),
    "certificates": ("create", "update", "delete"), "clusters": ("create", "update", "delete"),
    "repositories": ("create", "update", "delete"), "write-repositories": ("create", "update", "delete"),
    "projects": ("create", "update", "delete"), "accounts": ("update",), "gpgkeys": ("create", "delete"),
    "exec": ("create",),
}  # fmt: skip


class InvalidPolicy(ValueError):
    """The text shows the line and what a line has to look like."""


@dataclass(frozen=True, slots=True)
class Rule:
    subject: str
    resource: str
    action: str
    obj: str
    allow: bool


@dataclass(frozen=True, slots=True)
class Policy:
    rules: tuple[Rule, ...] = ()
    roles: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Subject to the roles that it is directly in."""

    def __add__(self, other: Policy) -> Policy:
        merged = {name: self.roles.get(name, frozenset()) | other.roles.get(name, frozenset())
                  for name in (*self.roles, *other.roles)}
        return Policy((*self.rules, *other.rules), merged)

    def subjects_of(self, subject: str) -> set[str]:
        """The subject and every role that it is in."""
        found, left = {subject}, [subject]
        while left:
            for role in self.roles.get(left.pop(), ()):
                if role not in found:
                    found.add(role)
                    left.append(role)
        return found


def parse_line(line: str) -> Rule | tuple[str, str] | None:
    """A rule, a (member, role) pair, or None for a blank line or comment."""
    if not line.strip() or line.strip().startswith("#"):
        return None
    try:
        words = [word.strip() for word in next(csv.reader(io.StringIO(line), skipinitialspace=True, strict=True))]
    except (csv.Error, StopIteration) as error:
        raise InvalidPolicy(f"invalid RBAC policy: {line!r}: {error}") from error
    if words[0] == "g" and len(words) == 3:
        return words[1], words[2]
    if words[0] == "p" and len(words) == 6 and words[5] in ("allow", "deny"):
        return Rule(words[1], words[2], words[3], words[4], words[5] == "allow")
    raise InvalidPolicy(f"invalid RBAC policy: {line!r}; write p, <subject>, <resource>, <action>, <object>, <allow|deny> or "
                        "g, <member>, <role>")


@lru_cache(maxsize=256)
def parse(text: str) -> Policy:
    """The policy, or `InvalidPolicy` of its first bad line."""
    rules: list[Rule] = []
    roles: dict[str, set[str]] = {}
    for line in text.splitlines():
        match parse_line(line):
            case Rule() as rule:
                rules.append(rule)
            case (member, role):
                roles.setdefault(member, set()).add(role)
            case None:
                pass
    return Policy(tuple(rules), {name: frozenset(found) for name, found in roles.items()})


def _builtin() -> Policy:
    """`role:readonly`, `role:admin` (which is also readonly), and the user admin."""
    rules = [Rule("role:readonly", resource, "get", "*/*" if resource in _PER_PROJECT else "*", True)
             for resource in READ_ONLY]
    rules += [Rule("role:admin", resource, action, "*/*" if resource in _PER_PROJECT else "*", True)
              for resource, actions in _ADMIN.items() for action in actions]
    return Policy(tuple(rules), {"role:admin": frozenset(("role:readonly",)), "admin": frozenset(("role:admin",))})


BUILTIN = _builtin()


@dataclass(frozen=True, slots=True)
class Enforcer:
    """`policy` is what counts for everybody; `default_role` is tried first, for every subject that is known."""

    policy: Policy
    default_role: str = ""
    mode: MatchMode = "glob"
    enabled: bool = True

    def allows(self, subject: str | None, resource: str, action: str, obj: str) -> bool:
        """`subject` None: nobody has logged in, so no default role either."""
        if not self.enabled:
            return True
        if self.default_role and self._decides({*self.policy.subjects_of(self.default_role)}, resource, action, obj):
            return True
        if subject is None or subject == "":
            return False
        return self._decides(self.policy.subjects_of(subject), resource, action, obj)

    def allows_some(self, subject: str, resource: str, action: str) -> bool:
        """Whether a line allows the action ("" any) on some object, whatever others deny."""
        subjects = self.policy.subjects_of(subject)
        if self.default_role:
            subjects |= self.policy.subjects_of(self.default_role)
        return any(rule.allow and rule.subject in subjects and self._match(rule.resource, resource)
                   and (not action or self._match(rule.action, action)) for rule in self.policy.rules)

    def _decides(self, subjects: set[str], resource: str, action: str, obj: str) -> bool:
        allowed = False
        for rule in self.policy.rules:
            if rule.subject in subjects and self._fits(rule, resource, action, obj):
                if not rule.allow:
                    return False
                allowed = True
        return allowed

    def _fits(self, rule: Rule, resource: str, action: str, obj: str) -> bool:
        return (self._match(rule.resource, resource) and self._match(rule.action, action) and self._match(rule.obj, obj))

    def _match(self, pattern: str, text: str) -> bool:
        if self.mode == "glob":
            return glob_matches(pattern, text)
        found = _regex(pattern)
        return found is not None and found.search(text) is not None


@lru_cache(maxsize=1024)
def _regex(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except re.error:
        return None
