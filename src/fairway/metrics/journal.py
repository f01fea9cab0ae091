"""What was scraped since the last snapshot, appended to a file at each scrape, so that a killed process loses one at most.

A journal is a row of segments. Each scrape of a target is one record: its time, and the numbers of its series. A series is
named once a segment and is a number from then on; where a target has the same series as the last time, even the numbers are
left out. Records carry their length and a checksum: what a crash cut off at the end is dropped, and nothing after it.

When the segments grow beyond their limit, a new one is begun, a snapshot is written that takes in all before it, and the old
ones are deleted: memory, snapshot and journal each stay bounded.

Records are written without waiting for the disk. A killed process loses nothing by that; a machine that loses power may
lose what the kernel had not written yet.
"""

from __future__ import annotations

import contextlib
import json
import logging
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from fairway.metrics.histogram import Histogram

if TYPE_CHECKING:
    from fairway.metrics.store import Store, TargetBlock

DEFAULT_LIMIT_BYTES = 32 * 1024 * 1024
"""2 000 series at 5 s are 3.2 kB/s: nearly three hours until the next snapshot."""

log = logging.getLogger("fairway.metrics.journal")

_HEAD = struct.Struct("<II")  # length of the payload, its CRC-32
_SCRAPE = struct.Struct("<cqI?III")  # kind, time, block, complete, series, values, born
_LARGEST = 64 * 1024 * 1024


