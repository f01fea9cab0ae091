"""A step with `uses`: a stub, a built-in, an action of this or another repository, a container, or a clear refusal."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from fairway.ci.action_file import ActionFile, decode_action
from fairway.ci.actions import BUILT_IN, BuiltIn, Host, Use
from fairway.ci.contexts import STATUS_FUNCTIONS
from fairway.ci.expressions import Scope, evaluate_condition, interpolate_text
from fairway.ci.frame import Frame, StepOutcome
from fairway.ci.job_run import JobRun, StepCancelled, StepFailed, indented
from fairway.ci.remote_actions import folder_of
from fairway.ci.services import containers
from fairway.ci.spec import Step, WorkflowError

MAX_DEPTH = 10
"""Composite actions within each other: GitHub's limit."""


class Uses:
    """What `JobRun` calls for a step with `uses`."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def prepare(self, run: JobRun, frame: Frame, step: Step, scope: Scope) -> None:
        """`pre` of an action of another repository runs before the job's first step. Those of the repository itself have
        none, because there are no files of it yet."""
        if step.uses.startswith((".", "$/", "docker://")) or step.uses.partition("@")[0].lower() in \
                {*BUILT_IN, *self._host.offline.stubs}:
            return
        folder = await folder_of(step.uses, self._host, run.server_url)
        action = _read(step.uses, folder, folder)
        if action is None or not action.pre or not action.using.startswith("node"):
            return
        status = run.scope(frame, run.base_env(frame), step, status=True)
        if evaluate_condition(action.pre_if, status, STATUS_FUNCTIONS):
            given = {name: interpolate_text(value, scope) for name, value in step.inputs.items()}
            outcome = StepOutcome(state=run.states.setdefault(step.id, {}))
            await self._node(run, frame, step, run.base_env(frame), outcome, given, action, folder, action.pre)

    async def __call__(self, run: JobRun, frame: Frame, step: Step, env: Mapping[str, str], outcome: StepOutcome,
                       scope: Scope) -> None:
        given = {name: interpolate_text(value, scope) for name, value in step.inputs.items()}
        self._announce(run, step, given, env)
        name = step.uses.partition("@")[0].lower()
        if name in self._host.offline.stubs:
            run.log.line(f"##[notice]{step.uses} is stubbed: nothing is done")
            outcome.outputs.update(self._host.offline.stubs[name])
        elif step.uses.startswith(("./", ".\\", "$/")):
            folder = (run.folders.work / step.uses.removeprefix("$/")).resolve()
            await self._action(run, frame, step, env, outcome, given, folder, run.folders.work.resolve())
        elif step.uses.startswith("docker://"):
            await self._container(run, step, env, step.uses.removeprefix("docker://"), given)
        elif name in BUILT_IN:
            await self._built_in(run, frame, step, env, outcome, given, BUILT_IN[name])
        else:
            folder = await folder_of(step.uses, self._host, run.server_url)
            outcome.state.update(run.states.get(step.id, {}))
            await self._action(run, frame, step, env, outcome, given, folder, folder)

    def _announce(self, run: JobRun, step: Step, given: Mapping[str, str], env: Mapping[str, str]) -> None:
        run.log.line(f"##[group]Run {step.uses}")
        if given:
            run.log.line("with:")
            for name, value in given.items():
                run.log.lines(f"  {name}: {indented(value)}")
        run.announce_env(env)
        run.log.line("##[endgroup]")

    async def _built_in(self, run: JobRun, frame: Frame, step: Step, env: Mapping[str, str], outcome: StepOutcome,
                        given: Mapping[str, str], action: BuiltIn) -> None:
        await action.run(Use(inputs=self._inputs(run, action, given), run=run, frame=frame, step=step, env=env,
                             outcome=outcome, host=self._host))

    def _inputs(self, run: JobRun, action: BuiltIn, given: Mapping[str, str]) -> dict[str, str]:
        known = {name.lower(): name for name in action.inputs}
        unexpected = [name for name in given if name.lower() not in known]
        if unexpected and not action.takes_more:
            names = ", ".join(f"'{name}'" for name in unexpected)
            valid = ", ".join(f"'{name}'" for name in action.inputs)
            run.log.line(f"##[warning]Unexpected input(s) {names}, valid inputs are [{valid}]")
        chosen = {known.get(name.lower(), name): value for name, value in given.items()
                  if name.lower() in known or action.takes_more}
        return {**action.inputs, **chosen}

    # --- actions with an action.yml -------------------------------------------------------------------------------

    async def _action(self, run: JobRun, frame: Frame, step: Step, env: Mapping[str, str], outcome: StepOutcome,
                      given: Mapping[str, str], folder: Path, root: Path) -> None:
        action = _read(step.uses, folder, root)
        if action is None:
            if (folder / "Dockerfile").is_file():
                raise StepFailed(f"{step.uses}: a bare Dockerfile is no action; add an action.yml")
            hint = "" if (run.folders.work / ".git").exists() or not step.uses.startswith(".") else \
                "; did you forget to run actions/checkout first?"
            raise StepFailed(f"Can't find 'action.yml' or 'action.yaml' under '{step.uses}'{hint}")
        if action.using == "composite":
            await self._composite(run, frame, step, env, outcome, given, action, folder)
        elif action.using.startswith("node"):
            await self._javascript(run, frame, step, env, outcome, given, action, folder)
        elif action.using == "docker":
            image = action.image.removeprefix("docker://") if action.image.startswith("docker://") else ""
            inputs = self._action_inputs(run, frame, step, env, given, action, folder)
            await self._container(run, step, env, image, inputs, folder=folder, action=action)
        else:
            raise StepFailed(f"{step.uses}: actions of the kind {action.using!r} cannot run here; make it a composite "
                             "action")

    def _action_inputs(self, run: JobRun, frame: Frame, step: Step, env: Mapping[str, str], given: Mapping[str, str],
                       action: ActionFile, folder: Path) -> dict[str, str]:
        scope = run.scope(replace(frame, action_path=folder, inputs={}), env, step)
        found = {name: interpolate_text(item.default, scope) for name, item in action.inputs.items()}
        spelled = {name.lower(): name for name in action.inputs}
        for name, value in given.items():
            found[spelled.get(name.lower(), name)] = value
        return found

    async def _composite(self, run: JobRun, frame: Frame, step: Step, env: Mapping[str, str], outcome: StepOutcome,
                         given: Mapping[str, str], action: ActionFile, folder: Path) -> None:
        if frame.depth >= MAX_DEPTH:
            raise StepFailed(f"{step.uses}: composite actions are nested deeper than {MAX_DEPTH}")
        inputs = self._action_inputs(run, frame, step, env, given, action, folder)
        own = {name: value for name, value in env.items() if run.env.get(name) != value}
        inner = Frame(env=own, inputs=inputs, action_path=folder, depth=frame.depth + 1)
        failed = ""
        for nested in action.steps:
            before = inner.status
            await run.run_step(inner, nested)
            if inner.status == "failure" and before == "success":
                failed = nested.id
        scope = run.scope(inner, {**run.base_env(inner)})
        for name, value in action.outputs.items():
            outcome.outputs[name] = interpolate_text(value, scope)
        if inner.status == "cancelled":
            raise StepCancelled("The operation was canceled.")
        if inner.status == "failure":
            raise StepFailed(f"{step.uses}: step {failed!r} of the action failed")

    async def _javascript(self, run: JobRun, frame: Frame, step: Step, env: Mapping[str, str], outcome: StepOutcome,
                          given: Mapping[str, str], action: ActionFile, folder: Path) -> None:
        async def part(script: str) -> None:
            await self._node(run, frame, step, env, outcome, given, action, folder, script)

        if action.pre and step.uses.startswith((".", "$/")):
            await part(action.pre)
        if action.post:
            run.posts.append((f"Run {step.uses}", action.post_if, lambda: part(action.post)))
        await part(action.main)

    async def _node(self, run: JobRun, frame: Frame, step: Step, env: Mapping[str, str], outcome: StepOutcome,
                    given: Mapping[str, str], action: ActionFile, folder: Path, script: str) -> None:
        if shutil.which("node", path=run.search_path()) is None:
            raise StepFailed(f"{step.uses}: JavaScript actions need node, which is not on this machine's PATH")
        inputs = self._action_inputs(run, frame, step, env, given, action, folder)
        extra = {f"INPUT_{name.upper().replace(' ', '_')}": value for name, value in inputs.items()}
        extra |= {f"STATE_{name}": value for name, value in outcome.state.items()}
        inner = replace(frame, action_path=folder)
        done = await run.process(["node", str(folder / script)], inner, step, env, outcome, cwd=run.folders.work, extra=extra)
        run.check(done, step, None)

    # --- containers -----------------------------------------------------------------------------------------------

    async def _container(self, run: JobRun, step: Step, env: Mapping[str, str], image: str, inputs: Mapping[str, str], *,
                         folder: Path | None = None, action: ActionFile | None = None) -> None:
        """With docker or podman, as GitHub runs it; else refused with the mend."""
        engine = containers.engine()
        if not engine:
            raise StepFailed(f"{step.uses}: container actions need docker or podman, which do not answer here; install the "
                             f"tool and call it in a run step, or leave it out with --stub {step.uses.partition('@')[0]}")
        outcome, frame = StepOutcome(), run.frame
        if not image and folder is not None and action is not None:
            image = f"fairway-action-{zlib.crc32(str(folder).encode()):x}"
            built = await run.process([engine, "build", "--quiet", "--tag", image, "--file", str(folder / action.image),
                                       str(folder)], frame, step, env, outcome, cwd=folder)
            run.check(built, step, None)
        words = {name: value for name, value in inputs.items() if name not in ("args", "entrypoint")}
        extra = {f"INPUT_{name.upper().replace(' ', '_')}": value for name, value in words.items()}
        names = [*extra, *(name for name in run.variables(frame, env, step) if name not in ("PATH", "HOME", "TMPDIR"))]
        entry = inputs.get("entrypoint", "") or (action.entrypoint if action is not None else "")
        argv = [engine, "run", "--rm", "--workdir", "/github/workspace", "--volume", f"{run.folders.work}:/github/workspace",
                "--volume", f"{run.folders.temp}:{run.folders.temp}"]
        argv += [word for name in names for word in ("--env", name)]
        argv += ["--entrypoint", entry] if entry else []
        scope = run.scope(frame, env, step)
        args = [interpolate_text(arg, Scope({**scope.contexts, "inputs": dict(inputs)}, scope.functions))
                for arg in (action.args if action is not None else ())] or inputs.get("args", "").split()
        done = await run.process([*argv, image, *args], frame, step, env, outcome, cwd=run.folders.work, extra=extra)
        run.check(done, step, None)


def _read(uses: str, folder: Path, root: Path) -> ActionFile | None:
    """The action in this folder, or None where there is no file of one."""
    file = next((folder / name for name in ("action.yml", "action.yaml") if (folder / name).is_file()), None)
    if file is None:
        return None
    shown = file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name
    try:
        return decode_action(file.read_text(), shown)
    except WorkflowError as error:
        raise StepFailed(str(error)) from None

