"""What a hostile or broken repository can hold: refused with the place and the mend, before time or memory run out.

Every case here took minutes, gigabytes or the whole stack where nothing stood against it.
"""

from __future__ import annotations

import importlib.util
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from fairway.gitops import go_template
from fairway.gitops.health import Health
from fairway.gitops.lua_health import LuaHealth
from fairway.manifests import DictTree, Directory, FolderTree, HelmOptions, ManifestError, Rendering, render
from fairway.manifests import jsonnet as jsonnet_room
from fairway.manifests import yaml as manifest_yaml
from fairway.manifests.globs import matches
from fairway.manifests.helm import engine as helm_engine
from fairway.manifests.helm.engine import CommandEngine, WorkerEngine

HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
needs_sdk = pytest.mark.skipif(importlib.util.find_spec("helm_python") is None, reason="the Helm SDK is not installed")
needs_jsonnet = pytest.mark.skipif(importlib.util.find_spec("_jsonnet") is None, reason="jsonnet is not installed")


def refused(files: dict[str, str | bytes], message: str, path: str = "", how: Rendering | None = None) -> None:
    with pytest.raises(ManifestError, match=message):
        render(DictTree(files), path, how or Rendering())


# --- paths and links --------------------------------------------------------------------------------------------------


def test_links_and_paths_out_of_the_tree(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    (root / "folder").mkdir(parents=True)
    (tmp_path / "secret.yaml").write_text(HEAD)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "b.yaml").write_text(HEAD)
    (root / "a.yaml").symlink_to(tmp_path / "secret.yaml")
    with pytest.raises(ManifestError, match=r"a\.yaml: a symbolic link out of the tree"):
        render(FolderTree(root))
    (root / "a.yaml").unlink()
    (root / "folder" / "deep").symlink_to(tmp_path / "outside")
    with pytest.raises(ManifestError, match="a symbolic link out of the tree"):
        render(FolderTree(root), "folder", Rendering(directory=Directory(recurse=True)))
    (root / "kustomization.yaml").write_text("resources: [folder/deep/b.yaml]\n")
    with pytest.raises(ManifestError, match="a symbolic link out of the tree"):
        render(FolderTree(root))
    with pytest.raises(ManifestError, match="app path does not exist"):
        render(FolderTree(root), "../secret.yaml")


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd"])
@pytest.mark.parametrize("field", ["resources: ['{}']", "configMapGenerator: [{{name: a, files: ['{}']}}]", "crds: ['{}']",
                                   "configMapGenerator: [{{name: a, envs: ['{}']}}]", "patches: [{{path: '{}'}}]",
                                   "components: ['{}']"])
def test_a_kustomization_reads_nothing_outside(name: str, field: str) -> None:
    with pytest.raises(ManifestError):
        render(DictTree({"app/kustomization.yaml": field.format(name) + "\n"}), "app")


@pytest.mark.parametrize(("files", "message"), [
    ({"kustomization.yaml": "resources: [a.yaml]\npatches: [{patch: '[]', target: web}]\n", "a.yaml": HEAD},
     "the target of a patch is a mapping, not 'web'"),
    ({"kustomization.yaml": "resources: [a.yaml]\npatches: [{patch: '[x]', target: {kind: ConfigMap}}]\n", "a.yaml": HEAD},
     "an operation is a mapping with op and path, not 'x'"),
    ({"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": HEAD.replace("name: a", "name: a, labels: true")},
     "metadata.labels is a mapping, not True"),
    ({"kustomization.yaml": "resources: [a.yaml]\ncommonAnnotations: {a: b}\n"
      "patches: [{patch: '[{op: add, path: /metadata/annotations, value: 3}]', target: {kind: ConfigMap}}]\n", "a.yaml": HEAD},
     "metadata/annotations is a mapping, not 3"),
    ({"kustomization.yaml": f"resources: [{'a' * 400}]\n"}, "no such file or directory"),
])  # fmt: skip
def test_values_of_another_shape_than_their_field(files: dict[str, str], message: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    for tree in (DictTree(dict(files)), FolderTree(tmp_path)):
        with pytest.raises(ManifestError, match=message):
            render(tree, "")


def test_a_number_beyond_every_float_is_text() -> None:
    [obj] = render(DictTree({"a.yaml": HEAD + f"data: {{a: {'9' * 400}}}\n"}), "")
    assert obj["data"]["a"] == "9" * 400


# --- YAML -------------------------------------------------------------------------------------------------------------


def laughs(width: int, levels: int) -> str:
    first = f"a0: &a0 [{', '.join('x' * width)}]"
    return "\n".join([first, *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels))])


