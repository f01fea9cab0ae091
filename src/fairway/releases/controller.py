"""The hands of releases: one pass per Application, over all that says something about its deployments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from fairway.kube.cache import Index, Informers
from fairway.kube.decision import Outcome, carry_out
from fairway.kube.objects import Key, Obj, dig, is_deleting, key_of, labels_of, spec_of
from fairway.kube.reconcile import Watch
from fairway.kube.resources import APPLICATIONS, CANARIES, DEPLOYMENTS, JOBS, NAMESPACES, PIPELINE_RUNS, RELEASES, ROLLOUTS
from fairway.releases.decide import Seen, application_namespace, decide
from fairway.releases.join import application_of

MANAGER = "fairway-releases"


class ReleaseController:
    name = "releases"
    resource = APPLICATIONS
    workers = 2

    def __init__(self, informers: Informers) -> None:
        self._api = informers.api
        self._applications, self._namespaces = informers.of(APPLICATIONS), informers.of(NAMESPACES)
        self._runs, self._canaries, self._deployments = (
            informers.of(resource) for resource in (PIPELINE_RUNS, CANARIES, DEPLOYMENTS))
        self._named = Index(self._applications, lambda app: key_of(app).name)
        self._workloads = [Index(informers.of(resource), _owned) for resource in (ROLLOUTS, DEPLOYMENTS)]
        self._jobs = Index(informers.of(JOBS), _owned)
        self._releases = Index(informers.of(RELEASES), lambda release: spec_of(release).get("application"))

    def watches(self) -> Sequence[Watch]:
        return (
            Watch(ROLLOUTS, self._owner),
            Watch(DEPLOYMENTS, self._owner),
            Watch(JOBS, self._owner),
            Watch(CANARIES, self._of_canary),
            Watch(RELEASES, self._of_release),
            Watch(PIPELINE_RUNS, lambda run: [key_of(app) for app in self._applications.list()]),
        )

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        application = self._applications.get(key)
        if application is None or is_deleting(application):
            return Outcome()
        decision = decide(self._gather(application, key), now)
        await carry_out(self._api, decision.actions, manager=MANAGER)
        return Outcome(decision.wake_at, decision.reasons)

    def _gather(self, application: Obj, key: Key) -> Seen:
        namespace = application_namespace(application)
        return Seen(
            application=application,
            namespace=self._namespaces.get(Key("", namespace)),
            workloads=tuple(obj for index in self._workloads for obj in index.list(key.name)),
            runs=tuple(self._runs.list()),
            releases=tuple(found for found in self._releases.list(key.name) if key_of(found).namespace == namespace),
            jobs=tuple(job for job in self._jobs.list(key.name) if key_of(job).namespace == namespace),
            guarded={target.name: (canary, self._deployments.get(Key(target.namespace, f"{target.name}-primary")))
                     for canary in self._canaries.list(namespace) if (target := _target(canary)) is not None},
        )

    def _owner(self, obj: Obj) -> Iterable[Key]:
        return [key_of(app) for app in self._named.list(application_of(obj))]

    def _of_canary(self, canary: Obj) -> Iterable[Key]:
        target = _target(canary)
        workload = self._deployments.get(target) if target is not None else None
        return self._owner(workload) if workload is not None else ()

    def _of_release(self, release: Obj) -> Iterable[Key]:
        return [key_of(app) for app in self._named.list(labels_of(release).get("fairway.dev/application"))]


def _target(canary: Obj) -> Key | None:
    """The Deployment that a Canary guards."""
    ref = dig(canary, "spec", "targetRef", default={})
    return Key(key_of(canary).namespace, str(ref.get("name"))) if ref.get("kind") == "Deployment" else None


def _owned(obj: Obj) -> str | None:
    return application_of(obj) or None
