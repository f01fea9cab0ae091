"""What a tick needs to be told before it can decide: a webhook's answer, a query's value.

The decision is a pure function and cannot call anybody. It says what it needs (`Unanswered`); the hands ask, and decide
again with the answer. A question is asked once per tick.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from fairway.rollouts.flagger.spec import Webhook


@dataclass(frozen=True, slots=True)
class Call:
    """POST of `body` (JSON text) to a webhook."""

    hook: str
    url: str
    body: str
    timeout: timedelta
    retries: int = 0
    insecure: bool = False
    kind: str = "rollout"


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL. `address` "": the metrics server of this platform."""

    text: str
    address: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """`error` "" for a webhook that agrees. `value` None without an error: the query found no series."""

    error: str = ""
    value: float | None = None


Question = Call | Query


class Unanswered(Exception):
    """The decision needs this answer first."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.question = question


@dataclass(frozen=True, slots=True)
class Answers:
    known: Mapping[Question, Answer] = field(default_factory=dict)

    def to(self, question: Question) -> Answer:
        try:
            return self.known[question]
        except KeyError:
            raise Unanswered(question) from None

    def also(self, question: Question, answer: Answer) -> Answers:
        return Answers({**self.known, question: answer})


Severity = Literal["info", "warn", "error"]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell the alert providers, after everything is written."""

    message: str
    severity: Severity
    facts: bool = False


@dataclass(frozen=True, slots=True)
class After:
    """A webhook that is told, and whose answer changes nothing."""

    call: Call
    hook: Webhook
