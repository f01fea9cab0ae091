"""label_replace, label_join and the sorts: functions that look at labels."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from fairway.metrics.labels import NAME, Codes, code_of, text_of
from fairway.metrics.matchers import BadPattern, pattern
from fairway.metrics.promql.numbers import escaped
from fairway.metrics.promql.values import QueryError, Vector
from fairway.metrics.series import Bools

_REFERENCE = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})")


def label_replace(vector: Vector, target: str, replacement: str, source: str, regex: str) -> Vector:
    """Set `target` to `replacement` wherever the whole value of `source` matches."""
    try:
        compiled = pattern(regex)
    except BadPattern:
        raise QueryError(f"invalid regular expression in label_replace(): {regex}") from None
    _check_name(target, "label_replace")
    values = vector.labels.column(source)
    answers = {code: compiled.fullmatch(text_of(code)) for code in map(int, np.unique(values))}
    hit = np.array([answers[int(code)] is not None for code in values], np.bool_)
    expanded = {code: code_of(_expanded(replacement, match)) for code, match in answers.items() if match is not None}
    new = np.array([expanded.get(int(code), 0) for code in values], np.int32)
    return _relabelled(vector, target, np.where(hit, new, vector.labels.column(target)).astype(np.int32), hit)


def label_join(vector: Vector, target: str, separator: str, sources: list[str]) -> Vector:
    """Set `target` to the values of `sources`, joined."""
    _check_name(target, "label_join")
    columns = [vector.labels.column(name) for name in sources]
    new = [code_of(separator.join(text_of(int(column[i])) for column in columns)) for i in range(len(vector))]
    return _relabelled(vector, target, np.array(new, np.int32), np.ones(len(vector), np.bool_))


def _relabelled(vector: Vector, target: str, codes: Codes, changed: Bools) -> Vector:
    labels = vector.labels.with_column(target, codes)
    drop_name = vector.drop_name & ~changed if target == NAME else vector.drop_name
    return replace(vector, labels=labels, drop_name=drop_name).trimmed().merged()


def _expanded(template: str, match: re.Match[str]) -> str:
    """`$1`, `${1}`, `$name`; a group that does not exist is empty, `$$` is a dollar sign."""

    def group(reference: re.Match[str]) -> str:
        name = reference[1] or reference[2]
        if name is None:
            return "$"
        try:
            return match[int(name) if name.isdigit() else name] or ""
        except IndexError:
            return ""

    return _REFERENCE.sub(group, template)


def _check_name(name: str, function: str) -> None:
    if not name or any("\udc80" <= ch <= "\udcff" for ch in name):
        raise QueryError(f"invalid destination label name in {function}(): {escaped(name)}")


# --- order: instant queries only; a range query's answer is always in the order of its labels -----------------------


def sorted_by_value(vector: Vector, *, descending: bool) -> Vector:
    """NaN last, either way."""
    if vector.steps != 1:
        return vector
    values = vector.values[:, 0]
    return vector.take(np.lexsort((-values if descending else values, np.isnan(values))))


def sorted_by_label(vector: Vector, names: list[str], *, descending: bool) -> Vector:
    """Numbers inside values count as numbers ("9" before "10"); ties are decided by all labels."""
    if vector.steps != 1:
        return vector
    rows = vector.labels.rows()
    keys = [([_natural(row.get(name, "")) for name in names], sorted(row.items())) for row in rows]
    order = sorted(range(len(rows)), key=keys.__getitem__, reverse=descending)
    return vector.take(np.array(order, np.intp))


def _natural(text: str) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", text) if part]
