"""GitLab's pipeline of a working tree."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fairway.ci.events import Event
from fairway.ci.gitlab.local_settings import LocalSettings, read_settings
from fairway.ci.gitlab.making import gitlab_pipeline
from fairway.ci.gitlab.plan import Pipeline
from fairway.ci.gitlab.sources import FileTree, Tree
from fairway.ci.gitlab.variables import Variable, Variables
from fairway.ci.snapshot import Snapshot, changed_paths, resolve
from fairway.ci.spec import WorkflowError
from fairway.ci.wish import NoSuchJob, Prepared, Wish
from fairway.kube.decision import Reason

if TYPE_CHECKING:
    from fairway.ci.runner import LocalRunner

_FETCH_S = 10.0
_FETCHED_BYTES = 1 << 20
_TEMPLATES = "https://gitlab.com/gitlab-org/gitlab/-/raw/master/lib/gitlab/ci/templates/"


def prepared_pipeline(root: Path, snapshot: Snapshot, runner: LocalRunner, path: str, name: str, event: Event,
                  wish: Wish) -> Prepared | Reason:
    """The run, or why there is none. Raises `WorkflowError`, `NoSuchJob`."""
    from fairway.ci.gitlab.course import GitlabCourse, wanted_legs  # slow to load, and who only lists jobs runs none
    from fairway.ci.gitlab.job import GitlabRunner
    from fairway.ci.gitlab.projects import ProjectsElsewhere

    sources = FolderSources(root)
    pipeline = pipeline_of(root, snapshot, path, name, event, wish)
    if pipeline.refused is not None:
        return pipeline.refused
    if not pipeline.legs:
        return Reason("NoJobs", f"the rules leave no job for {event.name} of {event.ref_name}")
    only = wanted_legs(pipeline, wish.jobs, with_needs=not wish.alone) if wish.jobs else None
    if wish.jobs and only is None:
        return Reason("NoSuchJob", f"it has no job {wish.jobs[0]!r} for {event.name} of {event.ref_name}")
    if wish.matrix:
        only = frozenset(leg.id for leg in pipeline.legs if (only is None or leg.id in only) and (
            leg.matrix is None or all(leg.matrix.get(key) == value for key, value in wish.matrix.items())))
    if pipeline.unmet and not wish.alone:
        raise WorkflowError(path, pipeline.unmet)
    chosen = frozenset({*wish.manual, *wish.jobs})
    _check_manual(pipeline, chosen, only)
    hands = GitlabRunner(runner.config, projects=ProjectsElsewhere())
    course = GitlabCourse(pipeline, hands, name, event.repository, event.sha, event.ref_name,
                          sources, only=only, chosen=chosen, attended=False)
    return Prepared(path, name, course, course.first_rows())


def pipeline_of(root: Path, snapshot: Snapshot, path: str, name: str, event: Event, wish: Wish) -> Pipeline:
    """What the event makes of GitLab's file. Raises `WorkflowError`."""
    settings = read_settings(root, wish.home, event.repository)

    def since(ref: str) -> frozenset[str] | None:
        found = resolve(snapshot.path, ref)
        return changed_paths(snapshot.path, found, event.sha) if found else None

    return gitlab_pipeline(FolderSources(root), event, _given(wish, settings), run=name, path=path, scoped=settings.scoped,
                           inputs=inputs_of(wish, settings), changed_since=since)


def _given(wish: Wish, settings: LocalSettings) -> Variables:
    said = Variables({**{name: Variable(value) for name, value in wish.variables.items()},
                      **{name: Variable(value, raw=True, masked=True) for name, value in wish.secrets.items()}})
    return said.over(settings.variables)


def inputs_of(wish: Wish, settings: LocalSettings) -> dict[str, Mapping[str, Any]]:
    """What the command line says for a component goes first, then the file's word for it, then what is for all."""
    kept = settings.inputs or {}
    names = {*kept, *wish.component_inputs, ""}
    found: dict[str, Mapping[str, Any]] = {
        name: {**kept.get(name, {}), **wish.component_inputs.get(name, {})} for name in names if name}
    return {**found, "": {**kept.get("", {}), **wish.inputs}}


def _check_manual(pipeline: Pipeline, chosen: frozenset[str], only: frozenset[str] | None) -> None:
    """A job that needs a manual job which nobody starts would never run: say so before anything runs."""
    for leg in pipeline.legs:
        if only is not None and leg.id not in only:
            continue
        for need in leg.needs or ():
            other = pipeline.leg(need.leg)
            if other is not None and other.when == "manual" and not {other.name, other.job.name} & chosen \
                    and not other.allow_failure.always and (only is None or other.id in only):
                raise NoSuchJob(f"job {other.name!r} is manual and {leg.name!r} needs it: start it with "
                                f"--manual '{other.name}'")


# --- files ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FolderSources:
    """The working tree as it is, and the network for what is remote."""

    root: Path

    def own(self) -> Tree:
        return FileTree(self._read, self._names)

    def _read(self, path: str) -> str | None:
        file = (self.root / path).resolve()
        return file.read_text(errors="replace") if file.is_file() and file.is_relative_to(self.root.resolve()) else None

    def _names(self) -> Iterable[str]:
        done = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=self.root,
                              capture_output=True, check=False)
        if done.returncode == 0:
            return [name for name in done.stdout.decode(errors="replace").split("\0") if name]
        return [path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file()]

    def project(self, name: str, ref: str) -> Tree | None:
        return None

    def fetch(self, url: str) -> str | None:
        import urllib.request  # slow to load, and most pipelines fetch nothing

        try:
            with urllib.request.urlopen(url, timeout=_FETCH_S) as answer:  # the user's own file names it
                return str(answer.read(_FETCHED_BYTES).decode(errors="replace"))
        except (OSError, ValueError):
            return None

    def template(self, name: str) -> str | None:
        return self.fetch(_TEMPLATES + quote(name))
