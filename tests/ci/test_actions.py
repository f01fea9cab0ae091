"""Built-in actions in real runs: checkout and push, python, cache, artifacts, image builds."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from fairway.kube.objects import Obj
from tests.ci.world import World, job, said

CI = ".github/workflows/ci.yml"


def deliver(world: World, repository: str, files: dict[str, str | None]) -> Obj:
    """Push and wait for the one new run."""
    sha = world.push(repository, files)

    async def main() -> Obj:
        if not (await world.api.list(world.api.resources.of_kind("fairway.dev/v1alpha1", "Repository"))).items:
            await world.declare(repository)
        async with world.running() as daemon:
            found = await daemon.until(lambda runs: next(
                (run for run in runs if run["spec"]["sha"] == sha and run.get("status", {}).get("finishedAt")), None))
            return dict(found)

    return asyncio.run(main())


def test_a_job_commits_to_another_repository(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.push("shop/deploy", {"image": "old\n"})
    run = deliver(world, "shop/app", {CI: """
on: push
jobs:
  deploy:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
        with: {fetch-depth: 0}
      - uses: actions/checkout@v4
        with: {repository: shop/deploy, path: deploy, token: "${{ secrets.NONE }}"}
      - run: |
          cd deploy
          git config user.name ci; git config user.email ci@example.com
          echo new > image
          git commit -qam "new image"
          git push
      - run: git rev-parse --abbrev-ref HEAD; git log --oneline | wc -l
"""})
    assert run["status"]["phase"] == "Succeeded", run["status"]
    deploy = world.repositories.open("shop/deploy")
    head = deploy.resolve("main")
    assert deploy.read_tree(head).read("image") == b"new\n"
    assert [commit.subject for commit in deploy.log(head)] == ["new image", "change"]
    assert {"main", "1"} <= set(said(world, run, "deploy"))


def test_python_in_an_environment_of_its_own(tmp_path: Path) -> None:
    run = deliver(World(tmp_path), "shop/app", {CI: """
on: push
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - {id: py, uses: actions/setup-python@v5, with: {python-version: "3.x"}}
      - run: |
          python -c "import sys; print('prefix', sys.prefix == '$pythonLocation')"
          python -c "import pip; print('pip', pip.__name__)"
          echo "version ${{ steps.py.outputs.python-version }}"
"""})
    assert run["status"]["phase"] == "Succeeded", run["status"]


WORK = """
on: push
jobs:
  first:
    runs-on: ubuntu-latest
    steps:
      - {uses: actions/checkout@v4}
      - id: cache
        uses: actions/cache@v4
        with: {path: stuff, key: "k-${{ hashFiles('lock') }}", restore-keys: k-}
      - run: echo "hit=[${{ steps.cache.outputs.cache-hit }}] $(cat stuff/a || echo none)"
      - run: mkdir -p stuff out/deep; cp lock stuff/a; echo r > out/r.xml; echo s > out/deep/s.txt
      - uses: actions/upload-artifact@v4
        with: {name: reports, path: out/}
  second:
    needs: first
    runs-on: ubuntu-latest
    steps:
      - {uses: actions/download-artifact@v4, with: {name: reports, path: got}}
      - run: cat got/r.xml got/deep/s.txt
      - {id: missing, continue-on-error: true, uses: actions/download-artifact@v4, with: {name: nothing}}
      - run: echo "outcome ${{ steps.missing.outcome }}"
"""


def test_caches_and_artifacts(tmp_path: Path) -> None:
    world = World(tmp_path)
    run = deliver(world, "shop/app", {CI: WORK, "lock": "1"})
    assert run["status"]["phase"] == "Succeeded", run["status"]
    assert "hit=[] none" in said(world, run, "first")
    assert {"r", "s", "outcome failure"} <= set(said(world, run, "second"))
    run = deliver(world, "shop/app", {"other": "x"})
    assert "hit=[true] 1" in said(world, run, "first")
    run = deliver(world, "shop/app", {"lock": "2"})
    assert "hit=[false] 1" in said(world, run, "first")


FAKE_FAIRWAY = """#!/bin/sh
# Stands for `fairway image build`: says how it was called and writes the metadata that buildx writes.
echo "$@"
while [ $# -gt 0 ]; do [ "$1" = --metadata-file ] && out="$2"; shift; done
echo '{"containerimage.digest": "sha256:aa", "containerimage.config.digest": "sha256:bb"}' > "$out"
"""


def test_images_of_a_run_are_in_its_status(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "fairway").write_text(FAKE_FAIRWAY)
    (tools / "fairway").chmod(0o755)
    world = World(tmp_path, path_prepend=(str(tools),))
    run = deliver(world, "shop/app", {"Dockerfile": "FROM x", CI: """
on: push
jobs:
  build:
    runs-on: ubuntu-latest
    outputs: {digest: "${{ steps.push.outputs.digest }}"}
    steps:
      - uses: actions/checkout@v4
      - uses: docker/setup-buildx-action@v3
      - {uses: docker/login-action@v3, with: {username: u, password: hunter2}}
      - {id: meta, uses: docker/metadata-action@v5, with: {images: registry.example.com/shop/app, tags: "type=sha,format=long"}}
      - id: push
        uses: docker/build-push-action@v6
        with: {push: true, tags: "${{ steps.meta.outputs.tags }}", labels: "${{ steps.meta.outputs.labels }}"}
"""})
    assert run["status"]["phase"] == "Succeeded", run["status"]
    assert run["status"]["images"] == [{"name": "registry.example.com/shop/app", "digest": "sha256:aa"}]
    assert job(run, "build")["outputs"] == {"digest": "sha256:aa"}
    assert any(f"-t registry.example.com/shop/app:sha-{run['spec']['sha']}" in line for line in said(world, run, "build"))
    assert os.environ.get("HOME", "") not in ("", str(tmp_path))
