"""The port through which the server runs commands in containers, and listens to what a container says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from fairway.kube.errors import BadRequest
from fairway.kube.objects import Obj, meta_of, status_of

Output = Literal["stdout", "stderr"]
_STATUSES = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")


class ExecSession(Protocol):
    """One command that runs, or one container that is listened to."""

    async def read(self) -> tuple[Output, bytes] | None:
        """The next output, of either stream; None when both have ended. With a terminal everything is stdout."""
        ...

    async def write(self, data: bytes) -> None:
        """Give input; returns when there is room for more. Input that nobody reads any more is dropped."""
        ...

    async def close_input(self) -> None:
        """The input has ended."""
        ...

    def resize(self, columns: int, rows: int) -> None:
        """The terminal's new size; nothing where there is no terminal."""
        ...

    async def wait(self) -> int:
        """The exit code, 128 + signal for a command that was killed."""
        ...

    async def close(self) -> None:
        """Leave. A command that still runs is killed; a container is not."""
        ...


class PodExec(Protocol):
    """Both raise `ApiError` where there is no such container, or where it does not run."""

    async def exec(self, namespace: str, name: str, *, container: str, command: Sequence[str], stdin: bool,
                   tty: bool) -> ExecSession: ...

    async def attach(self, namespace: str, name: str, *, container: str) -> ExecSession:
        """What the container writes from now on. Input is dropped where it has none; `wait` answers 0 when it has ended."""
        ...


def check_running(pod: Obj, container: str) -> None:
    """`BadRequest` where nothing can run in the container now."""
    name, phase = meta_of(pod).get("name", ""), status_of(pod).get("phase")
    if phase in ("Succeeded", "Failed"):
        raise BadRequest(f"cannot exec in a completed pod; the phase of {name} is {phase}")
    rows = [row for kind in _STATUSES for row in status_of(pod).get(kind) or ()]
    state = next((row.get("state") or {} for row in rows if row.get("name") == container), {})
    if "running" not in state:
        raise BadRequest(f'container "{container}" in pod "{name}" does not run now: {_why(state)}')


def _why(state: Obj) -> str:
    kind = next(iter(state), "")
    return str((state.get(kind) or {}).get("reason") or kind or "it was not started yet")
