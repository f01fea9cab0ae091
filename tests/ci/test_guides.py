"""The workflows of the guides, corrected where their defects ask for it, run to their end with real services.

Tools that need the network or a cluster (pip's packages, kubectl, argocd …) are stand-ins that say what they were asked;
PostgreSQL, Redis, git, every built-in action and the building of images are real. What logs in to a registry that is reached
here pushes to it, and the digest that a later job deploys is that registry's.

Found through FAIRWAY_GUIDES (default `../shared/guides`).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fairway.ci.local import LocalRun
from fairway.ci.repositories import Access
from fairway.ci.runner import LocalRunner, RunnerConfig
from fairway.ci.services.programs import postgres_folders, redis_program
from fairway.ci.snapshot import SnapshotRepositories, take_snapshot
from fairway.ci.tools import link_tools
from fairway.ci.wish import Prepared, Wish
from fairway.ci.workflow_files import read_workflow
from fairway.ci.working_tree import Bench
from fairway.images.credentials import Account
from fairway.images.distribution import Remote
from fairway.images.reference import parse_reference
from fairway.images.registry import LocalRegistry
from fairway.kube.clock import WallClock
from fairway.secrets.masking import Masker
from tests.images.servers import TOKEN, debians, ours

GUIDES = Path(os.environ.get("FAIRWAY_GUIDES", "../shared/guides"))
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not GUIDES.is_dir(), reason=f"no guides in {GUIDES} (FAIRWAY_GUIDES names their folder)"),
    pytest.mark.skipif(not (postgres_folders() and redis_program()), reason="PostgreSQL and Redis are needed"),
]

PYTEST = r"""#!/usr/bin/env python3
import os, pathlib, re, socket, sys
for name, ask, answer in (("DATABASE_URL", b"\0\0\0\x08\x04\xd2\x16\x2f", b"N"), ("REDIS_URL", b"PING\r\n", b"+PONG")):
    found = re.search(r"@?([\w.-]+):(\d+)/", os.environ.get(name, "").partition("//")[2].rpartition("@")[2])
    if found:
        with socket.create_connection((found[1], int(found[2])), 10) as server:
            server.sendall(ask)
            said = server.recv(64)
            assert said.startswith(answer), (name, said)
            print(f"{name} answers")
for argument in sys.argv:
    if argument.startswith("--junitxml="):
        pathlib.Path(argument.partition("=")[2]).write_text('<testsuite tests="1"><testcase name="a"/></testsuite>')
pathlib.Path("coverage.xml").write_text('<coverage line-rate="0.91"/>')
os.makedirs("htmlcov", exist_ok=True)
"""
SAYS = '#!/bin/sh\necho "$(basename "$0") $*"\n'
TOOLS = {
    "pytest": PYTEST,
    "uv": """#!/bin/sh
case "$1" in
  --version) echo "uv 0.9.0";;
  venv) mkdir -p .venv/bin; echo : > .venv/bin/activate;;
  run) shift; exec "$@";;
  *) echo "uv $*";;
