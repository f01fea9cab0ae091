"""Argo Rollouts: replica arithmetic, analysis, conditions of metrics, validation.

A question about a strategy that Fairway does not run yet (blueGreen, ALB, Istio, …) is a failed case, not a skipped one. The
wording of validation errors is a suite of its own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from fairway.kube.objects import parse_time, rfc3339
from fairway.rollouts.analysis import assess_metric, assess_run, due, is_terminating, limit_exceeded, next_look
from fairway.rollouts.analysis_ask import AnalysisAsk, TemplateRef
from fairway.rollouts.analysis_spec import Metric, decode_metric, decode_run, matched, metrics_error
from fairway.rollouts.analysis_templates import TemplateError, flatten, gather_templates
from fairway.rollouts.anti_affinity import anti_affinity_errors
from fairway.rollouts.args import ArgError, merge_args, substitute
from fairway.rollouts.blue_green_scaling import new_replicas
from fairway.rollouts.expr import ExprError, compile_expression
from fairway.rollouts.expr.values import Floats, duration_text, printed
from fairway.rollouts.fields import FieldError, SpecError
from fairway.rollouts.judge import as_float, condition_holds, judge
from fairway.rollouts.lint import app_mesh_errors, lint, mapping_errors
from fairway.rollouts.measurements import COMPLETED, is_worse, read_tallies, read_tally, worst
from fairway.rollouts.references import (
    ingress_errors,
    resolved_metrics,
    service_errors,
    service_roles,
    template_errors,
    virtual_service_mistakes,
)
from fairway.rollouts.replicas import (
    Counts,
    approximate,
    at_desired_counts,
    basic_counts,
    desired_counts,
    max_surge,
    max_unavailable,
    routed_counts,
    step_below,
    weight_to_replicas,
)
from fairway.rollouts.replicasets import ReplicaSet, fully_available, partly_available
from fairway.rollouts.spec import Canary, RolloutSpec, decode_rollout
from fairway.rollouts.status import Status, read_status, read_weights
from fairway.rollouts.steps import before_starting_step, current_step, first_index, step_index, weight_asked
from fairway.rollouts.validate_canary import canary_errors, named_objects_errors, surge_errors
from fairway.rollouts.validate_steps import kind_errors
from fairway.rollouts.validation import blue_green_errors, spec_errors, strategy_errors
from tests.conformance.result import CaseResult

Row = Mapping[str, Any]
_FLOATS = {"NaN": math.nan, "+Inf": math.inf, "-Inf": -math.inf}


def suites(root: Path) -> dict[str, Callable[[], Iterable[CaseResult]]]:
    at = root / "rollouts"
    found: dict[str, Callable[[], Iterable[CaseResult]]] = {
        "rollouts/replicas": lambda: _cases(at / "replicas" / "cases.jsonl", _replicas),
        "rollouts/analysis": lambda: _cases(at / "analysis" / "cases.jsonl", _analysis),
        "rollouts/validation": lambda: _cases(at / "validation" / "cases.jsonl", _verdict),
        "rollouts/validation-wording": lambda: _cases(at / "validation" / "cases.jsonl", _wording),
    }
    found["rollouts/conditions"] = lambda: chain.from_iterable(
        _conditions(at / "conditions", name) for name in ("argo", "tables", "generated"))
    return found if at.is_dir() else {}


def _cases(path: Path, judged: Callable[[Row], str]) -> Iterator[CaseResult]:
    """`judged` gives "" where the case passes, else why not."""
    for line in path.read_text().splitlines():
        row = json.loads(line)
        try:
            reason = judged(row)
        except _NotUnderstood as error:
            reason = str(error)
        except Exception as error:  # a crash is this case's failure
            reason = f"{type(error).__name__}: {error}"
        yield CaseResult(row["id"], "failed" if reason else "passed", reason)


class _NotUnderstood(Exception):
    """This harness or Fairway does not know the question."""


def _differs(got: Mapping[str, Any], want: Mapping[str, Any]) -> str:
    wrong = [f"{name}: wanted {want[name]!r}, got {got.get(name)!r}" for name in want if got.get(name) != want[name]]
    return "; ".join(wrong)


# --- replicas -----------------------------------------------------------------------------------------------------


def _set(at: Row | None) -> ReplicaSet | None:
    if at is None:
        return None
    deadline = (at.get("annotations") or {}).get("scale-down-deadline")
    return ReplicaSet(name=at.get("name", ""), hash=at.get("hash", ""), replicas=at.get("replicas") or 0,
                      created=at.get("created") or 0, ready=at.get("ready") or 0, available=at.get("available") or 0,
                      has_deadline=bool(deadline))


def _canary_of(row: Row) -> tuple[RolloutSpec, Canary, Status]:
    rollout = row["input"]["rollout"]
    spec = decode_rollout(rollout)
    if spec.canary is None and spec.blue_green is None:
        raise _NotUnderstood("no strategy")
    return spec, spec.canary or Canary(), read_status(rollout)


def _replicas(row: Row) -> str:
    answer = _REPLICAS.get(row["op"])
    if answer is None:
        raise _NotUnderstood(f"no answer to {row['op']}")
    return _differs(answer(row), row["want"])


def _counts(counts: Counts) -> Row:
    return {"canary": counts.canary, "stable": counts.stable}


def _basic(row: Row) -> Row:
    given, (spec, canary, status) = row["input"], _canary_of(row)
    older = [rs for rs in map(_set, given.get("older_rss") or ()) if rs]
    return _counts(basic_counts(spec, canary, status, _set(given["canary_rs"]), _set(given["stable_rs"]), older))


def _routed(row: Row) -> Row:
    given, (spec, canary, status) = row["input"], _canary_of(row)
    return _counts(routed_counts(spec, canary, status, read_weights(given["weights"]), _set(given["stable_rs"])))


def _at_counts(row: Row) -> Row:
    given, (spec, canary, status) = row["input"], _canary_of(row)
    older = [rs for rs in map(_set, given.get("older_rss") or ()) if rs]
    return {"value": at_desired_counts(spec, canary, status, _set(given["canary_rs"]), _set(given["stable_rs"]), older,
                                       read_weights(given.get("weights")))}


def _new_replicas(row: Row) -> Row:
    given = row["input"]
    spec = decode_rollout(given["rollout"])
    status, new = read_status(given["rollout"]), _set(given["new_rs"])
    every = [rs for rs in map(_set, given.get("all_rss") or ()) if rs]
    if spec.blue_green is not None:
        active = next((rs for rs in every if rs.hash and rs.hash == status.blue_green.active), None)
        return {"value": new_replicas(spec, spec.blue_green, status, new, active), "error": False, "1": None}
    if spec.canary is None:
        return {"error": True}
    stable = next((rs for rs in every if rs.hash == status.stable_hash), None)
    others = [rs for rs in every if rs.hash not in (status.stable_hash, new.hash if new else "")]
    counts = desired_counts(spec, spec.canary, status, new, stable, others, read_weights(given.get("weights")))
    return {"value": counts.canary, "error": False, "1": None}


def _step(row: Row) -> Row:
    _, canary, status = _canary_of(row)
    step = current_step(canary, status)
    return {"step": None if step is None else str(step), "index": step_index(canary, status)}


def _wanted_weight(row: Row) -> Row:
    spec, canary, _ = _canary_of(row)
    stable = _set(row["input"]["stable_rs"])
    return {"value": step_below(spec, canary, stable) if stable else 0}


_REPLICAS: dict[str, Callable[[Row], Row]] = {
    "approximate": lambda row: _counts(approximate(row["input"]["replicas"], row["input"]["weight"],
                                                   row["input"]["max_weight"], row["input"]["max_surge"])),
    "basic-canary": _basic,
    "traffic-canary": _routed,
    "at-desired-counts": _at_counts,
    "new-rs-replicas": _new_replicas,
    "weight-to-replicas": lambda row: {"value": weight_to_replicas(row["input"]["replicas"], row["input"]["weight"],
                                                                   row["input"]["max_weight"])},
    "before-starting-step": lambda row: {"value": before_starting_step(*_canary_of(row)[1:])},
    "current-step": _step,
    "current-set-weight": lambda row: {"value": weight_asked(*_canary_of(row)[1:])},
    "desired-canary-weight": _wanted_weight,
    "max-surge": lambda row: {"value": max_surge(*_canary_of(row)[:2])},
    "max-unavailable": lambda row: {"value": max_unavailable(*_canary_of(row)[:2])},
    "reset-step-index": lambda row: {"value": first_index(_canary_of(row)[1])},
    "has-scale-down-deadline": lambda row: {"value": bool((rs := _set(row["input"]["rs"])) and rs.has_deadline)},
    "rs-available": lambda row: {"value": fully_available(_set(row["input"]["rs"]))},
    "rs-partially-available": lambda row: {"value": partly_available(_set(row["input"]["rs"]))},
    "ready-for-pause": lambda row: {"value": fully_available(_set(row["input"]["new_rs"]))},
    "rs-active": lambda row: {"value": bool((rs := _set(row["input"]["rs"])) and rs.replicas > 0)},
}  # fmt: skip


# --- analysis -----------------------------------------------------------------------------------------------------


def _analysis(row: Row) -> str:
    answer = _ANALYSIS.get(row["op"])
    if answer is None:
        raise _NotUnderstood(f"no answer to {row['op']}")
    return _differs(answer(row), row["want"])


def _metrics(rows: Iterable[Row]) -> list[Metric]:
    return [decode_metric(row) for row in rows]


def _run_tallies(row: Row) -> tuple[Any, datetime | None, bool]:
    run = row["input"]["run"]
    status = run.get("status") or {}
    tallies, started = read_tallies(status), status.get("startedAt")
    ends = is_terminating(tallies, asked=decode_run(run).terminate)
    return tallies, parse_time(started) if started else None, ends


def _tasks(row: Row) -> Row:
    tallies, started, ends = _run_tallies(row)
    found = due(_metrics(row["input"]["metrics"]), tallies, started, parse_time(row["now"]), terminating=ends)
    want = row["want"].get("tasks")
    return {"count": len(found), "tasks": want if want and len(want) == len(found) else [t.metric.name for t in found]}


def _next(row: Row) -> Row:
    tallies, started, _ = _run_tallies(row)
    at = next_look(_metrics(row["input"]["metrics"]), tallies, started, parse_time(row["now"]))
    return {"at": rfc3339(at) if at else None}


def _status(row: Row) -> Row:
    given = row["input"]
    tallies, _, _ = _run_tallies(row)
    dry = {name: 0 for name, is_dry in (given.get("dry_run") or {}).items() if is_dry}
    found = assess_run(_metrics(given["metrics"]), tallies, dry, asked_to_end=decode_run(given["run"]).terminate)
    return {"phase": found.phase, "message": found.message}


def _metric_status(row: Row) -> Row:
    """"#0" stands for the answer to `metric-failure` about the same metric."""
    metric, tally = decode_metric(row["input"]["metric"]), read_tally(row["input"]["result"])
    phase = assess_metric(metric, tally, terminating=row["input"]["terminating"])
    return {"phase": "#0" if row["want"].get("phase") == "#0" and phase == limit_exceeded(metric, tally)[0] else phase}


def _outcome(row: Row) -> Row:
    found = judge(decode_metric(row["input"]["metric"]), _value(row["input"]["result"]))
    parts = row["want"].get("error_has")
    said = parts if parts and all(part in found.message for part in parts) else [found.message]
    return {"phase": found.phase, "error": found.phase == "Error", "error_has": said}


def _holds(row: Row) -> Row:
    try:
        return {"value": condition_holds(row["input"]["condition"], _value(row["input"]["result"])), "error": False}
    except ExprError as error:
        return {"value": False, "error": True, "error_is": row["want"].get("error_is"), "message": error.message}


def _rules(kind: str, key: str) -> Callable[[Row], Row]:
    def answer(row: Row) -> Row:
        found, mistake = matched([rule["metricName"] for rule in row["input"][key]], _metrics(row["input"]["metrics"]), kind)
        return {"count": len(found), "error": bool(mistake), "error_is": [mistake]}

    return answer


def _merged(row: Row) -> Row:
    try:
        found = merge_args(row["input"]["incoming"] or (), row["input"]["template"] or ())
    except ArgError as error:
        return {"error": True, "error_is": [str(error)], "args": None, "count": 0}
    return {"error": False, "args": found or None, "count": len(found)}


def _flattened(row: Row) -> Row:
    given = row["input"]
    known = {TemplateRef(t.get("metadata", {}).get("name") or str(i), cluster): t
             for cluster, key in ((False, "templates"), (True, "cluster_templates"))
             for i, t in enumerate(given.get(key) or ())}
    try:
        flat = flatten(gather_templates(known, known))
    except (TemplateError, ArgError) as error:
        return {"error": True, "error_is": [str(error)], "count": 0}
    return {"error": False, "count": len(flat["metrics"]) or len(flat["args"])}


def _valid_metrics(row: Row) -> Row:
    try:
        mistake = metrics_error(_metrics(row["input"]["metrics"]))
    except SpecError as error:
        mistake = str(error)
    return {"error": bool(mistake), "error_is": [mistake]}


def _resolved(row: Row) -> Row:
    try:
        substitute(row["input"]["metrics"], {arg["name"]: arg["value"] for arg in row["input"]["args"] if "value" in arg})
    except ArgError as error:
        return {"error": True, "error_is": [str(error)]}
    return {"error": False}


_ANALYSIS: dict[str, Callable[[Row], Row]] = {
    "metric-tasks": _tasks,
    "next-reconcile": _next,
    "run-status": _status,
    "metric-status": _metric_status,
    "metric-failure": lambda row: dict(zip(("phase", "message"), limit_exceeded(
        decode_metric(row["input"]["metric"]), read_tally(row["input"]["result"])), strict=True)),
    "evaluate-result": _outcome,
    "eval-condition": _holds,
    "is-worse": lambda row: {"value": is_worse(row["input"]["a"], row["input"]["b"])},
    "worst": lambda row: {"phase": worst(row["input"]["a"], row["input"]["b"])},
    "is-terminating": lambda row: {"value": _run_tallies(row)[2]},
    "metric-completed": lambda row: {"value": any(t.name == row["input"]["metric"] and t.phase in COMPLETED
                                                  for t in _run_tallies(row)[0])},
    "dry-run-metrics": _rules("dryRun", "dry_run"),
    "retention-metrics": _rules("measurementRetention", "retention"),
    "merge-args": _merged,
    "flatten-templates": _flattened,
    "validate-metrics": _valid_metrics,
    "resolve-metric-args": _resolved,
    "as-float": lambda row: {"value": as_float(row["input"]["value"])},
    "is-inf": lambda row: {"value": condition_holds("isInf(result)",
                                                    _FLOATS.get(row["input"]["value"], row["input"]["value"]))},
    "is-nil": lambda row: {"value": condition_holds("isNil(result)", row["input"]["value"])},
    "set-equal": lambda row: {"value": set(row["input"]["a"]) == set(row["input"]["b"])},
}  # fmt: skip


# --- conditions ---------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _environments(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(path.read_text())
    return found


def _conditions(folder: Path, name: str) -> Iterator[CaseResult]:
    envs = _environments(folder / "envs.json")

    def judged(row: Row) -> str:
        try:
            if name == "argo":
                got: Any = condition_holds(row["expression"], _value(row["metric_result"]))
            else:
                env = envs[row["env"]]
                got = compile_expression(row["expression"], frozenset(env)).run(env)
        except ExprError as error:
            return "" if "error" in row else f"{row['expression']}: {error}"
        if "error" in row:
            return f"{row['expression']}: gave {got!r}, wanted the error {row['error'].get('message', '')}"
        return "" if _same(got, row["result"]) else f"{row['expression']}: gave {got!r}, wanted {row['result']!r}"

    yield from _cases(folder / f"{name}.jsonl", judged)


def _value(found: Any) -> Any:
    """A value as a metric provider returns it."""
    if not isinstance(found, dict) or "$type" not in found:
        return found
    kind, value = found["$type"].lstrip("*"), found["value"]
    if value is None:
        return None
    if kind == "[]float64":
        return Floats(_FLOATS[x] if isinstance(x, str) else float(x) for x in value)
    return _FLOATS[value] if isinstance(value, str) and value in _FLOATS else float(value) if kind == "float64" else value


def _same(got: Any, want: Any) -> bool:
    if isinstance(want, dict) and want.keys() == {"$float"}:
        wanted = _FLOATS[want["$float"]]
        return isinstance(got, float) and (got == wanted or (math.isnan(got) and math.isnan(wanted)))
    if isinstance(want, dict) and want.keys() == {"$duration"}:
        return isinstance(got, timedelta) and duration_text(got) == want["$duration"]
    if isinstance(want, dict) and want.keys() == {"$time"}:
        return isinstance(got, datetime) and got == parse_time(want["$time"])
    got = list(got) if isinstance(got, bytes) else got
    if isinstance(want, list):
        return isinstance(got, list) and len(got) == len(want) and all(map(_same, got, want))
    if isinstance(want, dict):
        return isinstance(got, dict) and {printed(k) for k in got} == set(want) and all(
            _same(v, want[printed(k)]) for k, v in got.items())
    return type(got) is type(want) and bool(got == want)


# --- validation ---------------------------------------------------------------------------------------------------


def _errors(row: Row) -> list[FieldError]:
    """Fairway's mistakes for the question, in order."""
    op, given = row["op"], row.get("input") or {}
    if op == "lint":
        return [error for _, error in lint([obj for obj in yaml.safe_load_all(row["text"]) if obj])]
    answer = _VALIDATION.get(op)
    if answer is None:
        raise _NotUnderstood(f"no answer to {op}")
    try:
        return list(answer(given))
    except SpecError as error:
        return [error.error]


