"""Health of GitOps Promoter's kinds: a Ready condition with a generation of its own, then what the kind adds. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fairway.gitops.crd_health_rules import Answer, Check, conditions_of, message_of
from fairway.kube.objects import Obj, dig, is_deleting, meta_of, status_of

_GROUP = "promoter.argoproj.io"


@dataclass(frozen=True, slots=True)
class Promoted:
    """How one kind words the steps that all of them share. `{reason}` and `{message}` are the condition's."""

    name: str
    """In "Waiting for <name> spec update to be observed"."""
    starting: str
    deleting: str
    missing: str
    """There is no Ready condition yet."""
    failed: str
    """Ready is False because the reconcile failed; the message follows."""
    refused: str
    """Ready is False for another reason."""
    unknown: str | None
    """Ready is Unknown; None where the kind does not look at that."""
    then: Callable[[Obj], Answer]
    finalizers: Mapping[str, str] = field(default_factory=dict)
    """What a finalizer that is still there waits for, and the risk of taking it off by hand."""
    ready: tuple[str, ...] = ("Ready",)

    def __call__(self, obj: Obj) -> Answer:
        if is_deleting(obj):
            held = [f"{name}: {self.finalizers[name]}" for name in meta_of(obj).get("finalizers") or ()
                    if name in self.finalizers]  # fmt: skip
            return "Progressing", " ".join([self.deleting, *held])
        if obj.get("status") is None:
            return "Progressing", self.starting
        conditions = [entry for entry in conditions_of(obj) if entry.get("type") in self.ready]
        unready = next(filter(None, (self._unready(obj, entry) for entry in conditions)), None)
        if unready is not None:
            return unready
        return self.then(obj) if conditions else ("Progressing", self.missing)

    def _unready(self, obj: Obj, condition: Obj) -> Answer | None:
        seen, now = condition.get("observedGeneration"), meta_of(obj).get("generation")
        if seen is not None and now is not None and seen != now:
            return "Progressing", f"Waiting for {self.name} spec update to be observed"
        reason = str(condition.get("reason") or "Unknown")
        match condition.get("status"):
            case "False":
                text = self.failed if reason == "ReconciliationError" else self.refused.format(reason=reason)
                return "Degraded", f"{text}: {message_of(condition, 'Unknown error')}"
            case "Unknown" if self.unknown is not None:
                return "Progressing", f"{self.unknown} ({reason}): {message_of(condition, 'Unknown')}"
        return None


def _named(name: str, title: str, then: Callable[[Obj], Answer], **more: Mapping[str, str] | tuple[str, ...] | str) -> Promoted:
    """The older wording: "<title> reconciliation failed"."""
    deleting = str(more.get("deleting") or f"{title} is being deleted")
    finalizers, kinds = more.get("finalizers"), more.get("ready")
    return Promoted(name, f"Initializing {name}", deleting, f"{title} is not ready yet", f"{title} reconciliation failed",
                    f"{title} reconciliation failed ({{reason}})", None, then,
                    finalizers if isinstance(finalizers, Mapping) else {}, kinds if isinstance(kinds, tuple) else ("Ready",))


def _source(kind: str, title: str, starting: str, deleting: str, finalizers: Mapping[str, str]) -> Promoted:
    """Providers and repositories: validated, then ready."""
    return Promoted(kind, starting, deleting, f"{kind} Ready condition is missing", f"{title} validation failed",
                    f"{title} not ready ({{reason}})", f"{title} readiness unknown",
                    lambda obj: ("Healthy", f"{title} is ready"), finalizers)


def _gate(kind: str, gate: str, noun: str, passed: str, unknown: str) -> Promoted:
    """A check for each environment: pending, success or failure."""

    def by_branch(obj: Obj) -> Answer:
        found = [e for e in status_of(obj).get("environments") or () if isinstance(e, dict)]
        if not found:
            return "Healthy", f"{gate} reconciled"
        failed = [str(e.get("branch") or "?") for e in found if e.get("phase") == "failure"]
        pending = [str(e.get("branch") or "?") for e in found if e.get("phase") not in ("failure", "success")]
        if failed:
            return "Degraded", f"{noun} failed for branch(es): {', '.join(failed)}"
        if pending:
            return "Progressing", f"{noun} pending for branch(es): {', '.join(pending)}"
        return "Healthy", f"{noun} {passed} for {len(found)} environment(s)"

    starting = f"Initializing {gate[0].lower()}{gate[1:]}"
    return Promoted(kind, starting, f"{kind} is being deleted", f"{kind} Ready condition is missing", f"{gate} failed",
                    f"{gate} not ready ({{reason}})", unknown, by_branch)


