"""Every Service that is to have an address has one in the answer to its creation."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fairway.kube.api import MergePatch
from fairway.kube.clock import WallClock
from fairway.kube.embedded import EmbeddedApi, table_of
from fairway.kube.errors import Invalid
from fairway.kube.objects import Key, Obj
from fairway.kube.resources import SERVICES
from fairway.kube.service_addresses import allocate


def service(name: str, **spec: Any) -> Obj:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
            "spec": {"ports": [{"port": 80}], **spec}}


def test_addresses_stay_and_do_not_meet() -> None:
    first = allocate("shop", "web", ())
    assert allocate("shop", "web", ()) == first
    assert allocate("shop", "web", {first}) != first
    assert allocate("shop", "web", (), seed="another platform") != first


def test_an_address_comes_with_the_service_and_goes_with_its_type() -> None:
    async def main() -> None:
        api = EmbeddedApi.in_memory(WallClock())
        made = await api.create(service("web"))
        address = made["spec"]["clusterIP"]
        assert address == allocate("default", "web", ())
        assert made["spec"]["clusterIPs"] == [address]
        assert "f:clusterIP" not in made["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"], "nobody owns it"
        with pytest.raises(Invalid, match=f"failed to allocate IP {address}: provided IP is already allocated"):
            await api.create(service("other", clusterIP=address))
        assert (await api.create(service("headless", clusterIP="None")))["spec"]["clusterIPs"] == ["None"]
        named = await api.create(service("named", type="ExternalName", externalName="example.com"))
        assert "clusterIP" not in named["spec"]
        no_name = MergePatch({"spec": {"type": "ClusterIP", "externalName": None}})
        turned = await api.patch(SERVICES, "named", "default", no_name)
        assert turned["spec"]["clusterIP"] == allocate("default", "named", ())
        back = await api.patch(SERVICES, "web", "default", MergePatch(
            {"spec": {"type": "ExternalName", "externalName": "example.com", "clusterIP": None, "clusterIPs": None}}))
        assert "clusterIP" not in back["spec"]

    asyncio.run(main())


def test_a_world_of_before_is_given_addresses_when_it_is_opened(tmp_path: Path) -> None:
    async def main() -> None:
        api = await EmbeddedApi.open(tmp_path / "state.db", WallClock(), address_seed="s")
        made = await api.create(service("old"))
        bare = {**made, "spec": {k: v for k, v in made["spec"].items() if not k.startswith("clusterIP")}}
        await api.store.durable(api.store.put(table_of(SERVICES), Key("default", "old"), bare))
        await api.close()
        again = await EmbeddedApi.open(tmp_path / "state.db", WallClock(), address_seed="s")
        assert (await again.get(SERVICES, "old", "default"))["spec"]["clusterIP"] == made["spec"]["clusterIP"]
        await again.close()

    asyncio.run(main())
