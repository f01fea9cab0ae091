"""Cluster mode: the delivery controllers against somebody else's Kubernetes API, with nothing embedded.

Objects live in the cluster, pods and traffic are the cluster's. Git repositories, CI jobs, logs and samples stay in the state
folder of this machine. What is missing there is made at the start (the definitions of Argo's and Fairway's kinds, two
namespaces); what is not allowed there is said at the start, all of it at once.

Several may be told to deliver to one cluster: a Lease for each part says who does. The others stand by.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import uuid
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from aiohttp import web

from fairway.ci.pods.runner import ClusterJobs
from fairway.ci.pods.settings import JobSettings, JobSettingsMistake, decode_job_settings
from fairway.delivery import Delivery
from fairway.gitops.places import RemoteApi
from fairway.kube import crds
from fairway.kube.api import Api, WriteOptions
from fairway.kube.cache import Informers
from fairway.kube.clock import WallClock
from fairway.kube.cluster import ClusterApi
from fairway.kube.errors import AlreadyExists, ApiError, Forbidden
from fairway.kube.http.pki import ensure_pki
from fairway.kube.kubeconfig import BadKubeconfig, Connection, read_kubeconfig
from fairway.kube.leader import Candidate, Fenced, LeadershipLost
from fairway.kube.objects import Obj
from fairway.kube.resources import CRDS, NAMESPACES, Resource
from fairway.metrics.querier import without_login
from fairway.parts import leading
from fairway.ports import LOOPBACK, Ports, choose_ports
from fairway.state import StateDir

log = logging.getLogger("fairway.platform")

MANAGER = "fairway"
HOMES = ("fairway", "argocd")
_GROUPS = ("argoproj.io", "fairway.dev")
"""Whose definitions are brought along: without them nothing can be delivered. Others belong to those who use them."""
_LOOK_AT_KINDS_S = 0.5


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    state: StateDir
    kubeconfig: Path
    context: str = ""
    """"": the file's current one."""
    web_port: int = 0
    without: frozenset[str] = frozenset()
    prometheus: str = ""


class NoCluster(Exception):
    """The cluster cannot be used; the message says why, and what to do."""


class ClusterPlatform:
    """Like `Platform`: `start`, then `run_until`, then `stop`."""

    def __init__(self, settings: ClusterSettings, web_port: int, token: str, api: ClusterApi) -> None:
        self._settings = settings
        self._api = api
        self.web_port = web_port
        self.web_url = f"http://{LOOPBACK}:{web_port}"
        self._leases = Candidate(api, WallClock(), _identity(settings.state),
                                 [f"fairway-{part}" for part in leading(settings.without)], HOMES[0])
        fenced = Fenced(api, self._leases)
        self.informers = Informers(cast(Api, fenced))
        jobs = _job_settings(settings.state)
        self.delivery = Delivery(
            self.informers, WallClock(), settings.state, without=settings.without, web_url=self.web_url, token=token,
            data_plane=None, prometheus=settings.prometheus, connect=self._connect,
            jobs=(cast(ClusterJobs, fenced), jobs) if jobs is not None else None)
        self.delivery.run_beside("discovery", self._follow_kinds)

    @classmethod
    async def start(cls, settings: ClusterSettings) -> ClusterPlatform:
        """Raises `NoCluster`, and `PortTaken` for the web port."""
        state = settings.state
        try:
            api = await ClusterApi.connect(read_kubeconfig(settings.kubeconfig, settings.context))
        except (BadKubeconfig, ApiError) as error:
            raise NoCluster(f"the cluster cannot be used: {error}; check it with: kubectl --kubeconfig "
                            f"{settings.kubeconfig}{_context(settings)} version") from error
        try:
            await _prepare(api)
            state.make()
            ports = choose_ports(state.root / "ports.json", Ports(web=settings.web_port), ingress_may_be_ours=True)
            token = ensure_pki(state.pki, WallClock().now(), token_file=state.token).token
            platform = cls(settings, ports.web, token, api)
            await _check_allowed(api, platform.delivery.reads(), settings)
            await platform._first_look()
            await platform.delivery.register_repositories()
        except BaseException as error:
            await api.close()
            if isinstance(error, ApiError):
                raise NoCluster(f"the cluster at {api.server} refuses: {error}") from error
            raise
        return platform

    async def _connect(self, connection: Connection) -> RemoteApi:
        """To another cluster: it, too, is written to by the one that leads alone."""
        return cast(RemoteApi, Fenced(await ClusterApi.connect(connection), self._leases))

    def addresses(self) -> dict[str, Any]:
        """What `daemon.json` says."""
        return {"api_url": self._api.server, "web_url": self.web_url, "ingress_port": 0,
                "data_plane": "the cluster's own", "prometheus": without_login(self._settings.prometheus),
                "without": sorted(self._settings.without),
                "kubeconfig": str(self._settings.kubeconfig), "context": self._settings.context,
                "identity": self._leases.me}

    def routes(self) -> Iterable[web.RouteDef]:
        return self.delivery.routes()

    async def run_until(self, stopped: asyncio.Event) -> None:
        """Stand by until every part is ours to run, then run them. Raises `LeadershipLost`."""
        if not await _before(stopped, self._leases.win()):
            return
        log.info("leading: %s", ", ".join(sorted(leading(self._settings.without))))
        over = asyncio.Event()
        holding = asyncio.create_task(self._leases.hold())
        holding.add_done_callback(lambda done: over.set())
        ending = asyncio.create_task(_told(stopped, over))
        try:
            await self.delivery.run_until(over)
        finally:
            ending.cancel()
            holding.cancel()
            (outcome,) = await asyncio.gather(holding, return_exceptions=True)
        if isinstance(outcome, LeadershipLost):
            raise outcome
        await self._leases.step_down()

    async def _first_look(self) -> None:
        try:
            await self._leases.attempt()
        except Forbidden as error:
            raise NoCluster(f"{error}; have a Role bound to it in namespace {HOMES[0]}: list, create and update of "
                            "leases.coordination.k8s.io") from error

    async def stop(self, *, workloads: bool) -> None:
        """Whatever runs in the cluster goes on there."""
        await self.informers.close()
        await self._api.close()

    async def _follow_kinds(self) -> None:
        """Kinds that others define while we run are known a moment later."""
        changed = asyncio.Event()
        self.informers.of(CRDS).on_change(lambda old, new: changed.set())
        while True:
            await changed.wait()
            await asyncio.sleep(_LOOK_AT_KINDS_S)  # definitions come in batches, and are served a moment after they are stored
            changed.clear()
            await self._api.refresh()


