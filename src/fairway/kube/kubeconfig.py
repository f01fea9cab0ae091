"""kubeconfig files: which server, whose certificate, which credentials. Read for real clusters, written for our own."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


class BadKubeconfig(ValueError):
    """The file cannot be used; the message says which file, what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class ExecPlugin:
    """A command that prints an ExecCredential. `environment` is added to ours."""

    command: str
    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    api_version: str = "client.authentication.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class Connection:
    """All that is needed to reach one API server. Certificates and keys are PEM text; "" where there is none."""

    server: str
    ca: str = ""
    insecure: bool = False
    token: str = ""
    token_file: str = ""
    username: str = ""
    password: str = ""
    client_certificate: str = ""
    client_key: str = ""
    exec: ExecPlugin | None = None
    namespace: str = "default"
    server_name: str = ""


def kubeconfig_path(environ: Mapping[str, str] | None = None) -> Path:
    """The first file of `KUBECONFIG` that exists, else `~/.kube/config`."""
    listed = (os.environ if environ is None else environ).get("KUBECONFIG", "")
    files = [Path(part) for part in listed.split(os.pathsep) if part]
    return next((file for file in files if file.exists()), files[0] if files else Path.home() / ".kube" / "config")


def read_kubeconfig(path: Path, context: str = "") -> Connection:
    """The connection of `context`, by default the current one. `BadKubeconfig` says what is missing."""
    try:
        found = yaml.safe_load(path.read_text())
    except OSError as error:
        raise BadKubeconfig(f"{path}: cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise BadKubeconfig(f"{path}: is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise BadKubeconfig(f"{path}: is not a kubeconfig: an object with clusters, users and contexts is expected")
    chosen = context or found.get("current-context") or ""
    if not chosen:
        raise BadKubeconfig(f"{path}: has no current-context; choose one with: kubectl config use-context NAME")
    part = _named(path, found, "contexts", "context", chosen)
    cluster = _named(path, found, "clusters", "cluster", str(part.get("cluster", "")))
    user = _named(path, found, "users", "user", str(part["user"])) if part.get("user") else {}
    if not cluster.get("server"):
        raise BadKubeconfig(f"{path}: cluster {part.get('cluster')!r} has no server")
    return Connection(
        server=str(cluster["server"]).rstrip("/"),
        ca=_material(path, cluster, "certificate-authority"),
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        token=str(user.get("token") or ""),
        token_file=str(path.parent / user["tokenFile"]) if user.get("tokenFile") and not user.get("token") else "",
        username=str(user.get("username") or ""),
        password=str(user.get("password") or ""),
        client_certificate=_material(path, user, "client-certificate"),
        client_key=_material(path, user, "client-key"),
        exec=_plugin(path, user.get("exec")),
        namespace=str(part.get("namespace") or "default"),
        server_name=str(cluster.get("tls-server-name") or ""),
    )


def _named(path: Path, found: Mapping[str, Any], section: str, key: str, name: str) -> dict[str, Any]:
    for row in found.get(section) or ():
        if isinstance(row, dict) and row.get("name") == name:
            part: dict[str, Any] = row.get(key) or {}
            return part
    raise BadKubeconfig(f"{path}: {section} has no entry called {name!r}")


def _material(path: Path, part: Mapping[str, Any], name: str) -> str:
    """PEM given inline as base64 (`<name>-data`), or as a file beside the kubeconfig."""
    if data := part.get(f"{name}-data"):
        try:
            return base64.b64decode(str(data), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise BadKubeconfig(f"{path}: {name}-data is not base64 of a PEM: {error}") from error
    if not part.get(name):
        return ""
    file = path.parent / str(part[name])
    try:
        return file.read_text()
    except OSError as error:
        raise BadKubeconfig(f"{path}: {name}: {file} cannot be read: {error.strerror}") from error


def _plugin(path: Path, spec: Any) -> ExecPlugin | None:
    if not spec:
        return None
    if not spec.get("command"):
        raise BadKubeconfig(f"{path}: exec has no command")
    command = str(spec["command"])
    if "/" in command and not os.path.isabs(command):  # noqa: PTH117 (a command line, not yet a path)
        command = str(path.parent / command)
    return ExecPlugin(
        command,
        tuple(str(argument) for argument in spec.get("args") or ()),
        tuple((str(row["name"]), str(row["value"])) for row in spec.get("env") or ()),
        str(spec.get("apiVersion") or "client.authentication.k8s.io/v1"),
    )


def write_kubeconfig(path: Path, url: str, ca: str, token: str, *, name: str = "fairway") -> None:
    """A kubeconfig with one context, readable by its owner alone. `ca` is PEM; it and the token stand in the file."""
    cluster: dict[str, Any] = {"server": url}
    if ca:
        cluster["certificate-authority-data"] = base64.b64encode(ca.encode()).decode()
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        yaml.safe_dump(content, file, sort_keys=False)
    temporary.replace(path)
