"""What a pod says of its job: one JSON object a line, on its standard output.

    {"at": "2026-01-01T00:00:00.000000Z", "log": "a line, masked"}
    {"steps": [...]}
    {"alive": true}
    {"result": {...}}

A line that is no such object is shown as it is: it is what the container's own start had to say. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from fairway.ci.course import JobResult
from fairway.ci.states import StepRow
from fairway.kube.objects import rfc3339_micro

LONGEST_LAST_WORDS = 4096
"""Bytes of a termination message: the kubelet's own limit."""


@dataclass(frozen=True, slots=True)
class Said:
    at: str
    text: str


@dataclass(frozen=True, slots=True)
class Steps:
    rows: tuple[StepRow, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    result: JobResult


@dataclass(frozen=True, slots=True)
class Alive:
    """Nothing else is said for a while: who listens knows that the connection is good."""


Line = Said | Steps | Ended | Alive
ALIVE = b'{"alive":true}\n'


def said(moment: datetime, text: str) -> bytes:
    return msgspec.json.encode({"at": rfc3339_micro(moment), "log": text}) + b"\n"


def steps(rows: tuple[StepRow, ...]) -> bytes:
    return msgspec.json.encode({"steps": rows}) + b"\n"


def ended(result: JobResult) -> bytes:
    return msgspec.json.encode({"result": result}) + b"\n"


def last_words(result: JobResult) -> bytes:
    """The result for the container's termination message, without what does not fit there."""
    for short in (replace(result, annotations=()), replace(result, annotations=(), steps=()),
                  JobResult(result.phase, result.message[:500], exit_code=result.exit_code, failure=result.failure)):
        data = msgspec.json.encode({"result": short})
        if len(data) <= LONGEST_LAST_WORDS:
            return data
    return b""


def read_line(data: bytes) -> Line:
    try:
        found = msgspec.json.decode(data)
        match found:
            case {"log": str(text), "at": str(at)}:
                return Said(at, text)
            case {"steps": list(rows)}:
                return Steps(msgspec.convert(rows, tuple[StepRow, ...]))
            case {"result": dict(result)}:
                return Ended(msgspec.convert(result, JobResult))
            case {"alive": True}:
                return Alive()
    except (msgspec.DecodeError, msgspec.ValidationError):
        pass
    return Said("", data.decode(errors="replace").rstrip("\r"))
