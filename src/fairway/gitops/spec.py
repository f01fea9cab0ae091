"""An `Application` as its user wrote it, decoded to typed values; a mistake is named with its path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from fairway.gitops.compare import DEFAULT, CompareOptions
from fairway.gitops.hooks import COMPARE_OPTIONS, options_of
from fairway.gitops.ignoring import BadExpression, IgnoreRule, check_expression
from fairway.gitops.retry import RetryPolicy
from fairway.gitops.tracking import BY_ANNOTATION, Tracking
from fairway.kube.durations import parse_duration
from fairway.kube.objects import Obj, annotations_of, dig, meta_of, spec_of

HERE, IN_CLUSTER = "https://kubernetes.default.svc", "in-cluster"
"""The cluster that Fairway itself serves, by its server and by its name."""
DEFAULT_HISTORY = 10
DEPENDS_ON = "fairway.dev/depends-on"
SYNC_TIMEOUT = "fairway.dev/sync-timeout"


class InvalidSpec(ValueError):
    """The text names the field, what is wrong with it, and the mend."""


@dataclass(frozen=True, slots=True)
class Source:
    """One entry of `sources`, or `source`. `said` is what the user wrote, for the renderer and for the status."""

    repo_url: str
    path: str = ""
    target_revision: str = "HEAD"
    ref: str = ""
    chart: str = ""
    name: str = ""
    said: Mapping[str, Any] = field(default_factory=dict)

    @property
    def describes_nothing(self) -> bool:
        """A source that only lends its files to others, as `$ref/…`."""
        return bool(self.ref) and not self.path and not self.chart

    def as_object(self) -> Obj:
        return dict(self.said) or {"repoURL": self.repo_url, "path": self.path, "targetRevision": self.target_revision}


@dataclass(frozen=True, slots=True)
class Automated:
    prune: bool = False
    self_heal: bool = False
    allow_empty: bool = False


@dataclass(frozen=True, slots=True)
class Application:
    name: str
    namespace: str
    sources: tuple[Source, ...]
    destination_namespace: str
    project: str
    automated: Automated | None
    sync_options: tuple[str, ...]
    retry: RetryPolicy | None
    ignore: tuple[IgnoreRule, ...]
    history_limit: int
    namespace_metadata: Mapping[str, Any] = field(default_factory=dict)
    several: bool = False
    """The user wrote `sources`."""
    depends_on: tuple[tuple[str, str], ...] = ()
    """(namespace, name) of the Applications that have to be synced and healthy first."""
    operation_limit: timedelta | None = None
    server: str = ""
    cluster: str = ""
    """The destination: as written, one of the two; once the cluster is found, its server and its name."""
    compare_options: tuple[str, ...] = ()
    """Of its annotation `argocd.argoproj.io/compare-options`."""
    tracking: Tracking = BY_ANNOTATION
    comparison: CompareOptions = DEFAULT

    @property
    def source(self) -> Source:
        """The one that commits go to: the first that describes objects."""
        return next((source for source in self.sources if not source.describes_nothing), self.sources[0])

    def has(self, option: str) -> bool:
        return option in self.sync_options

    def source_object(self) -> Obj:
        """What was compared, as the status says it: the source, or `sources` where there are several."""
        return {"sources": [source.as_object() for source in self.sources]} if self.several else self.source.as_object()


def decode(obj: Obj) -> Application:
    """The application, or `InvalidSpec`."""
    spec, meta = spec_of(obj), meta_of(obj)
    destination = _map(spec, "destination")
    policy = _map(spec, "syncPolicy")
    options = policy.get("syncOptions") or []
    if not isinstance(options, list):
        raise InvalidSpec("spec.syncPolicy.syncOptions: a list such as [CreateNamespace=true] is needed")
    limit = spec.get("revisionHistoryLimit")
    return Application(
        name=meta["name"], namespace=meta.get("namespace", ""), sources=_sources(spec), several=bool(spec.get("sources")),
        destination_namespace=str(destination.get("namespace") or ""), project=str(spec.get("project") or "default"),
        automated=_automated(policy.get("automated")), sync_options=tuple(str(option) for option in options),
        retry=decode_retry(policy.get("retry"), "spec.syncPolicy.retry"),
        ignore=tuple(_ignore(rule, n) for n, rule in enumerate(spec.get("ignoreDifferences") or ())),
        history_limit=DEFAULT_HISTORY if limit is None else int(limit),
        namespace_metadata=_map(policy, "managedNamespaceMetadata"), depends_on=_depends_on(obj),
        operation_limit=_operation_limit(annotations_of(obj)), server=str(destination.get("server") or ""),
        cluster=str(destination.get("name") or ""), compare_options=tuple(options_of(obj, COMPARE_OPTIONS)),
    )


def _map(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = parent.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InvalidSpec(f"{key}: a mapping is needed, found {type(found).__name__}")
    return found


def _sources(spec: Mapping[str, Any]) -> tuple[Source, ...]:
    written = spec.get("sources")
    if not written:
        return (decode_source(_map(spec, "source"), "spec.source"),)
    if not isinstance(written, list) or not all(isinstance(entry, dict) for entry in written):
        raise InvalidSpec("spec.sources: a list of mappings is needed, each with a repoURL")
    found = tuple(decode_source(entry, f"spec.sources[{n}]") for n, entry in enumerate(written))
    if all(source.describes_nothing for source in found):
        raise InvalidSpec("spec.sources: none of them has a path or a chart, so there is nothing to apply")
    return found


def decode_source(source: Mapping[str, Any], path: str) -> Source:
    if not source.get("repoURL"):
        raise InvalidSpec(f"{path}.repoURL: is missing; name the deployment repository")
    if source.get("plugin"):
        raise InvalidSpec(f"{path}.plugin: config management plugins are not run; commit what they render")
    if source.get("chart") and source.get("ref"):
        raise InvalidSpec(f"{path}: ref is not permitted beside chart; use two sources")
    return Source(str(source["repoURL"]), str(source.get("path") or "").strip("/").removeprefix("./"),
                  str(source.get("targetRevision") or "HEAD"), str(source.get("ref") or ""), str(source.get("chart") or ""),
                  str(source.get("name") or ""), dict(source))


def _depends_on(obj: Obj) -> tuple[tuple[str, str], ...]:
    """`fairway.dev/depends-on: database, platform/queue`: names, with a namespace where it is another one."""
    here = str(meta_of(obj).get("namespace") or "")
    found = []
    for word in annotations_of(obj).get(DEPENDS_ON, "").split(","):
        namespace, slash, name = word.strip().rpartition("/")
        if name:
            found.append((namespace if slash else here, name))
    if (here, str(meta_of(obj)["name"])) in found:
        raise InvalidSpec(f"metadata.annotations[{DEPENDS_ON}]: the Application depends on itself")
    return tuple(found)


def _operation_limit(annotations: Mapping[str, str]) -> timedelta | None:
    text = annotations.get(SYNC_TIMEOUT, "")
    try:
        return parse_duration(text) if text else None
    except ValueError as error:
        raise InvalidSpec(f"metadata.annotations[{SYNC_TIMEOUT}]: {error}") from error


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
    expressions = tuple(str(text) for text in rule.get("jqPathExpressions") or ())
    for text in expressions:
        try:
            check_expression(text)
        except BadExpression as error:
            raise InvalidSpec(f"spec.ignoreDifferences[{index}].jqPathExpressions: {error}") from error
    return IgnoreRule(str(rule["kind"]), str(rule.get("group") or ""), str(rule.get("name") or ""),
                      str(rule.get("namespace") or ""), tuple(rule.get("jsonPointers") or ()), expressions,
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
    revisions: tuple[str, ...] = ()
    skip_hooks: bool = False
    """`syncStrategy: {apply: {}}`."""
    force: bool = False
    """`syncStrategy: {hook: {force: true}}`: what the API does not let change is made anew."""

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
    strategy = sync.get("syncStrategy") or {}
    return Operation(
        revision=str(sync.get("revision") or ""), prune=bool(sync.get("prune")), dry_run=bool(sync.get("dryRun")),
        automated=automated, username=str(by.get("username") or ""), resources=resources,
        sync_options=tuple(sync.get("syncOptions") or app.sync_options),
        retry=retry or RetryPolicy(limit=0), heal_attempts=int(sync.get("autoHealAttemptsCount") or 0),
        rollback_to=int(rollback) if rollback is not None else None,
        revisions=tuple(str(text) for text in sync.get("revisions") or ()), skip_hooks="apply" in strategy,
        force=any(bool((way or {}).get("force")) for way in strategy.values()),
    )
