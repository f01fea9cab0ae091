"""ApplicationSets: what the generators say becomes Applications, and nothing is deleted on doubt."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fairway.gitops import go_template
from fairway.gitops.generators import Engine
from fairway.kube.objects import dig
from fairway.kube.resources import APPLICATION_SETS, APPLICATIONS, CONFIG_MAPS
from tests.gitops.conftest import Play
from tests.gitops.world import URL, World, config_map

TEMPLATE: dict[str, Any] = {
    "metadata": {"name": "{{.path.basename}}", "labels": {"team": "{{.team | default \"none\"}}"}},
    "spec": {"project": "default", "source": {"repoURL": URL, "targetRevision": "main", "path": "{{.path.path}}"},
             "destination": {"server": "https://kubernetes.default.svc", "namespace": "default"},
             "syncPolicy": {"automated": {"prune": True}}},
}  # fmt: skip
FOLDERS = {"git": {"repoURL": URL, "revision": "main",
                   "directories": [{"path": "apps/*"}, {"path": "apps/old", "exclude": True}]}}


def a_set(*generators: dict[str, Any], template: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet",
            "metadata": {"name": "all", "namespace": "argocd", "annotations": spec.pop("annotations", {})},
            "spec": {"goTemplate": True, "generators": list(generators), "template": template or TEMPLATE, **spec}}


async def names(world: World) -> list[str]:
    return sorted(a["metadata"]["name"] for a in (await world.api.list(APPLICATIONS, "argocd")).items)


async def until_names(world: World, wanted: list[str]) -> None:
    for _ in range(2000):
        if await names(world) == wanted:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{await names(world)} instead of {wanted}: {await world.get(APPLICATION_SETS, 'all', 'argocd')}")


async def condition(world: World, kind: str) -> tuple[str, str]:
    obj = await world.get(APPLICATION_SETS, "all", "argocd")
    found = next((c for c in dig(obj, "status", "conditions", default=[]) if c["type"] == kind), {})
    return found.get("status", ""), found.get("message", "")


def test_folders_become_applications_and_go_with_them(perform: Play) -> None:
    async def story(world: World) -> None:
        world.push(apps__a__x=config_map("a"), apps__b__x=config_map("b"), apps__old__x=config_map("old"))
        await world.api.create(a_set(FOLDERS))
        await until_names(world, ["a", "b"])
        await world.until_live(CONFIG_MAPS, "b", lambda o: True)
        world.push(apps__b__x=None, apps__c__x=config_map("c"))
        await until_names(world, ["a", "c"])
        assert await world.get(CONFIG_MAPS, "b") is None, "the finalizer takes the objects along"
        assert await condition(world, "ResourcesUpToDate") == ("True", "All applications have been generated successfully")

    perform(story)


def test_a_generator_that_fails_changes_nothing(perform: Play) -> None:
    async def story(world: World) -> None:
        world.push(apps__a__x=config_map("a"), apps__b__x=config_map("b"))
        await world.api.create(a_set(FOLDERS))
        await until_names(world, ["a", "b"])
        broken = {"git": {**FOLDERS["git"], "revision": "gone"}}
        await world.edit(APPLICATION_SETS, "all", {"spec": {"generators": [broken]}}, namespace="argocd")
        for _ in range(100):
            if (await condition(world, "ErrorOccurred"))[0] == "True":
                break
            await asyncio.sleep(0.1)
        assert "nothing is changed" in (await condition(world, "ErrorOccurred"))[1]
        assert await names(world) == ["a", "b"]

    perform(story)


def test_an_empty_answer_is_held_until_it_is_meant(perform: Play) -> None:
    async def story(world: World) -> None:
        world.push(apps__a__x=config_map("a"), apps__b__x=config_map("b"))
        await world.api.create(a_set(FOLDERS))
        await until_names(world, ["a", "b"])
        world.push(apps__a__x=None, apps__b__x=None, other__x=config_map("x"))
        await asyncio.sleep(10)
        assert await names(world) == ["a", "b"]
        await world.edit(APPLICATION_SETS, "all", {"metadata": {"annotations": {"fairway.dev/allow-empty": "true"}}},
                         namespace="argocd")
        await until_names(world, [])

    perform(story)


def test_applications_follow_their_template_and_edits_are_taken_back(perform: Play) -> None:
    async def story(world: World) -> None:
        world.push(apps__a__x=config_map("a"))
        await world.api.create(a_set(FOLDERS, ignoreApplicationDifferences=[{"jsonPointers": ["/spec/source/targetRevision"]}]))
        await until_names(world, ["a"])
        await world.edit_app({"spec": {"project": "other", "source": {"targetRevision": "v1"}}}, "a")
        app = await world.until(lambda o: o["spec"]["project"] == "default", name="a")
        assert app["spec"]["source"]["targetRevision"] == "v1", "a field that is to be ignored stays"

    perform(story)


def test_labels_and_annotations_are_the_templates_but_for_what_is_preserved(perform: Play) -> None:
    async def story(world: World) -> None:
        world.push(apps__a__x=config_map("a"))
        await world.api.create(a_set(FOLDERS, preservedFields={"annotations": ["team/owner"], "labels": []}))
        await until_names(world, ["a"])
        await world.edit_app({"metadata": {"labels": {"stray": "1"}, "annotations": {
            "stray": "1", "team/owner": "ann", "fairway.dev/notified": "{}"}}}, "a")
        app = await world.until(lambda o: "stray" not in o["metadata"]["labels"], name="a")
        assert app["metadata"]["labels"] == {"team": "none"}
        assert app["metadata"]["annotations"] == {"team/owner": "ann", "fairway.dev/notified": "{}"}
        before = app["metadata"]["resourceVersion"]
        await asyncio.sleep(60)
        assert (await world.app("a"))["metadata"]["resourceVersion"] == before, "nobody takes anything back for ever"

    perform(story)


@pytest.mark.parametrize(("name", "generators", "wanted"), [
    ("list", [{"list": {"elements": [{"n": "x"}, {"n": "y"}]}}], ["x", "y"]),
    ("clusters", [{"clusters": {"values": {"n": "on-{{.name}}"}}}], ["on-in-cluster"]),
    ("matrix", [{"matrix": {"generators": [{"list": {"elements": [{"a": "1"}, {"a": "2"}]}},
                                           {"list": {"elements": [{"n": "n{{.a}}"}]}}]}}], ["n1", "n2"]),
    ("merge", [{"merge": {"mergeKeys": ["k"], "generators": [
        {"list": {"elements": [{"k": "1", "n": "one"}, {"k": "2", "n": "two"}]}},
        {"list": {"elements": [{"k": "2", "n": "zwei"}, {"k": "3", "n": "three"}]}}]}}], ["one", "zwei"]),
    ("selector", [{"list": {"elements": [{"n": "x"}, {"n": "y"}]}, "selector": {"matchLabels": {"n": "y"}}}], ["y"]),
    ("files", [{"git": {"repoURL": URL, "revision": "main", "files": [{"path": "env/**/config.yaml"}]}}], ["prod-8", "test-2"]),
], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_generators(perform: Play, name: str, generators: list[dict[str, Any]], wanted: list[str]) -> None:
    template = {**TEMPLATE, "metadata": {"name": "{{ if .size }}{{ index .path.segments 1 }}-{{ .size }}{{ else if .values }}"
                                                 "{{ .values.n }}{{ else }}{{ .n }}{{ end }}"},
                "spec": {**TEMPLATE["spec"], "source": {**TEMPLATE["spec"]["source"], "path": "none"}}}

    async def story(world: World) -> None:
        world.push(env__prod__config="size: 8\n", env__test__config="size: 2\n")
        await world.api.create(a_set(*generators, template=template))
        await until_names(world, wanted)

    perform(story)


def test_the_simple_engine_replaces_names_and_leaves_what_it_does_not_know() -> None:
    params = {"path": {"path": "apps/a", "basename": "a", "segments": ["apps", "a"]}, "values": {"x": 1}}
    text = "{{path}} {{ path.basename }} {{path[0]}} {{values.x}} {{unknown}}"
    assert Engine().fill(text, params) == "apps/a a apps 1 {{unknown}}"


@pytest.mark.parametrize(("text", "wanted"), [
    ('{{ printf "%s-%d" .a.b 3 }}', "v-3"),
    ('{{ range $i, $e := .list }}{{ if $i }},{{ end }}{{ $e | quote }}{{ end }}', '"p","q"'),
    ('a {{- /* said */ -}} b', "ab"),
    ('{{ with .none }}yes{{ else }}no{{ end }}', "no"),
    ('{{ .none }}', "<no value>"),
    ('{{ ternary "t" "f" (eq .a.b "v") }}', "t"),
    ('{{ .name | slugify }} {{ .name | normalize }}', "feature-a-b feature-a-b"),
    ('{{ .list | toJson }}', '["p","q"]'),
    ('{{ regexReplaceAll "^Feature/(.*)$" .name "${1}" }}', "A_B"), ('{{ dig "a" "b" "-" $ }}{{ dig "x" "b" "-" $ }}', "v-"),
    ('{{ range until 3 }}{{ . }}{{ end }}', "012"), ('{{ list 3 1 3 | uniq | join "," }}', "3,1"),
    ('{{ merge (dict "a" 1) (dict "a" 2 "b" 3) | toJson }}', '{"a":1,"b":3}'), ('{{ kebabcase "FooBar" }}', "foo-bar"),
    ('{{ if semverCompare ">=1.2" "1.3.0" }}new{{ end }}', "new"), ('{{ div 7 2 }}{{ mod 7 2 }}', "31"),
    ('{{ get (fromYaml "a: [1, 2]") "a" | last }}', "2"), ('{{ index (split "/" "a/b") "_1" }}', "b"),
])
def test_go_templates(text: str, wanted: str) -> None:
    params = {"a": {"b": "v"}, "list": ["p", "q"], "name": "Feature/A_B"}
    assert go_template.render(text, params) == wanted


def test_mistakes_in_templates_are_named() -> None:
    with pytest.raises(go_template.TemplateError, match="map has no entry for key 'x'"):
        go_template.render("{{ .x }}", {}, strict=True)
    with pytest.raises(go_template.TemplateError, match="function 'env' is not known"):
        go_template.render('{{ env "HOME" }}', {})
    with pytest.raises(go_template.TemplateError, match="has no end"):
        go_template.render("{{ if .x }}", {})
