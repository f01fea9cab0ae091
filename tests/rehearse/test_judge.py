"""The second judge notices each broken promise; a judge that never objects proves nothing."""

from __future__ import annotations

from typing import Any

import pytest

from fairway.kube.objects import Obj
from fairway.rehearse.judge import Judge
from tests.rollouts.world import rollout


def state(to_canary: int = 0, to_stable: int = 100, **status: Any) -> Obj:
    obj = rollout()
    weights = {"canary": {"weight": to_canary}, "stable": {"weight": to_stable}}
    plain = {"currentPodHash": "new", "stableRS": "old", "currentStepIndex": 1, "canary": {"weights": weights}}
    obj["status"] = {**plain, **status}
    return obj


def replica_set(pod_hash: str, replicas: int, available: int) -> Obj:
    return {"kind": "ReplicaSet", "metadata": {"name": pod_hash, "labels": {"rollouts-pod-template-hash": pod_hash}},
            "spec": {"replicas": replicas}, "status": {"availableReplicas": available}}


def weighted(weight: int) -> Obj:
    notes = {"nginx.ingress.kubernetes.io/canary-weight": str(weight)}
    return {"kind": "Ingress", "metadata": {"name": "x", "annotations": notes}}


def run(phase: str) -> Obj:
    return {"kind": "AnalysisRun", "metadata": {"name": "run"}, "status": {"phase": phase}}


BACKGROUND: Obj = {"weights": {"canary": {"weight": 0}, "stable": {"weight": 100}},
                   "currentBackgroundAnalysisRunStatus": {"name": "run"}}
LIES: dict[str, tuple[list[Obj], str]] = {
    "weights": ([state(20, 70)], "weights add up to 90"),
    "no step": ([state(), weighted(33)], "weight 33 is in no step"),
    "no pod": ([state(), replica_set("new", 1, 0), weighted(5)], "no canary pod available"),
    "aborted": ([state(abort=True), replica_set("new", 1, 1), weighted(5)], "rose to 5 while aborted"),
    "capacity": ([state(), replica_set("old", 4, 4), replica_set("old", 1, 1)], "stable has 1 of 4"),
    "back": ([state(currentStepIndex=3), state(currentStepIndex=1)], "step went back to 1"),
    "early": ([replica_set("new", 4, 4), state(currentStepIndex=1), state(stableRS="new")], "promoted at step 1"),
    "pods": ([replica_set("new", 4, 2), state(currentStepIndex=8), state(currentStepIndex=8, stableRS="new")],
             "without all pods"),
    "unknown": ([replica_set("new", 4, 4), run("Inconclusive"), state(currentStepIndex=8, canary=BACKGROUND),
                 state(currentStepIndex=8, stableRS="new")], "although run is Inconclusive"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_each_broken_promise_is_noticed(lie: str) -> None:
    seen, said = LIES[lie]
    judge = Judge()
    for obj in seen:
        judge.saw("MODIFIED", obj)
    assert any(said in broken for broken in judge.broken), judge.broken


def test_requests_to_a_pod_that_is_not_ready_are_noticed() -> None:
    judge = Judge()
    judge.pod("127.1.0.1", ready=True, at=0.0)
    judge.routed(["127.1.0.1"], at=1.0)
    judge.pod("127.1.0.1", ready=False, at=2.0)
    judge.routed([], at=2.1)
    judge.routed(["127.1.0.1"], at=3.0)  # decided while it was ready: not yet a lie
    assert judge.broken == []
    judge.routed([], at=9.0)
    judge.routed(["127.1.0.1", "127.1.0.9"], at=10.0)
    assert sorted(judge.broken) == [f"requests go to 127.1.0.{i}, where no pod is ready" for i in (1, 9)]


def test_a_persons_word_is_enough_where_the_analysis_does_not_know() -> None:
    judge = Judge()
    judge.saw("MODIFIED", replica_set("new", 4, 4))
    judge.saw("MODIFIED", run("Inconclusive"))
    judge.saw("MODIFIED", state(currentStepIndex=8, canary=BACKGROUND, pauseConditions=[{"reason": "InconclusiveAnalysisRun"}]))
    judge.person_promotes()
    judge.saw("MODIFIED", state(currentStepIndex=8, stableRS="new"))
    assert judge.broken == []
