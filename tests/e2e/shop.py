"""The example service on a running platform: images of its three versions, a deployment repository, and steady requests.

Version 1.2.0 is the bad one: 8 % of its answers are errors (`examples/shop/changes`). Its pods are the example's own; each has
a database of its own, so that no version waits for another's migration.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fairway.cli.demo.figures import Answer
from fairway.cli.demo.load import HOST, Load
from fairway.cli.demo.shop import VERSIONS, lay_out
from fairway.kube.objects import Obj, dig, spec_of, status_of
from fairway.kube.resources import APPLICATIONS, CORE_EVENTS, RELEASES
from tests.platform.running import Repository, Running, platform

NS = "shop"
IMAGE = "registry.example.com/shop/app"
SELECTOR = {"app": "shop"}


@dataclass(frozen=True)
class Shop:
    running: Running
    repository: Repository
    images: dict[str, str]
    """Version to image reference by digest."""
    folder: Path

    @staticmethod
    def begin(running: Running, folder: Path) -> Shop:
        """Every version built, a repository that nobody has pushed to yet."""
        images: dict[str, str] = {}
        tree = folder / "app"
        for version in VERSIONS:
            lay_out(version, tree)
            built = running.fairway("image", "build", str(tree), "-t", f"{IMAGE}:{version}", "--push", "-o", "json")
            images[version] = f"{IMAGE}@{json.loads(built.stdout)['digest']}"
        return Shop(running, Repository.begin(running, folder / "deploy", "shop/deploy"), images, folder)

    @staticmethod
    @contextmanager
    def serving(folder: Path, delivery: Callable[[str], list[Obj]]) -> Iterator[Shop]:
        """A platform of its own on which version 1.0.0 is synced; `delivery` gives the objects for an image."""
        with platform(folder) as running:
            made = Shop.begin(running, folder)
            revision = made.push("Version 1.0.0", *delivery(made.images["1.0.0"]))
            made.begin_application()
            made.until_synced(revision)
            yield made

    def push(self, message: str, *objects: Obj) -> str:
        """Commit these objects as the whole of what is deployed; the commit's id."""
        if (self.repository.tree / "shop").exists():
            self.repository.pull()
        self.repository.write({"shop/all.yaml": yaml.safe_dump_all(objects, sort_keys=False)})
        return self.repository.push(message)

    def begin_application(self) -> None:
        self.running.apply({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": "shop", "namespace": "argocd"},
            "spec": {
                "project": "default", "destination": {"server": "https://kubernetes.default.svc", "namespace": NS},
                "source": {"repoURL": f"{self.running.addresses.web_url}/git/shop/deploy.git", "targetRevision": "main",
                           "path": "shop"},
                "syncPolicy": {"automated": {"prune": True, "selfHeal": True}, "syncOptions": ["CreateNamespace=true"]},
            },
        })  # fmt: skip

    # --- what is there ------------------------------------------------------------------------------------------------

    def until_synced(self, revision: str, *, patience: float = 60.0) -> Obj:
        def ready(app: Obj) -> bool:
            at = dig(app, "status", "operationState", "syncResult", "revision")
            done = dig(app, "status", "operationState", "phase") == "Succeeded"
            return bool(at == revision and done and dig(app, "status", "health", "status") == "Healthy")

        return self.running.until_object(APPLICATIONS, "shop", "argocd", ready, f"{revision[:7]} is synced and healthy")

    def commits(self) -> list[str]:
        """Messages on the main branch, the newest first."""
        self.repository.pull()
        return [text.strip() for text in self.repository.git("log", "--format=%B%x00").split("\0") if text.strip()]

    def in_git(self) -> str:
        self.repository.pull()
        return (self.repository.tree / "shop" / "all.yaml").read_text()

    def until_commit(self, trailer: str, *, patience: float = 60.0) -> str:
        """The message of the newest commit, once it has this trailer."""
        return self.running.until(lambda: next((text for text in self.commits()[:1] if trailer in text), None),
                                  f"git has a commit with {trailer}", patience=patience)

    def release(self, image: str) -> Obj | None:
        digest = image.partition("@")[2]
        return next((r for r in self.running.client.list(RELEASES, NS) if spec_of(r).get("digest") == digest), None)

    def until_release(self, version: str, outcome: str) -> Obj:
        def look() -> Obj | None:
            found = self.release(self.images[version])
            return found if found is not None and status_of(found).get("outcome") == outcome else None

        return self.running.until(look, f"the release of {version} is {outcome}")

    def events(self, kind: str) -> list[str]:
        found = [e for e in self.running.client.list(CORE_EVENTS, NS) if dig(e, "involvedObject", "kind") == kind]
        return [str(e.get("message")) for e in sorted(found, key=lambda e: str(e.get("firstTimestamp") or e.get("eventTime")))]

    @contextmanager
    def load(self, name: str, rate: int = 40, *, host: str = HOST) -> Iterator[Load]:
        load = Load(self.running.addresses.ingress_port, rate, self.folder / f"{name}.jsonl", host=host)
        load.start()
        try:
            yield load
        finally:
            load.stop()


