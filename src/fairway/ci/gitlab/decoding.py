"""From one merged configuration to typed jobs, strictly: every job with a mistake is named with file and line. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairway.ci.gitlab.includes import Whole
from fairway.ci.gitlab.job_decoding import DEFAULTS, decode_job
from fairway.ci.gitlab.merging import MergeError, dereferenced, extended, flat
from fairway.ci.gitlab.rules import RuleMistake, decode_rules, decode_variables
from fairway.ci.gitlab.spec import DEFAULT_STAGES, AutoCancel, Configuration, Job
from fairway.ci.spec import Mistake, WorkflowError

_OLD_DEFAULTS = ("image", "services", "cache", "before_script", "after_script")
_TOP = frozenset({"default", "stages", "variables", "workflow", "include", "spec", "types", *_OLD_DEFAULTS})
LONGEST_NAME = 255


def resolved(whole: Whole, path: str) -> dict[str, Any]:
    """The configuration with `extends` and references in place. Raises `WorkflowError`."""
    try:
        return dereferenced(extended(whole.config))
    except MergeError as error:
        where, line = whole.where.get(error.key, (path, 0))
        raise WorkflowError(where, (Mistake(str(error), line, 1 if line else 0),)) from None


def decode(whole: Whole, path: str) -> Configuration:
    """Raises `WorkflowError` with every mistake that was found."""
    return _Decoder(whole, path).configuration()


class _Decoder:
    def __init__(self, whole: Whole, path: str) -> None:
        self.whole = whole
        self.path = path
        self.mistakes: list[tuple[str, Mistake]] = []

    def refuse(self, key: str, message: str) -> None:
        where, line = self.whole.where.get(key, (self.path, 0))
        self.mistakes.append((where, Mistake(message, line, 1 if line else 0)))

    def configuration(self) -> Configuration:
        config = resolved(self.whole, self.path)
        stages = self.stages(config)
        defaults = self.defaults(config)
        jobs: dict[str, Job] = {}
        for name, body in config.items():
            if name in _TOP or name.startswith("."):
                continue
            job = self.job(name, body, defaults)
            if job is not None:
                jobs[name] = job
        for job in jobs.values():
            if job.stage not in stages:
                self.refuse(job.name, f"{job.name} job: chosen stage {job.stage} does not exist; available stages are "
                            f"{', '.join(stages)}")
            else:
                self.check_needs(job, jobs, stages)
        if not jobs and not self.mistakes:
            self.refuse("", "jobs config should contain at least one visible job")
        found = self.whole_of(config, jobs, stages)
        if self.mistakes:
            first = self.mistakes[0][0]
            raise WorkflowError(first, tuple(
                m if where == first else Mistake(f"{where}:{m.line}: {m.message}") for where, m in self.mistakes))
        return found

    def whole_of(self, config: Mapping[str, Any], jobs: dict[str, Job], stages: tuple[str, ...]) -> Configuration:
        workflow = config.get("workflow") or {}
        rules = None
        cancel: Mapping[str, Any] = {}
        try:
            if not isinstance(workflow, dict):
                raise RuleMistake("workflow must be a mapping of rules, name, auto_cancel")
            unknown = [key for key in workflow if key not in ("rules", "name", "auto_cancel")]
            if unknown:
                raise RuleMistake(f"workflow does not know {unknown[0]!r}; there are: rules, name, auto_cancel")
            if workflow.get("rules") is not None:
                rules = decode_rules(workflow["rules"], "workflow:rules")
            cancel = workflow.get("auto_cancel") or {}
        except RuleMistake as error:
            self.refuse("workflow", str(error))
        try:
            variables = decode_variables(config.get("variables"), "variables")
        except RuleMistake as error:
            self.refuse("variables", str(error))
            variables = decode_variables(None, "")
        return Configuration(
            self.path, jobs, stages, variables, str(workflow.get("name") or "") if isinstance(workflow, dict) else "",
            rules, AutoCancel(str(cancel.get("on_new_commit", "conservative")), str(cancel.get("on_job_failure", "none"))),
            self.whole.files)

    def stages(self, config: Mapping[str, Any]) -> tuple[str, ...]:
        given = config.get("stages", config.get("types"))
        if given is None:
            given = list(DEFAULT_STAGES)
        names = flat(given)
        if not isinstance(given, list) or not all(isinstance(name, str) for name in names):
            self.refuse("stages", "stages config should be an array of strings")
            names = list(DEFAULT_STAGES)
        return (".pre", *(name for name in dict.fromkeys(names) if name not in (".pre", ".post")), ".post")

    def defaults(self, config: Mapping[str, Any]) -> dict[str, Any]:
        given = config.get("default")
        found = {key: config[key] for key in _OLD_DEFAULTS if config.get(key) is not None}
        if given is None:
            return found
        if not isinstance(given, dict):
            self.refuse("default", "default must be a mapping")
            return found
        for key in given:
            if key not in DEFAULTS:
                self.refuse("default", f"default does not know {key!r}; there are: {', '.join(sorted(DEFAULTS))}")
        return {**found, **{key: value for key, value in given.items() if key in DEFAULTS and value is not None}}

    def job(self, name: str, body: Any, defaults: Mapping[str, Any]) -> Job | None:
        if len(name) > LONGEST_NAME:
            self.refuse(name, f"job name {name[:40]!r}… is longer than {LONGEST_NAME} characters")
            return None
        if not isinstance(body, dict):
            self.refuse(name, f"{name} is neither a keyword nor a job: a job is a mapping with `script` or `trigger`")
            return None
        where, line = self.whole.where.get(name, (self.path, 0))
        try:
            return decode_job(name, body, defaults, where=where, line=line)
        except RuleMistake as error:
            self.refuse(name, str(error))
            return None

    def check_needs(self, job: Job, jobs: Mapping[str, Job], stages: tuple[str, ...]) -> None:
        """What is wrong whatever the rules say: names that no job has, and stages that come later."""
        here = stages.index(job.stage)
        needed = [(need.job, "needs", need.optional) for need in job.needs or () if not need.project and not need.pipeline]
        needed += [(need.job, "rules:needs", need.optional) for rule in job.rules or () for need in rule.needs or ()
                   if not need.project and not need.pipeline]
        needed += [(name, "dependencies", False) for name in job.dependencies or ()]
        for name, key, optional in needed:
            other = jobs.get(name)
            if other is None:
                if not optional:
                    self.refuse(job.name, f"{job.name} job: undefined {key[:-1] if key != 'dependencies' else 'dependency'}: "
                                f"{name}")
            elif other.stage in stages and stages.index(other.stage) > here:
                self.refuse(job.name, f"{job.name} job: {key}: {name} is not defined in current or prior stages ({name} is in "
                            f"stage {other.stage}, {job.name} in {job.stage})")
