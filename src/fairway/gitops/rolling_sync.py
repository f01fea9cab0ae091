"""`strategy: RollingSync` of an ApplicationSet: its Applications are synced step by step, not all at once. Pure.

Each Application has an entry in `status.applicationStatus`:

    Waiting      git says something else than what is live; its step has not come yet
    Pending      it may be synced now: its operation is started
    Progressing  the operation runs, or what it applied is not healthy yet
    Healthy      synced and healthy; when all of a step are, the next step begins

What no step selects is left to itself and never synced from here. Automation in the template is switched off, because the
steps would mean nothing beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, cast

from fairway.gitops.spec import InvalidSpec
from fairway.kube.objects import Obj, dig, labels_of, meta_of, rfc3339, status_of

State = Literal["Waiting", "Pending", "Progressing", "Healthy"]
_WHY: dict[tuple[State, State], str] = {
    ("Healthy", "Waiting"): "Application has pending changes, setting status to Waiting.",
    ("Progressing", "Waiting"): "Application has pending changes, setting status to Waiting.",
    ("Waiting", "Pending"): "Application moved to Pending status, watching for the Application resource to start Progressing.",
    ("Pending", "Progressing"): "Application resource became Progressing, updating status from Pending to Progressing.",
    ("Waiting", "Healthy"): "Application resource is already Healthy, updating status from Waiting to Healthy.",
    ("Progressing", "Healthy"): "Application resource became Healthy, updating status from Progressing to Healthy.",
}
_NEW = "No Application status found, defaulting status to Waiting."


@dataclass(frozen=True, slots=True)
class Expression:
    key: str
    negated: bool
    values: tuple[str, ...]

    def fits(self, labels: Mapping[str, str]) -> bool:
        return (labels.get(self.key) in self.values) is not self.negated


@dataclass(frozen=True, slots=True)
class RollingStep:
    """Which Applications, and how many of them at a time (a number, a percentage, or all)."""

    expressions: tuple[Expression, ...]
    max_update: int | str | None = None

    def at_a_time(self, count: int) -> int:
        if self.max_update is None:
            return count
        if isinstance(self.max_update, int):
            return self.max_update
        percent = int(self.max_update.removesuffix("%"))
        return max(count * percent // 100, 1 if percent else 0)


@dataclass(frozen=True, slots=True)
class Standing:
    """One Application's entry. `step` counts from 0; -1: no step selects it."""

    name: str
    state: State
    step: int
    since: datetime | str
    message: str = _NEW
    revisions: tuple[str, ...] = ()

    def to(self, state: State, now: datetime) -> Standing:
        return replace(self, state=state, since=now, message=_WHY[self.state, state])

    def as_object(self) -> Obj:
        since = self.since if isinstance(self.since, str) else rfc3339(self.since)
        return {"application": self.name, "status": self.state, "step": str(self.step + 1 if self.step >= 0 else -1),
                "message": self.message, "lastTransitionTime": since, "targetRevisions": list(self.revisions)}


@dataclass(frozen=True, slots=True)
class Rolling:
    """Where each stands now, and the Applications whose sync is to be started."""

    standings: tuple[Standing, ...]
    start: tuple[str, ...]

    @property
    def underway(self) -> int | None:
        """The step that is not done yet, from 0; None where all are."""
        return min((s.step for s in self.standings if s.step >= 0 and s.state != "Healthy"), default=None)


def decode_steps(strategy: Any) -> tuple[RollingStep, ...]:
    """`spec.strategy`; no steps for `AllAtOnce`. `InvalidSpec` with the path of the mistake."""
    if not isinstance(strategy, dict) or strategy.get("type", "AllAtOnce") in ("", "AllAtOnce"):
        return ()
    if strategy["type"] != "RollingSync":
        raise InvalidSpec(f"spec.strategy.type: {strategy['type']!r} is neither AllAtOnce nor RollingSync")
    steps = dig(strategy, "rollingSync", "steps", default=[])
    if not steps:
        raise InvalidSpec("spec.strategy.rollingSync.steps: at least one step is needed")
    return tuple(_step(step, f"spec.strategy.rollingSync.steps[{n}]") for n, step in enumerate(steps))


def _step(step: Mapping[str, Any], path: str) -> RollingStep:
    expressions = []
    for n, entry in enumerate(step.get("matchExpressions") or ()):
        if entry.get("operator") not in ("In", "NotIn"):
            raise InvalidSpec(f"{path}.matchExpressions[{n}].operator: {entry.get('operator')!r} is neither In nor NotIn")
        values = tuple(str(value) for value in entry.get("values") or ())
        expressions.append(Expression(str(entry.get("key")), entry["operator"] == "NotIn", values))
    most = step.get("maxUpdate")
    if most is not None and not isinstance(most, int) and not (str(most).endswith("%") and str(most)[:-1].isdigit()):
        raise InvalidSpec(f"{path}.maxUpdate: {most!r} is neither a number nor a percentage such as 10%")
    return RollingStep(tuple(expressions), most)


def step_of(app: Obj, steps: Sequence[RollingStep]) -> int:
    """The step that selects the Application, -1 where none does; `InvalidSpec` where two do."""
    found = [n for n, step in enumerate(steps) if step.expressions and all(e.fits(labels_of(app)) for e in step.expressions)]
    if len(found) > 1:
        raise InvalidSpec(f"spec.strategy.rollingSync: Application {meta_of(app)['name']} is selected by steps "
                          f"{found[0] + 1} and {found[1] + 1}; make their matchExpressions exclude each other")
    return found[0] if found else -1


