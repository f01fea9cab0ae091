"""Analysis as a Rollout asks for it: which templates, with which arguments, from which step on.

Source: argo-rollouts `pkg/apis/rollouts/v1alpha1/types.go` RolloutAnalysis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fairway.kube.objects import Obj
from fairway.rollouts.fields import Fields


@dataclass(frozen=True, slots=True)
class TemplateRef:
    name: str
    cluster: bool = False


@dataclass(frozen=True, slots=True)
class AnalysisAsk:
    """Inline, in the background, before or after a promotion. `args` and the rules stay JSON: runs carry them."""

    templates: tuple[TemplateRef, ...] = ()
    args: tuple[Obj, ...] = ()
    dry_run: tuple[Obj, ...] = ()
    measurement_retention: tuple[Obj, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    starting_step: int | None = None


def read_analysis(at: Fields) -> AnalysisAsk:
    meta = at.fields("analysisRunMetadata")
    return AnalysisAsk(
        templates=tuple(TemplateRef(t.text("templateName"), t.flag("clusterScope")) for t in at.each("templates")),
        args=tuple(dict(a.raw) for a in at.each("args")),
        dry_run=tuple(dict(d.raw) for d in at.each("dryRun")),
        measurement_retention=tuple(dict(m.raw) for m in at.each("measurementRetention")),
        labels=meta.text_map("labels") if meta else {},
        annotations=meta.text_map("annotations") if meta else {},
        starting_step=at.number("startingStep"),
    )