esac
""",
    "bandit": '#!/bin/sh\nfor last; do :; done\necho \'{"version": "2.1.0", "runs": [{"results": []}]}\' > "$last"\n',
    "kubectl": '#!/bin/sh\necho "kubectl $*"\n',
    "curl": '#!/bin/sh\ncase "$*" in *http_code*) printf 200;; *) echo \'{"status": "healthy"}\';; esac\n',
    "yq": '#!/bin/sh\nfor last; do :; done\nsed -i "s/newTag: .*/newTag: $GITHUB_SHA/" "$last"\n',
    "kustomize": '#!/bin/sh\necho "# $*" >> kustomization.yaml\n',
    **dict.fromkeys(("ruff", "mypy", "safety", "alembic", "argocd", "pnpm", "pip"), SAYS),
}
PACKAGES = ("black", "flake8", "mypy", "isort", "pytest", "pytest-cov", "pytest-asyncio", "bandit", "safety", "ruff",
            "app-deps")
SECRETS = {name: f"value-of-{name.lower()}" for name in (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "SLACK_WEBHOOK_URL", "SLACK_WEBHOOK", "GITOPS_PAT",
    "CODECOV_TOKEN", "SENTRY_AUTH_TOKEN", "ARGOCD_AUTH_TOKEN")} | {
    "GITHUB_TOKEN": TOKEN, "CI_REGISTRY_PASSWORD": TOKEN, "AWS_ACCOUNT_ID": "123456789012",
    "ARGOCD_SERVER": "argocd.example.com", "KUBE_CONFIG_STAGING": "apiVersion: v1\nkind: Config\n",
    "KUBE_CONFIG_PRODUCTION": "apiVersion: v1\nkind: Config\n"}
RELEASE = {"action": "published", "release": {"tag_name": "v1.2.3", "name": "1.2.3"}}


@dataclass(frozen=True)
class Case:
    """`mends` are replacements in the file, each for a defect; `files` are made beside it; `starts` are jobs that must run.
    `HOST` in them is the registry. `pushed` is an image (without host) that is in it afterwards, under its digest deployed by
    `deploys`; `built` are images that are in the embedded registry.
    """

    file: str
    starts: tuple[str, ...]
    event: str = "push"
    ref: str = ""
    mends: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    payload: Mapping[str, Any] = field(default_factory=dict)
    prints: tuple[str, ...] = ()
    pushed: str = ""
    deploys: str = ""
    built: tuple[str, ...] = ()


DOCKERFILE = """FROM python:3.12-slim
ARG VERSION=0
LABEL made.by=guides version=$VERSION
WORKDIR /app
COPY . .
CMD ["python", "-m", "app.main"]
"""
IMAGE = {"Dockerfile": DOCKERFILE, "app/main.py": "print('hello')\n"}
GHCR = {"REGISTRY: ghcr.io": "REGISTRY: HOST", "username: ${{ github.actor }}": "username: somebody"}
BY_DIGEST = "@${{ needs.build.outputs.image-digest }}"
KUSTOMIZATION = "images:\n- name: pingvas-user-service\n  newTag: old\n"
CASES = (
    Case("S0/.github/workflows/ci.yml", ("lint", "test", "security-scan", "build-and-push", "notify"),
         mends={"pytest tests/ \\": "pytest tests/unit \\",
                "status: ${{ job.status }}": "status: ${{ needs.build-and-push.result }}"},
         files={"requirements.txt": "app-deps\n", **IMAGE,
                "k8s/overlays/production/kustomization.yaml": "images: []\n"},
         prints=("DATABASE_URL answers", "REDIS_URL answers", "coverage.xml: 91.0 % of lines [unittests]"),
         built=("000000000000.dkr.ecr.us-east-1.amazonaws.com/pingvasai-api:main",)),
    Case("S0/.github/workflows/cd.yml", ("argocd-sync",), files={"k8s/a.yaml": "a: 1\n"},
         mends={"      - name: Install ArgoCD CLI\n        run: |\n          curl -sSL -o /usr/local/bin/argocd https://github.com/argoproj"
                "/argo-cd/releases/latest/download/argocd-linux-amd64\n          chmod +x /usr/local/bin/argocd\n": ""},
         prints=("argocd app wait pingvasai-production --health --timeout 600",)),
    Case("S2/.github/workflows/ci.yml", ("backend-test", "frontend-test", "code-quality"), ref="develop",
         mends={"curl -LsSf https://astral.sh/uv/install.sh | sh": "uv --version"},
         files={f"{folder}/x": "" for folder in (
             "services/user-service", "services/generation-service", "services/payment-service", "services/gallery-service",
             "invokeai/frontend/web")}, prints=("pnpm typecheck", "ruff check services/")),
    Case("S2/.github/workflows/build-push.yml", ("detect-changes", "build-push", "update-gitops"),
         mends={"    needs: build-push\n": "    needs: [detect-changes, build-push]\n"},
         files={f"services/{name}/{file}": text for name in ("user-service", "ai-worker") for file, text in IMAGE.items()},
         built=tuple(f"123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/pingvas-{name}:latest"
                     for name in ("user-service", "ai-worker"))),
    Case("S4/.github/workflows/main.yml", ("lint", "test-unit", "test-integration", "security", "build", "container-scan",
                                           "deploy-staging"), ref="develop",
         mends={"            type=sha\n": "            type=sha,format=long,prefix=\n",
                "api=${{ env.REGISTRY }}/${{ env.IMAGE_NAME }}:${{ github.sha }}":
                "api=${{ env.REGISTRY }}/${{ env.IMAGE_NAME }}" + BY_DIGEST, **GHCR}, files=IMAGE,
         prints=("DATABASE_URL answers", "REDIS_URL answers"), pushed="team/app:develop",
         deploys="kubectl set image deployment/fastapi-app api="),
    Case("S4/.github/workflows/main.yml", ("build", "deploy-production"), event="release", ref="refs/tags/v1.2.3",
         mends={"api=${{ env.REGISTRY }}/${{ env.IMAGE_NAME }}:${{ github.event.release.tag_name }}":
                "api=${{ env.REGISTRY }}/${{ env.IMAGE_NAME }}" + BY_DIGEST, **GHCR}, files=IMAGE, payload=RELEASE,
         pushed="team/app:1.2.3", deploys="kubectl set image deployment/fastapi-app api="),
    Case("S4/.github/workflows/migrate.yml", ("migrate",), event="workflow_dispatch",
         mends={"${{ github.event.inputs.revision }}": '"$REVISION"'},
         inputs={"environment": "staging", "direction": "upgrade"},
         prints=("alembic upgrade head",)),
    Case("S4/.github/workflows/deploy-with-rollback.yml", ("deploy-staging",),
         mends={"failure() && steps.deploy.outputs.success == 'true'": "failure() && steps.deploy.outcome != 'skipped'"},
         prints=("Health check passed!",)),
    Case("S4/.github/workflows/deploy-with-rollback.yml", ("deploy-production",), event="release", ref="refs/tags/v1.2.3",
         payload=RELEASE, prints=("Smoke tests passed",)),
    Case("S4/.github/workflows/deploy-argo-rollouts.yml", ("deploy",),
         mends={"          curl -LO https://github.com/argoproj/argo-rollouts/releases/latest/download/kubectl-argo-rollouts-linux-amd64\n"
                "          chmod +x kubectl-argo-rollouts-linux-amd64\n"
                "          sudo mv kubectl-argo-rollouts-linux-amd64 /usr/local/bin/kubectl-argo-rollouts\n":
                "          kubectl argo rollouts version\n"}),
    Case("S4/.gitlab-ci.yml", ("lint", "test-unit", "test-integration", "security-scan", "build", "deploy-staging"),
         mends={"  services:\n    - docker:24-dind\n": "  artifacts: {reports: {dotenv: image.env}}\n",
                "docker login -u $CI_REGISTRY_USER -p $CI_REGISTRY_PASSWORD $CI_REGISTRY":
                'echo "$CI_REGISTRY_PASSWORD" | docker login -u somebody --password-stdin $CI_REGISTRY',
                "    - docker push $CI_REGISTRY_IMAGE:$CI_COMMIT_SHA\n": "    - docker push $CI_REGISTRY_IMAGE:$CI_COMMIT_SHA\n"
                "    - echo IMAGE=$(docker inspect -f '{{index .RepoDigests 0}}' $CI_REGISTRY_IMAGE:$CI_COMMIT_SHA)"
                " > image.env\n",
                '    - if: $CI_COMMIT_BRANCH == "develop"': '    - if: $CI_COMMIT_BRANCH == "main"',
                "api=$CI_REGISTRY_IMAGE:$CI_COMMIT_SHA -n": "api=$IMAGE -n"},
         files=IMAGE, variables={"CI_REGISTRY": "HOST", "CI_REGISTRY_IMAGE": "HOST/team/app"},
         prints=("DATABASE_URL answers", "REDIS_URL answers"), pushed="team/app",
         deploys="kubectl set image deployment/fastapi-app api="),
)


@dataclass(frozen=True)
class Two:
    """The repository under test, and the deployment repository of S2."""

    own: SnapshotRepositories
    deploy: Path

    def resolve(self, name_or_url: str) -> Access | None:
        if name_or_url == "Pinksea-AI/pingvas-gitops":
            return Access(str(self.deploy), self.deploy)
        return self.own.resolve(name_or_url)


def _git(folder: Path, *argv: str) -> str:
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    return subprocess.run(["git", *who, *argv], cwd=folder, check=True, capture_output=True, text=True).stdout


def _wheels(folder: Path) -> None:
    """Packages with nothing but a command of their own name."""
    folder.mkdir()
    for package in PACKAGES:
        name = package.replace("-", "_")
        command = PYTEST if package == "pytest" else TOOLS["bandit"] if package == "bandit" else SAYS
        with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            info = f"{name}-1.0.dist-info"
            entry = zipfile.ZipInfo(f"{name}-1.0.data/scripts/{package}")
            entry.external_attr = 0o100755 << 16
            wheel.writestr(entry, command)
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")


def _tree(tmp_path: Path, case: Case, host: str) -> Path:
    """A repository with the corrected workflow; its last commit brings the files that the case is about."""
    tree = tmp_path / "app"
    target = tree / case.file.partition("/")[2]
    target.parent.mkdir(parents=True)
    text = (GUIDES / case.file).read_text()
    for old, new in case.mends.items():
        assert old in text, f"{case.file} has no {old!r}"
        text = text.replace(old, new.replace("HOST", host))
    target.write_text(text)
    (tree / ".gitignore").write_text(".venv\n.cache\n")
    _git(tree, "init", "-q", "-b", "main")
    _git(tree, "remote", "add", "origin", "https://git.example.com/team/app.git")
    _git(tree, "add", "-A")
    _git(tree, "commit", "-qm", "workflow")
    for name, content in {"README.md": "app\n", **case.files}.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(content)
    _git(tree, "add", "-A")
    _git(tree, "commit", "-qm", "change")
    return tree


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.file}-{case.event}")
def test_a_workflow_of_the_guides_runs_to_its_end(tmp_path: Path, case: Case) -> None:
    asyncio.run(_runs(tmp_path, case))


async def _runs(tmp_path: Path, case: Case) -> None:
    (tmp_path / "registry").mkdir()
    if shutil.which("docker-registry"):
        async with debians(tmp_path / "registry", locked=True) as host:
            await _story(tmp_path, case, host)
    else:
        async with ours(LocalRegistry(tmp_path / "registry")) as host:
            await _story(tmp_path, case, host)


async def _story(tmp_path: Path, case: Case, host: str) -> None:
    tree = _tree(tmp_path, case, host)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, script in TOOLS.items():
        (tools / name).write_text(script)
        (tools / name).chmod(0o755)
    _wheels(tmp_path / "wheels")
    deploy = tmp_path / "deploy.git"
    seed = tmp_path / "seed"
    (seed / "overlays/dev").mkdir(parents=True)
    (seed / "overlays/dev/kustomization.yaml").write_text(KUSTOMIZATION)
    _git(seed, "init", "-q", "-b", "main")
    _git(seed, "add", "-A")
    _git(seed, "commit", "-qm", "seed")
    _git(tmp_path, "clone", "-q", "--bare", str(seed), str(deploy))
    snapshot = take_snapshot(tree, tmp_path / "snapshot.git")
    lines: list[str] = []
    runner = LocalRunner(RunnerConfig(
        tmp_path / "ci", Masker, Two(SnapshotRepositories(snapshot), deploy), listen=lambda job, line: lines.append(line),
        job_env={"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "wheels"), "FAIRWAY_STATE": str(tmp_path / "state")},
        path_prepend=(str(tools), str(link_tools(tmp_path / "bin"))), fairway=(str(tmp_path / "bin" / "fairway"),)))
    wish = Wish(event=case.event, ref=case.ref, secrets=SECRETS, inputs=case.inputs, payload=case.payload, home=tmp_path,
                variables={name: value.replace("HOST", host) for name, value in case.variables.items()})
    path = case.file.partition("/")[2]
    prepared = Bench(tree, snapshot, runner).prepared(read_workflow(tree, path), "guides", wish)
    assert isinstance(prepared, Prepared), prepared
    decision = await LocalRun(prepared.course, WallClock(), prepared.rows).run()
    log = "\n".join(lines)
    failed = {row.name: row.message for row in decision.rows if row.phase == "Failed"}
    assert decision.phase == "Succeeded", f"{failed}\n{log[-3000:]}"
    ended = {row.job for row in decision.rows if row.phase == "Succeeded"}
    assert {*case.starts} <= ended, {row.job: row.message for row in decision.rows if row.job not in ended}
    for text in case.prints:
        assert text in log, log[-3000:]
    local = LocalRegistry(tmp_path / "state" / "registry")
    for name in case.built:
        found = local.resolve(parse_reference(name))
        assert any(found.digest == image["digest"] for row in decision.rows for image in row.images)
    if case.pushed:
        name, _, tag = case.pushed.partition(":")
        async with Remote.open(host, name, account=Account("somebody", TOKEN)) as remote:
            found, _ = await remote.manifest(tag or _git(tree, "rev-parse", "HEAD").strip())
        assert f"{case.deploys}{host}/{name}@{found.digest} " in log, log[-3000:]
        assert {"name": f"{host}/{name}", "digest": found.digest} in [image for row in decision.rows for image in row.images]
    assert not [value for name, value in SECRETS.items() if value in log and "KUBE" not in name and "SERVER" not in name]
    if "build-push" in case.file:
        assert "newTag: old" not in _git(deploy, "show", "main:overlays/dev/kustomization.yaml")
    shutil.rmtree(tmp_path / "ci")
