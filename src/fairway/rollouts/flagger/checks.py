"""The analysis of one tick: rollout webhooks, built-in checks, metric templates. The first that fails halts the advance.

No data is a failed check (as upstream has it), and is said as what it is: nobody knows.
"""

from __future__ import annotations

import re

from fairway.kube.objects import Key, dig, meta_of
from fairway.rollouts.expr.values import number_text
from fairway.rollouts.flagger.builtin_metrics import DURATION, SUCCESS, observer
from fairway.rollouts.flagger.questions import Query
from fairway.rollouts.flagger.seen import View
from fairway.rollouts.flagger.spec import Metric, Range
from fairway.rollouts.flagger.tick import Tick

_FIELD = re.compile(r"\{\{-?\s*([A-Za-z_][\w.]*)\s*-?\}\}")


class BadTemplate(ValueError):
    """A query that names what there is not."""


def analysed(tick: Tick, view: View, provider: str) -> bool:
    """Whether every check passed; what did not is said."""
    for hook in tick.hooks("rollout"):
        error = tick.ask(hook, "Progressing")
        if error:
            return _halted(tick, f"external check {hook.name} failed {error}")
    return all(_passes(tick, view, metric, provider) for metric in view.spec.checks.metrics if metric.template is None) and all(
        _template_passes(tick, view, metric) for metric in view.spec.checks.metrics if metric.template is not None)


def _halted(tick: Tick, why: str) -> bool:
    tick.warn("Halted", f"Halt {tick.spec.name}.{tick.spec.namespace} advancement {why}")
    return False


def _passes(tick: Tick, view: View, metric: Metric, provider: str) -> bool:
    """A built-in check, or a query that stands in the Canary itself."""
    if metric.name in (SUCCESS, DURATION):
        how = observer(provider, own=view.seen.own_metrics, service=view.spec.target.kind == "Service")
        text = how.success if metric.name == SUCCESS else how.duration
        answer = tick.answers.to(Query(rendered(text, view, metric), view.spec.metrics_server))
        if answer.error:
            tick.warn("QueryFailed", f"Prometheus query failed: {answer.error}")
            return False
        if answer.value is None:
            tick.warn("NoValues", f"Halt advancement no values found for {provider} metric {metric.name} probably "
                      f"{view.spec.target.name}.{view.spec.namespace} is not receiving traffic")
            return False
        if metric.name == SUCCESS:
            limits = metric.range or Range(min=metric.threshold)
            return _within(tick, answer.value, limits, lambda v: f"success rate {v:.2f}%", lambda v: f"{number_text(v)}%")
        limits = metric.range or Range(max=metric.threshold)
        return _within(tick, answer.value * how.duration_ms, limits, lambda v: f"request duration {_duration(v)}", _duration)
    if not metric.query:
        return True
    answer = tick.answers.to(Query(metric.query, view.spec.metrics_server))
    if answer.error:
        tick.warn("QueryFailed", f"Prometheus query failed for {metric.name}: {answer.error}")
        return False
    if answer.value is None:
        tick.warn("NoValues", f"Halt advancement no values found for metric: {metric.name}")
        return False
    return _custom(tick, metric, answer.value)


def _template_passes(tick: Tick, view: View, metric: Metric) -> bool:
    assert metric.template is not None
    key = Key(metric.template.namespace or view.spec.namespace, metric.template.name)
    named = f"Metric template {key.name}.{key.namespace}"
    template = view.seen.templates.get(key)
    if template is None:
        tick.warn("TemplateMissing", f'{named} error: metrictemplate.flagger.app "{key.name}" not found')
        return False
    kind = dig(template, "spec", "provider", "type", default="")
    if kind != "prometheus":
        tick.warn("ProviderNotCarried", f"{named} provider {kind} error: it is not carried here; carried is prometheus")
        return False
    try:
        text = rendered(str(dig(template, "spec", "query", default="")), view, metric)
    except BadTemplate as error:
        tick.warn("TemplateInvalid", f"{named} query render error: {error}")
        return False
    answer = tick.answers.to(Query(text, str(dig(template, "spec", "provider", "address", default=""))))
    if answer.error:
        tick.warn("QueryFailed", f"Metric query failed for {metric.name}: {answer.error}")
        return False
    if answer.value is None:
        tick.warn("NoValues", f"Halt advancement no values found for custom metric: {metric.name}: no values found")
        return False
    return _custom(tick, metric, answer.value)


def _custom(tick: Tick, metric: Metric, value: float) -> bool:
    limits = metric.range or Range(max=metric.threshold)
    return _within(tick, value, limits, lambda v: f"{metric.name} {v:.2f}", number_text)


def _within(tick: Tick, value: float, limits: Range, shown: object, limit: object) -> bool:
    assert callable(shown) and callable(limit)
    if value != value:  # NaN is no value: a share of no requests
        return _halted(tick, f"{shown(value)} is not a number: there was nothing to measure")
    if limits.min is not None and value < limits.min:
        return _halted(tick, f"{shown(value)} < {limit(limits.min)}")
    if limits.max is not None and value > limits.max:
        return _halted(tick, f"{shown(value)} > {limit(limits.max)}")
    return True


def _duration(milliseconds: float) -> str:
    """As Go prints a time.Duration: 1.5s, 250ms."""
    seconds = milliseconds / 1000.0
    return f"{number_text(round(seconds, 9))}s" if seconds >= 1 else f"{number_text(round(milliseconds, 6))}ms"


def rendered(text: str, view: View, metric: Metric) -> str:
    """The query with `{{ name }}`, `{{ interval }}`, `{{ variables.x }}` and the like filled in. Raises `BadTemplate`."""
    spec = view.spec
    known = {"name": spec.name, "namespace": spec.namespace, "target": spec.target.name, "service": spec.apex,
             "ingress": spec.ingress.name if spec.ingress else spec.target.name, "interval": metric.interval,
             "route": str(meta_of(view.seen.canary).get("name", "")),
             **{f"variables.{name}": value for name, value in metric.variables.items()}}

    def value(found: re.Match[str]) -> str:
        if found[1] not in known:
            raise BadTemplate(f'function "{found[1]}" not defined; known are {", ".join(sorted(known))}')
        return known[found[1]]

    filled = _FIELD.sub(value, text)
    if "{{" in filled:
        raise BadTemplate("only plain fields such as {{ target }} are understood here")
    return filled
