"""Pods whose image is in somebody else's registry: Debian's, with a password."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from fairway.connections import NodeImages
from fairway.images.pulling import PulledImages
from fairway.images.registry import LocalRegistry
from fairway.kube.objects import Obj, dig, status_of
from tests.images.servers import TOKEN, debians
from tests.images.test_pulling import auth, put, secret
from tests.node.machine import Machine, machine, pod
from tests.node.test_events import _told


def play(folder: Path, story: Callable[[Machine, str], Awaitable[None]]) -> None:
    async def main() -> None:
        images = NodeImages(PulledImages(LocalRegistry(folder / "registry"), LocalRegistry(folder / "pulled"),
                                         folder / "unpacked", list, iter(range(1000)).__next__))
        async with debians(folder, locked=True) as host, machine(folder, images) as m:
            await put(host, folder / "made", b"from afar")
            await story(m, host)

    asyncio.run(main())


def asking(name: str, image: str, **spec: object) -> Obj:
    return pod(name, "cat", "/srv/app.txt", spec=dict(spec), image=image)


def pull_secret(host: str) -> Obj:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull", "namespace": "default"},
            **secret({host: auth("somebody", TOKEN)})}


def test_a_pod_with_a_pull_secret(tmp_path: Path) -> None:
    async def story(m: Machine, host: str) -> None:
        image = f"{host}/team/app:1"
        await m.api.create(asking("closed", image))
        waiting = (await m.waiting("closed", "ErrImagePull"))["state"]["waiting"]["message"]
        assert "pull access denied, repository does not exist or may require authorization" in waiting

        async def told() -> bool:
            said = await _told(m, "closed")
            return ("Failed", "Error: ErrImagePull") in said and ("Pulling", f'Pulling image "{image}"') in said

        await m.until(told, "the events of a pull that failed")
        await m.api.create(pull_secret(host))
        await m.api.create(asking("open", image, imagePullSecrets=[{"name": "pull"}, {"name": "lost"}]))
        ended = await m.phase("open", "Succeeded")
        assert (await m.log("open")).strip() == "from afar"
        assert "sha256:" in dig(status_of(ended), "containerStatuses")[0]["imageID"]
        told_of = {(reason, message.split(" in ")[0]) for reason, message in await _told(m, "open")}
        assert told_of == {
            ("Scheduled", "Successfully assigned default/open to fairway"),
            ("FailedToRetrieveImagePullSecret", "Unable to retrieve some image pull secrets (lost); attempting to pull the "
             "image may not succeed."),
            ("Pulling", f'Pulling image "{image}"'), ("Pulled", f'Successfully pulled image "{image}"'),
            ("Created", "Created container: main"), ("Started", "Started container main")}, "not that it was present already"
        await m.api.create(asking("again", image))
        await m.phase("again", "Succeeded")
        assert ("Pulled", f'Container image "{image}" already present on machine') in await _told(m, "again")

    play(tmp_path, story)


def test_a_service_account_with_a_pull_secret(tmp_path: Path) -> None:
    async def story(m: Machine, host: str) -> None:
        await m.api.create(pull_secret(host))
        await m.api.create({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "puller", "namespace": "default"},
            "imagePullSecrets": [{"name": "pull"}], "automountServiceAccountToken": False})
        await m.api.create(asking("open", f"{host}/team/app:1", serviceAccountName="puller"))
        await m.phase("open", "Succeeded")

    play(tmp_path, story)


def test_policies_and_names_that_cannot_be(tmp_path: Path) -> None:
    async def story(m: Machine, host: str) -> None:
        never = asking("never", f"{host}/team/app:1")
        never["spec"]["containers"][0]["imagePullPolicy"] = "Never"
        await m.api.create(never)
        found = await m.waiting("never", "ErrImageNeverPull")
        words = f'Container image "{host}/team/app:1" is not present with pull policy of Never'
        assert found["state"]["waiting"]["message"] == words
        await m.api.create(asking("odd", "Team/App:1"))
        found = await m.waiting("odd", "InvalidImageName")
        words = 'Failed to apply default image tag "Team/App:1": couldn\'t parse'
        assert found["state"]["waiting"]["message"].startswith(words)
        await m.api.create(asking("none", f"{host}/team/none:1"))
        found = await m.waiting("none", "ErrImagePull")
        assert "pull access denied" in found["state"]["waiting"]["message"]

    play(tmp_path, story)
