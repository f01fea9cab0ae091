"""From `.gitlab-ci.yml` to the jobs of a pipeline: includes, extends, references, rules, matrices, needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from fairway.ci.gitlab.conditions import ConditionError, evaluate
from fairway.ci.gitlab.decoding import decode
from fairway.ci.gitlab.durations import seconds
from fairway.ci.gitlab.includes import Given, read_whole
from fairway.ci.gitlab.plan import Pipeline, plan
from fairway.ci.gitlab.predefined import Occasion, environment_slug, pipeline_variables
from fairway.ci.gitlab.regexps import RegexpError, compile_re2
from fairway.ci.gitlab.rules import Facts
from fairway.ci.gitlab.sources import FileTree, Tree
from fairway.ci.gitlab.variables import Variable, Variables
from fairway.ci.spec import WorkflowError


@dataclass(frozen=True)
class OwnSources:
    """The repository alone: nothing is fetched."""

    tree: Tree

    def own(self) -> Tree:
        return self.tree

    def project(self, name: str, ref: str) -> Tree | None:
        return None

    def fetch(self, url: str) -> str | None:
        return None

    def template(self, name: str) -> str | None:
        return None


def pipeline(text: str, files: Mapping[str, str] | None = None, *, source: str = "push", ref: str = "main",
             changed: frozenset[str] | None = frozenset(), given: Mapping[str, str] | None = None) -> Pipeline:
    tree = {".gitlab-ci.yml": text, **(files or {})}
    predefined = pipeline_variables(Occasion(source, "shop/app", ref, "a" * 40))
    facts = Facts(source, ref, False, changed, lambda: tree)
    variables = Variables.of(given or {})
    whole = read_whole(".gitlab-ci.yml", Given(OwnSources(FileTree(tree.get, lambda: tree)), facts,
                                               variables.over(Variables.of(predefined)).expanded()))
    assert whole is not None
    return plan(decode(whole, ".gitlab-ci.yml"), predefined, facts, given=variables)


def names(made: Pipeline) -> list[str]:
    return [leg.name for leg in made.legs]


def script(made: Pipeline, name: str) -> tuple[str, ...]:
    return next(leg.job.script for leg in made.legs if leg.name == name)


def test_files_are_merged_then_extended_then_dereferenced() -> None:
    made = pipeline("""
include:
  - {local: /ci/base.yml, inputs: {word: hello}}
.own: {extends: .base, variables: {A: own}}
job:
  extends: [.base, .own]
  script: [!reference [.base, script], last]
""", {"ci/base.yml": "spec: {inputs: {word: {options: [hello, bye]}}}\n---\n"
                     ".base:\n  variables: {A: base, B: base}\n  script: ['echo $[[ inputs.word ]]']\n"})
    assert script(made, "job") == ("echo hello", "last")
    assert made.layers(made.legs[0]).expanded()["A"] == "own"
    assert made.layers(made.legs[0]).expanded()["B"] == "base"


@pytest.mark.parametrize(("text", "files", "said"), [
    ("job: {stage: test}", {}, ".gitlab-ci.yml:1:1: job config should have either `script`, `trigger` or `run`"),
    ("job:\n  script: x\n  scrip: y", {}, ".gitlab-ci.yml:1:1: job does not know 'scrip'"),
    ("stages: [a]\njob: {stage: b, script: x}", {}, ".gitlab-ci.yml:2:1: job job: chosen stage b does not exist"),
    ("job: {script: x, needs: [other]}", {}, "undefined need: other"),
    ("a: {stage: deploy, script: x}\nb: {stage: test, script: x, needs: [a]}", {}, "not defined in current or prior stages"),
    ("job: {script: x, rules: [{if: '$A =='}]}", {}, "rules[0]:if $A ==: a value is missing at the end"),
    ("job: {script: x, rules: [], only: [main]}", {}, "`rules` cannot stand together with `only`"),
    ("job: {script: [!reference [job, script]]}", {}, "!reference [job, script] is part of a circular chain"),
    ("a: {extends: b}\nb: {extends: a}", {}, "circular dependency detected in `extends`"),
    ("include: nowhere.yml", {}, "include:local `nowhere.yml` does not exist"),
    ("include: a.yml", {"a.yml": "spec: {inputs: {x: }}\n---\nj: {script: '$[[ inputs.x ]]'}"},
     "a.yml: `x` input: required value has not been provided"),
    ("job: {script: x, retry: 3}", {}, "job:retry:max must be 0, 1 or 2"),
    ("job: {script: {a: b}}", {}, "quote a line with `: ` in it"),
    ("job: [1", {}, ".gitlab-ci.yml:2:1: did not find expected"),
])
def test_a_mistake_is_named_with_its_place(text: str, files: dict[str, str], said: str) -> None:
    with pytest.raises(WorkflowError) as refused:
        pipeline(text, files)
    assert said in str(refused.value)


def test_rules_say_which_jobs_there_are_and_why() -> None:
    text = """