def _identity(state: StateDir) -> str:
    """The machine's name and this state folder's: a restart is the same one, and takes its Leases again at once."""
    file = state.root / "identity"
    if not file.is_file():
        file.write_text(uuid.uuid4().hex[:8])
    return f"{socket.gethostname()}_{file.read_text().strip()}"


async def _told(stopped: asyncio.Event, over: asyncio.Event) -> None:
    await stopped.wait()
    over.set()


async def _before(stopped: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Whether `work` was done before everything was stopped. Raises what it raises."""
    tasks = asyncio.create_task(work), asyncio.create_task(stopped.wait())
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return not stopped.is_set() and tasks[0].result() is None


def _job_settings(state: StateDir) -> JobSettings | None:
    """How jobs run in the cluster; None: as processes of this machine."""
    file = state.root / "jobs.yaml"
    if not file.is_file():
        return None
    try:
        return decode_job_settings(file.read_text(), str(file))
    except JobSettingsMistake as mistake:
        raise NoCluster(str(mistake)) from None


def _context(settings: ClusterSettings) -> str:
    return f" --context {settings.context}" if settings.context else ""


async def _prepare(api: ClusterApi) -> None:
    """Make what is missing; never touch what somebody else brought."""
    present = {obj["metadata"]["name"]: obj for obj in (await api.list(CRDS)).items}
    for definition in crds.own_definitions():
        name = definition["metadata"]["name"]
        if definition["spec"]["group"] not in _GROUPS or name in present:
            continue
        await _make(api, definition, f"install it once with the rights of an administrator: CustomResourceDefinition {name}")
    for name in HOMES:
        home = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        if not (await api.list(NAMESPACES, fields=f"metadata.name={name}")).items:
            await _make(api, home, f"have it made: kubectl create namespace {name}")


async def _make(api: ClusterApi, obj: Obj, mend: str) -> None:
    try:
        await api.create(obj, WriteOptions(manager=MANAGER))
        log.info("made %s %s in the cluster", obj["kind"], obj["metadata"]["name"])
    except AlreadyExists:
        return
    except Forbidden as error:
        raise NoCluster(f"{error}; {mend}") from error


async def _check_allowed(api: ClusterApi, reads: Sequence[Resource], settings: ClusterSettings) -> None:
    """A cache that may not be filled would keep its controller waiting for ever: better not to start."""
    served = [row for row in reads if api.resources.of_plural(row.group, row.version, row.plural) is not None]
    wanted = [(resource, verb) for resource in served for verb in ("list", "watch")]
    answers = await asyncio.gather(*(api.allowed(verb, resource) for resource, verb in wanted))
    refused = sorted({resource.qualified for (resource, _), allowed in zip(wanted, answers, strict=True) if not allowed})
    if refused:
        raise NoCluster(
            f"the user of {settings.kubeconfig} may not list and watch {', '.join(refused)} in all namespaces of "
            f"{api.server}; have a ClusterRole with these verbs bound to it, or leave the part that needs them out: --without")
