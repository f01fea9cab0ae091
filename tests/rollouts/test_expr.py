"""Conditions: what they evaluate to, and what they are refused for."""

from __future__ import annotations

import math
from typing import Any

import pytest

from fairway.rollouts.analysis_spec import Metric
from fairway.rollouts.expr import ExprError, compile_expression
from fairway.rollouts.expr.values import Floats
from fairway.rollouts.judge import judge


@pytest.mark.parametrize(("text", "value"), [
    ("1 + 2 * 3", 7), ("7 / 2", 3.5), ("-7 % 3", -1), ("2 ** 3", 8.0), ("1..3", [1, 2, 3]), ("1 / 0", math.inf),
    ('"a" + "b"', "ab"), ("1 < 2 < 3", True), ("3 > 2 > 2", False), ("not (1 in [1, 2])", False), ("4 not in [1]", True),
    ("n?.x ?? 5", 5), ("true ? 1 : 2", 1), ("[1, 2, 3] | filter(# > 1) | map(# * 2)", [4, 6]),
    ("all([1, 2], {# > 0})", True), ("reduce([1, 2, 3], #acc + #)", 6), ("let x = 2; x * x", 4), ("[1, 2, 3][-1]", 3),
    ("[1, 2, 3][1:]", [2, 3]), ('"shop" matches "^s.*p$"', True), ("len({a: 1})", 1), ("max(1, 2.5)", 2.5),
    ("m.a.b", 1), ('m["a"]?.zz', None), ('string(0.5) + "x"', "0.5x"), ("if n == nil { 1 } else { 2 }", 1),
    ("groupBy([1, 2], #)?.zz", None), ("groupBy([1, 2], #).zz ?? 7", 7), ("m.a.b > 5 && false", False),
    ("$env || true", True), ('first("abc" ?? 1)', 97), ("last(n ?? 1.5)", None), ('max($env?.zz ?? "a")', "a"),
    ("1 .. ($env?.zz ?? 2.9)", [1, 2]), ("len(sort($env))", 0), ("true || $env[nope:]", True),
    ("b'\\x00\\xff'", b"\x00\xff"), ('duration("1s") * 0.5', 500000000.0), ("string ?? 3", 3),
])  # fmt: skip
def test_values(text: str, value: Any) -> None:
    found = compile_expression(text).run({"n": None, "m": {"a": {"b": 1}}})
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(("text", "message"), [
    ("1 +", "unexpected token EOF (1:4)"), ("foo > 1", "unknown name foo (1:1)"),
    ('1 + "a"', "mismatched types int and string"), ("[1][5]", "index out of range: 5 (array length is 1) (1:4)"),
    ("1 ?? 2 + 3", "cannot be mixed"), ("1 && true", "&&"),
    ("'open", "literal not terminated (1:1)"), ("all(5, true)", "takes only array (got int)"),
    ("b'\\u0041'", "unable to unescape string"), ('get(nil, "a")', "does not support indexing"),
    ('fromJSON("5e2482")', "cannot unmarshal number 5e2482"),
    ("\n  nope", "unknown name nope (2:3)"), ("now()", "is not offered"),
])  # fmt: skip
def test_mistakes_name_the_place(text: str, message: str) -> None:
    with pytest.raises(ExprError) as caught:
        compile_expression(text).run({})
    assert message in str(caught.value)


@pytest.mark.parametrize(("success", "failure", "value", "phase"), [
    ("result[0] >= 0.95", "", Floats([0.99]), "Successful"), ("result[0] >= 0.95", "", Floats([0.5]), "Failed"),
    ("result[0] >= 0.95", "", Floats(), "Error"), ("result >= 0.95", "", Floats([0.99]), "Error"),
    ("result >= 0.95", "", 0.99, "Successful"), ("", "result[0] < 0.95", Floats([math.nan]), "Successful"),
    ("result[0] >= 0.95", "result[0] < 0.95", Floats([math.nan]), "Inconclusive"),
    ("all(result, # >= 0.95)", "", Floats(), "Successful"), ('all(result, # >= "x")', "", Floats(), "Error"),
    ("len(result) > 0 && result[0] >= 0.95", "len(result) > 0 && result[0] < 0.95", Floats(), "Inconclusive"),
    ("isNil(result)", "", Floats(), "Failed"),
    ("isNaN(result[0]) || result[0] > 0", "", Floats([math.nan]), "Successful"),
    ("", "", "anything", "Successful"), ("result.status == 'ok'", "", {"status": "ok"}, "Successful"), ("1", "", 1.0, "Error"),
])  # fmt: skip
def test_outcomes(success: str, failure: str, value: Any, phase: str) -> None:
    """The matrix that decides whether missing data promotes a version."""
    assert judge(Metric(success_condition=success, failure_condition=failure), value).phase == phase
