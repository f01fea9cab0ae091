"""The platform's daemon seen from outside: start it and wait until it is ready, stop it and see what is left.

The daemon runs in a session of its own, so that it outlives the terminal. What it says before it is ready lands in
`logs/daemon.out`: that is what a failed start is explained by.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from fairway.cli.client import Addresses, Client, is_alive
from fairway.cli.errors import CommandError, NoPlatform
from fairway.state import ALREADY_RUNS, PROMETHEUS, StateDir

START_LIMIT_S = 60.0  # a start takes about a second; a first one on a slow disk a few
STOP_LIMIT_S = 90.0  # two grace periods of 30 s (containers, then init containers of the same pod), and some work
_LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class Leftover:
    """A process of the platform that still runs."""

    pid: int
    command: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What kind of platform is started. `kubeconfig`: the delivery controllers alone, against that cluster."""

    api_port: int = 0
    web_port: int = 0
    ingress_port: int = 0
    data_plane: str = "auto"
    without: str = ""
    prometheus: str = ""
    kubeconfig: str = ""
    context: str = ""

    def environment(self) -> dict[str, str]:
        """With what may hold a password: command lines can be read by everybody on the machine."""
        return {**os.environ, PROMETHEUS: self.prometheus}

    def command(self, state: StateDir, *, foreground: bool = False) -> list[str]:
        """`-P`: the folder it is started in must not lend it modules."""
        argv = [sys.executable, "-P", "-m", "fairway.daemon", "--state", str(state.root)]
        for field in fields(self):
            if field.name != "prometheus" and (value := getattr(self, field.name)):
                argv += [f"--{field.name.replace('_', '-')}", str(value)]
        return [*argv, "--foreground"] if foreground else argv

    def check_is(self, running: Addresses) -> None:
        """Whoever asks for a cluster must not be told that something else already runs."""
        asked, found = (self.kubeconfig, self.context), (running.kubeconfig, running.context)
        if asked != found:
            other = f"delivers to the cluster of {running.kubeconfig} {running.context}" if found[0] else "embeds its cluster"
            raise CommandError(f"the platform over this state folder already runs and {other.strip()}",
                               mend="stop it first: fairway down; or keep both: fairway --state OTHER up ...")
        if self.prometheus and _without_login(self.prometheus) != running.prometheus:
            other = f"the Prometheus at {running.prometheus}" if running.prometheus else "its own metrics"
            raise CommandError(f"the platform already runs and asks {other}", mend="stop it first: fairway down")


def _without_login(url: str) -> str:
    from fairway.metrics.querier import without_login  # numpy comes with it: not for every command

    return without_login(url)


def start_platform(state: StateDir, wanted: Wanted = Wanted(), *,
                   tick: Callable[[float], None] | None = None) -> Addresses:
    """Start the daemon and wait until its API answers; the running one where there is one.

    Where somebody else starts one at the same moment, theirs is as good; where one is about to end, it is waited for.
    `tick` is called with the seconds passed, for progress. `CommandError` says what the daemon said.
    """
    running = Addresses.read(state)
    if running is not None:
        wanted.check_is(running)
        return running
    state.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    state.logs.mkdir(exist_ok=True)
    said = state.logs / "daemon.out"
    argv = wanted.command(state)
    process = _spawn(argv, said, wanted)
    start = time.monotonic()
    while (passed := time.monotonic() - start) < START_LIMIT_S:
        addresses = Addresses.read(state)
        if addresses is not None and _ready(state):
            wanted.check_is(addresses)
            if addresses.pid != process.pid:
                process.terminate()
                process.wait()
            return addresses
        if process.poll() == ALREADY_RUNS:
            process = _spawn(argv, said, wanted)
        elif process.poll() is not None:
            raise _failed(said, state)
        if tick is not None:
            tick(passed)
        time.sleep(_LOOK_EVERY_S)
    process.terminate()
    raise CommandError(f"the platform was not ready after {START_LIMIT_S:.0f} s and was stopped again",
                       mend=f"see what it was doing: {state.logs / 'daemon.log'}")


def _spawn(argv: Sequence[str], said: Path, wanted: Wanted) -> subprocess.Popen[bytes]:
    with said.open("wb") as output:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=said.parent,
                                start_new_session=True, env=wanted.environment())


def _ready(state: StateDir) -> bool:
    try:
        client = Client.of(state)
        answer = client.raw("GET", "/readyz")
        client.close()
    except CommandError:
        return False
    return str(answer).strip() == "ok"


def _failed(said: Path, state: StateDir) -> CommandError:
    """The daemon's last words; a traceback is cut to its last line, for the whole stands in the log."""
    lines = [line for line in said.read_text(errors="replace").splitlines() if line.strip()]
    if not lines:
        return CommandError("the platform ended before it was ready", mend=f"see {state.logs / 'daemon.log'}")
    traceback = any(line.startswith("Traceback") for line in lines)
    words, mend = (lines[-1], f"the whole of it: {said}") if traceback else (lines[0], "\n  ".join(lines[1:]))
    words, _, advice = words.partition("; ") if not mend else (words, "", "")
    return CommandError(words.strip(), mend=mend or advice)


def stop_platform(state: StateDir, *, tick: Callable[[float], None] | None = None) -> list[Leftover]:
    """Stop the daemon, its pods and its data plane; what of it still runs afterwards, normally nothing.

    `NoPlatform` where none runs.
    """
    addresses = Addresses.read(state)
    if addresses is None:
        raise NoPlatform(f"no platform is running in {state.root}", mend=_orphans_mend(state))
    marker = state.root / "shutdown.json"
    marker.write_text(json.dumps({"workloads": True}))
    with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
        os.kill(addresses.pid, signal.SIGTERM)
    start = time.monotonic()
    while is_alive(addresses.pid) and (passed := time.monotonic() - start) < STOP_LIMIT_S:
        if tick is not None:
            tick(passed)
        time.sleep(_LOOK_EVERY_S)
    if not is_alive(addresses.pid):
        marker.unlink(missing_ok=True)
    return leftovers(state)


def _orphans_mend(state: StateDir) -> str:
    left = leftovers(state)
    if not left:
        return "nothing is left to stop"
    pids = ", ".join(str(process.pid) for process in left)
    return (f"{len(left)} processes of an earlier one still serve (pid {pids}); fairway up adopts them, and fairway down "
            "then stops them")


def leftovers(state: StateDir) -> list[Leftover]:
    """Processes of the platform over this folder: the daemon, and whoever has pods, jobs or the data plane on its command
    line. Not the commands of people who look at it (`tail -f`, another `fairway`)."""
    ours = _ancestors()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        try:
            argv = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if pid not in ours and _belongs(argv, state) and is_alive(pid):
            found.append(Leftover(pid, b" ".join(argv).decode(errors="replace").strip()))
    return sorted(found, key=lambda process: process.pid)


def _belongs(argv: Sequence[bytes], state: StateDir) -> bool:
    if b"fairway.daemon" in argv:
        return os.fsencode(state.root) in argv
    folders = [os.fsencode(folder) + b"/" for folder in (state.pods, state.envoy, state.ci)]
    return any(folder in argument for argument in argv for folder in folders)


def _ancestors() -> set[int]:
    found, pid = set(), os.getpid()
    while pid > 1 and pid not in found:
        found.add(pid)
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            break
        pid = int(stat.rpartition(")")[2].split()[1])
    return found
