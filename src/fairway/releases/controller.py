"""The hands of releases: one pass per Application, over all that says something about its deployments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from fairway.kube.cache import Informers
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
        self._applications = informers.of(APPLICATIONS)
        self._rollouts, self._deployments = informers.of(ROLLOUTS), informers.of(DEPLOYMENTS)
        self._runs, self._releases = informers.of(PIPELINE_RUNS), informers.of(RELEASES)
        self._canaries = informers.of(CANARIES)
        self._jobs, self._namespaces = informers.of(JOBS), informers.of(NAMESPACES)

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
        owned = [obj for cache in (self._rollouts, self._deployments) for obj in cache.list()
                 if application_of(obj) == key.name]
        return Seen(
            application=application,
            namespace=self._namespaces.get(Key("", namespace)),
            workloads=tuple(owned),
            runs=tuple(self._runs.list()),
            releases=tuple(r for r in self._releases.list(namespace) if spec_of(r).get("application") == key.name),
            jobs=tuple(job for job in self._jobs.list(namespace) if application_of(job) == key.name),
            guarded={target.name: (canary, self._deployments.get(Key(target.namespace, f"{target.name}-primary")))
                     for canary in self._canaries.list(namespace) if (target := _target(canary)) is not None},
        )

    def _owner(self, obj: Obj) -> Iterable[Key]:
        name = application_of(obj)
        return [key_of(app) for app in self._applications.list() if name and key_of(app).name == name]

    def _of_canary(self, canary: Obj) -> Iterable[Key]:
        target = _target(canary)
        workload = self._deployments.get(target) if target is not None else None
        return self._owner(workload) if workload is not None else ()

    def _of_release(self, release: Obj) -> Iterable[Key]:
        name = labels_of(release).get("fairway.dev/application")
        return [key_of(app) for app in self._applications.list() if key_of(app).name == name]


def _target(canary: Obj) -> Key | None:
    """The Deployment that a Canary guards."""
    ref = dig(canary, "spec", "targetRef", default={})
    return Key(key_of(canary).namespace, str(ref.get("name"))) if ref.get("kind") == "Deployment" else None
