"""Whether the objects to rehearse have the shape of their kinds: the API is asked, as it would be asked by `kubectl apply`."""

from __future__ import annotations

from collections.abc import Sequence

from fairway.kube.api import WriteOptions
from fairway.kube.clock import Clock, run_virtual
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.errors import ApiError
from fairway.kube.objects import Obj, meta_of
from fairway.rehearse.subject import CONCERNED, NAMESPACE


class Misshapen(ValueError):
    """An object that no API would take; the message names it and the field."""


def check(objects: Sequence[Obj]) -> None:
    """Raises `Misshapen`."""

    async def ask(clock: Clock) -> None:
        api = EmbeddedApi.in_memory(clock)
        for obj in objects:
            if obj.get("kind") not in CONCERNED:
                continue
            meta = {**meta_of(obj), "namespace": NAMESPACE} if isinstance(obj.get("metadata"), dict) else {}
            try:
                await api.create({**obj, "metadata": meta}, WriteOptions(dry_run=True, validation="Ignore"))
            except ApiError as error:
                raise Misshapen(f"{obj['kind']} {meta.get('name', '')}: {error.message}") from error

    run_virtual(ask)
