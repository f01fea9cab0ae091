"""The guides' own rollouts and canaries come to a verdict, corrected only where they are invalid as they stand.

Found through FAIRWAY_GUIDES (default `../shared/guides`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from fairway.kube.objects import Obj, dig
from fairway.rehearse.report import report_on
from fairway.rehearse.run import CannotStart, rehearse
from fairway.rehearse.spec import decode_scenario
from fairway.rehearse.subject import subjects
from tests.rehearse.files import template

GUIDES = Path(os.environ.get("FAIRWAY_GUIDES", "../shared/guides")).absolute()

pytestmark = pytest.mark.skipif(not GUIDES.is_dir(), reason=f"no guides at {GUIDES}; set FAIRWAY_GUIDES to their folder")


def objects(text: str) -> list[Obj]:
    return [obj for obj in yaml.safe_load_all(text) if obj]


def separated(text: str) -> list[Obj]:
    """Two objects in one document: the line between them is missing."""
    return objects(re.sub(r"(?m)(?<!\A)^(?=apiVersion:)", "---\n", text))


def with_services(text: str) -> list[Obj]:
    """A traffic router needs to be told both Services, its Ingress and the templates have to be there."""
    found = objects(text)
    named = {str(ref.get("templateName")) for obj in found for ref in dig(
        obj, "spec", "strategy", "canary", "analysis", "templates", default=[])}
    present = {obj["metadata"]["name"] for obj in found if obj.get("kind") == "AnalysisTemplate"}
    args = [{"name": "hash", "value": "any"}]
    found += [template(name=name, args=args) | {"metadata": {"name": name}} for name in sorted(named - present)]
    for obj in list(found):
        canary = dig(obj, "spec", "strategy", "canary")
        if obj.get("kind") != "Rollout" or canary is None:
            continue
        name, labels = obj["metadata"]["name"], dig(obj, "spec", "template", "metadata", "labels", default={"app": "app"})
        obj["spec"].setdefault("selector", {"matchLabels": dict(labels)})
        pods = obj["spec"].setdefault("template", {})
        pods.setdefault("metadata", {}).setdefault("labels", dict(labels))
        pods.setdefault("spec", {}).setdefault("containers", [{"name": "app", "image": "app:1"}])
        if "nginx" not in (canary.get("trafficRouting") or {}):
            canary.pop("trafficRouting", None)
            continue
        canary |= {"stableService": f"{name}-stable", "canaryService": f"{name}-canary"}
        stable = canary["trafficRouting"]["nginx"].get("stableIngress") or name
        backend = {"service": {"name": f"{name}-stable", "port": {"number": 80}}}
        found += [{"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"{name}-{side}"}, "spec": {
            "selector": dict(labels), "ports": [{"name": "http", "port": 80, "targetPort": 8000}]}}
            for side in ("stable", "canary")]
        found.append({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": stable}, "spec": {
            "rules": [{"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]}})
    return found


def test_the_blue_green_of_s4_is_refused_alone_and_with_its_templates_has_nobody_to_measure() -> None:
    """Its file names templates that stand in another one. With them, nobody visits the preview before the switch: `result[0]`
    of no data is an error, five of which abort every version, a good one too. The report says what to do."""
    alone = GUIDES / "S4/kubernetes/rollout-blue-green.yaml"
    if not alone.is_file():
        pytest.skip(f"{alone} is not among these guides")
    files = objects(alone.read_text())
    with pytest.raises(CannotStart, match=re.escape(
            'spec.strategy.blueGreen.prePromotionAnalysis.templates: Invalid value: "success-rate-analysis": AnalysisTemplate '
            "'success-rate-analysis' not found")):
        rehearse(subjects(files)[0], decode_scenario({}))
    beside = objects((GUIDES / "S4/kubernetes/rollout.yaml").read_text())
    subject, = subjects([*files, *(obj for obj in beside if obj["kind"] == "AnalysisTemplate")])
    found = report_on(subject, decode_scenario({}), 0, 1)
    assert found.run.outcome == "aborted" and "consecutiveErrors (5) > consecutiveErrorLimit (4)" in found.run.why
    assert {advice.finding.code for advice in found.advice} == {"NobodyAtThePreview"}


def test_with_its_service_monitor_the_blue_green_of_s4_passes_a_bad_version_on_the_old_ones_requests() -> None:
    """The preview Service selects the old pods until the update, so that their requests stand under its name for the five
    minutes of the query. Corrected: the Services have the labels and the port's name that the guide's monitor looks for."""
    folder = GUIDES / "S4/kubernetes"
    if not (folder / "rollout-blue-green.yaml").is_file():
        pytest.skip(f"{folder} is not among these guides")
    files = objects((folder / "rollout-blue-green.yaml").read_text()) + objects((folder / "servicemonitor.yaml").read_text())
    files += [obj for obj in objects((folder / "rollout.yaml").read_text()) if obj["kind"] == "AnalysisTemplate"]
    for obj in files:
        if obj["kind"] == "Service":
            obj["metadata"]["labels"] = dict(obj["spec"]["selector"])
            obj["spec"]["ports"][0]["name"] = "http"
    found = report_on(subjects(files)[0], decode_scenario({"canary": {"errors": "30%"}}), 0, 1)
    assert found.run.requests > 0, "all users were sent to it"
    assert found.run.outcome == "held", "by the analysis after the switch"
    old = [advice.finding.metric.name for advice in found.advice
           if advice.finding.code == "MeasuresTheOldVersion" and advice.finding.metric is not None]
    assert old == ["success-rate", "latency-p99"]


CASES: list[tuple[str, Callable[[str], list[Obj]]]] = [
    ("S0/k8s/flagger/canary.yaml", objects),
    ("S1/snippets/L0637-canary.yaml", objects),
    ("S3/k8s/canary-deployment.yaml", separated),
    ("S1/snippets/L0491-rollout.yaml", with_services),
    ("S4/kubernetes/rollout.yaml", with_services),
]


@pytest.mark.parametrize(("path", "corrected"), CASES)
@pytest.mark.parametrize("errors", ["0.1%", "60%"])
def test_a_guide_rehearses_to_a_verdict(path: str, corrected: Callable[[str], list[Obj]], errors: str) -> None:
    if not (GUIDES / path).is_file():
        pytest.skip(f"{path} is not among these guides")
    for subject in subjects(corrected((GUIDES / path).read_text())):
        found = rehearse(subject, decode_scenario({"canary": {"errors": errors}, "limit": "3h"}))
        assert not found.broken
        assert found.outcome in ("promoted", "aborted", "held") and found.why
        if subject.is_canary and errors == "60%" and any("success-rate" in str(m) for m in dig(
                subject.rollout, "spec", "analysis", "metrics", default=[])):
            assert found.outcome == "aborted" and found.errors > 0
