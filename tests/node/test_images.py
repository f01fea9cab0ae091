"""Pods from images: a root of their own over files that they share, and paths that mean it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fairway.kube.objects import status_of
from fairway.node.images import AS_IT_IS, ImageUnavailable, Pull, UnpackedImage
from tests.node.machine import Machine, machine, pod


@dataclass(frozen=True)
class _Image:
    root: Path
    digest: str = "sha256:" + "0" * 64
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ("shop-server",)
    env: Mapping[str, str] = field(default_factory=lambda: {"PATH": "/usr/local/bin:/usr/bin", "SHOP_DB": "/data/x.db"})
    working_dir: str = "/app"
    labels: Mapping[str, str] = field(default_factory=dict)


class _Source:
    def __init__(self, image: _Image) -> None:
        self._image = image

    async def ensure(self, reference: str, pull: Pull = AS_IT_IS) -> UnpackedImage:
        if not reference.startswith("shop:"):
            raise ImageUnavailable(f'no image "{reference}"; push it first')
        return self._image


def _shop(folder: Path) -> _Image:
    """As a Python image is laid out: packages, a script, the application, a folder for data."""
    packages = folder / "usr/local/lib/python3.11/site-packages/shoplib"
    packages.mkdir(parents=True)
    (packages / "__init__.py").write_text("WHERE = __file__\n")
    script = folder / "usr/local/bin/shop-server"
    script.parent.mkdir(parents=True)
    script.write_text("#!/usr/bin/env python3\nimport os, sys, shoplib, settings\n"
                      "print(os.getcwd(), settings.NAME, os.environ['SHOP_DB'], sys.argv[1:])\n"
                      "open('local.db', 'w').close(); open(os.environ['SHOP_DB'], 'w').close()\n")
    script.chmod(0o755)
    (folder / "app/config").mkdir(parents=True)
    (folder / "app/settings.py").write_text("NAME = 'shop'\n")
    (folder / "app/config/a.ini").write_text("original\n")
    (folder / "data").mkdir()
    return _Image(folder)


def test_an_image_runs_in_its_own_root_and_leaves_the_shared_files_alone(tmp_path: Path) -> None:
    image = _shop(tmp_path / "image")

    async def story(m: Machine) -> None:
        for name in ("one", "two"):
            spec = pod(name, image="shop:1", args=["shop-server", "--config=/app/config/a.ini", "/bin/sh", "0.0.0.0:80"],
                       env=[{"name": "PYTHONPATH", "value": "/app"}])
            await m.api.create(spec)
        for name in ("one", "two"):
            found = await m.phase(name, "Succeeded", "Failed")
            root = m.folder(found).root / "main"
            address = status_of(found)["podIP"]
            arguments = [f"--config={root}/app/config/a.ini", "/bin/sh", f"{address}:80"]
            assert await m.log(name) == f"{root}/app shop {root}/data/x.db {arguments}\n"
            assert (root / "app/local.db").exists() and (root / "data/x.db").exists()
            assert status_of(found)["containerStatuses"][0]["imageID"] == image.digest
        assert sorted(path.name for path in (image.root / "app").iterdir()) == ["config", "settings.py"]
        assert list((image.root / "data").iterdir()) == []

    async def main() -> None:
        async with machine(tmp_path, _Source(image), isolation="paths") as made:
            await story(made)

    asyncio.run(main())


def test_a_volume_hides_what_the_image_has_at_its_path(tmp_path: Path) -> None:
    image = _shop(tmp_path / "image")

    async def story(m: Machine) -> None:
        meta = {"name": "config", "namespace": "default"}
        await m.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"a.ini": "mounted\n"}})
        volumes = {"volumes": [{"name": "c", "configMap": {"name": "config"}}]}
        await m.api.create(pod("mounted", "cat", "/app/config/a.ini", "config/a.ini", image="shop:1", spec=volumes,
                               volumeMounts=[{"name": "c", "mountPath": "/app/config"}]))
        await m.phase("mounted", "Succeeded")
        assert await m.log("mounted") == "mounted\nmounted\n"
        assert (image.root / "app/config/a.ini").read_text() == "original\n"

    async def main() -> None:
        async with machine(tmp_path, _Source(image)) as made:
            await story(made)

    asyncio.run(main())


def test_an_unknown_image_keeps_the_pod_waiting_with_the_mend(tmp_path: Path) -> None:
    async def main() -> None:
        async with machine(tmp_path, _Source(_shop(tmp_path / "image"))) as m:
            await m.api.create(pod("unknown", image="other:1"))
            found = await m.waiting("unknown", "ErrImagePull")
            assert found["state"]["waiting"]["message"] == 'no image "other:1"; push it first'

    asyncio.run(main())
