"""Which jobs a pipeline has, and why others are not in it: rules, matrices and needs applied to what happened. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fairway.ci.gitlab.rules import Facts, RuleMistake, first_match, is_wanted, outcome
from fairway.ci.gitlab.spec import AllowFailure, Configuration, Environment, Job, Need, Rule, When
from fairway.ci.gitlab.variables import NO_VARIABLES, Variable, Variables, expand
from fairway.ci.spec import Mistake, WorkflowError
from fairway.kube.decision import Reason

Scoped = tuple[tuple[str, Variables], ...]
"""Variables of some environments: a pattern of their names (`review/*`) and what they have."""

_MATRIX = re.compile(r"\$\[\[\s*matrix\.([\w-]+)\s*\]\]")


@dataclass(frozen=True, slots=True)
class LegNeed:
    """One leg that must end first, by its id."""

    leg: str
    artifacts: bool = True


@dataclass(frozen=True)
class Leg:
    """One job of the pipeline: `name` is what people read (`test: [3.12]`), `id` is unique and fit for a folder.

    `variables` are the job's own, rules and matrix included. `needs` is None where the leg waits for all earlier stages.
    """

    id: str
    name: str
    job: Job
    when: When
    allow_failure: AllowFailure
    variables: Variables
    needs: tuple[LegNeed, ...] | None = None
    matrix: Mapping[str, str] | None = None
    index: int = 0
    total: int = 1
    start_in_s: float = 0.0
    interruptible: bool = False
    resource_group: str = ""
    environment: Environment | None = None
    why: str = ""


@dataclass(frozen=True)
class Pipeline:
    """`left_out` are legs that the rules do not add, with `when` never. `unmet` says what keeps it from starting."""

    configuration: Configuration
    legs: tuple[Leg, ...]
    left_out: tuple[Leg, ...] = ()
    name: str = ""
    variables: Variables = NO_VARIABLES
    given: Variables = NO_VARIABLES
    predefined: Variables = NO_VARIABLES
    scoped: Scoped = ()
    refused: Reason | None = None
    unmet: tuple[Mistake, ...] = ()

    def leg(self, id: str) -> Leg | None:
        return next((leg for leg in self.legs if leg.id == id), None)

    def stage_of(self, leg: Leg) -> int:
        return self.configuration.stages.index(leg.job.stage)

    def layers(self, leg: Leg, *, dotenv: Mapping[str, str] | None = None, extra: Mapping[str, str] | None = None) -> Variables:
        """All variables of a leg: given ones first, then what earlier jobs reported, its own, the pipeline's, predefined."""
        own = leg.variables.over(self.variables.only(leg.job.inherit.variables))
        given = in_scope(self.given, self.scoped, leg.environment)
        found = given.over(Variables.of(dotenv or {}, raw=True).over(own))
        return found.over(Variables.of({**job_variables(leg), **(extra or {})}, raw=True).over(self.predefined))


def in_scope(given: Variables, scoped: Scoped, environment: Environment | None) -> Variables:
    """The longest pattern that fits is the nearest: its variables go before those of the others."""
    name = environment.name if environment is not None else ""
    for pattern, variables in sorted(scoped, key=lambda row: len(row[0])):
        if re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name):
            given = variables.over(given)
    return given


def plan(configuration: Configuration, predefined: Mapping[str, str], facts: Facts, *,
         given: Variables | None = None, scoped: Scoped = ()) -> Pipeline:
    """`given` are variables of project, trigger or command line. Raises `WorkflowError`."""
    return _Planner(configuration, Variables.of(predefined, raw=True), facts, given or Variables(), scoped).pipeline()


def job_variables(leg: Leg) -> dict[str, str]:
    """The predefined variables of a job that are known before it runs."""
    found = {"CI_JOB_NAME": leg.name, "CI_JOB_NAME_SLUG": re.sub(r"[^a-z0-9]+", "-", leg.name.lower())[:63].strip("-"),
             "CI_JOB_STAGE": leg.job.stage, "CI_JOB_GROUP_NAME": leg.job.name, "CI_NODE_TOTAL": str(leg.total)}
    if leg.total > 1 or leg.job.count:
        found["CI_NODE_INDEX"] = str(leg.index + 1)
    return found


