"""`fairway rehearse` as people and scripts use it."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from fairway.cli.rehearse import command

SHOP = Path(__file__).parents[2] / "examples" / "shop" / "deploy" / "overlays" / "production"


def fairway(*args: object) -> Result:
    return CliRunner().invoke(command, [str(arg) for arg in args])


def test_the_example_shop_is_rehearsed_as_it_stands(tmp_path: Path) -> None:
    scenario = tmp_path / "bad.yaml"
    scenario.write_text("canary: {errors: 50%}\ntraffic: {rate: 100}\nexpect: aborted\n")
    answer = fairway(SHOP, "--scenario", scenario, "-o", "json", "--svg", tmp_path / "shop.svg", "--runs", 3)
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.output)
    assert (found["rollout"], found["outcome"], found["broken"]) == ("shop/shop", "aborted", [])
    assert found["requests"]["failed"] < found["requests"]["exposed"] < found["requests"]["all"] / 4
    assert found["many"]["aborted"] == 3
    assert found["falseAbort"]["probability"] == 0.0
    assert found["falseAbort"]["high"] < 0.7
    drawing = ElementTree.parse(tmp_path / "shop.svg").getroot()
    assert "aborted" in "".join(drawing.itertext())


def test_what_people_see() -> None:
    answer = fairway(SHOP)
    assert answer.exit_code == 0, answer.output
    assert "PROMOTED after 0:30" in answer.output
    assert "RolloutCompleted: Rollout completed update to revision 2" in answer.output
    assert "100% │" in answer.output
    assert "!" in answer.output and "`inconclusiveLimit: 60 × interval: 1s`" in answer.output


def test_it_ends_otherwise_than_expected(tmp_path: Path) -> None:
    scenario = tmp_path / "s.yaml"
    scenario.write_text("expect: aborted\n")
    answer = fairway(SHOP, "--scenario", scenario)
    assert answer.exit_code == 1
    assert "expected  aborted: NO" in answer.output


def test_the_printed_example_is_a_scenario(tmp_path: Path) -> None:
    printed = fairway("--example")
    scenario = tmp_path / "example.yaml"
    scenario.write_text(printed.output)
    answer = fairway(SHOP, "--scenario", scenario)
    assert answer.exit_code == 1  # the shop's quick rollout is over before this scenario's new version turns bad
    assert "PROMOTED" in answer.output


@pytest.mark.parametrize(("text", "said"), [
    ("canary: {error: 1}", "canary.error: unknown"),
    ("a: [", "not YAML"),
    ("faults: [{monitoring: soon}]", "faults[0].monitoring: a duration"),
])  # fmt: skip
def test_mistakes_in_a_scenario(tmp_path: Path, text: str, said: str) -> None:
    scenario = tmp_path / "s.yaml"
    scenario.write_text(text)
    answer = fairway(SHOP, "--scenario", scenario)
    assert answer.exit_code == 2
    assert said in answer.output
    assert "--example" in answer.output


def test_nothing_to_rehearse(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")
    answer = fairway(tmp_path)
    assert (answer.exit_code, "there is no Rollout and no Canary in these files" in answer.output) == (2, True)
    assert fairway().exit_code == 2


def test_files_that_no_api_would_take(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("apiVersion: argoproj.io/v1alpha1\nkind: AnalysisTemplate\nmetadata: {name: rate}\n"
                                     "spec: {args: often, metrics: []}\n")
    answer = fairway(tmp_path)
    assert answer.exit_code == 1 and "AnalysisTemplate rate:" in answer.output and "spec.args" in answer.output
