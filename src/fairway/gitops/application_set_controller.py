"""The hands of `ApplicationSet`: ask the generators, decide, carry it out, write the status."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from fairway.git import GitError, Unreachable
from fairway.gitops import rolling_sync
from fairway.gitops.application_set import (
    RESOURCES_FINALIZER,
    ApplicationSet,
    Plan,
    applications,
    decode_set,
    plan,
    set_conditions,
)
from fairway.gitops.generators import ASKING, Forge, Generated, World, generate
from fairway.gitops.go_template import TemplateError
from fairway.gitops.rolling_sync import Rolling
from fairway.gitops.settings import Settings
from fairway.gitops.sources import RepositoryPort, Sources
from fairway.gitops.spec import InvalidSpec
from fairway.kube.api import DeleteOptions, MergePatch, WriteOptions
from fairway.kube.cache import Informers
from fairway.kube.decision import Outcome, Reason, differs, rest_after
from fairway.kube.errors import AlreadyExists, ApiError, NotFound
from fairway.kube.objects import (
    Key,
    Obj,
    annotations_of,
    dig,
    is_deleting,
    key_of,
    labels_of,
    meta_of,
    spec_of,
    status_of,
    uid_of,
)
from fairway.kube.reconcile import Watch
from fairway.kube.resources import APPLICATION_SETS, APPLICATIONS, REPOSITORIES, SECRETS
from fairway.manifests import ManifestError

MANAGER = "argocd-applicationset-controller"
_CLUSTER = "argocd.argoproj.io/secret-type"
_AGAIN = timedelta(seconds=30)
_COST = 5
"""Its status names every Application with how it stands, 150 bytes each, and is written whenever one of them moves: while a
thousand do, once a second is enough."""
REFRESH = "argocd.argoproj.io/application-set-refresh"


@dataclass(frozen=True, slots=True)
class _Made:
    """The Applications that a version of the set comes to, until git, a cluster or the clock may have changed that."""

    of: Obj
    wanted: list[Obj]
    until: datetime


class ApplicationSetController:
    name = "applicationsets"
    resource = APPLICATION_SETS
    workers = 1

    def __init__(self, informers: Informers, repositories: RepositoryPort, settings: Settings | None = None, *,
                 forge: Forge | None = None) -> None:
        self._informers = informers
        self._repositories = repositories
        self._sources = Sources(repositories, settings or Settings())
        self._forge = forge
        self._made: dict[Key, _Made] = {}

    def watches(self) -> Sequence[Watch]:
        return [Watch(APPLICATIONS, self._owner), Watch(REPOSITORIES, lambda obj: self.all_sets()),
                Watch(SECRETS, lambda obj: self.all_sets() if labels_of(obj).get(_CLUSTER) == "cluster" else ())]

    def all_sets(self) -> list[Key]:
        """For a look after a push: what was generated counts no longer."""
        self._made.clear()
        return [key_of(obj) for obj in self._informers.of(APPLICATION_SETS).list()]

    def _owner(self, app: Obj) -> Iterable[Key]:
        for ref in meta_of(app).get("ownerReferences") or ():
            if ref.get("kind") == APPLICATION_SETS.kind:
                yield Key(str(meta_of(app).get("namespace") or ""), str(ref["name"]))

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        obj = self._informers.of(APPLICATION_SETS).get(key)
        if obj is None:
            self._made.pop(key, None)
            return Outcome()
        try:
            found = decode_set(obj)
            if is_deleting(obj):
                return await self._delete(obj, found)
            await self._keep_order(obj, found)
            made = await self._applications(obj, found, now)
            present = {str(meta_of(app)["name"]): app for app in self._informers.of(APPLICATIONS).list(key.namespace)}
            rolling = rolling_sync.decide(found.steps, made.wanted, present, status_of(obj).get("applicationStatus") or (),
                                          now) if found.steps else None
        except (InvalidSpec, TemplateError, ManifestError, GitError, OSError, ValueError) as error:
            reason = Reason("ApplicationGenerationError", f"nothing is changed: {error}")
            await self._write(obj, (reason,), [], None, now)
            return Outcome(now + _AGAIN if isinstance(error, Unreachable | OSError) else None, (reason,))
        decided = plan(found, obj, made.wanted, present)
        refused = await self._carry_out(found, decided)
        if rolling is not None:
            await self._start(found, rolling, {str(meta_of(app)["name"]): app for app in made.wanted})
        await self._write(obj, (*decided.failed, *refused), made.wanted, rolling, now)
        waits = _asks_others(found.generators) or any(self._repositories.of(url).remote for url in _urls(found.generators))
        return Outcome(made.until if waits else None, (*decided.held, *decided.failed, *refused),
                       rest_after(_COST * len(made.wanted)))

    async def _applications(self, obj: Obj, found: ApplicationSet, now: datetime) -> _Made:
        """What the generators come to; asked again when something may have changed, not whenever an Application moves."""
        key, of = key_of(obj), {"spec": spec_of(obj), "uid": uid_of(obj)}
        known = self._made.get(key)
        asked = REFRESH in annotations_of(obj)
        if known is None or known.of != of or asked or now >= known.until:
            wanted = applications(found, obj, await self._generate(found))
            known = self._made[key] = _Made(of, wanted, now + timedelta(seconds=found.requeue_seconds))
        if asked:
            await self._patch(obj, {"metadata": {"annotations": {REFRESH: None}}})
        return known

    async def _start(self, found: ApplicationSet, rolling: Rolling, wanted: Mapping[str, Obj]) -> None:
        for name in rolling.start:
            body = {"operation": rolling_sync.operation(wanted[name])}
            with suppress(NotFound):
                await self._informers.api.patch(APPLICATIONS, name, found.namespace, MergePatch(body),
                                                WriteOptions(manager=MANAGER))

    # --- deletion in an order -----------------------------------------------------------------------------------------

    async def _keep_order(self, obj: Obj, found: ApplicationSet) -> None:
        """`deletionOrder: Reverse` holds the set back by a finalizer until its Applications are gone."""
        present = list(meta_of(obj).get("finalizers") or ())
        if found.delete_in_reverse is not (RESOURCES_FINALIZER in present):
            others = [f for f in present if f != RESOURCES_FINALIZER]
            wanted = [*others, RESOURCES_FINALIZER] if found.delete_in_reverse else others
            await self._patch(obj, {"metadata": {"finalizers": wanted or None}})

    async def _delete(self, obj: Obj, found: ApplicationSet) -> Outcome:
        """The Applications of the last step first, each step when the one after it is gone."""
        finalizers = list(meta_of(obj).get("finalizers") or ())
        if RESOURCES_FINALIZER not in finalizers:
            return Outcome()
        left = [app for app in self._informers.of(APPLICATIONS).list(found.namespace) if key_of(obj) in self._owner(app)]
        batch = rolling_sync.next_to_delete(found.steps, left)
        for app in batch:
            if not is_deleting(app):
                with suppress(NotFound):
                    await self._informers.api.delete(APPLICATIONS, key_of(app).name, found.namespace,
                                                     DeleteOptions(uid=uid_of(app)), WriteOptions(manager=MANAGER))
        if batch:
            names = ", ".join(str(meta_of(app)["name"]) for app in batch[:5])
            return Outcome(reasons=(Reason("Deleting", f"waiting for {names} to be gone, then the step before"),))
        await self._patch(obj, {"metadata": {"finalizers": [f for f in finalizers if f != RESOURCES_FINALIZER] or None}})
        return Outcome()

    async def _patch(self, obj: Obj, body: Obj) -> None:
        key = key_of(obj)
        with suppress(NotFound):
            await self._informers.api.patch(APPLICATION_SETS, key.name, key.namespace, MergePatch(body),
                                            WriteOptions(manager=MANAGER))

    # --- the generators, and what comes of them -----------------------------------------------------------------------

    async def _generate(self, found: ApplicationSet) -> list[Generated]:
        clusters = [_plain(s) for s in self._informers.of(SECRETS).list(found.namespace)
                    if labels_of(s).get(_CLUSTER) == "cluster"]
        world = World(self._repositories.of, clusters, self._forge, self._sources.call, found.namespace, found.name)
        return [one for n, generator in enumerate(found.generators)
                for one in await generate(generator, found.engine, world, f"spec.generators[{n}]")]

    async def _carry_out(self, found: ApplicationSet, decided: Plan) -> list[Reason]:
        api, options, refused = self._informers.api, WriteOptions(manager=MANAGER), []
        for app in decided.create:
            try:
                with suppress(AlreadyExists):
                    await api.create(app, options)
            except ApiError as error:
                refused.append(Reason("CreateApplicationError", f"{app['metadata']['name']}: {error.message}"))
        for name, patch in decided.patches:
            try:
                with suppress(NotFound):
                    await api.patch(APPLICATIONS, name, found.namespace, MergePatch(patch), options)
            except ApiError as error:
                refused.append(Reason("UpdateApplicationError", f"{name}: {error.message}"))
        for app in decided.delete:
            with suppress(NotFound):
                await api.delete(APPLICATIONS, key_of(app).name, found.namespace, DeleteOptions(uid=uid_of(app)), options)
        return refused

    async def _write(self, obj: Obj, failed: Sequence[Reason], wanted: Sequence[Obj], rolling: Rolling | None,
                     now: datetime) -> None:
        """The conditions that upstream has; and the Applications that there are, with where each stands."""
        generated = not failed or failed[0].code != "ApplicationGenerationError"
        status: Obj = {"conditions": set_conditions(dig(status_of(obj), "conditions", default=[]), failed, rolling, now)}
        if generated:
            apps = self._informers.of(APPLICATIONS)
            status["resources"] = [_resource(app, apps.get(key_of(app))) for app in wanted]
            status["resourcesCount"] = len(wanted)
            status["applicationStatus"] = [s.as_object() for s in rolling.standings] if rolling is not None else None
        if differs(obj, {"status": status}):
            key = key_of(obj)
            with suppress(NotFound):
                await self._informers.api.patch(APPLICATION_SETS, key.name, key.namespace, MergePatch({"status": status}),
                                                WriteOptions(manager=MANAGER), subresource="status")


def _resource(app: Obj, live: Obj | None) -> Obj:
    status = status_of(live or {})
    found: Obj = {"group": "argoproj.io", "version": "v1alpha1", "kind": "Application",
                  "namespace": meta_of(app)["namespace"], "name": meta_of(app)["name"]}
    if dig(status, "sync", "status"):
        found["status"] = status["sync"]["status"]
    if dig(status, "health", "status"):
        found["health"] = {"status": status["health"]["status"]}
    return found


def _urls(generators: Iterable[object]) -> Iterable[str]:
    """The repositories that git generators name, however deep; without templates."""
    for generator in generators:
        if isinstance(generator, dict):
            git = generator.get("git")
            if isinstance(git, dict) and "{{" not in str(git.get("repoURL")) and git.get("repoURL"):
                yield str(git["repoURL"])
            for inner in ("matrix", "merge"):
                yield from _urls(dig(generator, inner, "generators", default=[]))


def _asks_others(generators: Iterable[object]) -> bool:
    """Whether one of them is answered by somebody who does not tell us of changes."""
    for one in (generator for generator in generators if isinstance(generator, dict)):
        deeper = (_asks_others(dig(one, inner, "generators", default=[])) for inner in ("matrix", "merge"))
        if any(kind in one for kind in ASKING) or any(deeper):
            return True
    return False


def _plain(secret: Obj) -> Obj:
    """A Secret with its data as text."""
    data = {name: base64.b64decode(value).decode(errors="replace") for name, value in (secret.get("data") or {}).items()}
    return {**secret, "stringData": data}
