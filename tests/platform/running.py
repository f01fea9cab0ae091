"""A whole platform in a folder of its own, driven as its users drive it: the command line, git and HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from fairway.cli.client import Addresses, Client
from fairway.cli.platform_process import leftovers
from fairway.kube.objects import Obj
from fairway.kube.resources import Resource
from fairway.state import StateDir

T = TypeVar("T")
FAIRWAY = str(Path(sys.executable).parent / "fairway")
PATIENCE_S = 60.0  # a deadline for things that take a second or two on a quiet machine


@dataclass
class Running:
    """`client` is made anew after a restart."""

    state: StateDir
    options: tuple[str, ...] = ()
    """More of the command line of `fairway up`."""
    _client: Client | None = field(default=None, repr=False)

    def fairway(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        argv = [FAIRWAY, "--state", str(self.state.root), *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def up(self) -> None:
        self.fairway("up", *self.options)
        self._client = None

    def down(self) -> None:
        self.fairway("down")

    @property
    def client(self) -> Client:
        if self._client is None:
            self._client = Client.of(self.state)
        return self._client

    @property
    def addresses(self) -> Addresses:
        found = Addresses.read(self.state)
        assert found is not None, "no daemon runs"
        return found

    def kill_9(self) -> None:
        """The control plane dies at once; returns when it is gone."""
        pid = self.addresses.pid
        os.kill(pid, signal.SIGKILL)
        self.until(lambda: Addresses.read(self.state) is None, "the daemon is gone")

    def apply(self, *objects: Obj) -> None:
        for obj in objects:
            self.client.apply(_resource(obj), obj)

    def until(self, ready: Callable[[], T | None], what: str, *, patience: float = PATIENCE_S) -> T:
        """The first true answer of `ready`; fails with `what` and the end of the daemon's log after `patience`."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if found := ready():
                return found
            time.sleep(0.05)  # polling the platform from outside, with a deadline
        log = (self.state.logs / "daemon.log").read_text().splitlines()[-25:]
        raise AssertionError(f"not within {patience:.0f} s: {what}\n" + "\n".join(log))

    def until_object(self, resource: Resource, name: str, namespace: str, ready: Callable[[Obj], Any], what: str) -> Obj:
        """The object, once `ready(object)` is true."""

        def look() -> Obj | None:
            found = self.client.find(resource, name, namespace)
            return found if found is not None and ready(found) else None

        return self.until(look, what)


def _resource(obj: Obj) -> Resource:
    from fairway.kube.resources import BUILT_IN, CUSTOM, ResourceMap

    return ResourceMap((*BUILT_IN, *CUSTOM)).of(obj)


@contextmanager
def platform(folder: Path, *options: str) -> Iterator[Running]:
    """Up at the beginning; at the end down, and nothing may be left running."""
    running = Running(StateDir(folder / "state"), options)
    running.up()
    try:
        yield running
    finally:
        if Addresses.read(running.state) is None:
            running.up()
        running.down()
        assert leftovers(running.state) == []


@dataclass(frozen=True)
class Repository:
    """A work tree that pushes to the platform."""

    tree: Path
    url: str

    @staticmethod
    def begin(running: Running, tree: Path, name: str) -> Repository:
        token = running.state.token.read_text().strip()
        base = running.addresses.web_url.replace("http://", f"http://dev:{token}@")
        tree.mkdir(parents=True)
        made = Repository(tree, f"{base}/git/{name}.git")
        made.git("init", "--quiet", "--initial-branch=main")
        return made

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def push(self, message: str) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        self.git("push", "--quiet", self.url, "HEAD:refs/heads/main")
        return self.git("rev-parse", "HEAD").strip()

    def pull(self) -> None:
        self.git("pull", "--quiet", "--rebase", self.url, "main")

    def git(self, *arguments: str) -> str:
        who = {"GIT_AUTHOR_NAME": "dev", "GIT_AUTHOR_EMAIL": "dev@example.com", "GIT_COMMITTER_NAME": "dev",
               "GIT_COMMITTER_EMAIL": "dev@example.com"}
        env = {"PATH": os.environ["PATH"], "HOME": str(self.tree), "GIT_CONFIG_NOSYSTEM": "1", **who}
        done = subprocess.run(["git", *arguments], cwd=self.tree, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout


def as_json(text: str) -> Any:
    return json.loads(text)
