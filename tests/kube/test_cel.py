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
    ("self.?absent.orValue(5) == 5 && self.?min.orValue(5) == 1 && !self.?absent.hasValue()", True),
    ("self.labels[?'y'].orValue('z') + self.labels[?'x'].value()", "z1"),
    ("self.?labels.?x.optMap(v, v + '!').orValue('')", "1!"),
    ("quantity('1Gi').isGreaterThan(quantity('500Mi')) && isQuantity('1k') && !isQuantity('x')", True),
    ("timestamp('2026-01-02T03:04:05Z') < timestamp('2026-01-03T00:00:00Z') && duration('90s') > duration('1m')", True),
    ("(timestamp('2026-01-02T00:00:00Z') + duration('36h')).getDate()", 3),
    ("cidr('10.0.0.0/8').containsIP('10.1.2.3') && isIP('::1') && ip('127.0.0.1').isLoopback() && !isCIDR('10.0.0.1')", True),
    ("url('https://example.com:80/a').getHost() == 'example.com:80' && isURL('https://x') && !isURL('x')", True),
    ("self.labels.all(k, v, k == 'x' && v == '1') && [3, 4].transformList(i, v, i + v) == [3, 5]", True),
    ("self.ports.map(p, p.n > 100, p.n)", [443]),
    ("cel.bind(n, self.min + 1, n * n)", 4),
    ("sets.contains([1, 2, 3], [2]) && math.greatest(1, 5, 2) == 5 && ['b', 'a'].sort() == ['a', 'b']", True),
    ("'%s is %d'.format(['x', 3]) + ' ' + 'hello'.substring(1, 3) + ' ' + 'a-b'.replace('-', '+')", "x is 3 el a+b"),
    ("{'namespace': 1, 'a-b': 2}.__namespace__ + {'a-b': 2}.a__dash__b", 3),
    ("type(1) == 'int' && type('') == 'string'", True),
])
def test_rules(rule: str, expected: Any) -> None:
    assert cel.compile_rule(rule)({"self": SELF}) == expected


@pytest.mark.parametrize("rule", ["self.absent > 1", "self.name > 3", "self.tags[9] == ''", "1 / 0 == 1", "self.min && true"])
def test_rules_that_cannot_judge_say_so(rule: str) -> None:
    with pytest.raises(cel.EvaluationError):
        cel.compile_rule(rule)({"self": SELF})


@pytest.mark.parametrize("rule", ["self.min <", "authorizer.group('')", "self.min ~ 3", "", "has(self)"])
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
    assert rules.unsupported_in({"properties": {"q": {"x-kubernetes-validations": [{"rule": "nobodyKnows(self)"}]}}}) == [
        ("q", "function 'nobodyKnows' is not known")]


def test_what_the_words_show() -> None:
    """Scalars are shown, structures are not; a rule may ask about a past that is not there; loops have an end."""
    once = {"rule": "!oldSelf.hasValue() || self == oldSelf.value()", "message": "set once", "optionalOldSelf": True}
    schema = {"properties": {"n": {"x-kubernetes-validations": [{"rule": "self < 10"}, once]}}}
    assert [str(e) for e in rules.check({"n": 11}, None, schema)] == ["n: Invalid value: 11: failed rule: self < 10"]
    assert [str(e) for e in rules.check({"n": 2}, {"n": 1}, schema)] == ["n: Invalid value: 2: set once"]
    when = {"properties": {"at": {"type": "string", "format": "date-time",
                                  "x-kubernetes-validations": [{"rule": "self.getFullYear() > 2020"}]}}}
    assert list(rules.check({"at": "2026-01-01T00:00:00Z"}, None, when)) == []
    endless = {"x-kubernetes-validations": [{"rule": "self.a.all(x, self.a.all(y, self.a.all(z, x + y + z > 0)))"}]}
    [error] = rules.check({"a": list(range(1, 400))}, None, endless, "spec")
    assert "actual cost limit exceeded" in str(error)