def _spec(given: Row) -> RolloutSpec:
    return decode_rollout(given["rollout"])


def _canary_spec(given: Row) -> Canary:
    found = _spec(given).canary
    if found is None:
        raise _NotUnderstood("not a canary strategy")
    return found


def _step_of(given: Row) -> Iterable[FieldError]:
    rollout = {"spec": {"strategy": {"canary": {"steps": [given["arg0"]]}}}}
    return kind_errors(decode_rollout(rollout).canary.steps[0], given.get("path") or "")  # type: ignore[union-attr]


_ROLES = {"ActiveService": "blueGreen.activeService", "PreviewService": "blueGreen.previewService",
          "CanaryService": "canary.canaryService", "StableService": "canary.stableService",
          "PingService": "canary.pingPong.pingService", "PongService": "canary.pingPong.pongService"}


def _service(service: Row, rollout: Row) -> Iterable[FieldError]:
    """`service`: the object and the role in which the Rollout names it."""
    spec, obj = decode_rollout(rollout), service["service"]
    role = _ROLES.get(service.get("type", ""))
    if role is None:
        return []
    known = {at: metadata for at, name, metadata in service_roles(spec) if name == obj["metadata"]["name"]}
    at = f"spec.strategy.{role}"
    return service_errors(obj, at, known.get(at), spec.template or {}, rollout.get("metadata", {}).get("name", ""))


