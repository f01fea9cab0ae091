"""Plain folders, Jsonnet, what a rendering has read, and files that are not fit to be read."""

from __future__ import annotations

import importlib.util

import pytest

from fairway.manifests import DictTree, Directory, Jsonnet, ManifestError, RecordingTree, Rendering, jsonnet, render
from fairway.manifests import yaml as manifest_yaml
from fairway.manifests.globs import matches

needs_jsonnet = pytest.mark.skipif(importlib.util.find_spec("_jsonnet") is None, reason="the package jsonnet is not installed")


def config_map(name: str) -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n"


TREE = DictTree({"app/a.yaml": config_map("a"),
                 "app/b.json": '{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "b"}}',
                 "app/deep/c.yml": config_map("c"), "app/deep/d.txt": "no: [", "app/.hidden/e.yaml": "no: ["})


@pytest.mark.parametrize(("directory", "names"), [
    (Directory(), ["a", "b"]), (Directory(recurse=True), ["a", "b", "c"]), (Directory(True, include="*.yaml"), ["a"]),
    (Directory(True, exclude="deep/*"), ["a", "b"]), (Directory(True, include="{a.*,*.yml}"), ["a", "c"])])
def test_plain_folders(directory: Directory, names: list[str]) -> None:
    assert [o["metadata"]["name"] for o in render(TREE, "app", Rendering(directory=directory))] == names


@pytest.mark.parametrize(("glob", "path", "matched"), [
    ("*.yaml", "a/b.yaml", True), ("a?.yaml", "ab.yaml", True), ("[ab].yaml", "c.yaml", False), ("[!ab].yaml", "c.yaml", True),
    ("{a,b/*}.yaml", "b/x.yaml", True), ("a.yaml", "aXyaml", False), ("\\*", "*", True), ("[", "[", True)])
def test_globs(glob: str, path: str, matched: bool) -> None:
    assert matches(glob, path) is matched


@needs_jsonnet
def test_jsonnet_with_imports_and_variables() -> None:
    tree = DictTree({
        "app/main.jsonnet": "local lib = import 'lib.libsonnet'; local up = import '../shared.libsonnet';\n"
                            "function(n='x') [lib.map(n + std.extVar('suffix')), up]",
        "vendor/lib.libsonnet": "{map(name):: {apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: name}}}",
        "shared.libsonnet": "{apiVersion: 'v1', kind: 'Secret', metadata: {name: 's'}}"})
    recording = RecordingTree(tree)
    options = Jsonnet(variables={"suffix": "-1"}, arguments_code={"n": "'a' + 'b'"}, libraries=("vendor",))
    found = render(recording, "app", Rendering(directory=Directory(jsonnet=options)))
    assert [o["metadata"]["name"] for o in found] == ["ab-1", "s"]
    assert {"vendor/lib.libsonnet", "shared.libsonnet"} <= recording.paths


@needs_jsonnet
@pytest.mark.parametrize(("text", "message"), [
    ("error 'no'", "RUNTIME ERROR: no"), ("{", "STATIC ERROR"),
    ("import '../../etc/passwd'", "no such file in this repository"),
    ("local f(x) = f(x) + 1; f(1)", "max stack frames exceeded")])
def test_mistakes_in_jsonnet(text: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        render(DictTree({"app/main.jsonnet": text}), "app")


@needs_jsonnet
def test_jsonnet_without_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonnet, "SECONDS", 0.5)
    with pytest.raises(ManifestError, match="and was stopped"):
        render(DictTree({"m.jsonnet": "local r = std.range(1, 100000); std.foldl(function(a, b) a + std.length(r + r), r, 0)"}))


def test_jsonnet_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ManifestError, match="Jsonnet is not rendered here; install the package `jsonnet`"):
        render(DictTree({"app/main.jsonnet": "{}"}), "app")


def test_a_commit_that_touches_nothing_that_was_read_renders_nothing() -> None:
    files = {"base/kustomization.yaml": "resources: [a.yaml]\n", "base/a.yaml": config_map("a"),
             "one/kustomization.yaml": "resources: [../base]\n", "two/b.yaml": config_map("b"), "two/README.md": "x"}
    one, two = RecordingTree(DictTree(files)), RecordingTree(DictTree(files))
    render(one, "one")
    render(two, "two")
    changes = ["base/a.yaml", "base/other.yaml", "one/kustomization.yml", "two/b.yaml", "two/new.yaml", "two/README.md",
               "three/c.yaml"]
    assert [path for path in changes if one.concerned([path])] == ["base/a.yaml", "one/kustomization.yml"]
    assert [path for path in changes if two.concerned([path])] == ["two/b.yaml", "two/new.yaml"]
    missing = RecordingTree(DictTree(files))
    with pytest.raises(ManifestError):
        render(missing, "three")
    assert missing.concerned(["three/c.yaml"]) and not missing.concerned(["one/x"])


def test_a_rewritten_document_keeps_its_quotes() -> None:
    text = 'a: "x"\nb: {c: 1, d: \'y\'}\ne:\n- 0x10\n- yes\n'
    assert manifest_yaml.rewritten(manifest_yaml.nodes(text)[0]) == text
