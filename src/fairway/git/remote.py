"""A repository at a URL: fetched into a bare cache on this disk, committed to by pushing back."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pygit2

from fairway.git.local import GitTree, LocalRepository
from fairway.git.port import Change, Commit, GitError, LostRace, ReadOnly, UnknownRevision, Unreachable, without_credentials

T = TypeVar("T")
_SHA = re.compile(r"^[0-9a-f]{40}$")
_USERNAME, _SSH_KEY = pygit2.enums.CredentialType.USERNAME, pygit2.enums.CredentialType.SSH_KEY
_MIRROR = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]


@dataclass(frozen=True, slots=True)
class Login:
    """How we show who we are. `insecure`: whoever answers is believed to be the server."""

    user: str = "git"
    password: str = field(default="", repr=False)
    ssh_key: str = field(default="", repr=False)
    insecure: bool = False

    @property
    def proves_something(self) -> bool:
        return bool(self.password or self.ssh_key)


class _Callbacks(pygit2.RemoteCallbacks):
    """Answers for credentials once, and remembers what the other side said about each pushed ref."""

    def __init__(self, login: Login) -> None:
        super().__init__()
        self._login = login
        self._asked = False
        self.rejected: list[str] = []

    def credentials(self, url: str, username_from_url: str | None,
                    allowed_types: int) -> pygit2.UserPass | pygit2.Username | pygit2.KeypairFromMemory:
        user = username_from_url or self._login.user
        if allowed_types & _USERNAME:  # ssh asks for it by itself first
            return pygit2.Username(user)
        if allowed_types & _SSH_KEY and self._login.ssh_key and not self._asked:
            self._asked = True
            return pygit2.KeypairFromMemory(user, "", self._login.ssh_key, "")
        if self._asked or not self._login.password:
            raise pygit2.GitError("the remote asks for a user and password, and those given are missing or refused")
        self._asked = True
        return pygit2.UserPass(user, self._login.password)

    def certificate_check(self, certificate: None, valid: bool, host: bytes) -> bool:
        return self._login.insecure or valid

    def push_update_reference(self, refname: str, message: str | None) -> None:
        if message:
            self.rejected.append(f"{refname}: {message}")


class RemoteRepository:
    """The git port over a URL (https, http, ssh, file). Reads are served from the cache as soon as it holds the commit."""

    remote = True

    def __init__(self, url: str, cache: Path, login: Login | None = None) -> None:
        self.url = without_credentials(url)
        self._address = url
        self._login = login or Login()
        path = cache / f"{hashlib.sha256(url.encode()).hexdigest()[:24]}.git"
        if not path.exists():
            pygit2.init_repository(str(path), bare=True)
        self._repo = pygit2.Repository(str(path))
        self._local = LocalRepository(path, url=self.url)

    def _remote(self) -> pygit2.Remote:
        return self._repo.remotes.create_anonymous(self._address)

    def _callbacks(self) -> _Callbacks:
        return _Callbacks(self._login)

    def refs(self) -> dict[str, str]:
        """Asks the remote; costs one round trip and fetches nothing."""
        found: dict[str, str] = {}
        for head in self._reach(lambda: self._remote().list_heads(callbacks=self._callbacks())):
            name = str(head.name)
            if name.endswith("^{}"):
                found[name.removesuffix("^{}")] = str(head.oid)
            elif name == "HEAD" or name.startswith(("refs/heads/", "refs/tags/")):
                found.setdefault(name, str(head.oid))
        return found

    def fetch(self) -> None:
        """Bring branches and tags into the cache."""
        prune = pygit2.enums.FetchPrune.PRUNE
        self._reach(lambda: self._remote().fetch(_MIRROR, callbacks=self._callbacks(), prune=prune))

    def resolve(self, revision: str) -> str:
        if not _SHA.match(revision):
            refs = self.refs()
            named = (f"refs/heads/{revision}", f"refs/tags/{revision}", revision)
            sha = next((refs[name] for name in named if name in refs), "")
        else:
            sha = revision
        if not sha or sha not in self._repo:
            self.fetch()
        return self._local.resolve(sha or revision)

    def branch_of(self, revision: str) -> str | None:
        refs = self.refs()
        if revision != "HEAD":
            return revision if f"refs/heads/{revision}" in refs else None
        named = [ref.removeprefix("refs/heads/") for ref, sha in refs.items()
                 if ref.startswith("refs/heads/") and sha == refs.get("HEAD")]
        return next((name for name in ("main", "master") if name in named), named[0] if named else None)

    def read_tree(self, sha: str, path: str = "") -> GitTree:
        self._have(sha)
        return self._local.read_tree(sha, path)

    def changed_paths(self, before: str, after: str) -> frozenset[str]:
        self._have(before)
        self._have(after)
        return self._local.changed_paths(before, after)

    def log(self, revision: str, *, limit: int = 50, path: str = "") -> list[Commit]:
        return self._local.log(self.resolve(revision), limit=limit, path=path)

    def commit(self, branch: str, change: Change, *, expected_head: str) -> str:
        self._have(expected_head)
        sha = self._local.write_commit(change, expected_head)
        temporary = self._repo.references.create(f"refs/fairway/push/{sha}", sha, force=True)
        callbacks = self._callbacks()
        try:
            if self.refs().get(f"refs/heads/{branch}", "") != expected_head:
                raise LostRace(f"{self.url}: {branch!r} is no longer at {expected_head or 'nothing'}")
            self._push(f"{temporary.name}:refs/heads/{branch}", callbacks)
        finally:
            temporary.delete()
        return sha

    def _push(self, refspec: str, callbacks: _Callbacks) -> None:
        try:
            self._remote().push([refspec], callbacks=callbacks)
        except pygit2.GitError as error:
            text = without_credentials(str(error))
            if "fastforward" in text or "non-fast-forward" in text or "fetch first" in text:
                raise LostRace(f"{self.url}: {text}") from error
            if any(word in text for word in ("403", "401", "credential", "authentication", "password", "read-only")):
                raise ReadOnly(f"{self.url}: the push was refused: {text}; give Fairway write access") from error
            raise Unreachable(f"{self.url}: the push failed: {text}") from error
        for message in callbacks.rejected:
            if any(word in message for word in ("fast", "stale", "lock", "fetch first", "reference already exists")):
                raise LostRace(f"{self.url}: {message}")
            raise ReadOnly(f"{self.url}: the remote declined the push: {message}")

    def _have(self, sha: str) -> None:
        if sha and sha not in self._repo:
            self.fetch()
            if sha not in self._repo:
                raise UnknownRevision(f"{self.url}: no commit {sha!r} on any branch or tag")

    def _reach(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except (pygit2.GitError, OSError) as error:
            why = without_credentials(str(error))
            raise Unreachable(f"{self.url}: cannot be read: {why}; check the URL, the network and the credentials") from error
        except ValueError as error:
            why = without_credentials(str(error))
            raise GitError(f"{self.url}: not a URL that git understands: {why}") from error
