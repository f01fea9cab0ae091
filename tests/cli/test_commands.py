"""The commands that read a running platform, against a real API server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fairway.cli.client import Addresses, Client, path_of
from fairway.cli.errors import NoPlatform
from fairway.cli.group import cli
from fairway.kube.errors import Conflict, NotFound
from fairway.kube.resources import CONFIG_MAPS, NAMESPACES, PODS, RELEASES, REPOSITORIES, ROLLOUTS
from fairway.state import StateDir
from tests.cli.platform import Running


@pytest.mark.parametrize("command", [["status"], ["query", "up"], ["logs", "x"], ["down"], ["repo", "list"], ["kubeconfig"]])
def test_without_a_platform_every_command_says_so_and_exits_with_3(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "daemon.json").write_text('{"pid": 999999999, "api_url": "x", "web_url": "y", "ingress_port": 1}')
    result = CliRunner().invoke(cli, ["--state", str(tmp_path), *command])
    assert result.exit_code == 3
    assert f"error: no platform {'has run' if command == ['kubeconfig'] else 'is running'} in {tmp_path}" in result.output


def test_a_platform_that_does_not_answer_is_no_platform(platform: Running, tmp_path: Path) -> None:
    facts = json.loads(platform.state.daemon.read_text())
    state = StateDir(tmp_path)
    state.daemon.write_text(json.dumps({**facts, "api_url": "https://127.0.0.1:9"}))
    state.token.write_text("t")
    (tmp_path / "pki").symlink_to(platform.state.pki)
    with pytest.raises(NoPlatform, match="cannot be reached"):
        Client.of(state).list(PODS)


# --- the client -----------------------------------------------------------------------------------------------------


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data}


def test_the_client_does_the_verbs(platform: Running) -> None:
    client = Client.of(platform.state)
    made = client.create(CONFIG_MAPS, config_map("verbs", a="1"))
    assert client.get(CONFIG_MAPS, "verbs", "default") == made
    assert client.patch(CONFIG_MAPS, "verbs", "default", {"data": {"b": "2"}})["data"] == {"a": "1", "b": "2"}
    with pytest.raises(Conflict):
        client.replace(CONFIG_MAPS, {**made, "data": {}})
    assert client.apply(CONFIG_MAPS, config_map("verbs", c="3"), manager="x")["data"]["c"] == "3"
    listed = client.list(CONFIG_MAPS, "default", fields="metadata.name=verbs")
    assert [(item["kind"], item["metadata"]["name"]) for item in listed] == [("ConfigMap", "verbs")]
    client.delete(CONFIG_MAPS, "verbs", "default")
    assert client.find(CONFIG_MAPS, "verbs", "default") is None
    with pytest.raises(NotFound, match='configmaps "verbs" not found'):
        client.get(CONFIG_MAPS, "verbs", "default")


def test_the_client_watches(platform: Running) -> None:
    client = Client.of(platform.state)
    events = client.watch(CONFIG_MAPS, "default", fields="metadata.name=watched", timeout_s=10)
    client.create(CONFIG_MAPS, config_map("watched"))
    assert next(events)[0] == "ADDED"
    client.delete(CONFIG_MAPS, "watched", "default")
    assert next(events)[0] == "DELETED"
    events.close()


def test_paths() -> None:
    assert path_of(PODS, "a", "b", "log") == "/api/v1/namespaces/a/pods/b/log"
    assert path_of(ROLLOUTS) == "/apis/argoproj.io/v1alpha1/rollouts"
    assert path_of(NAMESPACES, "ignored", "n") == "/api/v1/namespaces/n"


def test_a_daemon_file_of_a_dead_process_is_no_platform(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    assert Addresses.read(state) is None
    state.daemon.write_text("{half")
    assert Addresses.read(state) is None


# --- commands -------------------------------------------------------------------------------------------------------


def pod(platform: Running, name: str, namespace: str = "default") -> None:
    spec = {"containers": [{"name": "main", "image": "i"}]}
    platform.served.create(f"/api/v1/namespaces/{namespace}/pods", name, spec=spec)


def test_logs_of_a_pod_by_name_by_workload_and_of_a_run(platform: Running) -> None:
    pod(platform, "alone")
    assert platform.fairway("logs", "alone").stdout == "line 0\nline 1\nline 2\n"
    assert platform.fairway("logs", "alone", "--tail", "1", "-c", "main").stdout == "line 2\n"
    pod(platform, "shop-abc-1")
    pod(platform, "shop-abc-2")
    found = platform.fairway("logs", "shop")
    assert found.stdout == "line 0\nline 1\nline 2\n"
    assert "2 pods; this is the newest, shop-abc-2" in found.stderr
    assert "no pod is called 'nobody'" in platform.fairway("logs", "nobody", code=1).stderr
    log = "=== a\nT1 ##[step]Say it\nT1 ##[group]Run echo one\nT1 echo one\nT1 ##[endgroup]\nT2 one\n=== b..c\nT3 ##[error]no\n"
    platform.web.answers["/logs/runs/r-1"] = (200, log)
    runs = "/apis/fairway.dev/v1alpha1/namespaces/fairway/pipelineruns"
    platform.served.create(runs, "r-1", spec={"repository": "shop/app", "workflow": "ci.yml"})
    platform.served.ask("PATCH", f"{runs}/r-1/status", {"status": {
        "phase": "Succeeded", "message": "all jobs are done", "jobs": [
            {"id": "a", "name": "First job", "job": "a", "phase": "Failed"}]}},
        **{"Content-Type": "application/merge-patch+json"})
    assert platform.fairway("logs", "run/r-1", "-f").stdout.splitlines() == [
        "First job │ ▸ Say it", "First job │   Run echo one", "First job │   echo one", "First job │ one",
        "b / c     │ error: no", "", "r-1 Succeeded: all jobs are done"]
    assert platform.web.asked[-1] == ("/logs/runs/r-1", {"follow": ["true"]})
    platform.web.answers["/logs/runs/r-1"] = (200, "T1 one\nT2 two\n")
    found = platform.fairway("logs", "run/r-1", "-c", "First job", "--tail", "1", "--timestamps")
    assert found.stdout == "T2 First job │ two\n"
    assert platform.web.asked[-1] == ("/logs/runs/r-1", {"job": ["a"]})
    platform.served.ask("DELETE", f"{runs}/r-1")


def test_a_pod_name_in_two_namespaces_is_asked_back(platform: Running) -> None:
    pod(platform, "twin")
    pod(platform, "twin", "fairway")
    assert "are in several namespaces: default, fairway" in platform.fairway("logs", "twin", code=1).stderr
    assert platform.fairway("logs", "twin", "-n", "fairway").stdout.startswith("line 0")


def test_queries(platform: Running) -> None:
    rows = [{"metric": {"__name__": "up", "pod": "a"}, "value": [1, "1"]}, {"metric": {"pod": "b"}, "value": [1, "0"]}]
    data = {"resultType": "vector", "result": rows}
    platform.web.answers["/api/v1/query"] = (200, json.dumps({"status": "success", "data": data, "warnings": ["careful"]}))
    found = platform.fairway("query", "up", "--time", "5")
    assert found.stdout.splitlines() == ["__NAME__  POD  VALUE", "up        a    1", "          b    0"]
    assert found.stderr == "warning: careful\n"
    assert platform.web.asked[-1][1] == {"query": ["up"], "time": ["5"]}
    assert platform.json("query", "up") == data
    refusal = {"status": "error", "errorType": "bad_data", "error": "parse error at 4: unclosed"}
    platform.web.answers["/api/v1/query"] = (400, json.dumps(refusal))
    assert platform.fairway("query", "sum(", code=1).stderr == "error: parse error at 4: unclosed\n"


def release(platform: Running, name: str, **status: Any) -> None:
    spec = {"application": "shop", "environment": "production", "repository": "shop/app", "sha": "a" * 40,
            "digest": "sha256:" + "b" * 64, "revision": "c" * 40}
    body = {"apiVersion": RELEASES.api_version, "kind": "Release", "metadata": {"name": name, "namespace": "default"}}
    client = Client.of(platform.state)
    client.create(RELEASES, {**body, "spec": spec})
    client.patch(RELEASES, name, "default", {"status": status}, subresource="status")


def test_releases_and_dora(platform: Running) -> None:
    assert platform.json("dora")["lead_time"]["value"] is None
    assert "not known yet" in platform.fairway("dora").stdout
    from datetime import UTC, datetime, timedelta

    now = datetime.now(UTC)
    committed, exposed = (f"{now - timedelta(seconds=s):%Y-%m-%dT%H:%M:%S.000000Z}" for s in (60, 20))
    end = f"{now:%Y-%m-%dT%H:%M:%S.000000Z}"
    release(platform, "good", outcome="Promoted", committedAt=committed, exposedAt=exposed, finishedAt=end)
    release(platform, "bad", outcome="RolledBack", committedAt=committed, exposedAt=exposed, finishedAt=end)
    lines = platform.fairway("releases").stdout.splitlines()
    assert lines[0].split() == ["APPLICATION", "ENVIRONMENT", "COMMIT", "DIGEST", "OUTCOME", "TOOK", "AGE"]
    assert {tuple(line.split()[:6]) for line in lines[1:]} == {
        ("shop", "production", "aaaaaaa", "b" * 12, "Promoted", "60s"),
        ("shop", "production", "aaaaaaa", "b" * 12, "RolledBack", "60s"),
    }
    assert len(platform.json("releases", "--limit", "1")) == 1
    assert platform.json("releases", "--application", "other") == []
    found = platform.json("dora")
    assert (found["change_failure_rate"]["value"], found["lead_time"]["samples"]) == (0.5, 1)
    assert "Change failure rate" in platform.fairway("dora").stdout


def test_repositories(platform: Running) -> None:
    url = "https://git.example.com/shop/app.git"
    made = platform.json("repo", "create", "shop/app", "--url", url)
    assert made["remote"] == f"{platform.web.url}/git/shop/app.git"
    kept = Client.of(platform.state).get(REPOSITORIES, "shop-app", "fairway")
    assert kept["spec"] == {"name": "shop/app", "urls": [url]}
    assert "git remote add fairway" in platform.fairway("repo", "create", "shop/app", "--url", url).stdout
    assert [row["name"] for row in platform.json("repo", "list")] == ["shop/app"]
    assert "'..' is not allowed" in platform.fairway("repo", "create", "../x", code=2).stderr


def test_status_says_what_is_broken_first(platform: Running) -> None:
    found = platform.fairway("status")
    assert "Kubernetes API" in found.stdout
    assert "Broken" not in found.stdout
    body = {"apiVersion": ROLLOUTS.api_version, "kind": "Rollout", "metadata": {"name": "sad", "namespace": "default"},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "strategy": {"canary": {"steps": [{"pause": {}}]}},
                     "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}}
    client = Client.of(platform.state)
    client.create(ROLLOUTS, body)
    status = {"phase": "Degraded", "abort": True, "message": "metric p99 is too high"}
    client.patch(ROLLOUTS, "sad", "default", {"status": status}, subresource="status")
    shown = platform.fairway("status", code=1).stdout
    assert shown.startswith("Broken:\n  ")
    assert "  Rollout/sad (default)  Aborted\n    metric p99 is too high\n" in shown
    found = platform.json("status", code=1)
    assert [row["name"] for row in found["broken"]] == ["sad"]
    assert found["rollouts"][0]["steps"] == 1
    client.delete(ROLLOUTS, "sad", "default")


def test_the_kubeconfig(platform: Running) -> None:
    platform.state.kubeconfig.write_text("x")
    assert platform.fairway("kubeconfig").stdout == f"{platform.state.kubeconfig}\n"
    assert platform.fairway("kubeconfig", "--export").stdout == f"export KUBECONFIG={platform.state.kubeconfig}\n"