# --- what the kinds add ---------------------------------------------------------------------------------------------------


def _commit_status(obj: Obj) -> Answer:
    sha, phase = status_of(obj).get("sha"), status_of(obj).get("phase")
    if sha is None or phase is None:
        return "Healthy", "Commit status is healthy"
    return "Healthy", f"Commit status for commit {sha} reports {phase}"


def _pull_request(obj: Obj) -> Answer:
    number, state = status_of(obj).get("id"), status_of(obj).get("state")
    if number is None or state is None:
        return "Healthy", "Pull request is healthy"
    return "Healthy", f"Pull request is {state} as PR {number}"


def _applications(obj: Obj) -> Answer:
    selected = status_of(obj).get("applicationsSelected") or ()
    if not selected:
        return "Degraded", "Argo CD commit status has no applications configured"
    return "Healthy", f"Argo CD commit status is healthy and is tracking {len(selected)} applications"


def _sha(environment: Obj, side: str) -> str:
    return str(dig(environment, side, "dry", "sha", default=""))


def _hydrated(environment: Obj) -> str:
    """The dry commit that the hydrator has worked up to: its note is ahead where a commit changed nothing here."""
    return str(dig(environment, "proposed", "note", "drySha", default="")) or _sha(environment, "proposed")


def _missing_sha(environment: Obj) -> str:
    return next((f"The {side} commit DRY SHA is missing or empty" for side in ("active", "proposed")
                 if not _sha(environment, side)), "")  # fmt: skip


def _tally(environment: Obj, side: str) -> tuple[str, int]:
    """"1 pending, 0 successful, 1 failed. Pending …", and how many are not successful."""
    found = [s for s in dig(environment, side, "commitStatuses", default=()) if isinstance(s, dict)]
    keys = {phase: [str(s.get("key") or "") for s in found if s.get("phase") == phase]
            for phase in ("pending", "success", "failure")}  # fmt: skip
    text = f"{len(keys['pending'])} pending, {len(keys['success'])} successful, {len(keys['failure'])} failed. "
    if keys["pending"]:
        text += f"Pending commit statuses: {', '.join(keys['pending'])}. "
    if keys["failure"]:
        text += f"Failed commit statuses: {', '.join(keys['failure'])}. "
    return text, len(keys["pending"]) + len(keys["failure"])


def _transfer(obj: Obj) -> Answer:
    status = status_of(obj)
    missing = _missing_sha(status)
    if missing:
        return "Progressing", f"{missing}."
    active, proposed = _sha(status, "active"), _sha(status, "proposed")
    if proposed != active:
        return "Progressing", f"Promotion in progress from '{active[:7]}' to '{proposed[:7]}': {_tally(status, 'proposed')[0]}"
    text, unsuccessful = _tally(status, "active")
    if unsuccessful:
        return "Healthy", f"Environment is up-to-date, but there are non-successful active commit statuses: {text}"
    return "Healthy", f"Environment is up-to-date on commit {active[:7]}."


def _strategy(obj: Obj) -> Answer:
    found = [e for e in status_of(obj).get("environments") or () if isinstance(e, dict)]
    if not found:
        return "Degraded", "Promotion strategy has no environments configured"
    for environment in found:
        missing = _missing_sha(environment)
        if missing:
            return "Progressing", f"{missing} in environment '{environment.get('branch') or ''}'."
    hydrated = _hydrated(found[0])
    if any(_hydrated(environment) != hydrated for environment in found):
        return "Progressing", ("Not all environments have the same proposed commit SHA. This likely means the hydrator has not "
                               "run for all environments yet.")  # fmt: skip
    worked = f"Hydrator has processed dry commit '{hydrated[:7]}'."
    for environment in found:
        active, proposed = _sha(environment, "active"), _sha(environment, "proposed")
        if active != proposed:
            return "Progressing", (f"Promotion in progress for environment '{environment.get('branch') or ''}' from "
                                   f"'{active[:7]}' to '{proposed[:7]}': {_tally(environment, 'proposed')[0]}{worked} ")
    troubled = [_trouble(environment) for environment in found if _tally(environment, "active")[1]]
    if troubled:
        return "Healthy", ("Environments are up-to-date, but some environments have non-successful commit statuses: "
                           f"{', '.join(troubled)}.")  # fmt: skip
    current = _sha(found[0], "proposed")
    ahead = f" {worked}" if hydrated != current else ""
    return "Healthy", f"All environments are up-to-date on commit '{current[:7]}'.{ahead}"


