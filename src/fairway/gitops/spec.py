"""An `Application` as its user wrote it, decoded to typed values; a mistake is named with its path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fairway.gitops.retry import RetryPolicy
from fairway.kube.durations import parse_duration
from fairway.kube.objects import Obj, dig, meta_of, spec_of

HERE = ("https://kubernetes.default.svc", "")
DEFAULT_HISTORY = 10


class InvalidSpec(ValueError):
    """The text names the field, what is wrong with it, and the mend."""


@dataclass(frozen=True, slots=True)
class Source:
    repo_url: str
    path: str = ""
    target_revision: str = "HEAD"

    def as_object(self) -> Obj:
        return {"repoURL": self.repo_url, "path": self.path, "targetRevision": self.target_revision}


@dataclass(frozen=True, slots=True)
class Automated:
    prune: bool = False
    self_heal: bool = False
    allow_empty: bool = False


@dataclass(frozen=True, slots=True)
class IgnoreRule:
    """`ignoreDifferences`: which fields of which objects are not ours to compare."""

    kind: str
    group: str = ""
    name: str = ""
    namespace: str = ""
    json_pointers: tuple[str, ...] = ()
    managers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Application:
    name: str
    namespace: str
    source: Source
    destination_namespace: str
    project: str
    automated: Automated | None
    sync_options: tuple[str, ...]
    retry: RetryPolicy | None
    ignore: tuple[IgnoreRule, ...]
    history_limit: int
    namespace_metadata: Mapping[str, Any] = field(default_factory=dict)

    def has(self, option: str) -> bool:
        return option in self.sync_options


def decode(obj: Obj) -> Application:
    """The application, or `InvalidSpec`."""
    spec, meta = spec_of(obj), meta_of(obj)
    if spec.get("sources"):
        raise InvalidSpec("spec.sources: several sources are not supported; use one source and a kustomization")
    destination = _map(spec, "destination")
    server, name = str(destination.get("server") or ""), str(destination.get("name") or "")
    if server not in HERE or name not in ("", "in-cluster"):
        raise InvalidSpec(f"spec.destination: cluster {server or name!r} is not known; use {HERE[0]}")
    policy = _map(spec, "syncPolicy")
    options = policy.get("syncOptions") or []
    if not isinstance(options, list):
        raise InvalidSpec("spec.syncPolicy.syncOptions: a list such as [CreateNamespace=true] is needed")
    limit = spec.get("revisionHistoryLimit")
    return Application(
        name=meta["name"], namespace=meta.get("namespace", ""), source=_source(_map(spec, "source")),
        destination_namespace=str(destination.get("namespace") or ""), project=str(spec.get("project") or "default"),
        automated=_automated(policy.get("automated")), sync_options=tuple(str(option) for option in options),
        retry=decode_retry(policy.get("retry"), "spec.syncPolicy.retry"),
        ignore=tuple(_ignore(rule, n) for n, rule in enumerate(spec.get("ignoreDifferences") or ())),
        history_limit=DEFAULT_HISTORY if limit is None else int(limit),
        namespace_metadata=_map(policy, "managedNamespaceMetadata"),
    )


def _map(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = parent.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InvalidSpec(f"{key}: a mapping is needed, found {type(found).__name__}")
    return found


def _source(source: Mapping[str, Any]) -> Source:
    if not source.get("repoURL"):
        raise InvalidSpec("spec.source.repoURL: is missing; name the deployment repository")
    for other in ("chart", "helm", "plugin"):
        if source.get(other):
            raise InvalidSpec(f"spec.source.{other}: is not supported yet; commit rendered manifests or a kustomization")
    return Source(str(source["repoURL"]), str(source.get("path") or "").strip("/").removeprefix("./"),
                  str(source.get("targetRevision") or "HEAD"))


def _automated(value: Any) -> Automated | None:
    if not isinstance(value, dict) or value.get("enabled") is False:
        return None
    return Automated(bool(value.get("prune")), bool(value.get("selfHeal")), bool(value.get("allowEmpty")))


def decode_retry(value: Any, path: str) -> RetryPolicy | None:
    """`syncPolicy.retry` or `operation.retry`. Plain numbers are seconds."""
    if not isinstance(value, dict):
        return None
    backoff = value.get("backoff") or {}
    default = RetryPolicy()
    try:
        duration = _duration(backoff.get("duration")) or default.duration
        longest = _duration(backoff.get("maxDuration")) or default.max_duration
    except ValueError as error:
        raise InvalidSpec(f"{path}.backoff: {error}") from error
    factor = backoff.get("factor")
    limit = value.get("limit")
    return RetryPolicy(default.limit if limit is None else int(limit), duration,
                       default.factor if factor is None else int(factor), longest, bool(value.get("refresh")))


def _duration(value: Any) -> Any:
    if value in (None, ""):
        return None
    text = str(value)
    return parse_duration(f"{text}s" if text.isdigit() else text)


def _ignore(rule: Mapping[str, Any], index: int) -> IgnoreRule:
    if not rule.get("kind"):
        raise InvalidSpec(f"spec.ignoreDifferences[{index}].kind: is missing")
    if rule.get("jqPathExpressions"):
        raise InvalidSpec(f"spec.ignoreDifferences[{index}].jqPathExpressions: are not supported; use jsonPointers")
    return IgnoreRule(str(rule["kind"]), str(rule.get("group") or ""), str(rule.get("name") or ""),
                      str(rule.get("namespace") or ""), tuple(rule.get("jsonPointers") or ()),
                      tuple(rule.get("managedFieldsManagers") or ()))


# --- operations -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Operation:
    """A sync that was asked for, by a person or by the automation."""

    revision: str
    prune: bool
    dry_run: bool
    automated: bool
    username: str
    resources: tuple[tuple[str, str, str, str], ...]
    sync_options: tuple[str, ...]
    retry: RetryPolicy
    heal_attempts: int
    rollback_to: int | None

    @property
    def partial(self) -> bool:
        """A partial sync runs no hooks and makes no history."""
        return bool(self.resources)


def decode_operation(value: Mapping[str, Any], app: Application) -> Operation:
    sync = value.get("sync") or {}
    by = value.get("initiatedBy") or {}
    automated = bool(by.get("automated"))
    retry = decode_retry(value.get("retry"), "operation.retry")
    resources = tuple((str(r.get("group") or ""), str(r.get("kind")), str(r.get("namespace") or ""), str(r.get("name")))
                      for r in sync.get("resources") or ())
    rollback = dig(value, "rollback", "id")
    return Operation(
        revision=str(sync.get("revision") or ""), prune=bool(sync.get("prune")), dry_run=bool(sync.get("dryRun")),
        automated=automated, username=str(by.get("username") or ""), resources=resources,
        sync_options=tuple(sync.get("syncOptions") or app.sync_options),
        retry=retry or RetryPolicy(limit=0), heal_attempts=int(sync.get("autoHealAttemptsCount") or 0),
        rollback_to=int(rollback) if rollback is not None else None,
    )
