"""`fairway build` and `fairway set image` on folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fairway.cli.group import cli

KUSTOMIZATION = """# who deploys what
resources: [../../base]
images:
- name: shop  # ours
  newTag: "1"
"""


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "kustomization.yaml").write_text("resources: [pod.yaml]\n")
    (tmp_path / "base" / "pod.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: shop:0}]}\n")
    folder = tmp_path / "overlays" / "production"
    folder.mkdir(parents=True)
    (folder / "kustomization.yaml").write_text(KUSTOMIZATION)
    return folder


def fairway(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, list(arguments))
    assert result.exit_code == code, result.output
    return result


def test_build_reaches_the_base(overlay: Path) -> None:
    found = json.loads(fairway("build", str(overlay), "-o", "json").stdout)
    assert found[0]["spec"]["containers"][0]["image"] == "shop:1"
    assert "image: shop:1" in fairway("build", str(overlay)).stdout
    (overlay / "kustomization.yaml").write_text("resourcez: []\n")
    assert "overlays/production/kustomization.yaml" in fairway("build", str(overlay), code=1).stderr


def test_one_line_changes_and_comments_stay(overlay: Path) -> None:
    digest = "sha256:" + "a" * 64
    said = fairway("set", "image", str(overlay), f"shop=shop@{digest}", "--dry-run").stdout
    assert "would change" in said
    assert (overlay / "kustomization.yaml").read_text() == KUSTOMIZATION
    fairway("set", "image", str(overlay), f"shop=shop@{digest}")
    lines = (overlay / "kustomization.yaml").read_text().splitlines()
    assert lines[:4] == KUSTOMIZATION.splitlines()[:4]
    assert lines[4:] == [f'  digest: "{digest}"']
    assert "nothing to change" in fairway("set", "image", str(overlay), f"shop=shop@{digest}").stdout


def test_mistakes(overlay: Path) -> None:
    assert "is not NAME=REF" in fairway("set", "image", str(overlay), "shop", code=2).stderr
    assert fairway("set", "image", str(overlay), "shop=Not A Reference", code=2).stderr.startswith("error: ")


def test_build_warns_of_an_image_entry_that_changes_nothing(overlay: Path) -> None:
    (overlay.parent.parent / "base" / "kustomization.yaml").write_text(
        "resources: [pod.yaml]\nimages:\n- {name: shop, newName: r.io/shop, newTag: latest}\n")
    found = fairway("build", str(overlay))
    assert "image: r.io/shop:latest" in found.stdout
    assert "warning: overlays/production/kustomization.yaml:4:3: images: 'shop' changes nothing: base/kust" in found.stderr
    refused = fairway("set", "image", str(overlay), "shop=r.io/shop:2", code=1).stderr
    assert "'shop' changes nothing" in refused and "write `name: r.io/shop` here" in refused


def test_build_of_plain_folders_and_of_charts(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.yaml").write_text("apiVersion: v1\nkind: Secret\nmetadata: {name: deep}\n")
    assert "deep" not in fairway("build", str(tmp_path)).stdout
    assert "name: deep" in fairway("build", str(tmp_path), "--recurse").stdout
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 1.0.0\n")
    assert "NAME=VALUE is needed" in fairway("build", str(tmp_path), "--set", "x", code=2).stderr
