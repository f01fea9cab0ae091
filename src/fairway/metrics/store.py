"""The series store: for each target one matrix of samples, series × scrapes, in memory.

All samples of a scrape share its time, so a target's block is a row of times and a matrix of float64: eight bytes a
sample, where Python objects would cost a hundred. Old columns fall off the left end when room is needed; the whole
store stays under `limit_bytes`, and when it cannot, the oldest samples go first and new series are refused, visibly
(`Usage`).

A counter that appears on a target that was scraped before began at 0 in between. That zero is put in at the scrape
before; without it PromQL cannot see the counter's first increase, and one burst of errors would count as none.

A snapshot is written now and then and on close, and read on start; what was scraped since stands in the journal.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fairway.metrics.histogram import Histogram
from fairway.metrics.journal import Journal
from fairway.metrics.labels import Index, LabelTable, SeriesKey, key_of, labels_of, stacked
from fairway.metrics.matchers import Matcher
from fairway.metrics.series import ABSENT_BITS, STALE_BITS, Block, Bools, Floats, Histograms, Times, matching_rows

DEFAULT_RETENTION_MS = 3 * 3600 * 1000
DEFAULT_LIMIT_BYTES = 128 * 1024 * 1024
"""2 000 series at 5 s for 3 h are 35 MB; four times that is room for a busy machine."""

_FIRST_ROWS, _FIRST_COLUMNS = 16, 16
_NATIVE_BYTES = 2_000  # of one native histogram with some ten buckets: two dictionaries and their numbers
_MOST_CHOSEN = 64  # of 10,000 rows each: 5 MB
_SNAPSHOT = 1
_AT_ONCE = 4096  # rows that are made ready for the disk at a time

Labels = Mapping[str, str]
Natives = list[tuple[int, int, Histogram]]
"""(row, time, native histogram)."""
Copy = tuple[int, list[tuple[str, list[SeriesKey], Times, Floats, Natives]]]
"""(first segment of the journal that it has not taken in, [(key, its series, times, values, natives) of each target])."""


@dataclass(frozen=True, slots=True)
class Usage:
    """`refused` counts series that found no room; `shortened` says that samples younger than the retention were
    dropped.
    """

    series: int
    samples: int
    bytes: int
    limit_bytes: int
    refused: int
    shortened: bool


class TargetBlock:
    """One target's samples. Rows are series; a row number is valid until `generation` changes."""

    def __init__(self, store: Store, key: str) -> None:
        self.key = key
        self.generation = 0
        self._store = store
        self._keys: list[SeriesKey] = []
        self._table: LabelTable | None = None
        self._times: Times = np.zeros(_FIRST_COLUMNS, np.int64)
        self._values = _blank(0, _FIRST_COLUMNS)
        self._columns = 0
        self._row_of: dict[SeriesKey, int] = {}
        self._complete = False
        self._natives: dict[int, dict[int, Histogram]] = {}  # row to time to what stands beside its cell
        self._born: list[int] = []  # counters that appeared since the last append
        self._last_rows: Bools = np.zeros(0, np.bool_)  # rows that had a sample in the last append

    # --- writing ----------------------------------------------------------------------------------------------------

    def row(self, labels: Labels, *, counter: bool = False) -> int:
        """The row of a series, new or as it was; -1 where the store is full or another target owns the series.

        A `counter` that is new on a target that was scraped before began at 0 in between.
        """
        key = key_of(labels)
        if (known := self._row_of.get(key)) is not None:
            return known
        if not self._store.claim(key, self):
            return -1
        rows = len(self._keys)
        if rows == len(self._values) and not self._grow_rows():
            self._store.disclaim(key)
            return -1
        self._row_of[key] = rows
        self._keys.append(key)
        if counter:
            self._born.append(rows)
        return rows

    def append(self, time: int, rows: Sequence[int], values: Sequence[float], *, complete: bool = True,
               natives: Sequence[tuple[int, Histogram]] = ()) -> bool:
        """One scrape. Series that had a sample last time and have none now end here. False: not after the last one.

        `natives` are native histograms by their rows, whose values are 0. `complete` is False where the target did not answer:
        what appears next may be older than it looks.
        """
        if self._columns and time <= self._times[self._columns - 1]:
            return False
        if self._columns == len(self._times) and not self._make_room(time):
            return False
        if natives and not self._store.afford(len(natives) * _NATIVE_BYTES):
            self._store.shortened = True
            self._drop_columns(self._columns // 4)
        column = self._columns
        self._times[column] = time
        bits = self._values.view(np.int64)
        bits[:, column] = ABSENT_BITS
        now = np.zeros(len(self._keys), np.bool_)
        if len(rows):
            index = np.asarray(rows, np.intp)
            numbers = np.asarray(values, np.float64)
            self._values[index, column] = np.where(np.isnan(numbers), np.nan, numbers)
            now[index] = True
        if natives:
            self._keep_natives(time, natives)
        self._store.scraped(self, time, rows, values, self._born if self._complete and column > 0 else (), complete=complete,
                            natives=natives)
        ended = np.flatnonzero(self._last_rows & ~now[: len(self._last_rows)])
        bits[ended, column] = STALE_BITS
        if self._complete and column > 0:
            self._values[self._born, column - 1] = 0.0
        self._born.clear()
        self._complete = complete
        self._last_rows = now
        self._columns += 1
        return True

    def _keep_natives(self, time: int, natives: Sequence[tuple[int, Histogram]]) -> None:
        """One that is as it was is kept once."""
        for row, native in natives:
            known = self._natives.setdefault(row, {})
            last = next(reversed(known.values()), None)
            known[time] = last if last == native else native

    def end(self, time: int) -> None:
        """The target is gone or failed: every series of it ends."""
        if self._last_rows.any():
            self.append(time, (), (), complete=False)

    def _grow_rows(self) -> bool:
        rows = _grown(len(self._values), _FIRST_ROWS)
        if not self._store.afford((rows - len(self._values)) * len(self._times) * 8):
            return False
        wider = _blank(rows, len(self._times))
        wider[: len(self._values)] = self._values
        self._values = wider
        return True

    def _make_room(self, now: int) -> bool:
        """Drop what is older than the retention; grow where that frees little; where even that is refused, drop a
        quarter.
        """
        old = int(np.searchsorted(self._times[: self._columns], now - self._store.retention_ms))
        if old < self._columns // 4:
            columns = _grown(len(self._times), _FIRST_COLUMNS)
            if self._store.afford((columns - len(self._times)) * (len(self._values) + 1) * 8):
                wider = _blank(len(self._values), columns)
                wider[:, : self._columns] = self._values[:, : self._columns]
                times = np.zeros(columns, np.int64)
                times[: self._columns] = self._times[: self._columns]
                self._values, self._times = wider, times
                return True
            self._store.shortened = True
            old = max(old, self._columns // 4)
        self._drop_columns(old)
        return True

    def _drop_columns(self, count: int) -> None:
        """Into new arrays: the old ones may be on their way to the disk."""
        kept, times = self._columns - count, np.zeros(len(self._times), np.int64)
        values = _blank(*self._values.shape)
        times[:kept] = self._times[count : self._columns]
        values[:, :kept] = self._values[:, count : self._columns]
        self._times, self._values, self._columns = times, values, kept
        oldest = int(self._times[0]) if kept else 0
        self._natives = {row: {time: native for time, native in found.items() if time >= oldest}
                         for row, found in self._natives.items()}

    def drop_dead_rows(self) -> None:
        """Forget series without any sample left. The rows of the others change, and with them `generation`."""
        rows = len(self._keys)
        bits = self._values[:rows, : self._columns].view(np.int64)
        keep = ((bits != ABSENT_BITS) & (bits != STALE_BITS)).any(axis=1)
        if keep.all():
            return
        for row in np.flatnonzero(~keep):
            self._store.disclaim(self._keys[row])
        places = np.cumsum(keep) - 1
        self._natives = {int(places[row]): found for row, found in self._natives.items() if keep[row]}
        self._keys = [key for key, kept in zip(self._keys, keep, strict=True) if kept]
        self._row_of = {key: row for row, key in enumerate(self._keys)}
        values = _blank(max(_FIRST_ROWS, len(self._keys)), len(self._times))
        values[: len(self._keys)] = self._values[:rows][keep]
        self._values = values
        self._last_rows = self._last_rows[keep[: len(self._last_rows)]]
        self._born.clear()
        self._table = None
        self.generation += 1

    # --- reading ----------------------------------------------------------------------------------------------------

    @property
    def table(self) -> LabelTable:
        if self._table is None or len(self._table) != len(self._keys):
            self._table = LabelTable.of([*map(labels_of, self._keys)])
        return self._table

    def labels_of(self, row: int) -> dict[str, str]:
        return labels_of(self._keys[row])

    @property
    def bytes(self) -> int:
        natives = sum(_NATIVE_BYTES * len(found) for found in self._natives.values())
        return self._values.nbytes + self._times.nbytes + natives

    @property
    def series(self) -> int:
        return len(self._keys)

    @property
    def samples(self) -> int:
        return len(self._keys) * self._columns

    @property
    def newest(self) -> int:
        return int(self._times[self._columns - 1]) if self._columns else -1

    def cut(self, rows: Index, start: int, end: int) -> tuple[Times, Floats, Histograms | None]:
        """Times in (start, end], and the samples of these rows at those times."""
        first, last = np.searchsorted(self._times[: self._columns], [start, end], side="right")
        times = self._times[first:last].copy()
        return times, self._values[rows, first:last], self._natives_at(rows, times)

    def _natives_at(self, rows: Index, times: Times) -> Histograms | None:
        """None where there are none, which is the usual case."""
        if not self._natives or not any(int(row) in self._natives for row in rows):
            return None
        found = np.full((len(rows), len(times)), None, object)
        for i, row in enumerate(rows.tolist()):
            known = self._natives.get(row)
            if known:
                found[i] = [known.get(time) for time in times.tolist()]
        return found

    # --- snapshot ---------------------------------------------------------------------------------------------------

    def twin(self, store: Store) -> TargetBlock:
        """The same samples in another store."""
        other = copy(self)
        other._store = store
        other._keys, other._row_of, other._born = list(self._keys), dict(self._row_of), list(self._born)
        other._times, other._values, other._last_rows = self._times.copy(), self._values.copy(), self._last_rows.copy()
        return other

    def frozen(self) -> tuple[list[SeriesKey], Times, Floats]:
        """(keys of the series, times, values)."""
        return self._keys, self._times[: self._columns], self._values[: len(self._keys), : self._columns]

    @property
    def natives(self) -> Natives:
        return [(row, time, native) for row, found in self._natives.items() for time, native in found.items()]

    def restore(self, labels: list[dict[str, str]], times: Times, values: Floats, natives: Natives) -> None:
        """Take over a snapshot; the series end where it ends, until they are scraped again."""
        keys = [*map(key_of, labels)]
        if not all(self._store.claim(key, self) for key in keys):
            return
        self._keys, self._row_of = keys, {key: row for row, key in enumerate(keys)}
        self._columns = len(times)
        self._times = np.zeros(_grown(len(times), _FIRST_COLUMNS), np.int64)
        self._times[: len(times)] = times
        self._values = _blank(max(_FIRST_ROWS, len(labels)), len(self._times))
        self._values[: len(labels), : len(times)] = values
        for row, time, native in natives:
            self._natives.setdefault(row, {})[time] = native
        self.rest()

    def rest(self) -> None:
        """Nothing is known of what comes next: no series ends for not being in it, and none has just been born."""
        self._last_rows = np.zeros(len(self._keys), np.bool_)
        self._complete = False
        self._born.clear()


def _joined(natives: Sequence[Histograms | None], values: Sequence[Floats]) -> Histograms | None:
    """One above the other, where any block has some."""
    if all(one is None for one in natives):
        return None
    return np.concatenate([np.full(beside.shape, None, object) if one is None else one
                           for one, beside in zip(natives, values, strict=True)])


def _grown(size: int, first: int) -> int:
    """By a quarter: the state of a thousand Deployments is 50,000 rows, and room that nothing fills yet costs as much."""
    return max(first, size * 5 // 4)


def _blank(rows: int, columns: int) -> Floats:
    values = np.empty((rows, columns))
    values.view(np.int64)[:] = ABSENT_BITS
    return values


@dataclass(frozen=True, slots=True, eq=False)
class _Catalogue:
    """The labels of every series in one table; block i has the rows from starts[i] to starts[i + 1]. `chosen` remembers
    which rows fulfil the matchers that were asked last: a rule or an analysis asks the same again and again.
    """

    blocks: list[TargetBlock]
    labels: LabelTable
    starts: Index
    chosen: dict[tuple[Matcher, ...], Index]

    def rows(self, matchers: Sequence[Matcher]) -> Index:
        """Which rows fulfil every matcher, ascending."""
        asked = tuple(matchers)
        found = self.chosen.get(asked)
        if found is None:
            if len(self.chosen) >= _MOST_CHOSEN:
                self.chosen.clear()
            found = self.chosen[asked] = np.flatnonzero(matching_rows(self.labels, matchers))
        return found


class Store:
    """The blocks of every target. It is the `SeriesSource` of embedded queries."""

    def __init__(
        self, *, retention_ms: int = DEFAULT_RETENTION_MS, limit_bytes: int = DEFAULT_LIMIT_BYTES,
        journal: Journal | None = None,
    ) -> None:  # fmt: skip
        self.retention_ms = retention_ms
        self._journal = journal
        self.limit_bytes = limit_bytes
        self.refused = 0
        self.shortened = False
        self._blocks: dict[str, TargetBlock] = {}
        self._owners: dict[SeriesKey, TargetBlock] = {}
        self._known: _Catalogue | None = None

    def block(self, key: str) -> TargetBlock:
        """The block of one target, new or as it was."""
        block = self._blocks.get(key)
        if block is None:
            block = self._blocks[key] = TargetBlock(self, key)
        return block

    def blocks(self) -> Iterator[TargetBlock]:
        return iter(list(self._blocks.values()))

    def select(self, matchers: Sequence[Matcher], start: int, end: int) -> list[Block]:
        """Targets that were scraped at the same times come back as one block: a query then costs as if they were one."""
        catalogue = self._catalogue()
        rows = catalogue.rows(matchers)
        borders = np.searchsorted(rows, catalogue.starts)
        alike: dict[bytes, tuple[Times, list[Index], list[Floats], list[Histograms | None]]] = {}
        for i, block in enumerate(catalogue.blocks):
            own = rows[borders[i] : borders[i + 1]]
            if len(own) == 0:
                continue
            times, values, natives = block.cut(own - catalogue.starts[i], start, end)
            if len(times):
                _, all_rows, all_values, all_natives = alike.setdefault(times.tobytes(), (times, [], [], []))
                all_rows.append(own)
                all_values.append(values)
                all_natives.append(natives)
        return [
            Block(catalogue.labels.take(np.concatenate(all_rows)), times, np.concatenate(all_values),
                  _joined(all_natives, all_values))
            for times, all_rows, all_values, all_natives in alike.values()
        ]

    def _catalogue(self) -> _Catalogue:
        if self._known is None:
            blocks = list(self._blocks.values())
            labels = stacked([block.table for block in blocks])
            starts = np.cumsum([0, *(block.series for block in blocks)])
            self._known = _Catalogue(blocks, labels, starts, {})
        return self._known

    def labels(self, matchers: Sequence[Matcher], start: int, end: int) -> list[dict[str, str]]:
        """The labels of the series that have a sample in (start, end]."""
        rows = []
        for block in self.select(matchers, start, end):
            rows += block.labels.take(block.seen()).rows()
        return rows

    def expire(self, now: int) -> None:
        """Forget targets whose newest sample is older than the retention, and series that have no sample left."""
        for key, block in list(self._blocks.items()):
            if 0 <= block.newest < now - self.retention_ms:
                for series in block.frozen()[0]:
                    self.disclaim(series)
                del self._blocks[key]
            else:
                block.drop_dead_rows()

    def usage(self) -> Usage:
        blocks = self._blocks.values()
        return Usage(
            sum(b.series for b in blocks),
            sum(b.samples for b in blocks),
            sum(b.bytes for b in blocks),
            self.limit_bytes,
            self.refused,
            self.shortened,
        )

    # --- what blocks ask --------------------------------------------------------------------------------------------

    def claim(self, key: SeriesKey, block: TargetBlock) -> bool:
        """A series belongs to the target that showed it first, so that no query sees it twice."""
        self._known = None
        if self._owners.setdefault(key, block) is block:
            return True
        self.refused += 1
        return False

    def disclaim(self, key: SeriesKey) -> None:
        self._known = None
        self._owners.pop(key, None)

    def scraped(
        self, block: TargetBlock, time: int, rows: Sequence[int], values: Sequence[float], born: Sequence[int], *,
        complete: bool, natives: Sequence[tuple[int, Histogram]],
    ) -> None:  # fmt: skip
        """A scrape that is about to be kept."""
        if self._journal is not None:
            self._journal.scraped(block, time, rows, values, born, complete=complete, natives=natives)

    def afford(self, more: int) -> bool:
        if sum(block.bytes for block in self._blocks.values()) + more <= self.limit_bytes:
            return True
        self.refused += 1
        return False

    # --- snapshot ---------------------------------------------------------------------------------------------------

    def twin(self) -> Store:
        """A store of its own with the same samples; nothing of it is kept on disk."""
        other = Store(retention_ms=self.retention_ms, limit_bytes=self.limit_bytes)
        other._blocks = {key: block.twin(other) for key, block in self._blocks.items()}
        other._owners = {series: other._blocks[block.key] for series, block in self._owners.items()}
        return other

    def save(self, path: Path) -> None:
        """Write everything, replacing an older snapshot at once."""
        self.written(self.copied(), path)

    def copied(self) -> Copy:
        """All samples as they are now, to be written while scraping goes on: what comes is put behind them, and what goes
        leaves these arrays as they are."""
        number = self._journal.number if self._journal is not None else 0
        parts = [(block.key, *block.frozen(), block.natives) for block in self._blocks.values() if block.newest >= 0]
        return number, [(key, list(series), times, values, natives) for key, series, times, values, natives in parts]

    @staticmethod
    def written(copy: Copy, path: Path) -> None:
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            for text in _head(copy):
                file.write(text.encode())
            for _, _, times, values, _ in copy[1]:
                file.write(times.data)
                for start in range(0, len(values), _AT_ONCE):
                    file.write(np.ascontiguousarray(values[start : start + _AT_ONCE]).data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)

    def load(self, path: Path, *, warn: Callable[[str], None]) -> None:
        """Read a snapshot where there is one, and what the journal has since; what is damaged is reported and left out."""
        since = self._loaded(path, warn) if path.exists() else 0
        if self._journal is not None:
            self._journal.replay(self, since, warn=warn)

    def _loaded(self, path: Path, warn: Callable[[str], None]) -> int:
        """The first segment of the journal that the snapshot has not taken in."""
        try:
            with path.open("rb") as file:
                head = json.loads(file.readline())
                if head["version"] != _SNAPSHOT:
                    raise ValueError(f"version {head['version']}")
                for entry in head["blocks"]:
                    rows, columns = entry["rows"], entry["columns"]
                    times = np.frombuffer(file.read(columns * 8), np.int64)
                    values = np.frombuffer(file.read(rows * columns * 8), np.float64).reshape(rows, columns)
                    if len(times) != columns:
                        raise ValueError("it is cut off")
                    natives = [(row, time, Histogram.from_list(native)) for row, time, native in entry.get("natives", ())]
                    self.block(entry["key"]).restore(entry["labels"], times, values, natives)
                return int(head.get("journal", 0))
        except (OSError, ValueError, KeyError, TypeError) as error:
            warn(f"samples of the last run cannot be read from {path} and are left out: {error}")
            return 0


def _head(copy: Copy) -> Iterator[str]:
    """The first line of a snapshot, one JSON object, in pieces: as one it would be as large as all samples of minutes."""
    number, blocks = copy
    yield f'{{"version": {_SNAPSHOT}, "journal": {number}, "blocks": ['
    for n, (key, series, times, _, natives) in enumerate(blocks):
        head = {"key": key, "columns": len(times), "rows": len(series),
                "natives": [(row, time, native.as_list()) for row, time, native in natives]}
        yield f'{", " if n else ""}{json.dumps(head)[:-1]}, "labels": ['
        for start in range(0, len(series), _AT_ONCE):
            yield (", " if start else "") + ", ".join(json.dumps(labels_of(one)) for one in series[start : start + _AT_ONCE])
        yield "]}"
    yield "]}\n"
