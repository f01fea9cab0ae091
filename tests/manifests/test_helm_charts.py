"""Charts built of what the large public ones are built of: an umbrella with subcharts, and one with every idiom."""

from __future__ import annotations

import base64
import importlib.util
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from fairway.kube.objects import Obj
from fairway.manifests import DictTree, HelmOptions, ManifestError, Parameter, Rendering, render
from fairway.manifests.helm.engine import HelmEngine, WorkerEngine, engine_on_this_machine

pytestmark = pytest.mark.skipif(importlib.util.find_spec("helm_python") is None and shutil.which("helm") is None,
                                reason="neither the Helm SDK nor helm is installed")  # fmt: skip


@pytest.fixture(scope="module")
def engine() -> Iterator[HelmEngine]:
    found = engine_on_this_machine()
    yield found
    if isinstance(found, WorkerEngine):
        found.close()


def rendered(engine: HelmEngine, files: dict[str, str], folder: str, **options: Any) -> dict[tuple[str, str], Obj]:
    objects = render(DictTree(files), folder, Rendering(helm=HelmOptions("mon", **options), engine=engine))
    return {(o["kind"], o["metadata"]["name"]): o for o in objects}


# --- an umbrella: conditions, tags, aliases, globals, a library, values that a child lends to its parent ----------------