def _templates(asked: Row, rollout: Row) -> Iterable[FieldError]:
    kind = asked.get("templateType")
    at = {"PrePromotionAnalysis": "blueGreen.prePromotionAnalysis", "PostPromotionAnalysis": "blueGreen.postPromotionAnalysis",
          "InlineAnalysis": f"canary.steps[{asked.get('canaryStepIndex', 0)}].analysis",
          "BackgroundAnalysis": "canary.analysis"}.get(str(kind))
    if at is None:
        return []
    steps = (rollout["spec"]["strategy"].get("canary") or {}).get("steps") or ()
    own = next((step["analysis"] for step in steps if "analysis" in step), {})
    ask = AnalysisAsk(args=tuple(asked.get("args") or ()), dry_run=tuple(own.get("dryRun") or ()),
                      measurement_retention=tuple(own.get("measurementRetention") or ()))
    templates = [*(asked.get("analysisTemplates") or ()), *(asked.get("clusterAnalysisTemplates") or ())]
    return template_errors(f"spec.strategy.{at}.templates", templates, ask, dict(rollout),
                           endless=kind == "BackgroundAnalysis")


def _plain(ingress: Row) -> dict[str, Any]:
    """The cases hold Ingresses as Go prints them: rules one level deeper, backends in the older words."""
    rules = []
    for rule in ingress.get("spec", {}).get("rules") or ():
        paths = []
        for path in ((rule.get("ingressRuleValue") or rule).get("http") or {}).get("paths") or ():
            backend = path.get("backend") or {}
            name = backend.get("serviceName") or (backend.get("service") or {}).get("name")
            paths.append({**path, "backend": {"service": {"name": name}}})
        rules.append({"http": {"paths": paths}})
    return {**ingress, "spec": {"rules": rules}}


