"""Rules that run: objects and files are read, series are written, an Alertmanager hears of it, a restart loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from fairway.kube import resources
from fairway.kube.cache import Informers
from fairway.kube.clock import Clock, run_virtual
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.objects import Obj
from fairway.metrics.promql import Vector, instant
from fairway.metrics.rules.api import alerts_as_json, groups_as_json
from fairway.metrics.rules.controller import RuleController
from fairway.metrics.series import millis
from fairway.metrics.store import Store

RULES = """
groups:
- name: shop
  interval: 10s
  rules:
  - record: job:errors:ratio
    expr: sum by (job) (errors) / sum by (job) (requests)
    labels: {team: shop}
  - alert: Errors
    expr: job:errors:ratio > 0.05
    for: 30s
    labels: {severity: page}
    annotations: {summary: "{{ $labels.job }} fails {{ $value | humanizePercentage }} of its requests"}
"""


def rule_object(name: str, **rule: Any) -> Obj:
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": {"name": name, "namespace": "shop"},
            "spec": {"groups": [{"name": name, "interval": "10s", "rules": [rule]}]}}  # fmt: skip


class World:
    """A store with a service that fails as much as it is told to, and rules over it."""

    def __init__(self, clock: Clock, folder: Path, store: Store | None = None) -> None:
        self.clock, self.store, self.told = clock, store or Store(), list[dict[str, Any]]()
        self.api = EmbeddedApi.in_memory(clock)
        self.rules = RuleController(Informers(self.api), clock, self.store, folder=folder, tell=self._hear, url="http://here")
        self.errors = 0.0

    async def _hear(self, alerts: Sequence[dict[str, Any]]) -> None:
        self.told += alerts

    async def go_on(self, seconds: int) -> None:
        for _ in range(seconds // 10):
            block = self.store.block("shop")
            rows = [block.row({"__name__": name, "job": "web"}) for name in ("errors", "requests")]
            block.append(millis(self.clock.now()), rows, [self.errors, 100.0])
            await self.rules.tick()
            await asyncio.sleep(10)

    def value(self, query: str) -> dict[str, float]:
        found = instant(query, self.store, millis(self.clock.now())).value
        assert isinstance(found, Vector)
        rows = found.labels.rows()
        return {row.get("alertstate", row.get("team", "")): float(v) for row, v in zip(rows, found.values[:, 0], strict=True)}


def test_a_later_rule_sees_what_an_earlier_one_recorded_and_alerts_are_told(tmp_path: Path) -> None:
    (tmp_path / "shop.yml").write_text(RULES)

    async def main(clock: Clock) -> None:
        world = World(clock, tmp_path)
        await world.go_on(20)
        assert world.value("job:errors:ratio") == {"shop": 0.0} and world.told == []
        world.errors = 10.0
        await world.go_on(30)
        assert world.value("ALERTS") == {"pending": 1.0}
        await world.go_on(20)
        assert world.value("ALERTS") == {"firing": 1.0}
        (alert,) = world.told
        assert alert["labels"] == {"alertname": "Errors", "job": "web", "severity": "page", "team": "shop"}
        assert alert["annotations"] == {"summary": "web fails 10% of its requests"}
        assert [one["state"] for one in alerts_as_json(world.rules.groups)] == ["firing"]
        world.errors = 0.0
        await world.go_on(10)
        assert world.value("ALERTS") == {} and world.told[-1]["endsAt"] < (await _in(clock, 1))

    run_virtual(main)


async def _in(clock: Clock, seconds: float) -> str:
    return (clock.now() + timedelta(seconds=seconds)).isoformat()


def test_after_a_restart_a_pending_alert_goes_on_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "shop.yml").write_text(RULES)
    saved = tmp_path / "samples"

    async def main(clock: Clock) -> None:
        before = World(clock, tmp_path)
        before.errors = 10.0
        await before.go_on(30)
        before.store.save(saved)
        store = Store()
        store.load(saved, warn=lambda text: None)
        after = World(clock, tmp_path, store)
        after.errors = 10.0
        await after.go_on(10)
        assert after.value("ALERTS") == {"pending": 1.0}
        await after.go_on(10)
        assert after.value("ALERTS") == {"firing": 1.0}

    run_virtual(main)


def test_objects_are_rules_too_and_what_cannot_be_read_or_sees_no_data_is_said(tmp_path: Path) -> None:
    async def main(clock: Clock) -> None:
        world = World(clock, tmp_path)
        await world.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        await world.api.create(rule_object("gone", alert="Gone", expr="nosuch > 1"))
        await world.api.create(rule_object("wrong", alert="Wrong", expr="sum("))
        informers = Informers(world.api)
        rules = RuleController(informers, clock, world.store)
        rules._changed(None, None)
        informers.of(resources.PROMETHEUS_RULES)
        await informers.synced()
        await rules.tick()
        (group,) = groups_as_json(rules.groups)
        assert group["file"] == "shop/gone"
        assert (group["rules"][0]["health"], group["rules"][0]["noData"]) == ("ok", ["nosuch"])
        assert rules.problems == (
            "PrometheusRule shop/wrong: spec.groups[0].rules[0].expr: could not parse expression: "
            "1:5: parse error: unclosed left parenthesis",
        )
        await informers.close()

    run_virtual(main)


def test_a_file_that_breaks_is_named_and_its_rules_from_before_go_on(tmp_path: Path) -> None:
    file = tmp_path / "shop.yml"
    file.write_text(RULES)

    async def main(clock: Clock) -> None:
        world = World(clock, tmp_path)
        await world.go_on(10)
        file.write_text("groups: [")
        await world.go_on(10)
        (problem,) = world.rules.problems
        assert "shop.yml:2:1: not YAML" in problem
        assert [state.group.name for state in world.rules.groups] == ["shop"]
        file.unlink()
        await world.go_on(10)
        assert world.rules.groups == [] and world.rules.problems == ()
        assert world.value("job:errors:ratio") == {}

    run_virtual(main)
