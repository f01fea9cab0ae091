"""What is rehearsed: one Rollout or Canary with the objects that it needs, out of everything that the files hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from fairway.kube.durations import parse_duration
from fairway.kube.objects import Obj, copy_of, dig, meta_of, spec_of
from fairway.rollouts.args import ArgError, substitute
from fairway.rollouts.flagger.builtin_metrics import SUCCESS

VERSION = "fairway.dev/rehearsed-version"
NAMESPACE = "default"
_NEEDED = frozenset(("Service", "Ingress", "AnalysisTemplate", "ClusterAnalysisTemplate", "ServiceMonitor", "Secret",
                     "ConfigMap", "Deployment", "DaemonSet", "HorizontalPodAutoscaler", "MetricTemplate",
                     "RollbackPolicy"))  # fmt: skip
KINDS = ("Rollout", "Canary")
CONCERNED = _NEEDED | frozenset(KINDS)
_CLUSTER_WIDE = frozenset(("ClusterAnalysisTemplate",))


class NothingToRehearse(ValueError):
    """The files hold no Rollout and no Canary, or not the one that was asked for."""


NOT_KNOWN = "not-known-yet"
"""Stands for an argument that a rollout gives: the hash of a version, a value from a Secret."""
BEFORE, AFTER = "before the switch", "after the switch"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of an analysis, with the template that it stands in. `raw` has its arguments filled in where they are known;
    `window` is the longest range in its query."""

    template: str
    cluster: bool
    index: int
    raw: Obj
    where: str
    """"background", or "step 3", or `BEFORE` or `AFTER` where the strategy is blue-green."""
    starting_step: int = 0

    @property
    def name(self) -> str:
        return str(self.raw.get("name", ""))

    @property
    def query(self) -> str:
        return str(dig(self.raw, "provider", "prometheus", "query", default="") or "")