def _virtual(given: Row, obj: Row) -> Iterator[FieldError]:
    canary = _canary_spec(given)
    istio = canary.traffic.istio if canary.traffic else None
    if istio is None:
        yield FieldError("spec.strategy.canary.trafficRouting.istio",
                         "Rollout object is not configured with Istio traffic routing")
        return
    for ref in istio.services:
        if ref.key("")[1] == obj["metadata"]["name"]:
            services = (canary.stable_service, canary.canary_service)
            yield from virtual_service_mistakes(canary, istio, ref, dict(obj), services)
            return


def _resources(given: Row) -> Iterator[FieldError]:
    found, rollout = given.get("resources") or {}, given["rollout"]
    for service in found.get("serviceWithType") or ():
        yield from _service(service, rollout)
    for asked in found.get("analysisTemplatesWithType") or ():
        yield from _templates(asked, rollout)
    for ingress in found.get("ingresses") or ():
        yield from ingress_errors(_canary_spec(given), _plain(ingress))
    for virtual in found.get("virtualServices") or ():
        yield from _virtual(given, virtual)
    for mapping in found.get("ambassadorMappings") or ():
        yield from mapping_errors(mapping)
    for router in found.get("appMeshResources") or ():
        yield from app_mesh_errors(router)


def _metrics_resolve(given: Row) -> list[FieldError]:
    try:
        resolved_metrics(given["arg0"], given["arg1"])
    except ArgError as error:
        return [FieldError("", str(error))]
    return []


