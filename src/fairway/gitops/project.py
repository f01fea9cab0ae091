"""`AppProject`: what the Applications of a team may do, and when. Pure.

A list that is absent means something else than an empty one: no `namespaceResourceWhitelist` allows every namespaced kind, an
empty one allows none; no `clusterResourceWhitelist` allows no cluster-scoped kind. A pattern with `!` in front denies, and a
denial always wins. Messages are Argo CD's own words, because people search for them.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fairway.gitops import rbac
from fairway.gitops.globs import matches, matches_any
from fairway.gitops.spec import Application, InvalidSpec
from fairway.gitops.windows import InvalidWindow, Window, decode_window
from fairway.kube.decision import Reason
from fairway.kube.objects import Obj, meta_of, spec_of


@dataclass(frozen=True, slots=True)
class Destination:
    server: str = ""
    name: str = ""
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class KindRule:
    group: str
    kind: str
    name: str = ""

    def fits(self, group: str, kind: str, name: str) -> bool:
        return (fnmatch.fnmatchcase(group, self.group) and fnmatch.fnmatchcase(kind, self.kind)
                and (not self.name or fnmatch.fnmatchcase(name, self.name)))


@dataclass(frozen=True, slots=True)
class Orphaned:
    """`orphanedResources`: whether to warn, and which objects belong to nobody on purpose."""

    warn: bool = True
    ignore: tuple[KindRule, ...] = ()


@dataclass(frozen=True, slots=True)
class Role:
    name: str
    policies: tuple[str, ...]
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Project:
    name: str
    source_repos: tuple[str, ...] = ()
    destinations: tuple[Destination, ...] = ()
    source_namespaces: tuple[str, ...] = ()
    namespaced_allowed: tuple[KindRule, ...] | None = None
    namespaced_denied: tuple[KindRule, ...] = ()
    cluster_allowed: tuple[KindRule, ...] = ()
    cluster_denied: tuple[KindRule, ...] = ()
    orphaned: Orphaned | None = None
    roles: tuple[Role, ...] = ()
    windows: tuple[Window, ...] = ()
    home: str = "argocd"
    own_clusters_only: bool = False
    """`permitOnlyProjectScopedClusters`."""

    def permits_source(self, url: str) -> bool:
        return _permitted(self.source_repos, _plain(url), separators="/", normal=_plain)

    def permits_destination(self, server: str, name: str, namespace: str) -> bool:
        """Whether some entry allows it and none denies it. An entry names the cluster by server or by name.

        Each field is judged for itself: `!x` allows whatever is not x, and denies x whatever the entry's other fields say.
        """
        allowed = False
        for item in self.destinations:
            by_cluster = bool(name and _fits(item.name, name)) or bool(server and _fits(item.server, server))
            if by_cluster and _fits(item.namespace, namespace):
                allowed = True
            elif any(_denies(pattern, text) for pattern, text in (
                    (item.name, name), (item.server, server), (item.namespace, namespace))):
                return False
        return allowed

    def permits_kind(self, group: str, kind: str, *, namespaced: bool, name: str = "") -> bool:
        allowed = self.namespaced_allowed if namespaced else self.cluster_allowed
        denied = self.namespaced_denied if namespaced else self.cluster_denied
        listed = allowed is None or any(rule.fits(group, kind, name) for rule in allowed)
        return listed and not any(rule.fits(group, kind, name) for rule in denied)

    def windows_of(self, app: Application) -> list[Window]:
        return [w for w in self.windows if w.applies_to(app.name, app.destination_namespace, app.server, app.cluster)]

    def policy(self) -> rbac.Policy:
        """The lines of the project's roles, as subjects `proj:<project>:<role>`, and the groups that are in them."""
        found = rbac.Policy()
        for role in self.roles:
            subject = f"proj:{self.name}:{role.name}"
            itself = f"p, {subject}, projects, get, {self.name}, allow"
            lines = [itself, *role.policies, *(f"g, {group}, {subject}" for group in role.groups)]
            found += rbac.parse("\n".join(lines))
        return found


EVERYTHING = Project(
    "default", ("*",), (Destination("*", "", "*"),), ("*",), None, (), (KindRule("*", "*"),),
)  # fmt: skip
"""The project `default` where no object says otherwise."""


def _fits(pattern: str, text: str) -> bool:
    return not matches(pattern[1:], text) if pattern.startswith("!") else matches(pattern, text)


def _denies(pattern: str, text: str) -> bool:
    return pattern.startswith("!") and not _fits(pattern, text)


def _plain(url: str) -> str:
    text = url.strip().removesuffix("/").removesuffix(".git")
    if "://" not in text and ":" in text and "@" in text:  # git@host:path
        text = "ssh://" + text.replace(":", "/", 1)
    return text