@pytest.mark.parametrize(("name", "text", "message"), [
    ("laughs", laughs(9, 10), "aliases multiply too much"),
    ("merges", "a: &a {" + ",".join(f"k{i}: 1" for i in range(2000)) + "}\nb:\n" + "- {<<: *a}\n" * 2000, "aliases multiply"),
    ("cycle", "a: &x\n  b: *x\n", "an alias contains itself"),
    ("brackets", "a: " + "[" * 100_000, "exceeded maximum nesting depth"),
    ("stairs", "".join(" " * n + "a:\n" for n in range(2000)), "exceeded maximum nesting depth"),
    ("json", '{"a":' * 50_000 + "1" + "}" * 50_000, "exceeded maximum nesting depth"),
    ("giant", "#" * (50 * 2**20), "50 MB in one file; at most 20 MB"),
], ids=lambda v: v if isinstance(v, str) and len(v) < 10 else "")  # fmt: skip
def test_yaml_that_explodes(name: str, text: str, message: str) -> None:
    refused({"a.yaml": text}, message)


def test_more_values_than_anybody_means_are_not_even_composed(monkeypatch: pytest.MonkeyPatch) -> None:
    """20 MB of `1,` are ten million nodes, 3 GB: the composer itself is stopped at the limit."""
    monkeypatch.setattr(manifest_yaml, "MAX_NODES", 10_000)
    tracemalloc.start()
    try:
        refused({"a.yaml": f"{HEAD}x: [{'1,' * 2_000_000}]"}, "more than 10000 values in one file; split it")
        refused({"a.yaml": "---\n" * 500_000}, "more than 10000 values in one file; split it")
        assert tracemalloc.get_traced_memory()[1] < 40 * 2**20
    finally:
        tracemalloc.stop()


# --- kustomize --------------------------------------------------------------------------------------------------------


def test_layers_without_end() -> None:
    chain = {f"k{n}/kustomization.yaml": f"resources: [../k{n + 1}]" for n in range(1500)}
    refused({**chain, "k1500/kustomization.yaml": "resources: []"}, "more than 100 layers on one another", "k0")
    refused({"a/kustomization.yaml": "resources: [../b]", "b/kustomization.yaml": "resources: [../a]"}, "cycle detected", "a")


def test_bases_that_double_with_every_level(monkeypatch: pytest.MonkeyPatch) -> None:
    from fairway.manifests.kustomize import layers

    monkeypatch.setattr(layers, "MAX_LAYERS", 500)
    files: dict[str, str | bytes] = {
        f"b{n}{side}/kustomization.yaml": f"nameSuffix: -{side}{n}\nresources: [../b{n + 1}x, ../b{n + 1}y]\n"
        for n in range(18) for side in "xy"}
    files |= {f"b18{side}/kustomization.yaml": "resources: [a.yaml]" for side in "xy"}
    files |= {f"b18{side}/a.yaml": HEAD.replace("name: a", f"name: a{side}") for side in "xy"}
    refused(files, "or 500 in all; name a base once", "b0x")


def test_a_patch_that_copies_its_object_into_itself() -> None:
    operations = "".join(f"    - {{op: copy, from: /data, path: /data/x{n}}}\n" for n in range(30))
    refused({"kustomization.yaml": f"resources: [a.yaml]\npatches:\n- target: {{kind: ConfigMap}}\n  patch: |\n{operations}",
             "a.yaml": f"{HEAD}data: {{a: b}}"}, "more than 12 copy operations")


def test_patterns_of_files_do_not_backtrack() -> None:
    path = "a" * 200 + ".yaml"
    assert not matches("*a" * 30 + "b", path) and matches("*a" * 30 + "*", path)
    assert not matches("{a,b}" * 40, path), "alternatives are tried up to a number"
    assert render(DictTree({path: HEAD}), "", Rendering(directory=Directory(include="*a" * 30 + "b"))) == []


