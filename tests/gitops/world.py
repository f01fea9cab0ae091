"""A world in virtual time: the embedded API, a real bare repository, the Application controller, and simulated hands.

The hands do what the rest of a platform would: Jobs end as their annotation `test/outcome` says, objects that are deleted
in the foreground go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from fairway.git import Change, GitPort, LocalRepository, Person, Repositories, UnknownRepository
from fairway.gitops import ApplicationController, ApplicationSetController, Settings
from fairway.kube.api import Api, MergePatch, WriteOptions
from fairway.kube.cache import Informers
from fairway.kube.clock import Clock
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.errors import Conflict, Forbidden, NotFound, Unauthorized, Unavailable
from fairway.kube.kubeconfig import Connection
from fairway.kube.leader import Fenced
from fairway.kube.objects import (
    Key,
    Obj,
    annotations_of,
    dig,
    is_deleting,
    key_of,
    meta_of,
    owner_reference,
    parse_time,
    rfc3339,
)
from fairway.kube.reconcile import ControllerLoop
from fairway.kube.resources import APP_PROJECTS, APPLICATIONS, CONFIG_MAPS, CORE_EVENTS, JOBS, Resource

URL = "https://git.example.com/shop/deploy.git"
OUTCOME = "test/outcome"  # of a Job: Complete (default), Failed, or Never
SECONDS = "test/seconds"  # that a Job takes, 1 by default


class RemoteCluster:
    """Another cluster: an API of its own, which may be away, and which takes one token."""

    def __init__(self, clock: Clock, token: str = "secret") -> None:
        self.api = EmbeddedApi.in_memory(clock)
        self.token = token
        self.away = False
        self.connections: list[Connection] = []
        self.forbidden: set[str] = set()

    async def list(self, resource: Resource, namespace: str = "", **chosen: Any) -> Any:
        if self.away:
            raise Unavailable("connection refused")
        if resource.plural in self.forbidden:
            raise Forbidden(f"{resource.plural} is forbidden")
        return await self.api.list(resource, namespace, **chosen)

    def check(self, connection: Connection) -> None:
        if self.away:
            raise Unavailable("connection refused")
        if connection.token != self.token:
            raise Unauthorized("Unauthorized")

    async def version(self) -> str:
        self.check(self.connections[-1])
        return "v1.35.0"

    async def refresh(self) -> None:
        """An embedded API knows its kinds at once."""

    async def close(self) -> None:
        """Nothing is open."""

    def __getattr__(self, name: str) -> Any:
        if self.away and name != "resources":
            raise Unavailable("connection refused")
        return getattr(self.api, name)


class World:
    def __init__(self, clock: Clock, folder: Path) -> None:
        self.clock = clock
        self.api = EmbeddedApi.in_memory(clock)
        self.repositories = Repositories(folder / "git", on_change=self._pushed)
        self.repo: LocalRepository = self.repositories.create("shop/deploy")
        self.informers: Informers
        self.controller: ApplicationController
        self.loop: ControllerLoop
        self.sets: ApplicationSetController
        self.sets_loop: ControllerLoop
        self.applied: list[str] = []
        self.elsewhere: dict[str, RemoteCluster] = {}
        self.late = False
        """Whether this process could not renew its leases: another one may lead."""
        self._tasks: list[asyncio.Task[Any]] = []

    async def _connect(self, connection: Connection) -> RemoteCluster:
        found = self.elsewhere.get(connection.server)
        if found is None:
            raise Unavailable(f"the API at {connection.server} cannot be reached")
        found.check(connection)
        found.connections.append(connection)
        return cast(RemoteCluster, Fenced(cast(Api, found), cast(Any, self)))

    # --- the platform's part ------------------------------------------------------------------------------------------

    def of(self, repo_url: str) -> GitPort:
        if repo_url != URL:
            raise UnknownRepository(f"no repository {repo_url!r}; correct spec.source.repoURL")
        return self.repo

    def chart(self, repo_url: str, chart: str, *, pass_credentials: bool = False) -> GitPort:
        raise UnknownRepository(f"no repository {repo_url!r}; correct spec.source.repoURL")

    def start(self, settings: Settings | None = None, *, api: Api | None = None) -> None:
        """`api`: what the controllers see in place of the true one."""
        self.informers = Informers(api or self.api)
        self.controller = ApplicationController(self.informers, self.clock, self, settings, connect=self._connect)
        self.loop = ControllerLoop(self.controller, self.informers, self.clock)
        self.controller.attach(self.loop.look_again)
        self.sets = ApplicationSetController(self.informers, self)
        self.sets_loop = ControllerLoop(self.sets, self.informers, self.clock)
        self._tasks = [asyncio.create_task(self.loop.run()), asyncio.create_task(self.sets_loop.run()),
                       asyncio.create_task(self._hands())]
        for resource in (JOBS, CONFIG_MAPS):
            self.informers.of(resource).on_change(self._note)

    async def kill(self) -> None:
        """As `kill -9` of the process: what is in the API stays, everything else is gone."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.controller.places.close()
        await self.informers.close()

    def _pushed(self, name: str) -> None:
        if self._tasks:
            self.controller.refresh(name)
            for key in self.sets.all_sets():
                self.sets_loop.look_again(key)

    def _note(self, old: Obj | None, new: Obj | None) -> None:
        if new is not None and old is None:
            self.applied.append(f"+{new['kind']}/{meta_of(new)['name']}")
        elif new is None and old is not None:
            self.applied.append(f"-{old['kind']}/{meta_of(old)['name']}")

    async def _hands(self) -> None:
        """Every tenth of a second: end Jobs, let go what is deleted in the foreground."""
        while True:
            await asyncio.sleep(0.1)
            for api in (self.api, *(one.api for one in self.elsewhere.values())):
                for resource in (JOBS, CONFIG_MAPS):
                    for obj in (await api.list(resource)).items:
                        with suppress(Conflict, NotFound):
                            await self._do(api, resource, obj)

    async def _do(self, api: EmbeddedApi, resource: Resource, obj: Obj) -> None:
        key, meta = key_of(obj), meta_of(obj)
        if is_deleting(obj):
            kept = [f for f in meta.get("finalizers") or () if f != "foregroundDeletion"]
            await api.patch(resource, key.name, key.namespace, MergePatch({"metadata": {"finalizers": kept}}))
            return
        outcome = annotations_of(obj).get(OUTCOME, "Complete")
        if resource is not JOBS or outcome == "Never" or dig(obj, "status", "conditions"):
            return
        born = self.clock.now().timestamp() - _timestamp(meta["creationTimestamp"])
        if born < float(annotations_of(obj).get(SECONDS, "1")):
            return
        now = rfc3339(self.clock.now())
        condition = {"type": outcome, "status": "True", "message": f"job has {outcome.lower()}", "lastTransitionTime": now}
        before = "FailureTarget" if outcome == "Failed" else "SuccessCriteriaMet"
        body: Obj = {"conditions": [{**condition, "type": before}, condition], "startTime": meta["creationTimestamp"]}
        if outcome == "Complete":
            body |= {"completionTime": now, "succeeded": 1}
        await api.patch(JOBS, key.name, key.namespace, MergePatch({"status": body}), subresource="status")

    # --- what a test does -----------------------------------------------------------------------------------------------

    def push(self, message: str = "change", **files: str | None) -> str:
        """Commit files to main; `a__b` in a name is `a/b`, and names get `.yaml`."""
        named = {f"{path.replace('__', '/')}.yaml": None if text is None else text.encode() for path, text in files.items()}
        try:
            head = self.repo.resolve("main")
        except Exception:
            head = ""
        change = Change(named, message, Person("Ann", "ann@example.com"), self.clock.now())
        return self.repo.commit("main", change, expected_head=head)

    async def create_app(self, name: str = "shop", *, path: str = "prod", automated: bool = True, prune: bool = True,
                         self_heal: bool = True, options: tuple[str, ...] = (), **spec: Any) -> None:
        policy: Obj = {"syncOptions": list(options)}
        if automated:
            policy["automated"] = {"prune": prune, "selfHeal": self_heal}
        policy |= spec.pop("policy", {})
        await self.api.create({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": name, "namespace": "argocd", **spec.pop("metadata", {})},
            "spec": {"project": "default",
                     **({} if "sources" in spec else {"source": {"repoURL": URL, "path": path, "targetRevision": "main"}}),
                     "destination": {"server": "https://kubernetes.default.svc", "namespace": "default"},
                     "syncPolicy": policy, **spec},
        })

    async def app(self, name: str = "shop") -> Obj:
        return await self.api.get(APPLICATIONS, name, "argocd")

    async def until(self, check: Callable[[Obj], Any], *, name: str = "shop", within: float = 600) -> Obj:
        """The application once `check` holds; fails with its status after `within` virtual seconds."""
        end = self.clock.now() + timedelta(seconds=within)
        while True:
            obj = await self.app(name)
            if check(obj):
                return obj
            if self.clock.now() > end:
                raise AssertionError(f"not so after {within} s: {obj.get('status')} {self.loop.reasons}")
            await asyncio.sleep(0.05)

    async def until_app_phase(self, name: str, phase: str) -> Obj:
        """The application once it is there and its operation is in this phase."""
        for _ in range(12_000):
            if await self.get(APPLICATIONS, name, "argocd") is not None:
                break
            await asyncio.sleep(0.05)
        return await self.until(lambda o: dig(o, "status", "operationState", "phase") == phase, name=name)

    async def settled(self, revision: str, *, phase: str = "Succeeded", within: float = 600) -> Obj:
        """The application once the operation on this revision has ended so."""
        return await self.until(
            lambda o: dig(o, "status", "operationState", "phase") == phase
            and dig(o, "status", "operationState", "syncResult", "revision") == revision
            and dig(o, "status", "sync", "revision") == revision, within=within)

    async def get(self, resource: Resource, name: str, namespace: str = "default") -> Obj | None:
        try:
            return await self.api.get(resource, name, namespace)
        except NotFound:
            return None

    async def event_reasons(self) -> list[str]:
        found = (await self.api.list(CORE_EVENTS, "argocd")).items
        return [event["reason"] for event in found]

    async def edit(self, resource: Resource, name: str, body: Obj, *, namespace: str = "default", manager: str = "ann",
                   status: bool = False) -> None:
        await self.api.patch(resource, name, namespace, MergePatch(body), WriteOptions(manager=manager),
                             subresource="status" if status else "")

    async def edit_app(self, body: Obj, name: str = "shop") -> None:
        await self.edit(APPLICATIONS, name, body, namespace="argocd")

    async def edit_project(self, body: Obj, name: str = "team") -> None:
        await self.edit(APP_PROJECTS, name, body, namespace="argocd")

    async def delete_app(self, name: str = "shop") -> None:
        await self.api.delete(APPLICATIONS, name, "argocd")

    async def until_gone(self, name: str = "shop") -> None:
        for _ in range(12_000):
            if await self.get(APPLICATIONS, name, "argocd") is None:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{name} is still there: {await self.app(name)}")

    async def until_live(self, resource: Resource, name: str, check: Callable[[Obj], Any], within: float = 600) -> Obj:
        end = self.clock.now() + timedelta(seconds=within)
        while True:
            obj = await self.get(resource, name)
            if obj is not None and check(obj):
                return obj
            assert self.clock.now() < end, f"not so after {within} s: {obj}"
            await asyncio.sleep(0.05)

    def why(self, name: str = "shop") -> list[str]:
        return [reason.code for reason in self.loop.reasons.get(Key("argocd", name), ())]


def _timestamp(text: str) -> float:
    return parse_time(text).timestamp()


def config_map(name: str, value: str = "1", *, wave: int | None = None, annotations: str = "") -> str:
    lines = [f"    argocd.argoproj.io/sync-wave: '{wave}'"] if wave is not None else []
    lines += [f"    {line}" for line in annotations.splitlines()]
    notes = "  annotations:\n" + "\n".join(lines) + "\n" if lines else ""
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n{notes}data:\n  value: '{value}'\n"


def hook(name: str, phase: str, *, outcome: str = "Complete", seconds: float = 1, policy: str = "") -> str:
    extra = f"    argocd.argoproj.io/hook-delete-policy: {policy}\n" if policy else ""
    return (
        f"apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {name}\n  annotations:\n    argocd.argoproj.io/hook: {phase}\n"
        f"{extra}    {OUTCOME}: {outcome}\n    {SECONDS}: '{seconds}'\n"
        "spec:\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n      - name: main\n"
        "        image: tools:1\n"
    )


__all__ = ["World", "config_map", "hook", "owner_reference"]
