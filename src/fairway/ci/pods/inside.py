"""In the pod: the job as ordered, by the runner that works on one machine, and what it says as lines on standard output."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from fairway.ci.course import JobResult
from fairway.ci.gitlab.course import GitlabCourse
from fairway.ci.gitlab.job import GitlabRunner, LegRequest
from fairway.ci.gitlab.plan import Pipeline
from fairway.ci.gitlab.sources import FileTree, Tree
from fairway.ci.gitlab.spec import Configuration
from fairway.ci.masking import MakeMasker
from fairway.ci.pods import report
from fairway.ci.pods.home import AtHome
from fairway.ci.pods.order import GithubWork, GitlabWork, Order
from fairway.ci.runner import JobRequest, LocalRunner, RunnerConfig
from fairway.ci.services import ServiceWish, Started, running_services
from fairway.ci.services.wish import DEFAULT_PORTS, port_maps
from fairway.ci.shelf import ShelfError
from fairway.ci.spec import WorkflowError
from fairway.ci.states import StepRow, from_status
from fairway.ci.tools import link_tools, package_access
from fairway.ci.workflow import decode_workflow
from fairway.images.credentials import Account
from fairway.images.distribution import RegistryError, Remote
from fairway.images.layout import BadBlob
from fairway.images.reference import parse_reference
from fairway.images.registry import LocalRegistry, UnknownImage
from fairway.images.transfer import push
from fairway.kube.clock import Clock

ALIVE_EVERY_S = 20.0
"""A third of what load balancers between pod and controller usually allow a silent connection."""
Say = Callable[[bytes], None]


@dataclass(frozen=True)
class Pod:
    """What the program knows of the pod that it runs in."""

    root: Path
    address: str
    maskers: MakeMasker
    fairway: tuple[str, ...]
    clock: Clock
    say: Say


async def carry_out(order: Order, pod: Pod, cancel: asyncio.Event) -> JobResult:
    """The job to its end, and what it leaves sent home. The result is not yet said."""
    home = AtHome(order.home, pod.root, order.run, order.job)
    config = _config(order, pod, home)

    def progress(rows: tuple[StepRow, ...]) -> None:
        pod.say(report.steps(rows))

    alive = asyncio.create_task(_still_alive(pod.say))
    try:
        if (trouble := await _reached(home, cancel)) is not None:
            return trouble
        if order.github is not None:
            result = await _github(order.github, config, pod, progress, cancel)
        elif order.gitlab is not None:
            result = await _gitlab(order.gitlab, config, pod, progress, cancel)
        else:
            result = JobResult("Failed", "the order holds no job", failure="runner_system_failure")
        return await _sent_home(result, home, order, pod)
    finally:
        alive.cancel()


async def _reached(home: AtHome, cancel: asyncio.Event) -> JobResult | None:
    """Nothing begins before home answers: it has the commit. None: it does."""
    asking = asyncio.ensure_future(asyncio.to_thread(home.reach))
    stopped = asyncio.ensure_future(cancel.wait())
    await asyncio.wait({asking, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not asking.done():
        asking.add_done_callback(lambda done: done.cancelled() or done.exception())
        return JobResult("Cancelled", "the job was cancelled")
    try:
        asking.result()
    except ShelfError as error:
        return JobResult("Failed", str(error), failure="runner_system_failure")
    return None


def _config(order: Order, pod: Pod, home: AtHome) -> RunnerConfig:
    tools = pod.root / "tool-cache"
    return RunnerConfig(
        root=pod.root, maskers=pod.maskers, repositories=home, tokens=home, shelf=home, image=order.image,
        job_env={"UV_CACHE_DIR": str(tools / "uv"), "PIP_CACHE_DIR": str(tools / "pip"), "UV_PYTHON_DOWNLOADS": "never",
                 **package_access(os.environ), **order.environment, "FAIRWAY_STATE": str(pod.root / "state")},
        path_prepend=(str(link_tools(pod.root / "bin")), *filter(None, os.environ.get("PATH", "").split(":"))),
        fairway=pod.fairway, services=beside(pod.address) if order.sidecars else running_services,
        listen=lambda job, line: pod.say(report.said(pod.clock.now(), line)))


async def _github(work: GithubWork, config: RunnerConfig, pod: Pod, progress: Callable[[tuple[StepRow, ...]], None],
                  cancel: asyncio.Event) -> JobResult:
    try:
        workflow = decode_workflow(work.text, work.path)
    except WorkflowError as error:
        return JobResult("Failed", f"{error}; is the runner's image of the same version as the Fairway that sent the job?")
    request = JobRequest(work.facts, from_status(work.row), workflow, work.event, dict(work.contexts), work.secrets)
    return await LocalRunner(config, pod.clock).run(request, progress, cancel)


async def _gitlab(work: GitlabWork, config: RunnerConfig, pod: Pod, progress: Callable[[tuple[StepRow, ...]], None],
                  cancel: asyncio.Event) -> JobResult:
    pipeline = Pipeline(Configuration(work.title, {}, work.stages), (work.leg,), variables=work.variables, given=work.given,
                        predefined=work.predefined, scoped=work.scoped)
    runner = GitlabRunner(config, pod.clock)
    course = GitlabCourse(pipeline, runner, work.run, work.repository, work.sha, work.ref, _NoSources(), prefix=work.prefix)
    return await runner.run(LegRequest(course, work.leg, from_status(work.row), work.upstreams), progress, cancel)


class _NoSources:
    """Includes were read before the job was ordered."""

    def own(self) -> Tree:
        return FileTree(lambda path: None, lambda: ())

    def project(self, name: str, ref: str) -> Tree | None:
        return None

    def fetch(self, url: str) -> str | None:
        return None

    def template(self, name: str) -> str | None:
        return None


async def _still_alive(say: Say) -> None:
    while True:
        await asyncio.sleep(ALIVE_EVERY_S)
        say(report.ALIVE)


# --- what goes home -------------------------------------------------------------------------------------------------


async def _sent_home(result: JobResult, home: AtHome, order: Order, pod: Pod) -> JobResult:
    """Images first: their digests are in the result. What cannot be sent fails a job that had succeeded."""
    trouble = ""
    try:
        for image in result.images:
            await _send_image(image["name"], image["digest"], order, pod)
        await asyncio.to_thread(home.send_back)
    except (ShelfError, RegistryError, BadBlob, OSError) as error:
        trouble = f"what the job made could not be sent home: {error}"
    if not trouble:
        return result
    pod.say(report.said(pod.clock.now(), f"##[error]{trouble}"))
    if result.phase != "Succeeded":
        return result
    return replace(result, phase="Failed", message=trouble, failure="runner_system_failure")


async def _send_image(name: str, digest: str, order: Order, pod: Pod) -> None:
    """From the pod's registry into that of the Fairway that sent the job, under every tag it has; one that was only built has
    none there."""
    registry = LocalRegistry(pod.root / "state" / "registry")
    reference = parse_reference(name)
    scheme, _, host = order.home.url.partition("://")
    tags = [tag for tag, found in registry.layout(reference.name).manifests().items() if found.digest == digest and tag]
    async with Remote.open(host, reference.name, account=Account("job", order.home.token), plain=scheme == "http") as remote:
        for tag in tags:
            with contextlib.suppress(UnknownImage):
                await push(registry, replace(reference, tag=tag, digest=""), remote)


# --- services in the pod --------------------------------------------------------------------------------------------


def beside(address: str) -> Callable[..., contextlib.AbstractAsyncContextManager[Started]]:
    """Services that run already, as sidecars of this pod: they share its address, so `localhost` and their names lead there.

    Where the containers of a pod do not share the loopback address (a Fairway as cluster), variables of the job that name a
    service get the pod's own."""

    @asynccontextmanager
    async def run(wishes: Sequence[ServiceWish], folder: Path, say: Callable[[str], None], tracking: str, *,
                  by_name: bool) -> AsyncIterator[Started]:
        started = Started(address)
        for wish in wishes:
            maps = port_maps(wish, DEFAULT_PORTS[wish.kind] if wish.kind else 0)
            started.ports[wish.names[0]] = {str(entry.container): str(entry.container) for entry in maps}
            for entry in maps:
                for name in (*wish.names, *(() if by_name else ("localhost", "127.0.0.1"))):
                    started.places[name, entry.host or entry.container] = (address, entry.container)
                    started.places[name, entry.container] = (address, entry.container)
            say(f"service {wish.names[0]} ({wish.image}) runs beside the job")
        yield started

    return run
