"""Who may do what with Applications and projects by Argo CD's policies, at the API: the guard that stands beside RBAC.

Who asks is a role of a project, by a token that the project lists, or any other user of the API, by name and groups. The
policies are those of the ConfigMap `argocd-rbac-cm` and of the project that the object belongs to; a project's role has a say
in its own project only. What Kubernetes RBAC allows is not asked about here, and nothing here takes it away: each of the two
only gives.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from itertools import zip_longest

from fairway.gitops import permissions, project_tokens, rbac
from fairway.gitops.permissions import NEVER, RESOURCES, Need
from fairway.gitops.project import EVERYTHING, Project, decode_project
from fairway.gitops.spec import InvalidSpec
from fairway.gitops.tracking import HOME
from fairway.kube.embedded import EmbeddedApi, table_of
from fairway.kube.objects import Key, Obj
from fairway.kube.rbac import Attributes
from fairway.kube.resources import APP_PROJECTS, APPLICATION_SETS, APPLICATIONS, CONFIG_MAPS, SECRETS, Resource
from fairway.kube.tokens import Untrusted
from fairway.kube.users import ANONYMOUS, User

CONFIG_MAP = "argocd-rbac-cm"
ROLES_OF_PROJECTS = "argocd:project-roles"
"""The group of everybody who comes with a project's token: a way for RBAC to name them."""
_GUARDED = {row.plural: RESOURCES[row.kind] for row in (APPLICATIONS, APP_PROJECTS, APPLICATION_SETS)}
_NOTHING: Obj = {}
_READ = ("get", "list", "watch")
_BUILTIN = replace(rbac.BUILTIN, roles={name: roles for name, roles in rbac.BUILTIN.roles.items() if name != "admin"})
"""Argo CD's roles, without its local user `admin`: that name may be anybody's here."""


