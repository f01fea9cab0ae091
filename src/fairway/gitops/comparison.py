"""Asking the API what applying would change, once for each pair of a target and a live version. Hands."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fairway.gitops import hooks
from fairway.gitops.compare import MANAGER, Compared, ObjectKey, compared, normalised, object_key
from fairway.gitops.delegated import with_delegated
from fairway.gitops.ignoring import with_live_ignored, without_trusted
from fairway.gitops.live import WATCHED
from fairway.gitops.spec import Application
from fairway.gitops.strategies import structured_merge, three_way
from fairway.gitops.taking_over import taken_over
from fairway.gitops.targets import Targets
from fairway.gitops.tracking import tracked_app
from fairway.kube.api import ApplyPatch, Validation, WriteOptions
from fairway.kube.cache import Informers
from fairway.kube.decision import Reason
from fairway.kube.errors import ApiError, Conflict, NotFound, Timeout, TooManyRequests, Unauthorized, Unavailable
from fairway.kube.objects import Key, Obj, key_of, meta_of
from fairway.kube.resources import CRDS, NAMESPACES, Resource

_WATCHED = frozenset(WATCHED)
TRANSIENT = (Conflict, Timeout, TooManyRequests, Unauthorized, Unavailable)
"""Answers that say nothing about the object: the pass is made again, later each time."""
_CATCHES_UP = 3
_SKIP_MISSING = "SkipDryRunOnMissingResource=true"


@dataclass(frozen=True, slots=True)
class _Remembered:
    target: Obj
    live_version: str
    answer: Compared


class Comparison:
    def __init__(self, informers: Informers, watched: Collection[Resource] = _WATCHED) -> None:
        """`watched`: the kinds that the caches are asked for; others are looked up at the API each time."""
        self._informers = informers
        self._watched = watched
        self._memory: dict[Key, dict[ObjectKey, _Remembered]] = {}

    def forget(self, key: Key) -> None:
        self._memory.pop(key, None)

    def forget_all(self) -> None:
        self._memory.clear()

    async def live(self, obj: Obj) -> Obj | None:
        """The live object of this name, from the caches where its kind is watched."""
        try:
            resource = self._informers.api.resources.of(obj)
        except NotFound:
            return None
        key = key_of(obj)
        if resource in self._watched:
            return self._informers.of(resource).get(Key(key.namespace if resource.namespaced else "", key.name))
        try:
            return await self._informers.api.get(resource, key.name, key.namespace)
        except NotFound:
            return None

    def namespace_missing(self, name: str) -> bool:
        """False where Namespaces may not be seen: then it has to be there."""
        return bool(name) and NAMESPACES in self._watched and self._informers.of(NAMESPACES).get(Key("", name)) is None

    async def of(self, app: Application, targets: Targets, owned: Mapping[ObjectKey, Obj]) -> list[Compared]:
        """Every object of git and every one that is live and ours, compared."""
        key = Key(app.namespace, app.name)
        memory = self._memory.setdefault(key, {})
        found: list[Compared] = []
        wanted = {object_key(obj) for obj in (*targets.objects, *(obj for obj, _ in targets.denied))}
        for target, why in targets.denied:
            found.append(Compared(object_key(target), target, await self.live(target), denied=why))
        for target in targets.objects:
            live = await self.live(target)
            version = str(meta_of(live).get("resourceVersion")) if live is not None else ""
            known = memory.get(object_key(target))
            if known is None or known.target is not target or known.live_version != version:
                answer = await self._compare(app, target, live, targets)
                known = _Remembered(target, version, answer)
                if not answer.error:
                    memory[object_key(target)] = known
            found.append(known.answer)
        for extra, live in owned.items():
            if extra not in wanted and not hooks.is_hook(live):
                found.append(Compared(extra, None, live))
        for gone in set(memory) - wanted:
            del memory[gone]
        return found

    async def _compare(self, app: Application, target: Obj, live: Obj | None, targets: Targets) -> Compared:
        key = object_key(target)
        try:
            predicted = await self.dry_run(app, target, live)
            for _ in range(_CATCHES_UP):  # the cache is a moment behind the API, which is no drift
                if live is None or _version(predicted) == _version(live):
                    break
                live = await self._informers.api.get(self._informers.api.resources.of(target), key.name, key.namespace)
                predicted = await self.dry_run(app, target, live)
        except TRANSIENT:
            raise
        except ApiError as error:
            if live is None and self._comes_with(app, target, targets):
                return Compared(key, target, None, modified=True)
            return Compared(key, target, live, modified=True, error=self._mended(app, target, error.message))
        if live is None:
            return Compared(key, target, None, modified=True)
        if hooks.compares_by_hand(app.compare_options, target):
            return _by_hand(app, target, live)
        return compared(target, live, taken_over(app, target, predicted), app.ignore, app.comparison)

    def _mended(self, app: Application, target: Obj, message: str) -> str:
        """The API's refusal, and what to do about the one that everybody meets first."""
        namespace = meta_of(target).get("namespace") or ""
        if not namespace or not self.namespace_missing(namespace):
            return message
        option = "set the sync option CreateNamespace=true, or " if namespace == app.destination_namespace else ""
        return f"{message} ({option}add a Namespace object to git)"

    async def dry_run(self, app: Application, target: Obj, live: Obj | None) -> Obj:
        """What applying would make of `live`; raises what the API would refuse."""
        api, key = self._informers.api, key_of(target)
        resource = api.resources.of(target)
        if live is not None and app.has("RespectIgnoreDifferences=true"):
            target = with_live_ignored(target, live, app.ignore)
        target = with_delegated(target, live)
        options = WriteOptions(manager=MANAGER, dry_run=True, validation=validation(app, target))
        return await api.patch(resource, key.name, key.namespace, ApplyPatch(target, force=True), options)

    def _comes_with(self, app: Application, target: Obj, targets: Targets) -> bool:
        """Whether the dry run can fail only because a namespace or CRD comes in the same sync."""
        if _SKIP_MISSING in app.sync_options or _SKIP_MISSING in hooks.options_of(target):
            return True
        namespace = meta_of(target).get("namespace") or ""
        group = str(target.get("apiVersion") or "").rpartition("/")[0]
        for other in targets.objects:
            if other.get("kind") == "Namespace" and meta_of(other).get("name") == namespace:
                return self.namespace_missing(namespace)
            spec = other.get("spec") or {}
            if other.get("kind") == CRDS.kind and spec.get("group") == group and (
                    (spec.get("names") or {}).get("kind") == target.get("kind")):
                return True
        missing = self.namespace_missing(namespace)
        return missing and namespace == app.destination_namespace and app.has("CreateNamespace=true")

    def shared(self, app: Application, found: Sequence[Compared]) -> list[Reason]:
        """Objects of ours that say they are another application's."""
        own = tracked_app(app.namespace, app.name)
        others = [(entry, app.tracking.app_of(entry.live)) for entry in found
                  if entry.live is not None and entry.target is not None]
        return [Reason("SharedResourceWarning", f"{entry.key} is part of applications {own} and {other}")
                for entry, other in others if other is not None and other != own]


def _version(obj: Obj) -> str:
    return str(meta_of(obj).get("resourceVersion") or "")


def _by_hand(app: Application, target: Obj, live: Obj) -> Compared:
    """As Argo CD compares unless it is told otherwise: against what was applied last, or by structured merge."""
    live_side, target_side = without_trusted(live, target, app.ignore)
    before, wanted = (normalised(side, app.ignore, app.comparison) for side in (live_side, target_side))
    if hooks.option_value("ServerSideApply", hooks.options_of(target), app.sync_options) == "true":
        owned = {**before, "metadata": {**meta_of(before), "managedFields": meta_of(live).get("managedFields") or []}}
        fields = structured_merge(wanted, owned, MANAGER)
    else:
        fields = three_way(wanted, before, ignore_aggregated=app.comparison.aggregated_roles)
    return Compared(object_key(target), target, live, modified=bool(fields), fields=tuple(fields))


def validation(app: Application, target: Obj) -> Validation:
    """Unknown fields are refused unless `Validate=false`."""
    off = app.has("Validate=false") or "Validate=false" in hooks.options_of(target)
    return "Ignore" if off else "Strict"
