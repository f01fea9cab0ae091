"""An API of some namespaces: caches over it hold these and nothing else, and follow every one of them."""

from __future__ import annotations

import asyncio

from fairway.kube.cache import Informers
from fairway.kube.clock import Clock, run_virtual
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.objects import Key, Obj, key_of
from fairway.kube.resources import CONFIG_MAPS, NAMESPACES
from fairway.kube.scoped import NamespacesApi


def config(namespace: str, name: str) -> Obj:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}}


def test_caches_follow_each_namespace_and_no_other() -> None:
    async def main(clock: Clock) -> None:
        api = EmbeddedApi.in_memory(clock)
        for name in ("a", "b", "c"):
            await api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
            await api.create(config(name, "before"))
        informers = Informers(NamespacesApi(api, ("a", "b")))
        cache = informers.of(CONFIG_MAPS)
        spaces = informers.of(NAMESPACES)
        await informers.synced()
        assert {Key("a", "before"), Key("b", "before")} <= {key_of(obj) for obj in cache.list()}
        assert cache.list("c") == []
        assert spaces.get(Key("", "c")) is not None, "what has no namespace is seen whole"
        for name in ("a", "b", "c"):
            await api.create(config(name, "later"))
        await api.delete(CONFIG_MAPS, "before", "b")
        await asyncio.sleep(1)
        names = [key_of(obj) for obj in cache.list() if key_of(obj).name in ("before", "later")]
        assert names == [Key("a", "before"), Key("a", "later"), Key("b", "later")]
        await informers.close()

    run_virtual(main)
