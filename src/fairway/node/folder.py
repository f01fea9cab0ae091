"""A pod's folder: where everything of it lies, and what its shim has written there.

    pod.json      {"namespace", "name", "uid", "address"}: whose folder it is
    shim.pid      the shim that holds it
    state/C.N     attempt N of container C (`shim.py` has the format)
    logs/C/N.log  its output, in CRI lines
    root/ home/ volumes/
    roots/C       how container C comes into a root of its own (`enter.py`); absent where it has none
    own/C/        the layers of that root
    last-words/   what containers said about their ends
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from fairway.node.attempt import Attempt

KEPT_ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class PodFolder:
    path: Path

    @property
    def root(self) -> Path:
        return self.path / "root"

    @property
    def home(self) -> Path:
        return self.path / "home"

    @property
    def volumes(self) -> Path:
        return self.path / "volumes"

    @property
    def halted(self) -> Path:
        """Present: the pod was stopped by `stop_all`, not by itself."""
        return self.path / "halted"

    def plan(self, container: str) -> Path:
        return self.path / "roots" / container

    def own(self, container: str) -> Path:
        return self.path / "own" / container

    def last_words(self, container: str, attempt: int) -> Path:
        """The folder in which the file lies by which an attempt may say why it ends."""
        return self.path / "last-words" / container / str(attempt)

    def log(self, container: str, attempt: int) -> Path:
        return self.path / "logs" / container / f"{attempt}.log"

    def create(self, namespace: str, name: str, uid: str, address: str) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for part in ("state", "logs", "root/tmp", "home", "volumes"):
            (self.path / part).mkdir(parents=True, exist_ok=True)
        about = {"namespace": namespace, "name": name, "uid": uid, "address": address}
        write_atomic(self.path / "pod.json", json.dumps(about))

    def about(self) -> dict[str, str] | None:
        """None where the folder is not a pod's, or was not finished."""
        try:
            found: dict[str, str] = json.loads((self.path / "pod.json").read_text())
        except (OSError, ValueError):
            return None
        return found

    def shim(self) -> tuple[int, str] | None:
        """(pid, start time) of the shim, if it lives."""
        fields = read_fields(self.path / "shim.pid")
        if "pid" not in fields:
            return None
        pid, start = int(fields["pid"]), fields.get("start", "0")
        return (pid, start) if lives(pid, start) else None

    def attempts(self) -> dict[str, list[Attempt]]:
        """By container, newest first."""
        found: dict[str, list[Attempt]] = {}
        for path in sorted((self.path / "state").glob("*.*")) if (self.path / "state").is_dir() else ():
            name, _, number = path.name.rpartition(".")
            if number.isdigit() and (attempt := _attempt(path, int(number))) is not None:
                found.setdefault(name, []).append(attempt)
        for attempts in found.values():
            attempts.sort(key=lambda one: -one.number)
        return found

    def record_end(self, container: str, attempt: Attempt) -> None:
        """Write down an end that no shim saw."""
        assert attempt.finished is not None and attempt.code is not None
        lines = [f"pid {attempt.pid}", f"start {attempt.start}", f"started {_ns(attempt.started)}",
                 f"code {attempt.code}", f"signal {attempt.signal}", f"finished {_ns(attempt.finished)}",
                 f"reason {attempt.reason}", f"message {' '.join(attempt.message.split())}"]
        write_atomic(self.path / "state" / f"{container}.{attempt.number}", "\n".join(lines) + "\n")

    def forget_attempt(self, container: str, number: int) -> None:
        (self.path / "state" / f"{container}.{number}").unlink(missing_ok=True)

    def forget_old_attempts(self, container: str, newest: int) -> None:
        for path in (self.path / "state").glob(f"{container}.*"):
            number = path.name.rpartition(".")[2]
            if number.isdigit() and int(number) <= newest - KEPT_ATTEMPTS:
                path.unlink(missing_ok=True)
                self.log(container, int(number)).unlink(missing_ok=True)
                self.log(container, int(number)).with_suffix(".log.1").unlink(missing_ok=True)
                shutil.rmtree(self.last_words(container, int(number)), ignore_errors=True)

    def remove(self) -> None:
        """An overlay leaves a folder that nobody may read, in the place where it worked."""
        for closed in self.path.glob("own/*/*/work/work"):
            with contextlib.suppress(OSError):
                closed.chmod(0o700)
        shutil.rmtree(self.path, ignore_errors=True)


def _attempt(path: Path, number: int) -> Attempt | None:
    fields = read_fields(path)
    if "pid" not in fields:
        return None
    one = Attempt(number, int(fields["pid"]), fields.get("start", "0"), _moment(fields["started"]))
    if "code" in fields:
        return replace(one, finished=_moment(fields["finished"]), code=int(fields["code"]),
                       signal=int(fields.get("signal", 0)), reason=fields.get("reason", ""),
                       message=fields.get("message", ""))
    return one


def _moment(ns: str) -> datetime:
    return datetime.fromtimestamp(int(ns) / 1e9, UTC)


def _ns(moment: datetime) -> int:
    return int(moment.timestamp() * 1e9)


def read_fields(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    return dict(line.partition(" ")[::2] for line in lines)


def write_atomic(path: Path, text: str) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text)
    fresh.replace(path)


# --- processes ----------------------------------------------------------------------------------------------------


def start_time(pid: int) -> str | None:
    """Field 22 of /proc/PID/stat; None where the process is gone or only waits to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
        with contextlib.suppress(OSError):
            os.kill(pid, 0)
            return "0"
        return None
    fields = stat.rpartition(b") ")[2].split()
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()


def lives(pid: int, start: str) -> bool:
    return start_time(pid) == start


def kill_group(pid: int, start: str) -> None:
    """SIGKILL to the session of a container, only while its pid still means it."""
    if lives(pid, start):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
