"""`kill -9` of the control plane, again and again, in one sync with hooks and waves of real processes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from fairway.kube.objects import Obj, dig
from fairway.kube.resources import APPLICATIONS, CONFIG_MAPS
from tests.platform.running import Repository, platform

pytestmark = pytest.mark.e2e


def hook(name: str, phase: str, diary: Path, *, seconds: float = 1.0) -> Obj:
    """A Job that writes its name down, once for each time that it runs."""
    script = f"import time; time.sleep({seconds}); open({str(diary)!r}, 'a').write('{name}\\n')"
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "host", "command": ["python3", "-c", script]}]}
    return {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {"spec": pod}, "backoffLimit": 0},
            "metadata": {"name": name, "annotations": {"argocd.argoproj.io/hook": phase}}}


def settings(name: str, wave: int) -> Obj:
    return {"apiVersion": "v1", "kind": "ConfigMap", "data": {"wave": str(wave)},
            "metadata": {"name": name, "annotations": {"argocd.argoproj.io/sync-wave": str(wave)}}}


def test_a_sync_goes_on_where_it_was_and_no_hook_runs_twice(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    with platform(tmp_path) as running:
        repository = Repository.begin(running, tmp_path / "work", "shop/deploy")
        objects = [hook("migrate", "PreSync", diary, seconds=2), settings("first", 0), hook("between", "Sync", diary),
                   settings("second", 1), hook("smoke", "PostSync", diary)]
        repository.write({"shop/all.yaml": yaml.safe_dump_all(objects)})
        sha = repository.push("a first version")
        running.apply({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": "shop", "namespace": "argocd"},
            "spec": {"project": "default", "source": {"repoURL": "shop/deploy", "path": "shop", "targetRevision": "main"},
                     "destination": {"server": "https://kubernetes.default.svc", "namespace": "default"},
                     "syncPolicy": {"automated": {"selfHeal": True}}}})

        def phase(app: Obj) -> str:
            return str(dig(app, "status", "operationState", "phase", default=""))

        for written in ("", "migrate\n", "migrate\nbetween\n"):  # in the middle of each hook
            running.until(lambda w=written: (diary.read_text() if diary.exists() else "") == w or None, f"{written!r} is done")
            running.until_object(APPLICATIONS, "shop", "argocd", lambda app: phase(app) == "Running", "the sync runs")
            running.kill_9()
            running.up()
        running.until_object(APPLICATIONS, "shop", "argocd", lambda app: phase(app) == "Succeeded" and "operation" not in app,
                             "the sync has ended")
        app = running.client.get(APPLICATIONS, "shop", "argocd")
        assert diary.read_text().split() == ["migrate", "between", "smoke"]
        assert [entry["revision"] for entry in app["status"]["history"]] == [sha]
        assert {m["metadata"]["name"] for m in running.client.list(CONFIG_MAPS, "default")} >= {"first", "second"}
