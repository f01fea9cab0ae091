"""What happened while the demo ran: every event of the kinds that tell the story, with the time it was seen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from fairway.cli.client import Client
from fairway.cli.errors import CommandError
from fairway.kube.errors import ApiError
from fairway.kube.objects import Obj, uid_of
from fairway.kube.resources import (
    ANALYSIS_RUNS,
    APPLICATIONS,
    INGRESSES,
    PIPELINE_RUNS,
    PODS,
    RELEASES,
    ROLLOUTS,
    Resource,
)
from fairway.state import StateDir

WATCHED = (PIPELINE_RUNS, APPLICATIONS, ROLLOUTS, ANALYSIS_RUNS, RELEASES, INGRESSES, PODS)


@dataclass(frozen=True, slots=True)
class Seen:
    at: float
    deleted: bool
    obj: Obj

    @property
    def kind(self) -> str:
        return str(self.obj["kind"])


class Recorder:
    """One watching thread a kind; `events` only grows. Threads end with the process."""

    def __init__(self, state: StateDir) -> None:
        self._state = state
        self._changed = threading.Condition()
        self._latest: dict[str, Obj] = {}
        self.events: list[Seen] = []

    def start(self) -> None:
        for resource in WATCHED:
            threading.Thread(target=self._watch, args=(resource,), name=f"watch {resource}", daemon=True).start()

    def objects(self, resource: Resource) -> list[Obj]:
        """The objects of this kind that exist now, as last seen."""
        with self._changed:
            return [obj for obj in self._latest.values() if obj["kind"] == resource.kind]

    def wait(self, ready: Callable[[], bool], *, until: float, tick: Callable[[], None]) -> bool:
        """Whether `ready` came true before the time `until`. `tick` is called a few times a second for progress."""
        while not ready():
            if time.time() > until:
                return False
            with self._changed:
                self._changed.wait(timeout=0.2)
            tick()
        return True

    def _watch(self, resource: Resource) -> None:
        while True:
            try:
                for kind, obj in Client.of(self._state).watch(resource):
                    self._note(kind == "DELETED", {"apiVersion": resource.api_version, "kind": resource.kind, **obj})
            except (ApiError, CommandError):
                time.sleep(0.2)  # the platform is starting, stopping, or was killed: ask again

    def _note(self, deleted: bool, obj: Obj) -> None:
        with self._changed:
            old = self._latest.get(uid_of(obj))
            if not deleted and old is not None and old["metadata"] == obj["metadata"] and old == obj:
                return
            if deleted:
                self._latest.pop(uid_of(obj), None)
            else:
                self._latest[uid_of(obj)] = obj
            self.events.append(Seen(time.time(), deleted, obj))
            self._changed.notify_all()
