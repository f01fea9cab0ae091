"""From an Application's sources to objects: which repository, which commit, what it renders to. Hands, with memory.

Commits are immutable: what one renders to is kept. A commit that touches nothing of what the last rendering read renders to
the very same objects, so that one of a thousand Applications is rendered when one is changed. A repository on this machine
is asked in every pass; one behind a network when its time has come, or when somebody says that it has changed.

A revision of an Application with several sources is the commits of all of them, joined by commas. What a revision renders to
may change all the same: a version of a chart is published again, or a base in another repository moves. Both are looked at
when the sources are, and rendered again where something that was read has changed; `moved_without_us` says so.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from fairway.git import GitPort, Tree, UnknownRevision
from fairway.git.local import GitTree
from fairway.gitops import semver
from fairway.gitops.compare import with_same
from fairway.gitops.rendering import Ask, Renderer, render_source, source_type, takes_time
from fairway.gitops.settings import Settings
from fairway.gitops.spec import Application, Source
from fairway.kube.objects import Key, Obj
from fairway.manifests import FileTree, ManifestError, Place, RecordingTree, RemoteAddress

T = TypeVar("T")

_RENDERS = 2048  # sources kept rendered: as many as Applications of one platform, a few kilobytes each
_ASKED_JUST_NOW = timedelta(seconds=5)
_BASES = 64  # commits of other repositories that one kustomization may build on
_CHANGES = 256  # pairs of commits whose changed files are kept


class ChartPort(GitPort, Protocol):
    def exact(self, version: str) -> str:
        """Which package the version was when it was last resolved; `read_tree` and `changed_paths` take that, too."""
        ...


class RepositoryPort(Protocol):
    """Declared here, filled by the platform: which repository a URL means."""

    def of(self, repo_url: str) -> GitPort:
        """The port to the repository, embedded where a Repository object claims the URL; `UnknownRepository` else."""
        ...

    def chart(self, repo_url: str, chart: str, *, pass_credentials: bool = False) -> ChartPort:
        """The port to a chart in a Helm repository: its versions are the revisions."""
        ...


@dataclass(frozen=True, slots=True)
class _Seen:
    sources: tuple[Source, ...]
    revision: str
    look_at: datetime


Base = tuple[str, str]
"""A repository that a kustomization builds on, and the ref that it names."""


@dataclass(frozen=True, slots=True)
class _Rendered:
    """`commits` with the exact package for a version of a chart; `bases` with the commit that each was; `note` says what has
    changed though the revision has not."""

    commits: tuple[str, ...]
    objects: list[Obj]
    trees: tuple[RecordingTree, ...]
    roots: tuple[Tree, ...]
    bases: Mapping[Base, tuple[str, RecordingTree]]
    kind: str = "Directory"
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Poll:
    """An answer of a remote repository; `moves`: how many changes of it had been told of when it was asked."""

    at: datetime
    sha: str
    moves: int


class _MissingBase(Exception):
    def __init__(self, address: RemoteAddress) -> None:
        super().__init__(address.text)
        self.address = address


class _Bases:
    """The bases of a kustomization that lie in other repositories; those that are here already."""

    def __init__(self) -> None:
        self.known: dict[Base, tuple[str, RecordingTree]] = {}

    def tree(self, address: RemoteAddress) -> FileTree:
        found = self.known.get((address.repo, address.ref))
        if found is None:
            raise _MissingBase(address)
        return found[1]


def nothing_else(app: Application, repo_url: str) -> bool:
    return False


def split(revision: str) -> list[str]:
    return revision.split(",")


class Sources:
    def __init__(self, repositories: RepositoryPort, settings: Settings, renderer: Renderer = render_source,
                 permits: Callable[[Application, str], bool] = nothing_else) -> None:
        """`permits`: whether an Application's kustomization may build on a base in this other repository."""
        self._repositories = repositories
        self._permits = permits
        self._settings = settings
        self._renderer = renderer
        self._random = random.Random(settings.seed)
        self._seen: dict[Key, _Seen] = {}
        self._rendered: OrderedDict[str, OrderedDict[tuple[str, ...], _Rendered]] = OrderedDict()
        self._joined: dict[Key, tuple[list[list[Obj]], list[Obj]]] = {}
        self._changes: OrderedDict[tuple[str, str, str], frozenset[str]] = OrderedDict()
        self._turns: dict[str, asyncio.Lock] = {}
        self._built_on: dict[Key, dict[int, frozenset[Base]]] = {}  # by the place of the source that does
        self._base_now: dict[Base, str] = {}
        self._polls: dict[tuple[int, str], _Poll] = {}  # by port: another login is another port
        self._moves: dict[str, int] = {}
        self.renders = 0
        """How often something was rendered, for the benchmarks."""

    def port(self, source: Source) -> GitPort:
        return self._chart(source) if source.chart else self._repositories.of(source.repo_url)

    def _chart(self, source: Source) -> ChartPort:
        passed = bool((source.said.get("helm") or {}).get("passCredentials"))
        return self._repositories.chart(source.repo_url, source.chart, pass_credentials=passed)

    def _fetched(self, repo_url: str, chart: str, version: str) -> Tree:
        """A dependency of a chart."""
        port = self._repositories.chart(repo_url, chart)
        return port.read_tree(resolve_revision(port, version))

    async def call(self, port: GitPort, work: Callable[[], T]) -> T:
        """Run `work` where it may take its time; one after the other for each remote repository."""
        if not port.remote:
            return work()
        async with self._turns.setdefault(port.url, asyncio.Lock()):
            return await asyncio.to_thread(work)

    async def resolve(self, key: Key, sources: tuple[Source, ...], now: datetime, *,
                      force: bool) -> tuple[str, datetime | None]:
        """The commits that the sources mean now, and when to look again by polling (None: every pass looks)."""
        ports = [self.port(source) for source in sources]
        bases = [(base, self._repositories.of(base[0])) for base in sorted(self._bases_of(key))]
        if not any(port.remote for port in (*ports, *(port for _, port in bases))):
            for base, port in bases:
                self._base_now[base] = resolve_revision(port, base[1] or "HEAD")
            return ",".join([resolve_revision(p, s.target_revision) for p, s in zip(ports, sources, strict=True)]), None
        seen = self._seen.get(key)
        if seen is None or force or seen.sources != sources or now >= seen.look_at:
            found = [await self._polled(port, source.target_revision, now, force=force)
                     for port, source in zip(ports, sources, strict=True)]
            for base, port in bases:
                self._base_now[base] = await self._polled(port, base[1] or "HEAD", now, force=force)
            jitter = timedelta(seconds=self._random.uniform(0, self._settings.jitter.total_seconds()))
            seen = self._seen[key] = _Seen(sources, ",".join(found), now + self._settings.poll + jitter)
        return seen.revision, seen.look_at

    async def revision_of(self, port: GitPort, text: str) -> str:
        return await self.call(port, lambda: resolve_revision(port, text))

    async def _polled(self, port: GitPort, text: str, now: datetime, *, force: bool) -> str:
        """The commit that is meant. A thousand Applications that follow one branch ask for it once, not a thousand times."""
        said = self._moves.get(port.url, 0)

        def fresh() -> str | None:
            known = self._polls.get((id(port), text))
            good = known is not None and known.moves == said and now - known.at < _ASKED_JUST_NOW and not force
            return known.sha if known is not None and good else None

        def ask() -> str:
            known = fresh()  # somebody else's answer, which came while this waited for its turn
            if known is None:
                known = resolve_revision(port, text)
                self._polls[id(port), text] = _Poll(now, known, said)
            return known

        known = fresh()
        return known if known is not None else await self.call(port, ask)

    def built_on(self, key: Key) -> frozenset[str]:
        """The other repositories that the Application's kustomizations build on."""
        return frozenset(repo for repo, _ in self._bases_of(key))

    def _bases_of(self, key: Key) -> set[Base]:
        return {base for bases in self._built_on.get(key, {}).values() for base in bases}

    def moved_without_us(self, app: Application, *, synced: bool) -> list[str]:
        """What changed since the last sync though the revision is the same one; what is synced has nothing to be told."""
        found = []
        for n, source in enumerate(app.sources):
            kept = self._rendered.get(_address(app, n)) if not source.describes_nothing else None
            newest = next(reversed(kept), None) if kept else None
            if kept and newest is not None and kept[newest].note:
                found.append(kept[newest].note)
                if synced:
                    kept[newest] = replace(kept[newest], note="")
        return [] if synced else found

    def moved(self, url: str) -> None:
        """Somebody says that this repository has changed: what was asked before that counts no longer."""
        self._moves[url] = self._moves.get(url, 0) + 1

    def forget(self, key: Key) -> None:
        """Look again in the next pass."""
        self._seen.pop(key, None)
        self._joined.pop(key, None)

    async def objects(self, app: Application, revision: str) -> list[Obj]:
        """What the commits describe; shared, not to be changed. `ManifestError`, `GitError`.

        The very same list as long as nothing that was read for it changes.
        """
        commits = split(revision)
        if len(commits) != len(app.sources):
            raise UnknownRevision(f"{len(commits)} revisions for {len(app.sources)} sources; sync again")
        found = [await self._one(app, n, commits) for n, source in enumerate(app.sources) if not source.describes_nothing]
        if len(found) == 1:
            return found[0]
        key = Key(app.namespace, app.name)
        known = self._joined.get(key)
        if known is None or len(known[0]) != len(found) or any(a is not b for a, b in zip(known[0], found, strict=True)):
            known = self._joined[key] = (found, [obj for objects in found for obj in objects])
        return known[1]

    async def _one(self, app: Application, n: int, commits: Sequence[str]) -> list[Obj]:
        lent = _lent(app, n)
        needed = tuple([await self._exact(app.sources[m], commits[m]) for m in (n, *lent)])
        address = _address(app, n)
        kept = self._rendered.setdefault(address, OrderedDict())
        self._rendered.move_to_end(address)
        if needed in kept and self._stand(kept[needed]):
            return kept[needed].objects
        for old in reversed(kept.values()):
            if await self._same(app, (n, *lent), old, needed):
                made = replace(old, commits=needed, bases=self._bases_now(old), note="" if needed != old.commits else old.note)
                break
        else:
            last = next(reversed(kept.values()), None)
            made = await self._render(app, (n, *lent), needed)
            made = replace(made, note=_note(app.sources[n], last, made),
                           objects=with_same(made.objects, last.objects if last is not None else ()))
        kept.pop(needed, None)
        kept[needed] = made
        while len(kept) > 2:  # the live one, and the running operation's
            kept.popitem(last=False)
        while len(self._rendered) > _RENDERS:
            self._rendered.popitem(last=False)
        return kept[needed].objects

    def kind_of(self, app: Application) -> str:
        """Helm, Kustomize or Directory: how the main source was rendered last."""
        kept = self._rendered.get(_address(app, app.sources.index(app.source)))
        return next(reversed(kept.values())).kind if kept else "Directory"

    async def _render(self, app: Application, places: Sequence[int], commits: tuple[str, ...]) -> _Rendered:
        source = app.sources[places[0]]
        port = self.port(source)
        roots = tuple([await self._tree(app.sources[m], sha) for m, sha in zip(places, commits, strict=True)])
        trees = tuple(map(RecordingTree, roots))
        refs = {app.sources[m].ref: tree for m, tree in zip(places[1:], trees[1:], strict=True)}
        bases = _Bases()
        ask = Ask(source, trees[0], app.name, app.destination_namespace, refs, self._fetched, bases)
        self.renders += 1
        elsewhere = port.remote or takes_time(ask)
        while True:
            try:
                found = await asyncio.to_thread(self._renderer, ask) if elsewhere else self._renderer(ask)
                break
            except _MissingBase as missing:
                await self._fetch_base(app, missing.address, bases)
        key = Key(app.namespace, app.name)
        if bases.known or key in self._built_on:
            self._built_on.setdefault(key, {})[places[0]] = frozenset(bases.known)
        return _Rendered(commits, found, trees, roots, bases.known, source_type(ask))

    async def _exact(self, source: Source, commit: str) -> str:
        """A version of a chart may be published again; a commit is a commit."""
        if not source.chart:
            return commit
        port = self._chart(source)
        exact = port.exact(commit)
        if exact == commit:  # not looked at yet, as after a restart in the middle of an operation
            with suppress(UnknownRevision):
                await self.call(port, lambda: port.resolve(commit))
            exact = port.exact(commit)
        return exact

    def _stand(self, rendered: _Rendered) -> bool:
        """Whether the bases are where they were."""
        return all(self._base_now.get(base, sha) == sha for base, (sha, _) in rendered.bases.items())

    def _bases_now(self, rendered: _Rendered) -> Mapping[Base, tuple[str, RecordingTree]]:
        return {base: (self._base_now.get(base, sha), tree) for base, (sha, tree) in rendered.bases.items()}

    async def _fetch_base(self, app: Application, address: RemoteAddress, bases: _Bases) -> None:
        if not self._permits(app, address.repo):
            raise ManifestError(Place(address.text), f"project {app.project!r} does not permit the repository {address.repo}",
                                "add it to the project's sourceRepos, or copy the base in")
        if len(bases.known) >= _BASES:
            raise ManifestError(Place(address.text), f"more than {_BASES} bases in other repositories", "copy some in")
        port = self._repositories.of(address.repo)

        def fetch() -> tuple[str, RecordingTree]:
            sha = resolve_revision(port, address.ref or "HEAD")
            return sha, RecordingTree(port.read_tree(sha))

        base = address.repo, address.ref
        bases.known[base] = await self.call(port, fetch)
        self._base_now[base] = bases.known[base][0]

    async def _tree(self, source: Source, sha: str) -> Tree:
        port = self.port(source)
        return await self.call(port, lambda: port.read_tree(sha))

    async def _same(self, app: Application, places: Sequence[int], old: _Rendered, commits: tuple[str, ...]) -> bool:
        try:
            return await self._unchanged(app, places, old, commits)
        except UnknownRevision:  # what was read then is no longer to be had: it cannot be compared
            return False

    async def _unchanged(self, app: Application, places: Sequence[int], old: _Rendered, commits: tuple[str, ...]) -> bool:
        for m, before, after, tree, root in zip(places, old.commits, commits, old.trees, old.roots, strict=True):
            if before == after:
                continue
            changed = await self._changed(self.port(app.sources[m]), app.sources[m].repo_url, before, after)
            if tree.concerned(root.also_known_as(changed) if isinstance(root, GitTree) else changed):
                return False
        for base, (before, tree) in old.bases.items():
            after = self._base_now.get(base, before)
            if after != before:
                changed = await self._changed(self._repositories.of(base[0]), base[0], before, after)
                if tree.concerned(changed):
                    return False
        return True

    async def _changed(self, port: GitPort, repo_url: str, before: str, after: str) -> frozenset[str]:
        address = (repo_url, before, after)
        if address not in self._changes:
            self._changes[address] = await self.call(port, lambda: port.changed_paths(before, after))
            while len(self._changes) > _CHANGES:
                self._changes.popitem(last=False)
        return self._changes[address]


