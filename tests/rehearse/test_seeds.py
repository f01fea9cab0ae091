"""Many seeds in one world: each has the rehearsal that it would have had alone."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence

import pytest

from fairway.rehearse.many import Short, in_one_world
from fairway.rehearse.run import rehearse
from fairway.rehearse.spec import Scenario, decode_scenario
from fairway.rehearse.subject import Subject
from tests.rehearse.files import gate_template, shop, template
from tests.rehearse.test_random import a_canary, a_day, a_rollout

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="seeds share a world where processes can fork")


def alone(subject: Subject, scenario: Scenario, seeds: Sequence[int]) -> list[Short]:
    runs = [rehearse(subject, scenario, seed) for seed in seeds]
    return [Short(run.outcome, run.clear_at, run.requests, run.errors, run.broken) for run in runs]


def test_seeds_that_a_measurement_tells_apart_go_on_apart() -> None:
    """At six per cent some looks fail and some do not, at other times for each seed."""
    subject, scenario = shop(template(failureLimit=1)), decode_scenario({"canary": {"errors": "6%"}})
    together = in_one_world(subject, scenario, range(8))
    assert len({run.clear_at for run in together}) > 2
    assert together == alone(subject, scenario, range(8))


def test_the_gate_remembers_the_evidence_of_every_seed_also_when_its_controller_is_killed() -> None:
    scenario = decode_scenario({"canary": {"errors": "4%"}, "faults": [{"controller": "4s", "for": "3s"}]})
    subject = shop(gate_template(), steps=[{"setWeight": 20}, {"pause": {"duration": "2m"}}])
    together = in_one_world(subject, scenario, range(8))
    assert len({run.clear_at for run in together}) > 2
    assert together == alone(subject, scenario, range(8))


@pytest.mark.parametrize("story", range(12))
def test_random_rollouts_under_random_faults(story: int) -> None:
    chance = random.Random(story)
    subject = a_canary(chance) if story % 4 == 3 else a_rollout(chance)
    scenario = a_day(chance)
    assert in_one_world(subject, scenario, range(5)) == alone(subject, scenario, range(5))