class Journal:
    """Segments `<name>.<number>` in one folder. `begin` opens a new one; until then nothing is recorded."""

    def __init__(self, folder: Path, name: str = "journal", *, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self._folder = folder
        self._name = name
        self._limit = limit_bytes
        self._file: BinaryIO | None = None
        self._number = 0
        self._written = 0
        self._blocks: dict[str, int] = {}
        self._series = 0
        self._ids: dict[str, tuple[int, np.ndarray[tuple[int], np.dtype[np.int32]]]] = {}
        self._last: dict[str, bytes] = {}

    @property
    def number(self) -> int:
        """Of the segment that is written; a snapshot says it, and takes in all segments before it."""
        return self._number

    @property
    def full(self) -> bool:
        return self._written > self._limit

    def begin(self) -> None:
        """Go on in a new segment."""
        self.close()
        self._number = max([self._number, *(number for number, _ in self.segments())]) + 1
        try:
            self._file = (self._folder / f"{self._name}.{self._number:08d}").open("wb")
        except OSError as error:
            log.warning("samples are not written to disk until the next snapshot: %s", error)
        self._written, self._series = 0, 0
        self._blocks.clear()
        self._ids.clear()
        self._last.clear()

    def close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def drop_before(self, number: int) -> None:
        """Delete segments that a snapshot has taken in."""
        for found, path in self.segments():
            if found < number:
                path.unlink(missing_ok=True)

    def segments(self) -> list[tuple[int, Path]]:
        paths = self._folder.glob(f"{self._name}.*") if self._folder.is_dir() else ()
        return sorted((int(path.suffix[1:]), path) for path in paths if path.suffix[1:].isdecimal())

    # --- writing --------------------------------------------------------------------------------------------------------

    def scraped(
        self, block: TargetBlock, time: int, rows: Sequence[int], values: Sequence[float], born: Sequence[int], *,
        complete: bool, natives: Sequence[tuple[int, Histogram]] = (),
    ) -> None:  # fmt: skip
        """One scrape of a target. `born`: rows of counters that appeared with it."""
        if self._file is None:
            return
        names: list[bytes] = []
        place = self._blocks.get(block.key)
        if place is None:
            place = self._blocks[block.key] = len(self._blocks)
            names.append(_framed(b"B" + json.dumps([place, block.key]).encode()))
        ids = self._numbered(block, np.asarray(rows, np.intp), names)
        born_ids = self._ids[block.key][1][np.asarray(born, np.intp)] if len(born) else np.zeros(0, np.int32)
        series = ids.tobytes()
        same = self._last.get(block.key) == series and len(ids) > 0
        self._last[block.key] = series
        head = _SCRAPE.pack(b"S", time, place, complete, 0 if same else len(ids), len(values), len(born_ids))
        if natives:  # before the scrape that they belong to: a record that is cut off then leaves none without its time
            known = self._ids[block.key][1]
            rows_of = [[int(known[row]), native.as_list()] for row, native in natives]
            names.append(_framed(b"H" + json.dumps([place, time, rows_of]).encode()))
        payload = b"".join((head, b"" if same else series, np.asarray(values, np.float64).tobytes(), born_ids.tobytes()))
        data = b"".join((*names, _framed(payload)))
        try:
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            log.warning("samples are no longer written to disk until the next snapshot: %s", error)
            self._file = None
            self._written = self._limit + 1
        self._written += len(data)

    def _numbered(
        self, block: TargetBlock, rows: np.ndarray[tuple[int], np.dtype[np.intp]], names: list[bytes]
    ) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        """The segment's numbers of these rows; those that have none yet get one, which is recorded in `names`."""
        generation, known = self._ids.get(block.key, (-1, np.zeros(0, np.int32)))
        if generation != block.generation:
            known = np.full(block.series, -1, np.int32)
        elif len(known) < block.series:
            known = np.concatenate([known, np.full(block.series - len(known), -1, np.int32)])
        self._ids[block.key] = block.generation, known
        for row in rows[known[rows] < 0].tolist():
            known[row] = self._series
            names.append(_framed(b"N" + json.dumps([self._series, block.labels_of(row)]).encode()))
            self._series += 1
        return known[rows]

    # --- reading --------------------------------------------------------------------------------------------------------

    def replay(self, store: Store, since: int, *, warn: Callable[[str], None]) -> int:
        """Put the segments from number `since` on into the store; how many scrapes there were."""
        count = 0
        for number, path in self.segments():
            if number >= since:
                count += _replayed(path, store, warn)
        return count


def _framed(payload: bytes) -> bytes:
    return _HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def _records(path: Path, warn: Callable[[str], None]) -> Iterator[bytes]:
    """Payloads up to the first that is not whole."""
    data = path.read_bytes()
    at = 0
    while at < len(data):
        if at + _HEAD.size > len(data):
            break
        length, checksum = _HEAD.unpack_from(data, at)
        payload = data[at + _HEAD.size : at + _HEAD.size + length]
        if length > _LARGEST or len(payload) < length or zlib.crc32(payload) != checksum:
            break
        yield payload
        at += _HEAD.size + length
    if at < len(data):
        warn(f"{path}: the last {len(data) - at} bytes were cut off or damaged and are left out")


def _replayed(path: Path, store: Store, warn: Callable[[str], None]) -> int:
    blocks: dict[int, TargetBlock] = {}
    names = _Names()
    count = 0
    try:
        for payload in _records(path, warn):
            if payload[:1] == b"B":
                place, key = json.loads(payload[1:])
                blocks[place] = store.block(key)
            elif payload[:1] == b"N":
                number, one = json.loads(payload[1:])
                names.labels[number] = one
            elif payload[:1] == b"H":
                place, time, found = json.loads(payload[1:])
                names.natives[place] = time, {number: Histogram.from_list(one) for number, one in found}
            else:
                count += _scrape(payload, blocks, names)
    except (ValueError, KeyError, TypeError, struct.error) as error:
        warn(f"{path} cannot be read to its end, the rest is left out: {error!r}")
    for block in blocks.values():
        block.rest()
    return count


@dataclass(slots=True)
class _Names:
    """The series of a segment by their numbers, the rows that they have in the store (-1: refused), and for each target the
    rows of its last scrape, and the native histograms of the next.
    """

    labels: dict[int, dict[str, str]] = field(default_factory=dict)
    rows: dict[int, int] = field(default_factory=dict)
    last: dict[int, list[int]] = field(default_factory=dict)
    natives: dict[int, tuple[int, dict[int, Histogram]]] = field(default_factory=dict)


def _scrape(payload: bytes, blocks: dict[int, TargetBlock], names: _Names) -> bool:
    _, time, place, complete, series, values, born = _SCRAPE.unpack_from(payload)
    at = _SCRAPE.size
    block = blocks[place]
    numbers = np.frombuffer(payload, np.int32, series, at)
    at += series * 4
    taken = np.frombuffer(payload, np.float64, values, at)
    young = set(np.frombuffer(payload, np.int32, born, at + values * 8).tolist())
    if series or not values:
        for number in numbers.tolist():
            if number not in names.rows:
                names.rows[number] = block.row(names.labels[number], counter=number in young)
        names.last[place] = [names.rows[number] for number in numbers.tolist()]
    rows = np.array(names.last[place], np.intp)
    kept = rows >= 0
    when, natives = names.natives.pop(place, (time, {}))
    beside = [(names.rows[n], one) for n, one in natives.items() if when == time and names.rows.get(n, -1) >= 0]
    return block.append(time, rows[kept], taken[kept], complete=complete, natives=beside)  # type: ignore[arg-type]
