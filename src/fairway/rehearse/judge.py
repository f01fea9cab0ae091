"""A second judge: what must hold whatever the planner thought, written from the promises alone.

It sees what the API sees (Rollout, ReplicaSets, Ingress, AnalysisRuns) after every change, and where the proxy sends
requests, and collects what is broken:

- weights add up to the whole, and the weight on the Ingress is one of the steps' (or 0, or everything,
  or what a stable of dynamic size cannot carry);
- the canary gets traffic only while one of its pods is available, and no request goes to a pod that is not ready;
- stable is never scaled below what it has to serve;
- a version becomes stable only after all steps or by a person's word, never with an analysis that failed or does not know,
  and an analysis step is passed only by a run that succeeded;
- after an abort the weight never rises;
- in blue-green, users are led to a new version only when all of its pods are available, whom they reach is never made smaller,
  and an abort leads them back to stable;
- a step is never gone back to without a reason.

It imports nothing of the planner's, on purpose: a mistake there must not be a mistake here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fairway.kube.objects import Obj, annotations_of, dig, labels_of, status_of

HASH = "rollouts-pod-template-hash"
WEIGHT = "nginx.ingress.kubernetes.io/canary-weight"
TOTAL = "nginx.ingress.kubernetes.io/canary-weight-total"
READY_LAG_S = 2.0
"""A pod that was ready so lately may still be in a model that was decided then."""


@dataclass
class Judge:
    broken: list[str] = field(default_factory=list)
    _rollout: Obj | None = None
    _weight: int = 0
    _sets: dict[str, Obj] = field(default_factory=dict)
    _sets_before: dict[str, Obj] = field(default_factory=dict)
    _runs: dict[str, Obj] = field(default_factory=dict)
    _by_hand: bool = False
    _ready: dict[str, float] = field(default_factory=dict)
    _routed: frozenset[str] = frozenset()

    @property
    def runs(self) -> list[Obj]:
        """Every AnalysisRun as it was seen last."""
        return list(self._runs.values())

    def saw(self, event: str, obj: Obj) -> None:
        kind = obj["kind"]
        if kind == "ReplicaSet":
            if event == "DELETED":
                self._sets.pop(labels_of(obj).get(HASH, ""), None)
            else:
                pod_hash = labels_of(obj).get(HASH, "")
                before, self._sets[pod_hash] = self._sets.get(pod_hash), obj
                if before is not None:
                    self._sets_before[pod_hash] = before
                if before is not None and obj["spec"]["replicas"] < before["spec"]["replicas"]:
                    self._capacity(pod_hash)
        elif kind == "AnalysisRun":
            self._runs[obj["metadata"]["name"]] = obj
        elif kind == "Ingress" and WEIGHT in annotations_of(obj):
            self._new_weight(int(annotations_of(obj)[WEIGHT]), int(annotations_of(obj).get(TOTAL, "100")))
        elif kind == "Rollout":
            before, self._rollout = self._rollout, obj
            self._by_hand = self._by_hand or bool(status_of(obj).get("promoteFull"))
            self._status(before, obj)

    def person_promotes(self) -> None:
        """Now. Where an analysis does not know, that is a person's word to go on."""
        pauses = dig(self._rollout, "status", "pauseConditions", default=[])
        self._by_hand = self._by_hand or any(pause.get("reason") == "InconclusiveAnalysisRun" for pause in pauses)

    def pod(self, address: str, *, ready: bool, at: float) -> None:
        """A pod's readiness, with the time in seconds."""
        if ready:
            self._ready[address] = math.inf
        elif self._ready.get(address) == math.inf:
            self._ready[address] = at

    def routed(self, addresses: Iterable[str], at: float) -> None:
        """From `at` on the proxy sends requests to these addresses and no others."""
        now = frozenset(addresses)
        for address in now - self._routed:
            lately = self._ready.get(address, -math.inf) >= at - READY_LAG_S
            self._rule(lately, f"requests go to {address}, where no pod is ready")
        self._routed = now

    def _rule(self, holds: bool, what: str) -> None:
        if not holds:
            self.broken.append(what)

    def _new_weight(self, weight: int, total: int) -> None:
        steps = dig(self._rollout, "spec", "strategy", "canary", "steps", default=[])
        allowed = {0, total, *(step["setWeight"] for step in steps if "setWeight" in step)}
        status = status_of(self._rollout) if self._rollout else {}
        dynamic = bool(dig(self._rollout, "spec", "strategy", "canary", "dynamicStableScale"))
        follows = dynamic and (weight <= self._weight or bool(status.get("promoteFull")))
        self._rule(weight in allowed or follows, f"weight {weight} is in no step")
        if weight > self._weight:
            self._rule(not status.get("abort"), f"weight rose to {weight} while aborted")
            pod_hash = str(status.get("currentPodHash"))
            # A decision may be one event behind. That no request reaches a pod that is not ready is judged at the proxy.
            known = (self._sets.get(pod_hash), self._sets_before.get(pod_hash))
            available = any(dig(canary, "status", "availableReplicas", default=0) > 0 for canary in known)
            self._rule(available, f"weight rose to {weight} with no canary pod available")
        self._weight = weight

    def _capacity(self, shrunk: str) -> None:
        """Stable carries 100 minus the weight that the Ingress asks for."""
        status, wanted = status_of(self._rollout or {}), dig(self._rollout, "spec", "replicas", default=1)
        if dig(status, "blueGreen", "activeSelector") == shrunk:
            has = self._sets[shrunk]["spec"]["replicas"]
            self._rule(has >= wanted, f"the active version has {has} of {wanted} replicas")
        if self._rollout is None or dig(self._rollout, "spec", "strategy", "canary", "trafficRouting") is None:
            return
        stable = self._sets.get(str(status.get("stableRS")))
        if stable is None or status.get("stableRS") != shrunk:
            return
        needed = math.ceil(wanted * (100 - self._weight) / 100)
        self._rule(stable["spec"]["replicas"] >= needed, f"stable has {stable['spec']['replicas']} of {needed} replicas")

    def _status(self, before: Obj | None, after: Obj) -> None:
        weights = dig(after, "status", "canary", "weights")
        if weights:
            total = weights["canary"]["weight"] + weights["stable"]["weight"]
            whole = dig(after, "spec", "strategy", "canary", "trafficRouting", "maxTrafficWeight", default=100)
            self._rule(total == whole, f"weights add up to {total}")
        if before is None:
            return
        old, new = status_of(before), status_of(after)
        if new.get("stableRS") != old.get("stableRS") and old.get("stableRS"):
            self._promoted(old, new, after)
        if dig(after, "spec", "strategy", "blueGreen"):
            self._active(old, new, after)
        same_update = old.get("currentPodHash") == new.get("currentPodHash") and old.get("currentStepHash") == new.get(
            "currentStepHash")
        was, now = old.get("currentStepIndex") or 0, new.get("currentStepIndex") or 0
        excused = not same_update or bool(new.get("abort"))
        self._rule(excused or now >= was, f"step went back to {now}")
        if not excused and now == was + 1 and not new.get("promoteFull"):
            self._passed(old, after, was)

    def _active(self, old: Obj, new: Obj, rollout: Obj) -> None:
        """Where the active Service of a blue-green Rollout leads."""
        was, now = (dig(status, "blueGreen", "activeSelector") for status in (old, new))
        if now != was and was is not None and not (now == new.get("stableRS") and new.get("abort")):
            known = (self._sets.get(str(now)), self._sets_before.get(str(now)))
            available = max(dig(found, "status", "availableReplicas", default=0) for found in known)
            wanted = dig(rollout, "spec", "replicas", default=1)
            self._rule(available >= wanted, f"users are led to {now}, of which {available} of {wanted} pods are available")
        lost = bool(new.get("abort")) and bool(new.get("abortedAt")) and now is not None and now != new.get("stableRS")
        self._rule(not lost, f"users stay on {now} although it was aborted")

    def _passed(self, old: Obj, rollout: Obj, index: int) -> None:
        """An analysis step that took as long as it took: the run it waited for has succeeded."""
        steps = dig(rollout, "spec", "strategy", "canary", "steps", default=[])
        name = dig(old, "canary", "currentStepAnalysisRunStatus", "name")
        if name is None or index >= len(steps) or "analysis" not in steps[index]:
            return
        phase = dig(self._runs.get(str(name)), "status", "phase", default="")
        self._rule(phase not in ("Failed", "Error"), f"step {index} was passed although {name} is {phase}")

    def _promoted(self, old: Obj, new: Obj, rollout: Obj) -> None:
        steps = len(dig(rollout, "spec", "strategy", "canary", "steps", default=[]))
        self._rule(self._by_hand or (old.get("currentStepIndex") or 0) >= steps - 1,
                   f"promoted at step {old.get('currentStepIndex')} of {steps}")
        canary = self._sets.get(str(new.get("stableRS")))
        wanted = dig(rollout, "spec", "replicas", default=1)
        self._rule(dig(canary, "status", "availableReplicas", default=0) >= wanted, "promoted without all pods available")
        if self._by_hand:
            self._by_hand = False
            return
        runs: list[dict[str, Any]] = [dig(old, "canary", name, default={}) for name in (
            "currentBackgroundAnalysisRunStatus", "currentStepAnalysisRunStatus")]
        runs += [dig(old, "blueGreen", f"{name}PromotionAnalysisRunStatus", default={}) for name in ("pre", "post")]
        for run in runs:
            phase = dig(self._runs.get(str(run.get("name"))), "status", "phase", default="")
            self._rule(phase not in ("Failed", "Error", "Inconclusive"), f"promoted although {run.get('name')} is {phase}")
