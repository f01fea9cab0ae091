"""Rules in CEL."""

from __future__ import annotations

from typing import Any

import pytest

from fairway.kube import cel, rules

SELF = {"min": 1, "max": 3, "name": "web-1", "tags": ["a", "b"], "labels": {"x": "1"}, "on": True, "ratio": 0.5,
        "ports": [{"n": 80}, {"n": 443}]}


@pytest.mark.parametrize(("rule", "expected"), [
    ("self.min <= self.max", True),
    ("!has(self.absent) || self.absent > 3", True),
    ("has(self.min) && has(self.max)", True),
    ("self.absent == 1 || true", True),
    ("false && self.absent == 1", False),
    ("size(self.tags) == 2 && self.tags.size() == 2", True),
    ("self.name.startsWith('web') && self.name.matches('^[a-z]+-[0-9]+$')", True),
    ("'a' in self.tags && !('z' in self.tags) && 'x' in self.labels", True),
    ("self.ports.all(p, p.n > 0 && p.n < 65536)", True),
    ("self.ports.exists(p, p.n == 443)", True),
    ("self.ports.exists_one(p, p.n > 1000)", False),
    ("self.ports.map(p, p.n)", [80, 443]),
    ("self.tags.filter(t, t != 'a')", ["b"]),
    ("self.labels.all(key, size(key) < 5)", True),
    ("self.on ? self.min + 2 * 3 : 0", 7),
    ("-7 / 2", -3),
    ("-7 % 3", -1),
    ("self.ratio * 4.0 == 2.0", True),
    ("self.tags[0] + \"-\" + self.labels['x']", "a-1"),
    ("self.name.split('-')[1] == string(self.min)", True),
    ("[1, 2] + [3] == [1, 2, 3] && {'a': 1}.a == 1", True),
    ("(1 + 2) * 3 == 9", True),
])
def test_rules(rule: str, expected: Any) -> None:
    assert cel.compile_rule(rule)({"self": SELF}) == expected


@pytest.mark.parametrize("rule", ["self.absent > 1", "self.name > 3", "self.tags[9] == ''", "1 / 0 == 1", "self.min && true"])
def test_rules_that_cannot_judge_say_so(rule: str) -> None:
    with pytest.raises(cel.EvaluationError):
        cel.compile_rule(rule)({"self": SELF})


@pytest.mark.parametrize("rule", ["self.min <", "quantity('1Gi').isGreaterThan(1)", "self.min ~ 3", "", "has(self)"])
def test_what_is_not_known_is_refused_before_it_is_believed(rule: str) -> None:
    with pytest.raises(cel.Unsupported):
        cel.compile_rule(rule)


def test_rules_at_every_place_and_over_time() -> None:
    schema = {"x-kubernetes-validations": [{"rule": "self.a == oldSelf.a", "message": "a is immutable"}],
              "properties": {"a": {}, "list": {
                  "x-kubernetes-list-map-keys": ["k"],
                  "items": {"x-kubernetes-validations": [
                      {"rule": "self.v >= oldSelf.v", "messageExpression": "'v of ' + self.k + ' may not shrink'"},
                      {"rule": "self.v < 10", "reason": "FieldValueForbidden", "fieldPath": ".v"}]}}}}
    old = {"a": 1, "list": [{"k": "x", "v": 5}]}
    assert list(rules.check({"a": 2, "list": [{"k": "x", "v": 4}]}, None, schema)) == []
    found = rules.check({"a": 2, "list": [{"k": "new", "v": 11}, {"k": "x", "v": 4}]}, old, schema, "spec")
    assert [str(error) for error in found] == [
        "spec: Invalid value: a is immutable",
        "spec.list[0].v: Forbidden: failed rule: self.v < 10",
        "spec.list[1]: Invalid value: v of x may not shrink",
    ]
    assert rules.unsupported_in({"properties": {"q": {"x-kubernetes-validations": [{"rule": "isQuantity(self)"}]}}}) == [
        ("q", "function 'isQuantity' is not known")]