def _trouble(environment: Obj) -> str:
    phases = [s.get("phase") for s in dig(environment, "active", "commitStatuses", default=()) if isinstance(s, dict)]
    return f"{environment.get('branch') or ''} ({phases.count('failure')} failed, {phases.count('pending')} pending)"


# --- the table ------------------------------------------------------------------------------------------------------------

_PROVIDER_RISK = "Risk if removed manually: GitRepository objects can reference a provider that no longer exists."

CHECKS: dict[tuple[str, str], Check] = {
    (_GROUP, "ArgoCDCommitStatus"): _named("Argo CD commit status", "Argo CD commit status", _applications),
    (_GROUP, "CommitStatus"): _named("commit status", "Commit status", _commit_status),
    (_GROUP, "PromotionStrategy"): _named("promotion strategy", "Promotion strategy", _strategy),
    (_GROUP, "PullRequest"): _named(
        "pull request", "Pull request", _pull_request, deleting="Pull request is being deleted.",
        ready=("Reconciled", "Ready"), finalizers={
            "pullrequest.promoter.argoproj.io/finalizer": (
                "Waiting for SCM closure or reconciliation of the pull request. Risk if removed manually: the real PR can stay "
                "open after the CR is gone."),
            "changetransferpolicy.promoter.argoproj.io/pullrequest-finalizer": (
                "Waiting for the ChangeTransferPolicy to observe PR identity and state. Risk if removed manually: promotion "
                "status or history can be wrong or racy.")}),
    (_GROUP, "ChangeTransferPolicy"): _named(
        "change transfer policy", "Change transfer policy", _transfer, deleting="Change transfer policy is being deleted.",
        finalizers={"changetransferpolicy.promoter.argoproj.io/finalizer": (
            "Waiting to clear related PullRequest finalizers and finish cleanup before this policy is removed. Risk if removed "
            "manually: The 'changetransferpolicy.promoter.argoproj.io/pullrequest-finalizer' finalizer may not be cleaned up "
            "from PullRequests owned by this ChangeTransferPolicy.")}),
    (_GROUP, "GitRepository"): _source(
        "GitRepository", "Git repository", "Initializing Git repository", "GitRepository is being deleted.",
        {"gitrepository.promoter.argoproj.io/finalizer": (
            "Waiting until no non-deleting PullRequests still reference this repository. Risk if removed manually: repository "
            "metadata may be removed while promotions still depend on it.")}),
    (_GROUP, "ScmProvider"): _source(
        "ScmProvider", "SCM provider", "Initializing SCM provider", "ScmProvider is being deleted.",
        {"scmprovider.promoter.argoproj.io/finalizer": (
            f"Waiting until no GitRepository in this namespace still references this provider. {_PROVIDER_RISK}")}),
    (_GROUP, "ClusterScmProvider"): _source(
        "ClusterScmProvider", "Cluster SCM provider", "Initializing cluster SCM provider",
        "ClusterScmProvider is being deleted.",
        {"clusterscmprovider.promoter.argoproj.io/finalizer": (
            f"Waiting until no GitRepository still references this cluster-wide SCM provider. {_PROVIDER_RISK}")}),
    (_GROUP, "GitCommitStatus"): _gate("GitCommitStatus", "Git commit validation", "Git commit validation", "passed",
                                       "Git commit validation status unknown"),
    (_GROUP, "TimedCommitStatus"): _gate("TimedCommitStatus", "Timed commit gate", "Timed commit gate", "satisfied",
                                         "Timed commit gate status unknown"),
    (_GROUP, "WebRequestCommitStatus"): _gate(
        "WebRequestCommitStatus", "Web request commit validation", "Web request validation", "passed",
        "Web request commit validation unknown"),
}  # fmt: skip
