"""Names of Services in files as `/etc/hosts`: what a cluster's name server would answer.

A container with a root of its own sees such a file, so that a name in a configuration file or in a program's code leads where
it leads on a cluster. One file for all pods of a namespace, in which short names mean its own Services; one for a pod with
`hostAliases`. Files are written in place, because a file that is mounted somewhere cannot be replaced by rename.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fairway.kube.cache import Informers
from fairway.kube.decision import rest_after
from fairway.kube.objects import Key, Obj, key_of, labels_of, spec_of
from fairway.kube.resources import ENDPOINT_SLICES, SERVICES

MACHINE = Path("/etc/hosts")
SERVICE_LABEL = "kubernetes.io/service-name"
_REST_S = 0.2
"""Changes come in batches; a batch is written once."""
Names = dict[Key, list[tuple[str, str]]]
"""Per Service (address, what stands before the Service's own name: "" or "web-0.")."""


def names_of(services: Iterable[Obj], slices: Iterable[Obj]) -> Names:
    """Where each Service's names lead: to its address, to its ready pods where it is headless, to another Service."""
    by_service: dict[Key, list[Obj]] = {}
    for slice_ in slices:
        by_service.setdefault(Key(key_of(slice_).namespace, labels_of(slice_).get(SERVICE_LABEL, "")), []).append(slice_)
    found: Names = {}
    elsewhere: dict[Key, Key] = {}
    for service in services:
        key, spec = key_of(service), spec_of(service)
        if spec.get("type") == "ExternalName":
            name, _, rest = str(spec.get("externalName") or "").rstrip(".").partition(".")
            if rest.removesuffix(".cluster.local").endswith(".svc"):
                elsewhere[key] = Key(rest.partition(".")[0], name)
        elif spec.get("clusterIP") == "None":
            found[key] = list(_pods(by_service.get(key, ()), unready=bool(spec.get("publishNotReadyAddresses"))))
        elif spec.get("clusterIP"):
            found[key] = [(str(spec["clusterIP"]), "")]
    return found | {key: found[target] for key, target in elsewhere.items() if target in found}


def _pods(slices: Sequence[Obj], *, unready: bool) -> Iterable[tuple[str, str]]:
    for slice_ in slices:
        for endpoint in slice_.get("endpoints") or ():
            if unready or (endpoint.get("conditions") or {}).get("ready") is not False:
                for address in endpoint.get("addresses") or ():
                    yield str(address), ""
                    if endpoint.get("hostname"):
                        yield str(address), f"{endpoint['hostname']}."


def hosts_text(names: Names, namespace: str, machine: str) -> str:
    """Services first, then what the machine's own file has beside them."""
    lines, taken = [], set()
    for key in sorted(names):
        short = f"{key.name}.{key.namespace}"
        whole = [f"{short}.svc.cluster.local", f"{short}.svc", short]
        if key.namespace == namespace:
            whole.append(key.name)
        taken.update(whole)
        lines += [f"{address} {' '.join(before + name for name in whole)}" for address, before in names[key]]
    for line in machine.splitlines():
        address, *rest = line.partition("#")[0].split() or [""]
        kept = [name for name in rest if name not in taken]
        if kept:
            lines.append(" ".join((address, *kept)))
    return "".join(f"{line}\n" for line in lines)


def aliases_text(aliases: Iterable[Mapping[str, object]]) -> str:
    """`hostAliases` of a pod, which come before everything else."""
    rows = ((alias.get("ip"), alias.get("hostnames")) for alias in aliases)
    return "".join(f"{ip} {' '.join(map(str, names))}\n" for ip, names in rows if ip and isinstance(names, list) and names)


def file_for(folder: Path, pod_folder: Path, pod: Obj) -> Path | None:
    """The file that the pod's containers see, or None where they see the machine's own."""
    spec = spec_of(pod)
    if spec.get("hostAliases"):
        return pod_folder / "hosts"
    if spec.get("dnsPolicy") in ("Default", "None"):
        return None
    return folder / key_of(pod).namespace


class HostsFiles:
    """Keeps the files of those pods that were asked for. `folder`: where those of namespaces lie."""

    def __init__(self, informers: Informers, folder: Path) -> None:
        self._services, self._slices = informers.of(SERVICES), informers.of(ENDPOINT_SLICES)
        self._folder = folder
        self._kept: dict[Path, Obj] = {}
        self._changed = asyncio.Event()
        for cache in (self._services, self._slices):
            cache.on_change(lambda old, new: self._changed.set())

    def begin(self, pod: Obj, pod_folder: Path) -> None:
        """Before the pod's first container starts: its file is there, and kept from now on."""
        path = file_for(self._folder, pod_folder, pod)
        if path is not None and path not in self._kept:
            self._kept[path] = pod
            self._write(path, pod, self._names())

    def forget(self, pod: Obj, pod_folder: Path) -> None:
        """The file of a namespace stays: the next pod may come at any moment."""
        self._kept.pop(pod_folder / "hosts", None)

    async def run(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(max(_REST_S, rest_after(len(self._services))))
            self._changed.clear()
            names = self._names() if self._kept else {}
            for path, pod in list(self._kept.items()):
                self._write(path, pod, names)
                await asyncio.sleep(0)

    def _names(self) -> Names:
        return names_of(self._services.list(), self._slices.list())

    def _write(self, path: Path, pod: Obj, names: Names) -> None:
        spec = spec_of(pod)
        if spec.get("dnsPolicy") in ("Default", "None"):
            names = {}
        machine = MACHINE.read_text() if MACHINE.is_file() else "127.0.0.1 localhost\n"
        _in_place(path, aliases_text(spec.get("hostAliases") or ()) + hosts_text(names, key_of(pod).namespace, machine))


def _in_place(path: Path, text: str) -> None:
    """One write, then the cut: whoever reads meanwhile finds the old lines or the new ones, never an empty file."""
    data = text.encode()
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == data:
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.pwrite(handle, data, 0)
        os.ftruncate(handle, len(data))
    finally:
        os.close(handle)
