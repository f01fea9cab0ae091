"""Decoding workflow files: what is read, and where mistakes are."""

from __future__ import annotations

import pytest

from fairway.ci.calls import check_calls
from fairway.ci.permissions import excesses
from fairway.ci.spec import WorkflowError
from fairway.ci.workflow import decode_workflow

MINIMAL = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: 'true'\n"


def test_yaml_1_2_scalars() -> None:
    workflow = decode_workflow("""
on:
  push: {branches: [main, 'release/**']}
  workflow_dispatch:
env: {YES: yes, PY: 3.10, OCT: 0o17, N: ~}
jobs:
  a:
    runs-on: ubuntu-latest
    timeout-minutes: 0.5
    steps: [{run: echo, env: {A: true}}]
""", "ci.yml")
    assert [trigger.event for trigger in workflow.on] == ["push", "workflow_dispatch"]
    assert workflow.env == {"YES": "yes", "PY": "3.1", "OCT": "15", "N": ""}
    assert workflow.jobs["a"].timeout_minutes == 0.5
    assert workflow.jobs["a"].steps[0].env == {"A": "true"}


def test_anchors_are_values_and_generated_ids_avoid_the_written_ones() -> None:
    workflow = decode_workflow(MINIMAL + """
      - &again {uses: actions/checkout@v4}
      - *again
      - {run: a, id: __x}
""".replace("__x", "own"), "ci.yml")
    assert [step.id for step in workflow.jobs["a"].steps] == [
        "__run", "__actions_checkout", "__actions_checkout_2", "own"]


@pytest.mark.parametrize(("change", "expected"), [
    (("runs-on", "runs_on"), ["ci.yml:4:5: Required property is missing: runs-on", "ci.yml:4:5: Unexpected value 'runs_on'"]),
    (("on: push", "on: pushed"), ["ci.yml:1:5: Unexpected value 'pushed'"]),
    (("- run: 'true'", "- run: echo ${{ secret.x }}"),
     ["ci.yml:6:14: Unrecognized named-value: 'secret'. Located at position 1 within expression: secret.x"]),
    (("- run: 'true'", "- {run: a, if: matrix.x == }"),
     ["ci.yml:6:22: Unexpected end of expression: '=='. Located at position 10 within expression: matrix.x =="]),
    (("- run: 'true'", "- {uses: checkout@v4}"),
     ["ci.yml:6:16: Expected format {org}/{repo}[/path]@ref, ./path or docker://image. Actual 'checkout@v4'"]),
    (("runs-on: ubuntu-latest", "runs-on: ubuntu-latest\n    needs: [b]"),
     ["ci.yml:3:3: The workflow must contain at least one job with no dependencies."]),
    (("runs-on: ubuntu-latest", "runs-on: ubuntu-latest\n    if: env.X == 'a'"),
     ["ci.yml:5:9: Unrecognized named-value: 'env'. Located at position 1 within expression: env.X == 'a'"]),
    (("on: push", "on: {push: {branches: ['a b']}}"),
     ["ci.yml:1:24: invalid pattern 'a b': ref name cannot contain spaces, ~, ^, :, [, ?, *"]),
    (("jobs:", "on: push\njobs:"), ["ci.yml:2:1: 'on' is already defined"]),
    (("on: push", "on: [push"), ["ci.yml:2:5: did not find expected ',' or ']'"]),
])
def test_mistakes_are_named_with_their_place(change: tuple[str, str], expected: list[str]) -> None:
    with pytest.raises(WorkflowError) as caught:
        decode_workflow(MINIMAL.replace(*change), "ci.yml")
    assert sorted(str(caught.value).splitlines()) == sorted(expected)


def test_a_cycle_is_named_at_both_edges() -> None:
    with pytest.raises(WorkflowError) as caught:
        decode_workflow(MINIMAL + """
  b: {needs: c, runs-on: x, steps: []}
  c: {needs: [a, b], runs-on: x, steps: []}
""", "ci.yml")
    assert [m.message.partition(" which")[0] for m in caught.value.mistakes] == [
        "Job 'b' depends on job 'c'", "Job 'c' depends on job 'b'"]


def test_a_called_workflow_may_not_ask_for_more_than_its_caller_has() -> None:
    caller = decode_workflow("""
on: push
permissions: {contents: read}
jobs:
  ok: {uses: ./modest.yml}
  bad: {uses: ./greedy.yml}
  more: {permissions: write-all, uses: ./greedy.yml}
""", "ci.yml")
    job = "jobs: {j: {name: Push it, permissions: {contents: write}, runs-on: x, steps: []}}\n"
    others = {
        "./modest.yml": decode_workflow("on: workflow_call\njobs: {j: {runs-on: x, steps: []}}\n", "modest.yml"),
        "./greedy.yml": decode_workflow("on: workflow_call\n" + job, "greedy.yml"),
    }
    [excess] = excesses(caller, others.get)
    assert (excess.path, excess.line, excess.column) == ("ci.yml", 6, 3)
    assert excess.message == ("Error calling workflow './greedy.yml'. The nested job 'Push it' is requesting "
                              "'contents: write', but is only allowed 'contents: read'.")


def test_calls_are_judged_in_what_is_called_too_and_circles_are_named() -> None:
    def calling(path: str, head: str = "workflow_call") -> str:
        return f"on: {head}\njobs:\n  a:\n    uses: {path}\n"

    files = {"b.yml": calling("./c.yml"), "c.yml": calling("./b.yml"), "d.yml": calling("./e.yml"),
             "e.yml": "on: {workflow_call: {secrets: {KEY: {required: true}}}}\njobs: {j: {runs-on: x, steps: []}}\n"}
    with pytest.raises(WorkflowError) as caught:
        check_calls(decode_workflow(calling("./b.yml", "push"), "a.yml"), files.get)
    assert str(caught.value) == "c.yml:4:11: workflows call each other in a circle: b.yml → c.yml → b.yml"
    with pytest.raises(WorkflowError) as caught:
        check_calls(decode_workflow(calling("./d.yml", "push"), "a.yml"), files.get)
    assert str(caught.value) == ("d.yml:4:11: Secret KEY is required, but not provided while calling: add it below `secrets`, "
                                 "or write `secrets: inherit`")
    check_calls(decode_workflow(calling("shop/other/.github/workflows/x.yml@v1", "push"), "a.yml"), files.get)
