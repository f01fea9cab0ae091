"""The second judge of Canaries objects where a promise is broken, and only there."""

from __future__ import annotations

from typing import Any

from fairway.kube.objects import Obj
from fairway.rehearse.canary_judge import WEIGHT, CanaryJudge


def canary(phase: str, **status: Any) -> Obj:
    return {"kind": "Canary", "metadata": {"name": "shop"}, "spec": {"targetRef": {"name": "shop"}},
            "status": {"phase": phase, **status}}


def weight(of: int) -> Obj:
    return {"kind": "Ingress", "metadata": {"name": "shop-canary", "annotations": {WEIGHT: str(of)}}}


def workload(name: str, image: str, replicas: int) -> Obj:
    return {"kind": "Deployment", "metadata": {"name": name}, "spec": {"replicas": replicas, "template": {"image": image}}}


def judged(*seen: Obj) -> list[str]:
    judge = CanaryJudge()
    for obj in seen:
        judge.saw("MODIFIED", obj)
    return judge.broken


def test_what_is_allowed_is_not_objected_to() -> None:
    assert judged(canary("Progressing"), workload("shop", "2", 2), weight(20), canary("Promoting"),
                  workload("shop-primary", "2", 2), weight(0), canary("Finalising"), workload("shop", "2", 0)) == []


def test_broken_promises_are_named() -> None:
    assert judged(canary("Failed"), weight(20)) == ["weight rose to 20 in phase Failed"]
    assert judged(canary("Progressing"), workload("shop", "2", 2), weight(20), workload("shop", "2", 0)) == [
        "the target was scaled to nothing while 20 % of the requests go to it"]
    assert judged(canary("Failed"), workload("shop-primary", "1", 2), workload("shop-primary", "2", 2)) == [
        "primary got a new version in phase Failed"]
    assert judged(canary("Failed", lastAppliedSpec="a"), canary("Progressing", lastAppliedSpec="a")) == [
        "a version that failed is tried again as it is"]
    assert judged(canary("Progressing", failedChecks=2), canary("Progressing", failedChecks=1)) == [
        "failed checks went back to 1"]


def test_a_request_to_a_pod_that_is_not_ready_is_seen() -> None:
    judge = CanaryJudge()
    judge.routed({"127.1.0.1"}, 1.0)
    assert judge.broken == ["requests go to 127.1.0.1, where no pod is ready"]
