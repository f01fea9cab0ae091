"""What a Rollout's spec must satisfy, in upstream's words and order. The controller reports the first mistake.

Upstream leaves the strategy's name out of most paths ("spec.strategy.maxSurge"); so does this.
Source: argo-rollouts `pkg/apis/rollouts/validation/validation.go`.
"""

from __future__ import annotations

from collections.abc import Iterator

from fairway.kube.objects import Obj, dig
from fairway.kube.selectors import from_label_selector
from fairway.rollouts.anti_affinity import anti_affinity_errors
from fairway.rollouts.fields import FieldError
from fairway.rollouts.remembered import by_identity
from fairway.rollouts.spec import BlueGreen, RolloutSpec
from fairway.rollouts.validate_canary import canary_errors

SAME_SERVICE = ("This rollout uses the same service for the active and preview services, but two different services are "
                "required.")
DELAYED_BEYOND_HISTORY = "This rollout's revision history limit can not be smaller than the rollout's scale down limit"


_FILLED = (("metadata", "labels"), ("metadata", "annotations"), ("spec", "containers"))
"""A template with any of these is not empty."""


@by_identity
def spec_errors(spec: RolloutSpec) -> tuple[FieldError, ...]:
    return tuple(_spec(spec))


def _spec(spec: RolloutSpec) -> Iterator[FieldError]:
    yield from _not_negative("spec.replicas", spec.replicas)
    if spec.workload_ref is None:
        yield from _selector(spec.selector)
        yield from _template(spec)
    elif any(dig(spec.template or {}, *path) for path in _FILLED):
        yield FieldError("spec.template", "template must be empty for workload reference rollout", None, "Internal error")
    yield from _not_negative("spec.minReadySeconds", spec.min_ready_seconds)
    yield from _not_negative("spec.revisionHistoryLimit", spec.revision_history_limit)
    yield from _not_negative("spec.progressDeadlineSeconds", spec.progress_deadline_s)
    if spec.progress_deadline_s <= spec.min_ready_seconds:
        yield FieldError("spec.progressDeadlineSeconds", "must be greater than minReadySeconds", spec.progress_deadline_s)
    yield from strategy_errors(spec)


def strategy_errors(spec: RolloutSpec, at: str = "spec.strategy") -> Iterator[FieldError]:
    if spec.canary is None and spec.blue_green is None:
        missing = "Rollout has missing field '.spec.strategy.canary or .spec.strategy.blueGreen'"
        yield FieldError(f"{at}.strategy", missing, None, "Required value")
    elif spec.canary is not None and spec.blue_green is not None:
        yield FieldError(f"{at}.strategy", "Multiple Strategies can not be listed", "blueGreen: true canary: true")
    elif spec.blue_green is not None:
        yield from blue_green_errors(spec.blue_green, spec.revision_history_limit, at)
    elif spec.canary is not None:
        yield from canary_errors(spec.canary, at)


def blue_green_errors(blue_green: BlueGreen, revision_history_limit: int, at: str) -> Iterator[FieldError]:
    if blue_green.active_service == blue_green.preview_service:
        yield FieldError(f"{at}.activeService", SAME_SERVICE, blue_green.active_service)
    limit = blue_green.scale_down_delay_revision_limit
    if limit is not None and revision_history_limit < limit:
        yield FieldError(f"{at}.scaleDownDelayRevisionLimit", DELAYED_BEYOND_HISTORY, limit)
    yield from anti_affinity_errors(blue_green.anti_affinity, f"{at}.antiAffinity")


def _selector(selector: Obj | None) -> Iterator[FieldError]:
    if selector is None:
        yield FieldError("spec.selector", "Rollout has missing field '.spec.selector'", None, "Required value")
    elif not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield FieldError("spec.selector", "empty selector is invalid for deployment", selector)


def _template(spec: RolloutSpec) -> Iterator[FieldError]:
    template, selector = spec.template or {}, spec.selector
    labels = dig(template, "metadata", "labels", default={})
    if selector and not from_label_selector(selector).matches(labels):
        yield FieldError("spec.template.metadata.labels", "`selector` does not match template `labels`", labels)
    containers = dig(template, "spec", "containers", default=[])
    if not containers:
        yield FieldError("spec.template.spec.containers", "", None, "Required value")
    for i, container in enumerate(containers):
        for name in ("name", "image"):
            if not container.get(name):
                yield FieldError(f"spec.template.spec.containers[{i}].{name}", "", None, "Required value")
    restart = dig(template, "spec", "restartPolicy", default="Always")
    if restart != "Always":
        yield FieldError("spec.template.spec.restartPolicy", 'supported values: "Always"', restart)


def _not_negative(path: str, value: int) -> Iterator[FieldError]:
    if value < 0:
        yield FieldError(path, "must be greater than or equal to 0", value)
