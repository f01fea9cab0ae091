"""GitOps: a commit that touches all of a thousand Applications, one that touches one, drift, and a pass with nothing to do.

The thousand are measured from outside, on a whole platform (`fairway up`: durable store, every controller, data plane) that is
pushed to over smart HTTP. Each Application describes four objects: a Deployment of no replicas, a ServiceAccount, a Service
and an Ingress, which is what Flux's published benchmark has (256 s on 16 cores). The clock runs from before the push until
the last Application says Synced and Healthy at the commit; processor time is that of the daemon, which a busy machine changes
less. Memory is the proportional set size of everything that the platform runs, together, at its highest. The rest is asked of
the controller itself, in this process. `BENCH_APPS=100` makes it short.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench import kustomize
from bench.kube import cpu_s
from fairway.cli.client import Client
from fairway.cli.platform_process import leftovers, start_platform, stop_platform
from fairway.git import Change, GitPort, Person, Repositories
from fairway.gitops import ApplicationController
from fairway.kube.cache import Informers
from fairway.kube.clock import WallClock
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.objects import Key, Obj, dig, meta_of
from fairway.kube.reconcile import ControllerLoop
from fairway.kube.resources import APPLICATION_SETS, APPLICATIONS, INGRESSES, REPOSITORIES
from fairway.state import StateDir

APPS = int(os.environ.get("BENCH_APPS", "1000"))
PASSES = 50
LIMIT_S = 900
FLUX_PUBLISHED_S = 256
URL = "https://git.example.com/shop/deploy.git"
_OBJECTS = """\
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {name}}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports: [{{port: 80, targetPort: 8080}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: 0
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata:
      labels: {{app: {name}}}
    spec:
      serviceAccountName: {name}
      containers:
      - name: app
        image: registry.example.com/shop:{version}
        ports: [{{containerPort: 8080}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}}}
spec:
  rules:
  - host: {name}.example.com
    http:
      paths:
      - path: /
        pathType: Prefix
        backend: {{service: {{name: {name}, port: {{number: 80}}}}}}
"""
_SET: Obj = {
    "apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "metadata": {"name": "all", "namespace": "argocd"},
    "spec": {
        "goTemplate": True,
        "generators": [{"git": {"repoURL": URL, "revision": "main", "directories": [{"path": "apps/*"}]}}],
        "template": {
            "metadata": {"name": "{{.path.basename}}"},
            "spec": {
                "project": "default",
                "source": {"repoURL": URL, "path": "{{.path.path}}", "targetRevision": "main"},
                "destination": {"server": "https://kubernetes.default.svc", "namespace": "default"},
                "syncPolicy": {"automated": {"prune": True, "selfHeal": True}},
            },
        },
    },
}  # fmt: skip


def measure() -> dict[str, Any]:
    found: dict[str, Any] = {"rendering": kustomize.measure(), "applications": APPS}
    with _platform() as (state, work):
        found |= _all_of_them(state, work)
    with tempfile.TemporaryDirectory(prefix="fairway-bench-") as folder:
        found |= asyncio.run(_one_controller(Path(folder)))
    return found


# --- a whole platform -------------------------------------------------------------------------------------------------


@contextmanager
def _platform() -> Iterator[tuple[StateDir, Path]]:
    """A running platform, and a work tree whose origin is a repository that it serves."""
    with tempfile.TemporaryDirectory(prefix="fairway-bench-") as folder:
        state, work = StateDir(Path(folder) / "state"), Path(folder) / "work"
        addresses = start_platform(state)
        try:
            Client.of(state).apply(REPOSITORIES, {
                "apiVersion": REPOSITORIES.api_version, "kind": "Repository",
                "metadata": {"name": "shop-deploy", "namespace": "fairway"}, "spec": {"name": "shop/deploy", "urls": [URL]}})
            remote = f"{addresses.web_url}/git/shop/deploy.git".replace("://", f"://bench:{state.token.read_text().strip()}@")
            work.mkdir()
            for command in (["init", "-q", "-b", "main"], ["config", "user.name", "bench"],
                            ["config", "user.email", "bench@example.com"], ["remote", "add", "origin", remote]):
                _git(work, *command)
            yield state, work
        finally:
            stop_platform(state)


def _all_of_them(state: StateDir, work: Path) -> dict[str, Any]:
    client = Client.of(state)
    client.create(APPLICATION_SETS, _SET)
    figures: dict[str, Any] = {}
    with _memory(state) as peak:
        for what, version in (("first", "v1"), ("touching_all", "v2")):
            _say(f"a commit that touches all of {APPS} Applications ({what})")
            _write(work, range(APPS), version)
            before = _cpu_s(state)
            figures[f"{what}_s"] = round(_until_there(state, _pushed(work)), 1)
            figures[f"{what}_daemon_cpu_s"] = round(_cpu_s(state) - before, 1)
        if APPS == 1000:
            figures["times_faster_than_flux_published"] = round(FLUX_PUBLISHED_S / figures["touching_all_s"], 2)
        _say("a commit that touches one, and drift")
        _write(work, [7], "v4")
        figures["touching_one_s"] = round(_until_there(state, _pushed(work)), 2)
        figures["drift_corrected_s"] = sorted(_drift(client) for _ in range(5))
    figures["peak_pss_mb"] = {name: round(value / 1024, 1) for name, value in peak.items()}
    return figures


def _say(what: str) -> None:
    print(f"  {what} ...", file=sys.stderr, flush=True)


def _write(work: Path, apps: Iterable[int], version: str) -> None:
    for n in apps:
        folder = work / "apps" / f"app-{n}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "kustomization.yaml").write_text("resources: [all.yaml]\n")
        (folder / "all.yaml").write_text(_OBJECTS.format(name=f"app-{n}", version=version))


def _pushed(work: Path) -> tuple[str, float]:
    """The commit, and when the push began."""
    _git(work, "add", "-A")
    _git(work, "commit", "-q", "-m", "change")
    begin = time.perf_counter()
    _git(work, "push", "-q", "origin", "main")
    return _git(work, "rev-parse", "HEAD"), begin


def _git(work: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=work, check=True, capture_output=True, text=True).stdout.strip()


def _until_there(state: StateDir, pushed: tuple[str, float]) -> float:
    """Seconds until every Application is synced and healthy at the commit."""
    sha, begin = pushed
    there: set[str] = set()
    for _, app in Client.of(state).watch(APPLICATIONS, "argocd", timeout_s=LIMIT_S):
        status, name = app.get("status") or {}, str(meta_of(app)["name"])
        good = (dig(status, "sync", "revision") == sha and dig(status, "sync", "status") == "Synced"
                and dig(status, "health", "status") == "Healthy" and "operation" not in app)
        (there.add if good else there.discard)(name)
        if len(there) == APPS:
            return time.perf_counter() - begin
    raise RuntimeError(f"{len(there)} of {APPS} Applications were there after {LIMIT_S} s")


def _drift(client: Client) -> float:
    """Seconds until a host name that somebody changed by hand is as git says again. Each time another Application."""
    name = f"app-{_drift.__dict__.setdefault('next', 1)}"
    _drift.__dict__["next"] += 1
    rule = json.loads(json.dumps(client.get(INGRESSES, name, "default")["spec"]["rules"]))
    rule[0]["host"] = "drift.example.com"
    begin = time.perf_counter()
    client.patch(INGRESSES, name, "default", {"spec": {"rules": rule}}, manager="somebody")
    while client.get(INGRESSES, name, "default")["spec"]["rules"][0]["host"] == "drift.example.com":
        time.sleep(0.01)
    return round(time.perf_counter() - begin, 3)


@contextmanager
def _memory(state: StateDir) -> Iterator[dict[str, int]]:
    """The most kilobytes (proportional set size) of each part and of all `together`, looked at twice a second."""
    peak: dict[str, int] = {}
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.5):
            used: dict[str, int] = {}
            for pid, name in _processes(state):
                with suppress(OSError, StopIteration):
                    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
                    kilobytes = next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
                    used[name] = used.get(name, 0) + kilobytes
            for name, kilobytes in {**used, "together": sum(used.values())}.items():
                peak[name] = max(peak.get(name, 0), kilobytes)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def _processes(state: StateDir) -> Iterable[tuple[int, str]]:
    """Everything that the platform runs: the daemon, what is detached from it, and what it has started (git, workers)."""
    detached = {process.pid: process.command for process in leftovers(state)}
    named = {pid: "daemon" if "fairway.daemon" in command else "envoy" if "envoy" in command else "others"
             for pid, command in detached.items()}
    waiting = [pid for pid, name in named.items() if name == "daemon"]
    while waiting:
        for task in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            with suppress(OSError):
                for child in set(map(int, task.read_text().split())) - named.keys():
                    named[child] = "others"
                    waiting.append(child)
    return list(named.items())


def _cpu_s(state: StateDir) -> float:
    return cpu_s(next(process.pid for process in leftovers(state) if "fairway.daemon" in process.command))


# --- one controller ---------------------------------------------------------------------------------------------------


class _Counting:
    """An API that counts what would be written."""

    def __init__(self, api: EmbeddedApi) -> None:
        self._api = api
        self.writes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    async def patch(self, resource: Any, name: str, namespace: str, patch: Any, options: Any = None, **more: Any) -> Obj:
        self.writes += not (options is not None and options.dry_run)
        return await self._api.patch(resource, name, namespace, patch, options, **more)


class _One:
    def __init__(self, repo: GitPort) -> None:
        self._repo = repo

    def of(self, repo_url: str) -> GitPort:
        return self._repo


async def _one_controller(folder: Path) -> dict[str, Any]:
    """A thousand Applications of one object, and one of twenty, in memory: renders and passes are counted."""
    clock = WallClock()
    repo = Repositories(folder).create("shop/deploy")
    files = {f"apps/app-{n}/map.yaml": _map(f"m-{n}", "1") for n in range(APPS)}
    files |= {f"twenty/{n}.yaml": _map(f"twenty-{n}", "1") for n in range(20)}
    ann = Person("Ann", "ann@example.com")
    head = repo.commit("main", Change(files, "first", ann, clock.now()), expected_head="")
    api = _Counting(EmbeddedApi.in_memory(clock))
    informers = Informers(api)  # type: ignore[arg-type]
    controller = ApplicationController(informers, clock, _One(repo))
    loop = ControllerLoop(controller, informers, clock)
    controller.attach(loop.look_again)
    running = asyncio.create_task(loop.run())
    for name, path in [("twenty", "twenty"), *((f"app-{n}", f"apps/app-{n}") for n in range(APPS))]:
        await api.create(_application(name, path))
    await _synced(informers, head)
    figures: dict[str, Any] = {}
    times, writes = [], api.writes
    for _ in range(PASSES):
        begin = time.perf_counter()
        await controller.reconcile(Key("argocd", "twenty"), clock.now())
        times.append(time.perf_counter() - begin)
    figures["pass_with_nothing_to_do_ms"] = round(statistics.median(times) * 1000, 2)
    figures["pass_with_nothing_to_do_writes"] = api.writes - writes
    renders = controller.renders
    change = Change({"apps/app-7/map.yaml": _map("m-7", "2")}, "one", ann, clock.now())
    head = repo.commit("main", change, expected_head=head)
    begin = time.perf_counter()
    controller.refresh()
    await _synced(informers, head)
    figures["touching_one_of_them_renders"] = controller.renders - renders
    figures["touching_one_of_them_s"] = round(time.perf_counter() - begin, 2)
    running.cancel()
    await informers.close()
    return figures


async def _synced(informers: Informers, sha: str) -> None:
    """Until all of them, and the one of twenty objects, are at the commit."""
    def there(app: Obj) -> bool:
        return (dig(app, "status", "sync", "revision") == sha and dig(app, "status", "sync", "status") == "Synced"
                and "operation" not in app)

    while True:
        if sum(map(there, informers.of(APPLICATIONS).list())) > APPS:
            return
        await asyncio.sleep(0.05)


def _map(name: str, value: str) -> bytes:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{value: '{value}'}}\n".encode()


def _application(name: str, path: str) -> Obj:
    spec = dict(_SET["spec"]["template"]["spec"])
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": name, "namespace": "argocd"},
            "spec": {**spec, "source": {"repoURL": URL, "path": path, "targetRevision": "main"}}}
