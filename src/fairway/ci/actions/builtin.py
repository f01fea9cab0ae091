"""What a built-in action is, and what it may do to the job that uses it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fairway.ci.expressions import Value, to_text
from fairway.ci.frame import Frame, StepOutcome
from fairway.ci.job_run import JobRun, StepCancelled, StepFailed
from fairway.ci.process import TRACKING, run_process
from fairway.ci.repositories import Access, Repositories
from fairway.ci.shelf import OwnShelf, Shelf
from fairway.ci.spec import Step
from fairway.ci.tokens import Tokens

ActionFailed = StepFailed
"""The step that uses the action fails; the message names what was wrong and the mend."""


@dataclass(frozen=True)
class Offline:
    """What is done about actions that are not built in, and about built-in ones that have nothing to do here.

    `stubs` do nothing and have these outputs; `folders` hold actions by name; `fetch` allows git to get the others.
    `strict`: a built-in that cannot do its work here fails, instead of saying so and going on.
    """

    stubs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    folders: Mapping[str, Path] = field(default_factory=dict)
    strict: bool = False
    fetch: bool = False


NOTHING_OFFLINE = Offline()


@dataclass(frozen=True, slots=True)
class Host:
    """What the machine offers to actions. `fairway` is the command that builds images."""

    repositories: Repositories
    fairway: tuple[str, ...] = ("fairway",)
    offline: Offline = NOTHING_OFFLINE
    tokens: Tokens | None = None
    root: Path | None = None
    """The CI folder of the platform: where fetched actions are kept."""
    shelf: Shelf = field(default_factory=OwnShelf)


@dataclass(frozen=True)
class Use:
    """One use of an action by a step."""

    inputs: Mapping[str, str]
    run: JobRun
    frame: Frame
    step: Step
    env: Mapping[str, str]
    outcome: StepOutcome
    host: Host

    # --- what it knows --------------------------------------------------------------------------------------------

    @property
    def workspace(self) -> Path:
        return self.run.folders.work

    @property
    def temp(self) -> Path:
        return self.run.folders.temp

    @property
    def github(self) -> Mapping[str, Value]:
        found: Mapping[str, Value] = self.run.contexts["github"]
        return found

    def context(self, name: str) -> str:
        return to_text(self.github.get(name))

    def text(self, name: str) -> str:
        return self.inputs.get(name, "").strip()

    def lines(self, name: str) -> list[str]:
        """One value a line; blank lines and comments aside."""
        return [line.strip() for line in self.inputs.get(name, "").splitlines()
                if line.strip() and not line.strip().startswith("#")]

    def listed(self, name: str) -> list[str]:
        """Values divided by line ends or commas."""
        return [part.strip() for line in self.lines(name) for part in line.split(",") if part.strip()]

    def flag(self, name: str) -> bool:
        text = self.text(name).lower()
        if text in ("true", "false", ""):
            return text == "true"
        raise ActionFailed(f"input {name!r} must be true or false, not {text!r}")

    def inside(self, path: str) -> Path:
        """A path of the work tree; one that leads out of it is refused."""
        found = (self.workspace / path).resolve()
        if not found.is_relative_to(self.workspace.resolve()):
            raise ActionFailed(f"path {path!r} leads out of the work tree")
        return found

    def token_for(self, access: Access, *, write: bool) -> str:
        """What opens a repository for this job: its own token for its own, one of its own for each other."""
        own = self.context("repository")
        name = access.name or own
        if self.host.tokens is None:
            return access.token
        if name == own:
            return self.context("token")
        if write and access.writers is not None and own not in access.writers:
            raise ActionFailed(f"jobs of {own} may not push to {name}: add {own} to spec.writers of its Repository")
        return self.host.tokens.issue(self.run.process_env[TRACKING], name, "write" if write else "read")

    # --- what it says ---------------------------------------------------------------------------------------------

    def log(self, text: str) -> None:
        self.run.log.lines(text)

    def notice(self, text: str) -> None:
        self.run.log.lines(f"##[notice]{text}")

    def warn(self, text: str) -> None:
        self.run.log.lines(f"##[warning]{text}")

    def neutral(self, text: str) -> None:
        """There is nothing to do here: said in the log and in the summary, and a failure where `--fail` was asked for."""
        if self.host.offline.strict:
            raise ActionFailed(f"{self.step.uses}: {text}")
        self.notice(f"{self.step.uses}: {text}")
        self.summary(f"- `{self.step.uses}`: {text}")

    def summary(self, text: str) -> None:
        with self.run.folders.summary.open("a") as file:
            file.write(self.run.masker.mask(text) + "\n")

    # --- what it does ---------------------------------------------------------------------------------------------

    def output(self, name: str, value: str) -> None:
        self.outcome.outputs[name] = value

    def mask(self, secret: str) -> None:
        self.run.masker.add(secret)

    def set_env(self, name: str, value: str) -> None:
        self.run.set_env(name, value)

    def add_path(self, path: Path) -> None:
        self.run.add_path(str(path))

    def add_image(self, name: str, digest: str) -> None:
        self.run.images.append({"name": name, "digest": digest})

    def at_end(self, title: str, work: Callable[[], Awaitable[None]], *, condition: str = "always()") -> None:
        """Have `work` done after the last step, in reverse order of registration."""
        self.run.posts.append((title, condition, work))

    def variables(self) -> dict[str, str]:
        return self.run.variables(self.frame, self.env, self.step)

    async def execute(self, *argv: str, cwd: Path | None = None, env: Mapping[str, str] | None = None,
                      echo: bool = True, quiet: bool = False, may_fail: bool = False) -> str:
        """Run a command and return its output. `ActionFailed` with the last lines where it fails."""
        said: list[str] = []

        def heard(line: str) -> None:
            said.append(line)
            if not quiet:
                self.run.log.line(line)

        if echo:
            self.run.log.line("$ " + " ".join(argv))
        cancel = None if self.run.status == "cancelled" else self.run.cancel
        variables = {**self.variables(), **(env or {})}
        try:
            done = await run_process(argv, cwd=cwd or self.workspace, env=variables, on_line=heard, cancel=cancel)
        except FileNotFoundError:
            raise ActionFailed(f"{argv[0]}: command not found") from None
        if done.ending == "cancelled":
            raise StepCancelled(self.run.stopped_because or "The operation was canceled.")
        if done.code != 0 and not may_fail:
            last = "\n".join(said[-5:]) if quiet else (said[-1] if said else "")
            raise ActionFailed(f"{' '.join(argv[:3])} failed with exit code {done.code}: {last}")
        return "\n".join(said)


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """An action that Fairway has itself. `inputs` gives the default of each input that it knows; `takes_more`: others are
    handed on without a warning."""

    name: str
    inputs: Mapping[str, str]
    run: Callable[[Use], Awaitable[None]]
    takes_more: bool = False
