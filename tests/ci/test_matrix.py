"""Matrices: the legs and their names."""

from __future__ import annotations

import pytest

from fairway.ci.matrix import MatrixError, display, expand


def test_product_exclude_include() -> None:
    legs = expand({
        "os": ["linux", "mac"], "py": ["3.11", "3.12"],
        "exclude": [{"os": "mac", "py": "3.11"}],
        "include": [{"os": "linux", "extra": "x"}, {"py": "3.12", "extra": "y"}, {"os": "bsd"}],
    })
    assert legs == [
        {"os": "linux", "py": "3.11", "extra": "x"},
        {"os": "linux", "py": "3.12", "extra": "y"},
        {"os": "mac", "py": "3.12", "extra": "y"},
        {"os": "bsd"},
    ]
    assert [display(leg) for leg in legs] == ["(linux, 3.11, x)", "(linux, 3.12, y)", "(mac, 3.12, y)", "(bsd)"]


def test_include_alone_and_objects() -> None:
    assert expand({"include": [{"a": 1.0}, {"a": 2.0}]}) == [{"a": 1.0}, {"a": 2.0}]
    legs = expand({"x": [{"name": "a", "n": 1.0}], "exclude": [{"x": {"name": "b", "n": 1.0}}]})
    assert display(legs[0]) == "(a, 1)"


@pytest.mark.parametrize(("matrix", "message"), [
    ({"a": []}, "does not contain any values"),
    ({"a": "x"}, "must be an array, not String"),
    ([], "must be a mapping, not Array"),
    ({"a": [float(n) for n in range(257)]}, "at most 256 legs"),
])
def test_what_cannot_be_expanded(matrix: object, message: str) -> None:
    with pytest.raises(MatrixError, match=message):
        expand(matrix)
