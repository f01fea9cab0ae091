"""Files to rehearse: a shop with an Ingress, as short as it can be."""

from __future__ import annotations

from typing import Any

from fairway.kube.objects import Obj
from fairway.rehearse.subject import Subject, subjects
from tests.rollouts.world import analysis, ingress, rollout, service

RATIO = (
    'sum(rate(http_requests_total{{rollouts_pod_template_hash="{{{{args.hash}}}}",status!~"5.."}}[{window}])) / '
    'sum(rate(http_requests_total{{rollouts_pod_template_hash="{{{{args.hash}}}}"}}[{window}]))'
)
TWENTY_MINUTES: list[Obj] = [
    {"setWeight": 20}, {"pause": {"duration": "5m"}}, {"setWeight": 40}, {"pause": {"duration": "5m"}},
    {"setWeight": 60}, {"pause": {"duration": "5m"}}, {"setWeight": 80}, {"pause": {"duration": "5m"}},
]  # fmt: skip
STABLE_AND_LATEST: list[Obj] = [
    {"name": "hash", "valueFrom": {"podTemplateHashValue": "Latest"}},
    {"name": "stable", "valueFrom": {"podTemplateHashValue": "Stable"}},
]


def template(*, name: str = "success-rate", window: str = "1m", args: list[Obj] | None = None, **metric: Any) -> Obj:
    """Succeeds above 99 %, fails below 95 %; no data is inconclusive."""
    settings = {"name": name, "interval": "30s", "inconclusiveLimit": 1000,
                "successCondition": "len(result) > 0 && result[0] >= 0.99",
                "failureCondition": "len(result) > 0 && result[0] < 0.95",
                "provider": {"prometheus": {"query": RATIO.format(window=window)}}, **metric}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate", "metadata": {"name": name},
            "spec": {"args": args or [{"name": "hash"}],
                     "metrics": [{key: value for key, value in settings.items() if value is not None}]}}


def gate_template(**settings: Any) -> Obj:
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate", "metadata": {"name": "gate"},
            "spec": {"args": [{"name": "hash"}, {"name": "stable"}], "metrics": [{"name": "no-worse", "provider": {"fairway": {
                "canary": "{{args.hash}}", "stable": "{{args.stable}}", **settings}}}]}}


def shop(*templates: Obj, steps: list[Obj] | None = None, background: bool = True, **canary: Any) -> Subject:
    """The first template runs in the background."""
    asked = {"analysis": analysis(templates[0]["metadata"]["name"], args=STABLE_AND_LATEST)} if templates and background else {}
    objects = [rollout(steps=TWENTY_MINUTES if steps is None else steps, **{**asked, **canary}), ingress(),
               service("shop-stable"), service("shop-canary"), *templates]
    return subjects(objects)[0]
