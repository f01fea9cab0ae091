"""A GitLab pipeline as typed values: what `.gitlab-ci.yml` says once includes, `extends` and references are resolved.

Texts may still hold `$VARIABLES`; they are expanded when a job is planned or run. Times are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fairway.ci.gitlab.variables import NO_VARIABLES, Variables

When = Literal["on_success", "on_failure", "always", "manual", "delayed", "never"]
WHENS: tuple[When, ...] = ("on_success", "on_failure", "always", "manual", "delayed", "never")
Policy = Literal["pull-push", "pull", "push"]
CacheWhen = Literal["on_success", "on_failure", "always"]

DEFAULT_STAGES = ("build", "test", "deploy")
DEFAULT_TIMEOUT_S = 3600.0


@dataclass(frozen=True, slots=True)
class AllowFailure:
    """Whether a failure counts: never, always, or only those with other exit codes."""

    always: bool = False
    exit_codes: tuple[int, ...] = ()

    def allows(self, exit_code: int | None) -> bool:
        return self.always or (exit_code is not None and exit_code in self.exit_codes)


@dataclass(frozen=True, slots=True)
class Need:
    """`matrix` selects legs of a parallel job. `project` or `pipeline` name a job of another pipeline."""

    job: str
    artifacts: bool = True
    optional: bool = False
    matrix: tuple[Mapping[str, Any], ...] = ()
    project: str = ""
    pipeline: str = ""
    ref: str = ""


@dataclass(frozen=True, slots=True)
class Changes:
    paths: tuple[str, ...]
    compare_to: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of `rules`. Fields that are None leave what the job says."""

    condition: str | None = None
    changes: Changes | None = None
    exists: tuple[str, ...] | None = None
    when: When | None = None
    allow_failure: AllowFailure | None = None
    variables: Variables = NO_VARIABLES
    needs: tuple[Need, ...] | None = None
    start_in_s: float | None = None
    interruptible: bool | None = None
    auto_cancel: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Only:
    """`only` or `except`."""

    refs: tuple[str, ...] | None = None
    variables: tuple[str, ...] | None = None
    changes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Image:
    name: str = ""
    entrypoint: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Service:
    name: str
    alias: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    variables: Variables = NO_VARIABLES


@dataclass(frozen=True, slots=True)
class Cache:
    """`key_files` make the key of what these files hold, with `key` as prefix."""

    key: str = "default"
    key_files: tuple[str, ...] = ()
    fallback_keys: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    untracked: bool = False
    policy: str = "pull-push"
    when: CacheWhen = "on_success"


@dataclass(frozen=True, slots=True)
class Artifacts:
    """`reports` gives the paths of each kind of report."""

    paths: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    untracked: bool = False
    when: CacheWhen = "on_success"
    name: str = ""
    expire_in: str = ""
    expose_as: str = ""
    reports: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Environment:
    name: str
    url: str = ""
    action: str = "start"
    on_stop: str = ""
    tier: str = ""
    auto_stop_in: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    max: int = 0
    when: tuple[str, ...] = ("always",)
    exit_codes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Include:
    """Where a child pipeline's configuration is: a file of the repository, or one that a job made."""

    local: str = ""
    artifact: str = ""
    job: str = ""
    other: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trigger:
    """`strategy` depend or mirror: the job ends as the pipeline does."""

    include: tuple[Include, ...] = ()
    project: str = ""
    branch: str = ""
    strategy: str = ""
    forward_yaml: bool = True
    forward_pipeline: bool = False
    inputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Release:
    tag_name: str
    description: str
    name: str = ""
    ref: str = ""
    assets: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inherit:
    """Which defaults and global variables a job takes: all, none, or those named."""

    default: bool | tuple[str, ...] = True
    variables: bool | tuple[str, ...] = True


@dataclass(frozen=True)
class Job:
    """`needs` is None where none is written: the job then waits for all earlier stages. `matrix` holds the legs' own
    variables; `count` is N of `parallel: N`."""

    name: str
    where: str = ""
    line: int = 0
    stage: str = "test"
    script: tuple[str, ...] = ()
    before_script: tuple[str, ...] = ()
    after_script: tuple[str, ...] = ()
    pre_get_sources: tuple[str, ...] = ()
    image: Image = Image()
    services: tuple[Service, ...] = ()
    variables: Variables = NO_VARIABLES
    rules: tuple[Rule, ...] | None = None
    only: Only | None = None
    exclude: Only | None = None
    when: When = "on_success"
    start_in_s: float = 0.0
    allow_failure: AllowFailure | None = None
    needs: tuple[Need, ...] | None = None
    dependencies: tuple[str, ...] | None = None
    artifacts: Artifacts = Artifacts()
    caches: tuple[Cache, ...] = ()
    environment: Environment | None = None
    retry: Retry = Retry()
    timeout_s: float = DEFAULT_TIMEOUT_S
    interruptible: bool = False
    resource_group: str = ""
    count: int = 0
    matrix: tuple[Mapping[str, tuple[str, ...]], ...] = ()
    trigger: Trigger | None = None
    coverage: str = ""
    release: Release | None = None
    tags: tuple[str, ...] = ()
    id_tokens: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    inherit: Inherit = Inherit()

    @property
    def is_hidden(self) -> bool:
        return self.name.startswith(".")


@dataclass(frozen=True, slots=True)
class AutoCancel:
    on_new_commit: str = "conservative"
    on_job_failure: str = "none"


@dataclass(frozen=True)
class Configuration:
    """All of a pipeline's files together. `stages` holds `.pre` and `.post`."""

    path: str
    jobs: Mapping[str, Job]
    stages: tuple[str, ...]
    variables: Variables = NO_VARIABLES
    name: str = ""
    workflow_rules: tuple[Rule, ...] | None = None
    auto_cancel: AutoCancel = AutoCancel()
    files: tuple[str, ...] = ()