workflow: {rules: [{if: $CI_COMMIT_TAG, when: never}, {when: always, variables: {FROM: workflow}}]}
docs: {script: x, rules: [{changes: ['docs/**/*.md']}]}
deploy:
  script: x
  environment: {name: 'review/$CI_COMMIT_REF_SLUG'}
  rules: [{if: '$CI_COMMIT_BRANCH == "main"', when: manual}]
mr: {script: x, rules: [{if: '$CI_PIPELINE_SOURCE == "merge_request_event"'}]}
old: {script: x, only: [/^rel/]}
env: {script: x, rules: [{if: '$FROM == "workflow"', variables: {LEVEL: rule}, allow_failure: true}]}
"""
    made = pipeline(text, changed=frozenset({"docs/a/b.md"}))
    assert names(made) == ["docs", "deploy", "env"]
    assert [(leg.name, leg.why) for leg in made.left_out] == [
        ("mr", "no rule applies"), ("old", "only/except do not want it here")]
    deploy, env = made.legs[1], made.legs[2]
    assert (deploy.when, deploy.allow_failure.always, deploy.environment and deploy.environment.name) == (
        "manual", False, "review/main")
    assert (env.allow_failure.always, made.layers(env).expanded()["LEVEL"]) == (True, "rule")
    assert names(pipeline(text, source="merge_request_event")) == ["mr", "env"]
    assert names(pipeline(text, ref="release-1", changed=None)) == ["docs", "old", "env"]


def test_matrices_and_who_needs_which_leg() -> None:
    made = pipeline("""
build: {stage: build, script: x, parallel: {matrix: [{ARCH: [arm, x64], OS: linux}, {ARCH: wasm}]}}
test:
  script: x
  parallel: {matrix: [{ARCH: [arm, x64]}]}
  needs: [{job: build, parallel: {matrix: [{ARCH: $[[ matrix.ARCH ]]}]}}]
split: {script: x, parallel: 2, needs: []}
""")
    assert names(made) == ["build: [arm, linux]", "build: [x64, linux]", "build: [wasm]", "test: [arm]", "test: [x64]",
                           "split 1/2", "split 2/2"]
    ids = {leg.id: leg.name for leg in made.legs}
    assert {leg.name: [ids[need.leg] for need in leg.needs] for leg in made.legs if leg.needs} == {
        "test: [arm]": ["build: [arm, linux]"], "test: [x64]": ["build: [x64, linux]"]}
    assert made.layers(made.legs[6]).expanded()["CI_NODE_INDEX"] == "2"


def test_needs_that_the_rules_left_out_and_circles_are_told() -> None:
    made = pipeline("a: {script: x, rules: [{when: never}]}\nb: {script: x, needs: [a]}\nc: {script: x, needs: [{job: a, "
                    "optional: true}]}\nd: {script: x, needs: [e]}\ne: {script: x, needs: [d]}")
    assert [mistake.message.partition(":")[0] for mistake in made.unmet] == [
        "'b' job needs 'a' job, but 'a' does not exist in the pipeline", "the needs of job 'd' lead back to itself"]


def test_variables_expand_in_each_other_and_end() -> None:
    found = Variables({"A": Variable("a$B"), "B": Variable("${C}!"), "C": Variable("$A"), "D": Variable("$A$$A%X%", raw=True),
                       "E": Variable("$$A $NONE.")}).expanded()
    assert found["D"] == "$A$$A%X%"
    assert found["E"] == "$A ."
    assert len(found["A"]) < 20
    doubled = {f"V{n}": Variable(f"$V{n + 1}$V{n + 1}") for n in range(60)}
    assert len(Variables({**doubled, "V60": Variable("x" * 64)}).expanded()["V0"]) <= 1 << 20


def test_patterns_are_those_of_re2() -> None:
    assert compile_re2("[[:digit:]]+", "").search("a1")
    assert compile_re2("a(?i)b(c|(?-i:d))").search("aBC")
    for pattern in ("(?=x)", r"(a)\1", "(?<!x)y", "[unclosed"):
        with pytest.raises(RegexpError):
            compile_re2(pattern)
    with pytest.raises(ConditionError, match="look-around"):
        evaluate("$A =~ /(?=x)/", {})


def test_names_and_times_as_gitlab_makes_them() -> None:
    assert environment_slug("Stage Domain") == "stage-domain-ip33nk"
    assert environment_slug("production") == "production"
    assert [seconds(text) for text in ("1h 30m", "2 weeks and 3 days", "90", "3 mins")] == [5400, 1468800, 90, 180]


@pytest.mark.parametrize(("text", "said"), [
    ("spec: often\n---\na: {script: x}\n", "the header's spec is a mapping"),
    ("spec: {inputs: {a: {type: [x]}}}\n---\na: {script: x}\n", "input type unknown value"),
    ("a: {script: x}\nb: {script: x, needs: [{job: a, parallel: often}]}\n", "is `matrix` with a list of mappings"),
    ("a: {script: x, artifacts: {when: [x], paths: [y]}}\n", "artifacts:when must be one of"),
])  # fmt: skip
def test_values_of_another_shape_are_named(text: str, said: str) -> None:
    with pytest.raises(WorkflowError) as refused:
        pipeline(text)
    assert said in str(refused.value)
