"""The daemon process: one platform over one state folder, until it is told to stop.

`python -m fairway.daemon --state DIR` comes here; with `--kubeconfig FILE` only the delivery controllers, against that cluster.
SIGTERM ends the control plane and leaves pods and traffic running, for the next daemon to adopt; with `shutdown.json`
{"workloads": true} in the state folder, pods and Envoy are stopped too (`fairway down`).
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import gc
import json
import logging
import logging.handlers
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from fairway.cluster_platform import ClusterPlatform, ClusterSettings, NoCluster
from fairway.kube.leader import LeadershipLost
from fairway.parts import UnknownPart, parse_without
from fairway.platform import NoEnvoy, NotifyMistake, Platform, Settings
from fairway.ports import LOOPBACK, PortTaken
from fairway.state import ALREADY_RUNS, PROMETHEUS, StateDir
from fairway.traffic.detached import started_of
from fairway.web.server import WebServer

log = logging.getLogger("fairway.daemon")

_LOG_BYTES, _LOG_FILES = 8 << 20, 3  # 32 MB of log at the most


def main() -> int:
    options = _arguments()
    state = StateDir(Path(options.state).absolute())
    state.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = _only_daemon(state)
    if lock is None:
        print(f"another daemon already runs over {state.root}; stop it with: fairway --state {state.root} down",
              file=sys.stderr)
        return 1 if options.foreground else ALREADY_RUNS
    _log_to(state, also_stderr=options.foreground)
    while True:
        try:
            # Not asyncio.run: it would wait for every thread that still copies a file or waits for a network.
            asyncio.Runner().run(_serve(_settings(options, state)))
            return 0
        except LeadershipLost as lost:
            log.warning("standing by from now on: %s", lost)
        except (PortTaken, NoEnvoy, NotifyMistake, NoCluster, UnknownPart) as refused:
            print(refused, file=sys.stderr)
            return 1


def _settings(options: argparse.Namespace, state: StateDir) -> Settings | ClusterSettings:
    without = parse_without(options.without)
    prometheus = os.environ.pop(PROMETHEUS, "")  # which may hold a password: nobody whom we start shall have it
    if options.kubeconfig:
        return ClusterSettings(state, Path(options.kubeconfig), options.context, options.web_port, without, prometheus)
    return Settings(
        state=state,
        api_port=options.api_port,
        web_port=options.web_port,
        ingress_port=options.ingress_port,
        fast_storage=options.fast_storage,
        data_plane=options.data_plane,
        without=without,
        prometheus=prometheus,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fairway.daemon", description=__doc__)
    parser.add_argument("--state", required=True, help="state folder")
    for port in ("api", "web", "ingress"):
        parser.add_argument(f"--{port}-port", type=int, default=0, help="0: the one used last time, else a free one")
    parser.add_argument("--fast-storage", action="store_true", help="survives a crash of Fairway, not of the machine")
    parser.add_argument("--data-plane", choices=("auto", "envoy", "proxy"), default="auto", help="what moves the requests")
    parser.add_argument("--without", default="", metavar="PARTS", help="parts that are switched off: gitops,rollouts,...")
    parser.add_argument("--kubeconfig", default="", metavar="FILE", help="deliver to this cluster, embed nothing")
    parser.add_argument("--context", default="", help="context of the kubeconfig; its current one where none is named")
    parser.add_argument("--foreground", action="store_true", help="log to stderr as well")
    return parser.parse_args()


def _only_daemon(state: StateDir) -> int | None:
    """A lock held for the life of the process, or None where another process holds it."""
    handle = os.open(state.root / "daemon.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _log_to(state: StateDir, *, also_stderr: bool) -> None:
    state.logs.mkdir(exist_ok=True)
    handlers: list[logging.Handler] = [
        logging.handlers.RotatingFileHandler(state.logs / "daemon.log", maxBytes=_LOG_BYTES, backupCount=_LOG_FILES)
    ]
    if also_stderr:
        handlers.append(logging.StreamHandler())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", handlers=handlers)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)


async def _serve(settings: Settings | ClusterSettings) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopped.set)
    marker = settings.state.root / "shutdown.json"
    marker.unlink(missing_ok=True)
    platform: Platform | ClusterPlatform
    if isinstance(settings, ClusterSettings):
        platform = await ClusterPlatform.start(settings)
    else:
        platform = await Platform.start(settings)
    web = WebServer(platform.routes())
    announced = settings.state.daemon
    try:
        try:
            await web.start(LOOPBACK, platform.web_port)
        except OSError as error:
            raise PortTaken("web", platform.web_port) from error
        gc.freeze()  # what was loaded at the start stays: collections need not walk over it again
        gc.enable()
        _announce(announced, platform)
        await platform.run_until(stopped)
    finally:
        announced.unlink(missing_ok=True)
        await web.stop()
        await platform.stop(workloads=_asked_to_stop_workloads(marker))


def _announce(path: Path, platform: Platform | ClusterPlatform) -> None:
    pid = os.getpid()
    facts = {"pid": pid, "process": started_of(pid), "started": datetime.now(UTC).isoformat(), **platform.addresses()}
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(facts, indent=1))
    temporary.replace(path)


def _asked_to_stop_workloads(marker: Path) -> bool:
    try:
        return bool(json.loads(marker.read_text())["workloads"])
    except (OSError, ValueError, KeyError):
        return False
    finally:
        marker.unlink(missing_ok=True)