class _Planner:
    def __init__(self, configuration: Configuration, predefined: Variables, facts: Facts, given: Variables,
                 scoped: Scoped) -> None:
        self.scoped = scoped
        self.configuration = configuration
        self.predefined = predefined
        self.facts = facts
        self.given = given
        self.globals = configuration.variables

    def pipeline(self) -> Pipeline:
        refused = self.workflow()
        legs = [leg for number, job in enumerate(self.configuration.jobs.values()) for leg in self.legs_of(job, number)]
        added = tuple(leg for leg in legs if leg.when != "never")
        added = tuple(self.with_needs(leg, added) for leg in added)
        pipeline = Pipeline(self.configuration, added, tuple(leg for leg in legs if leg.when == "never"),
                            expand(self.configuration.name, self.visible()), self.globals, self.given,
                            self.predefined, self.scoped, refused)
        return replace(pipeline, unmet=self.unmet(pipeline))

    def visible(self) -> dict[str, str]:
        return self.given.over(self.globals.over(self.predefined)).expanded()

    def workflow(self) -> Reason | None:
        if self.configuration.workflow_rules is None:
            return None
        try:
            rule = first_match(self.configuration.workflow_rules, self.visible(), self.facts)
        except RuleMistake as error:
            raise WorkflowError(self.configuration.path, (Mistake(f"workflow:{error}"),)) from None
        if rule is None or rule.when == "never":
            return Reason("FilteredByWorkflowRules", "workflow:rules want no pipeline here")
        self.globals = rule.variables.over(self.globals)
        return None

    # --- legs -----------------------------------------------------------------------------------------------------

    def legs_of(self, job: Job, number: int) -> Iterator[Leg]:
        rows = list(_rows(job))
        for index, row in enumerate(rows):
            name = _leg_name(job, row, index, len(rows))
            own = Variables({key: Variable(value, raw=True) for key, value in (row or {}).items()}).over(job.variables)
            leg = Leg(f"{_slug(job.name)}-{number + 1}" if row is None and not job.count else
                      f"{_slug(job.name)}-{number + 1}-{index + 1}", name, job, job.when, AllowFailure(), own, matrix=row,
                      index=index, total=len(rows), start_in_s=job.start_in_s, interruptible=job.interruptible)
            yield self.decided(leg)

    def decided(self, leg: Leg) -> Leg:
        job = leg.job
        visible = self.texts(leg)
        rule: Rule | None = None
        why = ""
        if job.rules is not None:
            try:
                when, allowed, rule = outcome(job.rules, visible, self.facts, job_when=job.when, job_allows=job.allow_failure)
            except RuleMistake as error:
                raise WorkflowError(job.where, (Mistake(f"{job.name}:{error}", job.line, 1),)) from None
            why = "no rule applies" if rule is None else _said(rule)
        else:
            wanted = is_wanted(job.only, job.exclude, visible, self.facts)
            when = job.when if wanted else "never"
            why = "" if wanted else "only/except do not want it here"
            allowed = job.allow_failure if job.allow_failure is not None else AllowFailure(always=when == "manual")
        leg = replace(leg, when=when, allow_failure=allowed, why=why)
        if rule is not None:
            leg = replace(leg, variables=rule.variables.over(leg.variables),
                          start_in_s=leg.start_in_s if rule.start_in_s is None else rule.start_in_s,
                          interruptible=leg.interruptible if rule.interruptible is None else rule.interruptible,
                          job=job if rule.needs is None else replace(job, needs=rule.needs))
        visible = self.texts(leg)
        environment = job.environment
        if environment is not None:
            environment = replace(environment, name=expand(environment.name, visible))  # the URL may hold what jobs report
        return replace(leg, environment=environment, resource_group=expand(job.resource_group, visible))

    def texts(self, leg: Leg) -> dict[str, str]:
        own = leg.variables.over(self.globals.only(leg.job.inherit.variables))
        return self.given.over(own.over(self.predefined).over(Variables.of(job_variables(leg), raw=True))).expanded()

    # --- needs ----------------------------------------------------------------------------------------------------

    def with_needs(self, leg: Leg, legs: tuple[Leg, ...]) -> Leg:
        if leg.job.needs is None:
            return leg
        found: dict[str, LegNeed] = {}
        for need in leg.job.needs:
            if need.project or need.pipeline:
                continue
            for other in legs:
                if other.job.name == need.job and self.selected(leg, need, other):
                    found[other.id] = LegNeed(other.id, need.artifacts)
        return replace(leg, needs=tuple(found.values()))

    def selected(self, leg: Leg, need: Need, other: Leg) -> bool:
        if not need.matrix:
            return True
        cells = other.matrix or {}
        return any(all(cells.get(str(key)) in self.cells(leg, values) for key, values in row.items()) for row in need.matrix)

    def cells(self, leg: Leg, values: Any) -> list[str]:
        def of(match: re.Match[str]) -> str:
            if leg.matrix is None:
                raise self.refusal(leg, "uses $[[ matrix.X ]] in needs:parallel:matrix, but has no parallel:matrix itself")
            if match[1] not in leg.matrix:
                raise self.refusal(leg, f"'{match[1]}' does not exist in the matrix configuration")
            return leg.matrix[match[1]]

        return [_MATRIX.sub(of, str(value)) for value in (values if isinstance(values, list) else [values])]

    def refusal(self, leg: Leg, message: str) -> WorkflowError:
        return WorkflowError(leg.job.where or self.configuration.path,
                             (Mistake(f"{leg.name}: {message}", leg.job.line, 1),))

    def unmet(self, pipeline: Pipeline) -> tuple[Mistake, ...]:
        """Needs that the rules left out, and circles."""
        here = {leg.job.name for leg in pipeline.legs}
        found = []
        for leg in pipeline.legs:
            for need in leg.job.needs or ():
                if not (need.project or need.pipeline or need.optional) and need.job not in here:
                    found.append(Mistake(f"'{leg.name}' job needs '{need.job}' job, but '{need.job}' does not exist in the "
                                         "pipeline: rules, only or except left it out; write `optional: true` where it may "
                                         "be absent", leg.job.line, 1))
                elif need.matrix and not need.optional and not need.project and not any(
                        other.job.name == need.job and self.selected(leg, need, other) for other in pipeline.legs):
                    found.append(Mistake(f"'{leg.name}' job needs no leg of '{need.job}': its matrix selects none",
                                         leg.job.line, 1))
            for name in leg.job.dependencies or ():
                if name not in here:
                    found.append(Mistake(f"'{leg.name}' job: dependency '{name}' does not exist in the pipeline",
                                         leg.job.line, 1))
        return (*found, *_circles(pipeline))


