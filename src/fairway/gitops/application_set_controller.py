"""The hands of `ApplicationSet`: ask the generators, decide, carry it out, write the status."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from fairway.git import GitError, Unreachable
from fairway.gitops.application_set import ApplicationSet, Plan, applications, decode_set, plan
from fairway.gitops.generators import Generated, PullRequests, World, generate
from fairway.gitops.go_template import TemplateError
from fairway.gitops.settings import Settings
from fairway.gitops.sources import RepositoryPort, Sources
from fairway.gitops.spec import InvalidSpec
from fairway.kube.api import DeleteOptions, MergePatch, WriteOptions
from fairway.kube.cache import Informers
from fairway.kube.decision import Outcome, Reason, differs
from fairway.kube.errors import AlreadyExists, ApiError, NotFound
from fairway.kube.objects import Key, Obj, dig, is_deleting, key_of, labels_of, meta_of, rfc3339, status_of, uid_of
from fairway.kube.reconcile import Watch
from fairway.kube.resources import APPLICATION_SETS, APPLICATIONS, REPOSITORIES, SECRETS
from fairway.manifests import ManifestError

MANAGER = "argocd-applicationset-controller"
_CLUSTER = "argocd.argoproj.io/secret-type"
_AGAIN = timedelta(seconds=30)


class ApplicationSetController:
    name = "applicationsets"
    resource = APPLICATION_SETS
    workers = 1

    def __init__(self, informers: Informers, repositories: RepositoryPort, settings: Settings | None = None, *,
                 pull_requests: PullRequests | None = None) -> None:
        self._informers = informers
        self._repositories = repositories
        self._sources = Sources(repositories, settings or Settings())
        self._pull_requests = pull_requests

    def watches(self) -> Sequence[Watch]:
        return [Watch(APPLICATIONS, self._owner), Watch(REPOSITORIES, lambda obj: self.all_sets()),
                Watch(SECRETS, lambda obj: self.all_sets() if labels_of(obj).get(_CLUSTER) == "cluster" else ())]

    def all_sets(self) -> list[Key]:
        """For a look after a push."""
        return [key_of(obj) for obj in self._informers.of(APPLICATION_SETS).list()]

    def _owner(self, app: Obj) -> Iterable[Key]:
        for ref in meta_of(app).get("ownerReferences") or ():
            if ref.get("kind") == APPLICATION_SETS.kind:
                yield Key(str(meta_of(app).get("namespace") or ""), str(ref["name"]))

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        obj = self._informers.of(APPLICATION_SETS).get(key)
        if obj is None or is_deleting(obj):
            return Outcome()
        try:
            found = decode_set(obj)
            generated = await self._generate(found)
            wanted = applications(found, obj, generated)
        except (InvalidSpec, TemplateError, ManifestError, GitError, OSError, ValueError) as error:
            reason = Reason("ApplicationGenerationError", f"nothing is changed: {error}")
            await self._write(obj, (reason,), [], now)
            return Outcome(now + _AGAIN if isinstance(error, Unreachable | OSError) else None, (reason,))
        present = {app["metadata"]["name"]: app for app in self._informers.of(APPLICATIONS).list(key.namespace)}
        decided = plan(found, obj, wanted, present)
        refused = await self._carry_out(found, decided)
        await self._write(obj, (*decided.failed, *refused), wanted, now)
        waits = any(self._repositories.of(url).remote for url in _urls(found.generators)) or self._pull_requests is not None
        return Outcome(now + timedelta(seconds=found.requeue_seconds) if waits else None,
                       (*decided.held, *decided.failed, *refused))

    async def _generate(self, found: ApplicationSet) -> list[Generated]:
        clusters = [_plain(s) for s in self._informers.of(SECRETS).list(found.namespace)
                    if labels_of(s).get(_CLUSTER) == "cluster"]
        world = World(self._repositories.of, clusters, self._pull_requests, self._sources.call)
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

    async def _write(self, obj: Obj, failed: Sequence[Reason], wanted: Sequence[Obj], now: datetime) -> None:
        """Three conditions, as upstream has them; and the Applications that there are."""
        text = "; ".join(reason.message for reason in failed)
        generated = not failed or failed[0].code != "ApplicationGenerationError"
        up_to_date = not failed
        rows = (("ErrorOccurred", not up_to_date, failed[0].code if failed else "ApplicationSetUpToDate",
                 text or "Successfully generated parameters for all Applications"),
                ("ParametersGenerated", generated, "ParametersGenerated" if generated else "ErrorOccurred",
                 "Successfully generated parameters for all Applications" if generated else text),
                ("ResourcesUpToDate", up_to_date, "ApplicationSetUpToDate" if up_to_date else failed[0].code,
                 "All applications have been generated successfully" if up_to_date else text))
        old = {c.get("type"): c for c in dig(status_of(obj), "conditions", default=[])}
        conditions = []
        for kind, holds, reason, message in rows:
            entry = {"type": kind, "status": "True" if holds else "False", "reason": reason, "message": message}
            before = old.get(kind) or {}
            same = before.get("status") == entry["status"]
            conditions.append({**entry, "lastTransitionTime": before["lastTransitionTime"] if same else rfc3339(now)})
        status: Obj = {"conditions": conditions}
        if generated:
            status["resources"] = [{"group": "argoproj.io", "version": "v1alpha1", "kind": "Application",
                                    "namespace": meta_of(app)["namespace"], "name": meta_of(app)["name"]} for app in wanted]
        if differs(obj, {"status": status}):
            key = key_of(obj)
            with suppress(NotFound):
                await self._informers.api.patch(APPLICATION_SETS, key.name, key.namespace, MergePatch({"status": status}),
                                                WriteOptions(manager=MANAGER), subresource="status")


def _urls(generators: Iterable[object]) -> Iterable[str]:
    """The repositories that git generators name, however deep; without templates."""
    for generator in generators:
        if isinstance(generator, dict):
            git = generator.get("git")
            if isinstance(git, dict) and "{{" not in str(git.get("repoURL")) and git.get("repoURL"):
                yield str(git["repoURL"])
            for inner in ("matrix", "merge"):
                yield from _urls(dig(generator, inner, "generators", default=[]))


def _plain(secret: Obj) -> Obj:
    """A Secret with its data as text."""
    data = {name: base64.b64decode(value).decode(errors="replace") for name, value in (secret.get("data") or {}).items()}
    return {**secret, "stringData": data}
