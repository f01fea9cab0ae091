"""The state folder: where everything that Fairway writes lies. Small, because every command imports it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

ALREADY_RUNS = 4
PROMETHEUS = "FAIRWAY_PROMETHEUS"
"""Environment variable: address of the Prometheus that is asked instead of our own metrics. It may hold a password."""
"""The daemon's exit code where another one holds the state folder: it starts, runs, or is about to end."""


@dataclass(frozen=True, slots=True)
class StateDir:
    """Paths below one folder. Nothing is created by naming it."""

    root: Path

    @staticmethod
    def default() -> StateDir:
        """`FAIRWAY_STATE`, else `$XDG_DATA_HOME/fairway`, else `~/.local/share/fairway`."""
        if chosen := os.environ.get("FAIRWAY_STATE"):
            return StateDir(Path(chosen).absolute())
        data = os.environ.get("XDG_DATA_HOME")
        return StateDir((Path(data) if data else Path.home() / ".local" / "share") / "fairway")

    def make(self) -> None:
        """The folders that a platform writes to, for its user alone."""
        for folder in (self.root, self.git, self.registry, self.ci, self.metrics):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    @property
    def database(self) -> Path:
        return self.root / "fairway.db"

    @property
    def daemon(self) -> Path:
        """JSON: pid, process (which one of this pid), started, api_url, web_url, ingress_port (0: none), data_plane, without;
        in cluster mode kubeconfig, context and identity. There while a daemon runs."""
        return self.root / "daemon.json"

    @property
    def kubeconfig(self) -> Path:
        """Admin, readable by its owner alone."""
        return self.root / "kubeconfig"

    @property
    def pki(self) -> Path:
        return self.root / "pki"

    @property
    def token(self) -> Path:
        """The admin's bearer token, also the password of git over HTTP."""
        return self.root / "token"

    @property
    def git(self) -> Path:
        """Bare repositories, `<name>.git`."""
        return self.root / "git"

    @property
    def registry(self) -> Path:
        """One OCI image layout per repository, in folders named like the repository."""
        return self.root / "registry"

    @property
    def pulled(self) -> Path:
        """Like `registry`: what pods pulled from other registries."""
        return self.root / "pulled"

    @property
    def registries(self) -> Path:
        """Accounts at real registries, in docker's own form; readable by its owner alone."""
        return self.root / "registries.json"

    @property
    def image_policy(self) -> Path:
        """Written by the user: which images must be signed to run."""
        return self.root / "image-policy.yaml"

    @property
    def unpacked(self) -> Path:
        """Root file systems of images, by manifest digest."""
        return self.root / "images"

    @property
    def pods(self) -> Path:
        return self.root / "pods"

    @property
    def envoy(self) -> Path:
        return self.root / "envoy"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics"

    @property
    def ci(self) -> Path:
        """Work trees, logs, artifacts and caches of pipeline runs."""
        return self.root / "ci"

    @property
    def notifications(self) -> Path:
        """Written by the user: `webhooks: [{name, url, triggers}]`."""
        return self.root / "notify.yaml"

    @property
    def rules(self) -> Path:
        """Written by the user: files of Prometheus rule groups, `*.yml` or `*.yaml`."""
        return self.root / "rules"

    @property
    def alertmanager(self) -> Path:
        """Written by the user: an Alertmanager configuration."""
        return self.root / "alertmanager.yml"

    @property
    def logs(self) -> Path:
        return self.root / "logs"
