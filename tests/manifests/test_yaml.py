"""YAML as kubectl reads it, mistakes with their place, and text that survives being written."""

from __future__ import annotations

import math
from typing import Any

import pytest

from fairway.manifests import ManifestError, yaml

KUBECTL = [
    ("yes", True), ("on", True), ("y", True), ("off", False), ("~", None), ("", None),
    ("0777", 511), ("0o777", 511), ("0x1F", 31), ("-0x10", -16), ("0b11", 3), ("0800", 800), ("1_000", 1000),
    ("1e3", 1000), ("1234e56", 1.234e59), (".5", 0.5), ("1.0", 1), ("1.10", 1.1), ("+1", 1),
    ("12:30:45", "12:30:45"), ("2001-01-01", "2001-01-01"), ("=", "="), ("1.2.3", "1.2.3"), ("1e999", "1e999"),
    ("-", "-"), (".", "."), ("0x", "0x"), ("sha256:00", "sha256:00"), ("9223372036854775807", 2**63 - 1),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), KUBECTL)
def test_plain_scalars_are_what_kubectl_makes_of_them(text: str, value: Any) -> None:
    found = yaml.resolve_plain(text)
    assert found == value and type(found) is type(value)


def test_quoted_and_tagged_scalars() -> None:
    assert yaml.load("a: '1'\nb: \"on\"\nc: !!str 5\nd: |\n  1\n") == {"a": "1", "b": "on", "c": "5", "d": "1\n"}
    assert math.isnan(yaml.resolve_plain(".nan"))


def test_keys_are_text_and_merge_keys_give_way() -> None:
    text = "base: &base {a: 1, 2: x, true: z}\nuse: {<<: *base, a: 9}\n"
    assert yaml.load(text)["use"] == {"a": 9, "2": "x", "true": "z"}


@pytest.mark.parametrize(("text", "where", "what"), [
    ("a: 1\nb:\n  c: 1\n  c: 2\n", "f.yaml:4:3", "key 'c' is already set in line 3"),
    ("a:\n\t- x\n", "f.yaml:2:1", "indent with spaces"),
    ("a: b: c\n", "f.yaml:1:5", "mapping values are not allowed"),
    ("a: &x\n  b: *x\n", "f.yaml:1:4", "an alias contains itself"),
    ("? [a]\n: 1\n", "f.yaml:1:3", "a key must be text"),
])
def test_mistakes_have_a_place_and_a_mend(text: str, where: str, what: str) -> None:
    with pytest.raises(ManifestError) as caught:
        yaml.load(text, "f.yaml")
    assert str(caught.value).startswith(where) and what in str(caught.value)


def test_aliases_that_multiply_are_stopped() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(ManifestError, match="aliases multiply"):
        yaml.load("\n".join(lines))


def test_what_is_written_is_read_back() -> None:
    value = {
        "words": ["yes", "1e3", "0777", "null", "", " lead", "trail ", "a: b", "# no", "2001-01-01", "12:30", "=", "~"],
        "lines": "one\n  two\n", "trailing": "x \ny\n", "tab": "a\tb", "umlaut": "äöü €", "control": "\x07bell",
        "numbers": [0, -1, 1.5, 10**18], "flags": [True, False, None], "empty": [{}, []],
    }
    assert yaml.load(yaml.dump(value)) == value
    assert yaml.dump({"b": 1, "a": ["x"]}) == "a:\n- x\nb: 1\n"
