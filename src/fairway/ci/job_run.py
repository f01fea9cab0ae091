"""One attempt of one job: its environment, its steps one after the other, its posts, its outputs.

Steps are decided one by one as GitHub's runner does: environment of the step first, then its `if`, then the step; the
outcome is what happened, the conclusion what counts after continue-on-error.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

from fairway.ci.background import Background, Performed
from fairway.ci.commands import BLOCKED_ENV, Command, CommandError, Listener, parse_pairs, parse_paths
from fairway.ci.contexts import STATUS_FUNCTIONS
from fairway.ci.environment import github_variables, runner_variables
from fairway.ci.expressions import (
    Arity,
    CaseSensitive,
    ExpressionError,
    Function,
    Scope,
    Value,
    evaluate_condition,
    interpolate,
    interpolate_text,
    to_number,
    to_text,
)
from fairway.ci.folders import JobFolders
from fairway.ci.frame import Frame, Result, StepOutcome
from fairway.ci.hash_files import hash_files
from fairway.ci.joblog import STEP, JobLog
from fairway.ci.masking import Masker
from fairway.ci.matchers import Matcher, MatcherError, decode_matchers
from fairway.ci.process import Finished, run_process
from fairway.ci.services import Started
from fairway.ci.shells import UnknownShell, shell_named
from fairway.ci.spec import Job, RunDefaults, Step
from fairway.ci.states import MOST_ANNOTATIONS, Annotation, Phase, StepRow

DEFAULT_TIMEOUT_MINUTES = 360.0
SUMMARY_BYTES = 1024 * 1024

_PHASES: Mapping[Result, Phase] = {
    "success": "Succeeded", "failure": "Failed", "cancelled": "Cancelled", "skipped": "Skipped",
}
Post = tuple[str, str, Callable[[], Awaitable[None]]]
"""What is called at the job's end: title, `if`, work."""


class UsesPort(Protocol):
    """Who carries out a step with `uses`."""

    async def prepare(self, run: JobRun, frame: Frame, step: Step, scope: Scope) -> None:
        """What such a step does before the job's first step."""
        ...

    async def __call__(self, run: JobRun, frame: Frame, step: Step, env: Mapping[str, str], outcome: StepOutcome,
                       scope: Scope) -> None: ...


class StepFailed(Exception):
    """The step ends as failed, with this message in the log."""


class StepCancelled(Exception):
    """The step was stopped because the job was."""


