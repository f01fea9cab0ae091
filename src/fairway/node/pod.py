"""One pod on this node: its folder, its shim, its probes; and how each action of a decision is carried out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from fairway.kube.objects import Key, Obj, condition, key_of, spec_of, status_of, uid_of
from fairway.node import decide as d
from fairway.node import groups, last_words
from fairway.node.attempt import Attempt
from fairway.node.environment import ConfigProblem, Facts, variables
from fairway.node.folder import PodFolder, kill_group
from fairway.node.halting import wait_gone
from fairway.node.images import HostImage, ImageSource, ImageUnavailable, Pull, UnpackedImage, is_host
from fairway.node.inside import words
from fairway.node.isolation import Isolation
from fairway.node.launch import Launch, Surroundings, compose
from fairway.node.lookups import Lookups
from fairway.node.memory import held_bytes
from fairway.node.own_root import NoOwnRoot
from fairway.node.paths import PathMap, ServiceNames
from fairway.node.placing import Asked, has_own_root, lay_out, stand_of, wants_own_root
from fairway.node.prober import Prober, handle
from fairway.node.remarks import Said
from fairway.node.security import rights
from fairway.node.settings import NodeSettings
from fairway.node.shims import Shim, ShimError, StartRefused
from fairway.node.spec import Container, PodSpec, decode
from fairway.node.tokens import PodTokens
from fairway.node.volumes import Files, mounts, oversized, place_volumes, projected_files, volume_sources

log = logging.getLogger("fairway.node")

CONFIG_RETRY = timedelta(seconds=2)
PULL_FIRST_S, PULL_LONGEST_S = 10, 300
TERMINAL = "xterm"
"""What a container runtime says of the terminals that it makes."""
QUIT_LIMIT_S = 5.0
RECONNECT_S = 0.2


@dataclass(slots=True)
class _State:
    """What the node remembers of one container."""

    image: UnpackedImage | None = None
    fetching: bool = False
    pulls: int = 0
    problem: d.Problem | None = None
    prober: Prober | None = None
    launch: Launch | None = None
    mapped: bool = False
    """A root of its own was tried and could not be had."""
    crashes: int = 0
    stopped: tuple[int, str] = (-1, "")
    """Attempt that the node told to stop, and why."""
    pre_stop: Literal["none", "running", "done"] = "none"
    limits: dict[str, str] | None = None
    """What its control group was last told."""


class NodePod:
    """`look(key)` asks for another pass. Nothing here decides; see `decide`."""

    def __init__(self, pod: Obj, settings: NodeSettings, images: ImageSource, lookups: Lookups, program: Path,
                 address: str, isolation: Isolation, tokens: PodTokens, now: Callable[[], datetime],
                 look: Callable[[Key], None]) -> None:
        self.key, self.uid, self.address = key_of(pod), uid_of(pod), address
        self.pod = pod
        self.folder = PodFolder(settings.pods / self.uid)
        self.stopping_since: datetime | None = None
        self.fresh: set[str] = set()
        """Containers whose image was pulled for them, until they have started."""
        self._news: list[Said] = []
        self.reported: dict[str, str] = {}
        """By container, the trouble that an event has told of."""
        self.told_unenforced = False
        self.evicted = ""
        """Why the pod has to go, in the words of its status; "" while it may stay."""
        self.stale = False
        """Something that the pod's configuration refers to has changed since the last pass."""
        self._settings, self._images, self._lookups, self._program = settings, images, lookups, program
        self.tokens, self._now = tokens, now
        self._isolation, self._look = isolation, look
        self._shim: Shim | None = None
        self._connecting = asyncio.Lock()
        self._states: dict[str, _State] = {}
        self._attempts: dict[str, list[Attempt]] = {}
        self._said: dict[tuple[str, int], str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._decoded: tuple[Obj, PodSpec] | None = None

    # --- what is seen -------------------------------------------------------------------------------------------

    @property
    def spec(self) -> PodSpec:
        if self._decoded is None or self._decoded[0] is not self.pod:
            self._decoded = (self.pod, decode(self.pod))
        return self._decoded[1]

    def runs(self) -> dict[str, d.Run]:
        return {one.name: self._run_of(one.name) for one in self.spec.all}

    def _run_of(self, name: str) -> d.Run:
        state = self._state(name)
        attempts = tuple(self._attempts.get(name, ()))
        newest = attempts[0].number if attempts else -1
        return d.Run(
            attempts=attempts,
            image="ready" if state.image is not None else "fetching" if state.fetching else "unknown",
            image_id=state.image.digest if state.image is not None else self._reported_image(name),
            problem=state.problem,
            health=state.prober.health if state.prober is not None else None,
            crashes=state.crashes,
            hook_failure=state.prober.hook_failure if state.prober is not None else "",
            stopping=state.stopped[0] == newest >= 0,
            pre_stop=state.pre_stop,
            said={one.number: self._last_words(name, one) for one in attempts if not one.running},
            why_stopped=state.stopped[1] if state.stopped[0] == newest >= 0 else "",
        )

    def running(self) -> list[tuple[Container, Attempt]]:
        """The containers that run, each with its run."""
        newest = ((one, self._attempts.get(one.name)) for one in self.spec.all)
        return [(one, attempts[0]) for one, attempts in newest if attempts and attempts[0].running]

    def _last_words(self, name: str, attempt: Attempt) -> str:
        key = (name, attempt.number)
        if key not in self._said:
            self._said[key] = last_words.read(self.folder, self.spec.named(name).raw, attempt)
        return self._said[key]

    def _reported_image(self, name: str) -> str:
        every = (one for kind in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
                 for one in status_of(self.pod).get(kind) or ())
        return next((str(one.get("imageID") or "") for one in every if one.get("name") == name), "")

    def _state(self, name: str) -> _State:
        return self._states.setdefault(name, _State())

    # --- the shim -----------------------------------------------------------------------------------------------

    async def adopt(self, now: datetime) -> None:
        """Take over what an earlier daemon left: the shim if it lives, else the ends of what it held."""
        if self.folder.shim() is not None:
            await self._reconnect()
            self._attempts = self.folder.attempts()
        else:
            self._undo_halt()
            self._attempts = self.folder.attempts()
            self._write_lost(now)
        for one in self.spec.all:
            state, attempts = self._state(one.name), self._attempts.get(one.name, [])
            if attempts and attempts[0].number > 0:
                state.crashes = attempts[0].number
            if attempts and attempts[0].running:
                self._probe(one, adopted=True)

    async def _connect(self) -> Shim:
        """The connection to the pod's shim, which is started where there is none."""
        async with self._connecting:
            if self._shim is None:
                shim = Shim(self.folder, self._heard, self._lost_shim)
                try:
                    await shim.open(self._program, str(self._settings.python))
                except (ShimError, OSError, TimeoutError):
                    await shim.close()
                    raise
                self._shim = shim
            return self._shim

    def _heard(self, fields: list[str]) -> None:
        if fields[0] == "exited":
            self._attempts = self.folder.attempts()
            base, number = self._isolation.groups, int(fields[2])
            if base is not None and groups.was_out_of_memory(base, self.uid, fields[1], number):
                self._state(fields[1]).stopped = (number, "OOMKilled")
            self._drop_prober(fields[1])
            self._look(self.key)

    def _lost_shim(self) -> None:
        self._shim = None
        self._look(self.key)

    async def _reconnect(self) -> None:
        """The shim lives but the connection is lost: most likely it is just ending."""
        try:
            await self._connect()
        except (ShimError, OSError, TimeoutError):
            asyncio.get_running_loop().call_later(RECONNECT_S, self._look, self.key)

    def concerns(self, kind: str, name: str) -> bool:
        """Whether a change of this object may matter: the pod waits for something, or shows it in a volume."""
        if any(state.problem is not None for state in self._states.values()):
            return True
        return kind in ("ConfigMap", "Secret") and name in volume_sources(self.pod, kind)

    async def refresh(self, now: datetime) -> None:
        """Before a pass decides: files follow their sources, and containers whose shim died have ended, too."""
        if self.stale:
            self.stale = False
            await self._follow_sources()
        self._resize()
        if self._shim is None and any(a and a[0].running for a in self._attempts.values()):
            gone = self.folder.shim() is None
            if not gone:
                await self._reconnect()
            self._attempts = self.folder.attempts()
            if gone:
                self._write_lost(now)

    def _resize(self) -> None:
        """The kernel holds a running container to the limits that its spec has now."""
        base = self._isolation.groups
        for one, attempt in self.running() if base is not None else ():
            wanted = groups.limits(one.memory_limit, one.cpu_limit)
            if base is not None and wanted and self._state(one.name).limits not in (None, wanted):
                groups.make(base, self.uid, one.name, attempt.number, wanted)
            self._state(one.name).limits = wanted

    async def _follow_sources(self) -> None:
        for state in self._states.values():
            if state.problem is not None and state.image is not None:
                state.problem = None
        if any(attempts for attempts in self._attempts.values()):
            facts, _ = await self._facts()
            with contextlib.suppress(ConfigProblem):
                projected = self._projected(facts)
                await asyncio.to_thread(place_volumes, self.pod, self.folder, self._settings.claims, projected)

    def _projected(self, facts: Facts) -> dict[str, Files]:
        files = {volume["name"]: projected_files(volume, facts) for volume in spec_of(self.pod).get("volumes") or ()}
        return {name: found for name, found in files.items() if found is not None}

    def _write_lost(self, now: datetime) -> None:
        for name, attempts in self._attempts.items():
            if attempts and attempts[0].running:
                kill_group(attempts[0].pid, attempts[0].start)
                ended = replace(attempts[0], finished=now, code=255, reason="ContainerStatusUnknown",
                                message="the process that watched over the container is gone")
                self.folder.record_end(name, ended)
                attempts[0] = ended
                self._drop_prober(name)

    def _undo_halt(self) -> None:
        """What `stop_all` stopped did not end: it starts anew as the same attempt."""
        if not self.folder.halted.exists():
            return
        for line in self.folder.halted.read_text().splitlines():
            name, _, number = line.rpartition(".")
            self.folder.forget_attempt(name, int(number))
        self.folder.halted.unlink()

    # --- carrying out -------------------------------------------------------------------------------------------

    async def carry_out(self, action: d.Action, now: datetime) -> None:
        match action:
            case d.Fetch(container):
                self._fetch(self.spec.named(container), now)
            case d.Start(container, attempt):
                await self._start(self.spec.named(container), attempt, now)
            case d.Hook(container, limit_s):
                self._hook(self.spec.named(container), limit_s)
            case d.Stop(container, grace_s, why):
                await self._stop(container, grace_s, why)
            case d.EndShim():
                await self.end()
            case d.Bind() | d.Remove():
                raise AssertionError("the controller does this")

    def take_news(self) -> list[Said]:
        """What happened to the pod's images since the last time."""
        news, self._news = self._news, []
        return news

    def _fetch(self, one: Container, now: datetime) -> None:
        state = self._state(one.name)
        if is_host(one.image):
            state.image = HostImage()
            self._look(self.key)
            return
        state.fetching = True
        self._spawn(self._pull(one, state, now))

    async def _pull(self, one: Container, state: _State, now: datetime) -> None:
        def tell(reason: str, message: str) -> None:
            self._news.append(("Normal", reason, message))
            self.fresh.add(one.name)
            self._look(self.key)

        secrets, missing = await self._lookups.pull_secrets(self.pod)
        if missing:
            self._news.append(("Warning", "FailedToRetrieveImagePullSecret", "Unable to retrieve some image pull secrets "
                               f"({', '.join(missing)}); attempting to pull the image may not succeed."))
        try:
            policy = str(one.raw.get("imagePullPolicy") or "IfNotPresent")
            state.image = await self._images.ensure(one.image, Pull(policy, secrets, tell))
            state.problem, state.pulls = None, 0
        except ImageUnavailable as error:
            pause = min(PULL_FIRST_S * 2**state.pulls, PULL_LONGEST_S)
            state.pulls += 1
            reason, text = error.reason, str(error)
            if reason == "ErrImagePull" and state.pulls > 1:
                reason, text = "ImagePullBackOff", f'Back-off pulling image "{one.image}": ErrImagePull: {error}'
            state.problem = d.Problem(reason, text, now + timedelta(seconds=pause))
        finally:
            state.fetching = False

    async def _start(self, one: Container, attempt: int, now: datetime) -> None:
        state, previous = self._state(one.name), self._attempts.get(one.name, [])
        try:
            launch = await self._compose(one, attempt, now)
            if attempt == 0 and not self.folder.about():
                raise ShimError("the pod's folder is gone")
            shim = await self._connect()
            await shim.start(one.name, attempt, self.folder.log(one.name, attempt), launch.argv, launch.env, launch.cwd,
                             one.streams)
        except ConfigProblem as problem:
            state.problem = d.Problem(problem.reason, problem.message, now + CONFIG_RETRY)
            return
        except StartRefused as refusal:
            if refusal.before_it_began and not state.mapped:
                log.warning("%s: %s is started without a root of its own: %s", self.key, one.name, refusal)
                state.mapped = True
                await self._start(one, attempt, now)
                return
            self.folder.record_end(one.name, Attempt(attempt, 0, "0", now, now, 128, 0, "StartError", str(refusal)))
        except (ShimError, TimeoutError, OSError) as error:
            state.problem = d.Problem("RunContainerError", f"the pod's shim failed: {error}", now + CONFIG_RETRY)
            return
        if previous:
            state.crashes = d.next_crashes(state.crashes, previous[0])
        state.problem, state.launch, state.pre_stop = None, launch, "none"
        self.folder.forget_old_attempts(one.name, attempt)
        self._attempts = self.folder.attempts()
        if self._run_of(one.name).running:
            self._probe(one, adopted=False)

    async def _stop(self, container: str, grace_s: float, why: str) -> None:
        attempts = self._attempts.get(container, [])
        if not attempts:
            return
        try:
            shim = await self._connect()
            shim.stop(container, grace_s)
        except (ShimError, OSError, TimeoutError):
            await self._reconnect()
            return
        self._state(container).stopped = (attempts[0].number, why)

    def end_oversized(self) -> None:
        """Kill containers that hold more memory than their limit."""
        for one, attempt in self.running():
            if one.memory_limit and held_bytes(attempt.pid) > one.memory_limit:
                log.warning("%s: %s holds more than its %d bytes of memory", self.key, one.name, one.memory_limit)
                self._state(one.name).stopped = (attempt.number, "OOMKilled")
                kill_group(attempt.pid, attempt.start)

    async def look_at_disk(self) -> None:
        if not self.evicted and self.running() and (why := await asyncio.to_thread(oversized, self.pod, self.folder)):
            self.evicted = why
            self._look(self.key)

    def _hook(self, one: Container, limit_s: float) -> None:
        self._state(one.name).pre_stop = "running"
        self._spawn(self._pre_stop(one, limit_s))

    async def _pre_stop(self, one: Container, limit_s: float) -> None:
        if one.pre_stop is not None:
            ok, message = await handle(one.pre_stop, one, self.address, self._exec(one), limit_s)
            if not ok:
                log.warning("%s: preStop hook of %s failed: %s", self.key, one.name, message)
        self._state(one.name).pre_stop = "done"

    async def end(self, grace_s: float = 0.0) -> None:
        """Stop the shim and whatever it still holds."""
        for name in list(self._states):
            self._drop_prober(name)
        if self._shim is None and self.folder.shim() is None:
            return
        with contextlib.suppress(ShimError):
            shim = await self._connect()
            shim.quit(grace_s)
        await wait_gone(self.folder, grace_s + QUIT_LIMIT_S)
        self._attempts = self.folder.attempts()

    async def close(self) -> None:
        """Let go of the pod; it runs on."""
        for task in list(self._tasks):
            task.cancel()
        probers = [state.prober for state in self._states.values() if state.prober is not None]
        await asyncio.gather(*self._tasks, *(one.close() for one in probers), return_exceptions=True)
        if self._shim is not None:
            await self._shim.close()
            self._shim = None

    # --- probes and commands ------------------------------------------------------------------------------------

    def _probe(self, one: Container, *, adopted: bool) -> None:
        state = self._state(one.name)
        self._drop_prober(one.name)
        state.prober = Prober(one, self.address, self._exec(one), lambda: self._look(self.key), hook_done=adopted)
        if adopted and self._was_ready(one.name):
            state.prober.assume_ready()

    def _was_ready(self, name: str) -> bool:
        statuses = status_of(self.pod).get("containerStatuses") or ()
        return any(one.get("name") == name and one.get("ready") for one in statuses) and (
            condition(self.pod, "ContainersReady") is not None)

    def _drop_prober(self, name: str) -> None:
        state = self._state(name)
        if state.prober is not None:
            state.prober.stop()
            state.prober = None

    def _exec(self, one: Container) -> Callable[[tuple[str, ...], float], Coroutine[Any, Any, tuple[int | None, str]]]:
        async def run(command: tuple[str, ...], timeout_s: float) -> tuple[int | None, str]:
            try:
                launch = await self._launched(one)
                shim = await self._connect()
                paths = await self._paths(one)
                argv = [paths.rewrite(word) for word in command]
                return await shim.exec(one.name, argv, launch.env, launch.cwd, timeout_s)
            except (ShimError, ConfigProblem, ImageUnavailable, TimeoutError) as error:
                return 1, f"the command could not be run: {error}"

        return run

    async def inside(self, container: str, command: Sequence[str]) -> Launch:
        """How somebody's `command` is run in a container: in its environment, and its paths are the container's."""
        one = self.spec.named(container)
        launch, paths = await self._launched(one), await self._paths(one)
        if has_own_root(self.folder, container):
            return replace(launch, argv=tuple(command))
        root = Path(paths.root)

        def is_ours(path: str) -> bool:
            """There, or about to be made in a folder of the container, unless this machine has it."""
            place = root / path.lstrip("/")
            return os.path.lexists(place) or (place.parent != root and place.parent.is_dir() and not Path(path).exists())

        argv = words(command, replace(paths, in_image=is_ours), lambda place: Path(place).is_symlink() and Path(place).is_dir())
        return replace(launch, argv=tuple(argv))

    async def _launched(self, one: Container) -> Launch:
        """How the container was started; composed anew where an earlier daemon has started it."""
        state = self._state(one.name)
        if state.launch is None:
            if state.image is None:
                state.image = HostImage() if is_host(one.image) else await self._images.ensure(one.image)
            state.launch = await self._compose(one, self._newest(one.name), None)
        return state.launch

    # --- composing ----------------------------------------------------------------------------------------------

    def _newest(self, name: str) -> int:
        attempts = self._attempts.get(name)
        return attempts[0].number if attempts else 0

    async def _compose(self, one: Container, attempt: int, now: datetime | None) -> Launch:
        """`now` is None where the container runs already."""
        image = self._state(one.name).image
        assert image is not None
        facts, names = await self._facts()
        projected = self._projected(facts)
        await self._lookups.bind_claims(self.pod)
        asked = self._asked(one, attempt, image, variables(one.raw, facts, image.env))
        if now is None:
            own = has_own_root(self.folder, one.name)
        else:
            own = await asyncio.to_thread(self._lay_out, asked, projected)
        stand = stand_of(asked, self.folder, self._settings, own=own)
        terminal = {"TERM": TERMINAL} if "tty" in one.streams else {}
        return compose(one.raw, image, Surroundings(facts, stand, names, {"LANG": "C.UTF-8", **terminal}))

    def _asked(self, one: Container, attempt: int, image: UnpackedImage, env: Mapping[str, str]) -> Asked:
        working_dir = one.raw.get("workingDir") or image.working_dir or ""
        return Asked(self.pod, one.raw, attempt, image, working_dir, mounts(one.raw, env), rights(self.pod, one.raw))

    def _lay_out(self, asked: Asked, projected: dict[str, Files]) -> bool:
        """Whether the container gets a root of its own."""
        state = self._state(asked.container)
        if self._isolation.own_root and not state.mapped and wants_own_root(asked):
            try:
                lay_out(asked, self.folder, self._settings, projected, own=True, group=self._group(asked))
                return True
            except NoOwnRoot as why:
                log.warning("%s: %s has no root of its own: %s", self.key, asked.container, why)
                state.mapped = True
        lay_out(asked, self.folder, self._settings, projected, own=False, group="" if state.mapped else self._group(asked))
        return False

    def _group(self, asked: Asked) -> str:
        """The control group of an attempt with limits; "" without one."""
        one, base = self.spec.named(asked.container), self._isolation.groups
        wanted = groups.limits(one.memory_limit, one.cpu_limit)
        if base is None or not wanted:
            return ""
        return str(groups.make(base, self.uid, one.name, asked.attempt, wanted) or "")

    async def _facts(self) -> tuple[Facts, ServiceNames]:
        facts, names = await self._lookups.facts(self.pod, self.address)

        def token(audience: str, seconds: int) -> str | None:
            return self.tokens.text(self.pod, audience, seconds, self._now())

        return replace(facts, token=token), names

    async def _paths(self, one: Container) -> PathMap:
        image = self._state(one.name).image or HostImage()
        own = has_own_root(self.folder, one.name)
        env = (await self._launched(one)).env
        return stand_of(self._asked(one, self._newest(one.name), image, env), self.folder, self._settings, own=own).paths

    # --- tasks --------------------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        async def run() -> None:
            await work
            self._look(self.key)

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s: %s", self.key, error, exc_info=error)
            asyncio.get_running_loop().call_later(CONFIG_RETRY.total_seconds(), self._look, self.key)