# --- foreign runtimes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "message"), [
    ('{{ printf ' + '"' * 41 + " }}", "an action is not closed"),
    ("{{ " + "/**/ " * 40 + '" }}', "an action is not closed"),
    ('{{ regexReplaceAll "a+" .s "${1}" }}', "invalid group reference"),
    ("{{ div 1 0 }}", "division by zero"),
    ("{{ default }}", "default: .*missing"),
    ('{{ print "a\nb" }}', "is no text"),
    ("{{ if .s }}a{{ else b }}c{{ end }}", "after else an if or a with may stand"),
])  # fmt: skip
def test_templates_that_mislead_are_refused_at_once(text: str, message: str) -> None:
    with pytest.raises(go_template.TemplateError, match=message):
        go_template.render(text, {"s": "aaa"})


@needs_jsonnet
def test_jsonnet_that_runs_prints_or_grows_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonnet_room, "SECONDS", 1.0)
    refused({"a.jsonnet": "local f(n) = f(n + 1) tailstrict; f(0)"}, "was stopped|max stack frames")
    monkeypatch.setattr(jsonnet_room, "SECONDS", 20.0)
    monkeypatch.setattr(jsonnet_room, "OUTPUT_BYTES", 100_000)
    refused({"a.jsonnet": "[std.repeat('x', 1000) for n in std.range(1, 1000)]"}, "printed more than 0 MB, and was stopped")
    monkeypatch.setattr(jsonnet_room, "SECONDS", 1.0)
    monkeypatch.setattr(jsonnet_room, "MEMORY_BYTES", 200 * 2**20)
    refused({"a.jsonnet": "local d(n) = if n == 0 then ['x'] else d(n - 1) + d(n - 1); std.length(d(30))"}, "was stopped")


@pytest.fixture
def worker() -> Iterator[WorkerEngine]:
    found = WorkerEngine(seconds=20)
    yield found
    found.close()


def chart(template: str) -> dict[str, str | bytes]:
    return {"web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n", "web/templates/a.yaml": template}


@needs_sdk
def test_a_chart_that_prints_without_end(worker: WorkerEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helm_engine, "OUTPUT_BYTES", 1 << 20)
    huge = chart('{{ range until 100000 }}a: {{ repeat 100 "x" }}\n{{ end }}')
    refused(huge, "the templates print more than 1 MB", "web", Rendering(helm=HelmOptions("a"), engine=worker))
    fine = render(DictTree(chart(HEAD)), "web", Rendering(helm=HelmOptions("a"), engine=worker))
    assert len(fine) == 1, "the next chart gets a new worker"


@needs_sdk
def test_templates_that_include_themselves(worker: WorkerEngine) -> None:
    endless = chart('{{ define "x" }}{{ include "x" . }}{{ end }}{{ include "x" . }}')
    refused(endless, r"web/templates/a\.yaml", "web", Rendering(helm=HelmOptions("a"), engine=worker))


def test_a_helm_command_that_prints_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helm_engine, "OUTPUT_BYTES", 1 << 20)
    helm = tmp_path / "helm"
    helm.write_text("#!/bin/sh\nexec yes 'a: b'\n")
    helm.chmod(0o755)
    refused(chart(HEAD), "print more than 1 MB", "web", Rendering(helm=HelmOptions("a"), engine=CommandEngine(str(helm))))


def test_a_chart_name_and_a_values_file_are_no_paths() -> None:
    refused({"web/Chart.yaml": "name: ../../x\n"}, "without slashes", "web", Rendering(helm=HelmOptions("a"),
        engine=CommandEngine("helm")))
    refused(chart(HEAD), "outside of this repository", "web", Rendering(helm=HelmOptions("a", value_files=("../../x.yaml",)),
        engine=CommandEngine("helm")))


@pytest.mark.parametrize("script", [
    "while true do end", "local s = 'x' while true do s = s .. s end", "local t = {} while true do t[#t + 1] = {} end",
    "pcall(function() while true do end end) return {status = 'Healthy'}", "return os.execute('true')",
    "return io.open('/etc/passwd')",
])  # fmt: skip
def test_a_lua_check_that_runs_grows_or_reaches_out(script: str) -> None:
    found = LuaHealth(script)({"kind": "Thing"})
    assert isinstance(found, Health) and found.status == "Unknown" and "the Lua health check failed" in found.message
