"""Annotations that decide when an object takes part in a sync: hooks, delete policies, waves; Argo CD's own and Helm's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from fairway.kube.objects import Obj, annotations_of, group_of

Phase = Literal["PreSync", "Sync", "PostSync", "SyncFail"]
PHASES: tuple[Phase, ...] = ("PreSync", "Sync", "PostSync", "SyncFail")

HOOK = "argocd.argoproj.io/hook"
HOOK_DELETE_POLICY = "argocd.argoproj.io/hook-delete-policy"
SYNC_WAVE = "argocd.argoproj.io/sync-wave"
SYNC_OPTIONS = "argocd.argoproj.io/sync-options"
COMPARE_OPTIONS = "argocd.argoproj.io/compare-options"
HELM_HOOK, HELM_POLICY, HELM_WEIGHT = "helm.sh/hook", "helm.sh/hook-delete-policy", "helm.sh/hook-weight"

_TYPES = frozenset((*PHASES, "Skip", "PreDelete", "PostDelete"))
_POLICIES = frozenset(("HookSucceeded", "HookFailed", "BeforeHookCreation"))
_FROM_HELM = {
    "pre-install": "PreSync", "pre-upgrade": "PreSync", "post-install": "PostSync", "post-upgrade": "PostSync",
    "pre-delete": "PreDelete", "post-delete": "PostDelete",
}  # fmt: skip
_HELM_TYPES = frozenset((*_FROM_HELM, "crd-install", "pre-rollback", "post-rollback", "test-success", "test-failure"))
_HELM_POLICIES = {
    "hook-succeeded": "HookSucceeded", "hook-failed": "HookFailed", "before-hook-creation": "BeforeHookCreation",
}  # fmt: skip


def words(text: str) -> list[str]:
    """A comma list, in order, without blanks and repetitions."""
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def is_helm_hook(obj: Obj) -> bool:
    hooks = annotations_of(obj).get(HELM_HOOK)
    return hooks is not None and hooks != "" and "crd-install" not in words(hooks)


def helm_types(obj: Obj) -> list[str]:
    return [word for word in words(annotations_of(obj).get(HELM_HOOK, "")) if word in _HELM_TYPES]


def helm_delete_policies(obj: Obj) -> list[str]:
    return [word for word in words(annotations_of(obj).get(HELM_POLICY, "")) if word in _HELM_POLICIES]


def helm_weight(obj: Obj) -> int:
    return _number(annotations_of(obj).get(HELM_WEIGHT, ""))


def hook_types(obj: Obj) -> list[str]:
    """Argo's annotation; where it is absent, what Helm's means."""
    annotations = annotations_of(obj)
    if HOOK in annotations:
        return [word for word in words(annotations[HOOK]) if word in _TYPES]
    return list(dict.fromkeys(_FROM_HELM[word] for word in helm_types(obj) if word in _FROM_HELM))


def is_hook(obj: Obj) -> bool:
    """Also with a value that is no hook type: such an object is never applied. `Skip` alone makes no hook."""
    annotations = annotations_of(obj)
    if HOOK in annotations:
        return not is_skipped(obj)
    return is_helm_hook(obj)


def is_skipped(obj: Obj) -> bool:
    return "Skip" in hook_types(obj) and len(hook_types(obj)) == 1


def phases_of(obj: Obj) -> list[Phase]:
    """The phases in which an object is applied."""
    if is_skipped(obj):
        return []
    if not is_hook(obj):
        return ["Sync"]
    kinds = hook_types(obj)
    return [phase for phase in PHASES if phase in kinds]


def delete_policies(obj: Obj) -> list[str]:
    """HookSucceeded, HookFailed, BeforeHookCreation; the last where nothing else is said."""
    found = [word for word in words(annotations_of(obj).get(HOOK_DELETE_POLICY, "")) if word in _POLICIES]
    found += [_HELM_POLICIES[word] for word in helm_delete_policies(obj)]
    return list(dict.fromkeys(found)) or ["BeforeHookCreation"]


def wave_of(obj: Obj | None) -> int:
    if obj is None:
        return 0
    text = annotations_of(obj).get(SYNC_WAVE)
    return _number(text) if text is not None and _is_number(text) else helm_weight(obj)


def _is_number(text: str) -> bool:
    return text.strip().lstrip("+-").isdigit()


def _number(text: str) -> int:
    return int(text) if _is_number(text) else 0


def options_of(obj: Mapping[str, Any] | None, annotation: str = SYNC_OPTIONS) -> list[str]:
    return words(annotations_of(obj).get(annotation, "")) if obj is not None else []


def compares_by_hand(app_options: Iterable[str], target: Mapping[str, Any]) -> bool:
    """`ServerSideDiff=false`: without asking the API. The object's own word counts before the Application's."""
    return option_value("ServerSideDiff", options_of(target, COMPARE_OPTIONS), app_options) == "false"


def has_option(option: str, *sources: Iterable[str]) -> bool:
    return any(option in source for source in sources)


def option_value(name: str, *sources: Iterable[str]) -> str:
    """The value of `name=value` in the first of these lists that has one; "" where none has."""
    for source in sources:
        found = [option.partition("=")[2] for option in source if option.partition("=")[0] == name]
        if found:
            return found[-1]
    return ""


def is_crd(obj: Obj) -> bool:
    return obj.get("kind") == "CustomResourceDefinition" and group_of(str(obj.get("apiVersion"))) == "apiextensions.k8s.io"