def shares(answers: list[Answer]) -> dict[str, int]:
    """Requests by the version that answered them."""
    found: dict[str, int] = {}
    for answer in answers:
        found[answer.version] = found.get(answer.version, 0) + 1
    return found


def pod_template(image: str, *, ready_s: int = 1, **spec: Any) -> Obj:
    """The shop's container; its database is made by the pod itself. Prometheus' annotations ask for scrapes."""
    data = {"name": "data", "mountPath": "/data"}
    env = [{"name": "DATA_DIR", "value": "/data"}]
    return {
        "metadata": {"labels": SELECTOR, "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8000"}},
        "spec": {
            "terminationGracePeriodSeconds": 5,
            "initContainers": [{"name": "migrate", "image": image, "command": ["alembic", "upgrade", "head"], "env": env,
                                "volumeMounts": [data]}],
            "containers": [{
                "name": "shop", "image": image, "env": env, "volumeMounts": [data],
                "ports": [{"name": "http", "containerPort": 8000}],
                "readinessProbe": {"httpGet": {"path": "/health/ready", "port": "http"}, "periodSeconds": ready_s,
                                   "failureThreshold": 10, "timeoutSeconds": 5},
                "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
            }],
            "volumes": [{"name": "data", "emptyDir": {}}], **spec,
        },
    }  # fmt: skip


def service(name: str) -> Obj:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": SELECTOR, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}}


def ingress(backend: str, *, name: str = "shop", host: str = HOST) -> Obj:
    path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": backend, "port": {"number": 80}}}}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name},
            "spec": {"ingressClassName": "nginx", "rules": [{"host": host, "http": {"paths": [path]}}]}}


def pod_monitor() -> Obj:
    """Every pod, each second: what a test looks at is a few seconds old at the most."""
    endpoint = {"port": "http", "path": "/metrics", "interval": "1s"}
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": {"name": "shop"},
            "spec": {"selector": {"matchLabels": SELECTOR}, "podMetricsEndpoints": [endpoint]}}


def success_rate(*, count: int = 0) -> Obj:
    """Of one version's requests in the last five seconds; fewer than twenty of them say nothing."""
    of_version = 'http_requests_total{namespace="shop",rollouts_pod_template_hash="{{args.hash}}",route=~"/api/.*"'
    query = (f'sum(rate({of_version},status!~"5.."}}[5s])) / sum(rate({of_version}}}[5s])) '
             f"and sum(increase({of_version}}}[5s])) >= 20")
    ends = {"count": count, "initialDelay": "6s"} if count else {}
    metric = {"name": "success-rate", "interval": "1s", "inconclusiveLimit": count - 1 if count else 60,
              "successCondition": "len(result) > 0 && result[0] >= 0.97",
              "failureCondition": "len(result) > 0 && result[0] < 0.97",
              "provider": {"prometheus": {"query": query}}, **ends}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate", "metadata": {"name": "success-rate"},
            "spec": {"args": [{"name": "hash"}], "metrics": [metric]}}
