"""AnalysisTemplates put together into the spec of one AnalysisRun. Source: argo-rollouts `utils/analysis/helpers.go`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fairway.kube.objects import Obj, spec_of
from fairway.rollouts.analysis_ask import TemplateRef
from fairway.rollouts.args import flatten_args, merge_args


class TemplateError(ValueError):
    """Templates cannot be put together: one is missing, or two disagree."""


class TemplateMissing(TemplateError):
    def __init__(self, ref: TemplateRef) -> None:
        super().__init__(f"{'ClusterAnalysisTemplate' if ref.cluster else 'AnalysisTemplate'} '{ref.name}' not found")
        self.name = ref.name


def gather_templates(refs: Iterable[TemplateRef], known: Mapping[TemplateRef, Obj]) -> list[Obj]:
    """The referenced templates and those that they refer to, each once, in the order of their references."""
    found: dict[TemplateRef, Obj] = {}

    def add(ref: TemplateRef) -> None:
        if ref in found:
            return
        template = known.get(ref)
        if template is None:
            raise TemplateMissing(ref)
        found[ref] = template
        for inner in spec_of(template).get("templates") or ():
            add(TemplateRef(str(inner.get("templateName", "")), bool(inner.get("clusterScope"))))

    for ref in refs:
        add(ref)
    return list(found.values())


def flatten(templates: Sequence[Obj]) -> Obj:
    """One spec of all: metrics, args, dryRun and measurementRetention, each name once."""
    specs = [spec_of(template) for template in templates]
    metrics = [metric for spec in specs for metric in spec.get("metrics") or ()]
    return {
        "metrics": _once(metrics, "name", "two metrics have the same name '{}'"),
        "args": flatten_args([spec.get("args") or () for spec in specs]),
        "dryRun": _rules([spec.get("dryRun") or () for spec in specs], "two Dry-Run metric rules have the same name '{}'"),
        "measurementRetention": _rules(
            [spec.get("measurementRetention") or () for spec in specs],
            "two Measurement Retention metric rules have the same name '{}'"),
    }  # fmt: skip


def run_spec(templates: Sequence[Obj], args: Iterable[Obj], dry_run: Sequence[Obj] = (),
             retention: Sequence[Obj] = ()) -> Obj:
    """The spec of an AnalysisRun; what is empty is left out."""
    flat = flatten(templates)
    spec = {
        "metrics": flat["metrics"],
        "args": merge_args(args, flat["args"]),
        "dryRun": _rules([dry_run, flat["dryRun"]], "two Dry-Run metric rules have the same name '{}'"),
        "measurementRetention": _rules([retention, flat["measurementRetention"]],
                                       "two Measurement Retention metric rules have the same name '{}'"),
    }
    return {name: value for name, value in spec.items() if value}


def _rules(lists: Iterable[Sequence[Obj]], message: str) -> list[Obj]:
    return _once([rule for rules in lists for rule in rules], "metricName", message)


def _once(entries: list[Obj], key: str, message: str) -> list[Obj]:
    seen: set[str] = set()
    for entry in entries:
        name = str(entry.get(key, ""))
        if name in seen:
            raise TemplateError(message.format(name))
        seen.add(name)
    return entries