@dataclass
class JobRun:
    """Everything that the steps of a job share."""

    job: Job
    folders: JobFolders
    log: JobLog
    masker: Masker
    contexts: Mapping[str, Value]
    env: dict[str, str]
    path: list[str]
    process_env: Mapping[str, str]
    now: Callable[[], datetime]
    uses: UsesPort
    progress: Callable[[tuple[StepRow, ...]], None]
    cancel: asyncio.Event
    defaults: RunDefaults
    status: Result = "success"
    stopped_because: str = ""
    message: str = ""
    rows: list[StepRow] = field(default_factory=list)
    posts: list[Post] = field(default_factory=list)
    states: dict[str, dict[str, str]] = field(default_factory=dict)
    images: list[dict[str, str]] = field(default_factory=list)
    annotations: list[Annotation] = field(default_factory=list)
    matchers: dict[str, Matcher] = field(default_factory=dict)
    files: itertools.count[int] = field(default_factory=itertools.count)
    services: Started | None = None
    on_failure: Callable[[Path, Mapping[str, str], str], None] | None = None
    frame: Frame = field(init=False)
    background: Background = field(init=False)

    def __post_init__(self) -> None:
        self.frame = Frame(defaults=self.defaults)
        self.background = Background(self.cancel, self.log)

    # --- what expressions see -------------------------------------------------------------------------------------

    def scope(self, frame: Frame, env: Mapping[str, str], step: Step | None = None, *, status: bool = False) -> Scope:
        contexts = dict(self.contexts)
        github = {**contexts["github"], "workspace": str(self.folders.work)}
        if step is not None:
            github["action"] = step.id
        if frame.action_path is not None:
            github |= {"action_path": str(frame.action_path), "action_status": frame.status}
        contexts |= {
            "github": github,
            "env": CaseSensitive(env),
            "steps": frame.steps,
            "job": {**contexts["job"], "status": self.status},
        }
        if frame.inputs is not None:
            contexts["inputs"] = dict(frame.inputs)
        functions = {"hashfiles": Function(Arity(1, 255), self._hash_files)}
        if status:
            functions |= self._status_functions(frame)
        return Scope(contexts, functions)

    def _hash_files(self, args: object) -> Value:
        return hash_files(self.folders.work, [to_text(arg) for arg in args])  # type: ignore[attr-defined]

    def _status_functions(self, frame: Frame) -> dict[str, Function]:
        status = self.status if frame.is_job or self.status == "cancelled" else frame.status
        none = Arity(0, 0)
        return {
            "success": Function(none, lambda args: status == "success"),
            "failure": Function(none, lambda args: status == "failure"),
            "cancelled": Function(none, lambda args: status == "cancelled"),
            "always": Function(none, lambda args: True),
        }

    def base_env(self, frame: Frame) -> dict[str, str]:
        """The `env` context before a step's own `env`."""
        return {**self.env, **frame.env}

    # --- the job --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """All steps and posts. The result is in `status`, `message`, `rows`."""
        if self.status == "success":
            await self._prepare()
            for step in self.job.steps:
                await self.run_step(self.frame, step)
            for done in await self.background.ended(None):
                self.conclude(self.frame, done)
        for title, condition, work in reversed(self.posts):
            await self._post(self.frame, title, condition, work)

    async def _prepare(self) -> None:
        """`pre` of all actions, in order; an action that cannot be had fails its own step, not the job's start."""
        for step in self.job.steps:
            if step.uses:
                with contextlib.suppress(StepFailed, ExpressionError):
                    await self.uses.prepare(self, self.frame, step, self.scope(self.frame, self.base_env(self.frame), step))

    @property
    def server_url(self) -> str:
        return to_text(self.contexts["github"].get("server_url")) or "https://github.com"

    def scope_of_job(self) -> Scope:
        """What the job's own keys may use, before its steps."""
        return self.scope(self.frame, self.env)

    def refuse_to_start(self, message: str) -> None:
        """The job fails without running a step."""
        self.log.lines(f"##[error]{message}")
        self.status, self.message = "failure", message

    async def run_step(self, frame: Frame, step: Step) -> None:
        if step.kind != "work":
            await self._control(frame, step)
        elif step.background:
            self.background.begin(step.id, lambda: self.perform(frame, step))
        else:
            self.conclude(frame, await self.perform(frame, step))

    async def perform(self, frame: Frame, step: Step) -> Performed:
        """The step itself; what follows from it for the job is for `conclude`."""
        if self.cancel.is_set() and self.status != "cancelled":
            self.status = "cancelled"
        started = self.now()
        outcome = StepOutcome()
        row = self._row(frame, StepRow(step_title(step), "Running", started))
        result, conclusion = await self._guarded(frame, step, outcome, row)
        if row is not None:
            finished = None if result == "skipped" else self.now()
            self._update(row, replace(self.rows[row], phase=_PHASES[result], finished_at=finished,
                                      started_at=None if result == "skipped" else started, message=outcome.failed))
        return Performed(step, outcome, result, conclusion, row)

    def conclude(self, frame: Frame, done: Performed) -> None:
        """The step's outputs and its result count from here on."""
        for change in done.changes:
            change()
        frame.steps[done.step.id] = {"outputs": dict(done.outcome.outputs), "outcome": done.result,
                                     "conclusion": done.conclusion}
        if done.conclusion in ("failure", "cancelled"):
            frame.status = done.conclusion
            if frame.is_job and self.status == "success":
                self.status = done.conclusion
                self.message = self.message or f"step {self.rows[done.row].name!r}: {done.outcome.failed}" \
                    if done.row is not None else ""

    async def _control(self, frame: Frame, step: Step) -> None:
        """A step that waits for background steps, stops one, or runs a group of them."""
        if self.status != "success" and step.kind != "wait-all":
            return
        row = self._row(frame, StepRow(step_title(step), "Running", self.now()))
        for inner in step.parallel:
            await self.run_step(frame, inner)
        if step.kind == "cancel":
            await self.background.stop(step.targets[0])
        names = None if step.kind == "wait-all" else tuple(inner.id for inner in step.parallel) or step.targets
        failed = False
        for done in await self.background.ended(names):
            if step.kind == "cancel" and done.result == "cancelled":
                done = replace(done, conclusion="skipped")
            failed |= done.conclusion == "failure"
            allowed = is_true(interpolate(step.continue_on_error, self.scope(frame, self.base_env(frame))))
            self.conclude(frame, replace(done, conclusion="success") if allowed and done.conclusion == "failure" else done)
        if row is not None:
            self._update(row, replace(self.rows[row], phase="Failed" if failed else "Succeeded", finished_at=self.now()))

    async def _guarded(self, frame: Frame, step: Step, outcome: StepOutcome,
                       row: int | None) -> tuple[Result, Result]:
        """The outcome and the conclusion of a step; failures become text in the log."""
        allowed = False
        try:
            env = self.base_env(frame)
            scope = self.scope(frame, env, step)
            env = env | self.evaluated_env(step.env, scope)
            scope = self.scope(frame, env, step, status=True)
            if not evaluate_condition(step.condition, scope, STATUS_FUNCTIONS):
                return "skipped", "skipped"
            scope = self.scope(frame, env, step)
            if row is not None:
                title = step_title(step, scope)
                self._update(row, replace(self.rows[row], name=title))
                self.log.line(f"{STEP}{title.partition(chr(10))[0]}")
            allowed = is_true(interpolate(step.continue_on_error, scope))
            await self._limited(frame, step, env, outcome, scope)
        except (StepFailed, ExpressionError, CommandError, UnknownShell) as error:
            outcome.failed = error.message if isinstance(error, ExpressionError) else str(error)
        except OSError as error:
            outcome.failed = f"{error.strerror or error}: {error.filename}" if error.filename else str(error)
        except StepCancelled as error:
            self.log.line(f"##[error]{error}")
            outcome.failed = str(error)
            if self.cancel.is_set():
                self.status = "cancelled"
            return "cancelled", "cancelled"
        if not outcome.failed:
            return "success", "success"
        self.log.lines(f"##[error]{outcome.failed}")
        return "failure", "success" if allowed else "failure"

    async def _limited(self, frame: Frame, step: Step, env: Mapping[str, str], outcome: StepOutcome,
                       scope: Scope) -> None:
        minutes = to_number(interpolate(step.timeout_minutes, scope)) if step.timeout_minutes is not None else 0.0
        if step.run is not None:
            await self._script(frame, step, env, outcome, scope, minutes * 60 if minutes > 0 else None)
            return
        work = self.uses(self, frame, step, env, outcome, scope)
        if minutes <= 0:
            await work
            return
        try:
            async with asyncio.timeout(minutes * 60):
                await work
        except TimeoutError:
            raise StepFailed(f"The action '{step_title(step)}' has timed out after {minutes:g} minutes.") from None

    def _row(self, frame: Frame, row: StepRow) -> int | None:
        """Steps of the job itself are shown; those within an action are part of theirs."""
        if not frame.is_job:
            return None
        self.rows.append(self._shown(row))
        self.progress(tuple(self.rows))
        return len(self.rows) - 1

    def _update(self, at: int, row: StepRow) -> None:
        row = self._shown(row)
        if self.rows[at] != row:
            self.rows[at] = row
            self.progress(tuple(self.rows))

    def _shown(self, row: StepRow) -> StepRow:
        """Rows end in the run's status: what a name or a failure quotes is masked as in the log."""
        return replace(row, name=self.masker.mask(row.name), message=self.masker.mask(row.message))

    async def _post(self, frame: Frame, title: str, condition: str, work: Callable[[], Awaitable[None]]) -> None:
        scope = self.scope(frame, self.base_env(frame), status=True)
        try:
            if not evaluate_condition(condition, scope, STATUS_FUNCTIONS):
                return
        except ExpressionError as error:
            self.log.line(f"##[warning]{title}: post-if: {error.message}")
            return
        row = self._row(frame, StepRow(f"Post {title}", "Running", self.now()))
        failed = ""
        self.log.line(f"{STEP}Post {title}")
        try:
            await work()
        except (StepFailed, StepCancelled, OSError) as error:
            failed = str(error)
        if failed:
            self.log.line(f"##[error]{failed}")
            if self.status == "success":
                self.status, self.message = "failure", f"post step {title!r}: {failed}"
        if row is not None:
            self._update(row, replace(self.rows[row], phase="Failed" if failed else "Succeeded",
                                      finished_at=self.now(), message=failed))

    def outputs(self) -> dict[str, str]:
        """The job's outputs. One that holds a secret is left out, with a warning."""
        scope = self.scope(self.frame, self.base_env(self.frame))
        found: dict[str, str] = {}
        for name, value in self.job.outputs.items():
            text = interpolate_text(value, scope)
            if self.masker.mask(text) != text:
                self.log.line(f"##[warning]Skip output '{name}' since it may contain secret.")
            else:
                found[name] = text
        return found

    # --- scripts --------------------------------------------------------------------------------------------------

    def evaluated_env(self, env: Value, scope: Scope) -> dict[str, str]:
        found = interpolate(env, scope)
        if not isinstance(found, dict):
            raise StepFailed("env must be a mapping")
        return {key: to_text(value) for key, value in found.items()}

    def search_path(self) -> str:
        return ":".join(self.path)

    def variables(self, frame: Frame, env: Mapping[str, str], step: Step | None = None) -> dict[str, str]:
        """The whole environment of a process. `GITHUB_*` and `RUNNER_*` cannot be overridden, except CI."""
        scope = self.scope(frame, env, step)
        fixed = github_variables(scope.contexts["github"]) | runner_variables(scope.contexts["runner"])
        merged = {**self.process_env, "CI": "true", **env, **fixed}
        merged["PATH"] = f"{self.search_path()}:{env['PATH']}" if "PATH" in env else self.search_path()
        return merged

    async def _script(self, frame: Frame, step: Step, env: Mapping[str, str], outcome: StepOutcome, scope: Scope,
                      timeout_s: float | None) -> None:
        script = interpolate_text(step.run, scope)
        defaults = frame.defaults
        name = interpolate_text(step.shell if step.shell is not None else defaults.shell, scope)
        folder = self.directory(step.working_directory if step.working_directory is not None
                                else defaults.working_directory, scope)
        shell = shell_named(name, has_bash=shutil.which("bash", path=self.search_path()) is not None)
        number = next(self.files)
        path = self.folders.temp / f"{number}{shell.extension}"
        text = "\n".join(part for part in (shell.prologue, script, shell.epilogue) if part)
        await asyncio.to_thread(path.write_text, text + "\n")
        self.announce(script, shell=str(shell), env=env)
        argv = shell.argv(str(path))
        finished = await self.process(argv, frame, step, env, outcome, cwd=folder, timeout_s=timeout_s)
        self.check(finished, step, timeout_s)

    def directory(self, value: Value, scope: Scope) -> Path:
        relative = interpolate_text(value, scope)
        folder = self.folders.work / relative if relative else self.folders.work
        if not folder.is_dir():
            raise StepFailed(f"working-directory {relative!r} does not exist in the work tree")
        return folder

    def announce(self, script: str, *, shell: str, env: Mapping[str, str]) -> None:
        """The head of a step in the log: what is run, by which shell, with which environment."""
        first = script.strip().partition("\n")[0]
        self.log.line(f"##[group]Run {first}")
        self.log.lines(script.rstrip())
        self.log.line(f"shell: {shell}")
        self.announce_env(env)
        self.log.line("##[endgroup]")

    def announce_env(self, env: Mapping[str, str]) -> None:
        if env:
            self.log.line("env:")
            for name, value in env.items():
                self.log.lines(f"  {name}: {indented(value)}")

    async def process(self, argv: list[str], frame: Frame, step: Step, env: Mapping[str, str], outcome: StepOutcome, *,
                      cwd: Path, timeout_s: float | None = None, extra: Mapping[str, str] | None = None) -> Finished:
        """Run a process of a step: its command files, its output as commands and log."""
        number = next(self.files)
        files = {name: self.folders.commands / f"{name}_{number}" for name in (
            "set_env", "set_output", "add_path", "save_state", "step_summary")}
        for file in files.values():
            file.touch()
        variables = {
            **self.variables(frame, env, step),
            "GITHUB_ENV": str(files["set_env"]),
            "GITHUB_OUTPUT": str(files["set_output"]),
            "GITHUB_PATH": str(files["add_path"]),
            "GITHUB_STATE": str(files["save_state"]),
            "GITHUB_STEP_SUMMARY": str(files["step_summary"]),
            **(extra or {}),
        }
        listener = Listener()
        argv = [shutil.which(argv[0], path=variables["PATH"]) or argv[0], *argv[1:]]
        if self.services is not None:
            variables = {name: self.services.rewritten(value) for name, value in variables.items()}
            argv = self.services.wrapped(argv)
        cancel = None if self.status == "cancelled" else self.background.stopper() or self.cancel
        try:
            finished = await run_process(argv, cwd=cwd, env=variables, timeout_s=timeout_s, cancel=cancel,
                                         on_line=lambda line: self._heard(line, listener, outcome),
                                         unheard=lambda: self.log.is_full)
        except FileNotFoundError:
            raise StepFailed(f"{argv[0]}: command not found (PATH is {variables['PATH']})") from None
        if finished.ending == "exited" and finished.code != 0 and self.on_failure is not None:
            await asyncio.to_thread(self.on_failure, cwd, variables, f"step {step_title(step)!r} failed with {finished.code}")
        self._take_files(files, outcome)
        return finished

    def check(self, finished: Finished, step: Step, timeout_s: float | None) -> None:
        if finished.ending == "cancelled":
            raise StepCancelled(self.stopped_because or "The operation was canceled.")
        if finished.ending == "timeout":
            raise StepFailed(f"The step '{step_title(step)}' has timed out after {(timeout_s or 0) / 60:g} minutes.")
        if finished.code != 0:
            raise StepFailed(f"Process completed with exit code {finished.code}.")

    def _take_files(self, files: Mapping[str, Path], outcome: StepOutcome) -> None:
        for name, value in parse_pairs(_read(files["set_env"])):
            self.set_env(name, value)
        for name, value in parse_pairs(_read(files["set_output"])):
            outcome.outputs[name] = value
        for name, value in parse_pairs(_read(files["save_state"])):
            outcome.state[name] = value
        for entry in parse_paths(_read(files["add_path"])):
            self.add_path(entry)
        summary = _read(files["step_summary"])
        if len(summary.encode()) > SUMMARY_BYTES:
            self.log.line(f"##[error]$GITHUB_STEP_SUMMARY upload aborted, supports content up to a size of "
                          f"{SUMMARY_BYTES // 1024}k.")
        elif summary:
            with self.folders.summary.open("a") as file:
                file.write(self.masker.mask(summary) + "\n")

    def set_env(self, name: str, value: str) -> None:
        """For all steps from here on. Names of the runner itself are left alone."""
        if name.upper() in BLOCKED_ENV:
            raise StepFailed(f"Can't store {name} output parameter using '$GITHUB_ENV' command.")
        if name.upper().startswith(("GITHUB_", "RUNNER_")):
            self.log.line(f"##[warning]{name} is set by the runner and cannot be changed by a step")
            return
        self.background.now_or_later(lambda: self.env.update({name: value}))

    def add_path(self, entry: str) -> None:
        self.background.now_or_later(lambda: self._put_first(entry))

    def _put_first(self, entry: str) -> None:
        if entry in self.path:
            self.path.remove(entry)
        self.path.insert(0, entry)

    def _heard(self, line: str, listener: Listener, outcome: StepOutcome) -> None:
        command = listener.hear(line)
        if command is None:
            self.log.line(line)
            for matcher in self.matchers.values():
                note = matcher.hear(line)
                if note is not None and len(self.annotations) < MOST_ANNOTATIONS:
                    shown = note.file.removeprefix(f"{self.folders.work}/")
                    self.annotations.append(replace(note, message=self.masker.mask(note.message), file=shown))
        else:
            self.obey(command, outcome)

    def obey(self, command: Command, outcome: StepOutcome) -> None:
        """Carry out a workflow command."""
        match command.name:
            case "error" | "warning" | "notice":
                self.annotate(command)
            case "debug":
                if self.env.get("ACTIONS_STEP_DEBUG") == "true" or self.env.get("RUNNER_DEBUG") == "1":
                    self.log.line(f"##[debug]{command.value}")
            case "group":
                self.log.line(f"##[group]{command.value}")
            case "endgroup":
                self.log.line("##[endgroup]")
            case "add-mask":
                self.masker.add(command.value)
                self.log.line("::add-mask::***")
            case "add-matcher":
                self._add_matchers(command.value)
            case "remove-matcher":
                self.matchers.pop(command.properties.get("owner") or command.value, None)
            case "set-output":
                outcome.outputs[command.properties.get("name", "")] = command.value
            case "save-state":
                outcome.state[command.properties.get("name", "")] = command.value
            case "set-env" | "add-path":
                self._unsecure(command, outcome)
            case _:
                pass

    def _add_matchers(self, name: str) -> None:
        try:
            for matcher in decode_matchers((self.folders.work / name).read_text(errors="replace")):
                self.matchers[matcher.owner] = matcher
        except (MatcherError, OSError) as error:
            self.log.line(f"##[warning]::add-matcher::{name}: {error}")

    def annotate(self, command: Command) -> None:
        line, column = command.properties.get("line", ""), command.properties.get("col", "")
        self.annotations.append(Annotation(
            command.name, self.masker.mask(command.value), command.properties.get("file", ""),
            int(line) if line.isdigit() else 0, int(column) if column.isdigit() else 0,
            self.masker.mask(command.properties.get("title", ""))))
        where = command.properties.get("file", "")
        place = f"{where}:{line}: " if where and line else f"{where}: " if where else ""
        self.log.lines(f"##[{command.name}]{place}{command.value}")

    def _unsecure(self, command: Command, outcome: StepOutcome) -> None:
        if self.env.get("ACTIONS_ALLOW_UNSECURE_COMMANDS") != "true":
            outcome.failed = (f"The `{command.name}` command is disabled. Please upgrade to using Environment Files or "
                              "opt into unsecure command execution by setting the `ACTIONS_ALLOW_UNSECURE_COMMANDS` "
                              "environment variable to `true`.")
            self.log.line(f"##[error]{outcome.failed}")
        elif command.name == "set-env":
            self.set_env(command.properties.get("name", ""), command.value)
        else:
            self.add_path(command.value)


def step_title(step: Step, scope: Scope | None = None) -> str:
    """What the log and the status call the step."""
    if step.name:
        return interpolate_text(step.name, scope) if scope is not None else to_text(step.name)
    if step.uses:
        return f"Run {step.uses}"
    text = to_text(step.run)
    if scope is not None and "hashfiles" not in text.lower():  # what takes time is not done twice
        text = interpolate_text(step.run, scope)
    return f"Run {text.strip().partition(chr(10))[0]}"


def indented(value: str) -> str:
    """A value of several lines below its name."""
    return value if "\n" not in value.strip() else "".join(f"\n    {line}" for line in value.strip().splitlines())


def is_true(value: Value) -> bool:
    return value is True or value == "true"


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""  # a step may delete its own command files
