"""What one tick comes to, while it is being decided: a list that only grows, and its end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NoReturn

from fairway.kube.decision import Action, Reason
from fairway.kube.events import EventKind
from fairway.rollouts.flagger.questions import After, Answers, Call, Notice, Severity
from fairway.rollouts.flagger.routers import Router
from fairway.rollouts.flagger.seen import View
from fairway.rollouts.flagger.spec import CanarySpec, HookType, Webhook
from fairway.rollouts.flagger.status import Phase, Status, in_phase, moved
from fairway.rollouts.flagger.weights import Routes


@dataclass(frozen=True, slots=True)
class Said:
    """An event of the Canary; upstream gives all of them the reason Synced."""

    kind: EventKind
    reason: Reason


@dataclass(frozen=True, slots=True)
class Ticked:
    """In the order in which it is carried out: actions, status, events, and who is told afterwards."""

    actions: tuple[Action, ...] = ()
    status: Status | None = None
    said: tuple[Said, ...] = ()
    notices: tuple[Notice, ...] = ()
    after: tuple[After, ...] = ()


class Stop(Exception):
    """The tick ends here."""


@dataclass
class Tick:
    spec: CanarySpec
    answers: Answers
    status: Status
    actions: list[Action] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    after: list[After] = field(default_factory=list)

    def act(self, actions: Iterable[Action | None]) -> None:
        self.actions += [action for action in actions if action is not None]

    def say(self, code: str, message: str) -> None:
        self.said.append(Said("Normal", Reason(code, message)))

    def warn(self, code: str, message: str) -> None:
        self.said.append(Said("Warning", Reason(code, message)))

    def stop(self, code: str, message: str) -> NoReturn:
        self.warn(code, message)
        raise Stop

    def tell(self, message: str, severity: Severity, *, facts: bool = False) -> None:
        self.notices.append(Notice(message, severity, facts))

    def route(self, view: View, router: Router, routes: Routes) -> None:
        self.act(router.set(view, routes, self.status.cookie))

    # --- status -------------------------------------------------------------------------------------------------------

    def move(self, view: View, phase: Phase) -> None:
        self.status = moved(in_phase(self.status, phase, self.spec.checks.iterations), view.now, self.spec.target.kind)

    def set(self, view: View, *, weight: int | None = None, failed: int | None = None, iterations: int | None = None) -> None:
        status = self.status
        self.status = replace(status, moved=view.now, weight=status.weight if weight is None else weight,
                              failed_checks=status.failed_checks if failed is None else failed,
                              iterations=status.iterations if iterations is None else iterations)

    # --- webhooks -----------------------------------------------------------------------------------------------------

    def hooks(self, kind: HookType) -> Iterator[Webhook]:
        return (hook for hook in self.spec.checks.webhooks if hook.type == kind)

    def ask(self, hook: Webhook, phase: str) -> str:
        """"" where it agrees, else its error."""
        return self.answers.to(call_of(self.spec, self.status, hook, phase)).error

    def done(self) -> Ticked:
        return Ticked(tuple(self.actions), self.status, tuple(self.said), tuple(self.notices), tuple(self.after))


def call_of(spec: CanarySpec, status: Status, hook: Webhook, phase: str) -> Call:
    body = {"name": spec.name, "namespace": spec.namespace, "phase": phase, "checksum": status.applied, "type": hook.type,
            "failedChecks": status.failed_checks, "canaryWeight": status.weight, "iterations": status.iterations,
            "metadata": dict(hook.metadata)}
    return Call(hook.name, hook.url, json.dumps(body, sort_keys=True), hook.timeout, hook.retries, hook.insecure, hook.type)
