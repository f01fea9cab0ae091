"""Kustomizations as a team writes them; the whole of the semantics is judged by the conformance suite."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from fairway.kube.objects import Obj
from fairway.manifests import (
    DictTree,
    FileTree,
    FolderTree,
    ManifestError,
    Outside,
    Place,
    RemoteAddress,
    RemoteBases,
    Rendering,
    dead_images,
    render,
)

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
spec:
  replicas: 1
  selector: {matchLabels: {app: shop}}
  template:
    metadata:
      labels: {app: shop}
    spec:
      containers:
      - name: shop
        image: shop
        env:
        - {name: A, value: a}
        envFrom:
        - configMapRef: {name: settings}
      - name: side
        image: other.io/side:v1
"""
SERVICE = "apiVersion: v1\nkind: Service\nmetadata:\n  name: shop\nspec:\n  selector: {app: shop}\n  ports: [{port: 80}]\n"
BASE = {"base/kustomization.yaml": "resources: [deployment.yaml, service.yaml]\n"
                                   "configMapGenerator:\n- name: settings\n  literals: [COLOUR=blue]\n",
        "base/deployment.yaml": DEPLOYMENT, "base/service.yaml": SERVICE}


def built(overlay: str, **files: str) -> dict[str, Obj]:
    tree = DictTree({**BASE, "prod/kustomization.yaml": "resources: [../base]\n" + overlay,
                     **{f"prod/{name}.yaml": text for name, text in files.items()}})
    return {obj["kind"]: obj for obj in render(tree, "prod")}


def container(obj: Obj) -> Obj:
    found: Obj = obj["spec"]["template"]["spec"]["containers"][0]
    return found


def test_an_overlay_with_everything_a_team_uses() -> None:
    found = built(
        "namespace: shop\nnamePrefix: prod-\nlabels:\n- pairs: {env: prod}\n  includeSelectors: true\n"
        "commonAnnotations: {team: web}\nreplicas:\n- {name: shop, count: 3}\n"
        "images:\n- {name: shop, newName: r.io/shop, digest: 'sha256:12'}\npatches:\n- path: env.yaml\n"
        "- target: {kind: Service}\n  patch: |-\n    - {op: replace, path: /spec/ports/0/port, value: 8080}\n",
        env="apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\nspec:\n  template:\n    spec:\n"
            "      containers:\n      - name: shop\n"
            "        env:\n        - {name: B, value: b}\n        - {name: A, value: x}\n")
    deployment, service, settings = found["Deployment"], found["Service"], found["ConfigMap"]
    assert deployment["metadata"] == {"name": "prod-shop", "namespace": "shop", "labels": {"env": "prod"},
                                      "annotations": {"team": "web"}}
    assert deployment["spec"]["replicas"] == 3
    assert deployment["spec"]["selector"]["matchLabels"] == {"app": "shop", "env": "prod"} == service["spec"]["selector"]
    assert container(deployment)["image"] == "r.io/shop@sha256:12"
    assert container(deployment)["env"] == [{"name": "B", "value": "b"}, {"name": "A", "value": "x"}]
    assert service["spec"]["ports"] == [{"port": 8080}]
    assert settings["metadata"]["name"].startswith("prod-settings-") and len(settings["metadata"]["name"]) == 24
    assert container(deployment)["envFrom"][0]["configMapRef"]["name"] == settings["metadata"]["name"]


def test_changed_data_is_a_new_name_and_unchanged_data_is_not() -> None:
    merge = "configMapGenerator:\n- {name: settings, behavior: merge, literals: [COLOUR=%s]}\n"
    names = [built(merge % colour)["ConfigMap"]["metadata"]["name"] for colour in ("blue", "red", "blue")]
    assert names[0] == names[2] != names[1]


def test_deleting_with_a_patch_and_a_component() -> None:
    tree = DictTree({
        **BASE, "extra/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnameSuffix: -x\n",
        "prod/kustomization.yaml": "resources: [../base]\ncomponents: [../extra]\npatches:\n- patch: |-\n    $patch: delete\n"
                                   "    apiVersion: v1\n    kind: Service\n    metadata: {name: shop}\n"})
    objects = render(tree, "prod")
    assert [o["kind"] for o in objects] == ["Deployment", "ConfigMap"]
    assert objects[0]["metadata"]["name"] == "shop-x"


