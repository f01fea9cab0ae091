"""Whose an object is: by annotation, by label, by both; and what happens when that is changed."""

from __future__ import annotations

import asyncio

import pytest

from fairway.gitops.tracking import TRACKING_ID, Tracking, decode_tracking
from fairway.kube.objects import Obj, annotations_of, labels_of
from fairway.kube.resources import CONFIG_MAPS
from tests.gitops.conftest import Play
from tests.gitops.world import World, config_map

LABEL = "app.kubernetes.io/instance"
OBJECT: Obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}}


def settings(**data: str) -> Obj:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm", "namespace": "argocd"},
            "data": {key.replace("_", "."): value for key, value in data.items()}}


@pytest.mark.parametrize("method", ["annotation", "label", "annotation+label"])
def test_what_is_no_longer_described_goes_however_it_is_tracked(perform: Play, method: str) -> None:
    async def story(world: World) -> None:
        await world.api.create(settings(application_resourceTrackingMethod=method))
        await world.settled(await begin(world))
        live = await world.get(CONFIG_MAPS, "b")
        assert (labels_of(live).get(LABEL) == "shop") is ("label" in method)
        assert (TRACKING_ID in annotations_of(live)) is ("annotation" in method)
        await world.settled(world.push(prod__b=None))
        assert await world.get(CONFIG_MAPS, "b") is None

    async def begin(world: World) -> str:
        sha = world.push(prod__a=config_map("a"), prod__b=config_map("b"))
        await world.create_app()
        return sha

    perform(story)


def test_a_change_of_the_method_marks_the_objects_anew_and_deletes_none(perform: Play) -> None:
    async def story(world: World) -> None:
        sha = world.push(prod__a=config_map("a"))
        await world.create_app()
        await world.settled(sha)
        born = (await world.get(CONFIG_MAPS, "a") or {})["metadata"]["uid"]
        await world.api.create(settings(application_resourceTrackingMethod="label"))
        live = await world.until_live(CONFIG_MAPS, "a", lambda o: labels_of(o).get(LABEL) == "shop")
        assert live["metadata"]["uid"] == born and TRACKING_ID not in annotations_of(live)
        await asyncio.sleep(60)
        assert (await world.app())["status"]["sync"]["status"] == "Synced"

    perform(story)


def test_marks() -> None:
    long = "a" * 62 + "-" + "b" * 10
    both = Tracking("annotation+label", "team/app", "here")
    marked = both.mark(long, OBJECT)
    assert labels_of(marked)["team/app"] == "a" * 62, "cut to what a label may hold, and to a proper end"
    assert both.app_of(marked) == long
    assert Tracking("annotation").app_of(marked) == long and Tracking(installation="there").app_of(marked) is None
    assert Tracking("label", "team/app").app_of({**marked, "metadata": {**marked["metadata"], "ownerReferences": [{}]}}) is None
    with pytest.raises(ValueError, match="none of annotation"):
        decode_tracking({"application.resourceTrackingMethod": "name"})
