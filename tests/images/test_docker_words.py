"""docker's commands in build scripts, where there is no docker: built, tagged, pushed, and the digest read."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from fairway.images.credentials import Account
from fairway.images.distribution import Remote
from fairway.images.reference import parse_reference
from fairway.images.registry import LocalRegistry
from tests.images.servers import TOKEN, debians


def docker(folder: Path, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A job's script, with our docker on its PATH."""
    tools, home = folder / "tools", folder / "home"
    tools.mkdir(exist_ok=True)
    home.mkdir(exist_ok=True)
    (tools / "docker").write_text(f'#!/bin/sh\nexec "{Path(sys.executable).parent / "fairway"}" image docker "$@"\n')
    (tools / "docker").chmod(0o755)
    env = {"PATH": f"{tools}:/usr/bin:/bin", "HOME": str(home), "FAIRWAY_STATE": str(folder / "state"), "LANG": "C.UTF-8",
           "FAIRWAY_PUSHED_IMAGES": str(folder / "pushed"), **environment}
    return subprocess.run(["sh", "-ec", script], cwd=folder / "app", env=env, capture_output=True, text=True, timeout=120)


def app(folder: Path) -> None:
    (folder / "app").mkdir()
    (folder / "app" / "app.py").write_text("print('hello')\n")
    (folder / "app" / "Dockerfile").write_text(
        "FROM python:3\nARG WHO\nENV WHO=$WHO\nCOPY app.py /srv/\nCMD [\"python\", \"/srv/app.py\"]\n")


def test_a_script_builds_tags_and_pushes_and_reads_the_digest(tmp_path: Path) -> None:
    async def story() -> None:
        app(tmp_path)
        async with debians(tmp_path, locked=True) as host:
            done = await asyncio.to_thread(docker, tmp_path, f"""
                echo "{TOKEN}" | docker login -u somebody --password-stdin {host}
                docker build --pull --cache-from x -t {host}/shop/app:1 --build-arg WHO=ada --label a=b -f Dockerfile .
                docker tag {host}/shop/app:1 {host}/shop/app:latest
                docker push {host}/shop/app:1
                docker push {host}/shop/app:latest
                docker inspect --format='{{{{index .RepoDigests 0}}}}' {host}/shop/app:1 > digest.txt
            """)
            assert done.returncode == 0, done.stdout + done.stderr
            named = (tmp_path / "app" / "digest.txt").read_text().strip()
            assert f"1: digest: {named.partition('@')[2]} size: " in done.stdout
            async with Remote.open(host, "shop/app", account=Account("somebody", TOKEN)) as remote:
                for tag in ("1", "latest"):
                    assert (await remote.manifest(tag))[0].digest == named.partition("@")[2]
            local = LocalRegistry(tmp_path / "state" / "registry")
            found = local.resolve(parse_reference(f"{host}/shop/app:1"))
            assert found.digest == named.partition("@")[2]
            layout = local.layout(f"{host}/shop/app")
            config = layout.read_json(layout.read_json(found.digest)["config"]["digest"])
            assert "WHO=ada" in config["config"]["Env"]
            assert (tmp_path / "pushed").read_text() == f"{host}/shop/app {found.digest}\n" * 2
            wrong = await asyncio.to_thread(docker, tmp_path, f"echo no | docker login -u somebody --password-stdin {host}")
            assert wrong.returncode != 0
            assert "refused" in wrong.stderr

    asyncio.run(story())


def test_a_registry_that_jobs_do_not_reach_is_not_spoken_to(tmp_path: Path) -> None:
    app(tmp_path)
    done = docker(tmp_path, """
        docker login -u me -p secret registry.invalid
        docker build -t registry.invalid/shop/app:1 --push=true .
        docker image ls
        docker buildx create --use
    """)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is in the embedded registry; registry.invalid was not spoken to" in done.stderr
    assert LocalRegistry(tmp_path / "state" / "registry").tags("registry.invalid/shop/app") == ["1"]
    assert json.loads((tmp_path / "home" / ".docker" / "config.json").read_text())["auths"]["registry.invalid"]
    reached = docker(tmp_path, "docker push registry.invalid/shop/app:1", FAIRWAY_PUSH_TO="registry.invalid")
    assert reached.returncode != 0
    assert "registry.invalid" in reached.stderr


def test_what_it_does_not_do_it_says(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    for words, said in (("docker run -d postgres", "docker run: Fairway runs no containers"),
                        ("docker build --secret id=x .", "docker build: --secret is not understood"),
                        ("docker push nothing:1", "no such image: docker.io/library/nothing:1"),
                        ("docker inspect -f '{{.Size}}' x", "no such image")):
        done = docker(tmp_path, words)
        assert done.returncode != 0, words
        assert said in done.stderr, done.stderr
    assert list((tmp_path / "app").iterdir()) == []
