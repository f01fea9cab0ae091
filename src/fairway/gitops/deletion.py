"""An Application that is being deleted. Hands; each pass reads from the finalizers how far it is.

    pre-delete-finalizer     PreDelete hooks run to their end, before anything goes
    resources-finalizer      its objects go, highest wave first, each wave when the one before is gone
    post-delete-finalizer    PostDelete hooks run
    …/cleanup                the hooks of the stage go, where their policy says so

Without `resources-finalizer` the objects stay. A hook that fails stops the deletion and is made again; an object that asks to
be confirmed (`Delete=confirm`) waits for `argocd.argoproj.io/deletion-approved`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from fairway.git import GitError
from fairway.gitops import hooks, status
from fairway.gitops.compare import MANAGER, ObjectKey
from fairway.gitops.comparison import Comparison
from fairway.gitops.customizations import NONE, Customizations
from fairway.gitops.gates import approved
from fairway.gitops.tasks import delete_batch
from fairway.gitops.tracking import tracked_app
from fairway.kube.api import Api, DeleteOptions, MergePatch, Propagation, WriteOptions
from fairway.kube.cache import Informers
from fairway.kube.decision import Outcome, Reason, differs
from fairway.kube.errors import AlreadyExists, ApiError, NotFound
from fairway.kube.objects import (
    Obj,
    annotations_of,
    dig,
    is_deleting,
    key_of,
    meta_of,
    parse_time,
    spec_of,
    status_of,
    uid_of,
)
from fairway.kube.resources import APPLICATIONS
from fairway.manifests import ManifestError

FINALIZER = "resources-finalizer.argocd.argoproj.io"
PRE_DELETE = "pre-delete-finalizer.argocd.argoproj.io"
POST_DELETE = "post-delete-finalizer.argocd.argoproj.io"
_CLEANUP = "/cleanup"
_ALL = (FINALIZER, PRE_DELETE, POST_DELETE)
HooksOf = Callable[[Obj], Awaitable[Sequence[Obj]]]
"""The hooks that git describes for the Application, as objects to create. `ManifestError`, `GitError`, `InvalidSpec`."""


def hook_finalizers(present: Sequence[str], hook_objects: Sequence[Obj]) -> list[str]:
    """The finalizers that an Application with these hooks has to have."""
    found = [f for f in present if not f.startswith((PRE_DELETE, POST_DELETE))]
    kinds = {kind for obj in hook_objects for kind in hooks.hook_types(obj)}
    stages = [f for f, kind in ((PRE_DELETE, "PreDelete"), (POST_DELETE, "PostDelete")) if kind in kinds]
    return [*found, *(end for f in stages for end in (f, f + _CLEANUP))]


class Deletion:
    def __init__(self, home: Api, informers: Informers, comparison: Comparison, hooks_of: HooksOf) -> None:
        """`home`: where the Applications are; `informers`: where their objects are."""
        self._home = home
        self._informers = informers
        self._comparison = comparison
        self._hooks_of = hooks_of

    async def step(self, obj: Obj, owned: Mapping[ObjectKey, Obj], now: datetime,
                   settings: Customizations = NONE) -> Outcome:
        """One step of the deletion; when nothing is left, let the Application go."""
        finalizers = [str(f) for f in meta_of(obj).get("finalizers") or ()]
        if not any(f.startswith(_ALL) for f in finalizers):
            return Outcome()
        waiting = await self._run_hooks(obj, "PreDelete", PRE_DELETE, finalizers, settings)
        waiting = waiting or await self._delete_objects(obj, owned, finalizers)
        waiting = waiting or await self._run_hooks(obj, "PostDelete", POST_DELETE, finalizers, settings)
        if waiting is None:
            await self._set_finalizers(obj, [f for f in finalizers if not f.startswith(_ALL)])
            return Outcome()
        if waiting.code == "DeletionError":
            found = {"conditions": status.conditions(status_of(obj).get("conditions") or (), [waiting], now)}
            if differs(obj, {"status": found}):
                await self._patch(obj, {"status": found})
        return Outcome(reasons=(waiting,))

    async def give_up(self, obj: Obj, why: str) -> Outcome:
        """Let the Application go, and its objects stay, where the cluster that they are in is not known any more."""
        finalizers = [str(f) for f in meta_of(obj).get("finalizers") or ()]
        if any(f.startswith(_ALL) for f in finalizers):
            await self._set_finalizers(obj, [f for f in finalizers if not f.startswith(_ALL)])
        return Outcome(reasons=(Reason("Orphaned", f"its objects stay where they are: {why}"),))

    # --- its objects ----------------------------------------------------------------------------------------------------

    async def _delete_objects(self, obj: Obj, owned: Mapping[ObjectKey, Obj], finalizers: Sequence[str]) -> Reason | None:
        own = [f for f in finalizers if f.startswith(FINALIZER)]
        if not own:
            return None
        options = [str(o) for o in dig(spec_of(obj), "syncPolicy", "syncOptions", default=[])]
        left = [live for live in owned.values() if not _is_kept(live, options) and not _is_delete_hook(live)]
        if not left:
            return None
        propagation: Propagation = "Background" if own[0].endswith("/background") else "Foreground"
        since = parse_time(meta_of(obj)["deletionTimestamp"])
        batch = delete_batch(left)
        unconfirmed = [] if approved(annotations_of(obj), since) else [o for o in batch if _asks(o, options)]
        if unconfirmed:
            names = ", ".join(str(key_of(live)) for live in unconfirmed[:3])
            return Reason("WaitingForConfirmation", f"waiting for deletion confirmation of {names}; confirm with: fairway app "
                          "confirm-deletion")
        for live in batch:
            if not is_deleting(live):
                await self._delete(live, propagation)
        names = ", ".join(str(key_of(live)) for live in left[:3])
        return Reason("Deleting", f"{len(left)} objects are being deleted: {names}")

    # --- hooks --------------------------------------------------------------------------------------------------------------

    async def _run_hooks(self, obj: Obj, kind: str, finalizer: str, finalizers: Sequence[str],
                         settings: Customizations) -> Reason | None:
        """Create what is missing, wait for what runs; None when all have succeeded."""
        if not any(f.startswith(finalizer) for f in finalizers):
            return None
        try:
            wanted = [hook for hook in await self._hooks_of(obj) if kind in hooks.hook_types(hook)]
        except (ManifestError, GitError, ValueError) as error:
            return Reason("DeletionError", f"{kind} hooks cannot be read: {error}; remove the finalizer {finalizer} to delete "
                          "without them")
        app = tracked_app(str(meta_of(obj).get("namespace") or ""), str(meta_of(obj)["name"]))
        if finalizer not in finalizers:
            return await self._clean_up(obj, kind, finalizer, finalizers, wanted)
        running: list[str] = []
        for hook in wanted:
            live = await self._comparison.live(hook)
            if live is None or (not is_deleting(live) and meta_of(live).get("creationTimestamp", "") < meta_of(obj)[
                    "deletionTimestamp"] and "BeforeHookCreation" in hooks.delete_policies(hook)):
                failed = await self._make(settings.tracking.mark(app, hook), live)
                if failed:
                    return Reason("DeletionError", f"{kind} hook {key_of(hook)}: {failed}")
                running.append(str(key_of(hook)))
                continue
            found = settings.health(live)
            if found is not None and found.status in ("Degraded", "Unknown"):
                await self._delete(live, "Background")
                return Reason("DeletionError", f"{kind} hook {key_of(hook)} failed and is run again: {found.message}")
            if found is not None and found.status != "Healthy":
                running.append(str(key_of(hook)))
        if running:
            return Reason("DeleteHooks", f"waiting for {kind} hooks: {', '.join(running)}")
        await self._set_finalizers(obj, [f for f in finalizers if f != finalizer])
        return Reason("DeleteHooks", f"{kind} hooks have ended")

    async def _clean_up(self, obj: Obj, kind: str, finalizer: str, finalizers: Sequence[str],
                        wanted: Sequence[Obj]) -> Reason | None:
        """Delete the hooks that have done their work, as their policies say, then be done with the stage."""
        for hook in wanted:
            live = await self._comparison.live(hook)
            if live is not None and not is_deleting(live) and "HookSucceeded" in hooks.delete_policies(live):
                await self._delete(live, "Background")
        if kind == "PostDelete":
            return None  # the last stage: everything is released together
        await self._set_finalizers(obj, [f for f in finalizers if not f.startswith(finalizer)])
        return Reason("DeleteHooks", f"{kind} hooks are cleaned up")

    async def _make(self, hook: Obj, live: Obj | None) -> str:
        """Create the hook, or delete what an earlier sync left of it. The refusal, or ""."""
        try:
            if live is not None:
                await self._delete(live, "Background")
            else:
                await self._informers.api.create(hook, WriteOptions(manager=MANAGER))
        except AlreadyExists:
            return ""
        except ApiError as error:
            return error.message
        return ""

    # --- writing ------------------------------------------------------------------------------------------------------------

    async def _delete(self, live: Obj, propagation: Propagation) -> None:
        api, key = self._informers.api, key_of(live)
        with suppress(NotFound):
            await api.delete(api.resources.of(live), key.name, key.namespace,
                             DeleteOptions(propagation=propagation, uid=uid_of(live)), WriteOptions(manager=MANAGER))

    async def _set_finalizers(self, obj: Obj, wanted: Sequence[str]) -> None:
        await self._patch(obj, {"metadata": {"finalizers": list(wanted) or None}})

    async def _patch(self, obj: Obj, body: Obj) -> None:
        key = key_of(obj)
        with suppress(NotFound):
            await self._home.patch(APPLICATIONS, key.name, key.namespace, MergePatch(body),
                                   WriteOptions(manager=MANAGER))


def _is_kept(live: Obj, app_options: Sequence[str]) -> bool:
    if live.get("kind") == "CustomResourceDefinition" or annotations_of(live).get("helm.sh/resource-policy") == "keep":
        return True
    return hooks.option_value("Delete", hooks.options_of(live), app_options) == "false"


def _asks(live: Obj, app_options: Sequence[str]) -> bool:
    return not is_deleting(live) and hooks.option_value("Delete", hooks.options_of(live), app_options) == "confirm"


def _is_delete_hook(live: Obj) -> bool:
    return hooks.is_hook(live) and any(kind in ("PreDelete", "PostDelete") for kind in hooks.hook_types(live))
