"""The pipeline that an event makes of a configuration, whatever the files are read from. Pure but for its `Sources`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fairway.ci.events import Event
from fairway.ci.gitlab.decoding import decode
from fairway.ci.gitlab.includes import Given, read_whole
from fairway.ci.gitlab.plan import Pipeline, Scoped, plan
from fairway.ci.gitlab.predefined import SOURCES, Occasion, pipeline_variables
from fairway.ci.gitlab.rules import Facts
from fairway.ci.gitlab.sources import Sources
from fairway.ci.gitlab.variables import Variable, Variables
from fairway.ci.spec import Mistake, WorkflowError
from fairway.ci.trigger import GITLAB


def gitlab_pipeline(sources: Sources, event: Event, given: Variables, *, run: str = "run", number: int = 1,
                    path: str = GITLAB, inputs: Mapping[str, Mapping[str, Any]] | None = None,
                    extra: Mapping[str, str] | None = None,
                    scoped: Scoped = (),
                    changed_since: Callable[[str], frozenset[str] | None] = lambda ref: None) -> Pipeline:
    """The pipeline that the event makes of the configuration. Raises `WorkflowError`."""
    source = SOURCES.get(event.name)
    if source is None:
        known = ", ".join(SOURCES)
        raise WorkflowError(path, (Mistake(f"{event.name} starts no pipeline of GitLab's; there are: {known}"),))
    ref = event.head_ref or event.ref_name
    occasion = Occasion(
        source, event.repository, ref, event.sha, is_tag=event.is_tag, before=event.before, message=event.message,
        author=event.actor, timestamp=event.committed_at, default_branch=event.default_branch, target=event.base_ref, run=run,
        number=number, email=event.email)
    predefined = {**pipeline_variables(occasion), **(extra or {}), "CI_CONFIG_PATH": path}
    names: list[str] | None = None

    def files() -> Iterable[str]:
        nonlocal names
        names = names if names is not None else list(sources.own().files())
        return names

    facts = Facts(source, ref, event.is_tag, event.changed, files, changed_since)
    visible = given.over(Variables.of(predefined, raw=True)).expanded()
    whole = read_whole(path, Given(sources, facts, visible, inputs or {}))
    if whole is None:
        raise WorkflowError(path, (Mistake("the file does not exist"),))
    return plan(decode(whole, path), predefined, facts, given=given, scoped=scoped)


def given_variables(variables: Mapping[str, str], secrets: Mapping[str, str]) -> Variables:
    """Variables of the project; secrets are masked and never expanded."""
    return Variables({name: Variable(value, raw=True, masked=True) for name, value in secrets.items()}).over(
        Variables.of(variables))
