"""Labels as a table of small integers.

A query touches thousands of series and asks the same few things of all of them: keep these labels, drop those, which
rows are equal? As dicts that is a million dictionary operations; as columns of interned codes it is a handful of
numpy calls. Code 0 is the empty string, which in Prometheus means "no such label".

The pool of strings lives as long as the process. It grows with the number of distinct names and values ever seen:
about 100 bytes each, so a thousand new pods a day cost 100 kB a day.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int32]
Index = NDArray[np.intp]

NAME = "__name__"
METADATA = (NAME, "__type__", "__unit__")
"""What a metric says of itself: all of it goes where the name goes."""

_texts: list[str] = [""]
_codes: dict[str, int] = {"": 0}


def code_of(text: str) -> int:
    code = _codes.get(text)
    if code is None:
        code = _codes[text] = len(_texts)
        _texts.append(text)
    return code


def text_of(code: int) -> str:
    return _texts[code]


SeriesKey = bytes
"""All the labels of one series in a few bytes, the same for equal ones."""


def key_of(labels: Mapping[str, str]) -> SeriesKey:
    return array("i", [code for name in sorted(labels) for code in (code_of(name), code_of(labels[name]))]).tobytes()


def labels_of(key: SeriesKey) -> dict[str, str]:
    """The labels that `key_of` was given."""
    codes = array("i", key)
    return {_texts[name]: _texts[value] for name, value in zip(codes[::2], codes[1::2], strict=True)}


@dataclass(frozen=True, slots=True, eq=False)
class LabelTable:
    """The labels of many series: one row a series, one column a label name. `names` is sorted."""

    names: tuple[str, ...]
    codes: Codes

    @staticmethod
    def of(rows: Sequence[Mapping[str, str]]) -> LabelTable:
        names = tuple(sorted({name for row in rows for name in row}))
        codes = np.zeros((len(rows), len(names)), np.int32)
        place = {name: i for i, name in enumerate(names)}
        for i, row in enumerate(rows):
            for name, value in row.items():
                codes[i, place[name]] = code_of(value)
        return LabelTable(names, codes)

    @staticmethod
    def empty(rows: int = 0) -> LabelTable:
        """`rows` series without any label."""
        return LabelTable((), np.zeros((rows, 0), np.int32))

    def __len__(self) -> int:
        return len(self.codes)

    def row(self, i: int) -> dict[str, str]:
        return {name: _texts[code] for name, code in zip(self.names, self.codes[i], strict=True) if code}

    def rows(self) -> list[dict[str, str]]:
        return [self.row(i) for i in range(len(self))]

    def column(self, name: str) -> Codes:
        if name in self.names:
            return self.codes[:, self.names.index(name)]
        return np.zeros(len(self), np.int32)

    def map_column(self, name: str, function: Callable[[str], float]) -> NDArray[np.float64]:
        """`function` of each row's value, called once for each distinct value."""
        distinct, inverse = np.unique(self.column(name), return_inverse=True)
        return np.array([function(_texts[code]) for code in distinct], np.float64)[inverse]

    def take(self, index: Index | NDArray[np.bool_]) -> LabelTable:
        return LabelTable(self.names, self.codes[index])

    def keep(self, names: Iterable[str]) -> LabelTable:
        wanted = set(names)
        return self._columns([i for i, name in enumerate(self.names) if name in wanted])

    def drop(self, names: Iterable[str]) -> LabelTable:
        unwanted = set(names)
        return self._columns([i for i, name in enumerate(self.names) if name not in unwanted])

    def with_column(self, name: str, codes: Codes) -> LabelTable:
        """With label `name` set to `codes`, added where it was not there."""
        return self.widened((name,))._replaced(name, codes)

    def blank_where(self, name: str, rows: NDArray[np.bool_]) -> LabelTable:
        """Without label `name` in the given rows."""
        if name not in self.names or not rows.any():
            return self
        return self._replaced(name, np.where(rows, 0, self.column(name)).astype(np.int32))

    def widened(self, names: Iterable[str]) -> LabelTable:
        """The same labels with a column for each of `names` too."""
        every = tuple(sorted({*self.names, *names}))
        if every == self.names:
            return self
        codes = np.zeros((len(self), len(every)), np.int32)
        codes[:, [every.index(name) for name in self.names]] = self.codes
        return LabelTable(every, codes)

    def identities(self) -> tuple[Index, Index]:
        """(id of each row, first row of each id): equal rows share an id; ids are numbered by first appearance."""
        return _identities(self.codes)

    def _columns(self, places: list[int]) -> LabelTable:
        if len(places) == len(self.names):
            return self
        return LabelTable(tuple(self.names[i] for i in places), self.codes[:, places])

    def _replaced(self, name: str, codes: Codes) -> LabelTable:
        changed = self.codes.copy()
        changed[:, self.names.index(name)] = codes
        return LabelTable(self.names, changed)


def stacked(tables: Sequence[LabelTable]) -> LabelTable:
    """The rows of all tables, in order."""
    if len(tables) == 1:
        return tables[0]
    names = {name for table in tables for name in table.names}
    wide = [table.widened(names) for table in tables]
    if not wide:
        return LabelTable.empty()
    return LabelTable(wide[0].names, np.concatenate([table.codes for table in wide]))


def _identities(codes: Codes) -> tuple[Index, Index]:
    """Rows become one integer each, mixed column by column and made dense again before the product can overflow."""
    rows = len(codes)
    if rows == 0:
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    key, bound = np.zeros(rows, np.int64), 1
    for column in codes.T:
        highest = int(column.max()) + 1
        if highest == 1 or (column == column[0]).all():
            continue
        if bound * highest >= 1 << 62:
            distinct, key = np.unique(key, return_inverse=True)
            bound = len(distinct)
        key, bound = key * highest + column, bound * highest
    if bound == 1:  # all alike
        return np.zeros(rows, np.intp), np.zeros(1, np.intp)
    _, first, ids = np.unique(key, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[ids], first[order]
