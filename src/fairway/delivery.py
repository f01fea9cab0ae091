"""The controllers that deliver, whatever API they deliver to: GitOps, rollouts, CI, releases, notifications, metrics.

They see nothing but the API and the git repositories of this state folder. `Platform` gives them the embedded API,
`ClusterPlatform` that of a cluster; each part may be switched off and left to somebody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from fairway.ci import identity_routes
from fairway.ci import logs as ci_logs
from fairway.ci.controller import PipelineController, TriggerController
from fairway.ci.identity import Identities
from fairway.ci.materials import PipelineSettings
from fairway.ci.pods import serving as job_files
from fairway.ci.pods.runner import ClusterJobs, PodRunner
from fairway.ci.pods.settings import JobSettings
from fairway.ci.runner import LocalRunner, RunnerConfig
from fairway.ci.schedule_controller import ScheduleController
from fairway.ci.tokens import JobTokens
from fairway.ci.tools import link_tools
from fairway.connections import (
    NAMESPACE,
    AnalysisQuerier,
    KnownRepositories,
    Prometheuses,
    RepositorySettings,
    job_environment,
)
from fairway.git import http_backend
from fairway.git.repositories import Repositories
from fairway.gitops import webhooks
from fairway.gitops.application_set_controller import ApplicationSetController
from fairway.gitops.controller import ApplicationController
from fairway.gitops.forges import Forges
from fairway.gitops.places import Connect
from fairway.images import serving
from fairway.images.registry import LocalRegistry
from fairway.kube.cache import Informers
from fairway.kube.clock import Clock
from fairway.kube.cluster import ClusterApi
from fairway.kube.errors import AlreadyExists, ApiError
from fairway.kube.http.pki import write_private
from fairway.kube.objects import Key, spec_of, status_of
from fairway.kube.reconcile import Controller, ControllerLoop
from fairway.kube.resources import PIPELINE_RUNS, REPOSITORIES, Resource
from fairway.kube.tokens import TokenKey
from fairway.metrics import api as metrics_api
from fairway.metrics import forwarding
from fairway.metrics.controller import Scraper
from fairway.metrics.journal import Journal
from fairway.metrics.querier import EmbeddedQuerier
from fairway.metrics.rules.controller import RuleController
from fairway.metrics.store import Store
from fairway.notify.alerting import Alerting, ConfigObjects
from fairway.notify.controller import NotifyController
from fairway.notify.sinks import ConsoleSink, Sink, WebhookSink
from fairway.notify.spec import Addresses, NotifyMistake, decode_alertmanagers, decode_webhooks
from fairway.releases.controller import ReleaseController
from fairway.rollout_actions import of_rollouts
from fairway.rollouts.analysis_controller import AnalysisRunController
from fairway.rollouts.controller import RolloutController
from fairway.rollouts.experiment_controller import ExperimentController
from fairway.rollouts.flagger.controller import CanaryController
from fairway.rollouts.flagger.posting import http_post
from fairway.rollouts.gate_provider import GateProvider
from fairway.rollouts.job import JobProvider
from fairway.rollouts.prometheus import PrometheusProvider, Querier, Queriers, Server
from fairway.rollouts.rollback.controller import RollbackController
from fairway.rollouts.web import WebProvider
from fairway.secrets.masking import Masker
from fairway.secrets.redaction import redacted
from fairway.served import DataPlaneCounts
from fairway.state import StateDir
from fairway.traffic.port import DataPlane

log = logging.getLogger("fairway.platform")

RESTART_DELAY_S = 1.0
STOP_LIMIT_S, ASK_AGAIN_S = 10.0, 3.0
"""Parts stop within milliseconds, notifications under way are given two seconds. One that does not stop is told so once
more, and must not keep `fairway down` waiting."""
Part = Callable[[], Coroutine[Any, Any, None]]
JobsInPods = tuple[ClusterJobs, JobSettings]
"""The cluster in which the jobs of CI run, and how."""


class Delivery:
    """Compose it, `add` what else shall run, then `run_until`.

    `data_plane` is None where somebody else moves the requests: then no weight is confirmed, and the native gate has no counts.
    `prometheus` is the address of one that is asked instead of our own metrics, "" for none. With `jobs` the jobs of CI run in
    pods of a cluster, else as processes of this machine. `connect` reaches the other clusters that Applications go to.
    """

    def __init__(self, informers: Informers, clock: Clock, state: StateDir, *, without: frozenset[str], web_url: str,
                 token: str, data_plane: DataPlane | None, prometheus: str = "", jobs: JobsInPods | None = None,
                 connect: Connect = ClusterApi.connect) -> None:
        self.informers = informers
        self._clock = clock
        self._state = state
        self._token = token
        self._web_url = web_url
        self._jobs = jobs
        self._connect = connect
        self._pods: PodRunner | None = None
        self._prometheus = prometheus
        self._elsewhere = Prometheuses()
        self._loops: dict[str, ControllerLoop] = {}
        self._parts: dict[str, Part] = {}
        journal = Journal(state.metrics)
        self.store = Store(journal=journal)
        self.scraper = Scraper(informers, clock, self.store, data_plane, snapshot=state.metrics / "samples.npz",
                               journal=journal)
        self._alerting: Alerting | None = None
        self._rules = RuleController(informers, clock, self.store, folder=state.rules, tell=self._tell_of_alerts, url=web_url)
        self.git = Repositories(state.git, on_change=self._repository_changed)
        self.known = KnownRepositories(informers, self.git, web_url=web_url, cache=state.root / "cache" / "git")
        self.job_tokens = JobTokens()
        self._identities = Identities(web_url, TokenKey.load(state.ci / "identity.key", write_private), clock.now)
        self._gitops: ApplicationController | None = None
        self._sets: ApplicationSetController | None = None
        self._pipelines: PipelineController | None = None
        compose: dict[str, Callable[[], None]] = {
            "gitops": self._compose_gitops, "rollouts": lambda: self._compose_rollouts(data_plane),
            "canaries": lambda: self._compose_canaries(data_plane),
            "rollback": self._compose_rollback,
            "metrics": self._compose_metrics, "ci": self._compose_ci,
            "releases": self._compose_releases, "notify": self._compose_notify,
        }  # fmt: skip
        for name, part in compose.items():
            if name not in without:
                part()

    def add(self, controller: Controller) -> ControllerLoop:
        loop = self._loops[controller.name] = ControllerLoop(controller, self.informers, self._clock)
        return loop

    def run_beside(self, name: str, run: Part) -> None:
        """A part that is no controller of one kind."""
        self._parts[name] = run

    def reads(self) -> tuple[Resource, ...]:
        """Every resource that is listed and watched."""
        found: dict[Resource, None] = dict.fromkeys(self.informers.asked_for)
        for loop in self._loops.values():
            found |= dict.fromkeys((loop.controller.resource, *(watch.resource for watch in loop.controller.watches())))
        return tuple(found)

    def _compose_gitops(self) -> None:
        self._gitops = ApplicationController(self.informers, self._clock, self.known, connect=self._connect,
                                             more_actions=of_rollouts)
        self._gitops.attach(self.add(self._gitops).look_again)
        self.run_beside("clusters", self._gitops.places.run)
        self._sets = ApplicationSetController(self.informers, self.known, forge=Forges(self.informers))
        self.add(self._sets)

    def _compose_rollouts(self, data_plane: DataPlane | None) -> None:
        clock = self._clock
        self.add(RolloutController(self.informers, verify_weights=data_plane is not None))
        self.add(ExperimentController(self.informers))
        self.add(AnalysisRunController(self.informers, clock, {
            "prometheus": PrometheusProvider(self._queriers(), clock),
            "web": WebProvider(clock),
            "job": JobProvider(self.informers.api, clock),
            "fairway": GateProvider(DataPlaneCounts(data_plane, clock), clock),
        }))  # fmt: skip

    def _compose_canaries(self, data_plane: DataPlane | None) -> None:
        """Where requests go through our own data plane its counts are asked, and it confirms weights."""
        queriers, counted = self._queriers(), AnalysisQuerier(EmbeddedQuerier(self.store))

        def query(address: str) -> Querier:
            return counted if not address and data_plane is not None else queriers(address)

        self.add(CanaryController(
            self.informers, self._clock, query=query, post=http_post,
            own_metrics=data_plane is not None, verify_weights=data_plane is not None))

    def _compose_rollback(self) -> None:
        self.add(RollbackController(self.informers, self._clock, self._queriers().at(Server(""))))

    def _queriers(self) -> Queriers:
        """Who answers an analysis: our own metrics or the Prometheus that stands for them, else the server that it names."""
        if self._prometheus:
            return Queriers(self._elsewhere.at(Server(self._prometheus)), self._elsewhere.at)
        own = AnalysisQuerier(EmbeddedQuerier(self.store))
        return Queriers(own, self._elsewhere.at, own_addresses=(self._web_url,))

    def _compose_releases(self) -> None:
        self.add(ReleaseController(self.informers))

    def _compose_metrics(self) -> None:
        self.run_beside("metrics", self.scraper.run)
        self.run_beside("rules", self._rules.run)

    def _compose_notify(self) -> None:
        sinks, elsewhere = _configured(self._state.notifications)
        notify = NotifyController(self.informers, self._clock, sinks)
        self.run_beside("notify", notify.run)
        self._alerting = Alerting(self._clock, notify.outbox, configuration=self._state.alertmanager, elsewhere=elsewhere,
                                  file=self._state.metrics / "alertmanager.json", url=self._web_url,
                                  objects=ConfigObjects(self.informers, self._clock))
        self.run_beside("alerting", self._alerting.run)

    async def _tell_of_alerts(self, alerts: Sequence[Mapping[str, Any]]) -> None:
        if self._alerting is not None:
            await self._alerting.take(alerts)

    def _compose_ci(self) -> None:
        state = self._state
        self.add(TriggerController(self.informers, self.known.of))
        self.add(ScheduleController(self.informers, self.known.of))
        beside = Path(sys.executable).parent / "fairway"
        given = RepositorySettings(self.informers)
        config = RunnerConfig(
            root=state.ci,
            repositories=self.known,
            job_env=job_environment(state.root, state.ci / "cache"),
            path_prepend=(str(link_tools(state.ci / "bin")),),
            fairway=(str(beside),) if beside.is_file() else (sys.executable, "-m", "fairway.cli"),
            maskers=Masker,
            tokens=self.job_tokens,
            identities=self._identities,
        )  # fmt: skip
        settings = PipelineSettings(
            secrets=given.secrets, variables=given.variables, environment_secrets=given.environment_secrets)
        if self._jobs is not None:
            api, chosen = self._jobs
            self._pods = PodRunner(api, chosen, config, self.job_tokens, self._clock, self._web_url)
            settings = replace(settings, labels=tuple(chosen.images), places=chosen.most)
        self._pipelines = PipelineController(self.informers, self.known.of, LocalRunner(config), settings, self._pods)
        self._pipelines.look_again = self.add(self._pipelines).look_again

    def routes(self) -> Iterable[web.RouteDef]:
        """What the web port serves."""
        yield from serving.routes(LocalRegistry(self._state.registry), token=self._token, admits=self._is_a_job)
        if self._pods is not None:
            yield from job_files.routes(self._state.ci, self._pods.guest, self.known, self.job_tokens, self._pods.git_url)
        yield from http_backend.routes(self.git, token=self._token, on_push=self._repository_changed,
                                       allows=self.job_tokens.allows)
        if self._prometheus:
            yield from forwarding.routes(self._prometheus)
        yield from metrics_api.routes(self.store, self._clock, self.scraper, self._rules, asked=not self._prometheus)
        if self._alerting is not None:
            yield from self._alerting.routes()
        yield from identity_routes.routes(self._identities)
        yield from ci_logs.routes(self._state.ci, token=self._token, standing_of=self._standing_of_run)
        if self._gitops is not None:
            yield from webhooks.routes(lambda: webhooks.secrets_in(self.informers), self._gitops.pushed)

    def _is_a_job(self, password: str) -> bool:
        return self._pods is not None and self._pods.guest(password) is not None

    async def run_until(self, stopped: asyncio.Event) -> None:
        parts = {**self._parts, **{name: loop.run for name, loop in self._loops.items()}}
        tasks = [asyncio.create_task(_kept_running(name, run), name=name) for name, run in parts.items()]
        try:
            await stopped.wait()
        finally:
            jobs = [asyncio.create_task(self._pipelines.close(), name="pipelines")] if self._pipelines is not None else []
            await _stopped([*jobs, *tasks], cancel=tasks)
            await self._elsewhere.close()

    def _standing_of_run(self, name: str) -> ci_logs.Standing | None:
        run = self.informers.of(PIPELINE_RUNS).get(Key(NAMESPACE, name))
        if run is None:
            return None
        waits = {job["id"]: str(job.get("message") or "waits to be started by hand")
                 for job in status_of(run).get("jobs") or () if job["phase"] == "Waiting"}
        return ci_logs.Standing(bool(status_of(run).get("finishedAt")), waits)

    # --- repositories -------------------------------------------------------------------------------------------------

    def _repository_changed(self, name: str) -> None:
        """After a push, or a commit of ours: everybody who follows this repository looks again."""
        task = asyncio.get_running_loop().create_task(self._follow(name))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _follow(self, name: str) -> None:
        await self._register(name)
        for loop in filter(None, map(self._loops.get, (TriggerController.name, ScheduleController.name))):
            for obj in self.informers.of(REPOSITORIES).list(NAMESPACE):
                if spec_of(obj).get("name") == name:
                    loop.look_again(Key(NAMESPACE, obj["metadata"]["name"]))
        if self._gitops is not None and self._sets is not None:
            for key in self._sets.all_sets():
                self._loops[self._sets.name].look_again(key)
            self._gitops.refresh(name)

    async def register_repositories(self) -> None:
        for name in self.git.names():
            await self._register(name)

    async def _register(self, name: str) -> None:
        """A `Repository` object for a repository that was pushed to, where no object names it yet."""
        listed = await self.informers.api.list(REPOSITORIES, NAMESPACE)
        if any(spec_of(obj).get("name") == name for obj in listed.items):
            return
        with contextlib.suppress(AlreadyExists):
            await self.informers.api.create({
                "apiVersion": REPOSITORIES.api_version, "kind": REPOSITORIES.kind,
                "metadata": {"name": name.replace("/", "-").lower(), "namespace": NAMESPACE}, "spec": {"name": name},
            })  # fmt: skip


def _configured(configuration: Path) -> tuple[list[Sink], Addresses]:
    """(sinks, Alertmanagers elsewhere). The log hears everything; `notify.yaml` in the state folder names the rest.

    Raises `NotifyMistake`.
    """
    sinks: list[Sink] = [ConsoleSink(_one_line, redacted)]
    elsewhere: Addresses = ()
    if configuration.is_file():
        try:
            written = yaml.safe_load(configuration.read_text()) or {}
            if not isinstance(written, dict):
                raise NotifyMistake("a mapping with the key webhooks or alertmanagers is needed")
            webhooks = decode_webhooks(written.get("webhooks") or [])
            elsewhere = decode_alertmanagers(written.get("alertmanagers") or [])
        except yaml.MarkedYAMLError as error:  # its own text quotes the line, which may be a webhook's URL
            line = f" at line {error.problem_mark.line + 1}" if error.problem_mark else ""
            raise NotifyMistake(f"{configuration}: it is no YAML{line}; correct it, or remove the file") from None
        except NotifyMistake as mistake:
            raise NotifyMistake(f"{configuration}: {mistake}") from None
        sinks += [WebhookSink(webhook, redacted) for webhook in webhooks]
    return sinks, elsewhere


def _one_line(text: str) -> None:
    logging.getLogger("fairway.notify").info("%s", "; ".join(text.splitlines()))


async def _stopped(tasks: Sequence[asyncio.Task[None]], *, cancel: Sequence[asyncio.Task[None]]) -> None:
    """Until all `tasks` have ended, `STOP_LIMIT_S` at the most; those of `cancel` are told to."""
    running = set(tasks)
    for patience in (ASK_AGAIN_S, STOP_LIMIT_S - ASK_AGAIN_S):
        for task in running.intersection(cancel):
            task.cancel()
        if not running:
            return
        _, running = await asyncio.wait(running, timeout=patience)
    for task in running:
        log.error("%s does not stop; it is left behind", task.get_name())


async def _kept_running(name: str, run: Part) -> None:
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