_LIBRARY = """\
{{- define "common.fullname" -}}{{ printf "%s-%s" .Release.Name (default .Chart.Name .Values.nameOverride) | trunc 63 | trimSuffix "-" }}{{- end }}
{{- define "common.labels" -}}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.global.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}
"""  # noqa: E501
_EXPORTER = """\
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: {{ include "common.fullname" . }}
  labels:
    {{- include "common.labels" . | nindent 4 }}
spec:
  selector: {matchLabels: {app: {{ .Chart.Name }}}}
  template:
    metadata: {labels: {app: {{ .Chart.Name }}}}
    spec:
      containers:
      - name: main
        image: "{{ .Values.global.registry | default "registry.example.com" }}/{{ .Values.image.name }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
"""  # noqa: E501
_SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: {{ include \"common.fullname\" . }}}\nspec: {ports: [{port: {{ .Values.port }}}]}\n"  # noqa: E501
UMBRELLA = {
    "stack/Chart.yaml": "apiVersion: v2\nname: stack\nversion: 2.0.0\ndependencies:\n"
                        "- {name: common, version: 1.x}\n"
                        "- {name: exporter, version: 1.x, condition: exporter.enabled}\n"
                        "- {name: store, version: 1.x, alias: cache, tags: [extras]}\n"
                        "- {name: store, version: 1.x, alias: archive, tags: [extras]}\n"
                        "- {name: gateway, version: 1.x, import-values: [{child: public, parent: gatewayPublic}]}\n",
    "stack/values.yaml": "global: {labels: {team: a}}\nexporter: {enabled: true}\ncache: {port: 1}\narchive: {port: 2}\n"
                         "tags: {extras: false}\n",
    "stack/templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ include \"common.fullname\" . }}}\n"
                              "data: {gateway: {{ .Values.gatewayPublic.host }}}\n",
    "stack/charts/common/Chart.yaml": "apiVersion: v2\nname: common\nversion: 1.0.0\ntype: library\n",
    "stack/charts/common/templates/_all.tpl": _LIBRARY,
    "stack/charts/exporter/Chart.yaml": "apiVersion: v2\nname: exporter\nversion: 1.0.0\nappVersion: v1.8.2\n",
    "stack/charts/exporter/values.yaml": "image: {name: node-exporter}\n",
    "stack/charts/exporter/templates/ds.yaml": _EXPORTER,
    "stack/charts/exporter/crds/probe.yaml": "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n"
                                             "metadata: {name: probes.example.com}\n",
    "stack/charts/store/Chart.yaml": "apiVersion: v2\nname: store\nversion: 1.0.0\n",
    "stack/charts/store/values.yaml": "port: 9\nglobal: {}\n", "stack/charts/store/templates/svc.yaml": _SERVICE,
    "stack/charts/gateway/Chart.yaml": "apiVersion: v2\nname: gateway\nversion: 1.0.0\n",
    "stack/charts/gateway/values.yaml": "public: {host: shop.example.com}\nglobal: {}\n",
    "stack/charts/gateway/templates/NOTES.txt": "{{ fail \"notes are not manifests\" }}",
}  # fmt: skip


def test_subcharts_are_switched_named_and_given_what_is_global(engine: HelmEngine) -> None:
    notes = {k: v for k, v in UMBRELLA.items() if not k.endswith("NOTES.txt")}
    found = rendered(engine, notes, "stack")
    assert set(found) == {("CustomResourceDefinition", "probes.example.com"), ("ConfigMap", "mon-stack"),
                          ("DaemonSet", "mon-exporter")}
    exporter = found["DaemonSet", "mon-exporter"]
    assert exporter["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "Helm", "team": "a"}
    assert exporter["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example.com/node-exporter:v1.8.2"
    assert found["ConfigMap", "mon-stack"]["data"] == {"gateway": "shop.example.com"}
    found = rendered(engine, notes, "stack", crds=False, values={"global": {"registry": "r.example.com"}}, parameters=(
        Parameter("tags.extras", "true"), Parameter("exporter.enabled", "false"), Parameter("archive.nameOverride", "old")))
    assert {key: o["spec"]["ports"] for key, o in found.items() if key[0] == "Service"} == {
        ("Service", "mon-cache"): [{"port": 1}], ("Service", "mon-old"): [{"port": 2}]}
    assert not any(kind == "DaemonSet" for kind, _ in found)


def test_a_chart_that_fails_says_so_with_its_own_words(engine: HelmEngine) -> None:
    with pytest.raises(ManifestError, match=r"stack/charts/gateway/templates/NOTES\.txt:1.*notes are not manifests"):
        rendered(engine, UMBRELLA, "stack")


# --- every idiom of templates -------------------------------------------------------------------------------------------

_IDIOMS = """\
{{- $root := . -}}
{{- range $name, $job := .Values.jobs }}
{{- if $job.enabled }}
---
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {{ $root.Release.Name }}-{{ $name | lower | replace "_" "-" }}
  annotations: {{- merge (dict "owner" "x") ($job.annotations | default dict) | toYaml | nindent 4 }}
spec:
  schedule: {{ $job.schedule | quote }}
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: {{ ternary "Never" "OnFailure" (eq (int $job.retries) 0) }}
          containers:
          - name: main
            image: {{ required (printf "jobs.%s.image is needed" $name) $job.image }}
            {{- with $job.env }}
            env:
            {{- range $key := keys . | sortAlpha }}
            - {name: {{ $key }}, value: {{ tpl (get $job.env $key | toString) $root | quote }}}
            {{- end }}
            {{- end }}
{{- end }}
{{- end }}
"""
_FILES = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: dashboards}
data:
{{ (.Files.Glob "dashboards/*.json").AsConfig | indent 2 }}
  lines: {{ .Files.Lines "list.txt" | join "," | quote }}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
data:
{{ (.Files.Glob "keys/*").AsSecrets | indent 2 }}
"""
_CAPABILITIES = """\
{{- if .Capabilities.APIVersions.Has "policy/v1" }}
apiVersion: policy/v1
{{- else }}
apiVersion: policy/v1beta1
{{- end }}
kind: PodDisruptionBudget
metadata:
  name: budget
  labels:
    new: {{ semverCompare ">=1.29-0" .Capabilities.KubeVersion.GitVersion | quote }}
    fresh: {{ .Release.IsInstall | quote }}
    known: {{ (lookup "v1" "Secret" .Release.Namespace "kept").data | default "none" | quote }}
    encoded: {{ "x" | b64enc | trimSuffix "==" }}
    digest: {{ .Values.jobs | toJson | sha256sum | trunc 8 | quote }}
spec: {maxUnavailable: {{ coalesce .Values.absent .Values.alsoAbsent "50%" }}}
"""
_HOOKS = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: after
  annotations:
    helm.sh/hook: post-install,post-upgrade
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: before, annotations: {helm.sh/hook: pre-install, helm.sh/hook-weight: "-10"}}
---
apiVersion: v1
kind: Pod
metadata: {name: try, annotations: {helm.sh/hook: test}}
"""
IDIOMS = {
    "jobs/Chart.yaml": "apiVersion: v2\nname: jobs\nversion: 0.1.0\nkubeVersion: '>=1.25.0-0'\n",
    "jobs/values.yaml": "jobs:\n  NIGHTLY_A: {enabled: true, schedule: '0 3 * * *', image: 'a:1', retries: 0,\n"
                        "    env: {TO: '{{ .Release.Namespace }}.example.com', COUNT: 3}, annotations: {owner: team}}\n"
                        "  off: {enabled: false}\n",
    "jobs/dashboards/one.json": '{"title": "One"}', "jobs/keys/id": "secret", "jobs/list.txt": "a\nb",
    "jobs/templates/jobs.yaml": _IDIOMS, "jobs/templates/files.yaml": _FILES, "jobs/templates/budget.yaml": _CAPABILITIES,
    "jobs/templates/hooks.yaml": _HOOKS,
}  # fmt: skip


def test_the_idioms_of_templates(engine: HelmEngine) -> None:
    found = rendered(engine, IDIOMS, "jobs", namespace="prod", kube_version="v1.31.2")
    job = found["CronJob", "mon-nightly-a"]
    assert job["metadata"]["annotations"] == {"owner": "x"}, "the first of what is merged wins"
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["containers"][0]["env"] == [{"name": "COUNT", "value": "3"}, {"name": "TO", "value": "prod.example.com"}]
    assert found["ConfigMap", "dashboards"]["data"] == {"one.json": '{"title": "One"}', "lines": "a,b"}
    assert base64.b64decode(found["Secret", "keys"]["data"]["id"]) == b"secret"
    budget = found["PodDisruptionBudget", "budget"]
    assert budget["apiVersion"] == "policy/v1" and budget["spec"] == {"maxUnavailable": "50%"}
    assert {k: budget["metadata"]["labels"][k] for k in ("new", "fresh", "known")} == {
        "new": "true", "fresh": "true", "known": "none"}, "a lookup finds nothing"
    assert ("Pod", "try") in found and ("Pod", "try") not in rendered(engine, IDIOMS, "jobs", tests=False)


def test_hooks_become_phases(engine: HelmEngine) -> None:
    from fairway.gitops import hooks

    found = rendered(engine, IDIOMS, "jobs", tests=False)
    assert set(hooks.phases_of(found["ServiceAccount", "before"])) == {"PreSync"}
    assert set(hooks.phases_of(found["Job", "after"])) == {"PostSync"}
    assert set(hooks.delete_policies(found["Job", "after"])) == {"BeforeHookCreation", "HookSucceeded"}


def test_mistakes_in_values_and_versions(engine: HelmEngine) -> None:
    with pytest.raises(ManifestError, match=r"jobs/templates/jobs\.yaml:\d+.*jobs\.off\.image is needed"):
        rendered(engine, IDIOMS, "jobs", values={"jobs": {"off": {"enabled": True, "schedule": "x", "retries": 1}}})
    with pytest.raises(ManifestError, match=r"jobs/Chart\.yaml: chart requires kubeVersion: >=1\.25\.0-0 which is incomp"):
        rendered(engine, IDIOMS, "jobs", kube_version="v1.20.0")
    with pytest.raises(ManifestError, match="library charts are not installable"):
        rendered(engine, UMBRELLA, "stack/charts/common")
