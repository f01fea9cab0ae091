"""The words in which the health of a custom kind is written down: rows over conditions, rows over a word in the status. Pure.

Most controllers speak in one of two ways. They keep a list of conditions, and then a kind is a `Conditions` of rules `On`:
which condition in which state means what. Or they keep one word (`status.phase`, `status.state`), and then a kind is a
`Words`. What fits neither is a function of the object. The semantics are those of Argo CD's shipped customisations
(`resource_customizations/<group>/<Kind>` of v3.5), kind by kind, so that a team sees the statuses and messages it knows.

Texts are templates over what the object says: `{message}` and `{reason}` of the condition, `{word}`, `{kind}`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fairway.kube.objects import Obj, dig, meta_of, spec_of, status_of

Status = Literal["Healthy", "Suspended", "Progressing", "Missing", "Degraded", "Unknown"]
Answer = tuple[Status, str]
Check = Callable[[Obj], Answer]


def conditions_of(holder: Obj, *path: str) -> list[Obj]:
    """The conditions at `path` of a mapping; none where there is no list."""
    found = dig(holder, *(path or ("status", "conditions")))
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def reports(obj: Obj) -> bool:
    """Whether the status has a list of conditions, be it empty."""
    return isinstance(status_of(obj).get("conditions"), list)


def condition_of(obj: Obj, kind: str) -> Obj:
    """The first condition of a type, {} where there is none."""
    return next((entry for entry in conditions_of(obj) if entry.get("type") == kind), {})


def is_true(condition: Obj) -> bool:
    return condition.get("status") == "True"


def message_of(holder: Obj, otherwise: str = "") -> str:
    """`message` as the controller wrote it, be it empty; `otherwise` where it wrote none."""
    found = holder.get("message")
    return otherwise if found is None else str(found)


def is_observed(obj: Obj) -> bool:
    """The controller's `status.observedGeneration` is the object's generation; not so where only one of them is there."""
    return bool(status_of(obj).get("observedGeneration") == meta_of(obj).get("generation"))


def is_stale(obj: Obj) -> bool:
    """Both generations are there and differ: what the status says is about an older spec."""
    seen, now = status_of(obj).get("observedGeneration"), meta_of(obj).get("generation")
    return seen is not None and now is not None and seen != now


def count(value: Any) -> int:
    """A number of the status, 0 where it is absent."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


@dataclass(frozen=True, slots=True)
class On:
    """A condition of this `type` ("" = any) in this `state` ("True", "False", "Unknown", "*", or "!True" for all but True)."""

    type: str
    state: str
    health: Status
    text: str = "{message}"
    absent: str = ""
    """What stands for the message where the condition has none."""
    reasons: tuple[str, ...] = ()
    """Only for these reasons, where any are named."""

    def fits(self, condition: Obj) -> bool:
        if self.type and condition.get("type") != self.type:
            return False
        if self.reasons and condition.get("reason") not in self.reasons:
            return False
        state = condition.get("status")
        return self.state == "*" or (state != self.state[1:] if self.state.startswith("!") else state == self.state)

    def answer(self, condition: Obj, kind: str) -> Answer:
        reason = str(condition.get("reason") or "")
        message = message_of(condition, self.absent.replace("{reason}", reason))
        return self.health, self.text.format(message=message, reason=reason, kind=kind)


@dataclass(frozen=True, slots=True)
class Conditions:
    """The first condition that any rule knows decides; `ranked`: the first rule that finds a condition does."""

    waiting: str
    rules: tuple[On, ...]
    ranked: bool = False
    meanwhile: Status = "Progressing"
    """The health while no condition decides; its message is `waiting`."""
    silent: str | None = None
    """The message while there are no conditions at all, where it is not `waiting`."""
    stale: str | None = None
    """The message while `status.observedGeneration` is behind."""
    unseen: str | None = None
    """The message while it is behind or absent."""
    suspended: tuple[str, str] | None = None
    """A field of the spec and the message while it is true: the object rests."""

    def __call__(self, obj: Obj) -> Answer:
        kind = str(obj.get("kind") or "")
        if self.suspended is not None and spec_of(obj).get(self.suspended[0]) is True:
            return "Suspended", self.suspended[1].format(kind=kind)
        if self.silent is not None and not reports(obj):
            return self.meanwhile, self.silent
        if self.unseen is not None and not is_observed(obj):
            return "Progressing", self.unseen
        if self.stale is not None and is_stale(obj):
            return "Progressing", self.stale
        return self._decided(conditions_of(obj), kind) or (self.meanwhile, self.waiting.format(kind=kind))

    def _decided(self, found: list[Obj], kind: str) -> Answer | None:
        pairs: Iterable[tuple[On, Obj]] = (
            ((rule, entry) for rule in self.rules for entry in found) if self.ranked
            else ((rule, entry) for entry in found for rule in self.rules))  # fmt: skip
        return next((rule.answer(entry, kind) for rule, entry in pairs if rule.fits(entry)), None)


def ready(waiting: str, kind: str = "Ready", *, healthy: str = "{message}", degraded: str = "{message}",
          stale: str | None = None) -> Conditions:
    """The commonest row: one condition that is healthy while True and degraded while False."""
    return Conditions(waiting, (On(kind, "True", "Healthy", healthy), On(kind, "False", "Degraded", degraded)), stale=stale)


@dataclass(frozen=True, slots=True)
class Words:
    """A word at `path` of the status decides; a word that is not in the table gives `other`."""

    path: tuple[str, ...]
    waiting: str
    words: Mapping[str, Answer]
    other: Answer | None = None

    def __call__(self, obj: Obj) -> Answer:
        kind, word = str(obj.get("kind") or ""), dig(status_of(obj), *self.path)
        if word is None:
            return "Progressing", self.waiting.format(kind=kind)
        health, text = self.words.get(str(word), self.other or ("Progressing", self.waiting))
        return health, text.format(word=word, kind=kind, message=message_of(status_of(obj)))


def of_group(group: str, kinds: Iterable[str], check: Check) -> dict[tuple[str, str], Check]:
    """One row for several kinds of a group."""
    return dict.fromkeys(((group, kind) for kind in kinds), check)
