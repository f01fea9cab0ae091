"""Runs on a real platform by the commands that people use: start, follow, approve, cancel, run again."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from fairway.cli.client import Addresses, Client
from fairway.cli.group import cli
from fairway.cli.platform_process import leftovers, stop_platform
from fairway.kube.resources import ENVIRONMENTS, PIPELINE_RUNS
from fairway.state import StateDir

DEPLOY = """
on:
  workflow_dispatch: {inputs: {to: {type: choice, options: [staging, production], required: true}}}
jobs:
  build: {runs-on: ubuntu-latest, steps: [{run: echo built}]}
  deploy:
    needs: build
    environment: ${{ inputs.to }}
    runs-on: ubuntu-latest
    steps: [{run: 'echo deployed to ${{ inputs.to }}'}]
"""
SLOW = """
on: workflow_dispatch
jobs: {slow: {runs-on: ubuntu-latest, steps: [{run: echo begun; sleep 300}, {if: always(), run: echo tidied}]}}
"""
IDENTITY = """
on: workflow_dispatch
jobs:
  known:
    permissions: {id-token: write}
    environment: staging
    runs-on: ubuntu-latest
    outputs: {token: "${{ steps.ask.outputs.token }}"}
    steps:
      - id: ask
        shell: python
        run: |
          import json, os, urllib.request
          url = os.environ["ACTIONS_ID_TOKEN_REQUEST_URL"] + "&audience=vault"
          own = os.environ["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]
          print("asks with", own)
          ask = urllib.request.Request(url, headers={"Authorization": "bearer " + own})
          token = json.load(urllib.request.urlopen(ask))["value"]
          open(os.environ["GITHUB_OUTPUT"], "a").write("token=" + token + chr(10))
  unknown:
    permissions: {contents: read}
    runs-on: ubuntu-latest
    steps: [{run: 'test -z "$ACTIONS_ID_TOKEN_REQUEST_URL"'}]
"""
GITLAB = """
a:
  id_tokens: {VAULT: {aud: [https://vault.example.com, other]}}
  script: ['echo "it is $VAULT"; echo "$VAULT" > token.txt']
  artifacts: {paths: [token.txt]}
  rules: [{if: '$CI_PIPELINE_SOURCE == "web"'}]
"""


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StateDir]:
    found = StateDir(tmp_path_factory.mktemp("platform") / "state")
    CliRunner().invoke(cli, ["--state", str(found.root), "up", "--without",
                             "node,traffic,gitops,rollouts,canaries,rollback,metrics,releases,notify"], catch_exceptions=False)
    yield found
    if Addresses.read(found) is not None:
        stop_platform(found)
    for process in leftovers(found):
        os.kill(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module", autouse=True)
def pushed(state: StateDir, tmp_path_factory: pytest.TempPathFactory) -> None:
    tree = tmp_path_factory.mktemp("tree")
    (tree / ".github/workflows").mkdir(parents=True)
    (tree / ".github/workflows/deploy.yml").write_text(DEPLOY)
    (tree / ".github/workflows/slow.yml").write_text(SLOW)
    (tree / ".github/workflows/identity.yml").write_text(IDENTITY)
    (tree / ".gitlab-ci.yml").write_text(GITLAB)
    said = fairway(state, "repo", "create", "shop/app").output
    token = (state.root / "token").read_text().strip()
    [url] = re.findall(r"http://\S+/shop/app.git", said)
    git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    for argv in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "one"],
                 ["push", "-q", url.replace("http://", f"http://x:{token}@"), "main"]):
        subprocess.run([*git, *argv], cwd=tree, check=True)


def fairway(state: StateDir, *arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, ["--state", str(state.root), *arguments])
    assert result.exit_code == code, result.output
    return result


def started(state: StateDir, *arguments: str) -> str:
    return re.findall(r"^started (\S+);", fairway(state, "ci", *arguments).output, re.MULTILINE)[0]


def test_a_job_that_waits_says_so_to_who_follows_and_only_a_reviewer_lets_it_go_on(state: StateDir) -> None:
    Client.of(state).create(ENVIRONMENTS, {
        "apiVersion": ENVIRONMENTS.api_version, "kind": "Environment",
        "metadata": {"name": "production", "namespace": "fairway"}, "spec": {"name": "production", "reviewers": ["grace"]}})
    run = started(state, "start", "shop/app", "deploy.yml", "-i", "to=production")
    argv = [str(Path(sys.executable).parent / "fairway"), "--state", str(state.root), "logs", "-f", f"run/{run}"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        lines = []
        for line in follower.stdout:
            lines.append(line.rstrip("\n"))
            if "waits for approval" in line:
                refused = fairway(state, "approve", run, "--as", "ada", code=1).stderr
                assert "ada may not review environment production\n  these may: grace" in refused
                assert fairway(state, "approve", run, "--as", "grace").output == "approved: deploy\n"
    assert [line for line in lines if line.startswith("deploy │") or not line.startswith("build")][:2] == [
        f"deploy │ notice: waits for approval of environment production by grace; answer it: fairway approve {run}",
        next(line for line in lines if "│ Job deploy of" in line)]
    assert lines[-3:] == ["deploy │ deployed to production", "", f"{run} Succeeded: all jobs are done"]


def test_what_cannot_be_started_is_said_at_once(state: StateDir) -> None:
    def refusal(*arguments: str) -> str:
        return fairway(state, "ci", "start", "shop/app", *arguments, code=1).stderr

    assert "input 'to' is required and was not given" in refusal("deploy.yml")
    assert "input 'to' must be one of staging, production, not 'moon'" in refusal("deploy.yml", "-i", "to=moon")
    assert ".github/workflows/gone.yml does not exist in shop/app@" in refusal("gone.yml")
    assert "slow.yml has no `push` below `on`: it runs on workflow_dispatch" in refusal("slow.yml", "-e", "push")
    assert "no run is called 'nope'" in fairway(state, "ci", "cancel", "nope", code=1).stderr


def test_a_run_is_cancelled_and_run_again(state: StateDir) -> None:
    run = started(state, "start", "shop/app", "slow.yml")
    argv = [str(Path(sys.executable).parent / "fairway"), "--state", str(state.root), "logs", "-f", f"run/{run}"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        for line in follower.stdout:
            if line == "slow │ begun\n":
                assert fairway(state, "ci", "cancel", run).output == f"cancelling {run}\n"
                break
        rest = follower.stdout.read()
    assert "│ tidied" in rest and rest.endswith(f"{run} Cancelled: the run was cancelled\n")
    assert f"{run} is over" in fairway(state, "ci", "cancel", run, code=1).stderr
    again = started(state, "rerun", run)
    assert again.startswith(f"{run}-again-")
    fairway(state, "ci", "cancel", again)


def verified(state: StateDir, token: str) -> dict[str, Any]:
    """The claims, after the signature was checked as anybody would who knows the issuer alone."""
    head, body, signature = token.split(".")
    claims: dict[str, Any] = json.loads(decoded(body))
    told = json.load(urllib.request.urlopen(f"{claims['iss']}/.well-known/openid-configuration"))
    assert told["issuer"] == claims["iss"] == f"{Client.of(state).addresses.web_url}/ci"
    [key] = json.load(urllib.request.urlopen(told["jwks_uri"]))["keys"]
    assert json.loads(decoded(head)) == {"alg": "ES256", "kid": key["kid"]}
    point = ec.EllipticCurvePublicNumbers(int.from_bytes(decoded(key["x"])), int.from_bytes(decoded(key["y"])), ec.SECP256R1())
    raw = decoded(signature)
    pair = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    point.public_key().verify(pair, f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256()))
    assert 0 < claims["exp"] - claims["iat"] <= 300
    return claims


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_a_job_proves_who_it_is_where_its_permissions_let_it(state: StateDir) -> None:
    run = started(state, "start", "shop/app", "identity.yml")
    text = fairway(state, "logs", "-f", f"run/{run}").output
    assert f"{run} Succeeded" in text and "known   │ asks with ***" in text
    found = Client.of(state).get(PIPELINE_RUNS, run, "fairway")["status"]["jobs"]
    claims = verified(state, found[0]["outputs"]["token"])
    assert (claims["sub"], claims["aud"], claims["repository"], claims["event_name"]) == (
        "repo:shop/app:environment:staging", "vault", "shop/app", "workflow_dispatch")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{claims['iss']}/token?audience=vault")
    run = started(state, "start", "shop/app", ".gitlab-ci.yml")
    assert "it is ***" in fairway(state, "logs", "-f", f"run/{run}").output
    [kept] = (state.ci / "runs" / run / "artifacts").glob("*.tar")
    with tarfile.open(kept) as tar:
        file = tar.extractfile("token.txt")
        assert file is not None
        claims = verified(state, file.read().decode().strip())
    assert claims["sub"] == "project_path:shop/app:ref_type:branch:ref:main"
    assert claims["aud"] == ["https://vault.example.com", "other"]