def _circles(pipeline: Pipeline) -> Iterator[Mistake]:
    edges = {leg.id: [need.leg for need in leg.needs or ()] for leg in pipeline.legs}
    state: dict[str, int] = {}

    def walk(start: str) -> str:
        stack = [(start, iter(edges[start]))]
        state[start] = 1
        while stack:
            name, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                state[name] = 2
                stack.pop()
            elif state.get(following) == 1:
                return following
            elif following not in state:
                state[following] = 1
                stack.append((following, iter(edges[following])))
        return ""

    for leg in pipeline.legs:
        if leg.id not in state:
            found = pipeline.leg(walk(leg.id))
            if found is not None:
                yield Mistake(f"the needs of job '{found.name}' lead back to itself", found.job.line, 1)
                return


def _rows(job: Job) -> Iterator[Mapping[str, str] | None]:
    if job.count:
        yield from itertools.repeat({}, job.count)
    elif job.matrix:
        for row in job.matrix:
            for values in itertools.product(*row.values()):
                yield dict(zip(row, values, strict=True))
    else:
        yield None


def _leg_name(job: Job, row: Mapping[str, str] | None, index: int, total: int) -> str:
    if job.count:
        return f"{job.name} {index + 1}/{total}"
    return f"{job.name}: [{', '.join(row.values())}]" if row else job.name


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-")[:48] or "job"


def _said(rule: Rule) -> str:
    parts = [f"if {rule.condition}"] if rule.condition else []
    parts += [f"changes {', '.join(rule.changes.paths[:3])}"] if rule.changes else []
    parts += [f"exists {', '.join(rule.exists[:3])}"] if rule.exists else []
    return f"rule {' and '.join(parts) or 'without a condition'}: {rule.when or 'on_success'}"
