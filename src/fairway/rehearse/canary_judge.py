"""The second judge of Canaries, written from what Flagger promises and without its planner:

- primary and canary shares are each between 0 and 100 and the weight only rises while the analysis goes on;
- no request goes to a pod that is not ready;
- the primary gets the new version only after the analysis, never in the tick that failed;
- the target is scaled to nothing only when no request is sent to it;
- a version that failed is not tried again before it changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from fairway.kube.objects import Obj, annotations_of, dig, meta_of, spec_of, status_of
from fairway.rehearse.judge import Judge

WEIGHT = "nginx.ingress.kubernetes.io/canary-weight"
RISES_IN = ("Progressing", "WaitingPromotion", "Promoting")
COPIES_IN = ("", "Initializing", "Initialized", "Progressing", "WaitingPromotion", "Promoting", "Succeeded")


@dataclass
class CanaryJudge:
    """What it shares with the Rollouts' judge is where requests go."""

    _proxy: Judge = field(default_factory=Judge)
    _canary: Obj | None = None
    _weight: int = 0
    _images: dict[str, str] = field(default_factory=dict)
    _replicas: dict[str, int] = field(default_factory=dict)

    @property
    def broken(self) -> list[str]:
        return self._proxy.broken

    @broken.setter
    def broken(self, found: list[str]) -> None:
        self._proxy.broken = found

    @property
    def runs(self) -> list[Obj]:
        return []

    def person_promotes(self) -> None:
        return

    def pod(self, address: str, *, ready: bool, at: float) -> None:
        self._proxy.pod(address, ready=ready, at=at)

    def routed(self, addresses: Iterable[str], at: float) -> None:
        self._proxy.routed(addresses, at)

    def saw(self, event: str, obj: Obj) -> None:
        match obj["kind"]:
            case "Canary":
                self._changed(self._canary, obj)
                self._canary = obj
            case "Ingress" if WEIGHT in annotations_of(obj):
                self._weighed(int(annotations_of(obj)[WEIGHT]))
            case "Deployment" if event != "DELETED":
                self._rolled(obj)

    def _rule(self, holds: bool, what: str) -> None:
        if not holds:
            self._proxy.broken.append(what)

    @property
    def _phase(self) -> str:
        return str(status_of(self._canary or {}).get("phase") or "")

    def _weighed(self, weight: int) -> None:
        self._rule(0 <= weight <= 100, f"weight {weight} is no share")
        if weight > self._weight and not dig(self._canary, "spec", "skipAnalysis"):
            self._rule(self._phase in RISES_IN, f"weight rose to {weight} in phase {self._phase}")
        self._weight = weight

    def _changed(self, before: Obj | None, after: Obj) -> None:
        old, new = status_of(before or {}), status_of(after)
        if old.get("phase") == "Failed" and new.get("phase") == "Progressing":
            self._rule(old.get("lastAppliedSpec") != new.get("lastAppliedSpec") or
                       old.get("trackedConfigs") != new.get("trackedConfigs"), "a version that failed is tried again as it is")
        if new.get("phase") == "Progressing" and old.get("phase") == "Progressing":
            was, now = old.get("failedChecks") or 0, new.get("failedChecks") or 0
            same = old.get("lastAppliedSpec") == new.get("lastAppliedSpec")
            self._rule(not same or now >= was or new.get("trackedConfigs") != old.get("trackedConfigs"),
                       f"failed checks went back to {now}")

    def _rolled(self, workload: Obj) -> None:
        name, target = str(meta_of(workload)["name"]), str(dig(self._canary, "spec", "targetRef", "name", default=""))
        template = str(spec_of(workload).get("template"))
        before = self._images.get(name)
        if name == f"{target}-primary" and before is not None and before != template:
            self._rule(self._phase in COPIES_IN, f"primary got a new version in phase {self._phase}")
        self._images[name] = template
        replicas = int(spec_of(workload).get("replicas") or 0)
        was = self._replicas.get(name, 0)
        if name == target and was > 0 and replicas == 0:
            self._rule(self._weight == 0, f"the target was scaled to nothing while {self._weight} % of the requests go to it")
        self._replicas[name] = replicas
