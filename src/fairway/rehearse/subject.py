"""What is rehearsed: one Rollout with the objects that it needs, out of everything that the files hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from fairway.kube.durations import parse_duration
from fairway.kube.objects import Obj, copy_of, dig, meta_of, spec_of
from fairway.rollouts.args import ArgError, substitute

VERSION = "fairway.dev/rehearsed-version"
NAMESPACE = "default"
_NEEDED = frozenset(("Service", "Ingress", "AnalysisTemplate", "ClusterAnalysisTemplate", "ServiceMonitor", "Secret",
                     "ConfigMap", "Deployment"))  # fmt: skip
_CLUSTER_WIDE = frozenset(("ClusterAnalysisTemplate",))


class NothingToRehearse(ValueError):
    """The files hold no Rollout, or not the one that was asked for."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of an analysis, with the template that it stands in. `raw` has its arguments filled in where they are known;
    `window` is the longest range in its query."""

    template: str
    cluster: bool
    index: int
    raw: Obj
    where: str
    """"background", or "step 3"."""
    starting_step: int = 0

    @property
    def name(self) -> str:
        return str(self.raw.get("name", ""))

    @property
    def query(self) -> str:
        return str(dig(self.raw, "provider", "prometheus", "query", default="") or "")


@dataclass(frozen=True, slots=True)
class Subject:
    rollout: Obj
    others: tuple[Obj, ...]

    @property
    def name(self) -> str:
        return str(meta_of(self.rollout)["name"])

    @property
    def namespace(self) -> str:
        return str(meta_of(self.rollout)["namespace"])

    @property
    def canary(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = dig(self.rollout, "spec", "strategy", "canary", default={}) or {}
        return found

    @property
    def steps(self) -> Sequence[Mapping[str, Any]]:
        return self.canary.get("steps") or []

    def metrics(self) -> tuple[Metric, ...]:
        """Of every template that the Rollout names."""
        found: list[Metric] = []
        background = self.canary.get("analysis")
        if background:
            found += self._metrics(background, "background", int(background.get("startingStep") or 0))
        for i, step in enumerate(self.steps):
            if step.get("analysis"):
                found += self._metrics(step["analysis"], f"step {i + 1}", i)
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

    def with_metric(self, metric: Metric, changes: Mapping[str, Any]) -> Subject:
        """The same files with some settings of one metric changed."""
        others = []
        for obj in self.others:
            if obj["kind"].endswith("AnalysisTemplate") and meta_of(obj).get("name") == metric.template:
                obj = copy_of(obj)
                obj["spec"]["metrics"][metric.index] |= dict(changes)
            others.append(obj)
        return Subject(self.rollout, tuple(others))


def _values(template: Sequence[Obj], given: Sequence[Obj]) -> dict[str, str]:
    """A hash is not known yet: it stands for itself."""
    names = {str(arg.get("name")): str(arg.get("value")) for arg in template if arg.get("value") is not None}
    names |= {str(arg.get("name")): str(arg["value"]) for arg in given if arg.get("value") is not None}
    return {str(arg.get("name")): "x" for arg in (*template, *given)} | names


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
    """One per Rollout (or the one of this name). Raises `NothingToRehearse`."""
    rollouts = [obj for obj in objects if obj.get("kind") == "Rollout"]
    wanted = [obj for obj in rollouts if not name or meta_of(obj).get("name") == name]
    if not wanted:
        known = ", ".join(str(meta_of(obj).get("name")) for obj in rollouts)
        raise NothingToRehearse(f"there is no Rollout {name!r}; there are: {known}" if known else
                                "there is no Rollout in these files")
    found = []
    for rollout in wanted:
        namespace = str(meta_of(rollout).get("namespace") or NAMESPACE)
        others = [_in(obj, namespace) for obj in objects
                  if obj.get("kind") in _NEEDED and meta_of(obj).get("namespace", namespace) in (namespace, "")]
        found.append(Subject(_in(rollout, namespace), tuple(others)))
    return found


def _in(obj: Obj, namespace: str) -> Obj:
    made = copy_of(obj)
    made.pop("status", None)
    if obj["kind"] not in _CLUSTER_WIDE:
        made.setdefault("metadata", {})["namespace"] = namespace
    return made
