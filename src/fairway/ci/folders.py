"""Where a run keeps its things: `<root>/runs/<run>/<job>/{work,temp,home,log.txt}`, artifacts by run, caches by repository."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path


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
