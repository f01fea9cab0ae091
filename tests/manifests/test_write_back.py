"""One line changes, everything else stays byte for byte."""

from __future__ import annotations

import pytest

from fairway.manifests import DictTree, ManifestError, OverlaidTree, image_name, render, set_image

DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
HEAD = "# Where production is.\nresources:\n- ../base  # shared\n\n"

CASES = [
    ("a digest", f"images:\n- name: shop   # by CI\n  newName: r.io/shop\n  digest: {OTHER}  # released\n",
     f"images:\n- name: shop   # by CI\n  newName: r.io/shop\n  digest: {DIGEST}  # released\n"),
    ("a tag becomes a digest", "images:\n  - newTag: v1 # old\n    name: shop\n    newName: r.io/shop\n",
     f"images:\n  - digest: {DIGEST} # old\n    name: shop\n    newName: r.io/shop\n"),
    ("quotes are kept", f"images:\n- name: 'shop'\n  newName: \"r.io/shop\"\n  digest: '{OTHER}'\n",
     f"images:\n- name: 'shop'\n  newName: \"r.io/shop\"\n  digest: '{DIGEST}'\n"),
    ("a new name", f"images:\n- name: shop\n  newName: old.io/shop\n  digest: {OTHER}\n",
     f"images:\n- name: shop\n  newName: r.io/shop\n  digest: {DIGEST}\n"),
    ("what is missing is added", "images:\n- name: shop\n  newTag: v1\n\n# the end\n",
     f"images:\n- name: shop\n  digest: {DIGEST}\n  newName: r.io/shop\n\n# the end\n"),
    ("flow style", "images: [{name: web}, {name: shop, newTag: v1, newName: r.io/shop}] # all\n",
     f"images: [{{name: web}}, {{name: shop, digest: {DIGEST}, newName: r.io/shop}}] # all\n"),
    ("a stale tag goes", f"images:\n- name: shop\n  newTag: v1\n  newName: r.io/shop\n  digest: {OTHER}\n",
     f"images:\n- name: shop\n  newName: r.io/shop\n  digest: {DIGEST}\n"),
    ("a new entry", "images:\n- name: web\n  newTag: v1\n# last\n",
     f"images:\n- name: web\n  newTag: v1\n- name: shop\n  newName: r.io/shop\n  digest: {DIGEST}\n# last\n"),
    ("no images yet", "namePrefix: x-\n",
     f"namePrefix: x-\nimages:\n- name: shop\n  newName: r.io/shop\n  digest: {DIGEST}\n"),
    ("windows line ends", "images:\r\n- name: shop\r\n  newName: r.io/shop\r\n  newTag: v1\r\n",
     f"images:\r\n- name: shop\r\n  newName: r.io/shop\r\n  digest: {DIGEST}\r\n"),
    ("other letters before it", f"# größer € 😀\nimages:\n- name: shop\n  newName: r.io/shop\n  digest: {OTHER}\n",
     f"# größer € 😀\nimages:\n- name: shop\n  newName: r.io/shop\n  digest: {DIGEST}\n"),
]


@pytest.mark.parametrize(("before", "after"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_kustomization(before: str, after: str) -> None:
    tree = DictTree({"prod/kustomization.yaml": HEAD + before})
    changed = set_image(tree, "prod", "shop", f"r.io/shop@{DIGEST}")
    assert {path: data.decode() for path, data in changed.items()} == {"prod/kustomization.yaml": HEAD + after}
    assert set_image(DictTree(changed), "prod", "shop", f"r.io/shop@{DIGEST}") == {}, "again changes nothing"


def test_tags_that_look_like_numbers_are_quoted() -> None:
    tree = DictTree({"kustomization.yaml": "images:\n- name: shop\n  newTag: v1\n"})
    assert set_image(tree, "", "shop", "shop:1.10")["kustomization.yaml"] == b'images:\n- name: shop\n  newTag: "1.10"\n'


def test_plain_manifests() -> None:
    web = "kind: Deployment\nspec:\n  template:\n    spec:\n      containers:\n      - image: 'r.io/shop:v1'  # here\n"
    tree = DictTree({"web.yaml": web, "other.yaml": "image: r.io/other:v1\n", "sub/x.yaml": "image: r.io/shop:v1\n"})
    changed = set_image(tree, "", "r.io/shop", f"r.io/shop@{DIGEST}")
    assert changed == {"web.yaml": web.replace("r.io/shop:v1", f"r.io/shop@{DIGEST}").encode()}
    with pytest.raises(ManifestError, match="no container here uses the image"):
        set_image(tree, "", "r.io/none", f"r.io/none@{DIGEST}")


@pytest.mark.parametrize("bad", ["shop", "shop@sha256:12", "", ":v1"])
def test_a_reference_that_is_none(bad: str) -> None:
    with pytest.raises(ValueError, match="image"):
        set_image(DictTree({"kustomization.yaml": "images: []\n"}), "", "shop", bad)


def test_the_name_of_a_rendered_image() -> None:
    tree = DictTree({"kustomization.yaml": "images:\n- name: shop\n  newName: r.io/team/shop\n"})
    assert image_name(tree, "", f"r.io/team/shop@{DIGEST}") == "shop"
    assert image_name(tree, "", "r.io/web:v1") == "r.io/web"


POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: shop}]}\n"
RENAMED = {"base/pod.yaml": POD, "base/kustomization.yaml": "resources: [pod.yaml]\nimages:\n"
                                                            "- {name: shop, newName: r.io/shop, newTag: latest}\n"}


def test_a_base_that_renames_the_image_does_not_make_the_change_dead() -> None:
    tree = DictTree({**RENAMED, "prod/kustomization.yaml": "resources: [../base]\n"})
    changed = set_image(tree, "prod", "shop", f"r.io/shop@{DIGEST}")
    assert changed["prod/kustomization.yaml"].decode() == (
        f"resources: [../base]\nimages:\n- name: r.io/shop\n  digest: {DIGEST}\n")
    after = OverlaidTree(tree, changed)
    assert render(after, "prod")[0]["spec"]["containers"][0]["image"] == f"r.io/shop@{DIGEST}"
    assert set_image(after, "prod", "shop", f"r.io/shop@{OTHER}").keys() == {"prod/kustomization.yaml"}


def test_an_entry_that_is_dead_already_is_an_error_that_names_it() -> None:
    tree = DictTree({**RENAMED, "prod/kustomization.yaml": "resources: [../base]\nimages:\n- {name: shop, newTag: v1}\n"})
    with pytest.raises(ManifestError, match=r"prod/kustomization\.yaml:3:3: images: 'shop' changes nothing: base/.*:3:3 has"):
        set_image(tree, "prod", "shop", f"r.io/shop@{DIGEST}")
    with pytest.raises(ManifestError, match=r"no container here uses the image 'web'; the images are r.io/shop"):
        set_image(tree, "prod", "web", f"web@{DIGEST}")
