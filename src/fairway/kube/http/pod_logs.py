"""The port through which the server reads what containers wrote."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from fairway.kube.errors import BadRequest
from fairway.kube.objects import Obj, dig, meta_of, status_of


class PodLogs(Protocol):
    def read(
        self,
        namespace: str,
        name: str,
        *,
        container: str,
        follow: bool,
        previous: bool,
        tail_lines: int | None,
        since_s: float | None,
        limit_bytes: int | None,
        timestamps: bool,
    ) -> AsyncIterator[bytes]:
        """Chunks of whole lines. With `follow` it ends when the container has ended and everything was read.

        Raises `ApiError` where the logs cannot be read, such as `BadRequest` for a container that never ran.
        """
        ...


def container_of(pod: Obj, asked: str) -> str:
    """The container whose logs are meant; `BadRequest` in the words kubectl shows where that is not clear."""
    name = meta_of(pod).get("name", "")
    names = {kind: [row["name"] for row in dig(pod, "spec", kind, default=[])]
             for kind in ("containers", "initContainers", "ephemeralContainers")}
    main = names["containers"]
    if asked:
        if any(asked in found for found in names.values()):
            return asked
        raise BadRequest(f"container {asked} is not valid for pod {name}")
    if len(main) == 1:
        return str(main[0])
    words = f"a container name must be specified for pod {name}, choose one of: [{' '.join(main)}]"
    if names["initContainers"]:
        words += f" or one of the init containers: [{' '.join(names['initContainers'])}]"
    raise BadRequest(words)


def check_started(pod: Obj, container: str, *, previous: bool) -> None:
    """`BadRequest` while there cannot be a log yet."""
    name = meta_of(pod).get("name", "")
    for kind in ("containerStatuses", "initContainerStatuses"):
        for row in status_of(pod).get(kind) or ():
            if row.get("name") != container:
                continue
            if previous and not row.get("lastState"):
                raise BadRequest(f'previous terminated container "{container}" in pod "{name}" not found')
            why = dig(row, "state", "waiting", "reason", default="")
            if "waiting" in (row.get("state") or {}) and not row.get("lastState"):
                raise BadRequest(f'container "{container}" in pod "{name}" is waiting to start: {why or "unknown"}')
            return
