"""Evaluates rule groups when they are due, writes what they find into the store, and tells an Alertmanager.

Groups come from PrometheusRule objects and from the files of one folder. A group is evaluated on multiples of its
interval, its rules in order, so that a later one sees what an earlier one has just recorded. A group that cannot be read is
named in the log and in the rules' health; the others go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from fairway.kube import resources
from fairway.kube.cache import Informers
from fairway.kube.clock import Clock
from fairway.kube.objects import key_of, spec_of
from fairway.manifests import yaml
from fairway.manifests.errors import ManifestError
from fairway.metrics.promql import QueryError
from fairway.metrics.rules.alerts import Alert, Alerts, RuleFailed, advanced, due, postable, restored, series_of
from fairway.metrics.rules.evaluate import Evaluator
from fairway.metrics.rules.spec import AlertingRule, Group, RecordingRule, Rule, RuleMistake, decode_file, decode_groups
from fairway.metrics.series import millis
from fairway.metrics.store import Store

log = logging.getLogger("fairway.metrics.rules")

BEAT_S = 1.0
Health = Literal["unknown", "ok", "err"]
Tell = Callable[[Sequence[dict[str, Any]]], Awaitable[None]]
"""Takes alerts in the form of `POST /api/v2/alerts`."""


@dataclass(slots=True)
class RuleState:
    """What the last evaluation of a rule gave. `no_data`: selectors that found no series at all."""

    rule: Rule
    alerts: Alerts = field(default_factory=dict)
    health: Health = "unknown"
    error: str = ""
    no_data: tuple[str, ...] = ()
    at: datetime | None = None
    seconds: float = 0.0
    new: bool = True


@dataclass(slots=True)
class GroupState:
    group: Group
    rules: list[RuleState]
    beat: int = -1
    at: datetime | None = None
    seconds: float = 0.0


class RuleController:
    """`folder` holds rule files; `tell` gets alerts that fire or have ended; `url` is this installation's own."""

    def __init__(
        self, informers: Informers, clock: Clock, store: Store, *, folder: Path | None = None, tell: Tell | None = None,
        url: str = "",
    ) -> None:  # fmt: skip
        self._informers = informers
        self._clock = clock
        self._store = store
        self._folder = folder
        self._tell = tell
        self._evaluator = Evaluator(store, url)
        self._groups: dict[str, GroupState] = {}
        self._objects_dirty = True
        self._files: dict[Path, tuple[int, tuple[Group, ...]]] = {}
        self.problems: tuple[str, ...] = ()
        """What could not be read, one line each."""

    @property
    def groups(self) -> list[GroupState]:
        return list(self._groups.values())

    async def run(self) -> None:
        """Until cancelled."""
        self._informers.of(resources.PROMETHEUS_RULES).on_change(self._changed)
        await self._informers.synced()
        while True:
            await self.tick()
            await asyncio.sleep(BEAT_S - self._clock.now().timestamp() % BEAT_S)

    async def tick(self) -> None:
        """Read what changed; evaluate what is due."""
        self._read()
        now = self._clock.now()
        for state in self._groups.values():
            interval = max(round(state.group.interval.total_seconds()), 1)
            beat = int(now.timestamp()) // interval
            if beat != state.beat:
                state.beat = beat
                await self.evaluate(state, now)

    def _changed(self, _old: object, _new: object) -> None:
        self._objects_dirty = True

    # --- reading ------------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        files = sorted(path for path in self._folder.glob("*") if path.suffix in (".yml", ".yaml")) if self._folder else []
        stamps = {path: path.stat().st_mtime_ns for path in files}
        if not self._objects_dirty and stamps == {path: stamp for path, (stamp, _) in self._files.items()}:
            return
        self._objects_dirty = False
        problems: list[str] = []
        self._files = {path: (stamp, self._of_file(path, problems)) for path, stamp in stamps.items()}
        groups = [*self._of_objects(problems), *(group for _, found in self._files.values() for group in found)]
        for problem in problems:
            if problem not in self.problems:
                log.warning("%s", problem)
        self.problems = tuple(problems)
        found = {group.key: self._taken_over(group) for group in groups}
        for key in self._groups.keys() - found.keys():
            for rule in self._groups[key].rules:
                self._end(self._groups[key].group, rule)
        self._groups = found

    def _of_file(self, path: Path, problems: list[str]) -> tuple[Group, ...]:
        try:
            return decode_file(yaml.load(path.read_text(), str(path)), str(path))
        except (RuleMistake, ManifestError, UnicodeDecodeError, OSError) as error:
            problems.append(str(error) if isinstance(error, ManifestError) else f"{path}: {error}")
            known = self._files.get(path)
            return known[1] if known is not None else ()

    def _of_objects(self, problems: list[str]) -> Iterator[Group]:
        for obj in self._informers.of(resources.PROMETHEUS_RULES).list():
            try:
                yield from decode_groups(spec_of(obj).get("groups") or [], str(key_of(obj)), "spec.groups")
            except RuleMistake as mistake:
                problems.append(f"PrometheusRule {key_of(obj)}: {mistake}")

    def _taken_over(self, group: Group) -> GroupState:
        """The group with what is known of its rules from before; alerts of a rule that is as it was go on."""
        before = self._groups.get(group.key)
        known = {(rule.rule.name, rule.rule.labels): rule for rule in before.rules} if before is not None else {}
        rules = []
        for rule in group.rules:
            old = known.pop((rule.name, rule.labels), None)
            rules.append(replace(old, rule=rule) if old is not None else RuleState(rule))
        for gone in known.values():
            self._end(group, gone)
        return GroupState(group, rules, before.beat if before is not None else -1)

    def _end(self, group: Group, gone: RuleState) -> None:
        self._store.block(_block_of(group, gone.rule)).end(millis(self._clock.now()))

    # --- evaluating -----------------------------------------------------------------------------------------------------

    async def evaluate(self, state: GroupState, now: datetime) -> None:
        """Every rule of a group, in order."""
        begun = self._clock.now()
        for rule in state.rules:
            start = self._clock.now()
            try:
                await self._evaluate(state.group, rule, now)
                rule.health, rule.error = "ok", ""
            except (QueryError, RuleFailed) as error:
                if rule.error != str(error):
                    log.warning("rule %s of group %s: %s", rule.rule.name, state.group.name, error)
                rule.health, rule.error = "err", str(error)
            rule.at, rule.seconds = now, (self._clock.now() - start).total_seconds()
        state.at, state.seconds = now, (self._clock.now() - begun).total_seconds()

    async def _evaluate(self, group: Group, state: RuleState, now: datetime) -> None:
        at = now - group.offset
        state.no_data = self._evaluator.without_data(state.rule.expr, at)
        match state.rule:
            case RecordingRule() as rule:
                self._write(group, rule, self._evaluator.recorded(rule, at, limit=group.limit), at)
            case AlertingRule() as rule:
                alerts = advanced(rule, state.alerts, self._evaluator.elements(rule, at), now, limit=group.limit)
                if state.new and rule.hold > timedelta(0):
                    alerts = restored(rule, alerts, self._evaluator.saved(rule, now), now)
                state.alerts, state.new = alerts, False
                self._write(group, rule, series_of(alerts), at)
                await self._tell_of(group, state, now)

    def _write(self, group: Group, rule: Rule, series: Sequence[tuple[dict[str, str], float]], at: datetime) -> None:
        block = self._store.block(_block_of(group, rule))
        rows = [(block.row(labels), value) for labels, value in series]
        kept = [(row, value) for row, value in rows if row >= 0]
        block.append(millis(at), [row for row, _ in kept], [value for _, value in kept])

    async def _tell_of(self, group: Group, state: RuleState, now: datetime) -> None:
        if self._tell is None:
            return
        news = due(state.alerts, now)
        if news:
            state.alerts = {**state.alerts, **news}
            alerts: list[Alert] = list(news.values())
            await self._tell(postable(alerts, group.interval, self._evaluator.url, now))


def _block_of(group: Group, rule: Rule) -> str:
    return f"rule {group.key};{rule.name};{rule.labels}"