@dataclass(frozen=True, slots=True)
class Subject:
    """`rollout` is a Rollout or a Flagger Canary. `notes` say what the files leave open and is assumed."""

    rollout: Obj
    others: tuple[Obj, ...]
    notes: tuple[str, ...] = ()

    @property
    def is_canary(self) -> bool:
        return str(self.rollout["kind"]) == "Canary"

    @property
    def name(self) -> str:
        return str(meta_of(self.rollout)["name"])

    @property
    def namespace(self) -> str:
        return str(meta_of(self.rollout)["namespace"])

    @property
    def policies(self) -> tuple[Obj, ...]:
        """RollbackPolicies that watch it after its promotion."""
        return tuple(obj for obj in self.others if obj["kind"] == "RollbackPolicy")

    @property
    def canary(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = dig(self.rollout, "spec", "strategy", "canary", default={}) or {}
        return found

    @property
    def steps(self) -> Sequence[Mapping[str, Any]]:
        return self.canary.get("steps") or []

    def metrics(self) -> tuple[Metric, ...]:
        """Of every template that the Rollout names. A Canary's checks are its own affair (`canary_case`)."""
        found: list[Metric] = []
        if self.is_canary:
            return ()
        background = self.canary.get("analysis")
        if background:
            found += self._metrics(background, "background", int(background.get("startingStep") or 0))
        for i, step in enumerate(self.steps):
            if step.get("analysis"):
                found += self._metrics(step["analysis"], f"step {i + 1}", i)
        green = dig(self.rollout, "spec", "strategy", "blueGreen", default={}) or {}
        for name, where in (("prePromotionAnalysis", BEFORE), ("postPromotionAnalysis", AFTER)):
            if green.get(name):
                found += self._metrics(green[name], where, 0)
        return tuple(found)

    def _metrics(self, ask: Mapping[str, Any], where: str, starting: int) -> Iterable[Metric]:
        for ref in ask.get("templates") or ():
            kind = "ClusterAnalysisTemplate" if ref.get("clusterScope") else "AnalysisTemplate"
            for obj in self.others:
                if obj["kind"] == kind and meta_of(obj).get("name") == ref.get("templateName"):
                    values = _values(spec_of(obj).get("args") or (), ask.get("args") or ())
                    for i, raw in enumerate(spec_of(obj).get("metrics") or ()):
                        yield Metric(str(ref["templateName"]), bool(ref.get("clusterScope")), i, _filled(raw, values), where,
                                     starting)

    def with_policies(self, changes: Mapping[str, Any]) -> Subject:
        """The same files with some settings of the RollbackPolicies changed; `period` is that of every criterion."""
        others = []
        for obj in self.others:
            if obj["kind"] == "RollbackPolicy":
                obj = copy_of(obj)
                period = {name: value for name, value in changes.items() if name == "period"}
                obj["spec"] |= {name: value for name, value in changes.items() if name != "period"}
                obj["spec"]["criteria"] = [{**one, **period} for one in obj["spec"].get("criteria") or ()]
            others.append(obj)
        return Subject(self.rollout, tuple(others), self.notes)

    def with_success_rate(self, least: float) -> Subject:
        """The same Canary with another success rate that its built-in check asks for."""
        metrics = [{**one, "thresholdRange": {"min": least}} if one.get("name") == SUCCESS else one
                   for one in dig(self.rollout, "spec", "analysis", "metrics", default=[])]
        return self.with_analysis({"metrics": metrics})

    def with_analysis(self, changes: Mapping[str, Any]) -> Subject:
        """The same Canary with some settings of its analysis changed."""
        canary = copy_of(self.rollout)
        canary["spec"]["analysis"] = {**(canary["spec"].get("analysis") or {}), **changes}
        return Subject(canary, self.others, self.notes)

    def with_metric(self, metric: Metric, changes: Mapping[str, Any]) -> Subject:
        """The same files with some settings of one metric changed."""
        others = []
        for obj in self.others:
            if obj["kind"].endswith("AnalysisTemplate") and meta_of(obj).get("name") == metric.template:
                obj = copy_of(obj)
                obj["spec"]["metrics"][metric.index] |= dict(changes)
            others.append(obj)
        return Subject(self.rollout, tuple(others), self.notes)


def _values(template: Sequence[Obj], given: Sequence[Obj]) -> dict[str, str]:
    """A hash is not known yet: it stands for itself."""
    names = {str(arg.get("name")): str(arg.get("value")) for arg in template if arg.get("value") is not None}
    names |= {str(arg.get("name")): str(arg["value"]) for arg in given if arg.get("value") is not None}
    return {str(arg.get("name")): NOT_KNOWN for arg in (*template, *given)} | names


def _filled(raw: Obj, values: Mapping[str, str]) -> Obj:
    try:
        filled: Obj = substitute(raw, values)
    except ArgError:
        return raw
    return filled


def length_of(text: object, default: timedelta | None = None) -> timedelta | None:
    try:
        return parse_duration(str(text)) if text else default
    except ValueError:
        return default


def subjects(objects: Sequence[Obj], name: str = "") -> list[Subject]:
    """One per Rollout and Canary (or the one of this name). Raises `NothingToRehearse`."""
    rollouts = [obj for obj in objects if obj.get("kind") in KINDS]
    wanted = [obj for obj in rollouts if not name or meta_of(obj).get("name") == name]
    if not wanted:
        known = ", ".join(str(meta_of(obj).get("name")) for obj in rollouts)
        raise NothingToRehearse(f"there is no Rollout or Canary {name!r}; there are: {known}" if known else
                                "there is no Rollout and no Canary in these files")
    found = []
    for rollout in wanted:
        namespace = str(meta_of(rollout).get("namespace") or NAMESPACE)
        others = [_in(obj, namespace) for obj in objects
                  if obj.get("kind") in _NEEDED and meta_of(obj).get("namespace", namespace) in (namespace, "")]
        others = [obj for obj in others if obj["kind"] != "RollbackPolicy" or (
            rollout["kind"] == "Rollout" and _names(obj, rollout))]
        notes = tuple(f"RollbackPolicy {meta_of(obj).get('name')} watches a Canary: its watch is not rehearsed"
                      for obj in objects if rollout["kind"] == "Canary" and _names(obj, rollout))
        subject = Subject(_in(rollout, namespace), tuple(others), notes)
        found.append(completed(subject) if subject.is_canary else subject)
    return found


def completed(subject: Subject) -> Subject:
    """A Canary with a target that runs, and a way in for the users. What the files do not hold is assumed, and said."""
    canary, others, notes = copy_of(subject.rollout), list(subject.others), list(subject.notes)
    spec = canary["spec"]
    target = spec.get("targetRef") or {}
    kind, name = str(target.get("kind") or "Deployment"), str(target.get("name") or subject.name)
    apex = str(dig(spec, "service", "name", default="") or name)
    if not any(obj["kind"] == kind and meta_of(obj).get("name") == name for obj in others):
        notes.append(f"there is no {kind} {name} among the files: one with two pods is assumed")
        others.append(_workload(kind, name, subject.namespace, spec))
    hpa = dig(spec, "autoscalerRef", "name", default="")
    if hpa and not any(obj["kind"] == "HorizontalPodAutoscaler" and meta_of(obj).get("name") == hpa for obj in others):
        notes.append(f"there is no HorizontalPodAutoscaler {hpa} among the files: the number of pods stays")
        del spec["autoscalerRef"]
    if spec.get("provider") != "kubernetes":
        if spec.pop("provider", None) or dig(spec, "service", "gatewayRefs"):
            notes.append("weights are carried by a canary Ingress here; its shares are those that the provider would give")
        dig(spec, "service", default={}).pop("gatewayRefs", None)
        if not any(obj["kind"] == "Ingress" and _leads_to(obj, apex) for obj in others):
            others.append(_way_in(apex, subject.namespace, dig(spec, "service", "port", default=80)))
            spec.pop("ingressRef", None)
    return Subject(canary, tuple(others), tuple(notes))


def _names(policy: Obj, workload: Obj) -> bool:
    """It is a RollbackPolicy of this workload."""
    ref = dig(policy, "spec", "workloadRef", default={}) if policy.get("kind") == "RollbackPolicy" else {}
    return (ref.get("kind"), ref.get("name")) == (workload["kind"], meta_of(workload).get("name"))


def _leads_to(ingress: Obj, service: str) -> bool:
    return any(dig(path, "backend", "service", "name") == service for rule in spec_of(ingress).get("rules") or ()
               for path in dig(rule, "http", "paths", default=[]))


def _way_in(service: str, namespace: str, port: object) -> Obj:
    path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"number": port}}}}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": service, "namespace": namespace},
            "spec": {"rules": [{"http": {"paths": [path]}}]}}


def _workload(kind: str, name: str, namespace: str, spec: Mapping[str, Any]) -> Obj:
    port = dig(spec, "service", "targetPort", default=None) or dig(spec, "service", "port", default=80)
    container: Obj = {"name": "app", "image": f"{name}:1"}
    if isinstance(port, int):
        container["ports"] = [{"containerPort": port}]
    else:
        container["ports"] = [{"name": port, "containerPort": 8080}]
    made: Obj = {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": {
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}}}
    if kind == "Deployment":
        made["spec"]["replicas"] = 2
    return made


def _in(obj: Obj, namespace: str) -> Obj:
    made = copy_of(obj)
    made.pop("status", None)
    if obj["kind"] not in _CLUSTER_WIDE:
        made.setdefault("metadata", {})["namespace"] = namespace
    return made
