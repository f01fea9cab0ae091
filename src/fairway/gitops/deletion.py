"""An Application that is being deleted: with the finalizer its objects go first, wave by wave. Hands."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from fairway.gitops import hooks
from fairway.gitops.compare import ObjectKey
from fairway.gitops.comparison import MANAGER
from fairway.gitops.tasks import delete_batch
from fairway.kube.api import DeleteOptions, MergePatch, Propagation, WriteOptions
from fairway.kube.cache import Informers
from fairway.kube.decision import Outcome, Reason
from fairway.kube.errors import NotFound
from fairway.kube.objects import Obj, is_deleting, key_of, meta_of, uid_of
from fairway.kube.resources import APPLICATIONS

FINALIZER = "resources-finalizer.argocd.argoproj.io"


class Deletion:
    def __init__(self, informers: Informers) -> None:
        self._informers = informers

    async def step(self, obj: Obj, owned: Mapping[ObjectKey, Obj]) -> Outcome:
        """Delete the highest wave that is left; when nothing is, let the Application go."""
        finalizers = [f for f in meta_of(obj).get("finalizers") or () if f.startswith(FINALIZER)]
        if not finalizers:
            return Outcome()
        left = [live for live in owned.values() if not _is_kept(live)]
        if not left:
            await self._release(obj)
            return Outcome()
        propagation: Propagation = "Background" if finalizers[0].endswith("/background") else "Foreground"
        for live in delete_batch(left):
            if not is_deleting(live):
                await self._delete(live, propagation)
        names = ", ".join(str(key_of(live)) for live in left[:3])
        return Outcome(reasons=(Reason("Deleting", f"{len(left)} objects are being deleted: {names}"),))

    async def _delete(self, live: Obj, propagation: Propagation) -> None:
        api, key = self._informers.api, key_of(live)
        with suppress(NotFound):
            await api.delete(api.resources.of(live), key.name, key.namespace,
                             DeleteOptions(propagation=propagation, uid=uid_of(live)), WriteOptions(manager=MANAGER))

    async def _release(self, obj: Obj) -> None:
        key = key_of(obj)
        kept = [f for f in meta_of(obj).get("finalizers") or () if not f.startswith(FINALIZER)]
        with suppress(NotFound):
            await self._informers.api.patch(APPLICATIONS, key.name, key.namespace,
                                            MergePatch({"metadata": {"finalizers": kept or None}}),
                                            WriteOptions(manager=MANAGER))


def _is_kept(live: Obj) -> bool:
    return live.get("kind") == "CustomResourceDefinition" or hooks.has_option("Delete=false", hooks.options_of(live))
