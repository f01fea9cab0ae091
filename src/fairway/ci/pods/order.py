"""What a pod is told to do: a job with everything that is known of it, as one JSON document in a Secret.

A GitHub workflow travels as its text, which the pod reads as the controller did. A GitLab job is the outcome of includes, rules
and matrices; it travels as the typed value that these gave.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from fairway.ci.environment import RunFacts
from fairway.ci.events import Event
from fairway.ci.gitlab.job import Upstream
from fairway.ci.gitlab.plan import Leg
from fairway.ci.gitlab.variables import Variable, Variables
from fairway.ci.tokens import Level

FORMAT = 1
"""Raised when the document changes: a runner's image of another format says so instead of doing something else."""
LARGEST = 1024 * 1024
"""Bytes of a Secret: the API's own limit."""


class BadOrder(ValueError):
    """The order cannot be sent, or not be read; the message says why and what helps."""


@dataclass(frozen=True)
class Home:
    """The Fairway that sent the job: where its files are, and the token that opens them."""

    url: str
    token: str
    repository: str
    level: Level | None


@dataclass(frozen=True)
class GithubWork:
    facts: RunFacts
    row: Mapping[str, Any]
    path: str
    text: str
    event: Event
    contexts: Mapping[str, Any]
    secrets: Mapping[str, str]


@dataclass(frozen=True)
class GitlabWork:
    leg: Leg
    row: Mapping[str, Any]
    upstreams: tuple[Upstream, ...]
    run: str
    title: str
    repository: str
    sha: str
    ref: str
    prefix: str
    stages: tuple[str, ...]
    variables: Variables
    given: Variables
    predefined: Variables
    scoped: tuple[tuple[str, Variables], ...]


@dataclass(frozen=True)
class Order:
    """`image` is the job's own image, "" for the runner's; `sidecars`: its services run beside it in the pod."""

    home: Home
    run: str
    job: str
    github: GithubWork | None = None
    gitlab: GitlabWork | None = None
    image: str = ""
    sidecars: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT


def encode_order(order: Order) -> bytes:
    """Raises `BadOrder` where it is larger than a Secret may be."""
    data = msgspec.json.encode(order, enc_hook=_plain)
    if len(data) > LARGEST - 64 * 1024:
        raise BadOrder(f"the job's order has {len(data)} bytes, a Secret at most {LARGEST}: hand large values on as artifacts "
                       "instead of outputs, inputs or secrets")
    return data


def decode_order(data: bytes) -> Order:
    """Raises `BadOrder`."""
    try:
        written = msgspec.json.decode(data)
        if not isinstance(written, dict) or written.get("format") != FORMAT:
            found = written.get("format") if isinstance(written, dict) else None
            raise BadOrder(f"the order has the format {found}, this runner reads {FORMAT}: use the runner's image of the same "
                           "version as the Fairway that sends the jobs")
        return msgspec.convert(written, Order, dec_hook=_typed)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise BadOrder(f"the order cannot be read: {error}; use the runner's image of the same version as the Fairway that "
                       "sends the jobs") from None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise NotImplementedError(type(value).__name__)


def _typed(wanted: type, value: Any) -> Any:
    if wanted is Variables:
        return Variables(msgspec.convert(value, dict[str, Variable]))
    raise NotImplementedError(wanted.__name__)
