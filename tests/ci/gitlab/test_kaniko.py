"""GitLab's usual job of kaniko, run as a process: built, pushed to a registry with a password, the digest handed on."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from fairway.ci.gitlab.kaniko import is_kaniko, redirected
from fairway.images.credentials import Account
from fairway.images.distribution import Remote
from tests.ci.gitlab.test_runs import tree_of
from tests.images.servers import TOKEN, debians

PIPELINE = r"""
build:
  stage: build
  image: {name: gcr.io/kaniko-project/executor:v1.23.2-debug, entrypoint: [""]}
  script:
    - mkdir -p /kaniko/.docker
    - AUTH=$(printf "%s:%s" "somebody" "$CI_REGISTRY_PASSWORD" | base64 | tr -d '\n')
    - echo "{\"auths\":{\"$CI_REGISTRY\":{\"auth\":\"$AUTH\"}}}" > /kaniko/.docker/config.json
    - >-
      /kaniko/executor
      --context "${CI_PROJECT_DIR}"
      --dockerfile "${CI_PROJECT_DIR}/Dockerfile"
      --destination "${CI_REGISTRY_IMAGE}:${CI_COMMIT_SHORT_SHA}"
      --destination "${CI_REGISTRY_IMAGE}:latest"
      --build-arg WHO=ada --cache=true --snapshot-mode=redo
      --digest-file digest.txt
    - echo "IMAGE=$CI_REGISTRY_IMAGE@$(cat digest.txt)" > image.env
  artifacts: {reports: {dotenv: image.env}}
deploy:
  stage: deploy
  script: ['echo "deploying $IMAGE"']
"""


def test_kaniko_builds_and_pushes(tmp_path: Path) -> None:
    async def story() -> None:
        tree = tree_of(tmp_path, {".gitlab-ci.yml": PIPELINE, "app.py": "print('hello')\n",
                                  "Dockerfile": "FROM python:3\nARG WHO\nENV WHO=$WHO\nCOPY app.py /srv/\n"})
        async with debians(tmp_path, locked=True) as host:
            given = ("--var", f"CI_REGISTRY={host}", "--var", f"CI_REGISTRY_IMAGE={host}/team/app", "--var",
                     f"CI_REGISTRY_PASSWORD={TOKEN}")
            argv = (str(Path(sys.executable).with_name("fairway")), "--state", str(tmp_path / "state"), "ci", "run", str(tree))
            running = await asyncio.create_subprocess_exec(*argv, *given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            shown = (await running.communicate())[0].decode()
            assert running.returncode == 0, shown
            async with Remote.open(host, "team/app", account=Account("somebody", TOKEN)) as remote:
                found, _ = await remote.manifest("latest")
                manifest = json.loads((await remote.manifest(found.digest))[1])
            assert f"deploying {host}/team/app@{found.digest}" in shown
            assert manifest["layers"]

    asyncio.run(story())


def test_only_kanikos_own_folder_is_meant() -> None:
    script = "printf '%s\\n' '$ /kaniko/executor'\n/kaniko/executor -c . && ls /opt/kaniko/x ./kaniko/y /kanikos/z"
    assert redirected(script, Path("/t/k")) == (
        "printf '%s\\n' '$ /kaniko/executor'\n/t/k/executor -c . && ls /opt/kaniko/x ./kaniko/y /kanikos/z")
    assert is_kaniko("registry.example.com/mirror/kaniko-project/executor:debug@sha256:0")
    assert not is_kaniko("docker:24")
