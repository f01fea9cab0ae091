"""Where a run keeps its things: `<root>/runs/<run>/<job>/{work,temp,home,log.txt}`, artifacts by run, caches by repository."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fairway.kube.objects import parse_time, rfc3339


@dataclass(frozen=True, slots=True)
class RunFolders:
    """Of one run."""

    root: Path
    run: str

    @property
    def path(self) -> Path:
        return self.root / "runs" / self.run

    @property
    def artifacts(self) -> Path:
        return self.path / "artifacts"

    def keep_until(self, artifact: str, moment: datetime) -> None:
        """Note beside an artifact when it expires."""
        self.artifacts.mkdir(parents=True, exist_ok=True)
        self._note(artifact).write_text(rfc3339(moment))

    def kept(self) -> list[dict[str, Any]]:
        """The artifacts as `status.artifacts` lists them; one whose note cannot be read does not expire."""
        found: list[dict[str, Any]] = []
        for path in sorted(self.artifacts.iterdir()) if self.artifacts.is_dir() else ():
            if path.name.startswith("."):
                continue
            files = path.rglob("*") if path.is_dir() else (path,)
            entry: dict[str, Any] = {"name": path.name, "bytes": sum(file.stat().st_size for file in files if file.is_file())}
            with contextlib.suppress(OSError, ValueError):
                entry["expiresAt"] = rfc3339(parse_time(self._note(path.name).read_text()))
            found.append(entry)
        return found

    def drop(self, artifacts: Iterable[str]) -> None:
        for name in artifacts:
            path = self.artifacts / name
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            self._note(name).unlink(missing_ok=True)

    def _note(self, artifact: str) -> Path:
        return self.artifacts / f".{artifact}.expires"

    def job(self, job: str) -> JobFolders:
        return JobFolders(self, self.path / "jobs" / job)


@dataclass(frozen=True, slots=True)
class JobFolders:
    """Of one job. Everything but the log is made anew for each attempt."""

    run: RunFolders
    path: Path

    @property
    def work(self) -> Path:
        return self.path / "work"

    @property
    def temp(self) -> Path:
        return self.path / "temp"

    @property
    def home(self) -> Path:
        return self.path / "home"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def tools(self) -> Path:
        return self.run.root / "tools"

    @property
    def cache(self) -> Path:
        return self.run.root / "cache"

    @property
    def commands(self) -> Path:
        return self.temp / "_runner_file_commands"

    @property
    def pushed(self) -> Path:
        """`name digest` a line: what `docker push` of a script has pushed."""
        return self.temp / "_pushed_images"

    def pushed_images(self) -> tuple[dict[str, str], ...]:
        if not self.pushed.is_file():
            return ()
        rows = [line.split(" ") for line in self.pushed.read_text().splitlines()]
        return tuple({"name": row[0], "digest": row[1]} for row in rows if len(row) == 2)

    @property
    def summary(self) -> Path:
        return self.path / "summary.md"

    def make(self) -> None:
        """Clean folders: what an earlier attempt left is gone."""
        if self.path.exists():
            shutil.rmtree(self.path)
        for folder in (self.work, self.temp, self.home, self.commands, self.tools):
            folder.mkdir(parents=True, exist_ok=True)

    def discard_work(self) -> None:
        """After the job: only log and summary stay."""
        for folder in (self.work, self.temp, self.home):
            shutil.rmtree(folder, ignore_errors=True)