def _permitted(patterns: Iterable[str], text: str, *, separators: str, normal: Any) -> bool:
    allowed = False
    for pattern in patterns:
        if pattern.startswith("!"):
            if matches(normal(pattern[1:]), text, separators):
                return False
        elif pattern == "*" or matches(normal(pattern), text, separators):
            allowed = True
    return allowed


# --- reading ------------------------------------------------------------------------------------------------------------


def decode_project(obj: Obj) -> Project:
    """The project, or `InvalidSpec` with the path of the mistake."""
    spec, name = spec_of(obj), str(meta_of(obj)["name"])
    orphaned = spec.get("orphanedResources")
    allowed = spec.get("namespaceResourceWhitelist")
    project = Project(
        name, _texts(spec.get("sourceRepos")),
        tuple(Destination(str(d.get("server") or ""), str(d.get("name") or ""), str(d.get("namespace") or ""))
              for d in spec.get("destinations") or ()),
        _texts(spec.get("sourceNamespaces")),
        None if allowed is None else _kinds(allowed), _kinds(spec.get("namespaceResourceBlacklist")),
        _kinds(spec.get("clusterResourceWhitelist")), _kinds(spec.get("clusterResourceBlacklist")),
        None if orphaned is None else Orphaned(orphaned.get("warn") is not False,
                                               _kinds(orphaned.get("ignore"), any_name=True)),
        tuple(Role(str(r.get("name") or ""), _texts(r.get("policies")), _texts(r.get("groups")))
              for r in spec.get("roles") or ()),
        tuple(decode_window(window) for window in spec.get("syncWindows") or ()),
        str(meta_of(obj).get("namespace") or "argocd"), bool(spec.get("permitOnlyProjectScopedClusters")),
    )  # fmt: skip
    _check(project)
    return project


def _check(project: Project) -> None:
    for n, window in enumerate(project.windows):
        try:
            window.check()
        except InvalidWindow as error:
            raise InvalidSpec(f"AppProject {project.name}: spec.syncWindows[{n}]: {error}") from error
    for n, role in enumerate(project.roles):
        subject = f"proj:{project.name}:{role.name}"
        for line in role.policies:
            try:
                rule = rbac.parse_line(line)
            except rbac.InvalidPolicy as error:
                raise InvalidSpec(f"AppProject {project.name}: spec.roles[{n}].policies: {error}") from error
            if not isinstance(rule, rbac.Rule) or rule.subject != subject:
                raise InvalidSpec(f"AppProject {project.name}: spec.roles[{n}].policies: invalid policy rule {line!r}: policy "
                                  f"subject must be: '{subject}'")
            if not rule.obj.startswith(f"{project.name}/") and rule.resource != "projects":
                raise InvalidSpec(f"AppProject {project.name}: spec.roles[{n}].policies: invalid policy rule {line!r}: object "
                                  f"must be of form '{project.name}/*' or '{project.name}/<name>', not '{rule.obj}'")


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(item) for item in value or ())


def _kinds(value: Any, *, any_name: bool = False) -> tuple[KindRule, ...]:
    entries: Iterable[Mapping[str, Any]] = value or ()
    return tuple(KindRule(str(e.get("group", "*" if any_name else "")), str(e.get("kind") or "*"), str(e.get("name") or ""))
                 for e in entries)


# --- an Application against its project -----------------------------------------------------------------------------------


def missing(app: Application) -> Reason:
    return Reason("InvalidSpecError", f"Application referencing project {app.project} which does not exist")


def refusals(app: Application, project: Project, home: str = "argocd", cluster_of: str = "") -> list[Reason]:
    """What of the Application's own spec the project does not permit. `cluster_of`: the project that its cluster belongs to."""
    found: list[str] = []
    if app.namespace != home and not matches_any(project.source_namespaces, app.namespace):
        found.append(f"application '{app.name}' in namespace '{app.namespace}' is not permitted to use project "
                     f"'{project.name}'")
    found += [f"application repo {source.repo_url} is not permitted in project '{project.name}'"
              for source in app.sources if not project.permits_source(source.repo_url)]
    if not project.permits_destination(app.server, app.cluster, app.destination_namespace) or (
            project.own_clusters_only and cluster_of != project.name):
        found.append(f"application destination server '{app.server}' and namespace '{app.destination_namespace}' do not match "
                     f"any of the allowed destinations in project '{project.name}'")
    return [Reason("InvalidSpecError", text) for text in found]


def object_refusal(project: Project, app: Application, obj: Obj, group: str, *, namespaced: bool) -> str:
    """Why this object may not be part of `app`, one of the project's; "" where it may."""
    kind, meta = str(obj.get("kind") or ""), meta_of(obj)
    if not project.permits_kind(group, kind, namespaced=namespaced, name=str(meta.get("name") or "")):
        return f"resource {group}:{kind} is not permitted in project {project.name}"
    namespace = str(meta.get("namespace") or "")
    if namespaced and not project.permits_destination(app.server, app.cluster, namespace):
        return f"namespace {namespace} is not permitted in project '{project.name}'"
    return ""
