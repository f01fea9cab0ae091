"""The pod's way to the Fairway that sent it: repositories, tokens, artifacts and caches, by HTTP.

That Fairway may be away for a while (it is restarted, or the network is): every request is tried again for `PATIENCE_S`.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlencode

from fairway.ci.folders import RunFolders
from fairway.ci.pods.order import Home
from fairway.ci.repositories import Access
from fairway.ci.shelf import ShelfError
from fairway.ci.tokens import Level

PATIENCE_S = 600.0
_TIMEOUT_S = 60.0
_LONGEST_WAIT_S = 15.0


class AtHome:
    """`Repositories`, `Tokens` and `Shelf` of a pod. Every method blocks."""

    def __init__(self, home: Home, root: Path, run: str, job: str, *, patience_s: float = PATIENCE_S) -> None:
        self._home, self._root, self._run, self._job = home, root, run, job
        self._patience_s = patience_s
        self._brought: dict[Path, tuple[int, int]] = {}

    # --- repositories -------------------------------------------------------------------------------------------------

    def reach(self) -> None:
        """Wait until home answers. Raises `ShelfError`."""
        self._json("GET", "listing", {"folder": "artifacts"})

    def resolve(self, name_or_url: str) -> Access | None:
        if name_or_url == self._home.repository:
            self.reach()  # git, which comes next, has no patience
            return Access(f"{self._home.url}/git/{name_or_url}.git", name=name_or_url)
        found = self._json("GET", "repository", {"name": name_or_url}, missing={})
        if not found:
            return None
        writers = tuple(found["writers"]) if found["writers"] is not None else None
        return Access(found["url"], name=found["name"], writers=writers)

    def issue(self, owner: str, repository: str, level: Level) -> str:
        """The job has its own repository's token from the start."""
        if repository == self._home.repository:
            return self._home.token if self._home.level is not None else ""
        return str(self._json("POST", "token", {"repository": repository, "level": level})["token"])

    def revoke(self, owner: str) -> None:
        """The Fairway that gave the tokens takes them back when the job has ended."""

    # --- artifacts and caches -----------------------------------------------------------------------------------------

    def listing(self, folder: Path) -> Mapping[str, float]:
        own = {path.name: path.stat().st_mtime for path in folder.iterdir()} if folder.is_dir() else {}
        found: dict[str, float] = self._json("GET", "listing", {"folder": self._there(folder)})
        return {**found, **own}

    def bring(self, path: Path) -> None:
        if path.exists() and path not in self._brought:
            return  # this job made it
        with tempfile.TemporaryFile(dir=self._root) as packed:
            self._request("GET", "file", {"path": self._there(path)}, into=packed)
            packed.seek(0)
            with tarfile.open(fileobj=packed) as tar:
                path.parent.mkdir(parents=True, exist_ok=True)
                tar.extractall(path.parent, filter="tar")
        for file in _files(path):
            self._brought[file] = _state(file)
        self._brought[path] = _state(path)

    def send_back(self) -> int:
        """Everything that the job has made and that outlives it; the number of files."""
        run = RunFolders(self._root, self._run)
        job = run.job(self._job).path
        fresh = [(path, self._there(path)) for top in (run.artifacts, self._root / "cache", job / "reports", job / "summary.md")
                 for path in _files(top) if self._brought.get(path) != _state(path)]
        if not fresh:
            return 0
        with tempfile.TemporaryFile(dir=self._root) as packed:
            with tarfile.open(fileobj=packed, mode="w") as tar:
                for path, name in fresh:
                    tar.add(path.resolve(), arcname=name, recursive=False)
            self._request("PUT", "files", {}, body=packed)
        return len(fresh)

    def _there(self, path: Path) -> str:
        """What the path is called at home."""
        run = RunFolders(self._root, self._run)
        for top, name in ((run.artifacts, "artifacts"), (run.job(self._job).path, "job"), (self._root / "cache", "cache")):
            if path.is_relative_to(top):
                return f"{name}/{path.relative_to(top).as_posix()}".removesuffix("/.")
        raise ShelfError(f"{path} is nothing that is kept")

    # --- HTTP -----------------------------------------------------------------------------------------------------------

    def _json(self, method: str, what: str, query: Mapping[str, str], *, missing: Any = None) -> Any:
        with tempfile.TemporaryFile() as answer:
            if not self._request(method, what, query, into=answer, may_be_missing=missing is not None):
                return missing
            answer.seek(0)
            return json.load(answer)

    def _request(self, method: str, what: str, query: Mapping[str, str], *, body: BinaryIO | None = None,
                 into: BinaryIO | None = None, may_be_missing: bool = False) -> bool:
        """False where it is not there and may be missing. Raises `ShelfError`."""
        url = f"{self._home.url}/jobs/{what}?{urlencode(query)}"
        user = base64.b64encode(f"job:{self._home.token}".encode()).decode()
        end, wait = time.monotonic() + self._patience_s, 0.5
        while True:
            headers = {"Authorization": f"Basic {user}"}
            if body is not None:
                headers["Content-Length"] = str(body.seek(0, os.SEEK_END))
                body.seek(0)
            try:
                asked = urllib.request.Request(url, data=body, method=method, headers=headers)
                with urllib.request.urlopen(asked, timeout=_TIMEOUT_S) as answer:
                    while chunk := answer.read(1 << 20):
                        if into is not None:
                            into.write(chunk)
                return True
            except urllib.error.HTTPError as error:
                if error.code == 404 and may_be_missing:
                    return False
                if error.code < 500 and error.code != 401:  # a controller that begins again knows the token in a moment
                    words = error.read(500).decode(errors="replace").strip()
                    raise ShelfError(f"{method} {url}: {error.code}: {words}") from error
                problem: Exception = error
            except (OSError, http.client.HTTPException) as error:
                problem = error
            if time.monotonic() + wait > end:
                raise ShelfError(f"the Fairway at {self._home.url} that sent this job is not reached: {problem}; `url` in its "
                                 "jobs.yaml says where pods look for it")
            if into is not None:
                into.seek(0)
                into.truncate()
            time.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT_S)


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir() and not path.is_symlink():
        for entry in sorted(path.iterdir()):
            if not entry.name.startswith(".new-"):
                yield from _files(entry)
    elif path.is_file():
        yield path


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size
