"""A kustomization that builds on a base in another repository: fetched where the project permits that repository."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fairway.git import GitPort, Repositories, UnknownRevision
from fairway.git.port import Change, Person
from fairway.gitops.settings import Settings
from fairway.gitops.sources import Sources
from fairway.gitops.spec import Application, decode
from fairway.kube.objects import Key, Obj
from fairway.manifests import ManifestError

NOW = datetime(2030, 1, 1, tzinfo=UTC)
OWN, SHARED = "https://git.example.com/shop/deploy", "https://git.example.com/platform/bases"


class Platform:
    def __init__(self, folder: Path) -> None:
        made = Repositories(folder)
        self.ports: dict[str, GitPort] = {url: made.create(url.rpartition("/")[2]) for url in (OWN, SHARED)}
        self.asked: list[str] = []

    def of(self, repo_url: str) -> GitPort:
        self.asked.append(repo_url)
        return self.ports[repo_url.removesuffix(".git")]

    def chart(self, repo_url: str, chart: str, *, pass_credentials: bool = False) -> GitPort:
        raise AssertionError("no charts")

    def push(self, url: str, **files: str) -> None:
        port = self.ports[url]
        change = Change({f"{name.replace('__', '/')}.yaml": text.encode() for name, text in files.items()}, "change",
                        Person("a", "a@example.com"), NOW)
        port.commit("main", change, expected_head=port.refs().get("refs/heads/main", ""))


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    made = Platform(tmp_path)
    made.push(SHARED, web__kustomization="resources: [web.yaml]\n", web__web=(
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n"))
    return made


def rendered(sources: Sources) -> list[Obj]:
    async def asked() -> list[Obj]:
        app = decode({"metadata": {"name": "shop", "namespace": "argocd"}, "spec": {
            "project": "team", "destination": {"server": "https://kubernetes.default.svc", "namespace": "prod"},
            "source": {"repoURL": f"{OWN}.git", "targetRevision": "main", "path": "."}}})
        revision, _ = await sources.resolve(Key("argocd", "shop"), app.sources, NOW, force=True)
        return await sources.objects(app, revision)

    return asyncio.run(asked())


def test_it_is_fetched_where_the_project_permits_it(platform: Platform) -> None:
    platform.push(OWN, kustomization=f"namePrefix: shop-\nresources: ['{SHARED}//web?ref=main']\nnameSuffix: -a\n")
    said: list[tuple[str, str]] = []

    def permits(app: Application, repo_url: str) -> bool:
        said.append((app.project, repo_url))
        return True

    sources = Sources(platform, Settings(), permits=permits)
    found = rendered(sources)
    assert [obj["metadata"]["name"] for obj in found] == ["shop-web-a"] and said == [("team", SHARED)]
    assert rendered(sources) is found and sources.renders == 1, "what a commit renders to is kept"


def test_a_base_of_the_default_branch_and_a_ref_that_is_not_there(platform: Platform) -> None:
    platform.push(OWN, kustomization=f"resources: ['{SHARED}.git//web']\n")
    sources = Sources(platform, Settings(), permits=lambda app, url: True)
    assert rendered(sources)[0]["metadata"]["name"] == "web"
    platform.push(OWN, kustomization=f"resources: ['{SHARED}.git//web?ref=v9']\n")
    with pytest.raises(UnknownRevision, match="v9"):
        rendered(sources)


def test_what_the_project_does_not_permit_is_not_asked(platform: Platform) -> None:
    platform.push(OWN, kustomization=f"resources: ['{SHARED}//web']\n")
    sources = Sources(platform, Settings(), permits=lambda app, url: False)
    with pytest.raises(ManifestError, match=f"project 'team' does not permit the repository {SHARED}"):
        rendered(sources)
    assert SHARED not in platform.asked
    with pytest.raises(ManifestError, match="does not permit"):
        rendered(Sources(platform, Settings()))


def test_too_many_are_refused(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fairway.gitops.sources._BASES", 1)
    platform.push(OWN, kustomization=f"resources: ['{SHARED}//web', '{SHARED}//web?ref=main']\n")
    with pytest.raises(ManifestError, match="more than 1 bases in other repositories"):
        rendered(Sources(platform, Settings(), permits=lambda app, url: True))


def test_a_base_that_moves_is_noticed_when_the_sources_are_looked_at(platform: Platform) -> None:
    platform.push(OWN, kustomization=f"resources: ['{SHARED}//web?ref=main']\n")
    sources = Sources(platform, Settings(), permits=lambda app, url: True)
    found = rendered(sources)
    assert sources.built_on(Key("argocd", "shop")) == {SHARED}
    platform.push(SHARED, other__readme="a: b\n")
    assert rendered(sources) is found and sources.renders == 1, "nothing that was read has changed"
    platform.push(SHARED, web__web=(
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 81}]}\n"))
    assert rendered(sources)[0]["spec"]["ports"] == [{"port": 81}]
    assert rendered(sources)[0]["spec"]["ports"] == [{"port": 81}] and sources.renders == 2
    app = decode({"metadata": {"name": "shop", "namespace": "argocd"}, "spec": {
        "project": "team", "destination": {"server": "https://kubernetes.default.svc", "namespace": "prod"},
        "source": {"repoURL": f"{OWN}.git", "targetRevision": "main", "path": "."}}})
    (note,) = sources.moved_without_us(app, synced=False)
    assert note.startswith(f"{SHARED} main moved from ")
    platform.push(OWN, kustomization="resources: [own.yaml]\n", own="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")
    assert rendered(sources)[0]["kind"] == "ConfigMap"
    assert sources.built_on(Key("argocd", "shop")) == frozenset()