def without_automation(app: Obj) -> Obj:
    """The Application as it is written here: the automation is there to read, and off."""
    automated = dig(app, "spec", "syncPolicy", "automated")
    if automated is None:
        return app
    policy = {**app["spec"]["syncPolicy"], "automated": {**automated, "enabled": False}}
    return {**app, "spec": {**app["spec"], "syncPolicy": policy}}


def decide(steps: Sequence[RollingStep], wanted: Sequence[Obj], live: Mapping[str, Obj], known: Sequence[Obj],
           now: datetime) -> Rolling:
    """`wanted` are the Applications of the set, `live` those that there are by name, `known` is `status.applicationStatus`."""
    before = {str(entry.get("application")): entry for entry in known}
    standings = {}
    for app in wanted:
        name = str(meta_of(app)["name"])
        standing = _known(before.get(name), name, step_of(app, steps), live.get(name), now)
        standings[name] = _moved(standing, live[name], now) if name in live else standing
    moving = [s.step for s in standings.values() if s.state in ("Pending", "Progressing")]
    updating = [moving.count(n) for n in range(len(steps))]
    for n, step in enumerate(steps):
        mine = [s for s in standings.values() if s.step == n]
        for standing in mine:
            if standing.state == "Waiting" and standing.name in live and updating[n] < step.at_a_time(len(mine)):
                standings[standing.name] = standing.to("Pending", now)
                updating[n] += 1
        if any(standings[s.name].state != "Healthy" for s in mine):
            break
    start = [s.name for s in standings.values() if s.state == "Pending" and _is_waiting(live[s.name])]
    return Rolling(tuple(standings.values()), tuple(start))


def _known(entry: Obj | None, name: str, step: int, app: Obj | None, now: datetime) -> Standing:
    if entry is None or entry.get("status") not in ("Waiting", "Pending", "Progressing", "Healthy"):
        return Standing(name, "Waiting", step, now, revisions=_revisions(app))
    return Standing(name, cast(State, entry["status"]), step, str(entry.get("lastTransitionTime") or rfc3339(now)),
                    str(entry.get("message") or ""), tuple(entry.get("targetRevisions") or ()))


def _moved(standing: Standing, app: Obj, now: datetime) -> Standing:
    """One Application's transitions, from what it says about itself."""
    status = status_of(app)
    sync, health = dig(status, "sync", "status"), dig(status, "health", "status")
    phase = dig(status, "operationState", "phase", default="")
    if sync == "OutOfSync" and standing.state in ("Healthy", "Progressing"):
        if standing.state == "Progressing" and (phase in ("Running", "Terminating") or _has_failed(app)):
            return standing
        standing = replace(standing.to("Waiting", now), revisions=_revisions(app))
    synced = phase == "Succeeded" and sync == "Synced"
    began = phase == "Running" or ("operation" not in app and (synced or health == "Progressing"))
    if standing.state == "Pending" and began:
        standing = standing.to("Progressing", now)
    good = health == "Healthy" and sync not in (None, "OutOfSync") and phase in ("", "Succeeded") and "operation" not in app
    return standing.to("Healthy", now) if good and standing.state in ("Waiting", "Progressing") else standing


def _has_failed(app: Obj) -> bool:
    """The very commit that is compared was synced and failed: again would be the same again, so a fix is waited for."""
    state = dig(status_of(app), "operationState", default={})
    return state.get("phase") in ("Failed", "Error") and (
        dig(state, "syncResult", "revision") == dig(status_of(app), "sync", "revision"))


def _is_waiting(app: Obj) -> bool:
    return dig(status_of(app), "sync", "status") == "OutOfSync" and "operation" not in app and (
        dig(status_of(app), "operationState", "phase") not in ("Running", "Terminating"))


def _revisions(app: Obj | None) -> tuple[str, ...]:
    sync = dig(status_of(app or {}), "sync", default={})
    return tuple(sync.get("revisions") or ([sync["revision"]] if sync.get("revision") else []))


def operation(app: Obj) -> Obj:
    """The sync of a pending Application, as its own automation would have asked for it."""
    policy = dig(app, "spec", "syncPolicy", default={})
    sync: Obj = {"prune": bool(dig(policy, "automated", "prune", default=False))}
    if policy.get("syncOptions"):
        sync["syncOptions"] = list(policy["syncOptions"])
    found: Obj = {"initiatedBy": {"username": "applicationset-controller", "automated": True}, "sync": sync,
                  "info": [{"name": "Reason",
                            "value": "ApplicationSet RollingSync triggered a sync of this Application resource"}]}
    return {**found, "retry": policy["retry"]} if policy.get("retry") else found


def next_to_delete(steps: Sequence[RollingStep], apps: Sequence[Obj]) -> list[Obj]:
    """`deletionOrder: Reverse`: of the Applications that are left, those of the last step; what no step has goes first."""
    last = max((_place(app, steps) for app in apps), default=0)
    return [app for app in apps if _place(app, steps) == last]


def _place(app: Obj, steps: Sequence[RollingStep]) -> int:
    step = step_of(app, steps)
    return step if step >= 0 else len(steps)
