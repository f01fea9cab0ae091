"""What the Node object says of this machine."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from fairway.kube.objects import Obj, rfc3339
from fairway.node.isolation import Isolation
from fairway.node.lookups import HOST_IP

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
"""As Kubernetes names them, after Go."""
_PODS = 500


def labels(name: str) -> dict[str, str]:
    return {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": _architecture()}


def status(name: str, isolation: Isolation, folder: Path, now: datetime) -> Obj:
    """`folder`: where pods lie, whose disk is the node's."""
    disk = os.statvfs(folder)
    resources = {"cpu": str(os.cpu_count() or 1), "memory": f"{_memory_kib()}Ki", "pods": str(_PODS),
                 "ephemeral-storage": f"{disk.f_blocks * disk.f_frsize // 1024}Ki"}
    stamp = rfc3339(now)

    def entry(kind: str, status: str, reason: str, message: str) -> Obj:
        return {"type": kind, "status": status, "reason": reason, "message": message, "lastHeartbeatTime": stamp,
                "lastTransitionTime": stamp}

    return {
        "capacity": resources,
        "allocatable": resources,
        "addresses": [{"type": "InternalIP", "address": HOST_IP}, {"type": "Hostname", "address": name}],
        "conditions": [
            entry("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            entry("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            entry("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            entry("IsolatedRoot", "True" if isolation.own_root else "False", "OwnRoot" if isolation.own_root else "MappedPaths",
                  ". ".join(filter(None, (isolation.message, isolation.mend)))),
            entry("Ready", "True", "KubeletReady", "the node runs pods as local processes"),
        ],
        "nodeInfo": {
            "kernelVersion": os.uname().release, "osImage": _os_image(), "operatingSystem": "linux",
            "architecture": _architecture(), "containerRuntimeVersion": "fairway://1", "kubeletVersion": "v1.35.0",
            "kubeProxyVersion": "v1.35.0", "bootID": _read("/proc/sys/kernel/random/boot_id"),
            "machineID": _read("/etc/machine-id"), "systemUUID": "",
        },
    }  # fmt: skip


def _architecture() -> str:
    return _ARCHITECTURES.get(os.uname().machine, os.uname().machine)


def _os_image() -> str:
    rows = dict(line.partition("=")[::2] for line in _read("/etc/os-release").splitlines())
    return rows.get("PRETTY_NAME", os.uname().sysname).strip('"')


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _memory_kib() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024
