"""What a pass about one Application reads besides it: its project, the settings of all, other Applications. From caches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fairway.gitops.clusters import OURS, Cluster
from fairway.gitops.customizations import CONFIG_MAP, NONE, Customizations, decode_customizations
from fairway.gitops.gates import depends_on
from fairway.gitops.project import EVERYTHING, Project, decode_project, missing, object_refusal, refusals
from fairway.gitops.spec import Application, InvalidSpec
from fairway.gitops.tracking import HOME
from fairway.kube.cache import Informers
from fairway.kube.decision import Reason
from fairway.kube.errors import NotFound
from fairway.kube.objects import Key, Obj, key_of, meta_of
from fairway.kube.resources import APP_PROJECTS, APPLICATIONS, CONFIG_MAPS, ResourceMap


class Surroundings:
    def __init__(self, informers: Informers) -> None:
        self._informers = informers
        self._read: tuple[Obj, Customizations] | None = None
        self._projects: dict[Key, tuple[Obj, Project | Reason]] = {}
        self._waiting: dict[tuple[str, str], set[Key]] | None = None

    # --- settings -----------------------------------------------------------------------------------------------------

    def customizations(self) -> Customizations:
        """What argocd-cm says; decoded once for each version of it."""
        obj = self._informers.of(CONFIG_MAPS).get(Key(HOME, CONFIG_MAP))
        if obj is None:
            return NONE
        if self._read is None or self._read[0] is not obj:
            self._read = (obj, decode_customizations(obj.get("data") or {}))
        return self._read[1]

    # --- projects -------------------------------------------------------------------------------------------------------

    def project(self, app: Application, cluster: Cluster = OURS) -> tuple[Project, list[Reason]]:
        """The project, and what it refuses of the Application's own spec. Without a project, everything is refused."""
        obj = self._informers.of(APP_PROJECTS).get(Key(HOME, app.project))
        if obj is None:
            return (EVERYTHING, []) if app.project == "default" else (Project(app.project), [missing(app)])
        known = self._projects.get(key_of(obj))
        if known is None or known[0] is not obj:
            try:
                known = (obj, decode_project(obj))
            except (InvalidSpec, ValueError) as error:
                known = (obj, Reason("InvalidSpecError", str(error)))
            self._projects[key_of(obj)] = known
        found = known[1]
        if isinstance(found, Reason):
            return Project(app.project), [found]
        return found, refusals(app, found, HOME, cluster.project)

    # --- other Applications -----------------------------------------------------------------------------------------------

    def application(self, namespace: str, name: str) -> Obj | None:
        return self._informers.of(APPLICATIONS).get(Key(namespace, name))

    def dependents(self, key: Key) -> list[Key]:
        """The Applications that wait for this one."""
        if self._waiting is None:
            self._waiting = {}
            self._informers.of(APPLICATIONS).on_change(self._note_dependencies)
        return sorted(self._waiting.get((key.namespace, key.name), ()))

    def _note_dependencies(self, old: Obj | None, new: Obj | None) -> None:
        assert self._waiting is not None
        for other in depends_on(old) if old is not None else ():
            self._waiting.get(other, set()).discard(key_of(old or {}))
        for other in depends_on(new) if new is not None else ():
            self._waiting.setdefault(other, set()).add(key_of(new or {}))

    def all_applications(self) -> list[Key]:
        return [key_of(obj) for obj in self._informers.of(APPLICATIONS).list()]

    def of_project(self, project: Obj) -> Iterable[Key]:
        name = meta_of(project).get("name")
        return [key_of(obj) for obj in self._informers.of(APPLICATIONS).list()
                if (obj.get("spec") or {}).get("project", "default") == name]


def refuse(project: Project, app: Application, cluster: Cluster, obj: Obj, resources: ResourceMap) -> str:
    """Why neither the project nor the cluster permits this object; "" where both do."""
    if project is EVERYTHING and not cluster.namespaces:
        return ""
    try:
        resource = resources.of(obj)
    except NotFound:
        return ""
    return object_refusal(project, app, obj, resource.group, namespaced=resource.namespaced) or (
        cluster.refusal(obj, namespaced=resource.namespaced))


def delivered_to(app: Application, cluster: Cluster) -> Application:
    """The Application with its destination as the cluster calls itself."""
    return replace(app, server=cluster.server, cluster=cluster.name)


def with_settings(app: Application, settings: Customizations) -> Application:
    """The Application with the rules of argocd-cm in front of its own, and tracked as it says."""
    return replace(app, ignore=(*settings.ignore, *app.ignore), tracking=settings.tracking,
                   comparison=settings.comparison)