class ApplicationAccess:
    """`Guard` over what is stored at that moment, so that a revoked token is worth nothing in the next request."""

    def __init__(self, api: EmbeddedApi) -> None:
        self._api = api
        self._decoded: dict[Key, tuple[Obj, Project | None]] = {}
        self._enforcers: dict[tuple[tuple[str, ...], bool], tuple[Obj, list[Project], rbac.Enforcer]] = {}

    # --- who asks -------------------------------------------------------------------------------------------------------

    def holder(self, token: str, now: datetime) -> User:
        claims = project_tokens.claims_of(token, self._key(), now)
        project = self._stored(APP_PROJECTS, claims.project)
        if project is None or not project_tokens.is_listed(project, claims):
            raise Untrusted("the token has been revoked")
        return User(claims.subject, (ROLES_OF_PROJECTS,))

    def _key(self) -> bytes:
        """b"" where no token was ever made."""
        secret = self._stored(SECRETS, project_tokens.SECRET) or {}
        return base64.b64decode((secret.get("data") or {}).get(project_tokens.KEY) or "")

    # --- what they may --------------------------------------------------------------------------------------------------

    def may_ask(self, user: User, asked: Attributes) -> bool:
        """A verb of Kubernetes is allowed where some object could be named for which it is; a word of Argo CD's policies, with
        `<project>/<name>` for a name, as the policies say."""
        resource = _GUARDED.get(asked.resource) if asked.group == APPLICATIONS.group and not asked.subresource else None
        if resource is None or user.name == ANONYMOUS.name:
            return False
        if "/" in asked.name or asked.verb not in (*_READ, "create", "update", "patch", "delete", "deletecollection"):
            return self._allows(user, Need(resource, asked.verb, asked.name))
        match asked.verb:
            case "deletecollection":
                return False
            case "create" | "delete":
                return self._some(user, resource, asked.verb)
            case "update" | "patch":
                return self._some(user, resource, "")
            case _:
                return self._some(user, resource, "get")

    def may_see(self, user: User, obj: Obj) -> bool:
        return self._allows(user, permissions.to_see(obj))

    def refusal(self, user: User, old: Obj | None, new: Obj | None) -> str:
        settings = (self._stored(CONFIG_MAPS, "argocd-cm") or {}).get("data") or {}
        strict = settings.get("application.sync.requireOverridePrivilegeForRevisionSync") == "true"
        for need in permissions.to_write(old, new, revision_is_override=strict):
            if need.action == NEVER:
                return f"permission denied: no policy gives this part of {need.obj}; it is for Kubernetes RBAC to allow"
            if not self._allows(user, need):
                return f"permission denied: {need}, sub: {user.name}"
        return ""

    # --- policies ---------------------------------------------------------------------------------------------------------

    def _allows(self, user: User, need: Need) -> bool:
        project, own = need.obj.partition("/")[0], _own_project(user)
        if own not in (None, project):
            return False
        enforcer = self._enforcer(user, (project,))
        return any(enforcer.allows(subject, need.resource, need.action, need.obj) for subject in _subjects(user))

    def _some(self, user: User, resource: str, action: str) -> bool:
        """Whether some line allows the action ("" any) for some object: what it comes to is judged object by object."""
        own = _own_project(user)
        every = [key.name for key in self._api.store.rows(table_of(APP_PROJECTS)) if key.namespace == HOME]
        enforcer = self._enforcer(user, tuple(every) if own is None else (own,))
        return any(enforcer.allows_some(subject, resource, action) for subject in _subjects(user))

    def _enforcer(self, user: User, projects: tuple[str, ...]) -> rbac.Enforcer:
        """With the policies of everybody and of these projects; made anew when one of them changes."""
        person = not user.name.startswith("system:")
        general = self._stored(CONFIG_MAPS, CONFIG_MAP) or _NOTHING
        found = [project for name in projects if (project := self._project(name)) is not None]
        known = self._enforcers.get((projects, person))
        if known is None or known[0] is not general or any(a is not b for a, b in zip_longest(known[1], found)):
            data = general.get("data") or {}
            policy = sum((project.policy() for project in found), _BUILTIN + _general(data))
            # The default role is for those who would log in to Argo CD, not for pods and parts of the system.
            known = (general, found, rbac.Enforcer(policy, data.get("policy.default", "") if person else "",
                                                   "regex" if data.get("policy.matchMode") == "regex" else "glob"))
            self._enforcers[projects, person] = known
        return known[2]

    def _project(self, name: str) -> Project | None:
        """None where there is none, or it cannot be read: then it gives nothing."""
        obj = self._stored(APP_PROJECTS, name)
        if obj is None:
            return EVERYTHING if name == "default" else None
        known = self._decoded.get(Key(HOME, name))
        if known is None or known[0] is not obj:
            try:
                known = (obj, decode_project(obj))
            except (InvalidSpec, ValueError):
                known = (obj, None)
            self._decoded[Key(HOME, name)] = known
        return known[1]

    def _stored(self, resource: Resource, name: str) -> Obj | None:
        found = self._api.store.get(table_of(resource), Key(HOME, name))
        return None if found is None else found.obj


def _subjects(user: User) -> tuple[str, ...]:
    """Nobody is a role by being called so."""
    return tuple(name for name in (user.name, *user.groups) if not name.startswith("role:") and name != ROLES_OF_PROJECTS)


def _own_project(user: User) -> str | None:
    """Of a project's role."""
    words = user.name.split(":")
    return words[1] if len(words) == 3 and words[0] == "proj" else None


def _general(data: Mapping[str, str]) -> rbac.Policy:
    """`policy.csv`, then every `policy.<name>.csv`. Nothing is given by a text that cannot be read."""
    keys = [key for key in ("policy.csv", *sorted(data)) if key in data and key.startswith("policy.") and key.endswith(".csv")]
    found = rbac.Policy()
    for key in dict.fromkeys(keys):
        try:
            found += rbac.parse(data[key])
        except rbac.InvalidPolicy:
            return rbac.Policy()
    return found
