"""An Application whose source is a chart in a Helm repository: versions are revisions, values come from git."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import io
import shutil
import tarfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fairway.git import GitPort, Repositories
from fairway.git.port import Change, Person
from fairway.gitops.rendering import Ask, render_source
from fairway.gitops.settings import Settings
from fairway.gitops.sources import Sources
from fairway.gitops.spec import decode
from fairway.kube.objects import Key, Obj
from fairway.manifests.helm.repository import ChartRepository, Package

NOW = datetime(2030, 1, 1, tzinfo=UTC)
needs_helm = pytest.mark.skipif(importlib.util.find_spec("helm_python") is None and shutil.which("helm") is None,
                                reason="neither the Helm SDK nor helm is installed")  # fmt: skip
TEMPLATE = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\ndata: {size: {{ .Values.size | quote }}}\n"


class Store:
    """A chart repository in memory: packages by version."""

    url = "https://charts.example.com/web"

    def __init__(self) -> None:
        self.packages: dict[str, bytes] = {}
        self.fetched = 0

    def add(self, version: str, **files: str) -> None:
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w:gz") as archive:
            for path, text in {"Chart.yaml": f"apiVersion: v2\nname: web\nversion: {version}\n", **files}.items():
                info = tarfile.TarInfo(f"web/{path}")
                info.size = len(text)
                archive.addfile(info, io.BytesIO(text.encode()))
        self.packages[version] = made.getvalue()

    def versions(self) -> Mapping[str, Package]:
        return {version: Package(version, "") for version in self.packages}

    def find(self, version: str) -> Package | None:
        digest = hashlib.sha256(self.packages.get(version, b"")).hexdigest()
        return Package(version, f"sha256:{digest}") if version in self.packages else None

    def fetch(self, version: str, package: Package) -> bytes:
        self.fetched += 1
        return self.packages[version]


class Platform:
    def __init__(self, folder: Path) -> None:
        self.store = Store()
        self.repo = Repositories(folder / "git").create("shop/deploy")
        self._charts = ChartRepository(self.store, folder / "charts")

    def of(self, repo_url: str) -> GitPort:
        return self.repo

    def chart(self, repo_url: str, chart: str, *, pass_credentials: bool = False) -> GitPort:
        assert (repo_url, chart) == ("https://charts.example.com", "web")
        return self._charts

    def push(self, path: str, text: str) -> None:
        head = self.repo.refs().get("refs/heads/main", "")
        self.repo.commit("main", Change({path: text.encode()}, "change", Person("a", "a@example.com"), NOW), expected_head=head)


def application(version: str, **helm: Any) -> Obj:
    return {"metadata": {"name": "shop", "namespace": "argocd"}, "spec": {
        "destination": {"server": "https://kubernetes.default.svc", "namespace": "prod"},
        "sources": [{"repoURL": "https://charts.example.com", "chart": "web", "targetRevision": version, "helm": helm},
                    {"repoURL": "https://git.example.com/shop/deploy.git", "targetRevision": "main", "ref": "env"}]}}


def objects(sources: Sources, obj: Obj) -> tuple[str, list[Obj]]:
    async def asked() -> tuple[str, list[Obj]]:
        app = decode(obj)
        revision, look_at = await sources.resolve(Key("argocd", "shop"), app.sources, NOW, force=True)
        assert look_at is not None, "a repository behind a network is polled"
        return revision, await sources.objects(app, revision)

    return asyncio.run(asked())


def test_the_version_is_the_revision_and_what_it_renders_to_is_kept(tmp_path: Path) -> None:
    platform = Platform(tmp_path)
    platform.push("prod.yaml", "size: 3\n")
    platform.store.add("1.0.0", **{"values.yaml": "size: 1\n"})
    platform.store.add("1.1.0", **{"values.yaml": "size: 1\n"})
    seen: list[Ask] = []

    def renderer(ask: Ask) -> list[Obj]:
        seen.append(ask)
        about = ask.tree.read("Chart.yaml").decode()
        return [{"kind": "Fake", "about": about, "values": ask.refs["env"].read("prod.yaml").decode()}]

    sources = Sources(platform, Settings(), renderer)
    obj = application("1.x", valueFiles=["$env/prod.yaml"])
    revision, found = objects(sources, obj)
    assert revision.startswith("1.1.0,") and "version: 1.1.0" in found[0]["about"] and found[0]["values"] == "size: 3\n"
    platform.push("README.md", "nothing that was read")
    assert objects(sources, obj)[1] is found and len(seen) == 1
    platform.store.add("1.2.0", **{"values.yaml": "size: 1\n"})
    assert "version: 1.2.0" in objects(sources, obj)[1][0]["about"]


def test_a_version_that_is_published_again_is_rendered_again_once(tmp_path: Path) -> None:
    platform = Platform(tmp_path)
    platform.push("prod.yaml", "size: 3\n")
    platform.store.add("1.0.0", **{"values.yaml": "size: 1\n", "notes.txt": "a"})

    def renderer(ask: Ask) -> list[Obj]:
        return [{"kind": "Fake", "values": ask.tree.read("values.yaml").decode()}]

    sources, obj = Sources(platform, Settings(), renderer), application("1.0.0")
    revision, found = objects(sources, obj)
    assert revision.startswith("1.0.0,")
    assert objects(sources, obj)[1] is found
    assert (sources.renders, platform.store.fetched) == (1, 1), "what stays is neither fetched nor rendered again"
    platform.store.add("1.0.0", **{"values.yaml": "size: 1\n", "notes.txt": "b"})
    assert objects(sources, obj)[1] is found, "nothing that was read is another one"
    platform.store.add("1.0.0", **{"values.yaml": "size: 2\n", "notes.txt": "b"})
    again, found = objects(sources, obj)
    assert again == revision, "the version is the revision all the same"
    assert found[0]["values"] == "size: 2\n"
    assert (sources.renders, platform.store.fetched) == (2, 3)
    (note,) = sources.moved_without_us(decode(obj), synced=False)
    assert note.startswith("web 1.0.0 was published again: ")
    assert sources.moved_without_us(decode(obj), synced=True) == sources.moved_without_us(decode(obj), synced=False) == []


@needs_helm
def test_a_chart_is_rendered_with_values_from_git(tmp_path: Path) -> None:
    platform = Platform(tmp_path)
    platform.push("prod.yaml", "size: 3\n")
    platform.store.add("1.0.0", **{"values.yaml": "size: 1\n", "templates/a.yaml": TEMPLATE})
    sources = Sources(platform, Settings(), render_source)
    found = objects(sources, application("1.0.0", valueFiles=["values.yaml", "$env/prod.yaml"]))[1]
    assert [(o["metadata"]["name"], o["data"]) for o in found] == [("shop", {"size": "3"})]