@pytest.mark.parametrize(("overlay", "message"), [
    ("namePrefx: x-\n", "prod/kustomization.yaml:2:1: invalid Kustomization: unknown field 'namePrefx'; did you mean "
                        "'namePrefix'?"),
    ("images:\n- {name: shop, tag: v1}\n", "prod/kustomization.yaml:3:3: invalid Kustomization: unknown field 'tag' in"),
    ("replicas:\n- {name: nope, count: 2}\n", "prod/kustomization.yaml:3:3: replicas: resource with name nope does not"),
    ("patches:\n- path: none.yaml\n",
     "prod/kustomization.yaml:3:3: accumulating resources from 'none.yaml': '/prod/none.yaml' doesn't exist"),
    ("components: [../base]\n", "expected kind 'Component' for path '../base'"),
    ("patches:\n- patch: |-\n    apiVersion: v1\n    kind: Pod\n    metadata: {name: x}\n", "no matches for Id Pod.v1.[noGrp]"),
    ("configMapGenerator:\n- name: x\n  files: [../base/service.yaml]\n", "security; file 'base/service.yaml' is not in"),
])
def test_mistakes_name_the_file_the_line_and_the_mend(overlay: str, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        built(overlay)
    assert message in str(caught.value)


def test_cycles_twins_and_paths_out_of_the_tree_are_refused() -> None:
    with pytest.raises(ManifestError, match="cycle detected: a -> b -> a"):
        render(DictTree({"a/kustomization.yaml": "resources: [../b]\n", "b/kustomization.yaml": "resources: [../a]\n"}), "a")
    with pytest.raises(ManifestError, match=r"already registered id: Service\.v1\.\[noGrp\]/shop"):
        render(DictTree({"kustomization.yaml": "resources: [a.yaml, b.yaml]\n", "a.yaml": SERVICE, "b.yaml": SERVICE}))
    with pytest.raises(ManifestError, match="outside of this repository"):
        render(DictTree({"kustomization.yaml": "resources: [../../etc/passwd]\n"}))


def test_plain_folders_are_read_file_by_file(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(SERVICE + "---\n# nothing\n---\n" + DEPLOYMENT)
    (tmp_path / "a.json").write_text('{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}')
    (tmp_path / "notes.txt").write_text("not yaml: [")
    assert [o["kind"] for o in render(FolderTree(tmp_path))] == ["ConfigMap", "Service", "Deployment"]
    (tmp_path / "c.yaml").write_text("apiVersion: v1\nmetadata: {name: x}\n")
    with pytest.raises(ManifestError, match=r"c\.yaml:1:1: missing Resource metadata: the object has no `kind`"):
        render(FolderTree(tmp_path))


def test_a_patched_object_has_one_item_a_key_also_where_the_patch_says_nothing() -> None:
    patch = "{kind: Pod, apiVersion: v1, metadata: {name: a, labels: {x: y}}}"
    files = {"kustomization.yaml": f"resources: [a.yaml]\npatches: [{{patch: '{patch}'}}]\n",
             "a.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: c\n    env: [{name: A, "
                       "value: old}, {name: B}, {name: A, value: new}, {name: [odd]}, {name: [odd]}]\n"
                       "    ports: [{containerPort: 1}, {containerPort: 1, protocol: TCP, name: p}, {containerPort: 1, "
                       "protocol: UDP}]\n    args: [same, same]\n"}
    container = render(DictTree(files))[0]["spec"]["containers"][0]
    assert container["env"] == [{"name": "A", "value": "new"}, {"name": "B"}, {"name": ["odd"]}, {"name": ["odd"]}]
    assert container["ports"] == [{"containerPort": 1}, {"containerPort": 1, "protocol": "TCP", "name": "p"},
                                      {"containerPort": 1, "protocol": "UDP"}]
    assert container["args"] == ["same", "same"]


def test_words_that_old_yaml_takes_for_booleans_are_text_in_objects_and_in_their_patches() -> None:
    files = {"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {on: yes}}\ndata: {k: off, t: True}\n",
             "kustomization.yaml": "resources: [a.yaml]\npatches:\n"
                                   "- patch: '{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {n: no}}'\n"
                                   "- patch: '[{op: add, path: /data/j, value: yes}]'\n  target: {kind: ConfigMap}\n"}
    found = render(DictTree(files))[0]
    assert found["data"] == {"k": "off", "t": True, "n": "no", "j": True} and found["metadata"]["labels"] == {"on": "yes"}
    plain = render(DictTree({"a.yaml": files["a.yaml"]}))[0]
    assert plain["data"] == {"k": False, "t": True}, "a plain file is as kubectl reads it"


def test_time_grows_with_the_number_of_objects_not_with_its_square() -> None:
    def seconds(count: int) -> float:
        objects = "---\n".join(DEPLOYMENT.replace("name: shop\nspec", f"name: d{n}\nspec") for n in range(count))
        tree = DictTree({"kustomization.yaml": "resources: [all.yaml]\nnamePrefix: x-\nnamespace: web\ncommonLabels: {a: b}\n"
                                               "configMapGenerator:\n- {name: settings, literals: [a=b]}\n",
                         "all.yaml": objects})
        start = time.process_time()
        assert len(render(tree)) == count + 1
        return time.process_time() - start

    seconds(50)
    small, large = min(seconds(200) for _ in range(3)), seconds(1600)
    assert large / small < 8 * 3, f"{small:.3f} s for 200, {large:.3f} s for 1600"


def test_variables_generated_names_and_types() -> None:
    found = built(
        "vars:\n- name: NAME\n  objref: {kind: ConfigMap, name: settings, apiVersion: v1}\n- name: PORT\n"
        "  objref: {kind: Service, name: shop, apiVersion: v1}\n  fieldref: {fieldpath: 'spec.ports[0].port'}\n"
        "patches:\n- target: {kind: Deployment}\n  patch: |-\n    - {op: add, path: /spec/template/spec/containers/0/args, "
        "value: ['$(NAME)-$(PORT)', $$(NAME), $(UNKNOWN)]}\n    - {op: add, path: /spec/template/spec/containers/0/ports, "
        "value: [{containerPort: $(PORT)}]}\n")
    one = container(found["Deployment"])
    assert one["args"] == [f"{found['ConfigMap']['metadata']['name']}-80", "$(NAME)", "$(UNKNOWN)"]
    assert one["ports"] == [{"containerPort": 80}]


def test_replacements_reach_into_text_and_keep_its_comments() -> None:
    inner = "# who we are\nserver:\n  host: old  # changed by the build\n  ports: [1]\n"
    files = {"c.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  app.yaml: |\n"
             + "".join(f"    {line}\n" for line in inner.splitlines()),
             "kustomization.yaml": "resources: [c.yaml]\nreplacements:\n- sourceValue: shop.example.com\n  targets:\n"
                                   "  - select: {kind: ConfigMap}\n    fieldPaths: ['data.app\\.yaml.server.host']\n"}
    assert render(DictTree(files))[0]["data"]["app.yaml"] == inner.replace("old", "shop.example.com")


def test_configurations_of_one_base_do_not_leak_into_its_sibling() -> None:
    thing = "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: %s}\nspec: {secret: s}\n"
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: %s}\n"
    config = "nameReference:\n- kind: Secret\n  fieldSpecs: [{kind: Thing, path: spec/secret}]\n"
    label = "commonLabels:\n- {path: spec/labels, create: true, kind: Thing}\n"
    tree = DictTree({
        "a/kustomization.yaml": "resources: [t.yaml]\nconfigurations: [c.yaml]\ncommonLabels: {x: z}\n",
        "a/t.yaml": thing % "a", "a/c.yaml": config + label,
        "b/kustomization.yaml": "resources: [t.yaml, s.yaml]\ncommonLabels: {x: z}\n", "b/t.yaml": thing % "b",
        "b/s.yaml": secret % "default", "kustomization.yaml": "resources: [a, b]\nnamePrefix: p-\n"})
    a, b, _ = render(tree)
    assert a["spec"] == {"secret": "p-s", "labels": {"x": "z"}} and b["spec"] == {"secret": "p-s"}


def test_bases_of_other_repositories_only_where_allowed() -> None:
    fetched: list[tuple[str, str]] = []

    class OneHost:
        def tree(self, address: RemoteAddress) -> FileTree:
            if address.host != "git.example.com":
                raise ManifestError(Place(address.text), "not allowed", "allow it")
            fetched.append((address.repo, address.ref))
            return DictTree({"k8s/kustomization.yaml": "resources: [s.yaml]\n", "k8s/s.yaml": SERVICE, "secret.yaml": SERVICE,
                             "bad/kustomization.yaml": "resources: [../../../base]\n"})

    def of(path: str, remotes: RemoteBases | None) -> list[Obj]:
        tree = DictTree({**BASE, "kustomization.yaml": f"resources: ['{path}']\nbuildMetadata: [originAnnotations]\n"})
        return render(tree, "", Rendering(Outside(remotes=remotes)))

    address = "https://git.example.com/org/repo//k8s?ref=v1"
    origin = of(address, OneHost())[0]["metadata"]["annotations"]["config.kubernetes.io/origin"]
    assert origin == "repo: https://git.example.com/org/repo\nref: v1\npath: k8s/s.yaml\n"
    assert fetched == [("https://git.example.com/org/repo", "v1")]
    with pytest.raises(ManifestError, match="remote bases are off"):
        of(address, None)
    with pytest.raises(ManifestError, match="not allowed"):
        of(address.replace("git.", "other."), OneHost())
    with pytest.raises(ManifestError, match="outside of this repository"):
        of("https://git.example.com/org/repo//bad", OneHost())
    assert len(fetched) == 2


@pytest.mark.parametrize(("text", "repo", "path", "ref"), [
    ("https://h.io/o/r//a/b?ref=v1&timeout=9s", "https://h.io/o/r", "a/b", "v1"),
    ("git@h.io:o/r.git//a?ref=x", "git@h.io:o/r.git", "a", "x"), ("github.com/o/r/a?ref=x", "https://github.com/o/r", "a", "x"),
    ("ssh://git@h.io:22/o/r.git/a", "ssh://h.io:22/o/r.git", "a", "")])
def test_addresses(text: str, repo: str, path: str, ref: str) -> None:
    found = RemoteAddress.parse(text)
    assert found is not None and (found.repo, found.path, found.ref) == (repo, path, ref)


def test_paths_are_no_addresses() -> None:
    assert [RemoteAddress.parse(text) for text in ("../base", "a.yaml", "apps/shop", "./x:y")] == [None] * 4


def test_an_applications_own_options_overrule_the_file() -> None:
    tree = DictTree({**BASE, "prod/kustomization.yaml": "resources: [../base]\nnamePrefix: a-\n"
                                                        "images:\n- {name: shop, newTag: v1}\n"})
    said = {"namePrefix": "b-", "images": [{"name": "shop", "newTag": "v2"}], "commonAnnotations": {"x": "y"},
            "replicas": [{"name": "shop", "count": 2}]}
    found = render(tree, "prod", Rendering(Outside(overrides=said)))[0]
    assert found["metadata"] == {"name": "b-shop", "annotations": {"x": "y"}}
    assert container(found)["image"] == "shop:v2" and found["spec"]["replicas"] == 2


def test_an_image_override_that_a_base_has_made_dead_is_named() -> None:
    tree = DictTree({**BASE, "base/kustomization.yaml": BASE["base/kustomization.yaml"]
                     + "images:\n- {name: shop, newName: r.io/shop, newTag: latest}\n",
                     "prod/kustomization.yaml": "resources: [../base]\nimages:\n- {name: shop, newTag: v7}\n"})
    dead = dead_images(tree, "prod")
    assert [str(one.error()) for one in dead] == [
        "prod/kustomization.yaml:3:3: images: 'shop' changes nothing: base/kustomization.yaml:6:3 has renamed it to "
        "'r.io/shop'; write `name: r.io/shop` here"]
    assert dead_images(tree, "base") == []
