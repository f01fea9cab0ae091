"""Samples outlive the process: by the journal to the last scrape, by snapshots for good."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fairway.metrics.journal import Journal
from fairway.metrics.store import Store

KILLED = """
import sys, time
from pathlib import Path
from fairway.metrics.journal import Journal
from fairway.metrics.store import Store
journal = Journal(Path(sys.argv[1]))
store = Store(journal=journal)
journal.begin()
block = store.block("t")
row = block.row({"__name__": "x", "i": "0"})
for i in range(1, 1_000_000):
    block.append(i * 1000, [row], [float(i)])
    print(i, flush=True)
"""


def samples(store: Store, until: int = 10**9) -> dict[str, list[float]]:
    return {
        "/".join(text for _, text in sorted(row.items())): block.values[i][valid].tolist()
        for block in store.select([], -1, until)
        for i, row in enumerate(block.labels.rows())
        for valid in (block.valid()[i],)
    }


def opened(folder: Path) -> tuple[Store, Journal, list[str]]:
    journal, said = Journal(folder), list[str]()
    store = Store(journal=journal)
    store.load(folder / "samples", warn=said.append)
    journal.begin()
    return store, journal, said


def filled(folder: Path, count: int = 5) -> Store:
    store, _, _ = opened(folder)
    block = store.block("t")
    for i in range(1, count + 1):
        rows = [block.row({"__name__": "x"}), block.row({"__name__": "y"})]
        values = [float(i), float(-i)]
        if i == 3:  # a counter that is born on a target that was scraped before
            rows.append(block.row({"__name__": "z"}, counter=True))
            values.append(7.0)
        block.append(i * 1000, rows, values)
    return store


def test_every_scrape_is_there_again_with_the_zero_before_a_counters_birth(tmp_path: Path) -> None:
    before = samples(filled(tmp_path))
    store, _, said = opened(tmp_path)
    assert samples(store) == before == {"x": [1, 2, 3, 4, 5], "y": [-1, -2, -3, -4, -5], "z": [0, 7]}
    assert said == []


@pytest.mark.parametrize("cut", [1, 7, 30])
def test_a_torn_tail_is_dropped_and_said_and_nothing_else_is_lost(tmp_path: Path, cut: int) -> None:
    filled(tmp_path)
    ((_, path),) = Journal(tmp_path).segments()
    path.write_bytes(path.read_bytes()[:-cut])
    store, _, (said,) = opened(tmp_path)
    assert samples(store)["x"] == [1, 2, 3, 4]
    assert "were cut off or damaged and are left out" in said
    store.block("t").append(9000, [store.block("t").row({"__name__": "x"})], [9.0])
    assert samples(opened(tmp_path)[0])["x"] == [1, 2, 3, 4, 9]


def test_a_snapshot_takes_the_journal_in_whenever_the_process_dies(tmp_path: Path) -> None:
    store, journal, _ = opened(tmp_path)
    block = store.block("t")
    row = block.row({"__name__": "x"})
    block.append(1000, [row], [1.0])
    journal.begin()
    store.save(tmp_path / "samples")  # it dies here: the first segment is still there
    block.append(2000, [row], [2.0])
    assert samples(opened(tmp_path)[0]) == {"x": [1, 2]}
    journal.drop_before(journal.number)
    assert samples(opened(tmp_path)[0]) == {"x": [1, 2]}


def test_a_journal_that_is_full_says_so(tmp_path: Path) -> None:
    journal = Journal(tmp_path, limit_bytes=500)
    store = Store(journal=journal)
    journal.begin()
    block = store.block("t")
    row = block.row({"__name__": "x"})
    for i in range(1, 20):
        block.append(i, [row], [1.0])
    assert journal.full
    journal.begin()
    assert not journal.full


def test_a_disk_that_takes_nothing_does_not_stop_the_scraping(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "nowhere")
    store = Store(journal=journal)
    journal.begin()
    block = store.block("t")
    assert block.append(1000, [block.row({"__name__": "x"})], [1.0])
    assert samples(store) == {"x": [1.0]}


def test_a_killed_process_loses_one_scrape_at_most(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(50):
        last = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    rest = [int(line) for line in process.stdout.read().split()]
    process.wait()
    found = samples(opened(tmp_path)[0])["x/0"]
    assert found == [float(i) for i in range(1, len(found) + 1)]
    assert len(found) >= max([last, *rest])
