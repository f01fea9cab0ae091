"""What a Job's own rules say: which failures count (podFailurePolicy), and when enough has succeeded (successPolicy).

The first rule that matches decides. Source: kubernetes `pkg/controller/job/pod_failure_policy.go`, `success_policy.go`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from fairway.kube.objects import Obj, dig, key_of, spec_of, status_of
from fairway.workloads.job_status import Verdict

Action = Literal["Count", "Ignore", "FailIndex", "FailJob"]


@dataclass(frozen=True, slots=True)
class Judged:
    """What a failed pod means for its Job."""

    action: Action
    message: str = ""


COUNTED = Judged("Count")


def judge(job: Obj, pod: Obj) -> Judged:
    rules: Sequence[Obj] = dig(job, "spec", "podFailurePolicy", "rules", default=())
    for number, rule in enumerate(rules):
        words = _matched(rule, pod)
        if words is not None:
            return Judged(rule["action"], f"{words} matching {rule['action']} rule at index {number}")
    return COUNTED


def _matched(rule: Obj, pod: Obj) -> str | None:
    namespace, name = key_of(pod)
    if codes := rule.get("onExitCodes"):
        for entry in (*(status_of(pod).get("containerStatuses") or ()), *(status_of(pod).get("initContainerStatuses") or ())):
            code = dig(entry, "state", "terminated", "exitCode", default=0)
            if codes.get("containerName") not in (None, entry["name"]) or code == 0:
                continue
            if (code in codes["values"]) == (codes["operator"] == "In"):
                return f"Container {entry['name']} for pod {namespace}/{name} failed with exit code {code}"
    for wanted in rule.get("onPodConditions") or ():
        for entry in status_of(pod).get("conditions") or ():
            if entry["type"] == wanted["type"] and entry["status"] == (wanted.get("status") or "True"):
                return f"Pod {namespace}/{name} has condition {entry['type']}"
    return None


def failed_by(judged: Judged) -> Verdict:
    return Verdict("FailureTarget", "Failed", "PodFailurePolicy", judged.message)


def success(job: Obj, done: Collection[int], parse: Callable[[str], list[int]]) -> Verdict | None:
    rules: Sequence[Obj] = dig(job, "spec", "successPolicy", "rules", default=())
    completions = int(spec_of(job).get("completions") or 0)
    for number, rule in enumerate(rules):
        chosen = set(parse(rule["succeededIndexes"])) if rule.get("succeededIndexes") else set(range(completions))
        reached = len(chosen.intersection(done))
        if reached >= int(rule.get("succeededCount") or len(chosen)):
            return Verdict("SuccessCriteriaMet", "Complete", "SuccessPolicy", f"Matched rules at index {number}")
    return None
