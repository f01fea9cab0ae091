"""`fairway set image --push`: straight to the branch, or as a proposal that somebody looks at first."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from fairway.cli.set_image import command

DIGEST = "sha256:" + "a" * 64
KUSTOMIZATION = """\
resources: [deployment.yaml]
images:
- name: app # the shop
  newName: registry.example.com/shop/app
  newTag: '1'
"""
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec: {template: {spec: {containers: [{name: a, image: app}]}}}
"""


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    return subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def repository(folder: Path) -> tuple[Path, Path]:
    """(the remote, a clone of it)"""
    remote, clone = folder / "remote.git", folder / "clone"
    git(folder, "init", "-q", "--bare", "-b", "main", str(remote))
    git(folder, "clone", "-q", str(remote), str(clone))
    overlay = clone / "overlays" / "production"
    overlay.mkdir(parents=True)
    (overlay / "kustomization.yaml").write_text(KUSTOMIZATION)
    (overlay / "deployment.yaml").write_text(DEPLOYMENT)
    git(clone, "checkout", "-q", "-b", "main")
    git(clone, "add", ".")
    git(clone, "commit", "-qm", "first")
    git(clone, "push", "-q", "origin", "main")
    return remote, clone


def run(clone: Path, *arguments: str, tag: str = DIGEST, **environment: str) -> str:
    clean: dict[str, str | None] = {name: None for name in os.environ if name.startswith(("GITHUB_", "CI_", "GITLAB_"))}
    result = CliRunner(env={**clean, **environment}).invoke(
        command, ["image", str(clone / "overlays" / "production"), f"app=registry.example.com/shop/app@{tag}", "--push",
            *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_proposal_leaves_the_branch_alone_and_is_made_once(tmp_path: Path) -> None:
    remote, clone = repository(tmp_path)
    before = git(remote, "rev-parse", "main")
    first = run(clone, "--pull-request", "--source", f"shop/app@{'c' * 40}")
    branch = "fairway/overlays-production"
    assert f"pushed {branch}" in first and "open the request for" in first
    assert git(remote, "rev-parse", "main") == before
    assert DIGEST in git(remote, "show", f"{branch}:overlays/production/kustomization.yaml")
    assert "# the shop" in git(remote, "show", f"{branch}:overlays/production/kustomization.yaml")
    assert f"Fairway-Source: shop/app@{'c' * 40}" in git(remote, "log", "-1", "--format=%B", branch)
    proposed = git(remote, "rev-parse", branch)
    assert "already proposed" in run(clone, "--pull-request", "--source", f"shop/app@{'c' * 40}")
    assert git(remote, "rev-parse", branch) == proposed


def test_a_newer_image_takes_the_place_of_the_proposal_before(tmp_path: Path) -> None:
    remote, clone = repository(tmp_path)
    run(clone, "--pull-request")
    run(clone, tag="sha256:" + "b" * 64, FAIRWAY_PULL_REQUEST="1")
    branch = "fairway/overlays-production"
    assert git(remote, "rev-list", "--count", f"main..{branch}") == "1"
    assert "b" * 64 in git(remote, "show", f"{branch}:overlays/production/kustomization.yaml")


def test_what_the_branch_names_already_is_not_proposed(tmp_path: Path) -> None:
    remote, clone = repository(tmp_path)
    assert "pushed" in run(clone)
    assert "nothing to change" in run(clone, "--pull-request")
    assert git(remote, "branch", "--list", "fairway/*") == ""


def test_the_pull_request_is_opened_at_the_jobs_own_forge(tmp_path: Path) -> None:
    remote, clone = repository(tmp_path)
    heard: list[tuple[str, dict[str, Any]]] = []

    class Forge(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            answer = json.dumps({"html_url": "https://git.example.com/shop/deploy/pull/1"}).encode()
            self.send_response(201 if len(heard) == 1 else 422)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Forge) as forge:
        thread = threading.Thread(target=lambda: [forge.handle_request() for _ in range(2)])
        thread.start()
        url = "https://git.example.com/shop/deploy.git"
        git(clone, "config", f"url.{remote}.insteadOf", url)
        git(clone, "remote", "set-url", "origin", url)
        told = {"GITHUB_SERVER_URL": "https://git.example.com", "GITHUB_API_URL": f"http://127.0.0.1:{forge.server_port}",
                "GITHUB_TOKEN": "secret"}
        first = run(clone, "--pull-request", **told)
        again = run(clone, "--pull-request", tag="sha256:" + "b" * 64, **told)
        thread.join(10)
    assert "opened https://git.example.com/shop/deploy/pull/1" in first and "secret" not in first
    assert "is open already" in again
    path, body = heard[0]
    assert path == "/repos/shop/deploy/pulls"
    assert (body["head"], body["base"]) == ("fairway/overlays-production", "main")
    assert f"Fairway-Image: registry.example.com/shop/app@{DIGEST}" in body["body"]
