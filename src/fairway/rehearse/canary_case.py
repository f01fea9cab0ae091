"""A Flagger Canary in a rehearsal: the target is the new version, `<name>-primary` the old one.

Webhooks answer by a script: gates are open until a scenario's person promotes later, everything else agrees. A `rollback` hook
says no until a person aborts: in reality any answer of success rolls back, which is said where a Canary has such a hook.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from fairway.kube.api import MergePatch
from fairway.kube.cache import Informers
from fairway.kube.clock import Clock
from fairway.kube.objects import Obj, annotations_of, copy_of, dig, meta_of, status_of
from fairway.kube.reconcile import Controller
from fairway.kube.resources import CANARIES, DAEMON_SETS, DEPLOYMENTS, Resource
from fairway.rehearse.canary_judge import CanaryJudge
from fairway.rehearse.case import NEW, OLD, Gateway, SecondJudge, labelled, mark
from fairway.rehearse.spec import Deed, Outcome, Scenario
from fairway.rehearse.subject import VERSION, Subject
from fairway.rollouts import commands
from fairway.rollouts.fields import SpecError
from fairway.rollouts.flagger.builtin_metrics import DURATION, SUCCESS, observer
from fairway.rollouts.flagger.checks import BadTemplate, rendered
from fairway.rollouts.flagger.controller import CanaryController
from fairway.rollouts.flagger.seen import Seen, View
from fairway.rollouts.flagger.spec import CanarySpec, Metric, Range, Ref, decode_canary
from fairway.workloads.controllers import DeploymentController
from fairway.workloads.daemon import DaemonSetController

if TYPE_CHECKING:
    from fairway.rehearse.world import World

GATES = ("confirm-rollout", "confirm-traffic-increase", "confirm-promotion")


class CanaryCase:
    """Implements `Case`."""

    resource = CANARIES

    def __init__(self, subject: Subject, scenario: Scenario) -> None:
        self._subject = subject
        self.judge: SecondJudge = CanaryJudge()
        self._promoted_before = ""
        self._open = not any(person.does.startswith("promote") for person in scenario.people)
        self._stop = False
        try:
            self._spec = decode_canary(subject.rollout)
        except SpecError:  # the controller will say what is wrong
            self._spec = CanarySpec(subject.name, subject.namespace, Ref(subject.name, "Deployment"))

    def objects(self) -> list[Obj]:
        return [copy_of(self._subject.rollout)]

    def marked(self, obj: Obj) -> Obj:
        """The target, as the old version."""
        if (obj["kind"], meta_of(obj).get("name")) == (self._spec.target.kind, self._spec.target.name):
            obj = copy_of(obj)
            mark(obj, OLD)
        return obj

    def queries(self, *, built_in: bool = True) -> list[str]:
        """What the checks ask; the built-in ones in the words of our own data plane."""
        return list(self._checks(built_in=built_in))

    def _checks(self, *, built_in: bool = True) -> dict[str, list[Metric]]:
        """The queries, and whose they are."""
        found: dict[str, list[Metric]] = {}
        templates = {str(meta_of(o)["name"]): o for o in self._subject.others if o["kind"] == "MetricTemplate"}
        view = View(Seen(self._subject.rollout), self._spec, {}, "", "", None)  # type: ignore[arg-type]
        how = observer(self._spec.provider, own=True, service=False)
        for metric in self._spec.checks.metrics:
            text = {SUCCESS: how.success, DURATION: how.duration}.get(metric.name, metric.query)
            if metric.name in (SUCCESS, DURATION) and not built_in:
                continue
            if metric.template is not None:
                text = str(dig(templates.get(metric.template.name, {}), "spec", "query", default=""))
            try:
                if text:
                    found.setdefault(rendered(text, view, metric), []).append(metric)
            except BadTemplate:
                continue  # the controller says so when it comes to it
        return found

    def _conclusion(self, text: str, answer: float | Sequence[float]) -> Hashable:
        """All that the checks make of an answer; the answer itself where nobody knows whose query it is."""
        values, metrics = [answer] if isinstance(answer, (int, float)) else answer, self._checks().get(text)
        if metrics is None:
            return repr(answer)
        if not values or math.isnan(values[-1]):
            return None
        how = observer(self._spec.provider, own=True, service=False)
        return tuple(_passes(metric, values[-1] * (how.duration_ms if metric.name == DURATION else 1.0)) for metric in metrics)

    def outside(self, informers: Informers, clock: Clock) -> list[Controller]:
        daemon: list[Controller] = [DaemonSetController(informers, clock)] if self._spec.target.kind == "DaemonSet" else []
        return [DeploymentController(informers, clock), *daemon]

    def tested(self, world: World, informers: Informers) -> list[Controller]:
        async def post(url: str, body: str, *, timeout: timedelta, insecure: bool = False, name: str = "",
                       kind: str = "") -> str:
            if kind in GATES:
                return "" if self._open else "nobody has agreed yet"
            if kind == "rollback":
                world.note(f"the webhook {name} is of type rollback: every answer of success rolls the version back. Here it "
                           "is taken to say no until somebody aborts")
                return "" if self._stop else "no rollback is wanted"
            return ""

        queries = world.queries_by(self._conclusion)
        return [CanaryController(informers, world.clock, query=lambda address: queries, post=post, own_metrics=True,
                                 verify_weights=True)]

    def serves(self, obj: Obj) -> bool:
        return status_of(obj).get("phase") in ("Initialized", "Succeeded")

    def invalid(self, obj: Obj) -> bool:
        return False

    def begin(self, obj: Obj) -> None:
        self._promoted_before = str(status_of(obj).get("lastPromotedSpec") or "")

    async def new_version(self, world: World) -> None:
        resource = DAEMON_SETS if self._spec.target.kind == "DaemonSet" else DEPLOYMENTS
        body = {"spec": {"template": {"metadata": {"annotations": {VERSION: NEW}}}}}
        await world.api.patch(resource, self._spec.target.name, self._spec.namespace, MergePatch(body))

    def version(self, pod: Obj | None) -> str:
        return NEW if pod is not None and annotations_of(pod).get(VERSION) == NEW else OLD

    def unit(self, pod: Obj | None, service: str) -> str:
        """Flagger tells versions apart by their Service. Whoever has the users' Service in front counts for the primary."""
        return self._spec.primary_service if service == self._spec.apex else service

    def units(self, pods: Sequence[Obj]) -> set[str]:
        return {self._spec.primary_service, self._spec.canary_service}

    def gateways(self, unit: str) -> list[Gateway]:
        ns, new = self._spec.namespace, unit == self._spec.canary_service
        workload = self._spec.target.name if new else self._spec.primary
        istio = {"reporter": "destination", "destination_workload": workload, "destination_workload_namespace": ns,
                 "destination_service": f"{unit}.{ns}.svc.cluster.local", "destination_service_name": unit,
                 "destination_service_namespace": ns}
        ingress = self._spec.ingress.name if self._spec.ingress else self._spec.target.name
        nginx = {"namespace": ns, "exported_namespace": ns, "ingress": ingress, "service": unit, "exported_service": unit,
                 "canary": f"{ns}-{unit}-{self._spec.service.port}" if new else ""}
        return labelled({"envoy_cluster_name": f"{ns}|{unit}|{self._spec.service.port}|-"}, istio, nginx)

    def entries(self) -> list[str]:
        return [self._spec.apex, self._spec.primary_service, self._spec.canary_service]

    def verdict(self, obj: Obj, weight: float, *, expecting: bool) -> tuple[Outcome, str] | None:
        status = status_of(obj)
        phase, promoted = status.get("phase"), str(status.get("lastPromotedSpec") or "")
        if phase == "Succeeded" and promoted != self._promoted_before:
            return "promoted", "all checks passed"
        if expecting:
            return None
        if phase == "Failed" and (weight == 0 or status.get("canaryWeight") == 100):
            return "aborted", str(dig(status, "conditions", 0, "message", default=""))
        if phase in ("Waiting", "WaitingPromotion") and not self._open:
            return "held", f"{phase}: nobody has agreed"
        if dig(obj, "spec", "suspend"):
            return "held", "the Canary is suspended"
        return None

    def standing(self, obj: Obj) -> str:
        status = status_of(obj)
        return f"{status.get('phase') or 'no status'}: {dig(status, 'conditions', 0, 'message', default='nothing said')}"

    def stopping(self, obj: Obj) -> bool:
        return status_of(obj).get("phase") == "Failed"

    def deed(self, obj: Obj, does: Deed, world: World) -> tuple[tuple[Resource, str, Mapping[str, Any], bool], ...]:
        hooks = {hook.type for hook in self._spec.checks.webhooks}
        match does:
            case "promote" | "promote-full":
                if not hooks & set(GATES):
                    raise commands.Refused("the Canary has no webhook that waits for a person (confirm-promotion)")
                self._open = True
            case "abort":
                if "rollback" not in hooks:
                    raise commands.Refused("the Canary has no webhook of type rollback: nobody can stop it by hand")
                self._stop = True
            case "pause" | "resume":
                return ((CANARIES, self._subject.name, {"spec": {"suspend": does == "pause"}}, False),)
            case "retry":
                raise commands.Refused("a Canary is not tried again before its version changes")
        return ()


def _passes(metric: Metric, value: float) -> bool:
    limits = metric.range or (Range(min=metric.threshold) if metric.name == SUCCESS else Range(max=metric.threshold))
    return (limits.min is None or value >= limits.min) and (limits.max is None or value <= limits.max)
