"""From an Application's source to objects: which repository, which commit, what it renders to. Hands, with memory.

Commits are immutable: what one renders to is kept. A repository on this machine is asked in every pass; one behind a
network is asked when its time has come, or when somebody says that it has changed.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from fairway.git import GitPort
from fairway.gitops.settings import Settings
from fairway.gitops.spec import Source
from fairway.kube.objects import Key, Obj
from fairway.manifests import render

T = TypeVar("T")

_RENDERS = 128  # commits and paths kept rendered: a few hundred objects each


class RepositoryPort(Protocol):
    """Declared here, filled by the platform: which repository a URL means."""

    def of(self, repo_url: str) -> GitPort:
        """The port to the repository, embedded where a Repository object claims the URL; `UnknownRepository` else."""
        ...


@dataclass(frozen=True, slots=True)
class _Seen:
    source: Source
    sha: str
    look_at: datetime


class Sources:
    def __init__(self, repositories: RepositoryPort, settings: Settings) -> None:
        self._repositories = repositories
        self._settings = settings
        self._random = random.Random(settings.seed)
        self._seen: dict[Key, _Seen] = {}
        self._rendered: OrderedDict[tuple[str, str, str], list[Obj]] = OrderedDict()

    def port(self, source: Source) -> GitPort:
        return self._repositories.of(source.repo_url)

    async def call(self, port: GitPort, work: Callable[[], T]) -> T:
        """Run `work` where it may take its time."""
        return await asyncio.to_thread(work) if port.remote else work()

    async def resolve(self, key: Key, source: Source, now: datetime, *, force: bool) -> tuple[str, datetime | None]:
        """The commit that the source means now, and when to look again by polling (None: every pass looks)."""
        port = self.port(source)
        if not port.remote:
            return port.resolve(source.target_revision), None
        seen = self._seen.get(key)
        if seen is None or force or seen.source != source or now >= seen.look_at:
            sha = await self.call(port, lambda: port.resolve(source.target_revision))
            jitter = timedelta(seconds=self._random.uniform(0, self._settings.jitter.total_seconds()))
            seen = self._seen[key] = _Seen(source, sha, now + self._settings.poll + jitter)
        return seen.sha, seen.look_at

    def forget(self, key: Key) -> None:
        """Look again in the next pass."""
        self._seen.pop(key, None)

    async def objects(self, source: Source, sha: str) -> list[Obj]:
        """What the commit describes; shared, not to be changed. `ManifestError`, `GitError`."""
        address = (source.repo_url, sha, source.path)
        if address not in self._rendered:
            port = self.port(source)
            self._rendered[address] = await self.call(port, lambda: render(port.read_tree(sha), source.path))
            while len(self._rendered) > _RENDERS:
                self._rendered.popitem(last=False)
        self._rendered.move_to_end(address)
        return self._rendered[address]
