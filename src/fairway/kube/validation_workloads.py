"""What the API refuses in the kinds that make pods, and in those that scale and protect them. Pure.

Source: kubernetes `pkg/apis/{apps,batch,autoscaling,policy}/validation`; rules and message texts only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fairway.kube.objects import Obj, dig
from fairway.kube.quantity import parse_quantity
from fairway.kube.refusals import FieldError, forbidden, invalid_value, required, unsupported
from fairway.kube.schedules import schedule_mistake, time_zone_mistake
from fairway.kube.selectors import from_label_selector
from fairway.kube.validation_pods import pod_spec
from fairway.kube.validation_shapes import (
    at_most_everything,
    count_or_percent,
    is_none,
    labels,
    not_negative,
    one_of,
    path_segment,
    selector,
)

Errors = Iterator[FieldError]

_LONGEST_CRON_JOB = 52  # its Jobs add eleven characters, and their pods' names must fit a label
_MOST_INDEXED = 100_000
_LONGEST_WINDOW_S, _LONGEST_PERIOD_S = 3600, 1800


def _template(spec: Mapping[str, Any], policies: Sequence[str], kind: str) -> Errors:
    """Selector, then template: pods made from it must be those that the selector selects."""
    chosen = spec.get("selector")
    if not chosen:
        yield required("spec.selector")
    else:
        yield from selector("spec.selector", chosen)
    wanted = (chosen or {}).get("matchLabels") or {}
    if chosen and not wanted and not chosen.get("matchExpressions"):
        yield invalid_value("spec.selector", chosen, f"empty selector is invalid for {kind}")
    template = spec.get("template") or {}
    found = dig(template, "metadata", "labels", default={})
    if chosen is None or not _matches(chosen, found):
        yield invalid_value("spec.template.metadata.labels", found, "`selector` does not match template `labels`")
    yield from _pod_template(template, "spec.template")
    policy = dig(template, "spec", "restartPolicy")
    if policy in ("Always", "OnFailure", "Never") and policy not in policies:
        yield unsupported("spec.template.spec.restartPolicy", policy, policies)
    if dig(template, "spec", "activeDeadlineSeconds") is not None:
        yield forbidden("spec.template.spec.activeDeadlineSeconds", f"activeDeadlineSeconds in {_NAMES[kind]} is not Supported")


_NAMES = {"deployment": "ReplicaSet", "statefulset": "StatefulSet", "daemonset": "DaemonSet"}


def _matches(chosen: Mapping[str, Any], found: Mapping[str, str]) -> bool:
    known = ("In", "NotIn", "Exists", "DoesNotExist")
    if any(row.get("operator") not in known or not row.get("key") for row in chosen.get("matchExpressions") or ()):
        return True  # said of the selector already
    return from_label_selector(chosen).matches(found)


def _pod_template(template: Mapping[str, Any], path: str) -> Errors:
    yield from labels(f"{path}.metadata.labels", dig(template, "metadata", "labels", default={}))
    yield from pod_spec(template.get("spec") or {}, f"{path}.spec")


def deployment(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    yield from not_negative("spec.replicas", spec.get("replicas"))
    yield from _template(spec, ("Always",), "deployment")
    strategy = spec.get("strategy") or {}
    yield from one_of("spec.strategy.type", strategy.get("type"), ("Recreate", "RollingUpdate"))
    rolling = strategy.get("rollingUpdate")
    if strategy.get("type") == "Recreate" and rolling is not None:
        yield forbidden("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")
    elif rolling is not None:
        yield from _rolling(rolling)
    for name in ("minReadySeconds", "revisionHistoryLimit"):
        yield from not_negative(f"spec.{name}", spec.get(name))
    deadline, ready = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds") or 0
    if isinstance(deadline, int):
        yield from not_negative("spec.progressDeadlineSeconds", deadline)
        if deadline <= ready:
            yield invalid_value("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")


def _rolling(rolling: Mapping[str, Any]) -> Errors:
    path = "spec.strategy.rollingUpdate"
    for name in ("maxUnavailable", "maxSurge"):
        yield from count_or_percent(f"{path}.{name}", rolling.get(name))
    if is_none(rolling.get("maxUnavailable")) and is_none(rolling.get("maxSurge")):
        yield invalid_value(f"{path}.maxUnavailable", rolling["maxUnavailable"], "may not be 0 when `maxSurge` is 0")
    yield from at_most_everything(f"{path}.maxUnavailable", rolling.get("maxUnavailable"))


def replica_set(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    yield from not_negative("spec.replicas", spec.get("replicas"))
    yield from not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    yield from _template(spec, ("Always",), "deployment")


def replication_controller(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    yield from not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    chosen, template = spec.get("selector") or {}, spec.get("template")
    yield from labels("spec.selector", chosen)
    if not chosen:
        yield required("spec.selector")
    yield from not_negative("spec.replicas", spec.get("replicas"))
    if template is None:
        yield required("spec.template")
        return
    found = dig(template, "metadata", "labels", default={})
    if any(found.get(key) != value for key, value in chosen.items()):
        yield invalid_value("spec.template.metadata.labels", found, "`selector` does not match template `labels`")
    yield from _pod_template(template, "spec.template")


def stateful_set(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    if spec.get("podManagementPolicy") not in ("OrderedReady", "Parallel"):
        yield invalid_value("spec.podManagementPolicy", spec.get("podManagementPolicy"), "must be 'OrderedReady' or 'Parallel'")
    update = spec.get("updateStrategy") or {}
    rolling = update.get("rollingUpdate")
    if update.get("type") == "OnDelete" and rolling is not None:
        yield invalid_value("spec.updateStrategy.rollingUpdate", rolling, "only allowed for updateStrategy 'RollingUpdate'")
    elif update.get("type") == "RollingUpdate":
        yield from not_negative("spec.updateStrategy.rollingUpdate.partition", (rolling or {}).get("partition"))
    elif update.get("type") != "OnDelete":
        yield invalid_value("spec.updateStrategy", update, "must be 'RollingUpdate' or 'OnDelete'")
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    for name in ("whenDeleted", "whenScaled"):
        if retention.get(name) not in (None, "Retain", "Delete"):
            yield unsupported(f"spec.persistentVolumeClaimRetentionPolicy.{name}", retention[name], ("Delete", "Retain"))
    for name in ("replicas", "minReadySeconds"):
        yield from not_negative(f"spec.{name}", spec.get(name))
    yield from not_negative("spec.ordinals.start", dig(spec, "ordinals", "start"))
    yield from _template(_with_claims(spec), ("Always",), "statefulset")


def _with_claims(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """Claims are volumes of the pods, too: containers may mount them."""
    claims = [{"name": name, "emptyDir": {}} for claim in spec.get("volumeClaimTemplates") or ()
              if (name := dig(claim, "metadata", "name"))]
    pods = dig(spec, "template", "spec", default={})
    taken = {volume.get("name") for volume in pods.get("volumes") or ()}
    volumes = [*(pods.get("volumes") or ()), *(claim for claim in claims if claim["name"] not in taken)]
    return {**spec, "template": {**(spec.get("template") or {}), "spec": {**pods, "volumes": volumes}}}


_STATEFUL_MAY_CHANGE = ("replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
                        "persistentVolumeClaimRetentionPolicy", "minReadySeconds")


def stateful_set_change(old: Obj, new: Obj) -> Errors:
    before, after = ({k: v for k, v in (obj.get("spec") or {}).items() if k not in _STATEFUL_MAY_CHANGE} for obj in (old, new))
    if before != after:
        words = ", ".join(f"'{name}'" for name in _STATEFUL_MAY_CHANGE[:-1])
        yield forbidden("spec", f"updates to statefulset spec for fields other than {words} and 'minReadySeconds' are "
                        "forbidden")


def daemon_set(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    yield from _template(spec, ("Always",), "daemonset")
    yield from not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    update = spec.get("updateStrategy") or {}
    rolling = update.get("rollingUpdate") or {}
    path = "spec.updateStrategy.rollingUpdate"
    if update.get("type") == "RollingUpdate":
        for name in ("maxUnavailable", "maxSurge"):
            yield from count_or_percent(f"{path}.{name}", rolling.get(name))
            yield from at_most_everything(f"{path}.{name}", rolling.get(name))
        given = (is_none(rolling.get("maxUnavailable")), is_none(rolling.get("maxSurge")))
        if all(given):
            yield required(f"{path}.maxUnavailable", "cannot be 0 when maxSurge is 0")
        elif not any(given):
            yield invalid_value(f"{path}.maxSurge", rolling.get("maxSurge"), "may not be set when maxUnavailable is non-zero")
    elif update.get("type") != "OnDelete":
        yield unsupported("spec.updateStrategy", update, ("RollingUpdate", "OnDelete"))
    yield from not_negative("spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))


def controller_revision(obj: Obj) -> Errors:
    if obj.get("data") is None:
        yield required("data", "data is mandatory")
    yield from not_negative("revision", obj.get("revision"))


# --- jobs -------------------------------------------------------------------------------------------------------------


def job(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    yield from _job_spec(spec, "spec")
    if spec.get("selector") is None:
        yield required("spec.selector")
        return
    yield from selector("spec.selector", spec["selector"])
    found = dig(spec, "template", "metadata", "labels", default={})
    if not _matches(spec["selector"], found):
        yield invalid_value("spec.template.metadata.labels", found, "`selector` does not match template `labels`")


def _job_spec(spec: Mapping[str, Any], path: str) -> Errors:
    for name in ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
                 "backoffLimitPerIndex"):
        yield from not_negative(f"{path}.{name}", spec.get(name))
    mode = spec.get("completionMode")
    if mode not in (None, "Indexed", "NonIndexed"):
        yield unsupported(f"{path}.completionMode", mode, ("NonIndexed", "Indexed"))
    if mode == "Indexed":
        if spec.get("completions") is None:
            yield required(f"{path}.completions", "when completion mode is Indexed")
        if int(spec.get("parallelism") or 0) > _MOST_INDEXED:
            yield invalid_value(f"{path}.parallelism", spec["parallelism"],
                                f"must be less than or equal to {_MOST_INDEXED} when completion mode is Indexed")
    else:
        for name in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(name) is not None:
                yield invalid_value(f"{path}.{name}", spec[name], "requires indexed completion mode")
    template = spec.get("template") or {}
    yield from _pod_template(template, f"{path}.template")
    policy = dig(template, "spec", "restartPolicy")
    if policy == "Always":
        yield required(f"{path}.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"')
    elif spec.get("podFailurePolicy") is not None and policy != "Never":
        yield invalid_value(f"{path}.template.spec.restartPolicy", policy,
                            'only "Never" is supported when podFailurePolicy is specified')


def cron_job(obj: Obj) -> Errors:
    spec, name = obj.get("spec") or {}, obj["metadata"]["name"]
    if len(name) > _LONGEST_CRON_JOB:
        yield invalid_value("metadata.name", name, f"must be no more than {_LONGEST_CRON_JOB} characters")
    schedule = spec.get("schedule") or ""
    if not schedule:
        yield required("spec.schedule")
    elif "TZ" in schedule:
        yield invalid_value("spec.schedule", schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead")
    elif mistake := schedule_mistake(schedule):
        yield invalid_value("spec.schedule", schedule, mistake)
    yield from not_negative("spec.startingDeadlineSeconds", spec.get("startingDeadlineSeconds"))
    if spec.get("timeZone") is not None and (mistake := time_zone_mistake(spec["timeZone"])):
        yield invalid_value("spec.timeZone", spec["timeZone"], mistake)
    yield from one_of("spec.concurrencyPolicy", spec.get("concurrencyPolicy"), ("Allow", "Forbid", "Replace"))
    template = dig(spec, "jobTemplate", "spec", default={})
    yield from _job_spec(template, "spec.jobTemplate.spec")
    if template.get("selector") is not None:
        yield invalid_value("spec.jobTemplate.spec.selector", template["selector"], "`selector` will be auto-generated")
    if template.get("manualSelector"):
        yield unsupported("spec.jobTemplate.spec.manualSelector", True, ("nil", "false"))
    for limit in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        yield from not_negative(f"spec.{limit}", spec.get(limit))


# --- autoscalers and budgets ------------------------------------------------------------------------------------------


def autoscaler(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    most, least = spec.get("maxReplicas") or 0, spec.get("minReplicas")
    if least is not None and least < 1:
        yield invalid_value("spec.minReplicas", least, "must be greater than or equal to 1")
    if most < 1:
        yield required("spec.maxReplicas", "must be set and greater than 0")
    if least is not None and most < least:
        yield invalid_value("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    yield from _scaled(spec.get("scaleTargetRef") or {}, "spec.scaleTargetRef")
    for place, metric in enumerate(spec.get("metrics") or ()):
        yield from _metric(metric, f"spec.metrics[{place}]")
    for name, rules in (spec.get("behavior") or {}).items():
        yield from _scaling_rules(rules or {}, f"spec.behavior.{name}")


def _scaled(target: Mapping[str, Any], path: str) -> Errors:
    for name in ("kind", "name"):
        if not target.get(name):
            yield required(f"{path}.{name}")
        else:
            yield from path_segment(f"{path}.{name}", target[name])
    version = target.get("apiVersion") or ""
    if "/" not in version and version != "v1":
        yield invalid_value(f"{path}.apiVersion", version, "apiVersion must specify API group")


_METRICS = {"ContainerResource": "containerResource", "External": "external", "Object": "object", "Pods": "pods",
            "Resource": "resource"}


def _metric(metric: Mapping[str, Any], path: str) -> Errors:
    kind = metric.get("type") or ""
    if not kind:
        yield required(f"{path}.type", "must specify a metric source type")
    if kind not in _METRICS:
        yield unsupported(f"{path}.type", kind, tuple(_METRICS))
    present = [field for field in ("object", "external", "pods", "resource", "containerResource") if field in metric]
    if present:
        yield from _metric_source(present[0], metric[present[0]] or {}, f"{path}.{present[0]}")
    expected = _METRICS.get(kind, kind[:1].lower() + kind[1:])
    if expected not in present:
        yield required(f"{path}.{expected}", "must populate information for the given metric source")
    if len(present) != 1:
        for field in present:
            if field != expected:
                yield forbidden(f"{path}.{field}", "must populate the given metric source only")


def _metric_source(kind: str, source: Mapping[str, Any], path: str) -> Errors:
    target = source.get("target") or {}
    if kind in ("resource", "containerResource"):
        if not source.get("name"):
            yield required(f"{path}.name", "must specify a resource name")
        if kind == "containerResource" and not source.get("container"):
            yield required(f"{path}.container", "must specify a container")
        yield from _metric_target(target, f"{path}.target")
        given = ("averageUtilization" in target, "averageValue" in target)
        if not any(given):
            yield required(f"{path}.target.averageUtilization", "must set either a target raw value or a target utilization")
        if all(given):
            yield forbidden(f"{path}.target.averageValue", "may not set both a target raw value and a target utilization")
        return
    if kind == "object":
        yield from _scaled(source.get("describedObject") or {}, f"{path}.describedObject")
    if not dig(source, "metric", "name"):
        yield required(f"{path}.metric.name", "must specify a metric name")
    yield from _metric_target(target, f"{path}.target")
    if kind == "pods" and "averageValue" not in target:
        yield required(f"{path}.target.averageValue", "must specify a positive target averageValue")
    elif kind != "pods" and "value" not in target and "averageValue" not in target:
        yield required(f"{path}.target.averageValue", "must set either a target value for metric or a per-pod target")


def _metric_target(target: Mapping[str, Any], path: str) -> Errors:
    kind = target.get("type") or ""
    if not kind:
        yield required(f"{path}.type", "must specify a metric target type")
    if kind not in ("Utilization", "Value", "AverageValue"):
        yield invalid_value(f"{path}.type", kind, "must be either Utilization, Value, or AverageValue")
    for name in ("value", "averageValue"):
        if target.get(name) is not None and parse_quantity(target[name]) <= 0:
            yield invalid_value(f"{path}.{name}", target[name], "must be positive")
    share = target.get("averageUtilization")
    if isinstance(share, int) and share < 1:
        yield invalid_value(f"{path}.averageUtilization", share, "must be greater than 0")


def _scaling_rules(rules: Mapping[str, Any], path: str) -> Errors:
    window = rules.get("stabilizationWindowSeconds")
    if isinstance(window, int) and window < 0:
        yield invalid_value(f"{path}.stabilizationWindowSeconds", window, "must be greater than or equal to zero")
    if isinstance(window, int) and window > _LONGEST_WINDOW_S:
        why = f"must be less than or equal to {_LONGEST_WINDOW_S}"
        yield invalid_value(f"{path}.stabilizationWindowSeconds", window, why)
    if rules.get("selectPolicy") not in (None, "Disabled", "Max", "Min"):
        yield unsupported(f"{path}.selectPolicy", rules["selectPolicy"], ("Disabled", "Max", "Min"))
    if "policies" in rules and not rules["policies"]:
        yield required(f"{path}.policies", "must specify at least one Policy")
    for place, policy in enumerate(rules.get("policies") or ()):
        here = f"{path}.policies[{place}]"
        if policy.get("type") not in ("Pods", "Percent"):
            yield unsupported(f"{here}.type", policy.get("type") or "", ("Percent", "Pods"))
        for name in ("value", "periodSeconds"):
            if int(policy.get(name) or 0) <= 0:
                yield invalid_value(f"{here}.{name}", policy.get(name) or 0, "must be greater than zero")
        if int(policy.get("periodSeconds") or 0) > _LONGEST_PERIOD_S:
            yield invalid_value(f"{here}.periodSeconds", policy["periodSeconds"],
                                f"must be less than or equal to {_LONGEST_PERIOD_S}")


def budget(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    if "minAvailable" in spec and "maxUnavailable" in spec:
        shown = {"MinAvailable": spec["minAvailable"], "Selector": spec.get("selector"),
                 "MaxUnavailable": spec["maxUnavailable"],
                 "UnhealthyPodEvictionPolicy": spec.get("unhealthyPodEvictionPolicy")}
        yield invalid_value("spec", shown, "minAvailable and maxUnavailable cannot be both set", ordered=True)
    for name in ("minAvailable", "maxUnavailable"):
        yield from count_or_percent(f"spec.{name}", spec.get(name))
        yield from at_most_everything(f"spec.{name}", spec.get(name))
    yield from selector("spec.selector", spec.get("selector"))
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy not in (None, "AlwaysAllow", "IfHealthyBudget"):
        yield unsupported("spec.unhealthyPodEvictionPolicy", policy, ("AlwaysAllow", "IfHealthyBudget"))
