"""Where objects come from: several sources, versions, kustomize options; and how seldom anything is rendered."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pygit2
import pytest

from fairway.gitops import Settings, semver
from fairway.gitops.compare import with_same
from fairway.gitops.rendering import Ask, image_override, render_source, takes_time
from fairway.gitops.sources import Sources
from fairway.gitops.spec import decode_source
from fairway.kube.objects import Key, dig
from fairway.kube.resources import CONFIG_MAPS, DEPLOYMENTS
from fairway.manifests import DictTree, ManifestError
from tests.gitops.conftest import Play
from tests.gitops.world import URL, World, config_map

DEPLOYMENT = """apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "web:1"}]}
"""


def test_several_sources_are_one_application(perform: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(prod__a=config_map("a"), extra__b=config_map("b"))
        sources = [{"repoURL": URL, "path": "prod", "targetRevision": "main"},
                   {"repoURL": URL, "path": "extra", "targetRevision": "main"},
                   {"repoURL": URL, "ref": "values", "targetRevision": "main"}]
        await world.create_app(sources=sources)
        app = await world.until(lambda o: dig(o, "status", "operationState", "phase") == "Succeeded")
        assert app["status"]["sync"]["revisions"] == [first] * 3
        assert app["status"]["sync"]["comparedTo"]["sources"] == sources
        assert app["status"]["history"][0]["revisions"] == [first] * 3
        assert {r["name"] for r in app["status"]["resources"]} == {"a", "b"}
        second = world.push(extra__b=config_map("b", "2"))
        await world.until_live(CONFIG_MAPS, "b", lambda o: o["data"]["value"] == "2")
        app = await world.until(lambda o: len(o["status"]["history"]) == 2)
        assert app["status"]["sync"]["revisions"] == [second] * 3

    perform(story)


def test_a_commit_renders_only_what_reads_what_it_touches(perform: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(**{f"app{n}__x": config_map(f"x{n}") for n in range(20)})
        for n in range(20):
            await world.create_app(f"app{n}", path=f"app{n}")
        for n in range(20):
            await world.until(lambda o: dig(o, "status", "sync", "status") == "Synced", name=f"app{n}")
        sources = world.controller._sources
        assert sources.renders == 20
        second = world.push(app7__x=config_map("x7", "2"))
        await world.until_live(CONFIG_MAPS, "x7", lambda o: o["data"]["value"] == "2")
        for n in range(20):
            await world.until(lambda o: o["status"]["sync"]["revision"] == second, name=f"app{n}")
        assert sources.renders == 21 and first != second
        world.push(app3__new=config_map("new"))
        await world.until_live(CONFIG_MAPS, "new", lambda o: True)
        assert sources.renders == 22, "a new file in a folder that was listed is seen"

    perform(story)


def test_a_version_constraint_means_the_highest_tag(perform: Play) -> None:
    async def story(world: World) -> None:
        shas = {}
        for version in ("1.0.0", "v1.2.0", "1.10.1", "2.0.0-rc.1"):
            shas[version] = world.push(prod__a=config_map("a", version))
            world.repo._repo.references.create(f"refs/tags/{version}", shas[version])
        await world.create_app(source={"repoURL": URL, "path": "prod", "targetRevision": "1.x"})
        app = await world.until(lambda o: dig(o, "status", "sync", "status") == "Synced")
        assert app["status"]["sync"]["revision"] == shas["1.10.1"]
        await world.edit_app({"spec": {"source": {"targetRevision": "3.x"}}})
        app = await world.until(lambda o: dig(o, "status", "conditions"))
        assert "no tag fits the version constraint '3.x'" in app["status"]["conditions"][0]["message"]
        assert await world.get(CONFIG_MAPS, "a") is not None

    perform(story)


def test_kustomize_options_of_the_application(perform: Play) -> None:
    async def story(world: World) -> None:
        world.push(prod__kustomization="resources: [web.yaml]\n", prod__web=DEPLOYMENT)
        options: dict[str, Any] = {"namePrefix": "blue-", "images": ["web=registry.example.com/web:2"],
                                   "commonAnnotations": {"team": "shop"}, "replicas": [{"name": "web", "count": 3}]}
        await world.create_app(source={"repoURL": URL, "path": "prod", "targetRevision": "main", "kustomize": options})
        live = await world.until_live(DEPLOYMENTS, "blue-web", lambda o: True)
        assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example.com/web:2"
        assert live["spec"]["replicas"] == 3 and live["metadata"]["annotations"]["team"] == "shop"

    perform(story)


def test_a_directory_with_its_folders(perform: Play) -> None:
    async def story(world: World) -> None:
        world.push(prod__a=config_map("a"), prod__deep__b=config_map("b"), prod__deep__skip=config_map("skip"))
        await world.create_app(source={"repoURL": URL, "path": "prod", "targetRevision": "main",
                                       "directory": {"recurse": True, "exclude": "**/skip.yaml"}})
        app = await world.until(lambda o: dig(o, "status", "sync", "status") == "Synced")
        assert {r["name"] for r in app["status"]["resources"]} == {"a", "b"}

    perform(story)


def test_a_lost_repository_deletes_nothing(perform: Play) -> None:
    async def story(world: World) -> None:
        first = world.push(prod__a=config_map("a"))
        await world.create_app()
        await world.settled(first)
        await world.edit_app({"spec": {"source": {"repoURL": "https://git.example.com/shop/gone.git"}}})
        app = await world.until(lambda o: dig(o, "status", "conditions"))
        await asyncio.sleep(60)
        assert app["status"]["sync"]["status"] == "Unknown" and await world.get(CONFIG_MAPS, "a") is not None

    perform(story)


@pytest.mark.parametrize(("constraint", "wanted"), [
    ("^1.2", "1.10.1"), ("~1.2.0", "v1.2.9"), (">=1.0 <1.3", "v1.2.9"), ("1.2 - 1.4", "v1.2.9"), ("*", "2.0.0"),
    ("2.0.0-rc.1", None), ("1.2.x || 0.9.x", "v1.2.9"), (">2.0.0", None), ("^0.9.1", "0.9.4"), (">=2.0.0-rc.0", "2.0.0"),
    ("!=2.0.0", "1.10.1"), ("main", None),
])  # fmt: skip
def test_constraints(constraint: str, wanted: str | None) -> None:
    tags = ["0.9.4", "0.10.0", "v1.2.9", "1.10.1", "2.0.0-rc.1", "2.0.0", "latest"]
    if semver.is_constraint(constraint):
        assert semver.best(constraint, tags) == wanted
    else:
        assert constraint in ("2.0.0-rc.1", "main")


@pytest.mark.parametrize(("text", "wanted"), [
    ("web:2", {"name": "web", "newTag": "2"}),
    ("web=registry:5000/web:2", {"name": "web", "newName": "registry:5000/web", "newTag": "2"}),
    ("web@sha256:ab", {"name": "web", "digest": "sha256:ab"}),
    ("web=other", {"name": "web", "newName": "other"}),
])
def test_image_overrides(text: str, wanted: dict[str, str]) -> None:
    assert image_override(text) == wanted


def test_a_chart_takes_its_values_from_another_source() -> None:
    chart = DictTree({"web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n", "web/values.yaml": "word: one\n",
                      "web/templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\n"
                                              "metadata: {name: {{ .Release.Name }}-{{ .Values.word }}}\n"
                                              "data: {size: {{ .Values.size | quote }}}\n"})
    said = {"repoURL": URL, "path": "web",
            "helm": {"valueFiles": ["$env/prod.yaml"], "parameters": [{"name": "size", "value": "3"}]}}
    ask = Ask(decode_source(said, "spec.source"), chart, "shop", "prod", {"env": DictTree({"prod.yaml": "word: two\n"})})
    assert takes_time(ask)
    try:
        objects = render_source(ask)
    except ManifestError as error:
        if "helm" in str(error).lower() and "install" in str(error).lower():
            pytest.skip(str(error))
        raise
    assert [(o["metadata"]["name"], o["data"]) for o in objects] == [("shop-two", {"size": "3"})]


def test_a_branch_that_many_follow_is_asked_for_once_until_somebody_says_that_it_moved() -> None:
    class Remote:
        url, remote, asked = "https://forge.example.com/shop", True, 0

        def resolve(self, revision: str) -> str:
            self.asked += 1
            return f"{self.asked:040d}"

    async def main() -> None:
        port = Remote()
        sources = Sources(SimpleNamespace(of=lambda url: port), Settings())  # type: ignore[arg-type]
        followed = (decode_source({"repoURL": port.url, "path": "."}, "source"),)
        now = datetime(2030, 1, 1, tzinfo=UTC)

        async def everybody(at: datetime) -> set[str]:
            for n in range(30):
                sources.forget(Key("argocd", f"app-{n}"))
            asked = [sources.resolve(Key("argocd", f"app-{n}"), followed, at, force=False) for n in range(30)]
            return {revision for revision, _ in await asyncio.gather(*asked)}

        assert await everybody(now) == {f"{1:040d}"} and port.asked == 1
        sources.moved(port.url)
        assert await everybody(now) == {f"{2:040d}"} and port.asked == 2
        assert await everybody(now + timedelta(minutes=3)) == {f"{3:040d}"} and port.asked == 3

    asyncio.run(main())


def test_links_within_the_repository_are_followed_and_those_out_of_it_refused(perform: Play) -> None:
    async def story(world: World) -> None:
        world.push(base__a=config_map("a"), base__kustomization="resources: [a.yaml]\n",
                   prod__kustomization="resources: [base]\n")
        first = link(world, "prod/base", "../base")
        await world.create_app()
        await world.settled(first)
        assert await world.get(CONFIG_MAPS, "a") is not None
        second = world.push(base__a=config_map("a", "2"))
        await world.until_live(CONFIG_MAPS, "a", lambda o: o["data"]["value"] == "2")
        await world.settled(second)
        for target, words in (("../../../etc", "link out of the tree"), ("base", "in a circle")):
            link(world, "prod/base", target)
            app = await world.until(lambda o, w=words: w in dig(o, "status", "conditions", 0, "message", default=""))  # type: ignore[misc]
            assert app["status"]["sync"]["status"] == "Unknown"
        assert await world.get(CONFIG_MAPS, "a") is not None, "nothing is deleted on doubt"

    def link(world: World, path: str, target: str) -> str:
        """Commit a symbolic link, as git keeps one."""
        repo = pygit2.Repository(str(world.repo.path))
        head = repo.branches["main"].peel(pygit2.Commit)
        index = pygit2.Index()
        index.read_tree(head.tree)
        index.add(pygit2.IndexEntry(path, repo.create_blob(target.encode()), pygit2.enums.FileMode.LINK))
        who = pygit2.Signature("Ann", "ann@example.com")
        made = repo.create_commit("refs/heads/main", who, who, "link", index.write_tree(repo), [head.id])
        world.controller.refresh()
        return str(made)

    perform(story)


def test_what_a_commit_leaves_alone_is_the_same_object_and_what_it_changes_is_not() -> None:
    def objects(value: Any) -> list[Any]:
        return [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"x": said}}
                for name, said in (("kept", "1"), ("changed", value))]

    before = objects(1)
    for value, same in ((1, True), (2, False), (True, False), (1.0, False)):
        kept, changed = with_same(objects(value), before)
        assert kept is before[0]
        assert (changed is before[1]) is same
        assert type(changed["data"]["x"]) is type(value)
