"""A step with `uses`: a built-in, a composite or JavaScript action of the repository, or a clear refusal."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from fairway.ci.action_file import ActionFile, decode_action
from fairway.ci.actions import BUILT_IN, BuiltIn, Host, Use
from fairway.ci.expressions import Scope, interpolate_text
from fairway.ci.frame import Frame, StepOutcome
from fairway.ci.job_run import JobRun, StepCancelled, StepFailed, indented
from fairway.ci.spec import Step, WorkflowError

MAX_DEPTH = 10
"""Composite actions within each other: GitHub's limit."""


class Uses:
    """What `JobRun` calls for a step with `uses`."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def __call__(self, run: JobRun, frame: Frame, step: Step, env: Mapping[str, str], outcome: StepOutcome,
                       scope: Scope) -> None:
        given = {name: interpolate_text(value, scope) for name, value in step.inputs.items()}
        run.log.line(f"##[group]Run {step.uses}")
        if given:
            run.log.line("with:")
            for name, value in given.items():
                run.log.lines(f"  {name}: {indented(value)}")
        run.announce_env(env)
        run.log.line("##[endgroup]")
        if step.uses.startswith(("./", ".\\")):
            await self._local(run, frame, step, env, outcome, given)
        elif step.uses.startswith("docker://"):
            raise StepFailed(f"{step.uses}: container actions need a container engine, which jobs do not have here; "
                             "install the tool and call it in a run step")
        else:
            await self._built_in(run, frame, step, env, outcome, given)

    async def _built_in(self, run: JobRun, frame: Frame, step: Step, env: Mapping[str, str], outcome: StepOutcome,
                        given: Mapping[str, str]) -> None:
        name = step.uses.partition("@")[0]
        action = BUILT_IN.get(name.lower())
        if action is None:
            raise StepFailed(f"action {step.uses!r} is not built in, and nothing is downloaded here: copy it into the "
                             f"repository and write `uses: ./.github/actions/{name.rpartition('/')[2]}`, or do the same in "
                             "a run step")
        await action.run(Use(inputs=self._inputs(run, action, given), run=run, frame=frame, step=step, env=env,
                             outcome=outcome, host=self._host))

    def _inputs(self, run: JobRun, action: BuiltIn, given: Mapping[str, str]) -> dict[str, str]:
        known = {name.lower(): name for name in action.inputs}
        unexpected = [name for name in given if name.lower() not in known]
        if unexpected:
            names = ", ".join(f"'{name}'" for name in unexpected)
            valid = ", ".join(f"'{name}'" for name in action.inputs)
            run.log.line(f"##[warning]Unexpected input(s) {names}, valid inputs are [{valid}]")
        chosen = {known[name.lower()]: value for name, value in given.items() if name.lower() in known}
        return {**action.inputs, **chosen}

    # --- actions of the repository --------------------------------------------------------------------------------

    async def _local(self, run: JobRun, frame: Frame, step: Step, env: Mapping[str, str], outcome: StepOutcome,
                     given: Mapping[str, str]) -> None:
        folder = (run.folders.work / step.uses).resolve()
        file = next((folder / name for name in ("action.yml", "action.yaml") if (folder / name).is_file()), None)
        if file is None:
            hint = "" if (run.folders.work / ".git").exists() else "; did you forget to run actions/checkout first?"
            raise StepFailed(f"Can't find 'action.yml' or 'action.yaml' under '{step.uses}'{hint}")
        try:
            action = decode_action(file.read_text(), file.relative_to(run.folders.work.resolve()).as_posix())
        except WorkflowError as error:
            raise StepFailed(str(error)) from None
        if action.using == "composite":
            await self._composite(run, frame, step, env, outcome, given, action, folder)
        elif action.using.startswith("node"):
            await self._javascript(run, frame, step, env, outcome, given, action, folder)
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
        if shutil.which("node", path=run.search_path()) is None:
            raise StepFailed(f"{step.uses}: JavaScript actions need node, which is not on this machine's PATH")
        inputs = self._action_inputs(run, frame, step, env, given, action, folder)
        inner = replace(frame, action_path=folder)
        extra = {f"INPUT_{name.upper().replace(' ', '_')}": value for name, value in inputs.items()}

        async def part(script: str) -> None:
            state = {f"STATE_{name}": value for name, value in outcome.state.items()}
            argv = ["node", str(folder / script)]
            done = await run.process(argv, inner, step, env, outcome, cwd=run.folders.work, extra={**extra, **state})
            run.check(done, step, None)

        if action.pre:
            await part(action.pre)
        if action.post:
            run.posts.append((f"Run {step.uses}", action.post_if, lambda: part(action.post)))
        await part(action.main)
