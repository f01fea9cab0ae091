"""The indexes of an Indexed Job: which are done, which failed for good, and how often each was tried.

Source: kubernetes `pkg/controller/job/indexed_job_utils.go`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from fairway.kube.objects import Obj, annotations_of, spec_of, status_of
from fairway.workloads.job_policy import judge
from fairway.workloads.pods import phase

INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"


def index_of(pod: Obj) -> int | None:
    text = annotations_of(pod).get(INDEX, "")
    return int(text) if text.isdigit() else None


def is_indexed(job: Obj) -> bool:
    return bool(spec_of(job).get("completionMode") == "Indexed")


def limit_per_index(job: Obj) -> int | None:
    limit = spec_of(job).get("backoffLimitPerIndex")
    return None if limit is None else int(limit)


def failures_of(job: Obj, pods: Iterable[Obj]) -> dict[int, int]:
    """How often each index failed. A pod carries the count of those before it."""
    found: dict[int, int] = {}
    for pod in pods:
        index = index_of(pod)
        if index is None:
            continue
        text = annotations_of(pod).get(FAILURES, "0")
        count = int(text) if text.isdigit() else 0
        if phase(pod) == "Failed" and judge(job, pod).action != "Ignore":
            count += 1
        found[index] = max(found.get(index, 0), count)
    return found


def failed_indexes(job: Obj, pods: Sequence[Obj]) -> frozenset[int]:
    """Those that are tried no more: what the status has said stays said."""
    limit = limit_per_index(job)
    if limit is None:
        return frozenset()
    said = set(parse_indexes(str(status_of(job).get("failedIndexes") or "")))
    said |= {index for index, count in failures_of(job, pods).items() if count > limit}
    said |= {index for pod in pods if (index := index_of(pod)) is not None and phase(pod) == "Failed"
             and judge(job, pod).action == "FailIndex"}
    return frozenset(said)


def ready_at(index: int, failures: int, ended: dict[int, datetime], first_s: int, longest_s: int) -> datetime | None:
    """When an index that failed may be tried again; None at once."""
    if failures == 0 or index not in ended:
        return None
    return ended[index] + timedelta(seconds=min(first_s * 2 ** (failures - 1), longest_s))


def parse_indexes(text: str) -> list[int]:
    """`0-2,5` is [0, 1, 2, 5]."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def format_indexes(indexes: Iterable[int]) -> str:
    parts: list[list[int]] = []
    for i in sorted(indexes):
        if parts and parts[-1][1] == i - 1:
            parts[-1][1] = i
        else:
            parts.append([i, i])
    return ",".join(str(a) if a == b else f"{a}-{b}" if b > a + 1 else f"{a},{b}" for a, b in parts)