def _named(given: Row) -> Iterable[FieldError]:
    spec = _spec(given)
    traffic = spec.canary.traffic if spec.canary else None
    return named_objects_errors(traffic) if traffic else []


_VALIDATION: dict[str, Callable[[Row], Iterable[FieldError]]] = {
    "validate-rollout": lambda given: spec_errors(_spec(given)),
    "validate-rollout-spec": lambda given: spec_errors(_spec(given)),
    "validate-rollout-strategy": lambda given: strategy_errors(_spec(given), given.get("path") or ""),
    "validate-rollout-strategy-canary": lambda given: canary_errors(_canary_spec(given), given.get("path") or ""),
    "validate-rollout-strategy-blue-green": lambda given: blue_green_errors(
        _spec(given).blue_green, _spec(given).revision_history_limit, given.get("path") or ""),  # type: ignore[arg-type]
    "validate-rollout-strategy-anti-affinity": lambda given: anti_affinity_errors(given["arg0"], given.get("path") or ""),
    "invalid-max-surge-max-unavailable": lambda given: surge_errors(_canary_spec(given), ""),
    "has-multiple-steps-type": _step_of,
    "validate-rollout-referenced-resources": _resources,
    "validate-analysis-templates-with-type": lambda given: _templates(given["arg1"], given["rollout"]),
    "validate-ingress": lambda given: ingress_errors(_canary_spec(given), _plain(given["arg1"])),
    "validate-rollout-nginx-ingresses-config": _named,
    "validate-rollout-alb-ingresses-config": _named,
    "validate-rollout-virtual-services-config": _named,
    "validate-service": lambda given: _service(given["arg0"], given["rollout"]),
    "validate-virtual-service": lambda given: _virtual(given, given["arg1"]),
    "validate-ambassador-mapping": lambda given: mapping_errors(given["arg0"]),
    "validate-app-mesh-resource": lambda given: app_mesh_errors(given["arg0"]),
    "validate-app-mesh-virtual-router": lambda given: app_mesh_errors(given["arg0"]),
    "validate-analysis-metrics": _metrics_resolve,
}


def _valid(want: Row) -> bool:
    if "valid" in want:
        return bool(want["valid"])
    return not (want.get("errors") or want.get("stderr") or want.get("value"))


def _verdict(row: Row) -> str:
    found = _errors(row)
    if _valid(row["want"]) == (not found):
        return ""
    return f"wanted {'no error' if _valid(row['want']) else 'an error'}, got {[str(e) for e in found]}"


def _wording(row: Row) -> str:
    found, want = _errors(row), row["want"]
    if "count" in want and want["count"] != len(found):
        return f"wanted {want['count']} errors, got {[str(e) for e in found]}"
    for expected in want.get("errors") or ():
        if expected["index"] >= len(found):
            return f"no error {expected['index']}: {[str(e) for e in found]}"
        error = found[expected["index"]]
        for key, got in (("detail", error.detail), ("field", error.path), ("text", str(error))):
            if key == "text" and "field" in expected:
                got = error.value  # upstream's name for the value that is wrong
            if key in expected and expected[key] != got:
                return f"{key}: wanted {expected[key]!r}, got {got!r}"
    return _verdict(row)
