"""The expression language: values, operators, functions, interpolation."""

from __future__ import annotations

import pytest

from fairway.ci.contexts import STATUS_FUNCTIONS
from fairway.ci.expressions import (
    Arity,
    CaseSensitive,
    ExpressionError,
    Function,
    Scope,
    condition_text,
    evaluate,
    evaluate_condition,
    interpolate,
)

SCOPE = Scope({
    "github": {"ref": "refs/heads/main", "event": {"commits": [{"id": "a"}, {"id": "b"}]}},
    "env": CaseSensitive({"Name": "x", "NAME": "y"}),
    "matrix": {"n": 2.0},
})


@pytest.mark.parametrize(("text", "value"), [
    ("1 == '1'", True),
    ("'ABC' == 'abc'", True),
    ("null == 0", True),
    ("'' == 0", True),
    ("'a' == 0", False),
    ("true && 'yes' || 'no'", "yes"),
    ("false && 'yes' || 'no'", "no"),
    ("!'' && 3", 3.0),
    ("0x1f + ''", None),
    ("github.REF", "refs/heads/main"),
    ("github['ref']", "refs/heads/main"),
    ("github.nothing.at.all", None),
    ("env.Name", "x"),
    ("env.NAME", "y"),
    ("env.name", None),
    ("join(github.event.commits.*.id, '+')", "a+b"),
    ("contains(github.event.commits.*.id, 'B')", True),
    ("startsWith(github.ref, 'REFS/')", True),
    ("format('{0} {{x}} {1}', 1.50, true)", "1.5 {x} true"),
    ("fromJSON('{\"a\": [1, 2]}').a[1]", 2.0),
    ("toJSON(matrix)", '{\n  "n": 2\n}'),
    ("case(matrix.n == 1, 'one', matrix.n == 2, 'two', 'many')", "two"),
    ("1 < 2 == true", True),
])
def test_values(text: str, value: object) -> None:
    if text == "0x1f + ''":
        with pytest.raises(ExpressionError, match=r"Unexpected symbol: '\+'"):
            evaluate(text, SCOPE)
    else:
        assert evaluate(text, SCOPE) == value


@pytest.mark.parametrize(("text", "stage", "message"), [
    ("secrets.x", "parsing", "Unrecognized named-value: 'secrets'. Located at position 1"),
    ("github.ref == \"main\"", "lexing", "Unexpected symbol: '\"main\"'. Located at position 15"),
    ("contains('a')", "parsing", "Too few parameters supplied: 'contains'"),
    ("nope()", "parsing", "Unrecognized function: 'nope'"),
    ("(1", "parsing", "Unexpected end of expression: '1'"),
    ("fromJSON('{')", "evaluation", "Error parsing fromJson"),
    ("!" * 50 + "true", "parsing", "Exceeded max expression depth 50"),
    ("(" * 9000, "parsing", "Exceeded max expression depth 50"),
])
def test_errors_name_stage_and_place(text: str, stage: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate(text, SCOPE)
    assert caught.value.stage == stage
    assert message in caught.value.message


def test_a_whole_expression_keeps_its_kind_and_text_around_it_makes_a_string() -> None:
    assert interpolate("${{ matrix.n }}", SCOPE) == 2.0
    assert interpolate("n=${{ matrix.n }}, ${{ 'a }} b' }}", SCOPE) == "n=2, a }} b"
    assert interpolate({"${{ insert }}": "${{ matrix }}", "a": ["${{ fromJSON('[1,2]') }}", 3.0]}, SCOPE) == {
        "n": 2.0, "a": [1.0, 2.0, 3.0]}


def status(success: bool) -> Scope:
    none = Arity(0, 0)
    return Scope({"x": "1"}, {
        "success": Function(none, lambda args: success), "failure": Function(none, lambda args: not success),
        "always": Function(none, lambda args: True), "cancelled": Function(none, lambda args: False)})


@pytest.mark.parametrize(("written", "after_success", "after_failure"), [
    ("", True, False),
    ("x == '1'", True, False),
    ("${{ x == '2' }}", False, False),
    ("always() && x == '1'", True, True),
    ("failure()", False, True),
    ("${{ x == '2' }} or so", True, False),  # text around it: a string, and a string is true
])
def test_conditions_ask_for_success_unless_they_name_a_status(written: str, after_success: bool,
                                                              after_failure: bool) -> None:
    text = condition_text(written)
    assert evaluate_condition(text, status(True), STATUS_FUNCTIONS) is after_success
    assert evaluate_condition(text, status(False), STATUS_FUNCTIONS) is after_failure