def _note(source: Source, last: _Rendered | None, made: _Rendered) -> str:
    """What has changed between two renderings of one revision; "" where the revision has."""
    if last is None or [one.partition("@")[0] for one in last.commits] != [one.partition("@")[0] for one in made.commits]:
        return ""
    said = [f"{source.chart or source.repo_url} {before.partition('@')[0]} was published again: {_digest(before)} is now "
            f"{_digest(after)}" for before, after in zip(last.commits, made.commits, strict=True) if before != after]
    for (repo, ref), (sha, _) in made.bases.items():
        before = last.bases.get((repo, ref))
        if before is not None and before[0] != sha:
            said.append(f"{repo} {ref or 'HEAD'} moved from {before[0][:7]} to {sha[:7]}")
    return "; ".join(said)


def _digest(exact: str) -> str:
    return exact.partition("@")[2].removeprefix("sha256:")[:12]


def _lent(app: Application, n: int) -> list[int]:
    """The sources whose files this one uses, as `$ref/…`."""
    said = str(app.sources[n].said)
    return [m for m, other in enumerate(app.sources) if other.ref and m != n and f"${other.ref}/" in said]


def _address(app: Application, n: int) -> str:
    """What a rendering depends on, besides commits."""
    return json.dumps([app.sources[n].as_object(), [app.sources[m].as_object() for m in _lent(app, n)], app.name,
                       app.destination_namespace, app.project], sort_keys=True)


def resolve_revision(port: GitPort, text: str) -> str:
    """A branch, tag or commit of that name; else the highest tag that fits the version constraint."""
    try:
        return port.resolve(text)
    except UnknownRevision as unknown:
        if not semver.is_constraint(text):
            raise
        tags = [ref.removeprefix("refs/tags/") for ref in port.refs() if ref.startswith("refs/tags/")]
        tag = semver.best(text, tags)
        if tag is None:
            raise UnknownRevision(f"{port.url}: no tag fits the version constraint {text!r}; push one, or correct it") from (
                unknown)
        return port.resolve(f"refs/tags/{tag}")
